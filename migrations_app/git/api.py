"""REST: /api/v1/repositories/."""

from __future__ import annotations

from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

from django.db import IntegrityError
from django.db.models import QuerySet
from django.urls import path
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import mixins, serializers, status, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from environments.models import Environment
from migrations_app import services as migrations
from migrations_app.api.shapes import MigrationDetailSerializer
from migrations_app.api.views import answer_migration
from migrations_app.files import sources
from migrations_app.files.api import FromFilesRequestSerializer
from migrations_app.models import Migration
from sstools.errors import Conflict, Invalid, NotFoundError
from sstools.jobs.api import JobDetailSerializer, accepted, idempotency_key
from sstools.jobs.models import Source
from sstools.roles import policy
from sstools.roles.permissions import Permission

from . import conflicts, services
from .changes import changes_between
from .models import CommitReading, Repository

KEY = OpenApiParameter(
    "Idempotency-Key",
    OpenApiTypes.STR,
    OpenApiParameter.HEADER,
    description="a request that is repeated with its key gets what the first one got",
)
ENVIRONMENT = OpenApiParameter(
    "environment", OpenApiTypes.STR, required=True, description="slug of the environment"
)
AT = OpenApiParameter(
    "at", OpenApiTypes.STR, description="branch, tag or commit; none: the repository's branch"
)


class RepositorySerializer(serializers.ModelSerializer[Repository]):
    environment = serializers.SlugRelatedField(
        slug_field="slug",
        queryset=Environment.objects.all(),
        required=False,
        allow_null=True,
        help_text="in whose terms its files are",
    )
    secret = serializers.CharField(
        write_only=True,
        required=False,
        allow_blank=True,
        trim_whitespace=False,
        max_length=20_000,
        help_text="token or password, or a private key for ssh; never given back. Without it, the stored one stays",
    )
    has_secret = serializers.SerializerMethodField(help_text="whether one is stored")
    forge_secret = serializers.CharField(
        write_only=True,
        required=False,
        allow_blank=True,
        trim_whitespace=False,
        max_length=5_000,
        help_text="token for the forge's API, where it is another; never given back. Without it, the stored one stays",
    )
    has_forge_secret = serializers.SerializerMethodField(help_text="whether one is stored")
    takes_webhooks = serializers.SerializerMethodField(help_text="whether they have a secret")
    slug = serializers.SlugField(max_length=50, required=False, help_text="in places: git:<slug>@<branch>")
    branches = serializers.DictField(
        child=serializers.CharField(), read_only=True, help_text="branch -> commit"
    )
    tags = serializers.DictField(child=serializers.CharField(), read_only=True, help_text="tag -> commit")
    error = serializers.DictField(
        read_only=True, allow_null=True, help_text="code, message, remedy of the last try to reach it"
    )
    page = serializers.CharField(source="get_absolute_url", read_only=True, help_text="its page")

    class Meta:
        model = Repository
        fields = [
            "uuid",
            "slug",
            "name",
            "url",
            "username",
            "secret",
            "has_secret",
            "host_key",
            "branch",
            "folder",
        ]
        fields += ["author_name", "author_email", "sign_off", "environment", "branches", "tags", "can_push"]
        fields += ["forge", "forge_url", "forge_secret", "has_forge_secret", "statuses", "takes_webhooks"]
        fields += ["fetched_at", "error", "page", "created_at", "updated_at"]
        read_only_fields = ["uuid", "can_push", "fetched_at", "created_at", "updated_at"]

    def get_has_secret(self, row: Repository) -> bool:
        return bool(row.secret)

    def get_has_forge_secret(self, row: Repository) -> bool:
        return bool(row.forge_secret)

    def get_takes_webhooks(self, row: Repository) -> bool:
        return bool(row.hook_secret)


class CommitReadingSerializer(serializers.ModelSerializer[CommitReading]):
    place = serializers.CharField(read_only=True, help_text="for comparisons and plans")
    problems = serializers.ListField(
        child=serializers.DictField(), help_text="path, line, text of files that cannot be read"
    )
    counts = serializers.DictField(child=serializers.IntegerField(), help_text="number of assets by kind")

    class Meta:
        model = CommitReading
        fields = [
            "uuid",
            "place",
            "sha",
            "folder",
            "subject",
            "author",
            "committed_at",
            "shape",
            "counts",
            "problems",
        ]
        fields += ["read_at"]
        read_only_fields = fields


class ChangeSerializer(serializers.Serializer[Any]):
    kind = serializers.CharField()
    uuid = serializers.CharField()
    title = serializers.CharField()
    state = serializers.ChoiceField(
        choices=["new", "changed", "removed", "same", "not_read"],
        help_text="what a commit of it would be to git",
    )
    path = serializers.CharField(help_text="of its file, where git has it")
    changed_by = serializers.CharField()


class ChangesSerializer(serializers.Serializer[Any]):
    base = CommitReadingSerializer(allow_null=True, help_text="null for a repository with nothing in it")
    changes = ChangeSerializer(many=True, help_text="what is the same is left out")
    same = serializers.IntegerField(help_text="number of assets that are the same")


class ReadingRequestSerializer(serializers.Serializer[Any]):
    ref = serializers.CharField(
        required=False, allow_blank=True, max_length=200, help_text="branch, tag or commit; none: its branch"
    )


class CommitRequestSerializer(serializers.Serializer[Any]):
    environment = serializers.CharField(max_length=50, help_text="slug of the environment")
    assets = serializers.ListField(
        child=serializers.UUIDField(),
        allow_empty=False,
        max_length=20_000,
        help_text="uuids; also of what is to go",
    )
    message = serializers.CharField(max_length=services.MESSAGE_LENGTH)
    branch = serializers.CharField(
        required=False, allow_blank=True, max_length=200, help_text="one that is not there yet begins at `at`"
    )
    at = serializers.CharField(
        required=False,
        allow_blank=True,
        max_length=200,
        help_text="what it stands on; none: the repository's branch",
    )
    with_dependencies = serializers.BooleanField(default=True)
    pull_request = serializers.BooleanField(
        default=False, help_text="open one of the branch into the repository's, with what changes as its text"
    )


class DeployRequestSerializer(FromFilesRequestSerializer):
    at = serializers.CharField(
        required=False, allow_blank=True, max_length=200, help_text="a branch, tag or commit that was read"
    )


class FieldConflictSerializer(serializers.Serializer[Any]):
    key = serializers.CharField(
        help_text="what a choice names it by: its path as a JSON pointer without the first slash"
    )
    base = serializers.CharField(help_text="as text; empty where a side has none")
    mine = serializers.CharField()
    theirs = serializers.CharField()


class AssetConflictSerializer(serializers.Serializer[Any]):
    kind = serializers.CharField()
    uuid = serializers.CharField()
    title = serializers.CharField()
    mine = serializers.CharField(help_text="what the commit makes of it: changed, new or removed")
    theirs = serializers.CharField(help_text="what the branch made of it")
    fields = FieldConflictSerializer(
        many=True, help_text="that both changed; none where one side removed the asset"
    )  # type: ignore[assignment]
    from_mine = serializers.IntegerField(help_text="number of fields that only the commit changes")
    from_theirs = serializers.IntegerField(help_text="number of fields that only the branch changed")


class RefusedSerializer(serializers.Serializer[Any]):
    """A commit that was refused because its branch moved on."""

    branch = serializers.CharField()
    message = serializers.CharField(help_text="of the refused commit")
    remote_sha = serializers.CharField(help_text="the commit that is in the way")
    remote = CommitReadingSerializer(allow_null=True, help_text="null: POST readings/ first")
    conflicts = AssetConflictSerializer(many=True)
    untouched = serializers.IntegerField(help_text="number of its assets that nobody else changed")


class SettleRequestSerializer(serializers.Serializer[Any]):
    remote = serializers.CharField(max_length=40, help_text="the commit that was looked at: `remote.sha`")
    choices = serializers.DictField(
        required=False,
        child=serializers.DictField(child=serializers.ChoiceField(choices=["mine", "theirs"])),
        help_text='uuid -> field key -> mine or theirs; the key "" for all of the asset',
    )
    message = serializers.CharField(required=False, allow_blank=True, max_length=services.MESSAGE_LENGTH)


@extend_schema_view(
    list=extend_schema(description="Repositories, by name. Needs repository:view on everything."),
    retrieve=extend_schema(description="One repository with its branches and tags, as they were last seen."),
)
class RepositoryViewSet(
    mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[Repository]
):
    """Git repositories that assets are committed to, and brought from."""

    lookup_field = "uuid"
    filter_backends: list[Any] = []
    queryset = Repository.objects.none()
    serializer_class = RepositorySerializer

    def get_queryset(self) -> QuerySet[Repository]:
        return Repository.objects.visible_to(self.request.user).select_related("environment")

    def create(self, request: Request) -> Response:
        """Register a repository. Nothing is asked of the server: POST its check/ for that. Needs repository:edit."""
        policy.require(request.user, Permission.REPOSITORY_EDIT)
        asked = RepositorySerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        values = dict(asked.validated_data)
        secrets = {name: values.pop(name, "") for name in ("secret", "forge_secret")}
        row = services.register_repository(values, actor=request.user, source=Source.API, **secrets)
        return Response(RepositorySerializer(row).data, status=status.HTTP_201_CREATED)

    def partial_update(self, request: Request, uuid: UUID) -> Response:
        """Change some of it. Needs repository:edit; another host needs its secret again."""
        row = self.get_object()
        policy.require(request.user, Permission.REPOSITORY_EDIT)
        asked = RepositorySerializer(row, data=request.data, partial=True)
        asked.is_valid(raise_exception=True)
        values = dict(asked.validated_data)
        secrets = {name: values.pop(name, None) for name in ("secret", "forge_secret")}
        services.update_repository(row, values, actor=request.user, source=Source.API, **secrets)
        return Response(RepositorySerializer(row).data)

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, uuid: UUID) -> Response:
        """Forget it, with its credential and what was read of it. Its server is not touched. Needs repository:edit."""
        services.remove_repository(self.get_object(), actor=request.user, source=Source.API)
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(request=None, responses={202: JobDetailSerializer}, parameters=[KEY])
    @action(detail=True, methods=["post"])
    def check(self, request: Request, uuid: UUID) -> Response:
        """Ask the server for its branches and whether it may be pushed to, in the background."""
        job = services.request_check(
            self.get_object(), actor=request.user, source=Source.API, idempotency_key=idempotency_key(request)
        )
        return accepted(job, request)

    @extend_schema(request=ReadingRequestSerializer, responses={202: JobDetailSerializer}, parameters=[KEY])
    @action(detail=True, methods=["post"])
    def readings(self, request: Request, uuid: UUID) -> Response:
        """Read the files of a commit, in the background. The job's result has its place."""
        asked = ReadingRequestSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        job = services.request_reading(
            self.get_object(),
            asked.validated_data.get("ref", ""),
            actor=request.user,
            source=Source.API,
            idempotency_key=idempotency_key(request),
        )
        return accepted(job, request)

    @extend_schema(parameters=[ENVIRONMENT, AT], responses=ChangesSerializer)
    @action(detail=True, methods=["get"], pagination_class=None)
    def changes(self, request: Request, uuid: UUID) -> Response:
        """What differs between an environment and a commit, both as they were last read."""
        row = self.get_object()
        environment = _environment(request, request.query_params.get("environment", ""))
        policy.require(request.user, Permission.ASSET_VIEW, environment)
        base = _base(row, request.query_params.get("at", ""))
        found = changes_between(environment, base)
        shown = [change for change in found if change.state != "same"]
        body = {"base": base, "changes": shown, "same": len(found) - len(shown)}
        return Response(ChangesSerializer(body).data)

    @extend_schema(request=CommitRequestSerializer, responses={202: JobDetailSerializer}, parameters=[KEY])
    @action(detail=True, methods=["post"])
    def commits(self, request: Request, uuid: UUID) -> Response:
        """Commit assets of an environment, as they were last read, and push them. Needs repository:commit there."""
        row = self.get_object()
        asked = CommitRequestSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        data = asked.validated_data
        job = services.request_commit(
            row,
            _environment(request, data["environment"]),
            uuids=map(str, data["assets"]),
            message=data["message"],
            branch=data.get("branch", ""),
            base=_base(row, data.get("at", "")),
            with_dependencies=data["with_dependencies"],
            pull_request=data["pull_request"],
            actor=request.user,
            source=Source.API,
            idempotency_key=idempotency_key(request),
        )
        return accepted(job, request)

    @extend_schema(responses=RefusedSerializer)
    @action(detail=True, methods=["get"], pagination_class=None)
    def conflict(self, request: Request, uuid: UUID, job: UUID) -> Response:
        """What a commit and its branch both changed, where the commit was refused for that. `job` is that commit's."""
        refused = conflicts.find_refused(self.get_object(), job, request.user)
        return Response(RefusedSerializer(refused).data)

    @extend_schema(request=SettleRequestSerializer, responses={202: JobDetailSerializer}, parameters=[KEY])
    @action(detail=True, methods=["post"])
    def settle(self, request: Request, uuid: UUID, job: UUID) -> Response:
        """Commit it on top of its branch, with mine or theirs where both changed the same. Needs repository:commit."""
        refused = conflicts.find_refused(self.get_object(), job, request.user)
        asked = SettleRequestSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        data = asked.validated_data
        made = conflicts.settle(
            refused,
            data.get("choices", {}),
            remote=data["remote"],
            message=data.get("message", ""),
            actor=request.user,
            source=Source.API,
            idempotency_key=idempotency_key(request),
        )
        return accepted(made, request)

    @extend_schema(
        request=DeployRequestSerializer, responses={201: MigrationDetailSerializer}, parameters=[KEY]
    )
    @action(detail=True, methods=["post"])
    def migrations(self, request: Request, uuid: UUID) -> Response:
        """A migration of what a commit holds, as of an environment from there on. Needs migration:plan on the
        target.
        """
        row = self.get_object()
        asked = DeployRequestSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        data = asked.validated_data
        reading = _base(row, data.get("at", ""))
        if reading is None:
            raise NotFoundError(f"There is nothing in {row} yet.", remedy="Commit something first.")
        target = _environment(request, data["target"], "target")
        key = idempotency_key(request)
        made = uuid5(NAMESPACE_URL, f"git-migration:{request.user.pk}:{key}") if key else None
        migration = _repeated(request, made, reading, target)
        if migration is None:
            try:
                migration = sources.create_migration(
                    reading,
                    target,
                    actor=request.user,
                    selection=map(str, data.get("selection", ())),
                    left_out=map(str, data.get("left_out", ())),
                    databases=data.get("map"),
                    title=data.get("title", ""),
                    with_dependencies=data["with_dependencies"],
                    verify=data["verify"],
                    roll_back_when_red=data["roll_back_when_red"],
                    uuid=made,
                )
            except IntegrityError:  # the same request at the same moment: it was faster
                migration = _repeated(request, made, reading, target)
                if migration is None:
                    raise
        if data["plan"]:
            migrations.request_plan(migration, actor=request.user, source=Source.API, idempotency_key=key)
        return answer_migration(migration, request, status.HTTP_201_CREATED)


def _environment(request: Request, slug: str, field: str = "environment") -> Environment:
    found: Environment | None = Environment.objects.visible_to(request.user).filter(slug=slug).first()
    if found is None:
        raise Invalid("There is no such environment.", errors={field: ["You see none of that name."]})
    return found


def _base(row: Repository, at: str) -> CommitReading | None:
    """What was read of a ref; None for a repository with nothing in it. Raises NotFoundError where it was not read."""
    found = services.reading_of(row, at or row.branch)
    if found is None and (row.fetched_at is None or row.refs):
        raise NotFoundError(
            f"{row} was not read at {at or row.branch}.", code="not_read", remedy="POST its readings/ first."
        )
    return found


def _repeated(
    request: Request, uuid: UUID | None, reading: CommitReading, target: Environment
) -> Migration | None:
    """What the same request made before. Raises Conflict if its key belongs to another one."""
    if uuid is None or not Migration.objects.filter(uuid=uuid).exists():
        return None
    visible = Migration.objects.visible_to(request.user).filter(uuid=uuid)
    found: Migration | None = visible.filter(source_place=reading.place, target=target).first()
    if found is None:
        raise Conflict(
            "This idempotency key was used for another request.",
            code="idempotency_key_reused",
            remedy="Use a new key for a new request.",
        )
    return found


def _view(actions: Any, **more: Any) -> Any:
    return RepositoryViewSet.as_view(actions, **more)


urlpatterns = [
    path("repositories/", _view({"get": "list", "post": "create"}), name="repositories"),
    path(
        "repositories/<uuid:uuid>/",
        _view({"get": "retrieve", "patch": "partial_update", "delete": "destroy"}, detail=True),
        name="repository",
    ),
    path("repositories/<uuid:uuid>/check/", _view({"post": "check"}, detail=True), name="repository-check"),
    path(
        "repositories/<uuid:uuid>/readings/",
        _view({"post": "readings"}, detail=True),
        name="repository-readings",
    ),
    path(
        "repositories/<uuid:uuid>/changes/",
        _view({"get": "changes"}, detail=True, pagination_class=None),
        name="repository-changes",
    ),
    path(
        "repositories/<uuid:uuid>/commits/",
        _view({"post": "commits"}, detail=True),
        name="repository-commits",
    ),
    path(
        "repositories/<uuid:uuid>/migrations/",
        _view({"post": "migrations"}, detail=True),
        name="repository-migrations",
    ),
    path(
        "repositories/<uuid:uuid>/conflicts/<uuid:job>/",
        _view({"get": "conflict", "post": "settle"}, detail=True),
        name="repository-conflict",
    ),
]
