"""REST: /api/v1/audit/."""

from typing import Any

from django.db.models import QuerySet
from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers, viewsets
from rest_framework.request import Request
from rest_framework.response import Response

from sstools.roles import policy
from sstools.roles.permissions import Permission

from . import exporting
from .filters import AuditFilter
from .models import AuditEvent


class AuditSerializer(serializers.ModelSerializer[AuditEvent]):
    class Meta:
        model = AuditEvent
        fields = list(exporting.COLUMNS)
        read_only_fields = fields

    data = serializers.JSONField(read_only=True)  # type: ignore[assignment]  # the base class has one of its own


class AuditViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[AuditEvent]):
    """Who did what, newest first. Filters as on the page; `hash` covers the event and the one before it."""

    lookup_field = "number"
    lookup_value_regex = r"\d{1,18}"
    serializer_class = AuditSerializer
    filterset_class = AuditFilter
    queryset = AuditEvent.objects.none()

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        policy.require_anywhere(request.user, Permission.AUDIT_VIEW)

    def get_queryset(self) -> QuerySet[AuditEvent]:
        return AuditEvent.objects.visible_to(self.request.user)

    @extend_schema(filters=False)
    def retrieve(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().retrieve(request, *args, **kwargs)


def _view(actions: dict[str, str]) -> Any:
    return AuditViewSet.as_view(actions)  # type: ignore[arg-type]


urlpatterns = [
    path("audit/", _view({"get": "list"}), name="audit-list"),
    path("audit/<int:number>/", _view({"get": "retrieve"}), name="audit-event"),
]
