"""Templates and their copies: making, changing, removing. What is done with the copies: `running.py`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.db import transaction
from django.db.models import Q

from environments.models import Environment
from migrations_app.engine.copies import WHERE
from migrations_app.errors import NotReady
from migrations_app.mappings import clean_substitutions
from migrations_app.models import Run, StepState
from migrations_app.places import address_of
from migrations_app.services import known_selection
from sstools.audit import services as audit
from sstools.errors import Invalid, NotFoundError
from sstools.jobs.models import Source
from sstools.roles import policy
from sstools.roles.permissions import Permission

from .models import FanOut, FanOutCopy
from .table import Row, pattern_problems, row_problems, table_problems, terms_of, wrong_table

PATTERNS = ("title", "slug", "chart_title", "dataset_name")
FIELDS = ("description", *PATTERNS, "shares_datasets", "verify", "roll_back_when_red")


def find(uuid: Any, user: Any) -> FanOut:
    """Raises NotFoundError for what is absent or not visible."""
    found = FanOut.objects.visible_to(user).select_related("source", "created_by").filter(uuid=uuid).first()
    if found is None:
        raise NotFoundError()
    return found


def find_by_name(name: str, user: Any) -> FanOut:
    """By name, in any case, or by uuid. Raises NotFoundError."""
    rows = FanOut.objects.visible_to(user).select_related("source")
    found = rows.filter(name=name).first() or rows.filter(name__iexact=name).first()
    if found is None:
        found = next((row for row in rows if str(row.uuid) == name.lower()), None)
    if found is None:
        raise NotFoundError(f"There is no fan-out “{name}”, or {user} may not see it.")
    return found


@transaction.atomic
def create(
    source: Environment,
    *,
    name: str,
    selection: Iterable[str],
    actor: Any,
    changes: Sequence[Mapping[str, Any]] = (),
    via: str = Source.PAGE,
    **fields: Any,
) -> FanOut:
    """A template of `selection` (uuids of `source`), without copies yet. `fields`: of FIELDS.

    Raises NotAllowed, Invalid by field.
    """
    policy.require(actor, Permission.ENVIRONMENT_VIEW, source)
    policy.require_anywhere(actor, Permission.MIGRATION_PLAN)
    fan_out = FanOut(source=source, created_by=actor)
    _take_over(fan_out, {"name": name, "selection": selection, "changes": changes, **fields})
    fan_out.save()
    data = {"name": fan_out.name, "source": source.slug, "assets": len(fan_out.selection)}
    audit.record("fan_out:create", fan_out, actor=actor, data=data, source=via)
    return fan_out


@transaction.atomic
def update(fan_out: FanOut, *, actor: Any, via: str = Source.PAGE, **fields: Any) -> FanOut:
    """Change a template: "name", "selection", "changes" and what FIELDS names. Its copies follow when they are planned
    next.

    Raises NotAllowed where the actor may not plan for one of its copies; Invalid by field, also where a copy lacks a
    value that a pattern asks for now.
    """
    fan_out = _locked(fan_out, actor)
    changed = _take_over(fan_out, fields)
    if changed:
        rows = [row_of(copy) for copy in fan_out.copies.wanted().select_related("target")]
        problems = [
            f"Copy “{row.key}”: {text}"
            for row, texts in zip(rows, _problems(fan_out, rows), strict=True)
            for text in texts
        ]
        if problems:
            raise Invalid("Copies do not fit the changed template.", errors={"changes": problems[:20]})
        fan_out.save()
        audit.record("fan_out:update", fan_out, actor=actor, data={"changed": changed}, source=via)
    return fan_out


@transaction.atomic
def delete(fan_out: FanOut, *, actor: Any, via: str = Source.PAGE) -> None:
    """Forget a template that nothing was applied of. Raises NotAllowed; NotReady once it has assets on targets: their
    uuids follow from it.
    """
    fan_out = _locked(fan_out, actor)
    if any(_was_applied(copy) for copy in fan_out.copies.all()):
        raise NotReady(
            f"“{fan_out}” has copies that were applied; without it they could not be updated in place.",
            remedy="Take its copies out of the table instead.",
        )
    audit.record("fan_out:delete", fan_out, actor=actor, data={"name": fan_out.name}, source=via)
    fan_out.delete()


@transaction.atomic
def save_copies(
    fan_out: FanOut, rows: Sequence[Row], *, actor: Any, via: str = Source.PAGE, only_add: bool = False
) -> dict[str, int]:
    """Make the table of copies be these rows; a row is known by its key. Returns numbers: added, changed, removed.

    Copies on environments that the actor may not see stay as they are, and all that are not named with `only_add`. One
    that is gone from the table was either never applied, and is forgotten, or is no longer wanted, and its assets stay
    on the target. Raises NotAllowed where the actor may not plan; Invalid by row ("line 3", or "copies.2" of data).
    """
    policy.require(actor, Permission.ENVIRONMENT_VIEW, fan_out.source)
    fan_out = FanOut.objects.select_for_update(of=("self",)).select_related("source").get(pk=fan_out.pk)
    known = {copy.key: copy for copy in fan_out.copies.select_related("target")}
    seen = set(FanOutCopy.objects.visible_to(actor).filter(fan_out=fan_out).values_list("pk", flat=True))
    rows = [*rows]
    names = [f"line {row.line}" if row.line else f"copies.{index}" for index, row in enumerate(rows)]
    targets = _targets({row.target for row in rows}, actor)
    errors: dict[str, list[str]] = {}
    for name, row in zip(names, rows, strict=True):
        hidden = row.key in known and known[row.key].pk not in seen
        if row.target not in targets or hidden:
            what = f"There is no environment “{row.target}”." if row.target else "It has no target."
            errors.setdefault(name, []).append("This key is taken." if hidden else what)
    given = {row.key for row in rows}
    staying = [
        row_of(copy)
        for copy in known.values()
        if copy.is_wanted and copy.key not in given and (only_add or copy.pk not in seen)
    ]
    for index, texts in enumerate(_problems(fan_out, [*rows, *staying])):
        if texts:  # of those that stay only what a new one makes wrong
            name = names[index] if index < len(names) else names[0] if names else "copies"
            errors.setdefault(name, []).extend(texts)
    if errors:
        raise wrong_table(errors)
    counts = {"added": 0, "changed": 0, "removed": 0, "same": 0}
    for position, row in enumerate(rows):
        counts[_keep(fan_out, row, position, known.get(row.key), targets[row.target], actor)] += 1
    for copy in known.values():
        if copy.is_wanted and copy.key not in given and not only_add and copy.pk in seen:
            policy.require(actor, Permission.MIGRATION_PLAN, copy.target)
            _remove(copy)
            counts["removed"] += 1
    counts.pop("same", None)
    if any(counts.values()):
        data = {**counts, "keys": sorted(given)[:200]}
        audit.record("fan_out:copies", fan_out, actor=actor, data=data, source=via)
    return counts


def row_of(copy: FanOutCopy) -> Row:
    return Row(copy.key, copy.target.slug, dict(copy.values), dict(copy.parameters), copy.keeps_uuids)


def no_longer_wanted(fan_out: FanOut, user: Any) -> list[FanOutCopy]:
    """Copies that were taken out of the table and whose assets are still on their targets: removing those is for a
    person to decide.
    """
    rows = FanOutCopy.objects.visible_to(user).filter(fan_out=fan_out, is_wanted=False)
    return list(rows.select_related("target"))


# --- Helpers ----------------------------------------------------------------------------------------------------------


def may_edit(fan_out: FanOut, user: Any) -> bool:
    """Whether somebody may plan on every environment that it has a copy on; anywhere as long as it has none."""
    targets = {copy.target for copy in fan_out.copies.select_related("target")}
    if not targets:
        return policy.can_anywhere(user, Permission.MIGRATION_PLAN)
    return all(policy.can(user, Permission.MIGRATION_PLAN, target) for target in targets)


def _locked(fan_out: FanOut, actor: Any) -> FanOut:
    policy.require(actor, Permission.ENVIRONMENT_VIEW, fan_out.source)
    policy.require_anywhere(actor, Permission.MIGRATION_PLAN)
    for target in {copy.target for copy in fan_out.copies.select_related("target")}:
        policy.require(actor, Permission.MIGRATION_PLAN, target)
    return FanOut.objects.select_for_update(of=("self",)).select_related("source").get(pk=fan_out.pk)


def _take_over(fan_out: FanOut, fields: Mapping[str, Any]) -> list[str]:
    """Sets fields after a look at them. Returns the names of those that changed. Raises Invalid."""
    values: dict[str, Any] = {name: fields[name] for name in FIELDS if name in fields}
    errors: dict[str, list[str]] = {}
    if "name" in fields:
        values["name"] = " ".join(str(fields["name"]).split())[:100]
        others = FanOut.objects.exclude(pk=fan_out.pk).filter(name__iexact=values["name"])
        if not values["name"] or others.exists():
            errors["name"] = ["Another one has this name." if values["name"] else "Give it a name."]
    for name, text in pattern_problems({name: str(values[name]) for name in PATTERNS if name in values}):
        errors.setdefault(name, []).append(text)
    if "description" in values:
        values["description"] = str(values["description"]).strip()[:300]
    if "changes" in fields:
        try:
            values["changes"] = clean_changes(fields["changes"])
        except Invalid as error:
            errors |= error.errors
    if "selection" in fields:
        try:
            values["selection"] = sorted(known_selection(fan_out.source, fields["selection"]))
        except Invalid as error:
            errors |= error.errors or {"selection": [error.message]}
    if errors:
        raise Invalid("Some values are not right.", errors=errors)
    changed = [name for name, value in values.items() if getattr(fan_out, name) != value]
    for name in changed:
        setattr(fan_out, name, values[name])
    return changed


def clean_changes(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Replacements as the model keeps them. Raises Invalid by row ("changes.0")."""
    kept = [row for row in rows if row.get("find")]
    errors = {
        f"changes.{index}": [f"“{row.get('where')}” is none of {', '.join(WHERE)}."]
        for index, row in enumerate(kept)
        if row.get("where", "sql") not in WHERE
    }
    try:
        cleaned = clean_substitutions(kept)
    except Invalid as error:
        errors |= {key.replace("substitutions", "changes"): texts for key, texts in error.errors.items()}
    if errors:
        raise Invalid("Some replacements are not right.", errors=errors)
    return [{**one, "where": row.get("where", "sql")} for one, row in zip(cleaned, kept, strict=True)]


def _targets(slugs: set[str], actor: Any) -> dict[str, Environment]:
    """Environments that copies may go to. Raises NotAllowed for one that the actor sees and may not plan for."""
    found = {row.slug: row for row in Environment.objects.visible_to(actor).filter(slug__in=slugs)}
    for target in found.values():
        policy.require(actor, Permission.MIGRATION_PLAN, target)
    return found


def _problems(fan_out: FanOut, rows: Sequence[Row]) -> list[list[str]]:
    """What is wrong with each row, beside the others."""
    terms = [terms_of(fan_out, row) for row in rows]
    problems = [list(row_problems(row, one)) for row, one in zip(rows, terms, strict=True)]
    for row, texts in zip(rows, problems, strict=True):
        if row.parameters.get("changes"):
            try:
                row.parameters["changes"] = clean_changes(row.parameters["changes"])
            except Invalid as error:
                texts += [text for found in error.errors.values() for text in found]
        own: dict[str, str] = {
            name: str(row.parameters[name]) for name in ("title", "slug") if name in row.parameters
        }
        texts += [f"{name}: {text}" for name, text in pattern_problems(own)]
    slugs = {fan_out.source.slug, *(row.target for row in rows)}
    same = {place.slug: address_of(place) for place in Environment.objects.filter(slug__in=slugs)}
    for index, text in table_problems(list(zip(rows, terms, strict=True)), fan_out.source.slug, same):
        if rows:
            problems[index].append(text)
    return problems


def _keep(
    fan_out: FanOut, row: Row, position: int, known: FanOutCopy | None, target: Environment, actor: Any
) -> str:
    values = {
        "position": position,
        "target": target,
        "values": row.values,
        "parameters": {name: value for name, value in row.parameters.items() if value},
        "keeps_uuids": row.keeps_uuids,
        "is_wanted": True,
    }
    if known is None:
        FanOutCopy.objects.create(fan_out=fan_out, key=row.key, **values)
        return "added"
    moved = known.target_id != target.pk or known.keeps_uuids != row.keeps_uuids
    if moved:
        policy.require(actor, Permission.MIGRATION_PLAN, known.target)
        if _was_applied(known):
            raise wrong_table(
                {
                    f"line {row.line}" if row.line else f"copies.{position}": [
                        f"“{row.key}” was applied to {known.target.slug}; its target and its uuids stay as they "
                        "are. Take it out, and give the new one another key."
                    ]
                }
            )
    changed = [name for name, value in values.items() if getattr(known, name) != value]
    for name in changed:
        setattr(known, name, values[name])
    known.save()
    return "changed" if set(changed) - {"position"} else "same"


def _remove(copy: FanOutCopy) -> None:
    if _was_applied(copy):
        copy.is_wanted = False
        copy.save(update_fields=["is_wanted", "updated_at"])
    else:
        copy.delete()


def _was_applied(copy: FanOutCopy) -> bool:
    # A run that took one wrote, also where its restore point is kept no longer.
    runs = Run.objects.filter(migration__in=copy.entries.values("migration"))
    taken = Q(steps__name="restore_point", steps__state=StepState.DONE)
    return runs.filter(Q(restore_point__isnull=False) | taken).exists()
