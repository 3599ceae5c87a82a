"""REST: /api/v1/webhooks/ and /api/v1/me/notices/."""

from typing import Any, ClassVar

from django.db.models import QuerySet
from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers, status, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from sstools.roles import policy
from sstools.roles.permissions import Permission

from . import services
from .models import Delivery, Webhook


class WebhookSerializer(serializers.ModelSerializer[Webhook]):
    """`url` and `secret` are written and never read; `host` tells where it goes."""

    url = serializers.CharField(write_only=True, required=False, max_length=2000)
    secret = serializers.CharField(write_only=True, required=False, max_length=500)
    has_secret = serializers.SerializerMethodField()
    events = serializers.ListField(
        child=serializers.CharField(max_length=100), required=False, max_length=200
    )

    class Meta:
        model = Webhook
        fields = [
            "uuid",
            "name",
            "host",
            "events",
            "scope",
            "is_enabled",
            "has_secret",
            "created_at",
            "url",
            "secret",
        ]
        read_only_fields = ["uuid", "host", "created_at"]
        extra_kwargs: ClassVar[dict[str, Any]] = {
            "name": {"validators": []}
        }  # the service says it, with the rest

    def get_has_secret(self, webhook: Webhook) -> bool:
        return bool(webhook.secret)


class DeliverySerializer(serializers.ModelSerializer[Delivery]):
    event = serializers.CharField(source="notice.event", read_only=True)
    title = serializers.CharField(source="notice.title", read_only=True)
    created_at = serializers.DateTimeField(source="notice.created_at", read_only=True)

    class Meta:
        model = Delivery
        fields = ["uuid", "event", "title", "created_at", "state", "attempts", "next_at", "answer", "sent_at"]
        read_only_fields = fields


class WebhookViewSet(
    mixins.ListModelMixin,
    mixins.RetrieveModelMixin,
    mixins.DestroyModelMixin,
    viewsets.GenericViewSet[Webhook],
):
    """Addresses that are told what happened. Notices are signed with `secret`: see the documentation."""

    lookup_field = "uuid"
    serializer_class = WebhookSerializer
    queryset = Webhook.objects.none()
    filter_backends: list[Any] = []

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        policy.require_anywhere(request.user, Permission.WEBHOOK_EDIT)

    def get_queryset(self) -> QuerySet[Webhook]:
        return Webhook.objects.visible_to(self.request.user)

    def create(self, request: Request) -> Response:
        values = WebhookSerializer(data=request.data)
        values.is_valid(raise_exception=True)
        hook = services.save_webhook(None, values.validated_data, actor=request.user, source="api")
        return Response(WebhookSerializer(hook).data, status=status.HTTP_201_CREATED)

    def partial_update(self, request: Request, uuid: str) -> Response:
        values = WebhookSerializer(data=request.data, partial=True)
        hook = self.get_object()
        values.is_valid(raise_exception=True)
        services.save_webhook(hook, values.validated_data, actor=request.user, source="api")
        return Response(WebhookSerializer(hook).data)

    def perform_destroy(self, instance: Webhook) -> None:
        services.delete_webhook(instance, actor=self.request.user, source="api")

    @extend_schema(request=None, responses={202: DeliverySerializer})
    @action(detail=True, methods=["post"])
    def try_out(self, request: Request, uuid: str) -> Response:
        """Send it a notice; `deliveries` tells what became of it."""
        delivery = services.try_webhook(self.get_object(), actor=request.user, source="api")
        return Response(DeliverySerializer(delivery).data, status=status.HTTP_202_ACCEPTED)

    @extend_schema(responses=DeliverySerializer(many=True))
    @action(detail=True)
    def deliveries(self, request: Request, uuid: str) -> Response:
        """The last hundred."""
        rows = self.get_object().deliveries.select_related("notice")[:100]
        return Response(DeliverySerializer(rows, many=True).data)


class WishSerializer(serializers.Serializer[Any]):
    event = serializers.CharField()
    mine = serializers.BooleanField(help_text="what concerns me")
    others = serializers.BooleanField(help_text="whatever I may see")


class WishesView(APIView):
    """What one is mailed of."""

    @extend_schema(responses=WishSerializer(many=True))
    def get(self, request: Request) -> Response:
        return Response(WishSerializer(services.wishes_of(request.user), many=True).data)

    @extend_schema(request=WishSerializer(many=True), responses=WishSerializer(many=True))
    def put(self, request: Request) -> Response:
        """All of them; an event that is not named is off."""
        given = WishSerializer(data=request.data, many=True)
        given.is_valid(raise_exception=True)
        rows: list[dict[str, Any]] = given.validated_data
        services.set_wishes(
            request.user,
            [row["event"] for row in rows if row["mine"]],
            [row["event"] for row in rows if row["others"]],
        )
        return self.get(request)


def _view(actions: dict[str, str], **more: Any) -> Any:
    return WebhookViewSet.as_view(actions, **more)  # type: ignore[arg-type]


urlpatterns = [
    path("webhooks/", _view({"get": "list", "post": "create"}), name="webhook-list"),
    path(
        "webhooks/<uuid:uuid>/",
        _view({"get": "retrieve", "patch": "partial_update", "delete": "destroy"}),
        name="webhook",
    ),
    path("webhooks/<uuid:uuid>/try/", _view({"post": "try_out"}), name="webhook-try"),
    path(
        "webhooks/<uuid:uuid>/deliveries/",
        _view({"get": "deliveries"}, pagination_class=None),
        name="webhook-deliveries",
    ),
    path("me/notices/", WishesView.as_view(), name="me-notices"),
]
