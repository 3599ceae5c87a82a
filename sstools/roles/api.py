"""REST: /api/v1/access/. Who may do what; the pages below /access/ call the same services."""

from typing import Any

from django.contrib.auth import get_user_model
from django.db.models import Count, QuerySet
from django.shortcuts import get_object_or_404
from django.urls import path
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field, extend_schema_view
from rest_framework import mixins, serializers, status, viewsets
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from sstools.errors import Invalid, NotFoundError
from sstools.resources import EVERYTHING

from . import accounts, places, policy, services
from .forms import people_like
from .models import Account, CustomRole, Grant, Group, Source
from .permissions import Permission, Role

User = get_user_model()
SOURCE = "api"


class ForViewers:
    """Needs access:view somewhere; what concerns everything asks for more in its service."""

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)  # type: ignore[misc]
        policy.require_anywhere(request.user, Permission.ACCESS_VIEW)


# --- Shapes -----------------------------------------------------------------------------------------------------------


class UserSerializer(serializers.ModelSerializer[Any]):
    source = serializers.SerializerMethodField()  # type: ignore[assignment]  # hides what only fields use
    email = serializers.CharField(read_only=True, help_text="empty: not known")
    groups: Any = serializers.SlugRelatedField("name", source="access_groups", many=True, read_only=True)

    class Meta:
        model = User
        fields = [
            "id",
            "username",
            "first_name",
            "last_name",
            "email",
            "source",
            "groups",
            "is_active",
            "is_superuser",
            "last_login",
            "date_joined",
        ]
        read_only_fields = fields

    @extend_schema_field(serializers.ChoiceField(Source.choices, help_text="where they sign in"))
    def get_source(self, user: Any) -> str:
        account: Account | None = getattr(user, "account", None)
        return account.source if account else Source.LOCAL


class NamesSerializer(serializers.Serializer[Any]):
    first_name = serializers.CharField(required=False, allow_blank=True, max_length=150)
    last_name = serializers.CharField(required=False, allow_blank=True, max_length=150)
    email = serializers.CharField(required=False, allow_blank=True, max_length=254)


class NewUserSerializer(NamesSerializer):
    username = serializers.CharField(max_length=150)


class UserChangeSerializer(NamesSerializer):
    is_active = serializers.BooleanField(required=False, help_text="false ends sessions and tokens at once")


class PasswordLinkSerializer(serializers.Serializer[Any]):
    url = serializers.CharField(
        help_text="Shown this once. Whoever opens it chooses a password; it works once."
    )


class RoleSerializer(serializers.Serializer[Role]):
    key = serializers.CharField()
    name = serializers.CharField(source="title")
    description = serializers.CharField()
    permissions = serializers.SerializerMethodField()
    is_builtin = serializers.BooleanField(help_text="built in: never changes")

    def get_permissions(self, role: Role) -> list[str]:
        return sorted(map(str, role.permissions))


class RoleWriteSerializer(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=100)
    description = serializers.CharField(required=False, allow_blank=True, max_length=500)
    permissions = serializers.ListField(child=serializers.CharField(max_length=100), max_length=100)


class GroupSerializer(serializers.ModelSerializer[Group]):
    member_count = serializers.IntegerField(read_only=True)

    class Meta:
        model = Group
        fields = ["id", "name", "source", "description", "member_count", "seen_at"]
        read_only_fields = fields


class GroupDetailSerializer(GroupSerializer):
    members: Any = serializers.SlugRelatedField("username", many=True, read_only=True)

    class Meta(GroupSerializer.Meta):
        fields = [*GroupSerializer.Meta.fields, "members"]
        read_only_fields = fields


class NewGroupSerializer(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=255, help_text="of a directory: exactly as it is called there")
    source = serializers.ChoiceField(Source.choices, default=Source.LOCAL)  # type: ignore[assignment]
    description = serializers.CharField(required=False, allow_blank=True, max_length=500)


class MembersSerializer(serializers.Serializer[Any]):
    members = serializers.ListField(
        child=serializers.CharField(max_length=150), max_length=2000, help_text="user names: all of them"
    )


class GrantSerializer(serializers.ModelSerializer[Grant]):
    user = serializers.CharField(source="user.username", default=None, read_only=True, allow_null=True)
    group = serializers.CharField(source="group.name", default=None, read_only=True, allow_null=True)
    on = serializers.CharField(
        source="scope", read_only=True, help_text='"environment:<uuid>", or "*" for everything'
    )
    created_by = serializers.CharField(
        source="created_by.username", default=None, read_only=True, allow_null=True
    )
    is_expired = serializers.BooleanField(read_only=True, help_text="gives nothing any more")

    class Meta:
        model = Grant
        fields = [
            "id",
            "user",
            "group",
            "role",
            "on",
            "expires_at",
            "is_expired",
            "reason",
            "created_at",
            "created_by",
        ]
        read_only_fields = fields


class EndSerializer(serializers.Serializer[Any]):
    expires_at = serializers.DateTimeField(required=False, allow_null=True, help_text="null: never")
    reason = serializers.CharField(required=False, allow_blank=True, max_length=500)


class NewGrantSerializer(EndSerializer):
    user = serializers.CharField(required=False, max_length=150, help_text="user name; or a group")
    group = serializers.IntegerField(
        required=False, min_value=1, max_value=2**31, help_text="id of a group; or a user"
    )
    role = serializers.CharField(max_length=50, help_text="key of a role")
    on = serializers.CharField(
        default=EVERYTHING, max_length=200, help_text='slug of an environment, "environment:<uuid>", or "*"'
    )


class HolderSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    email = serializers.CharField()


class ExplanationSerializer(serializers.Serializer[Any]):
    user = serializers.CharField()
    permission = serializers.ChoiceField([(str(one), str(one)) for one in Permission])
    on = serializers.CharField()
    allowed = serializers.BooleanField()
    sentence = serializers.CharField(help_text="the answer for people")
    grant = GrantSerializer(allow_null=True, help_text="that decided")
    expired = GrantSerializer(many=True, help_text="that would have given it")
    roles = serializers.ListField(child=serializers.CharField(), help_text="that would give it")
    holders = HolderSerializer(
        many=True, help_text="people who may, six at most; only where the answer is no"
    )


# --- People -----------------------------------------------------------------------------------------------------------


@extend_schema_view(
    list=extend_schema(
        description="People, by user name. Needs access:view.",
        parameters=[
            OpenApiParameter("q", str, description="words of names and mail"),
            OpenApiParameter("is_active", bool),
        ],
    ),
    retrieve=extend_schema(description="One person."),
)
class UserViewSet(ForViewers, mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[Any]):
    """People. Changing them needs access:edit on everything, superusers a superuser."""

    serializer_class = UserSerializer
    filter_backends: list[Any] = []
    queryset = User._default_manager.none()

    def get_queryset(self) -> QuerySet[Any]:
        rows = (
            User._default_manager.select_related("account")
            .prefetch_related("access_groups")
            .order_by("username")
        )
        query = self.request.query_params
        active = {"true": True, "false": False}.get(query.get("is_active", ""))
        rows = rows if active is None else rows.filter(is_active=active)
        return rows.filter(people_like(_plain(query.get("q", ""))))

    @extend_schema(request=NewUserSerializer, responses={201: UserSerializer})
    def create(self, request: Request) -> Response:
        """A local user without a password yet: ask for a password link."""
        user = accounts.create_user(**_checked(NewUserSerializer, request), actor=request.user, source=SOURCE)
        return Response(UserSerializer(user).data, status=status.HTTP_201_CREATED)

    @extend_schema(request=UserChangeSerializer(partial=True), responses=UserSerializer)
    def partial_update(self, request: Request, pk: int) -> Response:
        """Change names, or switch somebody off or on. 409 `last_administrator` if nobody could give roles then."""
        user, data = self.get_object(), _checked(UserChangeSerializer, request)
        active = data.pop("is_active", None)
        user = accounts.update_user(user, **data, actor=request.user, source=SOURCE)
        if active is not None:
            user = accounts.set_active(user, active, actor=request.user, source=SOURCE)
        return Response(UserSerializer(self.get_object()).data)

    @extend_schema(request=None, responses={204: None})
    def end_sessions(self, request: Request, pk: int) -> Response:
        """Sign somebody out of every browser. Tokens stay."""
        accounts.end_sessions(self.get_object(), actor=request.user, source=SOURCE)
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(request=None, responses={201: PasswordLinkSerializer})
    def password_link(self, request: Request, pk: int) -> Response:
        """The address where a local user chooses a password. It is shown this once, and works once."""
        link = accounts.password_link(self.get_object(), actor=request.user, source=SOURCE)
        return Response({"url": request.build_absolute_uri(link)}, status=status.HTTP_201_CREATED)


# --- Roles ------------------------------------------------------------------------------------------------------------


class RolesView(ForViewers, APIView):
    """Roles, the built-in ones first."""

    @extend_schema(responses=RoleSerializer(many=True), operation_id="access_roles_list")
    def get(self, request: Request) -> Response:
        """All roles. Needs access:view."""
        roles: Any = services.all_roles()
        return Response(RoleSerializer(roles, many=True).data)

    @extend_schema(
        request=RoleWriteSerializer, responses={201: RoleSerializer}, operation_id="access_roles_create"
    )
    def post(self, request: Request) -> Response:
        """A custom role. Needs access:edit on everything."""
        row = services.create_role(
            **_checked(RoleWriteSerializer, request), actor=request.user, source=SOURCE
        )
        return Response(RoleSerializer(row.role).data, status=status.HTTP_201_CREATED)


class RoleView(ForViewers, APIView):
    @extend_schema(responses=RoleSerializer, operation_id="access_roles_retrieve")
    def get(self, request: Request, key: str) -> Response:
        """One role by its key."""
        role = next((role for role in services.all_roles() if role.key == key), None)
        if role is None:
            raise NotFoundError()
        return Response(RoleSerializer(role).data)

    @extend_schema(
        request=RoleWriteSerializer(partial=True),
        responses=RoleSerializer,
        operation_id="access_roles_partial_update",
    )
    def patch(self, request: Request, key: str) -> Response:
        """Change a custom role for everybody who has it. Built-in ones are not found here."""
        data = _checked(RoleWriteSerializer, request, partial=True)
        row = services.update_role(_custom(request, key), **data, actor=request.user, source=SOURCE)
        return Response(RoleSerializer(row.role).data)

    @extend_schema(responses={204: None}, operation_id="access_roles_destroy")
    def delete(self, request: Request, key: str) -> Response:
        """Forget a custom role that nobody has; 409 `in_use` otherwise."""
        services.delete_role(_custom(request, key), actor=request.user, source=SOURCE)
        return Response(status=status.HTTP_204_NO_CONTENT)


def _custom(request: Request, key: str) -> CustomRole:
    policy.require(request.user, Permission.ACCESS_EDIT)
    return get_object_or_404(CustomRole, key=key)


# --- Groups -----------------------------------------------------------------------------------------------------------


@extend_schema_view(
    list=extend_schema(description="Groups of ss-tools and of the directory. Needs access:view."),
    retrieve=extend_schema(description="One group with the user names of its members."),
)
class GroupViewSet(
    ForViewers, mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[Group]
):
    """Groups. Changing them needs access:edit on everything."""

    filter_backends: list[Any] = []
    queryset = Group.objects.none()

    def get_queryset(self) -> QuerySet[Group]:
        rows = Group.objects.annotate(member_count=Count("memberships")).order_by("name", "source")
        return rows.prefetch_related("members") if self.action != "list" else rows

    def get_serializer_class(self) -> type[serializers.BaseSerializer[Group]]:
        return GroupSerializer if self.action == "list" else GroupDetailSerializer

    @extend_schema(request=NewGroupSerializer, responses={201: GroupDetailSerializer})
    def create(self, request: Request) -> Response:
        """A group: of ss-tools, with members chosen here; or of the directory, with those that it names."""
        data = _checked(NewGroupSerializer, request)
        row = services.create_group(origin=data.pop("source"), **data, actor=request.user, source=SOURCE)
        row = self.get_queryset().get(pk=row.pk)
        return Response(GroupDetailSerializer(row).data, status=status.HTTP_201_CREATED)

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, pk: int) -> Response:
        """Forget a group with the roles it was given."""
        services.delete_group(self.get_object(), actor=request.user, source=SOURCE)
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(request=MembersSerializer, responses=GroupDetailSerializer)
    def members(self, request: Request, pk: int) -> Response:
        """Make these the members of a group of ss-tools. 409 `directory_group` for one of the directory."""
        names = {name.casefold(): name for name in _checked(MembersSerializer, request)["members"]}
        policy.require(request.user, Permission.ACCESS_EDIT)
        found = {
            user.get_username().casefold(): user
            for user in User._default_manager.filter(username__in=names.values())
        }
        if unknown := sorted(name for key, name in names.items() if key not in found):
            raise Invalid(
                "Some people are not there.", errors={"members": [f"Unknown: {', '.join(unknown[:20])}"]}
            )
        services.set_members(self.get_object(), found.values(), actor=request.user, source=SOURCE)
        return Response(GroupDetailSerializer(self.get_object()).data)


# --- Grants -----------------------------------------------------------------------------------------------------------


@extend_schema_view(
    list=extend_schema(
        description="Grants on what you have access:view for, and those on everything; expired ones too.",
        parameters=[
            OpenApiParameter("user", str, description="user name: given to them directly"),
            OpenApiParameter("group", int, description="id of a group"),
            OpenApiParameter("role", str, description="key of a role"),
            OpenApiParameter("on", str, description='slug of an environment, "environment:<uuid>", or "*"'),
        ],
    ),
    retrieve=extend_schema(description="One grant."),
)
class GrantViewSet(
    ForViewers, mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[Grant]
):
    """Grants. Changing one needs access:edit on what it is on."""

    serializer_class = GrantSerializer
    filter_backends: list[Any] = []
    queryset = Grant.objects.none()

    def get_queryset(self) -> QuerySet[Grant]:
        rows = Grant.objects.visible_to(self.request.user).select_related("user", "group", "created_by")
        if self.action != "list":
            return rows
        query = self.request.query_params
        if name := _plain(query.get("user", "")):
            rows = rows.filter(user__username=name)
        if group := query.get("group"):
            rows = rows.filter(group_id=int(group)) if group.isdecimal() and len(group) < 10 else rows.none()
        if role := _plain(query.get("role", "")):
            rows = rows.filter(role=role)
        if on := query.get("on"):
            place = places.find(on, self.request.user)
            rows = rows.filter(scope=place.resource_name) if place else rows.none()
        return rows.order_by("id")

    @extend_schema(request=NewGrantSerializer, responses={201: GrantSerializer})
    def create(self, request: Request) -> Response:
        """Give a role to a person or a group, on an environment or on everything. Asking again changes its end."""
        data = _checked(NewGrantSerializer, request)
        place = places.find(data.pop("on"), request.user)
        if place is None:
            raise Invalid("There is no such environment.", errors={"on": ["No such environment."]})
        services.require_edit(request.user, place)
        row = services.grant(
            data.pop("role"),
            user=_named(data.pop("user", None)),
            group=_numbered(data.pop("group", None)),
            on=place,
            actor=request.user,
            source=SOURCE,
            **data,
        )
        return Response(GrantSerializer(row).data, status=status.HTTP_201_CREATED)

    @extend_schema(request=EndSerializer(partial=True), responses=GrantSerializer)
    def partial_update(self, request: Request, pk: int) -> Response:
        """Change when it ends, and why it is there. 409 `last_administrator` if nobody could give roles then."""
        row, data = self.get_object(), _checked(EndSerializer, request)
        values = {"expires_at": row.expires_at, "reason": row.reason} | data
        return Response(
            GrantSerializer(services.change_grant(row, **values, actor=request.user, source=SOURCE)).data
        )

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, pk: int) -> Response:
        """Take a role back, at once."""
        services.revoke(self.get_object(), actor=request.user, source=SOURCE)
        return Response(status=status.HTTP_204_NO_CONTENT)


class ExplainView(ForViewers, APIView):
    @extend_schema(
        responses=ExplanationSerializer,
        operation_id="access_explain",
        parameters=[
            OpenApiParameter("user", str, required=True, description="user name"),
            OpenApiParameter("permission", str, required=True, enum=[str(one) for one in Permission]),
            OpenApiParameter(
                "on", str, description='slug of an environment, "environment:<uuid>"; else everything'
            ),
        ],
    )
    def get(self, request: Request) -> Response:
        """May this person do that, and why? Needs access:view on the environment."""
        query, errors = request.query_params, {}
        user = User._default_manager.filter(username=_plain(query.get("user", ""))).first()
        place = places.find(query.get("on", EVERYTHING), request.user)
        if user is None:
            errors["user"] = ["There is no such user."]
        if query.get("permission") not in set(map(str, Permission)):
            errors["permission"] = ["There is no such right."]
        if place is None:
            errors["on"] = ["No such environment."]
        if errors or place is None or user is None:
            raise Invalid("Some values are not right.", errors=errors)
        policy.require(request.user, Permission.ACCESS_VIEW, place)
        why = policy.explain(user, Permission(query["permission"]), place)
        answer = {
            "user": user.get_username(),
            "permission": why.permission,
            "on": place.resource_name,
            "allowed": why.allowed,
            "sentence": why.sentence,
            "grant": why.grant,
            "expired": why.expired,
            "roles": why.roles_that_would,
            "holders": () if why.allowed else why.holders,
        }
        return Response(ExplanationSerializer(answer).data)


def _checked(
    shape: type[serializers.Serializer[Any]], request: Request, partial: bool = False
) -> dict[str, Any]:
    given = shape(data=request.data, partial=partial)
    given.is_valid(raise_exception=True)
    return dict(given.validated_data)


def _plain(text: str) -> str:
    """A text of the address without what PostgreSQL does not take."""
    return text.replace("\0", "")[:200]


def _named(name: str | None) -> Any:
    if name is None:
        return None
    user = User._default_manager.filter(username__iexact=name).first()
    if user is None:
        raise Invalid("There is no such user.", errors={"user": ["There is no such user."]})
    return user


def _numbered(pk: int | None) -> Group | None:
    if pk is None:
        return None
    group = Group.objects.filter(pk=pk).first()
    if group is None:
        raise Invalid("There is no such group.", errors={"group": ["There is no such group."]})
    return group


urlpatterns = [
    path("users/", UserViewSet.as_view({"get": "list", "post": "create"}), name="access-users"),
    path(
        "users/<int:pk>/",
        UserViewSet.as_view({"get": "retrieve", "patch": "partial_update"}),
        name="access-user",
    ),
    path(
        "users/<int:pk>/sessions/",
        UserViewSet.as_view({"delete": "end_sessions"}, detail=True),
        name="access-user-sessions",
    ),
    path(
        "users/<int:pk>/password-link/",
        UserViewSet.as_view({"post": "password_link"}, detail=True),
        name="access-user-link",
    ),
    path("roles/", RolesView.as_view(), name="access-roles"),
    path("roles/<slug:key>/", RoleView.as_view(), name="access-role"),
    path("groups/", GroupViewSet.as_view({"get": "list", "post": "create"}), name="access-groups"),
    path(
        "groups/<int:pk>/",
        GroupViewSet.as_view({"get": "retrieve", "delete": "destroy"}),
        name="access-group",
    ),
    path(
        "groups/<int:pk>/members/",
        GroupViewSet.as_view({"put": "members"}, detail=True),
        name="access-group-members",
    ),
    path("grants/", GrantViewSet.as_view({"get": "list", "post": "create"}), name="access-grants"),
    path(
        "grants/<int:pk>/",
        GrantViewSet.as_view({"get": "retrieve", "patch": "partial_update", "delete": "destroy"}),
        name="access-grant",
    ),
    path("explain/", ExplainView.as_view(), name="access-explain"),
]
