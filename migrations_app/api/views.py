"""The views: find what may be seen, call one service, present."""

from __future__ import annotations

from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

from django.db import IntegrityError, transaction
from django.db.models import Prefetch, QuerySet
from django.http import Http404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema, extend_schema_view
from rest_framework import mixins, serializers, status, viewsets
from rest_framework.exceptions import NotFound
from rest_framework.generics import get_object_or_404
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from environments.backups.models import Backup
from environments.models import Environment
from migrations_app import leftovers, naming, promoting, services
from migrations_app.filters import MigrationFilter, PlanItemFilter, RunFilter, find_environments
from migrations_app.models import OPEN_STATES, Mapping, Migration, Plan, PlanItem, Run
from migrations_app.restoring.services import create_restore
from sstools.errors import Conflict
from sstools.jobs.api import JobDetailSerializer, accepted, idempotency_key
from sstools.jobs.models import Source
from sstools.roles import policy
from sstools.roles.permissions import Permission

from .shapes import (
    AcceptRequestSerializer,
    AnswersRequestSerializer,
    ApplyRequestSerializer,
    MappingRequestSerializer,
    MappingSerializer,
    MigrationChangeSerializer,
    MigrationDetailSerializer,
    MigrationRequestSerializer,
    MigrationSerializer,
    PlanItemDetailSerializer,
    PlanItemSerializer,
    PlanSerializer,
    PromoteRequestSerializer,
    RollbackRequestSerializer,
    RunDetailSerializer,
    RunSerializer,
)

KEY = OpenApiParameter(
    "Idempotency-Key",
    OpenApiTypes.STR,
    OpenApiParameter.HEADER,
    description="a request that is repeated with its key gets what the first one got",
)
WORK = {202: OpenApiResponse(JobDetailSerializer, description="the job; its address is in `Location`")}
#: Columns of a plan that a list of migrations has no use for, and that may be large.
HEAVY = ("problems", "losses", "affected", "databases", "mapping")


def _checked(
    serializer: type[serializers.BaseSerializer[Any]], request: Request, **kwargs: Any
) -> dict[str, Any]:
    asked = serializer(data=request.data, context={"request": request}, **kwargs)
    asked.is_valid(raise_exception=True)
    return dict(asked.validated_data)


@extend_schema_view(
    list=extend_schema(
        description="Migrations to the environments that you may see migrations of, newest first."
    ),
    retrieve=extend_schema(description="One migration, with its runs and why its plan cannot be applied."),
)
class MigrationViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[Migration]):
    """Migrations: from a selection over a plan to a verified, undoable change of one environment."""

    lookup_field = "uuid"
    filterset_class = MigrationFilter
    queryset = Migration.objects.none()

    def get_queryset(self) -> QuerySet[Migration]:
        rows = (
            Migration.objects.visible_to(self.request.user)
            .select_related("source", "target", "plan", "rolls_back", "created_by", "job__actor")
            .defer("rolls_back__plan", *(f"plan__{name}" for name in HEAVY))
        )
        if self.action == "list":
            return rows.defer("selection", "left_out", "answers", *(f"plan__{name}" for name in HEAVY))
        return rows.prefetch_related("runs")

    def get_serializer_class(self) -> type[serializers.BaseSerializer[Migration]]:
        return MigrationSerializer if self.action == "list" else MigrationDetailSerializer

    @extend_schema(
        request=MigrationRequestSerializer,
        responses={201: MigrationDetailSerializer},
        parameters=[KEY],
        filters=False,
    )
    def create(self, request: Request) -> Response:
        """Start a migration: a draft, with plan: true also its first plan.

        `source: "backup:318"` restores: what goes with the assets comes back over the backup's own environment, see
        docs/backups.md. `map` is remembered for the pair of environments.
        """
        data = _checked(MigrationRequestSerializer, request)
        key = idempotency_key(request)
        uuid = uuid5(NAMESPACE_URL, f"migration:{request.user.pk}:{key}") if key else None
        try:
            migration = self._repeated(data, uuid) or self._create(data, uuid)
        except IntegrityError:  # the same request at the same moment: it was faster
            repeated = self._repeated(data, uuid)
            if repeated is None:
                raise
            migration = repeated
        if data["plan"]:
            services.request_plan(migration, actor=request.user, source=Source.API, idempotency_key=key)
        return self._answer(migration, status.HTTP_201_CREATED)

    @transaction.atomic
    def _create(self, data: dict[str, Any], uuid: UUID | None) -> Migration:
        source, target, user = data["source"], data["target"], self.request.user
        policy.require(user, Permission.MIGRATION_PLAN, target)
        options = {
            name: data[name]
            for name in ("title", "left_out", "with_dependencies", "verify", "roll_back_when_red")
        }
        if isinstance(source, Backup):
            return create_restore(
                source,
                target,
                actor=user,
                selection=() if data["all"] else data["selection"],
                beside=data["beside"],
                copy_title=data["copy_title"],
                remove_later=data["prune"],
                carrying=data.get("carrying"),
                databases=data.get("map"),
                uuid=uuid,
                via=Source.API,
                **options,
            )
        selection = naming.all_assets(source) if data["all"] else data["selection"]
        if data.get("map"):
            databases = naming.name_databases(source, target, data["map"])
            services.save_mapping(source, target, actor=user, databases=databases)
        return services.create_migration(
            source,
            target,
            selection=selection,
            actor=user,
            uuid=uuid,
            carrying=data.get("carrying"),
            prune=data["prune"],
            **options,
        )

    def _repeated(self, data: dict[str, Any], uuid: UUID | None) -> Migration | None:
        """What the same request made before. Raises Conflict if its key belongs to another request."""
        migration = Migration.objects.filter(uuid=uuid).first() if uuid else None
        if migration is None:
            return None
        source = data["source"]
        place = source.place if isinstance(source, Backup) else f"env:{source.slug}"
        same = (migration.source_place, migration.target_id) == (place, data["target"].pk)
        if not same or not (data["all"] or sorted(set(data["selection"])) == migration.selection):
            raise Conflict(
                f"This idempotency key belongs to migration {migration.number}, which is another one now.",
                code="idempotency_key_reused",
                remedy="Use a new key for a new request.",
            )
        return migration

    @extend_schema(request=MigrationChangeSerializer, responses=MigrationDetailSerializer)
    def partial_update(self, request: Request, uuid: UUID) -> Response:
        """Change what a migration takes and how it goes. A plan that would come out otherwise counts no more."""
        changes = _checked(MigrationChangeSerializer, request, partial=True)
        return self._answer(services.update_migration(self.get_object(), actor=request.user, **changes))

    @extend_schema(responses=PlanSerializer, filters=False)
    def plan(self, request: Request, uuid: UUID) -> Response:
        """The current plan with all of its items. 404 while there is none: see the migration's `job`."""
        migration = self.get_object()
        if migration.plan_id is None:
            raise NotFound("There is no current plan: it was not made yet, or does not count any more.")
        plan = _plans().get(pk=migration.plan_id)
        return Response(PlanSerializer(plan, context=self.get_serializer_context()).data)

    @extend_schema(request=None, responses=WORK, parameters=[KEY], filters=False)
    def request_plan(self, request: Request, uuid: UUID) -> Response:
        """Make a plan, again if there is one: reads both sides, writes nothing anywhere."""
        key = idempotency_key(request)
        job = services.request_plan(
            self.get_object(), actor=request.user, source=Source.API, idempotency_key=key
        )
        return accepted(job, request)

    @extend_schema(
        request=AnswersRequestSerializer,
        responses={200: MigrationDetailSerializer, **WORK},
        parameters=[KEY],
        filters=False,
    )
    def answers(self, request: Request, uuid: UUID) -> Response:
        """Answer conflicts of the plan. The plan counts no more until it is made again."""
        data = _checked(AnswersRequestSerializer, request)
        key = idempotency_key(request)
        with transaction.atomic():
            migration = services.answer_conflicts(self.get_object(), data["answers"], actor=request.user)
            if data["plan"]:
                job = services.request_plan(
                    migration, actor=request.user, source=Source.API, idempotency_key=key
                )
                return accepted(job, request)
        return self._answer(migration)

    @extend_schema(request=ApplyRequestSerializer, responses=WORK, parameters=[KEY], filters=False)
    def apply(self, request: Request, uuid: UUID) -> Response:
        """Write what the plan shows. Asking twice is safe: both get the same job, and one run is made.

        409 `plan_changed` if `plan_hash` is not of the current plan, 409 `not_ready` with the reason, 422
        `wrong_confirmation` where the target is protected. A plan that turns out stale ends the run before writing.
        """
        data = _checked(ApplyRequestSerializer, request)
        key = idempotency_key(request)
        migration = self.get_object()
        reason = data.get("override_reason")
        with transaction.atomic():
            if reason is not None and migration.is_open:
                services.update_migration(migration, actor=request.user, override_reason=reason)
            job = services.request_apply(
                migration,
                plan_hash=data["plan_hash"],
                confirmation=data["confirmation"],
                bypass_reason=data["bypass_reason"],
                actor=request.user,
                source=Source.API,
                idempotency_key=key,
            )
        return accepted(job, request)

    @extend_schema(request=PromoteRequestSerializer, responses=WORK, parameters=[KEY], filters=False)
    def promote(self, request: Request, uuid: UUID) -> Response:
        """Plan, and apply if nothing is open.

        Where a connection is not mapped, a conflict not answered or a check failed, the job rests in state needs_input
        and tells in `question.missing` what is open; it goes on when the mapping or the answers are saved, or are
        given to the job's own answer/. It applies with the rights that you have at that moment.
        """
        data = _checked(PromoteRequestSerializer, request)
        job = promoting.request_promotion(
            self.get_object(),
            actor=request.user,
            confirmation=data["confirmation"],
            source=Source.API,
            idempotency_key=idempotency_key(request),
        )
        return accepted(job, request)

    @extend_schema(request=None, responses=MigrationDetailSerializer, filters=False)
    def discard(self, request: Request, uuid: UUID) -> Response:
        """Put a migration away that was never applied."""
        return self._answer(services.discard_migration(self.get_object(), actor=request.user))

    def _answer(self, migration: Migration, code: int = status.HTTP_200_OK) -> Response:
        return answer_migration(migration, self.request, code)


def answer_migration(migration: Migration, request: Request, code: int) -> Response:
    """A migration as it is now; its address in `Location` where it was made."""
    fresh = Migration.objects.select_related("source", "target", "plan", "job__actor", "created_by").get(
        pk=migration.pk
    )
    data = MigrationDetailSerializer(fresh, context={"request": request}).data
    return Response(
        data, status=code, headers={"Location": data["url"]} if code == status.HTTP_201_CREATED else None
    )


def _plans() -> QuerySet[Plan]:
    items = PlanItem.objects.order_by("position")
    return Plan.objects.select_related("migration").prefetch_related(Prefetch("items", items), "companions")


class PlanViewSet(mixins.RetrieveModelMixin, viewsets.GenericViewSet[Plan]):
    """Plans, also those that count no more."""

    lookup_field = "uuid"
    serializer_class = PlanSerializer
    filter_backends: list[Any] = []
    queryset = Plan.objects.none()

    def get_queryset(self) -> QuerySet[Plan]:
        return _plans().filter(migration__in=Migration.objects.visible_to(self.request.user))

    @extend_schema(description="One plan with all of its items.")
    def retrieve(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().retrieve(request, *args, **kwargs)


PLAN = OpenApiParameter("plan", OpenApiTypes.UUID, OpenApiParameter.PATH)


@extend_schema_view(
    list=extend_schema(description="Items of a plan, page by page.", parameters=[PLAN]),
    retrieve=extend_schema(
        description="One item with the documents, wanted and present, and every changed value.",
        parameters=[PLAN],
    ),
)
class PlanItemViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[PlanItem]):
    """Items of a plan, by uuid of the source."""

    lookup_field = "uuid"
    filterset_class = PlanItemFilter
    queryset = PlanItem.objects.none()

    def get_queryset(self) -> QuerySet[PlanItem]:
        plans = Plan.objects.filter(migration__in=Migration.objects.visible_to(self.request.user))
        return PlanItem.objects.filter(plan=get_object_or_404(plans, uuid=self.kwargs["plan"]))

    def get_object(self) -> PlanItem:
        return get_object_or_404(self.get_queryset(), uuid=str(self.kwargs["uuid"]))

    def get_serializer_class(self) -> type[serializers.BaseSerializer[PlanItem]]:
        return PlanItemSerializer if self.action == "list" else PlanItemDetailSerializer


# --- Mappings -----------------------------------------------------------------------------------------------


@extend_schema_view(
    list=extend_schema(description="What is remembered for pairs of environments that you may see.")
)
class MappingViewSet(mixins.ListModelMixin, viewsets.GenericViewSet[Mapping]):
    serializer_class = MappingSerializer
    filter_backends: list[Any] = []
    queryset = Mapping.objects.none()

    def get_queryset(self) -> QuerySet[Mapping]:
        visible = Environment.objects.visible_to(self.request.user)
        rows = Mapping.objects.select_related("source", "target", "updated_by")
        return rows.filter(source__in=visible, target__in=visible).order_by("source__name", "target__name")


class MappingView(APIView):
    """How the terms of one environment become another's: databases, schemas, catalogs, SQL, names.

    The environments are named by slug or uuid.
    """

    @extend_schema(responses=MappingSerializer, operation_id="mappings_retrieve")
    def get(self, request: Request, source: str, target: str) -> Response:
        """What is remembered for a pair; empty if nothing is."""
        return self._answer(*self._pair(source, target))

    @extend_schema(
        request=MappingRequestSerializer, responses=MappingSerializer, operation_id="mappings_update"
    )
    def put(self, request: Request, source: str, target: str) -> Response:
        """Replace the whole of it: what is not given is emptied."""
        one, other = self._pair(source, target)
        data = _checked(MappingRequestSerializer, request)
        with transaction.atomic():
            entries = naming.name_databases(one, other, data.get("databases", {}))
            known = Mapping.objects.between(one, other)
            forgotten = dict.fromkeys(known.databases)
            services.save_mapping(
                one,
                other,
                actor=request.user,
                databases={**forgotten, **entries},
                substitutions=data.get("substitutions", []),
                renames=data.get("renames", {}),
                people={**dict.fromkeys(known.people), **data.get("people", {})},
                roles={**dict.fromkeys(known.roles), **data.get("roles", {})},
            )
        return self._answer(one, other)

    @extend_schema(
        request=MappingRequestSerializer, responses=MappingSerializer, operation_id="mappings_partial_update"
    )
    def patch(self, request: Request, source: str, target: str) -> Response:
        """Change what is given; databases that are not named stay."""
        one, other = self._pair(source, target)
        data = _checked(MappingRequestSerializer, request, partial=True)
        databases = naming.name_databases(one, other, data["databases"]) if "databases" in data else None
        services.save_mapping(
            one,
            other,
            actor=request.user,
            databases=databases,
            substitutions=data.get("substitutions"),
            renames=data.get("renames"),
            people=data.get("people"),
            roles=data.get("roles"),
        )
        return self._answer(one, other)

    def _pair(self, source: str, target: str) -> tuple[Environment, Environment]:
        visible = Environment.objects.visible_to(self.request.user)
        pair = [
            visible.filter(pk__in=find_environments(key).values("pk")).first() for key in (source, target)
        ]
        if pair[0] is None or pair[1] is None:
            raise Http404
        return pair[0], pair[1]

    def _answer(self, source: Environment, target: Environment) -> Response:
        return Response(MappingSerializer(Mapping.objects.between(source, target)).data)


# --- Runs ---------------------------------------------------------------------------------------------------


@extend_schema_view(
    list=extend_schema(description="Runs, newest first."),
    retrieve=extend_schema(
        description="One run: its steps, what was written and what not, and a verdict for each chart."
    ),
)
class RunViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[Run]):
    """Runs: attempts to apply a plan."""

    lookup_field = "uuid"
    filterset_class = RunFilter
    queryset = Run.objects.none()

    def get_queryset(self) -> QuerySet[Run]:
        rows = (
            Run.objects.visible_to(self.request.user)
            .select_related("migration__target", "plan", "created_by", "job__actor")
            .defer(*(f"plan__{name}" for name in HEAVY))
        )
        if self.action == "list":
            return rows.defer("written", "unwritten", "created", *(f"plan__{name}" for name in HEAVY))
        if self.action == "retrieve":
            return rows.prefetch_related("steps", "verdicts", "bystanders", "rollbacks")
        return rows

    def get_serializer_class(self) -> type[serializers.BaseSerializer[Run]]:
        return RunSerializer if self.action == "list" else RunDetailSerializer

    @extend_schema(
        request=RollbackRequestSerializer,
        responses={200: MigrationDetailSerializer, 201: MigrationDetailSerializer},
        parameters=[KEY],
        filters=False,
    )
    def roll_back(self, request: Request, uuid: UUID) -> Response:
        """Make the migration that puts back what this run changed. Look at its plan, then apply it like any.

        200 with the open one if somebody asked before.
        """
        data = _checked(RollbackRequestSerializer, request)
        run = self.get_object()
        with transaction.atomic():
            is_new = not run.rollbacks.filter(state__in=OPEN_STATES).exists()
            migration = services.create_rollback(run, actor=request.user)
            if data["plan"] and migration.plan_id is None:
                key = idempotency_key(request)
                services.request_plan(migration, actor=request.user, source=Source.API, idempotency_key=key)
        return answer_migration(migration, request, status.HTTP_201_CREATED if is_new else status.HTTP_200_OK)

    @extend_schema(
        request=RollbackRequestSerializer,
        responses={200: MigrationDetailSerializer, 201: MigrationDetailSerializer},
        parameters=[KEY],
        filters=False,
    )
    def retry_rest(self, request: Request, uuid: UUID) -> Response:
        """Make the migration that writes what this run did not. Look at its plan, then apply it like any.

        For runs that need attention. 200 with the open one if somebody asked before.
        """
        data = _checked(RollbackRequestSerializer, request)
        run = self.get_object()
        with transaction.atomic():
            is_new = not run.continuations.filter(state__in=OPEN_STATES).exists()
            migration = leftovers.retry_rest(run, actor=request.user)
            if data["plan"] and migration.plan_id is None:
                key = idempotency_key(request)
                services.request_plan(migration, actor=request.user, source=Source.API, idempotency_key=key)
        return answer_migration(migration, request, status.HTTP_201_CREATED if is_new else status.HTTP_200_OK)

    @extend_schema(request=AcceptRequestSerializer, responses=RunSerializer, filters=False)
    def accept(self, request: Request, uuid: UUID) -> Response:
        """Leave the target as this run left it: nothing is written, and it needs no attention any more."""
        data = _checked(AcceptRequestSerializer, request)
        run = leftovers.accept(self.get_object(), actor=request.user, comment=data["comment"])
        return Response(RunSerializer(run, context={"request": request}).data)

    @extend_schema(request=None, responses=WORK, parameters=[KEY], filters=False)
    def look_again(self, request: Request, uuid: UUID) -> Response:
        """See what of this run is on the target by now, and correct its lists and its state. Reads only."""
        key = idempotency_key(request)
        job = leftovers.look_again(
            self.get_object(), actor=request.user, source=Source.API, idempotency_key=key
        )
        return accepted(job, request)

    @extend_schema(request=None, responses=WORK, parameters=[KEY], filters=False)
    def verify(self, request: Request, uuid: UUID) -> Response:
        """Run every chart's query on both sides once more. Reads only."""
        key = idempotency_key(request)
        job = services.request_verification(
            self.get_object(), actor=request.user, source=Source.API, idempotency_key=key
        )
        return accepted(job, request)
