"""All copies of a template at once: planned, applied, rolled back. Each copy is a migration like any; nothing here
writes to a Superset.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django.db import transaction

from environments.canonical.documents import Kind
from migrations_app import services as migrations
from migrations_app.engine.copies import copy_uuid
from migrations_app.engine.plan import Answer
from migrations_app.errors import NotReady, PlanChanged, WrongConfirmation
from migrations_app.models import BUSY_STATES, OPEN_STATES, Migration, MigrationState
from migrations_app.pairings import pairs_between
from sstools.audit import services as audit
from sstools.errors import Invalid, NotFoundError, SSToolsError
from sstools.jobs.models import Source
from sstools.roles import policy
from sstools.roles.permissions import Permission

from .advancing import advance
from .models import FanOut, FanOutCopy, FanOutEntry, FanOutRun, FanOutRunState
from .services import row_of
from .states import Standing, entries_of, seen_of, standings
from .table import terms_of


def find_run(number: Any, user: Any) -> FanOutRun:
    """Raises NotFoundError for what is absent or not visible."""
    rows = FanOutRun.objects.visible_to(user).select_related("fan_out__source", "actor", "created_by")
    found = rows.filter(number=number).first()
    if found is None:
        raise NotFoundError()
    return found


def visible_entries(run: FanOutRun, user: Any) -> list[FanOutEntry]:
    """The copies of a run on environments that somebody may see migrations of."""
    seen = FanOutCopy.objects.visible_to(user).filter(fan_out=run.fan_out_id)
    keys = set(seen.values_list("pk", flat=True))
    return [entry for entry in entries_of(run) if entry.copy_id in keys]


@transaction.atomic
def plan(fan_out: FanOut, *, actor: Any, keys: Collection[str] = (), via: str = Source.PAGE) -> FanOutRun:
    """Queue a plan for each copy (of `keys`, else all that are wanted): a fan-out run that shows them side by side.

    A copy whose migration is still open keeps it, with the answers that were given. Raises NotAllowed where the actor
    may plan for none of them, NotReady where there is none, Invalid for an unknown key.
    """
    policy.require(actor, Permission.ENVIRONMENT_VIEW, fan_out.source)
    fan_out = FanOut.objects.select_for_update(of=("self",)).select_related("source").get(pk=fan_out.pk)
    visible = FanOutCopy.objects.visible_to(actor).filter(fan_out=fan_out).wanted()
    copies = list(visible.select_related("target"))
    if unknown := sorted(set(keys) - {copy.key for copy in copies}):
        raise Invalid(
            f"“{fan_out}” has no copy {', '.join(unknown[:5])}.",
            errors={"keys": [f"Unknown: {key}" for key in unknown[:20]]},
        )
    copies = [copy for copy in copies if not keys or copy.key in keys]
    if not copies:
        raise NotReady(f"“{fan_out}” has no copies yet.", remedy="Fill the table of copies first.")
    if not any(policy.can(actor, Permission.MIGRATION_PLAN, copy.target) for copy in copies):
        policy.require(actor, Permission.MIGRATION_PLAN, copies[0].target)
    run = FanOutRun.objects.create(
        fan_out=fan_out, actor=actor, created_by=actor, source_of_request=via, state=FanOutRunState.PLANNING
    )
    for position, copy in enumerate(copies):
        entry = FanOutEntry(run=run, copy=copy, position=position)
        try:
            with transaction.atomic():
                entry.migration = _migration_of(fan_out, copy, actor, via)
        except SSToolsError as error:
            entry.error = error.as_dict()
        entry.save()
    data = {"run": run.number, "copies": [copy.key for copy in copies][:200]}
    audit.record("fan_out:plan", run, actor=actor, data=data, source=via)
    advance(run)
    return run


@transaction.atomic
def plan_again(
    run: FanOutRun, *, actor: Any, keys: Collection[str] = (), via: str = Source.PAGE
) -> FanOutRun:
    """Queue new plans for the copies of a run (of `keys`, else all) that are not applied by it.

    Raises NotAllowed, NotReady.
    """
    run = _locked(run, actor)
    chosen = [entry for entry in visible_entries(run, actor) if not keys or entry.copy.key in keys]
    _must_be_allowed_somewhere(actor, Permission.MIGRATION_PLAN, chosen)
    _must_rest(run)
    begun = 0
    for standing in standings(chosen):
        entry = standing.entry
        if standing.can_be_rolled_back or standing.is_busy:
            continue
        policy.require(actor, Permission.MIGRATION_PLAN, entry.copy.target)
        entry.apply_run, entry.error, entry.plan_hash = None, None, ""
        try:
            with transaction.atomic():
                entry.migration = _migration_of(run.fan_out, entry.copy, actor, via)
        except SSToolsError as error:
            entry.error = error.as_dict()
        entry.save()
        begun += 1
    if not begun:
        raise NotReady("All of these are applied; there is nothing to plan again.")
    run.state, run.actor = FanOutRunState.PLANNING, actor
    run.save()
    audit.record("fan_out:plan", run, actor=actor, data={"run": run.number, "again": begun}, source=via)
    advance(run)
    return run


@transaction.atomic
def apply(
    run: FanOutRun,
    *,
    actor: Any,
    seen: str = "",
    confirmed: Collection[str] = (),
    stops_at_failure: bool = True,
    keys: Collection[str] = (),
    via: str = Source.PAGE,
) -> FanOutRun:
    """Begin to apply all copies that are green (of `keys`, else all), in order and one at a time on a target; what is
    not green stays as it is.

    seen: `seen_of` the plans that were looked at. confirmed: slugs of the protected targets, as they were typed.
    Raises NotAllowed, NotReady where none is green, PlanChanged, WrongConfirmation.
    """
    run = _locked(run, actor)
    entries = visible_entries(run, actor)
    _must_be_allowed_somewhere(actor, Permission.MIGRATION_APPLY, entries)
    _must_rest(run)
    found = standings(entries)
    if seen and seen != seen_of(found):
        raise PlanChanged()
    green = [one for one in found if (not keys or one.entry.copy.key in keys) and is_green(one)]
    if not green:
        raise NotReady(
            "No copy is ready to be applied.", remedy="Look at what each of them lacks, then plan again."
        )
    _must_be_confirmed(green, confirmed)
    for one in green:
        policy.require(actor, Permission.MIGRATION_APPLY, one.entry.copy.target)
        migration = one.entry.migration
        assert migration is not None
        assert migration.plan is not None
        one.entry.apply_run, one.entry.error = None, None
        one.entry.plan_hash = migration.plan.hash
        one.entry.save(update_fields=["apply_run", "error", "plan_hash"])
    run.state, run.actor, run.stops_at_failure = FanOutRunState.APPLYING, actor, stops_at_failure
    run.confirmed, run.source_of_request = sorted(confirmed), via
    run.save()
    data = {
        "run": run.number,
        "copies": [one.entry.copy.key for one in green][:200],
        "stops_at_failure": stops_at_failure,
    }
    audit.record("fan_out:apply", run, actor=actor, data=data, source=via)
    advance(run)
    return run


@transaction.atomic
def roll_back(
    run: FanOutRun,
    *,
    actor: Any,
    keys: Collection[str] = (),
    confirmed: Collection[str] = (),
    via: str = Source.PAGE,
) -> FanOutRun:
    """Begin to roll back what a run applied (of `keys`, else all), the last first and one at a time on a target. Each
    is a roll back like any: planned, and applied if nothing is open.

    Raises NotAllowed, NotReady where nothing can be rolled back, WrongConfirmation.
    """
    run = _locked(run, actor)
    entries = visible_entries(run, actor)
    _must_be_allowed_somewhere(actor, Permission.MIGRATION_ROLLBACK, entries)
    _must_rest(run)
    found = standings(entries)
    chosen = [one for one in found if (not keys or one.entry.copy.key in keys) and one.can_be_rolled_back]
    if not chosen:
        raise NotReady("Nothing of this was applied; there is nothing to roll back.")
    _must_be_confirmed(chosen, confirmed)
    for one in chosen:
        for permission in (Permission.MIGRATION_PLAN, Permission.MIGRATION_ROLLBACK):
            policy.require(actor, permission, one.entry.copy.target)
        one.entry.goes_back, one.entry.roll_back = True, None
        one.entry.save(update_fields=["goes_back", "roll_back"])
    run.state, run.actor = FanOutRunState.ROLLING_BACK, actor
    run.confirmed, run.source_of_request = sorted(confirmed), via
    run.save()
    data = {"run": run.number, "copies": [one.entry.copy.key for one in chosen][:200]}
    audit.record("fan_out:rollback", run, actor=actor, data=data, source=via)
    advance(run)
    return run


@transaction.atomic
def halt(run: FanOutRun, *, actor: Any, via: str = Source.PAGE) -> FanOutRun:
    """Begin nothing more; what is at work goes on to its end. Raises NotAllowed, NotReady."""
    run = _locked(run, actor)
    _must_be_allowed_somewhere(actor, Permission.MIGRATION_PLAN, visible_entries(run, actor))
    if not run.is_at_work:
        raise NotReady("Nothing of this is at work.")
    run.state = FanOutRunState.HELD
    run.save(update_fields=["state", "updated_at"])
    run.entries.filter(goes_back=True, roll_back=None).update(goes_back=False)
    audit.record("fan_out:halt", run, actor=actor, data={"run": run.number}, source=via)
    return run


# --- Helpers ----------------------------------------------------------------------------------------------------------


def protected_targets(found: Collection[Standing]) -> list[Any]:
    """The protected environments among the targets, each once: their names are typed."""
    targets = {one.entry.copy.target.pk: one.entry.copy.target for one in found}
    return [target for target in targets.values() if target.protected]


def is_green(one: Standing) -> bool:
    """Ready, or stopped before it wrote anything and ready again."""
    if one.is_green:
        return True
    run, migration = one.entry.apply_run, one.entry.migration
    stopped = (run is not None and run.state == "stopped") or one.entry.error is not None
    return bool(
        stopped
        and migration is not None
        and migration.state == MigrationState.PLANNED
        and not migrations.why_not_applicable(migration)
    )


def _locked(run: FanOutRun, actor: Any) -> FanOutRun:
    policy.require(actor, Permission.ENVIRONMENT_VIEW, run.fan_out.source)
    return FanOutRun.objects.select_for_update(of=("self",)).select_related("fan_out__source").get(pk=run.pk)


def _must_be_allowed_somewhere(actor: Any, permission: Permission, entries: Collection[FanOutEntry]) -> None:
    """Who may do it on none of the targets hears that, and not what state they are in."""
    targets = [entry.copy.target for entry in entries]
    if not targets:
        policy.require_anywhere(actor, permission)
    elif not any(policy.can(actor, permission, target) for target in targets):
        policy.require(actor, permission, targets[0])


def _must_rest(run: FanOutRun) -> None:
    if run.is_at_work:
        raise NotReady(f"Fan-out {run.number} is {run.get_state_display()}.", remedy="Wait for its end.")


def _must_be_confirmed(found: Collection[Standing], confirmed: Collection[str]) -> None:
    missing = [target for target in protected_targets(found) if target.slug not in confirmed]
    if missing:
        names = ", ".join(target.name for target in missing)
        raise WrongConfirmation(
            f"{names}: protected. Type {', '.join(target.slug for target in missing)} to write there.",
            errors={"confirmation": [f"Type {target.slug}." for target in missing]},
        )


def _migration_of(fan_out: FanOut, copy: FanOutCopy, actor: Any, via: str) -> Migration:
    """The copy's open migration, or a new one, with a plan under way. Raises what making and planning one raise."""
    policy.require(actor, Permission.MIGRATION_PLAN, copy.target)
    terms = _terms(fan_out, copy)
    known = (
        Migration.objects.filter(fan_out_entries__copy=copy, state__in=(*OPEN_STATES, *BUSY_STATES))
        .order_by("-number")
        .first()
    )
    if known is not None and known.is_busy:
        raise NotReady(f"{known} of this copy is being applied.", remedy="Wait for its end, then plan again.")
    title = f"{fan_out.name}: {copy.key}"
    if known is None:
        known = migrations.create_migration(
            fan_out.source,
            copy.target,
            selection=fan_out.selection,
            actor=actor,
            title=f"{title} → {copy.target.tag}",
            verify=fan_out.verify,
            roll_back_when_red=fan_out.roll_back_when_red,
            copy_terms=terms,
        )
    else:
        migrations.update_migration(known, actor=actor, selection=fan_out.selection)
        Migration.objects.filter(pk=known.pk).update(copy_terms=terms)
        known.refresh_from_db()
    migrations.request_plan(known, actor=actor, source=via)
    known.refresh_from_db()
    return known


def _terms(fan_out: FanOut, copy: FanOutCopy) -> dict[str, Any]:
    """What the copy's migration keeps: its parameters as they are now, and what was answered before. `kept`: what was
    answered to stay as it is on the target, which no later plan writes to.
    """
    done = (
        Migration.objects.filter(fan_out_entries__copy=copy, state=MigrationState.DONE)
        .select_related("plan")
        .order_by("-number")
        .first()
    )
    plan = done.plan if done is not None else None
    mapping = plan.mapping if plan is not None else {}
    before = (done.copy_terms or {}) if done is not None else {}
    items = {item.uuid: item for item in plan.items.all()} if plan is not None else {}
    template = str(fan_out.uuid)
    plain = terms_of(fan_out, row_of(copy))
    between = pairs_between(fan_out.source, copy.target)
    pairs = {
        uuid: target
        for uuid, target in mapping.get("pairs", {}).items()
        # The plan's pairs are all of the two environments: of those only what was answered is the copy's own.
        if uuid in items
        and (uuid in before.get("pairs", {}) or items[uuid].answer)
        and target != copy_uuid(template, copy.key, uuid)
        and not (plain.uuid_of(Kind(items[uuid].kind), uuid) == uuid and between.get(uuid) == target)
    }
    kept = {
        uuid
        for uuid in pairs.keys() - before.get("pairs", {}).keys()
        if (items[uuid].answer or {}).get("answer") == Answer.KEEP
    }
    kept |= pairs.keys() & set(before.get("kept", ()))
    terms = terms_of(fan_out, row_of(copy), pairs=pairs, renames=mapping.get("renames", {}))
    return {**terms.to_json(), "name": fan_out.name, "kept": sorted(kept)}
