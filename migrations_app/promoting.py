"""Plan and apply in one request: applied if nothing is open, else the job asks for what is missing and goes on when it
is there.

While it asks it holds no worker and no lock. What is missing is answered by page, by API or with the job itself; every
answer is kept where answers are kept (the mapping of the pair, the migration), so the plan is simply made again. All
checks of an apply are made when it applies, with the rights that the person who asked has at that moment.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.contrib.auth import get_user_model
from django.db import transaction
from django.urls import reverse

from sstools.audit import services as audit
from sstools.errors import Invalid, NotAllowed
from sstools.jobs import services as jobs
from sstools.jobs.models import Job, Source, State
from sstools.jobs.runner import JobContext
from sstools.roles import policy
from sstools.roles.permissions import Permission
from sstools.texts import counted

from . import gates, naming, planning, promotions, services
from .errors import NotReady, PlanChanged, WrongConfirmation
from .models import Migration, MigrationState, Plan, PlanCompanion

#: How often a plan is made again because somebody changed the migration while it was made.
TRIES = 3
#: Open points that a question names; it tells the number of all.
NAMED = 200
ANSWERS = ("databases", "answers", "override_reason")


# --- Asking for it --------------------------------------------------------------------------------------------------


@transaction.atomic
def request_promotion(
    migration: Migration,
    *,
    actor: Any,
    confirmation: str = "",
    source: str = Source.PAGE,
    idempotency_key: str | None = None,
) -> Job:
    """Queue planning, and applying if nothing is open. Asking while it is at work gives the same job.

    `confirmation`: the target's slug, where the target is protected; asked for now, as nobody may be there later.
    Raises NotAllowed, NotReady, WrongConfirmation; Conflict("idempotency_key_reused").
    """
    target = migration.target
    applying = Permission.MIGRATION_ROLLBACK if migration.is_rollback else Permission.MIGRATION_APPLY
    for permission in (Permission.MIGRATION_PLAN, applying):
        policy.require(actor, permission, target)
    if migration.source is not None:
        policy.require(actor, Permission.ENVIRONMENT_VIEW, migration.source)
    migration = (
        Migration.objects.select_for_update(of=("self",))
        .select_related("source", "target")
        .get(pk=migration.pk)
    )
    params = {"migration": str(migration.uuid), "confirmation": confirmation.strip()}
    known = jobs.of_request(actor, idempotency_key)
    if known is not None and (known.kind, known.params) == (promotions.PROMOTE, params):
        return known
    if not migration.is_open:
        raise NotReady(
            f"{migration} is {migration.get_state_display()}; it cannot be planned any more.",
            remedy="Start another migration.",
        )
    if target.protected and params["confirmation"] != target.slug:
        raise WrongConfirmation(
            f"{target.name} is protected: type its name, {target.slug}, to write to it.",
            errors={"confirmation": [f"Type {target.slug}."]},
        )
    job = jobs.enqueue(
        promotions.PROMOTE,
        params,
        actor=actor,
        about=[target],
        join_key=promotions.join_key(migration),
        idempotency_key=idempotency_key,
        title=f"Plan and apply migration {migration.number}: {migration.source_name} → {target.name}",
        source=source,
    )
    migration.job = job
    migration.save(update_fields=["job", "updated_at"])
    if not job.joined:
        audit.record("migration:promote", migration, actor=actor, data={"target": target.slug}, source=source)
    return job


def take_answer(job: Job, value: Any, actor: Any) -> dict[str, Any]:
    """Keep what a resting job is told, as the page of the mapping and the API would: with the rights of `actor`.

    `value`: {"databases": {source: target}, "answers": {uuid: answer}, "override_reason": text}, each as the API takes
    it; {} lets it look again. Raises Invalid, NotAllowed, NotReady; the job then goes on waiting.
    """
    if not isinstance(value, Mapping) or (unknown := sorted(set(value) - set(ANSWERS))):
        extra = f"Unknown: {', '.join(unknown)}." if isinstance(value, Mapping) else "This is no object."
        raise Invalid(
            f"Answer with an object of {', '.join(ANSWERS)}.", code="bad_answer", errors={"answer": [extra]}
        )
    migration = _of(job.params["migration"])
    if databases := value.get("databases"):
        if migration.maps_nothing or not isinstance(databases, Mapping):
            raise Invalid(
                "There is nothing to map here.", code="bad_answer", errors={"databases": ["Not wanted."]}
            )
        named = naming.name_databases_of(migration, databases)
        services.save_mapping(migration.terms, migration.target, actor=actor, databases=named)
    if answers := value.get("answers"):
        if not isinstance(answers, Mapping):
            raise Invalid(
                "Answers are an object: uuid to answer.", errors={"answers": ["This is no object."]}
            )
        services.answer_conflicts(migration, answers, actor=actor)
    if reason := value.get("override_reason"):
        services.update_migration(migration, actor=actor, override_reason=str(reason))
    return dict(value)


# --- Doing it -------------------------------------------------------------------------------------------------------


def promote(ctx: JobContext, migration_uuid: str, confirmation: str) -> dict[str, Any]:
    """The work of the job; safe to run again. Raises what planning raises, and what `request_apply` raises."""
    migration = _of(migration_uuid)
    key = f"promote:{ctx.job.uuid}"
    if (applying := jobs.of_request(ctx.job.actor, key)) is not None:  # a worker before came that far
        return _handed_over(migration, applying)
    for _ in range(TRIES):
        if not migration.is_open:
            return _ended_elsewhere(migration)
        plan = planning.make_plan(migration, ctx)
        migration = _of(migration_uuid)
        if migration.plan_id != plan.pk:  # answered while it was made
            continue
        if nothing_to_do(plan):
            return {"migration": migration.number, "outcome": "nothing_to_do", "plan": plan.hash}
        if question := question_about(migration, plan):
            ctx.ask(question)
        ctx.step("Handing over to the run")
        try:
            with ctx.fenced():
                applying = services.request_apply(
                    migration,
                    plan_hash=plan.hash,
                    actor=_actor_now(ctx.job),
                    confirmation=confirmation,
                    source=ctx.job.source,
                    idempotency_key=key,
                )
        except PlanChanged:
            migration = _of(migration_uuid)
            continue
        return _handed_over(migration, applying)
    raise NotReady(
        f"{migration} was changed again and again while it was planned.", remedy="Ask for it again."
    )


def _actor_now(job: Job) -> Any:
    """Who asked, with the rights of this moment: hours may have gone by."""
    actor = get_user_model().objects.filter(pk=job.actor_id).first() if job.actor_id else None
    if actor is None:
        raise NotAllowed("Whoever asked for this is no longer a user here; somebody else has to apply it.")
    return actor


def nothing_to_do(plan: Plan) -> bool:
    return not (plan.write_count or plan.blocked_count or plan.kept_count)


def _handed_over(migration: Migration, applying: Job) -> dict[str, Any]:
    return {
        "migration": migration.number,
        "outcome": "applying",
        "run": applying.params.get("run"),
        "apply_job": str(applying.uuid),
    }


def _ended_elsewhere(migration: Migration) -> dict[str, Any]:
    """Somebody applied or discarded it while this job waited: there is nothing left for it to do."""
    run = migration.runs.order_by("-number").first()
    if migration.state == MigrationState.DISCARDED or run is None:
        raise NotReady(f"{migration} is {migration.get_state_display()}: it is not planned any more.")
    return {"migration": migration.number, "outcome": "applied_by_another_request", "run": run.number}


# --- What is open ---------------------------------------------------------------------------------------------------


def question_about(migration: Migration, plan: Plan) -> dict[str, Any] | None:
    """What stands between the plan and its application, as a question of the job; None if nothing does.

    One thing at a time: what is blocked by a missing connection is not asked about before that is there. `missing` has
    the same as data: {"databases": [{"uuid", "name", "backend", "datasets", "suggestions"}]} or {"conflicts":
    [{"uuid", "kind", "title", "code", "text", "options"}]} or {"checks": [{"code", "text", "remedy", "uuid"}]} or
    {"gates": [{"code", "text"}]}.
    """
    source = migration.source_name
    unmapped = [row for row in plan.databases if not row["target"]]
    if unmapped and not migration.maps_nothing:
        number = len(unmapped)
        noun, verb = ("connection", "has") if number == 1 else ("connections", "have")
        return _question(
            plan,
            code="unmapped",
            title="Which connections stand for these?",
            text=f"{number} {noun} of {source} {verb} no counterpart on {migration.target.name} yet. "
            "It goes on as soon as the mapping is saved.",
            url=reverse("migrations_app:map", args=[migration.number]),
            action=f"Map {number} {noun}",
            missing={"databases": [_database(row) for row in unmapped[:NAMED]]},
            lines=[
                f"{row['name']} ({row['backend']}), {counted(row['dataset_count'], 'dataset')}"
                for row in unmapped
            ],
        )
    url = reverse("migrations_app:plan", args=[migration.number])
    if plan.blocked_count:
        blocked: list[Any] = list(plan.items.filter(action="blocked").order_by("position")[:NAMED])
        asked = plan.companions.filter(action="blocked", conflict__isnull=False)
        blocked += asked[: NAMED - len(blocked)]
        number = plan.blocked_count
        return _question(
            plan,
            code="conflicts",
            title="Both sides have something to say",
            text=f"{plan.blocked_words} until somebody decides.",
            url=f"{url}#conflicts",
            action="Answer on the plan",
            missing={"conflicts": [_conflict(item) for item in blocked]},
            lines=[
                _why(item) if _is_beside(item) else f"{item.kind} “{item.title}”: {_why(item)}"
                for item in blocked
            ],
            total=number,
        )
    if plan.errors and not migration.override_reason:
        number = len(plan.errors)
        return _question(
            plan,
            code="checks_failed",
            title="Checks failed",
            text=f"{number} {'check' if number == 1 else 'checks'} of the plan failed. Mend what they say, or override "
            "them with a reason.",
            url=f"{url}#checks",
            action="Look at the checks",
            missing={
                "checks": [
                    {name: problem.get(name, "") for name in ("code", "text", "remedy", "uuid")}
                    for problem in plan.errors[:NAMED]
                ]
            },
            lines=[problem["text"] for problem in plan.errors],
        )
    if found := gates.obstacles(migration, plan):
        return _question(
            plan,
            code=found[0].code,
            title="It may not be applied yet",
            text="It goes on by itself as soon as nothing of this is in the way any more.",
            url=found[0].url or url,
            action="See what is missing",
            missing={"gates": [{"code": one.code, "text": one.text} for one in found]},
            lines=[one.text for one in found],
        )
    return None


def _question(
    plan: Plan,
    *,
    code: str,
    title: str,
    text: str,
    url: str,
    action: str,
    missing: dict[str, Any],
    lines: list[str],
    total: int = 0,
) -> dict[str, Any]:
    total = total or len(lines)
    shown = lines[:10]
    if total > len(shown):
        shown.append(f"and {total - len(shown)} more")
    return {
        "code": code,
        "title": title,
        "text": text,
        "url": url,
        "action": action,
        "plan": plan.hash,
        "missing": missing,
        "missing_count": total,
        "missing_text": shown,
    }


def _database(row: Mapping[str, Any]) -> dict[str, Any]:
    suggestions = [
        {name: choice.get(name) for name in ("uuid", "name", "backend", "score", "reason")}
        for choice in row["suggestions"]
    ]
    return {
        "uuid": row["uuid"],
        "name": row["name"],
        "backend": row["backend"],
        "datasets": row["dataset_count"],
        "suggestions": suggestions,
    }


def _is_beside(item: Any) -> bool:
    return isinstance(item, PlanCompanion)  # its text names it already


def _conflict(item: Any) -> dict[str, Any]:
    found = item.conflict or {}
    return {
        "uuid": item.uuid,
        "kind": item.kind,
        "title": item.title,
        "code": found.get("code", "blocked"),
        "text": _why(item),
        "options": found.get("options") or ["leave_out"],
    }


def _why(item: Any) -> str:
    return str(
        (item.conflict or {}).get("text") or item.blocked_by or "it stands on something that is blocked"
    )


def wake_the_answered() -> int:
    """Jobs that rest although what they asked for is there: it was answered in the moment they lay down, or mended
    without anybody telling. Returns how many. Called by the supervisors, again and again.
    """
    woken = 0
    for job in Job.objects.filter(kind=promotions.PROMOTE, state=State.NEEDS_INPUT).order_by("pk"):
        migration = (
            Migration.objects.select_related("plan", "target", "source")
            .filter(uuid=job.params.get("migration"))
            .first()
        )
        still_open = (
            migration is not None
            and migration.is_open
            and migration.plan is not None
            and question_about(migration, migration.plan) is not None
        )
        if not still_open:
            woken += jobs.wake(job)
    return woken


def _of(uuid: str) -> Migration:
    return Migration.objects.select_related("source", "target", "plan", "rolls_back").get(uuid=uuid)
