"""Repairs by REST: damage is with the assets (`/assets/?damage=any`)."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from migrations_app import repairs
from sstools.jobs.models import Source

from .shapes import EnvironmentField, MigrationSerializer, StrictSerializer, UuidField


class RepairRequestSerializer(StrictSerializer):
    environment = EnvironmentField(help_text="slug or uuid")
    selection = serializers.ListField(
        child=UuidField(), required=False, default=list, help_text="dashboards; none: all that are damaged"
    )


class RepairsView(APIView):
    @extend_schema(request=RepairRequestSerializer, responses={201: MigrationSerializer})
    def post(self, request: Request) -> Response:
        """Start a migration that mends damaged dashboards, with its plan under way.

        The same one again while it is open. Plans of it may ask which of two truths counts: `by_uuid` or `by_id`.
        """
        asked = RepairRequestSerializer(data=request.data, context={"request": request})
        asked.is_valid(raise_exception=True)
        data = asked.validated_data
        migration = repairs.create_repair(
            data["environment"], data["selection"], actor=request.user, via=Source.API
        )
        shown = MigrationSerializer(migration, context={"request": request}).data
        return Response(shown, status=status.HTTP_201_CREATED)
