"""Migrations whose assets come from files: one that somebody uploaded, or those of a commit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID, uuid4

from django.db import transaction

from environments.canonical.documents import Kind
from environments.models import Environment
from environments.words import fold
from migrations_app import naming
from migrations_app.carrying import clean_carrying
from migrations_app.comparing.models import UploadedBundle
from migrations_app.engine.carrying import OFF, ON, SAVED_QUERIES
from migrations_app.filters import looks_like_uuid
from migrations_app.git import services as repositories
from migrations_app.git.models import CommitReading
from migrations_app.models import Migration
from migrations_app.services import save_mapping
from sstools.audit import services as audit
from sstools.errors import Invalid, NotFoundError
from sstools.roles import policy
from sstools.roles.permissions import Permission

_ORDER = {"dashboard": 0, "chart": 1, "dataset": 2}


def find_file(uuid: Any, user: Any) -> UploadedBundle:
    """An upload that somebody may see. Raises NotFoundError."""
    rows = UploadedBundle.objects.visible_to(user).select_related("origin")
    try:
        found = rows.filter(uuid=UUID(str(uuid))).first()
    except ValueError:
        found = None
    if found is None:
        raise NotFoundError("There is no such file, or you may not see it.", remedy="Upload it again.")
    return found


Files = UploadedBundle | CommitReading


def assets_of(file: Files) -> list[Any]:
    """What can be brought: dashboards, charts, datasets, each by title."""
    rows = file.assets.filter(kind__in=_ORDER).select_related("document").defer("document__body")
    return sorted(rows, key=lambda row: (_ORDER.get(row.kind, 9), row.document.title.casefold(), row.uuid))


def find_assets(file: Files, names: Iterable[tuple[Kind, str]]) -> list[str]:
    """uuids of what is named, by title or uuid. Raises Invalid("unknown_asset", "ambiguous_name")."""
    rows = assets_of(file)
    chosen: list[str] = []
    for kind, text in names:
        text = text.strip()
        if looks_like_uuid(text):
            found = [row for row in rows if row.kind == kind and row.uuid == text.lower()]
        else:
            found = [row for row in rows if row.kind == kind and row.document.title == text]
            found = found or [
                row for row in rows if row.kind == kind and fold(row.document.title) == fold(text)
            ]
        if len(found) != 1:
            how = "several" if found else "no"
            raise Invalid(
                f"{file.name} has {how} {kind.plural if found else kind.value} “{text}”.",
                code="ambiguous_name" if found else "unknown_asset",
                remedy="Name it by its uuid.",
                errors={kind.value: [f"{'Ambiguous' if found else 'Unknown'}: {text}"]},
            )
        chosen.append(found[0].uuid)
    return chosen


@transaction.atomic
def create_migration(
    file: Files,
    target: Environment,
    *,
    actor: Any,
    selection: Iterable[str] = (),
    databases: Mapping[str, Any] | None = None,
    title: str = "",
    left_out: Iterable[str] = (),
    with_dependencies: bool = True,
    verify: bool = True,
    roll_back_when_red: bool = False,
    carrying: Mapping[str, Any] | None = None,
    uuid: UUID | None = None,
) -> Migration:
    """A draft that brings `selection` (uuids; none: all of it) of a file to `target`. `databases`: connections of
    the target by those of the file, as `save_mapping` takes them, names included; remembered. `carrying`: of a file
    that holds saved queries whether they come along (`{"saved_queries": "on"}`); they do where all of it is brought.

    Raises NotAllowed; NotFoundError for a file of somebody else; Invalid("unknown_asset", "empty_selection",
    "wrong_mapping", "wrong_carrying", "tree_unreadable").
    """
    policy.require(actor, Permission.MIGRATION_PLAN, target)
    if isinstance(file, CommitReading):
        repositories.must_be_usable(file, actor)
    else:
        find_file(file.uuid, actor)
    rows = {row.uuid: row for row in assets_of(file)}
    picked = {str(one).lower() for one in selection}
    chosen = picked or set(rows)
    queries = file.queries.count() if isinstance(file, UploadedBundle) else 0
    carried = clean_carrying({SAVED_QUERIES: ON if queries and not picked else OFF, **(carrying or {})})
    if not chosen and not (queries and SAVED_QUERIES in carried):
        raise Invalid(
            f"There is no dashboard, chart or dataset in {file.name}.",
            code="empty_selection",
            errors={"selection": ["There is nothing to bring."]},
        )
    if unknown := sorted(chosen - rows.keys()):
        raise Invalid(
            f"{file.name} has no such dashboard, chart or dataset: {', '.join(unknown[:3])}.",
            code="unknown_asset",
            errors={"selection": [f"Unknown: {one}" for one in unknown[:20]]},
        )
    if databases:
        named = naming.name_databases_of_file(file, target, databases)
        save_mapping(file.origin, target, actor=actor, databases=named)
    first = next((row.document.title for row in rows.values() if row.uuid in chosen), "Saved queries")
    more = f" and {len(chosen) - 1} more" if len(chosen) > 1 else ""
    migration = Migration.objects.create(
        uuid=uuid or uuid4(),
        title=(title.strip() or f"{first}{more}: {file.name} → {target.tag}")[:200],
        source_place=file.place,
        target=target,
        selection=sorted(chosen),
        left_out=sorted(set(left_out)),
        with_dependencies=with_dependencies,
        verify=verify,
        roll_back_when_red=roll_back_when_red,
        carrying=carried,
        created_by=actor,
    )
    audit.record(
        "migration:create",
        migration,
        actor=actor,
        data={"source": file.place, "sha256": file.sha256, "target": target.slug, "assets": len(chosen)},
    )
    return migration
