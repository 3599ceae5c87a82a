"""Everything people, programs and commands do to migrations. Each service checks the right, writes the
history and enqueues.

Superset is never called here: planning and applying are jobs (`tasks.py`), whose work is in `planning.py`
and `applying/`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID, uuid4

from django.db import transaction
from django.db.models import Q, QuerySet

from environments.backups.models import Backup
from environments.canonical.documents import Kind
from environments.models import Asset, Environment
from sstools.audit import services as audit
from sstools.errors import Conflict, Invalid, NotFoundError
from sstools.jobs import services as jobs
from sstools.jobs.models import Job, Source
from sstools.roles import policy
from sstools.roles.permissions import Permission

from . import gates, promotions, restore_points
from .carrying import clean_carrying, defaults_between
from .comparing.models import UploadedBundle
from .engine.plan import Answer
from .errors import NotReady, PlanChanged, WrongConfirmation
from .estate.services import request_comparison
from .mappings import clean_databases, clean_substitutions, merged_names
from .models import OPEN_STATES, Migration, MigrationState, Plan, PlanCompanion, PlanItem, Run, RunState
from .models import Mapping as PairMapping
from .places import address_of

MAX_SELECTION = (
    20_000  # assets named one by one; a whole estate of that size is dashboards, and the rest comes along
)
APPLY, PLAN, VERIFY = "migrations_app.apply_plan", "migrations_app.make_plan", "migrations_app.verify_run"


# --- Selecting
# ------------------------------------------------------------------------------------------------------------


@transaction.atomic
def create_migration(
    source: Environment,
    target: Environment,
    *,
    selection: Iterable[str],
    actor: Any,
    title: str = "",
    left_out: Iterable[str] = (),
    with_dependencies: bool = True,
    verify: bool = True,
    roll_back_when_red: bool = False,
    uuid: UUID | None = None,
    copy_terms: Mapping[str, Any] | None = None,
    carrying: Mapping[str, Any] | None = None,
    prune: bool = False,
) -> Migration:
    """A draft that brings `selection` (uuids of dashboards, charts or datasets of `source`) to `target`.

    `carrying`: what comes along, option by option (`engine.carrying.OPTIONS`); the rest is as the route says.
    `copy_terms`: as a copy under uuids of its own (`engine.copies.Copy.to_json`), which may stand beside its source.

    `uuid`: where a request that may be repeated decides it; raises IntegrityError if there is such a migration already.
    Raises NotAllowed; Invalid("same_environment"), Invalid for a selection that the inventory of the
    source does not know.
    """
    policy.require(actor, Permission.ENVIRONMENT_VIEW, source)
    policy.require(actor, Permission.MIGRATION_PLAN, target)
    if prune:
        policy.require(actor, Permission.MIGRATION_PRUNE, target)
    if source.pk == target.pk and not copy_terms:
        raise Invalid(
            "Source and target are the same environment.",
            code="same_environment",
            errors={"target": ["Choose another one."]},
        )
    chosen = known_selection(source, selection)
    migration = Migration.objects.create(
        uuid=uuid or uuid4(),
        title=(title or _title(source, target, chosen))[:200],
        source_place=f"env:{source.slug}",
        source=source,
        target=target,
        selection=sorted(chosen),
        left_out=sorted(set(left_out)),
        with_dependencies=with_dependencies,
        verify=verify,
        roll_back_when_red=roll_back_when_red,
        copy_terms=dict(copy_terms) if copy_terms else None,
        carrying=clean_carrying({**defaults_between(source, target), **(carrying or {})}),
        prune=prune,
        created_by=actor,
    )
    audit.record(
        "migration:create",
        migration,
        actor=actor,
        data={
            "source": source.slug,
            "target": target.slug,
            "assets": len(chosen),
            **({"copy": copy_terms["key"]} if copy_terms else {}),
        },
    )
    return migration


@transaction.atomic
def update_migration(
    migration: Migration,
    *,
    actor: Any,
    title: str | None = None,
    selection: Iterable[str] | None = None,
    left_out: Iterable[str] | None = None,
    with_dependencies: bool | None = None,
    verify: bool | None = None,
    roll_back_when_red: bool | None = None,
    override_reason: str | None = None,
    carrying: Mapping[str, Any] | None = None,
    prune: bool | None = None,
) -> Migration:
    """Change what a migration takes and how it goes. A plan made before no longer counts where it would
    come out otherwise.

    `carrying` replaces the options that it names; the others stay.
    `override_reason`: why failed checks shall not stop the apply; an empty text lets them stop it again.
    `prune`: also remove what this way brought and the source no longer has; needs `migration:prune`.
    """
    migration = _locked(migration, actor, Permission.MIGRATION_PLAN)
    _must_be_open(migration)
    changed: dict[str, Any] = {}
    if prune is not None and prune != migration.prune:
        if prune:
            _must_be_prunable(migration, actor)
        changed["prune"] = prune
    if title is not None:
        changed["title"] = title.strip()[:200] or migration.title
    if selection is not None or with_dependencies is not None:
        _must_see_source(migration, actor)
    if selection is not None and migration.source is not None:
        changed["selection"] = sorted(known_selection(migration.source, selection))
    if selection is not None and (migration.is_of_file or migration.is_of_backup):
        what = "backup" if migration.is_of_backup else "file"
        raise Invalid(
            f"What a migration takes of a {what} is chosen when it is made.",
            code="selection_fixed",
            remedy=f"Leave assets out, or make another migration of the {what}.",
            errors={"selection": ["Cannot be changed."]},
        )
    if left_out is not None:
        changed["left_out"] = sorted(set(left_out))
    for name, value in (
        ("with_dependencies", with_dependencies),
        ("verify", verify),
        ("roll_back_when_red", roll_back_when_red),
    ):
        if value is not None:
            changed[name] = value
    if carrying is not None:
        changed["carrying"] = clean_carrying({**migration.carrying, **carrying})
    if override_reason is not None:
        changed["override_reason"] = override_reason.strip()[:500]
    changed = {name: value for name, value in changed.items() if getattr(migration, name) != value}
    if changed:
        for name, value in changed.items():
            setattr(migration, name, value)
        if {"selection", "left_out", "with_dependencies", "carrying", "prune"} & set(changed):
            _plan_is_void(migration)
        migration.save()
        audit.record(
            "migration:update",
            migration,
            actor=actor,
            data={"changed": sorted(changed), "override_reason": migration.override_reason},
        )
        promotions.wake([migration])
    return migration


@transaction.atomic
def discard_migration(migration: Migration, *, actor: Any) -> Migration:
    """Put a migration away that was never applied. Raises NotReady once it was."""
    migration = _locked(migration, actor, Permission.MIGRATION_PLAN)
    _must_be_open(migration)
    migration.state = MigrationState.DISCARDED
    migration.save()
    audit.record("migration:discard", migration, actor=actor)
    promotions.wake([migration])
    return migration


# --- Mapping and answers
# --------------------------------------------------------------------------------------------------


@transaction.atomic
def save_mapping(
    source: Environment | None,
    target: Environment,
    *,
    actor: Any,
    databases: Mapping[str, Any] | None = None,
    substitutions: Sequence[Mapping[str, Any]] | None = None,
    renames: Mapping[str, Any] | None = None,
    people: Mapping[str, Any] | None = None,
    roles: Mapping[str, Any] | None = None,
) -> PairMapping:
    """Remember how the terms of `source` become those of `target`; what is None stays as it is. Source None: of
    files of which nobody said where they are from.

    `databases` replaces the entries it names: {source uuid: target uuid | {"target", "schemas",
    "catalogs"} | None to forget}. `people` and `roles` likewise: {who or what on the source: who or what on the target,
    "" for nobody or none, None to forget}.
    Raises Invalid with the fields that are wrong (a pattern that does not compile, a uuid that is none).
    """
    if source is not None:
        policy.require(actor, Permission.ENVIRONMENT_VIEW, source)
    policy.require(actor, Permission.MIGRATION_PLAN, target)
    mapping, _ = PairMapping.objects.select_for_update().get_or_create(source=source, target=target)
    before = _shown_mapping(mapping)
    if databases is not None:
        entries = {**mapping.databases, **clean_databases(databases)}
        mapping.databases = {uuid: entry for uuid, entry in entries.items() if entry}
    if substitutions is not None:
        mapping.substitutions = clean_substitutions(substitutions)
    if renames is not None:
        mapping.renames = {uuid: dict(fields) for uuid, fields in renames.items() if fields}
    for name, given in (("people", people), ("roles", roles)):
        if given is not None:
            setattr(mapping, name, merged_names(name, getattr(mapping, name), given))
    mapping.updated_by = actor
    mapping.save()
    after = _shown_mapping(mapping)
    if after != before:
        for migration in _mapped_by(source, target).filter(state=MigrationState.PLANNED):
            _plan_is_void(migration)
            migration.save()
        audit.record(
            "mapping:update",
            target,
            actor=actor,
            data={"source": source.slug if source is not None else "", "before": before, "after": after},
        )
        promotions.wake(_mapped_by(source, target).filter(state__in=OPEN_STATES))
        if source is not None and source.pk != target.pk:
            request_comparison(source, target, actor=actor)
    return mapping


def _mapped_by(source: Environment | None, target: Environment) -> QuerySet[Migration]:
    """The migrations that a mapping is for: from the environment, of files that were exported from it, and of those of
    its backups that open migrations stand on.
    """
    places = [bundle.place for bundle in UploadedBundle.objects.filter(origin=source)]
    restoring = Migration.objects.filter(
        source_place__startswith="backup:", target=target, state__in=OPEN_STATES
    ).values_list("source_place", flat=True)
    numbers = {int(place.removeprefix("backup:")) for place in restoring}
    places += [backup.place for backup in Backup.objects.filter(pk__in=numbers, environment=source)]
    of_files = Q(source=None, source_place__in=places)
    return Migration.objects.filter(
        of_files if source is None else of_files | Q(source=source), target=target
    )


def _shown_mapping(mapping: PairMapping) -> dict[str, Any]:
    return {name: getattr(mapping, name) for name in ("databases", "substitutions", "people", "roles")}


@transaction.atomic
def answer_conflicts(
    migration: Migration, answers: Mapping[str, Mapping[str, str] | str | None], *, actor: Any
) -> Migration:
    """Answer conflicts of the plan: uuid -> answer ("keep", "take", "leave_out", "adopt", "rename") or
    {"answer", "value"}; None takes
    an answer back. The plan is void until it is made again. Raises Invalid for an answer that the conflict
    does not take.
    """
    migration = _locked(migration, actor, Permission.MIGRATION_PLAN)
    _must_be_open(migration)
    shown = (
        migration.plan or migration.plans.first()
    )  # the first of several answers voids the plan that shows them all
    items: dict[str, PlanItem | PlanCompanion] = {}
    if shown is not None:
        items = {one.uuid: one for rows in (shown.companions.all(), shown.items.all()) for one in rows}
    merged = dict(migration.answers)
    errors: dict[str, list[str]] = {}
    for uuid, given in answers.items():
        if given is None or given == "":
            merged.pop(uuid, None)
            continue
        answer = (
            {"answer": given, "value": ""}
            if isinstance(given, str)
            else {
                "answer": str(given.get("answer", "")),
                "value": str(given.get("value") or "").strip()[:200],
            }
        )
        if problem := _wrong_answer(answer["answer"], items.get(uuid)):
            errors[uuid] = [problem]
        merged[uuid] = answer
    if errors:
        raise Invalid("Some answers do not fit.", code="wrong_answer", errors=errors)
    if merged != migration.answers:
        migration.answers = merged
        _plan_is_void(migration)
        migration.save()
        audit.record(
            "migration:answer",
            migration,
            actor=actor,
            data={"answers": {uuid: merged.get(uuid) for uuid in answers}},
        )
        promotions.wake([migration])
    return migration


def _wrong_answer(answer: str, item: PlanItem | PlanCompanion | None) -> str:
    if answer not in {member.value for member in Answer}:
        return f"“{answer}” is no answer. Possible: {', '.join(member.value for member in Answer)}."
    if item is None:
        return "The plan has no such asset."
    options = list(item.conflict["options"]) if item.conflict else []
    can_stay_away = isinstance(item, PlanItem) and answer == Answer.LEAVE_OUT
    if not can_stay_away and answer not in options:
        return f"“{answer}” does not settle this. Possible: {', '.join(options) or 'leave_out'}."
    return ""


# --- Planning, applying, rolling back
# -------------------------------------------------------------------------------------


@transaction.atomic
def request_plan(
    migration: Migration, *, actor: Any, source: str = Source.PAGE, idempotency_key: str | None = None
) -> Job:
    """Queue the making of a plan. Asking while one is being made joins that one, also one that is applied if nothing is
    open. Raises NotReady, NotAllowed.
    """
    migration = _locked(migration, actor, Permission.MIGRATION_PLAN)
    known = jobs.of_request(actor, idempotency_key)
    if known is not None and (known.kind, known.params) == (PLAN, {"migration": str(migration.uuid)}):
        return known  # asked again, whatever became of the migration since
    _must_see_source(migration, actor)
    _must_be_open(migration)
    if (promoting := promotions.unfinished(migration)) is not None:
        jobs.wake(promoting)
        return promoting
    job = jobs.enqueue(
        PLAN,
        {"migration": str(migration.uuid)},
        actor=actor,
        about=[migration.target],
        join_key=f"plan:{migration.uuid}",
        idempotency_key=idempotency_key,
        title=f"Plan migration {migration.number}: {migration.source_name} → {migration.target.name}",
        source=source,
    )
    migration.job = job
    migration.save(update_fields=["job", "updated_at"])
    return job


@transaction.atomic
def request_apply(
    migration: Migration,
    *,
    plan_hash: str,
    actor: Any,
    confirmation: str = "",
    bypass_reason: str = "",
    source: str = Source.PAGE,
    idempotency_key: str | None = None,
) -> Job:
    """Queue the reviewed plan of a migration. Asking twice is safe: both callers get the same job.

    `plan_hash`: of the plan that was looked at, or its first 12 characters at least. `confirmation`: the
    target's slug, where the target is protected. `bypass_reason`: why it goes on outside of the windows of the target,
    for who has the right to. Raises NotAllowed; PlanChanged; WrongConfirmation; GateClosed where an approval is missing
    or it is not the time; NotReady with the reason in any other case.
    """
    permission = Permission.MIGRATION_ROLLBACK if migration.is_rollback else Permission.MIGRATION_APPLY
    migration = _locked(migration, actor, permission)
    plan = migration.plan
    if (known := _apply_of_request(migration, plan_hash, actor, idempotency_key)) is not None:
        return known
    running = migration.runs.unfinished().select_related("job").first()
    if running is not None and running.job is not None and plan is not None and running.plan_id == plan.pk:
        return running.job
    if plan is None:
        raise NotReady("There is no plan to apply.", remedy="Make a plan first.")
    if len(plan_hash) < 12 or not plan.hash.startswith(plan_hash):
        raise PlanChanged()
    _must_be_applicable(migration, plan)
    removes = bool(plan.counts.get("remove")) and not migration.is_rollback
    if removes and (migration.prune or migration.source_id is not None):
        policy.require(actor, Permission.MIGRATION_PRUNE, migration.target)
    in_the_way = gates.obstacles(migration, plan)
    if in_the_way:
        _must_be_bypassed(migration, in_the_way, bypass_reason, actor)
    if migration.target.protected and confirmation.strip() != migration.target.slug:
        raise WrongConfirmation(
            f"{migration.target.name} is protected: type its name, {migration.target.slug}, to write to it.",
            errors={"confirmation": [f"Type {migration.target.slug}."]},
        )
    run = Run.objects.create(migration=migration, plan=plan, created_by=actor)
    if in_the_way:
        gates.note_bypass(migration, plan, run, actor, bypass_reason.strip(), in_the_way)
    job = jobs.enqueue(
        APPLY,
        {"run": run.number},
        actor=actor,
        locks=write_locks(migration.target),
        about=[migration.target],
        join_key=f"run:{run.number}",
        idempotency_key=idempotency_key,
        title=f"Run {run.number}: {migration.source_name} → {migration.target.name}",
        source=source,
    )
    run.job = job
    run.save(update_fields=["job"])
    migration.state = MigrationState.APPLYING
    migration.job = job
    migration.save(update_fields=["state", "job", "updated_at"])
    audit.record(
        "migration:apply",
        migration,
        actor=actor,
        data={
            "run": run.number,
            "plan": plan.hash,
            "target": migration.target.slug,
            "override_reason": migration.override_reason,
        },
    )
    promotions.wake([migration])
    return job


def _apply_of_request(
    migration: Migration, plan_hash: str, actor: Any, idempotency_key: str | None
) -> Job | None:
    """The job that this very request got before. Raises Conflict if its key belongs to another one."""
    job = jobs.of_request(actor, idempotency_key)
    if job is None:
        return None
    run = Run.objects.select_related("plan").filter(number=job.params.get("run"), migration=migration).first()
    if job.kind != APPLY or run is None or not plan_hash or not run.plan.hash.startswith(plan_hash):
        raise Conflict(
            "This idempotency key was used for another request.",
            code="idempotency_key_reused",
            remedy="Use a new key for a new request.",
        )
    return job


def why_not_applicable(migration: Migration, *, with_gates: bool = True) -> str:
    """The first reason in words why the current plan cannot be applied, empty if it can.

    Without `with_gates`: as far as the plan itself is concerned, and not whether it is approved or the time for it.
    """
    plan = migration.plan
    if plan is None:
        return "There is no plan yet."
    try:
        _must_be_applicable(migration, plan)
    except NotReady as error:
        return error.message
    found = gates.obstacles(migration, plan) if with_gates else []
    return " ".join(obstacle.text for obstacle in found)


@transaction.atomic
def create_rollback(run: Run, *, actor: Any) -> Migration:
    """A migration that puts back what a run changed: from its restore point, removing what it created.
    Plan and apply it like any.

    Asking twice gives the same one while it is open. Raises NotReady if the run wrote nothing or was
    rolled back already.
    """
    migration = run.migration
    policy.require(actor, Permission.MIGRATION_ROLLBACK, migration.target)
    run = Run.objects.select_for_update(of=("self",)).get(pk=run.pk)
    if not run.is_finished:
        raise NotReady(f"Run {run.number} is still at work.", remedy="Wait for its end.")
    if run.state == RunState.ROLLED_BACK:
        raise NotReady(f"Run {run.number} was rolled back already.")
    if (gone := restore_points.gone_of(run)) is not None:
        raise NotReady(
            f"The restore point of run {run.number}, backup {gone}, is gone: it was older than "
            f"{migration.target.name} keeps them, or somebody deleted it. Nothing was changed.",
            code="restore_point_gone",
            remedy=f"Restore what is wrong from another backup of {migration.target.name}.",
        )
    if run.restore_point_id is None or run.state == RunState.STOPPED:
        raise NotReady(f"Run {run.number} wrote nothing; there is nothing to roll back.")
    existing = run.rollbacks.filter(state__in=OPEN_STATES).first()
    if existing is not None:
        return existing
    rollback = Migration.objects.create(
        title=f"Roll back run {run.number}: {migration.title}"[:200],
        source_place=run.place,
        target=migration.target,
        rolls_back=run,
        with_dependencies=False,
        verify=False,
        carrying=migration.carrying,
        created_by=actor,
    )
    audit.record(
        "migration:rollback", rollback, actor=actor, data={"run": run.number, "target": migration.target.slug}
    )
    return rollback


@transaction.atomic
def request_verification(
    run: Run, *, actor: Any, source: str = Source.PAGE, idempotency_key: str | None = None
) -> Job:
    """Queue the verification of a finished run once more. Reads only."""
    policy.require(actor, Permission.MIGRATION_PLAN, run.migration.target)
    if run.state != RunState.APPLIED:
        raise NotReady("Only a run that was applied can be verified.")
    return jobs.enqueue(
        VERIFY,
        {"run": run.number},
        actor=actor,
        about=[run.migration.target],
        join_key=f"verify:{run.number}",
        idempotency_key=idempotency_key,
        title=f"Verify run {run.number}",
        source=source,
    )


# --- Helpers
# --------------------------------------------------------------------------------------------------------------


def write_locks(environment: Environment) -> list[Any]:
    """What a job locks that writes to an environment. A Superset that was registered twice is still one, and takes one
    run at a time.
    """
    return [environment, f"superset:{address_of(environment)}"]


def _locked(migration: Migration, actor: Any, permission: Permission) -> Migration:
    policy.require(actor, permission, migration.target)
    return (
        Migration.objects.select_for_update(of=("self",))
        .select_related("source", "target", "plan", "rolls_back")
        .get(pk=migration.pk)
    )


def _must_see_source(migration: Migration, actor: Any) -> None:
    """What a migration reads anew of its source is for people who may look there. Raises NotAllowed."""
    if migration.source is not None:
        policy.require(actor, Permission.ENVIRONMENT_VIEW, migration.source)
    if migration.backup is not None:
        policy.require(actor, Permission.BACKUP_VIEW, migration.backup.environment)


def _must_be_open(migration: Migration) -> None:
    if not migration.is_open:
        raise NotReady(
            f"{migration} is {migration.get_state_display()}; it cannot be changed any more.",
            remedy="Start another migration.",
        )


def _must_be_applicable(migration: Migration, plan: Plan) -> None:
    if migration.is_busy:
        raise NotReady(f"{migration} is being applied already.")
    if migration.state != MigrationState.PLANNED:
        raise NotReady(
            f"{migration} is {migration.get_state_display()}: there is no current plan to apply.",
            remedy="Make a plan.",
        )
    if plan.stale_reason:
        raise NotReady(f"The plan is stale: {plan.stale_reason}", remedy="Plan again.")
    if plan.blocked_count:
        raise NotReady(
            f"{plan.blocked_words}.",
            remedy="Answer them on the plan, or leave them out.",
        )
    if plan.errors and not migration.override_reason:
        raise NotReady(
            f"{len(plan.errors)} checks failed.",
            remedy="Mend what they say and plan again, or override them with a reason.",
        )
    if not plan.write_count and not plan.kept_count:
        raise NotReady("There is nothing to do: the target holds what it should.")


def _must_be_bypassed(migration: Migration, found: list[gates.Obstacle], reason: str, actor: Any) -> None:
    """Raises GateClosed unless each of them can be passed by, and is, by somebody who may."""
    if not reason.strip() or not all(obstacle.can_bypass for obstacle in found):
        raise gates.closed(found)
    policy.require(actor, Permission.MIGRATION_BYPASS, migration.target)


def _must_be_prunable(migration: Migration, actor: Any) -> None:
    """Raises NotAllowed; NotReady for a migration that has no source to miss anything on."""
    policy.require(actor, Permission.MIGRATION_PRUNE, migration.target)
    if migration.is_of_backup and not migration.can_prune:
        raise NotReady(
            "What came later can only be removed where a backup of a whole environment is put back over it."
        )
    if not migration.can_prune:
        raise NotReady("Only a migration from another environment can remove what its source no longer has.")


def _plan_is_void(migration: Migration) -> None:
    migration.plan = None
    migration.state = MigrationState.DRAFT


def known_selection(source: Environment, selection: Iterable[str]) -> set[str]:
    chosen = {str(uuid).lower() for uuid in selection}
    if not chosen:
        raise Invalid(
            "Nothing is selected.",
            code="empty_selection",
            errors={"selection": ["Select at least one asset."]},
        )
    if len(chosen) > MAX_SELECTION:
        raise Invalid(
            f"{len(chosen)} assets are more than one migration takes ({MAX_SELECTION}).",
            code="selection_too_large",
            remedy="Select dashboards; what they stand on comes along. Or make several migrations.",
            errors={"selection": [f"At most {MAX_SELECTION}."]},
        )
    known = set(
        Asset.objects.filter(environment=source, uuid__in=chosen)
        .exclude(kind=Kind.DATABASE.value)
        .values_list("uuid", flat=True)
    )
    if unknown := sorted(chosen - known):
        raise Invalid(
            f"{source.name} has no such dashboard, chart or dataset: {', '.join(unknown[:3])}.",
            code="unknown_asset",
            remedy="Read the environment again, then select.",
            errors={"selection": [f"Unknown: {uuid}" for uuid in unknown[:20]]},
        )
    return chosen


def _title(source: Environment, target: Environment, chosen: set[str]) -> str:
    first = Asset.objects.filter(environment=source, uuid__in=chosen).order_by("-kind", "sort_key").first()
    more = f" and {len(chosen) - 1} more" if len(chosen) > 1 else ""
    return f"{first.title if first else 'Assets'}{more}: {source.tag} → {target.tag}"


def find_migration(number: int, user: Any) -> Migration:
    """Raises NotFoundError for what is absent or not visible."""
    migration = (
        Migration.objects.visible_to(user)
        .select_related("source", "target", "plan", "job")
        .filter(number=number)
        .first()
    )
    if migration is None:
        raise NotFoundError()
    return migration
