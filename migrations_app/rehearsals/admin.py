"""To look at; a rehearsal is written by its job alone."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from .models import Rehearsal


@admin.register(Rehearsal)
class RehearsalAdmin(admin.ModelAdmin):
    list_display = [
        "number",
        "environment",
        "backup_number",
        "scratch",
        "state",
        "cleanup",
        "started_at",
        "ended_at",
    ]
    list_filter = ["state", "cleanup", "environment"]
    list_select_related = ["environment", "scratch"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
