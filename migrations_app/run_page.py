"""What pages say of a run: its steps, what came of it, exactly what was written and what was not, and the ways on.

For the job's page (`sstools.jobs.pages`) as well as for the run's own.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from django.urls import reverse
from django.utils import timezone

from sstools.jobs import registry
from sstools.jobs import steps as job_steps
from sstools.jobs.models import Job, State
from sstools.jobs.pages import Action, Choice, JobPage, Listing, Step
from sstools.roles import policy
from sstools.roles.permissions import Permission

from . import leftovers
from .applying.attempt import FINISH, ROLL_BACK, may_have_written
from .models import Migration, Run, RunState, RunStep, StepState

#: What of a step's result is worth a word, with the noun where the number needs one.
SAID = {
    "read": "read",
    "moved": "moved",
    "assets": "asset",
    "imported": "imported",
    "carried": "written",
    "removed": "removed",
    "equal": "equal",
    "different": "different",
    "ok": "ok",
    "differs": "differ",
    "failed": "failed",
    "failed_on_both": "failed on both sides",
    "not_checkable": "not checkable",
}
#: The steps of every run, by name; rows come into being as steps begin.
OUTLINE = (
    ("check", "Check that nothing moved since the plan"),
    ("restore_point", "Take the restore point"),
    ("write", "Write"),
    ("read_back", "Read back and compare with the plan"),
    ("carry_back", "Read back what came along"),
    ("verify", "Verify each chart on source and target"),
)
CUT_OFF = "Its worker was lost. The next one asked the target what was written, and went on from there."
STEP_STATES = {
    StepState.PENDING: "waiting",
    StepState.RUNNING: "running",
    StepState.DONE: "done",
    StepState.FAILED: "failed",
    StepState.SKIPPED: "skipped",
}
WRITES = ("create", "update", "remove")  # actions of a plan that change the target
#: A run in one of these can be rolled back.
UNDOABLE = (RunState.APPLIED, RunState.NEEDS_ATTENTION, RunState.ACCEPTED)


def has_written(run: Run) -> bool:
    """Whether something of it may be on the target: from then on a cancel has to say what becomes of that."""
    return any(may_have_written(step) for step in run.steps.all())


def converted(run: Run) -> list[dict[str, Any]]:
    """Charts that Superset turned into another type when it imported them: uuid on the target, title, from, to, and the
    fields that it changed.
    """
    read = [step for step in run.steps.all() if step.name == "read_back" and step.state == StepState.DONE]
    return list(read[-1].result.get("converted", [])) if read else []


def embedded(run: Run) -> list[dict[str, str]]:
    """Dashboards whose embedding was carried: title, and the uuids that pages name on source and target."""
    steps = [step for step in run.steps.all() if step.state == StepState.DONE]
    return [step.result["embedded"] for step in steps if "embedded" in step.result]


# --- Steps ----------------------------------------------------------------------------------------------------------
def run_steps(run: Run) -> list[Step]:
    """What was begun, and while the run is at work what is still to come."""
    begun = list(run.steps.all())
    job = run.job
    progress = job_steps.progress_of(job, job_steps.step_lines(job)) if job is not None else None
    is_at_work = job is None or job.state == State.RUNNING
    steps = [_step(step, progress, is_at_work) for step in begun]
    last = None if run.is_finished else len(steps) - 1
    for place, step in enumerate(steps):
        # Only the last one can be at work: the worker of any other was lost, and another went on.
        if step.state in ("running", "waiting") and place != last:
            steps[place] = replace(step, state="skipped", seconds=None, note="cut off", detail=CUT_OFF)
    if not run.is_finished and all(step.state != StepState.FAILED for step in begun):
        seen = {step.name for step in begun}
        reached = max((place for place, (name, _) in enumerate(OUTLINE) if name in seen), default=-1)
        steps += [
            Step(title, "waiting")
            for name, title in OUTLINE[reached + 1 :]
            if name not in ("verify", "carry_back")
            or (name == "verify" and run.migration.verify and not run.migration.maps_nothing)
            or (name == "carry_back" and any(run.plan.companion_counts.get(action) for action in WRITES))
        ]
    return steps


def _step(step: RunStep, progress: job_steps.Progress | None, is_at_work: bool) -> Step:
    state, note, seconds = STEP_STATES[StepState(step.state)], "", step.seconds
    if state == "running" and not is_at_work:
        state, note = "waiting", "begun, rests now"
    elif state == "running":
        if step.started_at:
            seconds = (timezone.now() - step.started_at).total_seconds()
        if progress is not None:
            note = f"{progress.done:,} of {progress.total:,}"
    result = step.result if isinstance(step.result, dict) else {}
    said = result.get("error") or result.get("message") or ""
    if state == "done":
        note = ", ".join(_said(key, value) for key, value in result.items() if key in SAID and value)
    return Step(step.title, state, note, seconds, said if isinstance(said, str) else "")


def _said(key: str, value: int) -> str:
    word = SAID[key]
    return f"{value:,} {word}s" if word == "asset" and value != 1 else f"{value:,} {word}"


# --- The job's page -------------------------------------------------------------------------------------------------
def describe(job: Job, user: Any) -> JobPage:
    """Of a job that applies a plan."""
    run = (
        Run.objects.select_related("migration__target", "migration__source", "plan", "job")
        .filter(number=job.params.get("run"))
        .first()
    )
    if run is None:
        return JobPage()
    page = JobPage(
        steps=run_steps(run),
        cancel_text=_cancel_text(run),
        cancel_choices=cancel_choices(run),
    )
    if not run.is_finished:
        return page
    written, rest = written_and_rest(run)
    url = f"{reverse('migrations_app:verify', args=[run.migration_id])}?run={run.number}"
    to_run = Action(f"Run {run.number}: what was written, chart by chart", url, is_post=False)
    return replace(
        page,
        headline=headline(run, len(written), len(rest)),
        listings=listings(run, written, rest),
        actions=(*ways_on(run, user), to_run),
    )


def describe_promotion(job: Job, user: Any) -> JobPage:
    """Of a job that plans and applies: what became of it, with the way to the run."""
    migration = Migration.objects.filter(uuid=job.params.get("migration")).select_related("target").first()
    if migration is None or not job.is_finished:
        return JobPage(
            cancel_text="Planning writes nothing: it ends at once, and the migration stays as it is."
        )
    result = job.result or {}
    number = result.get("run")
    outcomes = {
        "applying": f"Nothing was open: run {number} applies the plan",
        "nothing_to_do": f"Nothing to do: {migration.target} holds what it should",
        "applied_by_another_request": f"Somebody else applied it meanwhile: run {number}",
    }
    headline = outcomes.get(str(result.get("outcome")), "")
    if not headline or not number:
        return JobPage(headline=headline)
    url = f"{reverse('migrations_app:verify', args=[migration.number])}?run={number}"
    return JobPage(headline=headline, actions=(Action("To the run", url, is_post=False, style="primary"),))


def written_and_rest(run: Run) -> tuple[list[str], list[str]]:
    """Names of what is there as planned, and of what else the plan was to write; all in the order of the plan."""
    equal = set(run.written)
    between = set(((run.error or {}).get("detail") or {}).get("between") or ())
    written: list[str] = []
    rest: list[str] = []
    rows = run.plan.items.filter(action__in=WRITES).order_by("position")
    for kind, title, action, uuid in rows.values_list("kind", "title", "action", "target_uuid"):
        words = f"{kind} “{title}”, {action}"
        if uuid in equal:
            written.append(words)
        else:
            rest.append(f"{words}: neither as planned nor as before" if uuid in between else words)
    for one in run.plan.companions.filter(action__in=WRITES):
        words = f"{one.words}, {one.action}"
        if one.target_uuid in equal:
            written.append(words)
        else:
            rest.append(f"{words}: neither as planned nor as before" if one.target_uuid in between else words)
    return written, rest


def listings(run: Run, written: list[str], rest: list[str]) -> tuple[Listing, ...]:
    """What is on the target, by name; only where a run did not come to its end."""
    if run.state not in (RunState.NEEDS_ATTENTION, RunState.ACCEPTED):
        return ()
    if run.looked_at is None:
        return (Listing("Not known whether it is there", rest, "unknown"),)
    return (Listing("Written, as planned", written, "ok"), Listing("Not as planned", rest, "failed"))


def headline(run: Run, written: int, rest: int) -> str:
    """What came of a run, in one sentence that says what is on the target."""
    target = run.migration.target.name
    asked = bool(run.job and run.job.cancel_requested)
    if run.state == RunState.APPLIED:
        done = f"{written:,} of {written + rest:,} written on {target}, as planned"
        return f"Finished, as was chosen when it was cancelled: {done}" if asked else f"Done: {done}"
    if run.state == RunState.ROLLED_BACK:
        words = "Rolled back on request" if asked else "Rolled back"
        return f"{words}: {target} is as it was before the run"
    if run.state == RunState.STOPPED:
        cancelled = run.job is not None and run.job.state == State.CANCELLED
        if cancelled:
            return f"Cancelled before anything was written: {target} was not touched"
        return f"Stopped before writing: {target} was not touched"
    if run.looked_at is None:
        return f"Ended in the middle: what is on {target} is not known"
    if run.state == RunState.ACCEPTED:
        return f"Left as it is: {written:,} written on {target}, {rest:,} not as planned"
    failed = run.steps.filter(state=StepState.FAILED).order_by("-position").first()
    where = f" in the step “{failed.title}”" if failed else ""
    return f"Failed{where}: {written:,} written, {rest:,} not as planned"


def _cancel_text(run: Run) -> str:
    target = run.migration.target.name
    if has_written(run):
        return f"It has begun to write on {target}. What is to become of that?"
    return f"Nothing is written on {target} yet. It ends at its next safe point, and {target} stays as it is."


def cancel_choices(run: Run) -> tuple[Choice, ...]:
    """What a cancel can mean now; empty before the first write."""
    kind = registry.find(run.job.kind) if run.job else None
    known = kind.cancel_choices if kind else ()
    if run.migration.is_rollback:
        known = tuple(value for value in known if value == FINISH)
    if not known or run.is_finished or not has_written(run):
        return ()
    target = run.migration.target.name
    choices = (
        Choice(
            ROLL_BACK,
            "Roll back",
            f"What was written is put back from the restore point, what was created is removed; {target} is read "
            "afterwards to prove it.",
        ),
        Choice(
            FINISH,
            "Finish",
            "It goes on to its end: the rest is written, read back and verified. It can be rolled back after that.",
        ),
    )
    return tuple(choice for choice in choices if choice.value in known)


def ways_on(run: Run, user: Any) -> tuple[Action, ...]:
    """What may be done after a run, the most likely first. What somebody may not do is named with the reason."""
    migration = run.migration
    target = migration.target
    fields = {"run": str(run.number)}

    def action(label: str, name: str, permission: Permission, **more: Any) -> Action:
        allowed = policy.can(user, permission, target)
        reason = "" if allowed else policy.explain(user, permission, target).sentence
        address = reverse(f"migrations_app:{name}", args=[migration.number])
        return Action(label, address, fields, reason=reason, **more)

    if run.state == RunState.STOPPED:
        url = reverse("migrations_app:plan", args=[migration.number])
        return (Action("Back to the plan", url, is_post=False, style="primary"),) if migration.is_open else ()
    actions: list[Action] = []
    stuck = run.state == RunState.NEEDS_ATTENTION
    if run.restore_point_id is not None and run.state in UNDOABLE:
        number = f" the {len(run.written):,}" if stuck and run.written and run.looked_at else ""
        actions.append(
            action(
                f"Roll back{number}…",
                "rollback",
                Permission.MIGRATION_ROLLBACK,
                icon="undo",
                style="danger",
                note="shows its plan first",
            )
        )
    if not stuck:
        return tuple(actions)
    if run.looked_at is not None and run.unwritten:
        left = f"Write the {len(run.unwritten):,} left…"
        rest = "Try the roll back again…" if migration.is_rollback else left
        note = "shows its plan first"
        actions.append(action(rest, "retry_rest", Permission.MIGRATION_PLAN, icon="apply", note=note))
    note = f"only reads {target.name}"
    actions.append(action("Look again", "look_again", Permission.MIGRATION_PLAN, icon="eye", note=note))
    if run.looked_at is not None:
        note = "nothing is written; it can still be rolled back"
        actions.append(
            action("Leave as it is", "accept", Permission.MIGRATION_APPLY, icon="check", note=note)
        )
    return tuple(actions)


def looking(run: Run) -> Job | None:
    """The job that is asking the target what a run left there."""
    return Job.objects.unfinished().filter(kind=leftovers.LOOK, join_key=f"look:{run.number}").first()


def describe_look(job: Job, user: Any) -> JobPage:
    """Of a job that sees what a run left."""
    run = (
        Run.objects.select_related("migration__target", "migration__source", "plan", "job")
        .filter(number=job.params.get("run"))
        .first()
    )
    if run is None or not job.is_finished:
        return JobPage(cancel_text="It only reads. Without it nobody knows what the run left.")
    written, rest = written_and_rest(run)
    return JobPage(
        headline=headline(run, len(written), len(rest)),
        listings=listings(run, written, rest),
        actions=ways_on(run, user),
    )
