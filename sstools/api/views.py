"""Tokens, who am I, and the page with the API's documentation."""

from functools import cache
from typing import Any

from django.contrib.auth import authenticate
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.utils import extend_schema
from rest_framework import exceptions, serializers, status
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from sstools.roles import accounts, places, policy, tokens
from sstools.roles.models import ApiToken
from sstools.roles.permissions import Permission
from sstools.signin import sessions

from .reference import reference


class TokenRequestSerializer(serializers.Serializer[Any]):
    username = serializers.CharField(required=False, max_length=150)
    password = serializers.CharField(
        required=False, write_only=True, trim_whitespace=False, style={"input_type": "password"}
    )
    name = serializers.CharField(required=False, max_length=100, default="API")
    days = serializers.IntegerField(
        required=False, min_value=1, max_value=3650, allow_null=True, default=90, help_text="null: for ever"
    )
    permissions = serializers.ListField(
        child=serializers.CharField(max_length=50),
        required=False,
        default=list,
        help_text="what it may do at most; empty: as much as its user",
    )
    scopes = serializers.ListField(
        child=serializers.CharField(max_length=200),
        required=False,
        default=list,
        help_text="on what at most (environment:<uuid>, or an environment's slug); empty: on whatever its user may",
    )


class TokenSerializer(serializers.ModelSerializer[ApiToken]):
    class Meta:
        model = ApiToken
        fields = [
            "id",
            "name",
            "prefix",
            "permissions",
            "scopes",
            "created_at",
            "last_used_at",
            "expires_at",
            "revoked_at",
        ]
        read_only_fields = fields


class NewTokenSerializer(TokenSerializer):
    token = serializers.CharField(read_only=True, help_text="Shown this once.")

    class Meta(TokenSerializer.Meta):
        fields = ["token", *TokenSerializer.Meta.fields]
        read_only_fields = fields


class TokensView(APIView):
    """One's own tokens. A new one is asked for with user name and password, or while signed in."""

    permission_classes = [AllowAny]

    @extend_schema(responses=TokenSerializer(many=True), operation_id="tokens_list")
    def get(self, request: Request) -> Response:
        if not request.user.is_authenticated:
            raise exceptions.NotAuthenticated
        rows = ApiToken.objects.filter(user=request.user, revoked_at=None)
        return Response(TokenSerializer(rows, many=True).data)

    @extend_schema(request=TokenRequestSerializer, responses={201: NewTokenSerializer})
    def post(self, request: Request) -> Response:
        asked = TokenRequestSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        data = asked.validated_data
        if "username" in data or "password" in data or not request.user.is_authenticated:
            user = authenticate(
                request._request, username=data.get("username", ""), password=data.get("password", "")
            )
            if user is None:
                raise exceptions.AuthenticationFailed("User name or password is wrong.")
        else:
            user = request.user
        row, text = tokens.create_token(
            user,
            name=data["name"],
            days=data["days"],
            permissions=data["permissions"],
            scopes=[_resource(scope, user) for scope in data["scopes"]],
            source="api",
        )
        row.token = text  # type: ignore[attr-defined]
        return Response(NewTokenSerializer(row).data, status=status.HTTP_201_CREATED)


def _resource(text: str, user: Any) -> str:
    """The resource name of what somebody named; what there is not is left to the service to refuse."""
    place = places.find(text, user)
    return place.resource_name if place else text


class TokenView(APIView):
    @extend_schema(responses={204: None}, operation_id="tokens_revoke")
    def delete(self, request: Request, pk: int) -> Response:
        """End a token at once."""
        tokens.revoke_token(pk, actor=request.user, source="api")
        return Response(status=status.HTTP_204_NO_CONTENT)


class SessionSerializer(serializers.Serializer[Any]):
    started_at = serializers.DateTimeField(help_text="the sign-in")
    seen_at = serializers.DateTimeField(help_text="when something was done last, exact to a minute")
    address = serializers.CharField()
    browser = serializers.CharField(help_text="as it calls itself")
    is_current = serializers.BooleanField(help_text="the one of this request")


class SessionsView(APIView):
    """Where one is signed in with a browser. Tokens are no sessions."""

    @extend_schema(responses=SessionSerializer(many=True), operation_id="me_sessions_list")
    def get(self, request: Request) -> Response:
        """The one that was used last first."""
        rows: Any = list(sessions.of_user(request.user))
        for row in rows:
            row.is_current = row.session_key == request.session.session_key
        return Response(SessionSerializer(rows, many=True).data)

    @extend_schema(responses={204: None}, operation_id="me_sessions_end")
    def delete(self, request: Request) -> Response:
        """End them all, but for that of this request where it has one. 403 `token_narrowed` for such a token."""
        accounts.end_sessions(
            request.user, actor=request.user, keep=request.session.session_key, source="api"
        )
        return Response(status=status.HTTP_204_NO_CONTENT)


class MeSerializer(serializers.Serializer[Any]):
    username = serializers.CharField()
    is_superuser = serializers.BooleanField()
    permissions = serializers.DictField(
        child=serializers.ListField(child=serializers.CharField()),
        help_text='permission -> where: "*" is everything, otherwise "environment:<uuid>"',
    )


class MeView(APIView):
    @extend_schema(responses=MeSerializer, operation_id="me")
    def get(self, request: Request) -> Response:
        """Who am I, and what may I do where?"""
        allowed = {}
        for permission in Permission:
            where = policy.scopes(request.user, permission)
            if where:
                allowed[str(permission)] = ["*"] if where.everything else sorted(where.resources)
        user = request.user
        data = {
            "username": user.get_username(),
            "is_superuser": policy.is_superuser(user),
            "permissions": allowed,
        }
        return Response(MeSerializer(data).data)


@require_safe
@login_required
def docs(request: HttpRequest) -> HttpResponse:
    """The API's reference, made from the schema. No script and nothing from another host."""
    return render(request, "api/docs.html", _reference())


@cache
def _reference() -> dict[str, Any]:
    """What follows from the code alone, and takes half a second to find out: once per process."""
    schema = SchemaGenerator(api_version="v1").get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    return {"sections": reference(schema), "info": schema["info"]}
