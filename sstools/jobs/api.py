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

from . import services
from .filters import JobFilter
from .models import Job, JobLog, Source


class JobSerializer(serializers.ModelSerializer[Job]):
    actor = serializers.CharField(source="actor.username", default=None, read_only=True)
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

    class Meta(JobSerializer.Meta):
        fields = [*JobSerializer.Meta.fields, "params", "result", "waits_for"]
        read_only_fields = fields

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
        return Job.objects.visible_to(self.request.user).select_related("actor").prefetch_related("resources")

    def get_serializer_class(self) -> type[serializers.BaseSerializer[Job]]:
        return JobSerializer if self.action == "list" else JobDetailSerializer

    @extend_schema(
        responses=JobLogSerializer(many=True),
        parameters=[OpenApiParameter("after", int, description="only lines with a higher seq")],
        filters=False,
    )
    @action(detail=True)
    def log(self, request: Request, uuid: str) -> Response:
        """The job's log, 200 lines at a time: ask again with `after` set to the last seq."""
        text = request.query_params.get("after", "0")
        if not text.isdecimal():
            raise serializers.ValidationError({"after": ["A whole number."]})
        rows = JobLog.objects.filter(job=self.get_object(), seq__gt=int(text)).order_by("seq")
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
    path("jobs/<uuid:uuid>/log/", JobViewSet.as_view({"get": "log"}, detail=True), name="job-log"),
    path("jobs/<uuid:uuid>/cancel/", JobViewSet.as_view({"post": "cancel"}), name="job-cancel"),
    path("jobs/<uuid:uuid>/retry/", JobViewSet.as_view({"post": "retry"}), name="job-retry"),
    path("jobs/<uuid:uuid>/answer/", JobViewSet.as_view({"post": "answer"}), name="job-answer"),
]
