"""Schedules in Django's admin: changed through the service, with its rights, validation and audit."""

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from sstools.roles import policy
from sstools.roles.permissions import Permission
from sstools.web.by_service import SOURCE, ByService, ServiceForm

from . import services
from .models import Firing, Schedule


class ScheduleAdminForm(ServiceForm):
    class Meta:
        model = Schedule
        fields = ["kind", "params", *services.PLAIN]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choices = [(kind.name, kind.title) for kind in services.kinds()]
        if "kind" in self.fields:
            self.fields["kind"] = forms.ChoiceField(choices=choices)
        if "params" in self.fields:
            self.fields["params"].help_text = 'JSON of its kind: {"environment": "<uuid>"}'

    def apply(self) -> Schedule:
        if self.instance.pk:
            data = {name: self.cleaned_data[name] for name in self.changed_data}
            return services.update_schedule(self.instance, data, actor=self.actor, source=SOURCE)
        return services.create_schedule(self.cleaned_data, actor=self.actor, source=SOURCE)


@admin.register(Schedule)
class ScheduleAdmin(ByService, admin.ModelAdmin):
    form = ScheduleAdminForm
    list_display = ["name", "kind", "cron", "time_zone", "owner", "paused_at", "next_due_at"]
    list_filter = ["kind", ("paused_at", admin.EmptyFieldListFilter), "missed"]
    list_select_related = ["owner"]
    search_fields = ["name", "kind", "uuid", "owner__username"]
    actions = ["pause", "resume", "run", "take_over"]
    readonly_fields = [
        "uuid",
        "owner",
        "paused_at",
        "paused_by",
        "pause_reason",
        "next_due_at",
        "next_fire_at",
        "last_firing",
        "last_job",
        "last_success_at",
        "consecutive_failures",
        "created_at",
    ]

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        return [
            (None, {"fields": ["name", "kind", "params"]}),
            ("When", {"fields": list(services.TIMING)}),
            ("What it did", {"fields": self.readonly_fields}),
        ]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        fixed = ["kind"] if obj else []
        return [*self.readonly_fields, *fixed, *(["name", "params"] if obj and obj.is_builtin else [])]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return policy.can_anywhere(request.user, Permission.SCHEDULE_EDIT)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return policy.can_anywhere(request.user, Permission.SCHEDULE_VIEW)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        if obj is None:
            return policy.can_anywhere(request.user, Permission.SCHEDULE_EDIT)
        return services.may_edit(obj, request.user)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_change_permission(request, obj) and not (obj and obj.is_builtin)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Schedule]:
        return Schedule.objects.visible_to(request.user)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Its history goes with it, though nobody deletes that by itself."""
        deleted, counts, _, protected = super().get_deleted_objects(objs, request)
        return deleted, counts, set(), protected

    def remove(self, obj: Schedule, request: HttpRequest) -> None:
        services.delete_schedule(obj, actor=request.user, source=SOURCE)

    @admin.action(description="Pause the selected schedules")
    def pause(self, request: HttpRequest, rows: QuerySet[Schedule]) -> None:
        self._each(request, rows, services.pause)

    @admin.action(description="Resume the selected schedules")
    def resume(self, request: HttpRequest, rows: QuerySet[Schedule]) -> None:
        self._each(request, rows, services.resume)

    @admin.action(description="Run the selected schedules now")
    def run(self, request: HttpRequest, rows: QuerySet[Schedule]) -> None:
        self._each(request, rows, services.run_now)

    @admin.action(description="Take the selected schedules over")
    def take_over(self, request: HttpRequest, rows: QuerySet[Schedule]) -> None:
        self._each(request, rows, services.take_over)

    def _each(self, request: HttpRequest, rows: QuerySet[Schedule], service: Any) -> None:
        self.each(request, rows, lambda row: service(row, actor=request.user, source=SOURCE))


@admin.register(Firing)
class FiringAdmin(admin.ModelAdmin):
    list_display = ["schedule", "due_at", "outcome", "result", "text", "at"]
    list_filter = ["outcome", "result"]
    list_select_related = ["schedule"]
    search_fields = ["schedule__name", "text"]
    date_hierarchy = "at"
    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
