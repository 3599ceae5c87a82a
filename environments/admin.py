"""Environments in Django's admin, changed by the services as everywhere else; what is read from them, to look at."""

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from sstools.roles import policy
from sstools.roles.permissions import Permission
from sstools.web.by_service import SOURCE, ByService, ServiceForm

from . import services, validation
from .models import Asset, Document, Environment, Snapshot, SnapshotCompanion, SnapshotEntry


class ReadOnlyAdmin(admin.ModelAdmin):
    """Rows that only ss-tools itself writes."""

    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class EnvironmentAdminForm(ServiceForm):
    """The model's form with a write-only secret, judged by the same rules as the page."""

    secret = forms.CharField(
        required=False,
        strip=False,
        label="Password or token",
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text="Stored encrypted and never shown. Empty: keep the stored one.",
    )

    class Meta:
        model = Environment
        fields = [*validation.PLAIN_FIELDS, "secret_reference"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in ("slug", "tag"):
            self.fields[name].required = False

    def apply(self) -> Environment:
        if self.instance.pk:
            # A fresh row: the form must not hand down what the service then refuses.
            row = Environment.objects.get(pk=self.instance.pk)
            return services.update_environment(row, self.values(), actor=self.actor, source=SOURCE)
        return services.register_environment(self.values(), actor=self.actor, source=SOURCE)

    def values(self) -> dict[str, Any]:
        return {name: value for name, value in self.cleaned_data.items() if name != "slug" or value}


@admin.register(Environment)
class EnvironmentAdmin(ByService, admin.ModelAdmin):
    """Changes go through the service: permission, validation and audit are those of the page, and so is the slug that
    is typed to remove one.
    """

    form = EnvironmentAdminForm
    list_display = [
        "name",
        "slug",
        "url",
        "position",
        "protected",
        "version",
        "check_state",
        "last_checked_at",
    ]
    list_filter = ["position", "protected", "scratch", "check_state", "auth_kind", "version"]
    search_fields = ["name", "slug", "tag", "url", "uuid"]
    actions = ["test_connection", "read_inventory"]
    readonly_fields = [
        "uuid",
        "version",
        "check_state",
        "check_report",
        "last_checked_at",
        "last_reached_at",
        "latency_ms",
        "asset_counts",
        "inventory_at",
        "created_at",
    ]

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        return [
            (None, {"fields": ["name", "slug", "tag", "url", "position", "colour", "protected", "scratch"]}),
            ("Sign-in", {"fields": ["auth_kind", "username", "secret", "secret_reference"]}),
            (
                "Network",
                {
                    "fields": [
                        "ca_certificate",
                        "proxy_url",
                        "read_timeout_seconds",
                        "import_timeout_seconds",
                        "max_parallel",
                    ]
                },
            ),
            ("What was seen", {"fields": self.readonly_fields}),
        ]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return policy.can(request.user, Permission.ENVIRONMENT_EDIT)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return policy.can(request.user, Permission.ENVIRONMENT_EDIT, obj)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return policy.can(request.user, Permission.ENVIRONMENT_VIEW, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_change_permission(request, obj)

    def get_actions(self, request: HttpRequest) -> Any:
        """Without Django's way to delete many: each asks for its own slug."""
        found = super().get_actions(request)
        found.pop("delete_selected", None)
        return found

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """What it has goes with it, though nobody deletes that by itself; whether it may, the service says."""
        _, counts, _, _ = super().get_deleted_objects(objs, request)
        return [str(obj) for obj in objs], counts, set(), []

    def remove(self, obj: Environment, request: HttpRequest) -> None:
        """One with backups is refused here, with their number: its own page asks for that."""
        confirm = request.POST.get("confirm", "")
        services.remove_environment(obj, actor=request.user, confirm=confirm, source=SOURCE)

    @admin.action(description="Test the connection")
    def test_connection(self, request: HttpRequest, rows: QuerySet[Environment]) -> None:
        self._ask(request, rows, services.request_check)

    @admin.action(description="Read the inventory")
    def read_inventory(self, request: HttpRequest, rows: QuerySet[Environment]) -> None:
        self._ask(request, rows, services.request_reading)

    def _ask(self, request: HttpRequest, rows: QuerySet[Environment], service: Any) -> None:
        def ask(row: Environment) -> str:
            return f"job {service(row, actor=request.user, source=SOURCE).uuid}"

        self.each(request, rows, ask)


@admin.register(Asset)
class AssetAdmin(ReadOnlyAdmin):
    list_display = ["title", "kind", "environment", "changed_on", "last_seen_at"]
    list_filter = ["kind", "environment"]
    search_fields = ["search_text"]
    list_select_related = ["environment"]


@admin.register(Document)
class DocumentAdmin(ReadOnlyAdmin):
    list_display = ["title", "kind", "uuid", "size", "created_at"]
    list_filter = ["kind"]
    search_fields = ["uuid", "title", "sha256"]
    exclude = ["body"]


@admin.register(Snapshot)
class SnapshotAdmin(ReadOnlyAdmin):
    list_display = ["number", "environment", "reason", "complete", "exported_at", "created_at", "created_by"]
    list_filter = ["environment", "reason", "complete"]
    list_select_related = ["environment", "created_by"]


@admin.register(SnapshotCompanion)
class SnapshotCompanionAdmin(ReadOnlyAdmin):
    list_display = ["uuid", "kind", "snapshot"]
    list_filter = ["kind"]
    search_fields = ["uuid"]
    raw_id_fields = ["snapshot", "document"]


@admin.register(SnapshotEntry)
class SnapshotEntryAdmin(ReadOnlyAdmin):
    list_display = ["uuid", "kind", "snapshot", "superset_id", "exported_at"]
    list_filter = ["kind"]
    search_fields = ["uuid"]
    raw_id_fields = ["snapshot", "document"]
