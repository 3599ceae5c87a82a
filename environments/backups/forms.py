"""Forms of the pages. They shape input; what is right is decided by the service."""

from __future__ import annotations

from datetime import datetime, time
from typing import Any

from django import forms
from django.utils import timezone

from environments.models import Environment

from . import services
from .models import Backup, BackupState, Policy, QuotaAction
from .storages import named

STORAGES = {
    named.DATABASE: "in the database of ss-tools",
    named.FOLDER: "in a folder",
    named.S3: "in a bucket (S3)",
}
GIB = 2**30


class NewBackupForm(forms.Form):
    """Taking one now. `chosen`: keys of assets ("dashboard:<uuid>"); none: the whole environment."""

    environment = forms.ModelChoiceField(Environment.objects.none(), to_field_name="slug", empty_label=None)
    title = forms.CharField(
        max_length=services.TITLE_LENGTH,
        required=False,
        help_text="Why you take it: Before the big clean-up.",
    )
    storage = forms.ChoiceField(label="Keep it", required=False)
    notes = forms.CharField(
        max_length=services.NOTES_LENGTH,
        required=False,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text="For who finds it later.",
    )

    def __init__(self, *args: Any, environments: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        where = self.fields["environment"]
        assert isinstance(where, forms.ModelChoiceField)
        where.queryset = environments
        names = named.available()
        if len(names) < 2:
            del self.fields["storage"]
        else:
            storage = self.fields["storage"]
            assert isinstance(storage, forms.ChoiceField)
            storage.choices = [(name, STORAGES.get(name, name)) for name in names]
            storage.initial = named.default()


class EditBackupForm(forms.Form):
    """What people say of one."""

    title = forms.CharField(max_length=services.TITLE_LENGTH, required=False)
    keep_until = forms.DateField(
        label="Keep it until",
        required=False,
        widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
        help_text="To the end of that day, whatever the rules say. Empty: the rules alone decide.",
    )
    notes = forms.CharField(
        max_length=services.NOTES_LENGTH,
        required=False,
        widget=forms.Textarea(attrs={"rows": 4}),
        help_text="For who finds it later.",
    )

    def __init__(self, *args: Any, backup: Backup, **kwargs: Any) -> None:
        until = backup.keep_until
        self._known = until
        initial = {
            "title": backup.title,
            "notes": backup.notes,
            "keep_until": until and timezone.localdate(until),
        }
        super().__init__(*args, **{"initial": initial, **kwargs})
        if backup.state == BackupState.FAILED:
            del self.fields["keep_until"]

    def values(self) -> dict[str, Any]:
        """As `services.edit_backup` takes them. Only after is_valid()."""
        given = dict(self.cleaned_data)
        if (day := given.get("keep_until")) is not None:
            # A program may have named an hour of that day.
            is_same = self._known is not None and timezone.localdate(self._known) == day
            its_end = datetime.combine(day, time(23, 59, 59), timezone.get_current_timezone())
            given["keep_until"] = self._known if is_same else its_end
        return given


class PolicyForm(forms.ModelForm):  # type: ignore[type-arg]  # Django's is no generic at run time
    """How long backups are kept, and how much they may take. The quota is typed in GiB."""

    quota = forms.DecimalField(
        label="At most, GiB",
        required=False,
        min_value=0,
        max_digits=9,
        decimal_places=2,
        help_text="All of its backups together, each content once. Empty: no limit.",
    )

    class Meta:
        model = Policy
        fields = [
            "enabled",
            "keep_last",
            "daily",
            "weekly",
            "monthly",
            "restore_point_days",
            "quota",
            "quota_action",
        ]
        labels = {
            "enabled": "Remove what no rule keeps",
            "keep_last": "The last",
            "daily": "The last one of each of so many days",
            "weekly": "… of so many weeks",
            "monthly": "… of so many months",
            "restore_point_days": "Restore points of runs, days",
            "quota_action": "When they take more",
        }
        help_texts = {
            "enabled": "With every tidying, once a night. Off: nothing is ever removed by itself.",
            "restore_point_days": "A run whose restore point is gone cannot be rolled back any more.",
        }
        widgets = {"quota_action": forms.RadioSelect}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        action = self.fields["quota_action"]
        assert isinstance(action, forms.ChoiceField)
        action.choices = [
            (QuotaAction.WARN, "say so, and take further backups"),
            (QuotaAction.REFUSE, "take no more until there is room"),
        ]
        if self.instance.quota_bytes is not None:
            self.initial["quota"] = round(self.instance.quota_bytes / GIB, 2)

    def values(self) -> dict[str, Any]:
        """As `services.set_policy` takes them. Only after is_valid()."""
        given = {
            name: self.cleaned_data[name] for name in services.POLICY_FIELDS if name in self.cleaned_data
        }
        quota = self.cleaned_data["quota"]
        return given | {"quota_bytes": None if quota is None else int(quota * GIB)}
