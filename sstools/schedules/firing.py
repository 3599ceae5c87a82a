"""Starting what is due, once, however many supervisors there are; and finding out what became of it.

The supervisor of every machine with workers calls `fire_due` every few seconds (apps.py). Harmless when
several do at the same moment: a run is taken by a compare-and-set on `next_due_at`, in the transaction that enqueues
its job.
"""

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import InterfaceError, OperationalError, transaction
from django.db.models import F, Q

from sstools.errors import NotFoundError, SSToolsError, as_expected
from sstools.jobs import registry
from sstools.jobs import services as jobs
from sstools.jobs.models import FINISHED, Job, Source
from sstools.jobs.models import State as JobState
from sstools.outages import is_outage

from . import services, telling
from .cron import SECOND, Run
from .models import Firing, Missed, Outcome, Schedule, Trigger

logger = logging.getLogger(__name__)

FIRE_LIMIT = 200  # schedules a round looks at; the next one, seconds later, goes on
SETTLE_LIMIT = 500
PRUNE_LIMIT = 1_000
COUNT_LIMIT = 1_000  # missed runs are counted one by one up to here
TEXT_LENGTH = 1000


def fire_due(now: datetime | None = None) -> int:
    """Start what is due. Returns how many runs were dealt with."""
    ensure_builtins()
    now = now or jobs.db_now()
    due = Schedule.objects.filter(next_fire_at__lte=now, paused_at=None).order_by("next_fire_at")
    count = 0
    for pk in list(due.values_list("pk", flat=True)[:FIRE_LIMIT]):
        try:
            count += fire(pk, now) is not None
        except Exception as exc:  # a bug: it must not keep the other schedules from their runs
            if _is_of_the_database(exc):
                raise  # it is away for the others as well
            logger.exception("Schedule %s could not be fired", pk)
    return count


@dataclass(frozen=True)
class Due:
    """The run to deal with, how many before it were missed, and the one to come."""

    run: Run
    missed: int
    next: Run | None


def _due(schedule: Schedule, now: datetime) -> Due | None:
    """The latest run whose moment, with its jitter, has come."""
    timetable, zone = schedule.timetable, schedule.zone
    assert schedule.next_due_at is not None
    found: Run | None = None
    count = 0
    for run in timetable.runs(schedule.next_due_at - SECOND, zone):
        if schedule.fire_at(run.at) > now:
            return Due(found, count - 1, run) if found else None
        found, count = run, count + 1
        if count >= COUNT_LIMIT:  # after a long rest of a busy one: straight to the last
            last = timetable.latest(now, zone)
            if last is not None and schedule.fire_at(last.at) > now:
                last = timetable.latest(last.at - SECOND, zone)
            if last is not None and last.at > found.at:
                found = last
            return Due(found, count - 1, timetable.next(found.at, zone))
    return Due(found, count - 1, None) if found else None


@transaction.atomic
def fire(pk: int, now: datetime) -> Firing | None:
    """Deal with the due run of one schedule; None if there is nothing to do, or somebody else does it."""
    rows = Schedule.objects.select_for_update(of=("self",), skip_locked=True)
    schedule = rows.select_related("owner", "last_job").filter(pk=pk, paused_at=None).first()
    if schedule is None or schedule.next_fire_at is None or schedule.next_fire_at > now:
        return None
    try:
        due = _due(schedule, now)
    except ValueError as exc:  # the expression or the zone is not understood any more
        services.put_to_rest(schedule, f"{exc} Edit it, then resume.", actor=None, source=Source.SCHEDULE)
        return None
    if due is None:
        return None
    mine = Schedule.objects.filter(pk=pk, next_due_at=schedule.next_due_at, paused_at=None)
    fields = schedule.set_next(due.next)
    if not mine.update(**{name: getattr(schedule, name) for name in fields}):
        return None  # another supervisor was faster
    return _deal_with(schedule, due, now)


def _deal_with(schedule: Schedule, due: Due, now: datetime) -> Firing:
    late_at = schedule.fire_at(due.run.at) + timedelta(seconds=schedule.grace_seconds)
    firing = Firing(
        schedule=schedule, due_at=due.run.at, at=now, late_at=late_at, missed=due.missed, trigger=Trigger.DUE
    )
    is_late = now > late_at
    rest = ""
    if is_late and schedule.missed == Missed.SKIP:
        firing.outcome, firing.code = Outcome.MISSED, "missed"
        firing.text = f"Nobody was there to start {_runs(due.missed + 1)}; missed runs are skipped."
    elif schedule.last_job is not None and not schedule.last_job.is_finished:
        firing.outcome, firing.code, firing.job = Outcome.SKIPPED, "at_work", schedule.last_job
        firing.text = f"The run before was still at work ({schedule.last_job.get_state_display()})."
    elif problem := services.owner_problem(schedule):
        firing.outcome, firing.code = Outcome.FAILED, "owner_gone"
        firing.text = rest = f"{problem} Somebody must take it over."
    else:
        rest = _start(schedule, firing, is_late)
    firing.save()
    schedule.last_firing = firing
    if firing.started:
        schedule.last_job = firing.job
    elif firing.outcome == Outcome.FAILED:
        schedule.consecutive_failures += 1
    schedule.save()
    telling.dealt_with(schedule, firing)
    if rest:
        services.put_to_rest(schedule, rest, actor=None, source=Source.SCHEDULE)
    return firing


def _start(schedule: Schedule, firing: Firing, is_late: bool) -> str:
    """Ask for the job, in the owner's name. Returns why the schedule must rest, "" if it need not."""
    try:
        with transaction.atomic():
            kind = registry.kind(schedule.kind)
            if kind.schedulable is None:
                raise registry.UnknownKind(f"{kind.title} cannot be scheduled in this version of ss-tools.")
            key = f"schedule:{schedule.uuid}:{firing.due_at.isoformat()}"
            job: Job = kind.schedulable.request(
                schedule.params, actor=schedule.owner, source=Source.SCHEDULE, idempotency_key=key
            )
    except Exception as exc:
        if _is_of_the_database(exc):
            raise  # nothing is recorded, and the next round tries again
        return _not_started(schedule, firing, exc)
    firing.outcome = Outcome.LATE if is_late else Outcome.FIRED
    firing.job, firing.is_joined = job, job.joined
    if is_late:
        firing.text = "Nobody was there to start it in time" + (
            f", nor {_runs(firing.missed)} before it: this one run stands for all." if firing.missed else "."
        )
    return ""


def _is_of_the_database(exc: Exception) -> bool:
    return isinstance(exc, OperationalError | InterfaceError) or is_outage(exc)


def _not_started(schedule: Schedule, firing: Firing, exc: Exception) -> str:
    error = as_expected(exc)
    if error is None:
        logger.error("Schedule %s failed unexpectedly", schedule.uuid, exc_info=exc)
        error = SSToolsError(
            f"Unexpected: {type(exc).__name__}.",
            code="unexpected",
            remedy=f"The log has it under schedule {schedule.uuid}.",
        )
    firing.outcome, firing.code, firing.text = Outcome.FAILED, error.code, str(error)[:TEXT_LENGTH]
    is_gone = isinstance(exc, NotFoundError | registry.UnknownKind)
    return f"What it works on is gone. {error.message}" if is_gone else ""


def _runs(number: int) -> str:
    if number >= COUNT_LIMIT:
        return f"{number:,} or more runs"
    return "this run" if number == 1 else f"{number:,} runs"


# --- Afterwards ---------------------------------------------------------------------------------------------------


def job_ended(job: Job) -> None:
    """Note how the run of a schedule ended, in the transaction that ends its job."""
    for firing in Firing.objects.filter(job=job, result="").select_related("schedule"):
        firing.job = job
        _settle(firing)


def settle() -> int:
    """Note what `job_ended` could not: jobs that were taken away, or ended by hand. Returns how many."""
    open_ones = Firing.objects.filter(result="", outcome__in=(Outcome.FIRED, Outcome.LATE))
    ended = open_ones.filter(Q(job__state__in=FINISHED) | Q(job=None))
    rows = ended.select_related("job", "schedule").order_by("pk")[:SETTLE_LIMIT]
    return sum(_settle(firing) for firing in rows)


@transaction.atomic
def _settle(firing: Firing) -> bool:
    job = firing.job
    values: dict[str, Any] = {"result": job.state if job else "unknown"}
    if job is not None:
        values["finished_at"] = job.finished_at
        values["text"] = " ".join(filter(None, (firing.text, _what_came_out(job))))[:TEXT_LENGTH]
        values["code"] = (job.error or {}).get("code", "")[:50]
    if not Firing.objects.filter(pk=firing.pk, result="").update(**values):
        return False  # another supervisor was faster
    mine = Schedule.objects.filter(pk=firing.schedule_id)
    if job is not None and job.state == JobState.SUCCEEDED:
        mine.update(consecutive_failures=0, last_success_at=job.finished_at)
    elif job is not None and job.state == JobState.FAILED:
        mine.update(consecutive_failures=F("consecutive_failures") + 1)
    return True


def _what_came_out(job: Job) -> str:
    if job.error:
        return str(job.error.get("message", ""))
    if job.state != JobState.SUCCEEDED:
        return ""
    try:
        spec = registry.kind(job.kind).schedulable
        return spec.summary(job) if spec and spec.summary else ""
    except Exception:  # a result of an older version; the words are not worth an error
        logger.warning("No summary for job %s", job.uuid, exc_info=True)
        return ""


def prune(now: datetime | None = None) -> int:
    """Forget history older than SSTOOLS_SCHEDULE_HISTORY_DAYS; of each schedule the last run stays."""
    before = (now or jobs.db_now()) - timedelta(days=settings.SCHEDULE_HISTORY_DAYS)
    last = Schedule.objects.filter(last_firing__isnull=False).values("last_firing")
    old = Firing.objects.filter(at__lt=before).exclude(pk__in=last)
    count = 0
    while pks := list(old.values_list("pk", flat=True)[:PRUNE_LIMIT]):
        count += Firing.objects.filter(pk__in=pks).delete()[0]
    return count


# --- What comes with ss-tools -------------------------------------------------------------------------------------

_ensured = False


def ensure_builtins() -> None:
    """Make the schedules that every installation has, once; what people changed about them stays."""
    global _ensured
    if _ensured:
        return
    for name in registry.names():
        kind = registry.kind(name)
        if kind.schedulable is None or kind.schedulable.builtin is None:
            continue
        title, cron, params = kind.schedulable.builtin
        schedule = Schedule(
            name=title, kind=name, params=params, builtin=name, cron=cron, time_zone=settings.TIME_ZONE
        )
        schedule.set_next(schedule.timetable.next(jobs.db_now(), schedule.zone))
        if not Schedule.objects.filter(builtin=name).exists():
            Schedule.objects.bulk_create([schedule], ignore_conflicts=True)  # or another supervisor does
    _ensured = True
