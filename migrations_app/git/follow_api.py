"""REST: /api/v1/follows/ and /api/v1/holds/, and what a repository has of forges and webhooks."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import OuterRef, QuerySet, Subquery
from django.urls import path
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import mixins, serializers, status, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from environments.models import Environment
from migrations_app.models import Migration
from sstools.errors import Invalid
from sstools.jobs.api import JobDetailSerializer, accepted, idempotency_key
from sstools.jobs.models import Source
from sstools.roles import policy
from sstools.roles.permissions import Permission

from . import following, holds, nightly, services, statuses, webhooks
from .models import Follow, Hold, Policy, PullRequest, Repository

KEY = OpenApiParameter(
    "Idempotency-Key",
    OpenApiTypes.STR,
    OpenApiParameter.HEADER,
    description="a request that is repeated with its key gets what the first one got",
)
REPOSITORY = OpenApiParameter("repository", OpenApiTypes.UUID, description="only of this one")


class FollowSerializer(serializers.ModelSerializer[Follow]):
    repository = serializers.UUIDField(source="repository.uuid", read_only=True)
    target = serializers.CharField(source="target.slug", read_only=True, help_text="slug of the environment")
    owner = serializers.CharField(
        source="owner.username", read_only=True, allow_null=True, help_text="in whose name it acts"
    )
    migration = serializers.IntegerField(
        source="migration_id", read_only=True, allow_null=True, help_text="number of the last one"
    )
    held = serializers.SerializerMethodField(help_text="uuid of the hold that stands; null: none")

    class Meta:
        model = Follow
        fields = [
            "uuid",
            "repository",
            "branch",
            "target",
            "policy",
            "roll_back_when_red",
            "is_enabled",
            "owner",
        ]
        fields += ["sha", "seen_sha", "looked_at", "outcome", "text", "migration", "held", "created_at"]
        read_only_fields = fields

    def get_held(self, row: Follow) -> UUID | None:
        if "held_by" in row.__dict__:  # a list asks for all of them at once
            held: UUID | None = row.__dict__["held_by"]
            return held
        found = holds.standing(row.repository, row.target)
        return found.uuid if found is not None else None


class NewFollowSerializer(serializers.Serializer[Any]):
    repository = serializers.UUIDField()
    target = serializers.CharField(max_length=50, help_text="slug of the environment")
    branch = serializers.CharField(
        max_length=200, required=False, allow_blank=True, help_text="none: the repository's"
    )
    policy = serializers.ChoiceField(choices=Policy.choices, default=Policy.PLAN)
    roll_back_when_red = serializers.BooleanField(default=True)
    from_now = serializers.BooleanField(default=False, help_text="what the branch holds now is there already")
    confirmation = serializers.CharField(
        required=False,
        allow_blank=True,
        max_length=100,
        help_text="a protected target's slug, where it is applied",
    )


class ChangedFollowSerializer(serializers.Serializer[Any]):
    policy = serializers.ChoiceField(choices=Policy.choices, required=False)
    roll_back_when_red = serializers.BooleanField(required=False)
    is_enabled = serializers.BooleanField(required=False)
    confirmation = serializers.CharField(required=False, allow_blank=True, max_length=100)


class HoldSerializer(serializers.ModelSerializer[Hold]):
    repository = serializers.UUIDField(source="repository.uuid", read_only=True)
    target = serializers.CharField(source="target.slug", read_only=True, help_text="slug of the environment")
    run = serializers.IntegerField(
        source="run_id", read_only=True, allow_null=True, help_text="that was rolled back"
    )
    created_by = serializers.CharField(source="created_by.username", read_only=True, allow_null=True)
    lifted_by = serializers.CharField(source="lifted_by.username", read_only=True, allow_null=True)

    class Meta:
        model = Hold
        fields = ["uuid", "repository", "target", "run", "reason", "created_at", "created_by"]
        fields += ["lifted_at", "lifted_by", "lift_reason"]
        read_only_fields = fields


class NewHoldSerializer(serializers.Serializer[Any]):
    repository = serializers.UUIDField()
    target = serializers.CharField(max_length=50, help_text="slug of the environment")
    reason = serializers.CharField(max_length=500)


class LiftSerializer(serializers.Serializer[Any]):
    reason = serializers.CharField(max_length=500, required=False, allow_blank=True)


class PullRequestSerializer(serializers.ModelSerializer[PullRequest]):
    class Meta:
        model = PullRequest
        fields = ["number", "url", "title", "branch", "into", "created_at"]
        read_only_fields = fields


class NewPullRequestSerializer(serializers.Serializer[Any]):
    branch = serializers.CharField(max_length=200)
    into = serializers.CharField(
        max_length=200, required=False, allow_blank=True, help_text="none: the repository's branch"
    )
    title = serializers.CharField(
        max_length=200, required=False, allow_blank=True, help_text="none: what its newest commit says"
    )


class EnvironmentCommitSerializer(serializers.Serializer[Any]):
    environment = serializers.CharField(max_length=50, help_text="slug of the environment")
    branch = serializers.CharField(max_length=200, required=False, allow_blank=True)


class StatusRequestSerializer(serializers.Serializer[Any]):
    migration = serializers.IntegerField(min_value=1, help_text="number of one that is made of a commit")


class HookSecretSerializer(serializers.Serializer[Any]):
    secret = serializers.CharField(help_text="given once")
    url = serializers.CharField(help_text="where the forge sends its pushes")


def _repository(request: Request, uuid: UUID) -> Repository:
    found: Repository | None = Repository.objects.visible_to(request.user).filter(uuid=uuid).first()
    if found is None:
        raise Invalid("There is no such repository.", errors={"repository": ["You see none of that uuid."]})
    return found


def _target(request: Request, slug: str, field: str = "target") -> Environment:
    found: Environment | None = Environment.objects.visible_to(request.user).filter(slug=slug).first()
    if found is None:
        raise Invalid("There is no such environment.", errors={field: ["You see none of that name."]})
    return found


def _of(request: Request, rows: Any) -> Any:
    asked = request.query_params.get("repository")
    if not asked:
        return rows
    try:
        return rows.filter(repository__uuid=UUID(asked))
    except ValueError:
        raise Invalid("Not a uuid.", errors={"repository": ["Not a uuid."]}) from None


@extend_schema_view(
    list=extend_schema(description="Branches that are followed, oldest first.", parameters=[REPOSITORY]),
    retrieve=extend_schema(description="One of them, with what came of the last look."),
)
class FollowViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[Follow]):
    """Branches whose commits are planned for an environment, or applied there when they are green."""

    lookup_field = "uuid"
    filter_backends: list[Any] = []
    queryset = Follow.objects.none()
    serializer_class = FollowSerializer

    def get_queryset(self) -> QuerySet[Follow]:
        rows = Follow.objects.visible_to(self.request.user)
        rows = rows.select_related("repository", "target", "owner", "migration")
        if self.action != "list":
            return rows
        standing = Hold.objects.standing().filter(
            repository=OuterRef("repository"), target=OuterRef("target")
        )
        found: QuerySet[Follow] = _of(self.request, rows)
        return found.annotate(held_by=Subquery(standing.values("uuid")[:1]))

    @extend_schema(request=NewFollowSerializer, responses={201: FollowSerializer})
    def create(self, request: Request) -> Response:
        """Follow a branch, in the name of who asks. Needs migration:plan on the target, to apply migration:apply."""
        policy.require_anywhere(request.user, Permission.MIGRATION_PLAN)
        asked = NewFollowSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        data = dict(asked.validated_data)
        repository = _repository(request, data.pop("repository"))
        target = _target(request, data.pop("target"))
        row = following.create_follow(
            repository, target, actor=request.user, policy_=data.pop("policy"), source=Source.API, **data
        )
        return Response(FollowSerializer(row).data, status=status.HTTP_201_CREATED)

    @extend_schema(request=ChangedFollowSerializer, responses=FollowSerializer)
    def partial_update(self, request: Request, uuid: UUID) -> Response:
        """Change how it is followed, from then on in the name of who asks; pause it, or let it go on."""
        row = self.get_object()
        asked = ChangedFollowSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        data = dict(asked.validated_data)
        row = following.update_follow(
            row, actor=request.user, policy_=data.pop("policy", None), source=Source.API, **data
        )
        return Response(FollowSerializer(row).data)

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, uuid: UUID) -> Response:
        """Follow it no more. What was planned stays."""
        following.remove_follow(self.get_object(), actor=request.user, source=Source.API)
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(request=None, responses={202: JobDetailSerializer}, parameters=[KEY])
    @action(detail=True, methods=["post"])
    def look(self, request: Request, uuid: UUID) -> Response:
        """See whether there is something new, and bring it, in the background."""
        job = following.request_look(
            self.get_object(), actor=request.user, source=Source.API, idempotency_key=idempotency_key(request)
        )
        return accepted(job, request)


@extend_schema_view(
    list=extend_schema(
        description="Holds, newest first, those that were lifted too.", parameters=[REPOSITORY]
    ),
    retrieve=extend_schema(description="One hold."),
)
class HoldViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[Hold]):
    """Where nothing of a repository is written, since a roll back or by somebody's word."""

    lookup_field = "uuid"
    filter_backends: list[Any] = []
    queryset = Hold.objects.none()
    serializer_class = HoldSerializer

    def get_queryset(self) -> QuerySet[Hold]:
        rows = Hold.objects.visible_to(self.request.user)
        rows = rows.select_related("repository", "target", "created_by", "lifted_by", "run")
        return _of(self.request, rows) if self.action == "list" else rows

    @extend_schema(request=NewHoldSerializer, responses={201: HoldSerializer})
    def create(self, request: Request) -> Response:
        """Put a repository on hold for a target. Needs migration:apply there."""
        policy.require_anywhere(request.user, Permission.MIGRATION_APPLY)
        asked = NewHoldSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        data = asked.validated_data
        row = holds.put_on_hold(
            _repository(request, data["repository"]),
            _target(request, data["target"]),
            reason=data["reason"],
            actor=request.user,
            source=Source.API,
        )
        return Response(HoldSerializer(row).data, status=status.HTTP_201_CREATED)

    @extend_schema(request=LiftSerializer, responses=HoldSerializer)
    @action(detail=True, methods=["post"])
    def lift(self, request: Request, uuid: UUID) -> Response:
        """Let it go on. Needs migration:apply on the target."""
        asked = LiftSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        row = holds.lift(
            self.get_object(),
            actor=request.user,
            reason=asked.validated_data.get("reason", ""),
            source=Source.API,
        )
        return Response(HoldSerializer(row).data)


class ForgeViewSet(viewsets.GenericViewSet[Repository]):
    """What a repository has of its forge: pull requests, statuses, webhooks."""

    lookup_field = "uuid"
    filter_backends: list[Any] = []
    queryset = Repository.objects.none()

    def get_queryset(self) -> QuerySet[Repository]:
        return Repository.objects.visible_to(self.request.user)

    @extend_schema(responses=PullRequestSerializer(many=True))
    @action(detail=True, methods=["get"], pagination_class=None)
    def pulls(self, request: Request, uuid: UUID) -> Response:
        """The last hundred that were opened from here. Their state is on the forge."""
        rows = self.get_object().pull_requests.all()[:100]
        return Response(PullRequestSerializer(rows, many=True).data)

    @extend_schema(request=NewPullRequestSerializer, responses={202: JobDetailSerializer}, parameters=[KEY])
    @action(detail=True, methods=["post"])
    def open_pull(self, request: Request, uuid: UUID) -> Response:
        """Open a pull or merge request of a branch, in the background; one that is open already is found."""
        row = self.get_object()
        asked = NewPullRequestSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        job = services.request_pull(
            row,
            **asked.validated_data,
            actor=request.user,
            source=Source.API,
            idempotency_key=idempotency_key(request),
        )
        return accepted(job, request)

    @extend_schema(
        request=EnvironmentCommitSerializer, responses={202: JobDetailSerializer}, parameters=[KEY]
    )
    @action(detail=True, methods=["post"])
    def commit_environment(self, request: Request, uuid: UUID) -> Response:
        """Read an environment and commit all that differs, in the name of who changed it, in the background."""
        row = self.get_object()
        asked = EnvironmentCommitSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        data = asked.validated_data
        job = nightly.request_commit_environment(
            row,
            _target(request, data["environment"], "environment"),
            branch=data.get("branch", ""),
            actor=request.user,
            source=Source.API,
            idempotency_key=idempotency_key(request),
        )
        return accepted(job, request)

    @extend_schema(request=StatusRequestSerializer, responses={202: JobDetailSerializer}, parameters=[KEY])
    @action(detail=True, methods=["post"])
    def statuses(self, request: Request, uuid: UUID) -> Response:
        """Tell the forge what the plan of a commit says, in the background."""
        row = self.get_object()
        asked = StatusRequestSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        seen = Migration.objects.visible_to(request.user).filter(source_place__startswith=f"git:{row.slug}@")
        migration = seen.filter(number=asked.validated_data["migration"]).select_related("target").first()
        if migration is None:
            raise Invalid(
                "There is no such migration of this repository.",
                errors={"migration": ["You see none of that number that is made of its commits."]},
            )
        job = statuses.request_status(
            migration, actor=request.user, source=Source.API, idempotency_key=idempotency_key(request)
        )
        return accepted(job, request)

    @extend_schema(request=None, responses={201: HookSecretSerializer})
    @action(detail=True, methods=["post"])
    def make_hook_secret(self, request: Request, uuid: UUID) -> Response:
        """A new secret for its webhooks, given once. Needs repository:edit."""
        row = self.get_object()
        secret = webhooks.make_secret(row, actor=request.user, source=Source.API)
        url = webhooks.address_of(row, request.build_absolute_uri("/"))
        answer = Response({"secret": secret, "url": url}, status=status.HTTP_201_CREATED)
        answer["Cache-Control"] = "no-store"
        return answer

    @extend_schema(responses={204: None})
    @action(detail=True, methods=["delete"])
    def forget_hook_secret(self, request: Request, uuid: UUID) -> Response:
        """Take no webhooks any more. Needs repository:edit."""
        webhooks.forget_secret(self.get_object(), actor=request.user, source=Source.API)
        return Response(status=status.HTTP_204_NO_CONTENT)


_forge = ForgeViewSet.as_view
urlpatterns = [
    path("follows/", FollowViewSet.as_view({"get": "list", "post": "create"}), name="follows"),
    path(
        "follows/<uuid:uuid>/",
        FollowViewSet.as_view(
            {"get": "retrieve", "patch": "partial_update", "delete": "destroy"}, detail=True
        ),
        name="follow",
    ),
    path(
        "follows/<uuid:uuid>/look/", FollowViewSet.as_view({"post": "look"}, detail=True), name="follow-look"
    ),
    path("holds/", HoldViewSet.as_view({"get": "list", "post": "create"}), name="holds"),
    path("holds/<uuid:uuid>/", HoldViewSet.as_view({"get": "retrieve"}, detail=True), name="hold"),
    path("holds/<uuid:uuid>/lift/", HoldViewSet.as_view({"post": "lift"}, detail=True), name="hold-lift"),
    path(
        "repositories/<uuid:uuid>/pull-requests/",
        _forge({"get": "pulls", "post": "open_pull"}, detail=True, pagination_class=None),
        name="repository-pull-requests",
    ),
    path(
        "repositories/<uuid:uuid>/environment-commits/",
        _forge({"post": "commit_environment"}, detail=True),
        name="repository-environment-commits",
    ),
    path(
        "repositories/<uuid:uuid>/statuses/",
        _forge({"post": "statuses"}, detail=True),
        name="repository-statuses",
    ),
    path(
        "repositories/<uuid:uuid>/webhook-secret/",
        _forge({"post": "make_hook_secret", "delete": "forget_hook_secret"}, detail=True),
        name="repository-webhook-secret",
    ),
]
