"""REST: /api/v1/replacements/."""

from __future__ import annotations

from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from environments.models import KIND_CHOICES
from migrations_app.api.shapes import EnvironmentField, MigrationSerializer, StrictSerializer, UuidField
from sstools.jobs.models import Source

from . import services
from .terms import FIELDS, HOWS, MOST_CHARACTERS, MOST_SELECTED, How


class ReplacementRequestSerializer(StrictSerializer):
    environment = EnvironmentField(help_text="slug or uuid")
    find = serializers.CharField(max_length=MOST_CHARACTERS, trim_whitespace=False)
    replace = serializers.CharField(
        max_length=MOST_CHARACTERS, trim_whitespace=False, allow_blank=True, default="", required=False
    )
    how = serializers.ChoiceField(
        choices=[(how.value, text) for how, text in HOWS.items()], default=How.TEXT.value, required=False
    )
    ignore_case = serializers.BooleanField(default=False, required=False)
    where = serializers.ListField(
        child=serializers.ChoiceField(choices=[(one.value, text) for one, text in FIELDS.items()]),
        required=False,
        default=list,
        help_text="where it is looked for; none: everywhere",
    )
    kinds = serializers.ListField(
        child=serializers.ChoiceField(choices=KIND_CHOICES),
        required=False,
        default=list,
        help_text="of assets, connections excepted; none: all three",
    )
    title = serializers.CharField(
        max_length=250,
        allow_blank=True,
        default="",
        required=False,
        help_text="only assets whose title contains it, in any case",
    )
    database = UuidField(
        required=False,
        allow_null=True,
        default=None,
        help_text="only datasets of this connection, and the charts on them",
    )
    selection = serializers.ListField(
        child=UuidField(),
        required=False,
        default=list,
        max_length=MOST_SELECTED,
        help_text="only these, and what they stand on",
    )
    verify = serializers.BooleanField(default=True, required=False)
    roll_back_when_red = serializers.BooleanField(default=False, required=False)


class ReplacementsView(APIView):
    @extend_schema(request=ReplacementRequestSerializer, responses={201: MigrationSerializer})
    def post(self, request: Request) -> Response:
        """Start a migration that replaces texts in assets of an environment, with its plan under way.

        The plan shows every place; nothing is written before it is applied. The same one again while it is open.
        """
        asked = ReplacementRequestSerializer(data=request.data, context={"request": request})
        asked.is_valid(raise_exception=True)
        data = dict(asked.validated_data)
        migration = services.create_replacement(
            data.pop("environment"),
            actor=request.user,
            via=Source.API,
            database=data.pop("database") or "",
            fields=data.pop("where"),
            **data,
        )
        shown = MigrationSerializer(migration, context={"request": request}).data
        return Response(shown, status=status.HTTP_201_CREATED)


urlpatterns = [path("replacements/", ReplacementsView.as_view(), name="replacements")]
