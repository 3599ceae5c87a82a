"""Schedules and what became of each of their runs. What moves them is in `services.py` and `firing.py`."""

import uuid as uuid_module
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import cached_property
from itertools import islice
from typing import Any, Self
from zoneinfo import ZoneInfo

from django.conf import settings
from django.core.validators import MaxValueValidator
from django.db import models
from django.db.models import Case, Q, Value, When
from django.urls import reverse
from django.utils import timezone

from sstools.jobs import registry
from sstools.jobs import services as jobs
from sstools.jobs.models import Job
from sstools.jobs.models import State as JobState
from sstools.roles import policy
from sstools.roles.permissions import Permission

from . import jitter
from .cron import Cron, Run, zone_named

HOUR = 3600


class Missed(models.TextChoices):
    """What to do about runs whose moment and grace period passed while nobody could start them."""

    RUN_ONCE = "run_once", "run once, late"
    SKIP = "skip", "skip"


class State(models.TextChoices):
    ON = "on", "on"
    LATE = "late", "late"
    FAILING = "failing", "failing"
    PAUSED = "paused", "paused"


class ScheduleQuerySet(models.QuerySet["Schedule"]):
    def visible_to(self, user: Any) -> Self:
        """Those about something on which `user` has `schedule:view`; about nothing in particular: on everything."""
        scopes = policy.scopes(user, Permission.SCHEDULE_VIEW)
        return self if scopes.everything else self.filter(resource__in=scopes.resources)

    def with_state(self, now: datetime | None = None) -> Self:
        """Adds `state`, in the order in which it matters: paused, late, failing, on."""
        now = now or jobs.db_now()
        waits = Q(last_job__state=JobState.QUEUED, last_job__started_at=None, last_firing__late_at__lt=now)
        return self.annotate(
            state=Case(
                When(paused_at__isnull=False, then=Value(State.PAUSED)),
                When(Q(late_at__lt=now) | waits, then=Value(State.LATE)),
                When(consecutive_failures__gt=0, then=Value(State.FAILING)),
                default=Value(State.ON),
                output_field=models.CharField(),
            )
        )

    def in_state(self, state: str) -> Self:
        return self.with_state().filter(Q(("state", state)))


class Schedule(models.Model):
    """Work that asks for itself: a kind of job with its params, and when.

    ::

        on --- due: one supervisor moves `next_due_at` on (compare-and-set) and enqueues, in one transaction
         |  \\-- due + jitter + grace_seconds passed and it was not fired, or its job did not start: late
         |  \\-- its last runs failed: failing
         +--- somebody pauses it, its owner is gone, or what it works on is gone: paused -- resume --> on

    It acts in the name of its owner, whose rights are asked at each run. `resource`: what it is about, "" for nothing
    in particular. `next_fire_at` is `next_due_at` plus this run's share of the jitter; `late_at` that plus the grace.
    """

    uuid = models.UUIDField(unique=True, default=uuid_module.uuid4, editable=False)
    name = models.CharField(max_length=100)
    kind = models.CharField(max_length=100)
    params: Any = models.JSONField(default=dict, blank=True)
    resource = models.CharField(max_length=200, blank=True, editable=False)
    builtin = models.CharField(max_length=100, null=True, blank=True, unique=True, editable=False)

    cron = models.CharField(max_length=100)
    time_zone = models.CharField(max_length=64)
    jitter_seconds = models.PositiveIntegerField(default=0, validators=[MaxValueValidator(6 * HOUR)])
    grace_seconds = models.PositiveIntegerField(default=600, validators=[MaxValueValidator(24 * HOUR)])
    missed = models.CharField(max_length=10, choices=Missed.choices, default=Missed.RUN_ONCE)

    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="schedules"
    )
    paused_at = models.DateTimeField(null=True, blank=True)
    paused_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    pause_reason = models.CharField(max_length=500, blank=True)

    next_due_at = models.DateTimeField(null=True, blank=True)  # null: paused
    next_fire_at = models.DateTimeField(null=True, blank=True)
    late_at = models.DateTimeField(null=True, blank=True)
    last_firing = models.ForeignKey(
        "Firing", null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    last_job = models.ForeignKey(Job, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    last_success_at = models.DateTimeField(null=True, blank=True)
    consecutive_failures = models.PositiveIntegerField(default=0)

    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(auto_now=True)

    objects = ScheduleQuerySet.as_manager()

    class Meta:
        ordering = ["name", "id"]
        indexes = [
            models.Index(fields=["next_fire_at"], name="schedules_due"),
            models.Index(fields=["resource"], name="schedules_by_resource"),
        ]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("schedules:detail", args=[self.uuid])

    @property
    def is_paused(self) -> bool:
        return self.paused_at is not None

    @property
    def is_builtin(self) -> bool:
        return self.builtin is not None

    @cached_property
    def current_state(self) -> str:
        """As `with_state` says it; asked anew for a row that came without."""
        row = self if hasattr(self, "state") else Schedule.objects.with_state().get(pk=self.pk)
        return str(getattr(row, "state"))  # noqa: B009  an annotation

    @property
    def late_since(self) -> datetime | None:
        """When the grace of what it is late with ended; only for one that is late."""
        if self.late_at is not None and self.late_at < timezone.now():
            return self.late_at
        return self.last_firing.late_at if self.last_firing else None

    @property
    def timetable(self) -> Cron:
        return Cron.parse(self.cron)

    @property
    def words(self) -> str:
        """Raises ValueError."""
        return self.timetable.words

    @property
    def zone(self) -> ZoneInfo:
        """Raises ValueError for a name that this machine no longer knows."""
        return zone_named(self.time_zone)

    @property
    def shown_words(self) -> str:
        """`words` for pages; the expression itself where it was broken by hand."""
        try:
            return self.words
        except ValueError:
            return self.cron

    @property
    def shown_zone(self) -> ZoneInfo | None:
        try:
            return self.zone
        except ValueError:
            return None

    @property
    def kind_title(self) -> str:
        try:
            return registry.kind(self.kind).title
        except registry.UnknownKind:
            return self.kind

    @cached_property
    def subject(self) -> registry.Subject | None:
        """What it works on; None if that, or the kind of job, is gone. For many rows see `with_subjects`."""
        with_subjects([self])
        found: registry.Subject | None = self.__dict__["subject"]
        return found

    def fire_at(self, due: datetime) -> datetime:
        """When the run that is due at that moment is to start: up to `jitter_seconds` later, always the same."""
        return due + timedelta(seconds=jitter.share(str(self.uuid), due, self.jitter_seconds))

    def set_next(self, run: Run | None) -> list[str]:
        """Put the next run in; returns the names of the fields to save."""
        self.next_due_at = run.at if run else None
        self.next_fire_at = self.fire_at(run.at) if run else None
        self.late_at = (
            self.next_fire_at + timedelta(seconds=self.grace_seconds) if self.next_fire_at else None
        )
        return ["next_due_at", "next_fire_at", "late_at"]

    def next_runs(self, number: int = 3, after: datetime | None = None) -> list[Run]:
        """The next runs as they would be if it were not paused."""
        return list(islice(self.timetable.runs(after or jobs.db_now(), self.zone), number))


def with_subjects(schedules: Sequence[Schedule]) -> Sequence[Schedule]:
    """The same schedules, with `subject` looked up in one query for each kind."""
    by_kind: dict[str, list[Schedule]] = {}
    for schedule in schedules:
        by_kind.setdefault(schedule.kind, []).append(schedule)
    for name, some in by_kind.items():
        try:
            spec = registry.kind(name).schedulable
        except registry.UnknownKind:
            spec = None
        subjects = spec.subjects([schedule.params for schedule in some]) if spec else [None] * len(some)
        for schedule, subject in zip(some, subjects, strict=True):
            schedule.__dict__["subject"] = subject
    return schedules


class Outcome(models.TextChoices):
    FIRED = "fired", "started"
    LATE = "late", "started late, as a catch-up"
    SKIPPED = "skipped", "skipped, the run before was at work"
    MISSED = "missed", "missed"
    FAILED = "failed", "not started"


class Trigger(models.TextChoices):
    DUE = "due", "on schedule"
    HAND = "hand", "by hand"


class Firing(models.Model):
    """What became of one run of a schedule.

    `missed`: how many further runs before this one it stands for. `result`: the state in which its job ended, "" until
    then; `text`: why, or what came out of it.
    """

    schedule = models.ForeignKey(Schedule, on_delete=models.CASCADE, related_name="firings")
    due_at = models.DateTimeField()
    at = models.DateTimeField(default=timezone.now)
    late_at = models.DateTimeField()  # a job that did not start by then is late
    trigger = models.CharField(max_length=10, choices=Trigger.choices, default=Trigger.DUE)
    outcome = models.CharField(max_length=10, choices=Outcome.choices)
    missed = models.PositiveIntegerField(default=0)
    code = models.CharField(max_length=50, blank=True)
    text = models.CharField(max_length=1000, blank=True)
    is_joined = models.BooleanField(default=False)  # somebody had asked for the same already
    job = models.ForeignKey(Job, null=True, blank=True, on_delete=models.SET_NULL, related_name="firings")
    result = models.CharField(max_length=20, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )

    class Meta:
        ordering = ["-id"]
        constraints = [
            # The second lock on "exactly once", behind the compare-and-set on the schedule.
            models.UniqueConstraint(
                fields=["schedule", "due_at"], condition=Q(trigger="due"), name="a_run_is_fired_once"
            )
        ]
        indexes = [
            models.Index(fields=["schedule", "-id"], name="firings_of_a_schedule"),
            models.Index(fields=["result", "outcome"], name="firings_to_settle"),
            models.Index(fields=["at"], name="firings_by_age"),
        ]

    def __str__(self) -> str:
        return f"{self.schedule_id} {self.due_at:%Y-%m-%d %H:%M} {self.outcome}"

    @property
    def started(self) -> bool:
        return self.outcome in (Outcome.FIRED, Outcome.LATE)

    @property
    def state(self) -> str:
        """How it is shown: the state of its job, or why there is none."""
        if not self.started:
            return "not_started" if self.outcome == Outcome.FAILED else self.outcome
        if self.result:
            return self.result
        return self.job.state if self.job is not None else "unknown"
