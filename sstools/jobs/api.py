"""REST: /api/v1/jobs/."""

from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import path
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import mixins, serializers, status, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.reverse import reverse
from rest_framework.views import APIView

from sstools.roles import policy
from sstools.roles.permissions import Permission

from . import crew, services, steps, waiting
from .filters import JobFilter
from .models import Job, JobLog, Level, Source, State


class JobSerializer(serializers.ModelSerializer[Job]):
    actor = serializers.CharField(source="actor.username", default=None, allow_null=True, read_only=True)
    is_finished = serializers.BooleanField(read_only=True)
    url = serializers.SerializerMethodField()

    class Meta:
        model = Job
        fields = [
            "uuid",
            "url",
            "kind",
            "title",
            "state",
            "is_finished",
            "cancel_requested",
            "cancel_choice",
            "current_step",
            "progress_done",
            "progress_total",
            "progress_percent",
            "error",
            "question",
            "actor",
            "source",
            "priority",
            "attempt",
            "created_at",
            "started_at",
            "finished_at",
        ]
        read_only_fields = fields

    progress_percent = serializers.IntegerField(read_only=True, allow_null=True)

    def get_url(self, job: Job) -> str:
        return reverse("api:job", kwargs={"uuid": job.uuid}, request=self.context.get("request"))


class JobDetailSerializer(JobSerializer):
    waits_for = serializers.SerializerMethodField(help_text="uuids of the jobs that hold what this one needs")
    ahead = serializers.SerializerMethodField(
        help_text="how many jobs go before a queued one; null for others, and far back in line"
    )
    seconds_left = serializers.SerializerMethodField(
        help_text="estimate for a running job that counts what it does; null where nothing can be said"
    )
    waited_seconds = serializers.FloatField(
        read_only=True, allow_null=True, help_text="until its first start"
    )
    ran_seconds = serializers.FloatField(read_only=True, allow_null=True)
    losses = serializers.IntegerField(read_only=True, help_text="how often its worker was lost")
    worker = serializers.SerializerMethodField(help_text="host:process that has it; empty if none has")
    silent_seconds = serializers.SerializerMethodField(
        help_text="since its worker should have given a sign and did not; at lease_until another takes over"
    )
    holds = serializers.SerializerMethodField(help_text="resources that nobody else gets meanwhile")
    retry_of = serializers.UUIDField(source="retry_of.uuid", default=None, allow_null=True, read_only=True)

    class Meta(JobSerializer.Meta):
        fields = [
            *JobSerializer.Meta.fields,
            "params",
            "result",
            "waits_for",
            "ahead",
            "seconds_left",
            "waited_seconds",
            "ran_seconds",
            "losses",
            "worker",
            "lease_until",
            "silent_seconds",
            "holds",
            "retry_of",
        ]
        read_only_fields = fields

    def get_ahead(self, job: Job) -> int | None:
        request = self.context.get("request")
        place = waiting.places([job], request.user).get(job.pk) if request is not None else None
        return place.ahead if place else None

    def get_seconds_left(self, job: Job) -> float | None:
        if job.state != State.RUNNING or waiting.silence(job, services.db_now()) is not None:
            return None
        progress = steps.progress_of(job, steps.step_lines(job))
        return progress.seconds_left if progress else None

    def get_worker(self, job: Job) -> str:
        claim = waiting.Claim.of(job.owner) if job.state == State.RUNNING else None
        return f"{claim.host}:{claim.pid}" if claim else ""

    def get_silent_seconds(self, job: Job) -> float | None:
        silence = waiting.silence(job, services.db_now())
        return silence.seconds if silence else None

    def get_holds(self, job: Job) -> list[str]:
        return sorted(job.held_locks.values_list("resource", flat=True))

    def get_waits_for(self, job: Job) -> list[str]:
        return [str(other.uuid) for other in job.waits_for()]


class JobLogSerializer(serializers.ModelSerializer[JobLog]):
    class Meta:
        model = JobLog
        fields = ["seq", "at", "level", "is_step", "text", "fields"]
        read_only_fields = fields


class CancelSerializer(serializers.Serializer[Any]):
    choice = serializers.CharField(
        required=False,
        allow_blank=True,
        default="",
        max_length=50,
        help_text="What to do if the job has written already, where its kind leaves a choice: finish or roll_back "
        "for the application of a plan. Without it such a job pauses and asks.",
    )


class AnswerSerializer(serializers.Serializer[Any]):
    answer = serializers.JSONField(
        help_text="one of the question's choices, or what it asks for; the object may also be the whole of the body"
    )


class JobViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[Job]):
    """Background work. Whatever takes time answers 202 and the address of its job here."""

    lookup_field = "uuid"
    filterset_class = JobFilter
    queryset = Job.objects.none()

    def get_queryset(self) -> QuerySet[Job]:
        rows = Job.objects.visible_to(self.request.user).select_related("actor", "retry_of")
        return rows.prefetch_related("resources")

    def get_serializer_class(self) -> type[serializers.BaseSerializer[Job]]:
        return JobSerializer if self.action == "list" else JobDetailSerializer

    @extend_schema(
        responses=JobLogSerializer(many=True),
        parameters=[
            OpenApiParameter("after", int, description="only lines with a higher seq"),
            OpenApiParameter("level", str, enum=["warning", "error"], description="only these and worse"),
            OpenApiParameter("find", str, description="only lines with these words"),
        ],
        filters=False,
    )
    @action(detail=True)
    def log(self, request: Request, uuid: str) -> Response:
        """The job's log, 200 lines at a time: ask again with `after` set to the last seq."""
        text = request.query_params.get("after", "0")
        if not text.isdecimal():
            raise serializers.ValidationError({"after": ["A whole number."]})
        rows = JobLog.objects.filter(job=self.get_object(), seq__gt=int(text)).order_by("seq")
        if level := request.query_params.get("level"):
            if level not in (Level.WARNING, Level.ERROR):
                raise serializers.ValidationError({"level": ["One of warning, error."]})
            rows = rows.filter(
                level__in=(Level.ERROR,) if level == Level.ERROR else (Level.WARNING, Level.ERROR)
            )
        if words := request.query_params.get("find", "").strip():
            rows = rows.filter(text__icontains=words)
        return Response(JobLogSerializer(rows[:200], many=True).data)

    @extend_schema(request=CancelSerializer, responses=JobDetailSerializer)
    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, uuid: str) -> Response:
        """Ask for the job's end. A waiting job ends at once, a running one at its next cancel point."""
        job = self.get_object()
        wish = CancelSerializer(data=request.data)
        wish.is_valid(raise_exception=True)
        choice = wish.validated_data["choice"]
        job = services.request_cancel(job, actor=request.user, choice=choice, source=Source.API)
        return Response(self.get_serializer(job).data)

    @extend_schema(request=None, responses={202: JobDetailSerializer})
    @action(detail=True, methods=["post"])
    def retry(self, request: Request, uuid: str) -> Response:
        """The same work as a new job."""
        return accepted(services.retry(self.get_object(), actor=request.user, source=Source.API), request)

    @extend_schema(request=AnswerSerializer, responses={202: JobDetailSerializer})
    @action(detail=True, methods=["post"])
    def answer(self, request: Request, uuid: str) -> Response:
        """Give a job in state needs_input what it asks for."""
        job = self.get_object()
        body = request.data
        if isinstance(body, dict) and body and "answer" not in body:
            body = {"answer": body}  # {"databases": {…}} for a job that asks for a mapping
        given = AnswerSerializer(data=body)
        given.is_valid(raise_exception=True)
        job = services.answer(job, given.validated_data["answer"], actor=request.user, source=Source.API)
        return accepted(job, request)


class ClusterSerializer(serializers.Serializer[Any]):
    """One set of workers."""

    host = serializers.CharField(source="worker.host")
    pid = serializers.IntegerField(source="worker.pid")
    workers = serializers.IntegerField(source="worker.workers")
    version = serializers.CharField(source="worker.version", help_text="of ss-tools")
    started_at = serializers.DateTimeField(source="worker.started_at")
    seen_at = serializers.DateTimeField(source="worker.seen_at")
    is_alive = serializers.BooleanField()


class LineSerializer(serializers.Serializer[Any]):
    """What is not finished, by what it needs next."""

    claimable = serializers.IntegerField(help_text="wait for a worker")
    blocked = serializers.IntegerField(help_text="wait for another job")
    running = serializers.IntegerField()
    asking = serializers.IntegerField(help_text="wait for an answer")
    oldest_seconds = serializers.FloatField(help_text="the longest wait for a worker")
    by_priority = serializers.DictField(child=serializers.IntegerField(), help_text="queued jobs")


class WorkersSerializer(serializers.Serializer[Any]):
    clusters = ClusterSerializer(many=True, source="machines")
    line = LineSerializer()


class WorkersView(APIView):
    """Which workers are alive, and how long the line is."""

    @extend_schema(responses=WorkersSerializer)
    def get(self, request: Request) -> Response:
        """The sets of workers that were seen within the hour, and what waits for them. Needs job:view on anything."""
        policy.require_anywhere(request.user, Permission.JOB_VIEW)
        return Response(WorkersSerializer(crew.overview(request.user)).data)


def accepted(job: Job, request: Request | HttpRequest) -> Response:
    """202 with the job, and its address in `Location`: what every view answers that asks for background work."""
    data = JobDetailSerializer(job, context={"request": request}).data
    return Response(data, status=status.HTTP_202_ACCEPTED, headers={"Location": data["url"]})


def idempotency_key(request: Request) -> str | None:
    """The client's `Idempotency-Key`, for `enqueue`. Raises ValidationError if it is longer than 150 characters."""
    key = request.headers.get("Idempotency-Key", "").strip()
    if len(key) > 150:
        raise serializers.ValidationError({"Idempotency-Key": ["At most 150 characters."]})
    return key or None


urlpatterns = [
    path("jobs/", JobViewSet.as_view({"get": "list"}), name="jobs"),
    path("jobs/<uuid:uuid>/", JobViewSet.as_view({"get": "retrieve"}), name="job"),
    path(
        "jobs/<uuid:uuid>/log/",
        JobViewSet.as_view({"get": "log"}, detail=True, pagination_class=None),
        name="job-log",
    ),
    path("jobs/<uuid:uuid>/cancel/", JobViewSet.as_view({"post": "cancel"}), name="job-cancel"),
    path("jobs/<uuid:uuid>/retry/", JobViewSet.as_view({"post": "retry"}), name="job-retry"),
    path("workers/", WorkersView.as_view(), name="workers"),
    path("jobs/<uuid:uuid>/answer/", JobViewSet.as_view({"post": "answer"}), name="job-answer"),
]
