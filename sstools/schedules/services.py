"""Everything that people and programs do to schedules. Page, API, admin and command call these."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import transaction

from sstools.audit import services as audit
from sstools.errors import Conflict, Invalid, NotFoundError
from sstools.jobs import registry
from sstools.jobs import services as jobs
from sstools.jobs.models import Job, Source
from sstools.roles import policy
from sstools.roles.permissions import Permission

from .cron import Cron, CronError, zone_named
from .models import Firing, Missed, Outcome, Schedule, Trigger, with_subjects

TIMING = ("cron", "time_zone", "jitter_seconds", "grace_seconds", "missed")
PLAIN = ("name", *TIMING)
BOUNDS = {"jitter_seconds": (0, 6 * 3600), "grace_seconds": (30, 24 * 3600)}
NAME_LENGTH, CRON_LENGTH = 100, 100


@dataclass(frozen=True)
class Asked:
    """The right to a schedule: on what, and by which permission of its kind of job."""

    obj: Any  # the environment, its resource name, or None for everything
    permission: Permission | None


def kinds() -> list[registry.Kind]:
    """The kinds that people may schedule, by title."""
    known = [registry.kind(name) for name in registry.names()]
    return sorted((kind for kind in known if _is_for_people(kind)), key=lambda kind: kind.title)


def kinds_of(user: Any) -> list[registry.Kind]:
    """Those of them for which `user` has the right anywhere."""
    if not policy.can_anywhere(user, Permission.SCHEDULE_EDIT):
        return []
    return [kind for kind in kinds() if kind.permission is None or policy.can_anywhere(user, kind.permission)]


def why_no_new(user: Any) -> str:
    """Why somebody may make no schedule, "" where they may."""
    if kinds_of(user):
        return ""
    why = policy.explain(user, Permission.SCHEDULE_EDIT)
    return "Your roles allow nothing that could be scheduled." if why.allowed else f"{why.sentence}"


def _is_for_people(kind: registry.Kind) -> bool:
    return kind.schedulable is not None and kind.schedulable.builtin is None


# --- Changing -----------------------------------------------------------------------------------------------------


@transaction.atomic
def create_schedule(data: Mapping[str, Any], *, actor: Any, source: str = Source.PAGE) -> Schedule:
    """A new schedule of `actor`: name, kind, params, cron, time_zone; optional jitter_seconds, grace_seconds, missed.

    It acts in the name of `actor`, who needs `schedule:edit` and the right of its kind on what it is about.
    Raises NotAllowed; Invalid with the errors by field ("params.<field>" for those of the kind's own).
    """
    kind = _kind(str(data.get("kind", "")))
    schedule = Schedule(kind=kind.name, owner=actor)
    errors = _apply(schedule, data, actor, is_new=True)
    if errors:
        raise Invalid("Some values are not right.", errors=errors)
    _require(schedule, actor, with_kind=True)
    schedule.set_next(schedule.timetable.next(jobs.db_now(), schedule.zone))
    schedule.save()
    audit.record("schedule:create", schedule, actor=actor, data=_values(schedule), source=source)
    return schedule


@transaction.atomic
def update_schedule(
    schedule: Schedule, data: Mapping[str, Any], *, actor: Any, source: str = Source.PAGE
) -> Schedule:
    """Change the given fields; the kind stays. Raises NotAllowed; Invalid; Conflict("builtin").

    Whoever changes what somebody else's schedule works on becomes its owner: nobody can let others' rights act.
    """
    schedule = _locked(schedule)
    _require(schedule, actor, with_kind=schedule.is_builtin)
    if schedule.is_builtin and {"name", "params"} & set(data):
        raise Conflict(
            "This schedule comes with ss-tools: only its times can be changed.",
            code="builtin",
            remedy="Pause it if it is not wanted.",
        )
    if "kind" in data and data["kind"] != schedule.kind:
        raise Invalid(
            "The kind of work cannot be changed.",
            errors={"kind": ["It stays. Make another schedule instead."]},
        )
    before = _values(schedule)
    if errors := _apply(schedule, data, actor, is_new=False):
        raise Invalid("Some values are not right.", errors=errors)
    after = _values(schedule)
    changed = [name for name in after if before[name] != after[name]]
    if not changed:
        return schedule
    if "params" in changed:
        _require(schedule, actor, with_kind=True)
        schedule.owner = actor
    if not schedule.is_paused and set(changed) & set(TIMING):
        schedule.set_next(schedule.timetable.next(jobs.db_now(), schedule.zone))
    schedule.save()
    shown = {name: {"before": before[name], "after": after[name]} for name in changed}
    audit.record("schedule:update", schedule, actor=actor, data=shown, source=source)
    return schedule


@transaction.atomic
def pause(schedule: Schedule, *, actor: Any, reason: str = "", source: str = Source.PAGE) -> Schedule:
    """Let it rest until somebody resumes it. Runs that are due meanwhile are not made up for. Raises NotAllowed."""
    schedule = _locked(schedule)
    _require(schedule, actor, with_kind=schedule.is_builtin)
    if not schedule.is_paused:
        put_to_rest(schedule, reason.strip(), actor=actor, source=source)
    return schedule


def put_to_rest(schedule: Schedule, reason: str, *, actor: Any, source: str) -> None:
    """The pause itself, for a row that is locked; `actor` None: ss-tools found that it cannot go on."""
    schedule.paused_at, schedule.paused_by = jobs.db_now(), actor
    schedule.pause_reason = reason[:500]
    schedule.set_next(None)
    schedule.save()
    audit.record(
        "schedule:pause", schedule, actor=actor, data={"reason": schedule.pause_reason}, source=source
    )


@transaction.atomic
def resume(schedule: Schedule, *, actor: Any, source: str = Source.PAGE) -> Schedule:
    """Let it go on with its next run from now. Raises NotAllowed; Conflict("owner_gone")."""
    schedule = _locked(schedule)
    _require(schedule, actor, with_kind=schedule.is_builtin)
    if not schedule.is_paused:
        return schedule
    if problem := owner_problem(schedule):
        raise Conflict(
            f"{problem} In whose name should it act?",
            code="owner_gone",
            remedy="Take it over first.",
        )
    schedule.paused_at = schedule.paused_by = None
    schedule.pause_reason = ""
    schedule.consecutive_failures = 0
    schedule.set_next(schedule.timetable.next(jobs.db_now(), schedule.zone))
    schedule.save()
    audit.record("schedule:resume", schedule, actor=actor, source=source)
    return schedule


@transaction.atomic
def take_over(schedule: Schedule, *, actor: Any, source: str = Source.PAGE) -> Schedule:
    """From now on it acts in the name of `actor`, who needs the right of its kind.

    Raises NotAllowed; Conflict("builtin").
    """
    schedule = _locked(schedule)
    if schedule.is_builtin:
        raise Conflict("This schedule comes with ss-tools and acts in nobody's name.", code="builtin")
    _require(schedule, actor, with_kind=True)
    if schedule.owner_id != actor.pk:
        before = schedule.owner.get_username() if schedule.owner else ""
        schedule.owner = actor
        schedule.save()
        audit.record(
            "schedule:take_over", schedule, actor=actor, data={"owner_before": before}, source=source
        )
    return schedule


@transaction.atomic
def delete_schedule(schedule: Schedule, *, actor: Any, source: str = Source.PAGE) -> None:
    """Forget it and its history; its jobs stay. Raises NotAllowed; Conflict("builtin")."""
    schedule = _locked(schedule)
    _require(schedule, actor)
    if schedule.is_builtin:
        raise Conflict(
            "This schedule comes with ss-tools.",
            code="builtin",
            remedy="Pause it if it is not wanted.",
        )
    audit.record("schedule:delete", schedule, actor=actor, data=_values(schedule), source=source)
    schedule.delete()


@transaction.atomic
def run_now(schedule: Schedule, *, actor: Any, source: str = Source.PAGE) -> Job:
    """Ask for its job at once, in the name of `actor`; its times stay as they are.

    One that is at work is returned instead. Raises NotAllowed, and what the kind's own service raises.
    """
    schedule = _locked(schedule)
    kind = registry.kind(schedule.kind)
    _require(schedule, actor, with_kind=True)
    if schedule.last_job is not None and not schedule.last_job.is_finished:
        schedule.last_job.joined = True
        return schedule.last_job
    now = jobs.db_now()
    assert kind.schedulable is not None
    job: Job = kind.schedulable.request(schedule.params, actor=actor, source=source, idempotency_key=None)
    firing = Firing.objects.create(
        schedule=schedule,
        due_at=now,
        at=now,
        late_at=now + timedelta(seconds=schedule.grace_seconds),
        trigger=Trigger.HAND,
        outcome=Outcome.FIRED,
        is_joined=job.joined,
        job=job,
        actor=actor,
    )
    schedule.last_firing, schedule.last_job = firing, job
    schedule.save()
    audit.record("schedule:run", schedule, actor=actor, data={"job": str(job.uuid)}, source=source)
    return job


# --- Rights -------------------------------------------------------------------------------------------------------


def asked(schedule: Schedule) -> Asked:
    """On what one needs rights for this schedule."""
    environment = schedule.subject.environment if schedule.subject else None
    try:
        permission = registry.kind(schedule.kind).permission
    except registry.UnknownKind:
        permission = None
    return Asked(environment or schedule.resource or None, permission)


def may_edit(schedule: Schedule, user: Any) -> bool:
    needed = asked(schedule)
    may = policy.can(user, Permission.SCHEDULE_EDIT, needed.obj)
    return may and (not schedule.is_builtin or may_run(schedule, user))


def may_run(schedule: Schedule, user: Any) -> bool:
    """Has `user` the right that its jobs need?"""
    needed = asked(schedule)
    return needed.permission is None or policy.can(user, needed.permission, needed.obj)


def owner_problem(schedule: Schedule) -> str:
    """Why nobody is there in whose name it could act; "" if somebody is, or nobody is needed."""
    if schedule.is_builtin:
        return ""
    if schedule.owner is None:
        return "Its owner was removed."
    if not schedule.owner.is_active:
        return f"Its owner {schedule.owner.get_username()} is disabled."
    return ""


def _require(schedule: Schedule, actor: Any, *, with_kind: bool = False) -> None:
    needed = asked(schedule)
    policy.require(actor, Permission.SCHEDULE_EDIT, needed.obj)
    if with_kind and needed.permission is not None:
        policy.require(actor, needed.permission, needed.obj)


def _locked(schedule: Schedule) -> Schedule:
    rows = Schedule.objects.select_for_update(of=("self",)).select_related("owner", "last_job")
    return rows.get(pk=schedule.pk)


# --- Values -------------------------------------------------------------------------------------------------------


def _kind(name: str) -> registry.Kind:
    names = ", ".join(kind.name for kind in kinds())
    try:
        kind = registry.kind(name)
    except registry.UnknownKind:
        kind = None
    if kind is None or not _is_for_people(kind):
        raise Invalid(
            "This cannot be scheduled.",
            errors={"kind": [f"“{name}” cannot be scheduled. Possible: {names}."]},
        )
    return kind


def _apply(schedule: Schedule, data: Mapping[str, Any], actor: Any, *, is_new: bool) -> dict[str, list[str]]:
    """Put the given values in; returns the errors by field."""
    errors: dict[str, list[str]] = {}
    for name in PLAIN:
        if name in data:
            setattr(schedule, name, _text(data[name]))
    if not schedule.name or len(schedule.name) > NAME_LENGTH:
        errors["name"] = [f"A name of at most {NAME_LENGTH} characters is needed."]
    for name, (low, high) in BOUNDS.items():
        value = getattr(schedule, name)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            errors[name] = [f"A whole number of seconds from {low} to {high:,}."]
    if schedule.missed not in Missed.values:
        errors["missed"] = [f"Possible: {', '.join(Missed.values)}."]
    errors |= _timing_errors(schedule)
    if is_new or "params" in data:
        errors |= _apply_params(schedule, data.get("params") or {}, actor)
    return errors


def _text(value: Any) -> Any:
    return " ".join(value.split()) if isinstance(value, str) else value


def _timing_errors(schedule: Schedule) -> dict[str, list[str]]:
    """Of the expression, the zone, and a jitter that would let a run be overtaken by the next one."""
    errors: dict[str, list[str]] = {}
    timetable = zone = None
    try:
        timetable = Cron.parse(schedule.cron if isinstance(schedule.cron, str) else "")
        schedule.cron = timetable.text
        if len(schedule.cron) > CRON_LENGTH:
            errors["cron"] = [f"At most {CRON_LENGTH} characters."]
    except CronError as exc:
        errors["cron"] = exc.messages
    try:
        zone = zone_named(schedule.time_zone if isinstance(schedule.time_zone, str) else "")
    except ValueError as exc:
        errors["time_zone"] = [str(exc)]
    if timetable and zone and isinstance(schedule.jitter_seconds, int) and schedule.jitter_seconds > 0:
        pause = timetable.shortest_pause(jobs.db_now(), zone)
        if pause is not None and schedule.jitter_seconds >= pause.total_seconds():
            errors["jitter_seconds"] = [
                f"It must be shorter than the time between two runs, {pause.total_seconds():.0f} s."
            ]
    return errors


def _apply_params(schedule: Schedule, given: Any, actor: Any) -> dict[str, list[str]]:
    kind = registry.kind(schedule.kind)
    assert kind.schedulable is not None
    if not isinstance(given, Mapping):
        return {"params": ["An object with the fields of this kind."]}
    form = kind.schedulable.form(given, user=actor)
    if unknown := sorted(set(given) - set(form.fields)):
        return {f"params.{name}": ["There is no such field."] for name in unknown}
    if not form.is_valid():
        return {
            f"params.{name}" if name != "__all__" else "params": [str(text) for text in texts]
            for name, texts in form.errors.items()
        }
    schedule.params = form.params()
    with_subjects([schedule])  # anew: it was looked up for the params before
    if schedule.subject is None:  # removed since the form looked
        raise NotFoundError("What it is to work on is gone.")
    schedule.resource = schedule.subject.resource
    return {}


def _values(schedule: Schedule) -> dict[str, Any]:
    """What history tells of a schedule."""
    return {name: getattr(schedule, name) for name in PLAIN} | {
        "kind": schedule.kind,
        "params": schedule.params,
    }
