"""REST: /api/v1/schedules/."""

from typing import Any

from django.db.models import QuerySet
from django.urls import path
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import mixins, serializers, status, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from sstools.errors import Invalid
from sstools.jobs.api import JobDetailSerializer, accepted
from sstools.jobs.models import Source

from . import services
from .filters import ScheduleFilter
from .models import Firing, Missed, Schedule, State, with_subjects
from .preview import preview

MOST_RUNS = 100


class FiringSerializer(serializers.ModelSerializer[Firing]):
    """What became of one run."""

    state = serializers.CharField(
        read_only=True, help_text="of its job; skipped, missed or not_started where there is none"
    )
    job = serializers.UUIDField(source="job.uuid", read_only=True, allow_null=True, default=None)
    actor = serializers.CharField(
        source="actor.username", read_only=True, default=None, allow_null=True, help_text="who ran it by hand"
    )

    class Meta:
        model = Firing
        fields = [
            "due_at",
            "at",
            "trigger",
            "outcome",
            "state",
            "missed",
            "is_joined",
            "code",
            "text",
            "job",
            "finished_at",
            "actor",
        ]
        read_only_fields = fields
        extra_kwargs = {"missed": {"help_text": "how many runs before this one it stands for"}}


class ScheduleSerializer(serializers.ModelSerializer[Schedule]):
    """A schedule, its next runs and what became of the last one."""

    state = serializers.ChoiceField(choices=State.choices, source="current_state", read_only=True)
    params = serializers.DictField(read_only=True)
    concerns = serializers.CharField(
        source="subject.label", read_only=True, default=None, allow_null=True, help_text="null: that is gone"
    )
    words = serializers.CharField(source="shown_words", read_only=True, help_text="the expression in English")
    owner = serializers.CharField(source="owner.username", read_only=True, default=None, allow_null=True)
    paused_by = serializers.CharField(
        source="paused_by.username", read_only=True, default=None, allow_null=True
    )
    is_builtin = serializers.BooleanField(read_only=True)
    next_runs = serializers.SerializerMethodField(help_text="as they would be if it were not paused")
    last_run = FiringSerializer(source="last_firing", read_only=True, allow_null=True)

    class Meta:
        model = Schedule
        fields = [
            "uuid",
            "name",
            "kind",
            "params",
            "concerns",
            "state",
            "cron",
            "words",
            "time_zone",
            "jitter_seconds",
            "grace_seconds",
            "missed",
            "owner",
            "is_builtin",
            "paused_at",
            "paused_by",
            "pause_reason",
            "next_due_at",
            "next_runs",
            "last_run",
            "last_success_at",
            "consecutive_failures",
            "created_at",
        ]
        read_only_fields = fields

    def get_next_runs(self, schedule: Schedule) -> list[str]:
        try:
            return [run.at.isoformat() for run in schedule.next_runs()]
        except ValueError:  # broken by hand in the database
            return []


class ScheduleWriteSerializer(serializers.Serializer[Schedule]):
    """What may be set. Values are judged by the service: 422 with the errors by field."""

    name = serializers.CharField(max_length=100)
    kind = serializers.CharField(max_length=100, help_text="see kinds; it stays as it is")
    params = serializers.DictField(help_text='of its kind, such as {"environment": "<uuid>"}; see kinds')
    cron = serializers.CharField(max_length=100, help_text='"0 2 * * *", or @daily')
    time_zone = serializers.CharField(max_length=64, help_text="an IANA name: Europe/Berlin, UTC")
    jitter_seconds = serializers.IntegerField(required=False, help_text="0 to 21,600; left out: 0")
    grace_seconds = serializers.IntegerField(required=False, help_text="30 to 86,400; left out: 600")
    missed = serializers.ChoiceField(choices=Missed.choices, required=False, help_text="left out: run_once")


class PauseSerializer(serializers.Serializer[Any]):
    reason = serializers.CharField(max_length=500, required=False, allow_blank=True, default="")


class ParamSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    is_required = serializers.BooleanField()
    text = serializers.CharField()


class ScheduleKindSerializer(serializers.Serializer[Any]):
    """A kind of job that can be scheduled."""

    kind = serializers.CharField()
    title = serializers.CharField()
    text = serializers.CharField()
    permission = serializers.CharField(allow_null=True, help_text="needed on what it concerns")
    params = ParamSerializer(many=True)


class PreviewSerializer(serializers.Serializer[Any]):
    words = serializers.CharField()
    runs = serializers.ListField(child=serializers.DateTimeField())


class ScheduleViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[Schedule]):
    """Work that asks for itself. Changing needs schedule:edit, and the right of its kind on what it concerns."""

    lookup_field = "uuid"
    filterset_class = ScheduleFilter
    serializer_class = ScheduleSerializer
    queryset = Schedule.objects.none()

    def get_queryset(self) -> QuerySet[Schedule]:
        rows = Schedule.objects.visible_to(self.request.user).with_state().order_by("name", "pk")
        return rows.select_related("owner", "paused_by", "last_firing__job", "last_firing__actor")

    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """What there is, with its state, next runs and last run."""
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset()))
        rows = with_subjects(list(page or []))
        return self.get_paginated_response(self.get_serializer(rows, many=True).data)

    def _answer(self, schedule: Schedule, code: int = status.HTTP_200_OK) -> Response:
        """Read anew: its state and its last run are annotations and relations."""
        return Response(self.get_serializer(self.get_queryset().get(pk=schedule.pk)).data, status=code)

    @extend_schema(request=ScheduleWriteSerializer, responses={201: ScheduleSerializer})
    def create(self, request: Request) -> Response:
        """Make one. It acts in the name of who makes it; the owner's rights are asked again at each run."""
        given = ScheduleWriteSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        made = services.create_schedule(given.validated_data, actor=request.user, source=Source.API)
        return self._answer(made, status.HTTP_201_CREATED)

    @extend_schema(request=ScheduleWriteSerializer(partial=True), responses=ScheduleSerializer)
    def partial_update(self, request: Request, uuid: str) -> Response:
        """Change the given fields. With other `params` it acts in the name of who changed them."""
        given = ScheduleWriteSerializer(data=request.data, partial=True)
        given.is_valid(raise_exception=True)
        return self._answer(
            services.update_schedule(
                self.get_object(), given.validated_data, actor=request.user, source=Source.API
            )
        )

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, uuid: str) -> Response:
        """Forget it with its history. Its jobs stay."""
        services.delete_schedule(self.get_object(), actor=request.user, source=Source.API)
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(responses=FiringSerializer(many=True), filters=False)
    @action(detail=True)
    def runs(self, request: Request, uuid: str) -> Response:
        """What became of its runs, newest first."""
        rows: Any = self.get_object().firings.select_related("job", "actor")
        page: Any = self.paginate_queryset(rows)
        return self.get_paginated_response(FiringSerializer(page, many=True).data)

    @extend_schema(request=PauseSerializer, responses=ScheduleSerializer)
    @action(detail=True, methods=["post"])
    def pause(self, request: Request, uuid: str) -> Response:
        """Let it rest until it is resumed. Runs that are due meanwhile are not made up for."""
        given = PauseSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        reason = given.validated_data["reason"]
        return self._answer(
            services.pause(self.get_object(), actor=request.user, reason=reason, source=Source.API)
        )

    @extend_schema(request=None, responses=ScheduleSerializer)
    @action(detail=True, methods=["post"])
    def resume(self, request: Request, uuid: str) -> Response:
        """Let it go on with its next run from now. 409 owner_gone: take it over first."""
        return self._answer(services.resume(self.get_object(), actor=request.user, source=Source.API))

    @extend_schema(request=None, responses=ScheduleSerializer)
    @action(detail=True, methods=["post"])
    def take_over(self, request: Request, uuid: str) -> Response:
        """From now on it acts in the name of who asks."""
        return self._answer(services.take_over(self.get_object(), actor=request.user, source=Source.API))

    @extend_schema(request=None, responses={202: JobDetailSerializer})
    @action(detail=True, methods=["post"])
    def run(self, request: Request, uuid: str) -> Response:
        """Ask for its job now, in the name of who asks. One that is at work is answered instead."""
        return accepted(services.run_now(self.get_object(), actor=request.user, source=Source.API), request)


class ScheduleKindsView(APIView):
    @extend_schema(responses=ScheduleKindSerializer(many=True), operation_id="schedules_kinds")
    def get(self, request: Request) -> Response:
        """What can be scheduled, with its params; only kinds for which one has the right anywhere."""
        found = []
        for kind in services.kinds_of(request.user):
            assert kind.schedulable is not None
            fields = kind.schedulable.form(user=request.user).fields
            params = [
                {"name": name, "is_required": field.required, "text": str(field.help_text)}
                for name, field in fields.items()
            ]
            found.append(
                {
                    "kind": kind.name,
                    "title": kind.title,
                    "text": kind.schedulable.text,
                    "permission": str(kind.permission) if kind.permission else None,
                    "params": params,
                }
            )
        return Response(ScheduleKindSerializer(found, many=True).data)


class SchedulePreviewView(APIView):
    @extend_schema(
        parameters=[
            OpenApiParameter("cron", str, required=True),
            OpenApiParameter("time_zone", str, required=True, description="an IANA name"),
            OpenApiParameter("number", int, description=f"of runs, 1 to {MOST_RUNS}; left out: 3"),
        ],
        responses=PreviewSerializer,
        operation_id="schedules_preview",
    )
    def get(self, request: Request) -> Response:
        """What an expression means: in words, and its next runs. 422 with the errors by field."""
        query = request.query_params
        text = query.get("number", "3")
        if not text.isdecimal() or len(text) > 3 or not 1 <= int(text) <= MOST_RUNS:
            raise serializers.ValidationError({"number": [f"A whole number from 1 to {MOST_RUNS}."]})
        found = preview(query.get("cron", "")[:1000], query.get("time_zone", "")[:100], int(text))
        if found.errors:
            raise Invalid("Some values are not right.", errors=found.errors)
        data = {"words": found.words, "runs": [run.at for run in found.runs]}
        return Response(PreviewSerializer(data).data)


def _posts(name: str) -> Any:
    return ScheduleViewSet.as_view({"post": name}, detail=True)


urlpatterns = [
    path("schedules/", ScheduleViewSet.as_view({"get": "list", "post": "create"}), name="schedules"),
    path("schedules/kinds/", ScheduleKindsView.as_view(), name="schedule-kinds"),
    path("schedules/preview/", SchedulePreviewView.as_view(), name="schedule-preview"),
    path(
        "schedules/<uuid:uuid>/",
        ScheduleViewSet.as_view({"get": "retrieve", "patch": "partial_update", "delete": "destroy"}),
        name="schedule",
    ),
    path(
        "schedules/<uuid:uuid>/runs/",
        ScheduleViewSet.as_view({"get": "runs"}, detail=True),
        name="schedule-runs",
    ),
    path("schedules/<uuid:uuid>/pause/", _posts("pause"), name="schedule-pause"),
    path("schedules/<uuid:uuid>/resume/", _posts("resume"), name="schedule-resume"),
    path("schedules/<uuid:uuid>/take-over/", _posts("take_over"), name="schedule-take-over"),
    path("schedules/<uuid:uuid>/run/", _posts("run"), name="schedule-run"),
]
