"""Jobs in Django's admin: to look at. What changes them are the services."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from .models import Job, JobLock, JobLog, JobResource, Worker


class ReadOnly:
    """Nobody adds, changes or deletes here."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class ResourceInline(ReadOnly, admin.TabularInline):
    model = JobResource
    extra = 0


@admin.register(Job)
class JobAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ["title", "kind", "state", "actor", "source", "attempt", "created_at", "finished_at"]
    list_filter = ["state", "source", "kind"]
    list_select_related = ["actor"]
    search_fields = ["uuid", "title", "kind"]
    date_hierarchy = "created_at"
    inlines = [ResourceInline]


@admin.register(JobLog)
class JobLogAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ["job", "seq", "at", "level", "text"]
    list_filter = ["level"]
    list_select_related = ["job"]
    search_fields = ["text", "job__uuid"]
    show_full_result_count = False


@admin.register(JobLock)
class JobLockAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ["resource", "job", "taken_at"]
    list_select_related = ["job"]


@admin.register(Worker)
class WorkerAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ["host", "pid", "workers", "started_at", "seen_at"]
