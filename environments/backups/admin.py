"""To look at; backups are taken, kept and removed on their pages, where that is checked and written down."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from .models import Backup, Policy


class _ReadOnly(admin.ModelAdmin):
    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Backup)
class BackupAdmin(_ReadOnly):
    list_display = [
        "pk",
        "environment",
        "title",
        "reason",
        "state",
        "started_at",
        "size_bytes",
        "pinned",
        "kept_by",
    ]
    list_filter = ["state", "reason", "whole", "pinned", "environment"]
    search_fields = ["title", "digest"]
    list_select_related = ["environment", "snapshot"]
    date_hierarchy = "started_at"


@admin.register(Policy)
class PolicyAdmin(_ReadOnly):
    list_display = ["environment", "enabled", "keep_last", "daily", "weekly", "monthly", "restore_point_days"]
    list_select_related = ["environment"]
