"""Making a migration of a backup: over what is there, elsewhere with a mapping, or as a copy beside."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID, uuid4

from django.db import transaction
from django.db.models import QuerySet
from django.utils.text import slugify

from environments.backups.models import Backup
from environments.backups.services import find_backup
from environments.canonical.documents import Kind
from environments.models import Environment
from environments.store import entries_of
from environments.words import fold
from migrations_app import naming, services
from migrations_app.carrying import clean_carrying, defaults_between
from migrations_app.engine.carrying import ACTIVE, CARRY, OFF, ON
from migrations_app.engine.copies import Copy, names_in
from migrations_app.errors import NotReady
from migrations_app.filters import looks_like_uuid
from migrations_app.models import Migration, Run
from migrations_app.places import address_of
from sstools.audit import services as audit
from sstools.errors import Invalid, NotFoundError
from sstools.jobs.models import Source
from sstools.roles import policy
from sstools.roles.permissions import Permission

#: What goes with one's own assets comes back as it was; what stands by itself only with the whole environment.
_OWN = {
    "owners": ON,
    "roles": ON,
    "rls": CARRY,
    "access": ON,
    "tags": ON,
    "reports": ACTIVE,
    "embedded": ON,
    "css": OFF,
    "saved_queries": OFF,
}
_WHOLE = {**_OWN, "css": ON, "saved_queries": ON}
#: A copy is nobody's but its owners', and open to nobody but whom the original is open to.
_BESIDE = {"owners": ON, "roles": ON, "tags": ON}
#: Of a copy's name what a person may change; the backup's number stands in it unless they say otherwise.
TITLE = "{{title}} (backup {number})"
_KINDS = [kind.value for kind in Kind if kind != Kind.DATABASE]


def find_by_place(place: str, user: Any) -> Backup:
    """`backup:318`. Raises NotFoundError, also for what is no place of a backup."""
    kind, _, number = place.strip().partition(":")
    if kind != "backup" or not (number.isascii() and number.isdigit()) or len(number) > 18:
        raise NotFoundError(
            "There is no such backup, or you may not see it.", remedy="Write backup:<number>."
        )
    return find_backup(number, user)


def assets_in(backup: Backup) -> QuerySet[Any]:
    """What of it can be restored, one row each: dashboards, charts, datasets that could be read."""
    return entries_of(backup.snapshot).filter(kind__in=_KINDS, document__isnull=False)


def find_assets(backup: Backup, names: Iterable[tuple[Kind, str]]) -> list[str]:
    """uuids of what is named in a backup, by title or uuid. Raises Invalid("unknown_asset", "ambiguous_name")."""
    rows = list(assets_in(backup).values_list("kind", "uuid", "document__title"))
    chosen: list[str] = []
    for kind, text in names:
        text = text.strip()
        of_kind = [(uuid, title) for name, uuid, title in rows if name == kind.value]
        if looks_like_uuid(text):
            found = [uuid for uuid, _ in of_kind if uuid == text.lower()]
        else:
            found = [uuid for uuid, title in of_kind if title == text]
            found = found or [uuid for uuid, title in of_kind if fold(title) == fold(text)]
        if len(found) != 1:
            how = "several" if found else "no"
            raise Invalid(
                f"{backup} has {how} {kind.plural if found else kind.value} “{text}”.",
                code="ambiguous_name" if found else "unknown_asset",
                remedy="Name it by its uuid.",
                errors={kind.value: [f"{'Ambiguous' if found else 'Unknown'}: {text}"]},
            )
        chosen.append(found[0])
    return chosen


def is_own(backup: Backup, target: Environment) -> bool:
    """Whether a Superset is the one that a backup is of; it may be registered twice."""
    return address_of(backup.environment) == address_of(target)


def usual_carrying(
    backup: Backup, target: Environment, *, whole: bool, beside: bool = False
) -> dict[str, str]:
    """What goes with the assets unless somebody says otherwise: everything where they came from; elsewhere as the route
    between the two says.
    """
    if beside:
        return clean_carrying(_BESIDE)
    if is_own(backup, target):
        return clean_carrying(_WHOLE if whole else _OWN)
    return clean_carrying(defaults_between(backup.environment, target))


@transaction.atomic
def create_restore(
    backup: Backup,
    target: Environment,
    *,
    actor: Any,
    selection: Iterable[str] = (),
    beside: bool = False,
    copy_title: str = "",
    remove_later: bool = False,
    carrying: Mapping[str, Any] | None = None,
    databases: Mapping[str, Any] | None = None,
    title: str = "",
    left_out: Iterable[str] = (),
    with_dependencies: bool = True,
    verify: bool = True,
    roll_back_when_red: bool = False,
    uuid: UUID | None = None,
    via: str = Source.PAGE,
) -> Migration:
    """A draft that restores `selection` (uuids; none: all) of a backup to `target`; planned and applied like any.

    `beside`: as a copy under uuids and names of its own (`copy_title`: a pattern with {title}); restoring the same
    backup beside again changes that copy. `remove_later`: also remove what came after the backup, where it is put back
    over its own environment. `carrying`: option by option, the rest as `usual_carrying`. `databases`: connections of
    the target by those of the backup, names or uuids; remembered for the two environments.

    Raises NotAllowed; NotReady for a backup that holds nothing; Invalid("unknown_asset", "empty_selection",
    "wrong_mapping", "wrong_pattern", "not_removable").
    """
    policy.require(actor, Permission.BACKUP_VIEW, backup.environment)
    policy.require(actor, Permission.MIGRATION_PLAN, target)
    if remove_later:
        policy.require(actor, Permission.MIGRATION_PRUNE, target)
    if not backup.is_readable:
        raise NotReady(f"{backup} is {backup.get_state_display()}: there is nothing to restore from it.")
    held = dict(assets_in(backup).values_list("uuid", "document__title"))
    chosen = {str(one).lower() for one in selection} or set(held)
    _check_selection(backup, chosen, held)
    own = is_own(backup, target)
    if remove_later and (beside or not own or not backup.whole):
        raise Invalid(
            "What came later can only be removed where a backup of a whole environment is put back over it.",
            code="not_removable",
            errors={"remove_later": ["Not possible here."]},
        )
    if databases:
        named = naming.name_databases_in(naming.connections_in(backup), target, databases)
        services.save_mapping(backup.environment, target, actor=actor, databases=named)
    whole = backup.whole and chosen == set(held)
    usual = usual_carrying(backup, target, whole=whole, beside=beside)
    what = "Everything" if whole else held[min(chosen, key=lambda one: (held[one].casefold(), one))]
    more = "" if whole or len(chosen) == 1 else f" and {len(chosen) - 1} more"
    migration = Migration.objects.create(
        uuid=uuid or uuid4(),
        title=(title.strip() or f"Restore {what}{more}: backup {backup.number} → {target.tag}")[:200],
        source_place=backup.place,
        target=target,
        selection=sorted(chosen),
        left_out=sorted(set(left_out)),
        with_dependencies=with_dependencies,
        verify=verify,
        roll_back_when_red=roll_back_when_red,
        copy_terms=_copy_terms(backup, chosen, copy_title) if beside else None,
        carrying=clean_carrying({**usual, **(carrying or {})}),
        prune=remove_later,
        created_by=actor,
    )
    audit.record(
        "migration:create",
        migration,
        actor=actor,
        source=via,
        data={
            "source": backup.place,
            "of": backup.environment.slug,
            "target": target.slug,
            "assets": len(chosen),
            **({"beside": True} if beside else {}),
        },
    )
    return migration


def create_rest(run: Run, uuids: set[str], *, actor: Any) -> Migration:
    """The same restore once more, of what a run of it did not write."""
    first = run.migration
    migration = Migration.objects.create(
        title=f"Rest of run {run.number}: {first.title}"[:200],
        source_place=first.source_place,
        target=first.target,
        selection=sorted(uuids),
        with_dependencies=False,
        verify=first.verify,
        roll_back_when_red=first.roll_back_when_red,
        copy_terms=first.copy_terms,
        carrying=first.carrying,
        created_by=actor,
    )
    data = {"source": first.source_place, "target": first.target.slug, "assets": len(uuids)}
    audit.record("migration:create", migration, actor=actor, data=data)
    return migration


def _check_selection(backup: Backup, chosen: set[str], held: Mapping[str, str]) -> None:
    if not chosen:
        raise Invalid(
            f"There is no dashboard, chart or dataset in {backup}.",
            code="empty_selection",
            errors={"selection": ["There is nothing to restore."]},
        )
    if unknown := sorted(chosen - held.keys()):
        raise Invalid(
            f"{backup} has no such dashboard, chart or dataset: {', '.join(unknown[:3])}.",
            code="unknown_asset",
            errors={"selection": [f"Unknown: {one}" for one in unknown[:20]]},
        )


def _copy_terms(backup: Backup, chosen: Iterable[str], pattern: str) -> dict[str, Any]:
    pattern = " ".join(pattern.split())[:200] or TITLE.format(number=backup.number)
    if "title" not in names_in(pattern) or names_in(pattern) - {"title"}:
        raise Invalid(
            "The name of a copy needs {title}, which is the original's, and knows no other name in braces.",
            code="wrong_pattern",
            errors={"copy_title": ["Write it as “{title} (restored)”."]},
        )
    suffix = slugify(pattern.replace("{title}", " ")) or f"backup-{backup.number}"
    copy = Copy(
        template=str(backup.snapshot.uuid),
        key="beside",
        title=pattern,
        slug=f"{{slug}}-{suffix}"[:100],
        shares_datasets=True,
        selection=tuple(sorted(chosen)),
    )
    return {**copy.to_json(), "name": f"backup {backup.number}"}
