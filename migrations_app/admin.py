"""Migrations in Django's admin: to look at. What changes them are the services, by page, API and command."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from . import pairings
from .comparing.models import UploadedAsset, UploadedBundle, Viewed
from .models import (
    Baseline,
    Bystander,
    CompanionBaseline,
    Mapping,
    Migration,
    Pairing,
    Plan,
    PlanCompanion,
    PlanItem,
    Run,
    RunStep,
    Verdict,
)


class ReadOnly:
    """Nobody adds, changes or deletes here."""

    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class RunInline(ReadOnly, admin.TabularInline):
    model = Run
    fields = ("number", "state", "job", "created_at", "finished_at")
    readonly_fields = ("number", "state", "job", "created_at", "finished_at")
    show_change_link = True
    extra = 0


@admin.register(Migration)
class MigrationAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ["number", "title", "state", "source_place", "target", "created_by", "created_at"]
    list_filter = ["state", "source", "target", "roll_back_when_red"]
    list_select_related = ["source", "target", "created_by"]
    search_fields = ["number", "uuid", "title"]
    date_hierarchy = "created_at"
    inlines = [RunInline]


@admin.register(Plan)
class PlanAdmin(ReadOnly, admin.ModelAdmin):
    list_display = [
        "short_hash",
        "migration",
        "counts",
        "request_count",
        "stale_reason",
        "created_by",
        "created_at",
    ]
    list_select_related = ["migration", "created_by"]
    search_fields = ["hash", "uuid", "migration__title"]
    date_hierarchy = "created_at"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Plan]:
        rows: QuerySet[Plan] = super().get_queryset(request)
        is_list = (
            request.resolver_match is not None and request.resolver_match.kwargs.get("object_id") is None
        )
        return rows.defer("problems", "losses", "affected", "databases", "mapping") if is_list else rows


@admin.register(PlanItem)
class PlanItemAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ["plan", "position", "kind", "title", "action", "blocked_by"]
    list_filter = ["action", "kind"]
    list_select_related = ["plan__migration"]
    search_fields = ["title", "uuid", "target_uuid", "plan__hash"]


@admin.register(PlanCompanion)
class PlanCompanionAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ["plan", "position", "kind", "title", "action", "reason"]
    list_filter = ["action", "kind"]
    list_select_related = ["plan__migration"]
    search_fields = ["title", "uuid", "target_uuid", "plan__hash"]
    raw_id_fields = ["wanted", "present"]


class RunStepInline(ReadOnly, admin.TabularInline):
    model = RunStep
    extra = 0


@admin.register(Run)
class RunAdmin(ReadOnly, admin.ModelAdmin):
    list_display = [
        "number",
        "migration",
        "state",
        "verdict_counts",
        "requests",
        "created_by",
        "created_at",
        "finished_at",
    ]
    list_filter = ["state", "migration__target"]
    list_select_related = ["migration__target", "created_by"]
    search_fields = ["number", "uuid", "migration__title"]
    date_hierarchy = "created_at"
    inlines = [RunStepInline]


@admin.register(RunStep)
class RunStepAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ["run", "position", "name", "title", "state", "started_at", "finished_at"]
    list_filter = ["state", "name"]
    list_select_related = ["run"]
    search_fields = ["title", "run__number"]


@admin.register(Verdict)
class VerdictAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ["run", "title", "viz_type", "status", "reason", "source_seconds", "target_seconds"]
    list_filter = ["status", "viz_type"]
    list_select_related = ["run"]
    search_fields = ["title", "uuid", "reason"]


@admin.register(Bystander)
class BystanderAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ["run", "title", "viz_type", "status", "reason"]
    list_filter = ["status", "viz_type"]
    list_select_related = ["run"]
    search_fields = ["title", "uuid", "reason"]


@admin.register(Mapping)
class MappingAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ["source", "target", "updated_by", "updated_at"]
    list_select_related = ["source", "target", "updated_by"]


@admin.register(Pairing)
class PairingAdmin(ReadOnly, admin.ModelAdmin):
    """May be deleted: that takes an “adopt” back, and the next plan asks again."""

    list_display = ["kind", "source", "source_uuid", "target", "target_uuid", "created_by", "created_at"]
    list_filter = ["kind", "source", "target"]
    list_select_related = ["source", "target", "created_by"]
    search_fields = ["source_uuid", "target_uuid"]

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        if not admin.ModelAdmin.has_delete_permission(self, request, obj):
            return False
        return obj is None or pairings.right_to_pair(request.user, obj.source, obj.target).allowed

    def delete_model(self, request: HttpRequest, obj: Pairing) -> None:
        pairings.unpair(obj, actor=request.user, via="admin")

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Pairing]) -> None:
        for row in queryset.select_related("source", "target"):
            self.delete_model(request, row)


@admin.register(Baseline)
class BaselineAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ["target", "uuid", "run", "updated_at"]
    list_filter = ["target"]
    list_select_related = ["target", "run"]
    search_fields = ["uuid"]


@admin.register(CompanionBaseline)
class CompanionBaselineAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ["target", "kind", "title", "run", "updated_at"]
    list_filter = ["target", "kind"]
    list_select_related = ["target", "run"]
    search_fields = ["uuid", "asset_uuid", "title"]
    raw_id_fields = ["wanted", "present"]


@admin.register(UploadedBundle)
class UploadedBundleAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ["name", "origin", "uploaded_by", "uploaded_at", "expires_at", "size"]
    list_filter = ["origin"]
    list_select_related = ["origin", "uploaded_by"]
    search_fields = ["name", "sha256", "uuid"]


@admin.register(UploadedAsset)
class UploadedAssetAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ["uuid", "kind", "bundle"]
    list_filter = ["kind"]
    list_select_related = ["bundle"]
    search_fields = ["uuid", "bundle__name"]


@admin.register(Viewed)
class ViewedAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ["uuid", "user", "left", "right", "at"]
    list_select_related = ["user"]
    search_fields = ["uuid", "left", "right"]
