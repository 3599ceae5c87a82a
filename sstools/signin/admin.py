"""Directory accounts: binding one to an existing user, by hand and on purpose, is done here."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from sstools.audit import services as audit

from .models import Identity


@admin.register(Identity)
class IdentityAdmin(admin.ModelAdmin):
    list_display = ["name", "user", "issuer", "subject", "seen_at"]
    list_select_related = ["user"]
    search_fields = ["name", "subject", "user__username"]
    autocomplete_fields = ["user"]
    readonly_fields = ["created_at", "seen_at", "token_issued_at"]
    actions = None  # deleting many at once would pass by the audit

    def has_change_permission(self, request: HttpRequest, obj: Identity | None = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: Identity, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        data = {"issuer": obj.issuer, "subject": obj.subject}
        audit.record("identity:bind", obj.user, actor=request.user, data=data, source="admin")

    def delete_model(self, request: HttpRequest, obj: Identity) -> None:
        audit.record(
            "identity:unbind", obj.user, actor=request.user, data={"issuer": obj.issuer}, source="admin"
        )
        super().delete_model(request, obj)
