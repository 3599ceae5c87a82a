"""Django's admin: for looking. What may be changed here goes through the same service as everywhere else."""

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest

from sstools.errors import Invalid
from sstools.roles import policy
from sstools.roles.permissions import Permission

from . import services, validation
from .models import Asset, Document, Environment, Snapshot, SnapshotEntry


class ReadOnlyAdmin(admin.ModelAdmin):
    """Rows that only ss-tools itself writes."""

    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class EnvironmentAdminForm(forms.ModelForm):
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

    def _post_clean(self) -> None:
        """The service validates and saves; a ModelForm would put values into the instance before that."""
        if self.errors:
            return
        try:
            if self.instance.pk:
                saved = services.update_environment(self.instance, self.values(), actor=self.actor)
            else:
                saved = services.register_environment(self.values(), actor=self.actor)
        except Invalid as exc:
            for name, messages in exc.errors.items():
                for message in messages:
                    self.add_error(name if name in self.fields else None, message)
        else:
            self.instance = saved

    def values(self) -> dict[str, Any]:
        return {name: value for name, value in self.cleaned_data.items() if name != "slug" or value}

    actor: Any = None


@admin.register(Environment)
class EnvironmentAdmin(admin.ModelAdmin):
    """Changes go through the service: permission, validation and audit are those of the page. No deleting here."""

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
    list_filter = ["position", "protected", "check_state"]
    search_fields = ["name", "slug", "url"]
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
            (None, {"fields": ["name", "slug", "tag", "url", "position", "colour", "protected"]}),
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

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change=change, **kwargs)
        return type("EnvironmentAdminFormOfActor", (form,), {"actor": request.user})

    def has_add_permission(self, request: HttpRequest) -> bool:
        return policy.can(request.user, Permission.ENVIRONMENT_EDIT)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return policy.can(request.user, Permission.ENVIRONMENT_EDIT, obj)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return policy.can(request.user, Permission.ENVIRONMENT_VIEW, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # with the typed name, on its own page

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Saved already, by the service."""


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


@admin.register(SnapshotEntry)
class SnapshotEntryAdmin(ReadOnlyAdmin):
    list_display = ["uuid", "kind", "snapshot", "superset_id", "exported_at"]
    list_filter = ["kind"]
    search_fields = ["uuid"]
    raw_id_fields = ["snapshot", "document"]
