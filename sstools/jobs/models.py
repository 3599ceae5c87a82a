"""Jobs, what they lock and what they say. The rules for moving from state to state are in `services.py`."""

import uuid as uuid_module
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Self

from django.conf import settings
from django.db import models
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser, AnonymousUser


class State(models.TextChoices):
    QUEUED = "queued", "queued"
    RUNNING = "running", "running"
    NEEDS_INPUT = "needs_input", "needs input"
    SUCCEEDED = "succeeded", "succeeded"
    FAILED = "failed", "failed"
    CANCELLED = "cancelled", "cancelled"


WORKER_SILENCE = timedelta(seconds=60)  # after that a worker counts as gone
WORKER_FORGOTTEN = timedelta(days=1)
UNFINISHED = (State.QUEUED, State.RUNNING, State.NEEDS_INPUT)
FINISHED = (State.SUCCEEDED, State.FAILED, State.CANCELLED)


class Source(models.TextChoices):
    PAGE = "page", "page"
    API = "api", "API"
    COMMAND = "command", "command"
    ADMIN = "admin", "Django admin"
    SCHEDULE = "schedule", "schedule"


class Priority(models.TextChoices):
    """How soon a job should run. Each has a handicap: the later of two jobs goes first only if it is more urgent, and
    only as long as the other has not waited longer than the difference. So nothing waits for ever.
    """

    INTERACTIVE = "interactive", "interactive"  # somebody looks at the page
    NORMAL = "normal", "normal"  # a program waits
    BACKGROUND = "background", "background"  # nobody waits: schedules. Never takes the last workers

    @classmethod
    def of_source(cls, source: str) -> "Priority":
        """What a job has that was asked for in this way, if nothing else is said."""
        return {Source.API: cls.NORMAL, Source.SCHEDULE: cls.BACKGROUND}.get(Source(source), cls.INTERACTIVE)

    @property
    def handicap(self) -> timedelta:
        return _HANDICAPS[self]


_HANDICAPS = {
    Priority.INTERACTIVE: timedelta(0),
    Priority.NORMAL: timedelta(minutes=1),
    Priority.BACKGROUND: timedelta(minutes=30),
}


class JobQuerySet(models.QuerySet["Job"]):
    def visible_to(self, user: "AbstractBaseUser | AnonymousUser") -> Self:
        """One's own jobs, and those that concern something on which one has `job:view`."""
        from sstools.roles import policy
        from sstools.roles.permissions import Permission

        if not user.is_authenticated:
            return self.none()
        scopes = policy.scopes(user, Permission.JOB_VIEW)
        if scopes.everything:
            return self
        concerned = JobResource.objects.filter(resource__in=scopes.resources).values("job_id")
        return self.filter(Q(actor_id=user.pk) | Q(pk__in=concerned))

    def unfinished(self) -> Self:
        return self.filter(state__in=UNFINISHED)

    def in_line(self) -> Self:
        """Those that wait for nothing but a worker, first the one that is taken first."""
        waiting = self.filter(state=State.QUEUED).exclude(Exists(locks_in_the_way()))
        return waiting.order_by("line_at", "pk")

    def before(self, job: "Job") -> Self:
        """Those that stand in line before this one."""
        return self.filter(Q(line_at__lt=job.line_at) | Q(line_at=job.line_at, pk__lt=job.pk))

    def with_is_blocked(self) -> Self:
        """Adds `is_blocked`: queued, and another job holds what it needs."""
        return self.annotate(is_blocked=Q(state=State.QUEUED) & Exists(locks_in_the_way()))


class Job(models.Model):
    """Requested work, and the truth about it.

    ::

                       claim (compare-and-set, takes the locks)
          +---------+ ------------------------------------------> +---------+ -- returns --------> succeeded
      --> | queued  |                                             | running | -- raises ---------> failed (code)
          +---------+ <-- answer -- +-------------+ <- asks ----- +---------+ -- JobCancelled ---> cancelled
             |   ^                  | needs_input |                 |     ^
             |   |                  +-------------+                 |     | lease ran out: claimed again,
             |   |                        |                         +-----+ loss + 1
             |   +-- lock held: stays     | cancel                  |
             |       queued, woken by     |                         +-- too many losses -> failed (worker_lost)
             |       the holder's end     |
             +-- cancel ------------------+-----------------------------------------------> cancelled

    A job that asks may keep its locks (half of its work is done); a cancel then does not end it but wakes it with the
    wish.

    A running job is owned: `owner` names the claim, `lease_until` how long it is believed alive. Whoever writes for
    the job does so with a condition on `owner`, so a worker that lost its lease writes nothing. A wish to cancel
    (`cancel_requested`) is answered by the handler at its next cancel point. Where a cancel can mean several things,
    `cancel_choice` says which: one of the kind's `cancel_choices`, or "" as long as nobody chose.
    """

    uuid = models.UUIDField(unique=True, default=uuid_module.uuid4, editable=False)
    kind = models.CharField(max_length=100)
    title = models.CharField(max_length=300, blank=True)
    state = models.CharField(max_length=20, choices=State.choices, default=State.QUEUED)
    params = models.JSONField(default=dict, blank=True)
    result = models.JSONField(null=True, blank=True)
    error = models.JSONField(null=True, blank=True)  # {"code", "message", "remedy"[, "detail"]}
    # What a job in needs_input waits for: {"code", "text", and "choices": [{"value", "label"[, "effect"]}] or "url"}
    question = models.JSONField(null=True, blank=True)
    answer = models.JSONField(null=True, blank=True)

    progress_done = models.PositiveIntegerField(default=0)
    progress_total = models.PositiveIntegerField(null=True, blank=True)  # null: not known
    current_step = models.CharField(max_length=300, blank=True)
    log_count = models.PositiveIntegerField(default=0, editable=False)  # the last seq given to a JobLog
    log_shortened_at = models.DateTimeField(null=True, blank=True, editable=False)  # see retention.py

    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="jobs"
    )
    source = models.CharField(max_length=20, choices=Source.choices, default=Source.PAGE)
    priority = models.CharField(max_length=20, choices=Priority.choices, default=Priority.NORMAL)
    # The place in line, by this and then by id: when it was asked for, plus the handicap of its priority.
    line_at = models.DateTimeField(default=timezone.now, editable=False)
    join_key = models.CharField(max_length=200, null=True, blank=True)  # noqa: DJ001  null: joins nothing
    idempotency_key = models.CharField(max_length=200, null=True, blank=True, unique=True)
    retry_of = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.SET_NULL, related_name="retries"
    )

    attempt = models.PositiveSmallIntegerField(default=0)  # how often it was claimed
    losses = models.PositiveSmallIntegerField(default=0)  # how often its worker was lost
    owner = models.CharField(max_length=200, blank=True)  # "host:pid:pid of its parent:random" of the claim
    lease_until = models.DateTimeField(null=True, blank=True)
    lost_at = models.DateTimeField(
        null=True, blank=True
    )  # until when the worker before this one was believed alive
    ready_at = models.DateTimeField(null=True, blank=True)  # since when it waits for nothing but a worker
    resend_at = models.DateTimeField(null=True, blank=True)  # unclaimed by then: the message is sent again
    cancel_requested = models.BooleanField(default=False)
    cancel_choice = models.CharField(max_length=50, blank=True)
    cancel_requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )

    created_at = models.DateTimeField(default=timezone.now, editable=False)
    started_at = models.DateTimeField(null=True, blank=True)  # first claim
    finished_at = models.DateTimeField(null=True, blank=True)

    objects = JobQuerySet.as_manager()
    joined = False  # set by enqueue(): True if this job was there already

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["join_key"], condition=Q(state__in=UNFINISHED), name="one_unfinished_job_per_join_key"
            ),
        ]
        indexes = [
            models.Index(fields=["state", "resend_at"], name="jobs_to_resend"),
            models.Index(fields=["state", "lease_until"], name="jobs_leases"),
            models.Index(fields=["state", "line_at", "id"], name="jobs_in_line"),
            models.Index(fields=["finished_at"], name="jobs_by_end"),
            models.Index(fields=["kind", "-id"], name="jobs_of_a_kind"),
        ]

    def __str__(self) -> str:
        return self.title or self.kind

    @property
    def is_finished(self) -> bool:
        return self.state in FINISHED

    @property
    def is_running(self) -> bool:
        return self.state == State.RUNNING

    @property
    def can_be_cancelled(self) -> bool:
        return not self.is_finished and not self.cancel_requested

    @property
    def can_be_retried(self) -> bool:
        return self.state in (State.FAILED, State.CANCELLED)

    @property
    def progress_percent(self) -> int | None:
        """0 to 100, or None where the end is not known."""
        if not self.progress_total:
            return None
        return min(100, round(100 * self.progress_done / self.progress_total))

    @property
    def waited_seconds(self) -> float | None:
        """From asking to the first start."""
        return (self.started_at - self.created_at).total_seconds() if self.started_at else None

    @property
    def ran_seconds(self) -> float | None:
        """From the first start to the end, or until now; None for one that waits, for a worker or for an answer."""
        if not self.started_at or self.state in (State.QUEUED, State.NEEDS_INPUT):
            return None
        return ((self.finished_at or timezone.now()) - self.started_at).total_seconds()

    @property
    def is_resumed(self) -> bool:
        """True after a worker was lost: its effects may be there already, or still be on their way."""
        return self.losses > 0

    @property
    def concerns(self) -> list[str]:
        """Names of what it locks and what else it is about."""
        return [row.resource for row in self.resources.all()]

    def lock_names(self) -> list[str]:
        """Resources that this job must have for itself while it runs, sorted."""
        return sorted(resource.resource for resource in self.resources.all() if resource.exclusive)

    def waits_for(self) -> "list[Job]":
        """The unfinished jobs that hold what this one needs."""
        if self.state != State.QUEUED:
            return []
        return list(
            Job.objects.filter(held_locks__resource__in=self.lock_names()).exclude(pk=self.pk).distinct()
        )


class JobResource(models.Model):
    """What a job concerns ("environment:<uuid>"): decides who sees it, and, if exclusive, what it locks."""

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="resources")
    resource = models.CharField(max_length=200)
    exclusive = models.BooleanField(default=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["job", "resource"], name="a_job_names_a_resource_once")
        ]
        indexes = [models.Index(fields=["resource", "job"], name="jobs_by_resource")]

    def __str__(self) -> str:
        return self.resource


class JobLock(models.Model):
    """Held by a job from its start until it ends or rests without its locks. The row's existence is the lock."""

    resource = models.CharField(max_length=200, unique=True)
    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="held_locks")
    taken_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return self.resource


def locks_in_the_way(*, besides: Job | None = None) -> models.QuerySet[JobResource]:
    """For `Exists` in a query over jobs: what they need and another job holds."""
    held = JobLock.objects.filter(resource=OuterRef("resource")).exclude(job=OuterRef("job"))
    if besides is not None:
        held = held.exclude(job=besides)
    return JobResource.objects.filter(Exists(held), job=OuterRef("pk"), exclusive=True)


class Level(models.TextChoices):
    DEBUG = "debug", "debug"
    INFO = "info", "info"
    WARNING = "warning", "warning"
    ERROR = "error", "error"


class JobLog(models.Model):
    """One line of a job's log, numbered from 1 within the job. `step` lines open a step."""

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="logs")
    seq = models.PositiveIntegerField()
    at = models.DateTimeField(default=timezone.now)
    level = models.CharField(max_length=10, choices=Level.choices, default=Level.INFO)
    is_step = models.BooleanField(default=False)
    text = models.TextField()
    fields: Any = models.JSONField(default=dict, blank=True)

    class Meta:
        ordering = ["job", "seq"]
        constraints = [models.UniqueConstraint(fields=["job", "seq"], name="log_lines_are_numbered")]

    def __str__(self) -> str:
        return f"{self.seq} {self.text}"


class WorkerQuerySet(models.QuerySet["Worker"]):
    def alive(self, now: datetime) -> Self:
        return self.filter(seen_at__gt=now - WORKER_SILENCE)

    def forget_the_dead(self, now: datetime) -> None:
        self.filter(seen_at__lt=now - WORKER_FORGOTTEN).delete()


class Worker(models.Model):
    """A machine's set of workers, as its supervisor reports it every few seconds."""

    host = models.CharField(max_length=200)
    pid = models.PositiveIntegerField()
    workers = models.PositiveSmallIntegerField()
    version = models.CharField(max_length=50, blank=True)  # of ss-tools; empty: of before it was told
    started_at = models.DateTimeField(default=timezone.now)
    seen_at = models.DateTimeField()

    objects = WorkerQuerySet.as_manager()

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.host}:{self.pid}"
