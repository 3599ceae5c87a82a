"""To look at. Webhooks are made and changed on their pages, where addresses are checked."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from . import services
from .models import Delivery, Notice, Webhook, Wish


class _ReadOnly(admin.ModelAdmin):
    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Notice)
class NoticeAdmin(_ReadOnly):
    list_display = ["created_at", "event", "title"]
    list_filter = ["event"]
    search_fields = ["title"]


@admin.register(Delivery)
class DeliveryAdmin(_ReadOnly):
    list_display = ["notice", "user", "webhook", "state", "attempts", "answer", "sent_at"]
    list_filter = ["state"]
    list_select_related = ["notice", "user", "webhook"]


@admin.register(Wish)
class WishAdmin(_ReadOnly):
    list_display = ["user", "event", "mine", "others"]
    list_filter = ["event"]
    search_fields = ["user__username"]
    list_select_related = ["user"]


@admin.register(Webhook)
class WebhookAdmin(_ReadOnly):
    list_display = ["name", "host", "scope", "is_enabled", "created_by"]
    list_filter = ["is_enabled"]
    search_fields = ["name", "host"]
    exclude = ["url", "secret"]
    actions = None

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(getattr(request.user, "is_superuser", False))

    def delete_model(self, request: HttpRequest, obj: Webhook) -> None:
        services.delete_webhook(obj, actor=request.user, source="admin")
