from __future__ import annotations

from typing import Any
from zoneinfo import available_timezones

from django import forms
from django.contrib.auth import get_user_model

from environments.models import Environment
from migrations_app.carrying_forms import PREFIX, CarryingForm
from sstools.notices.models import Webhook
from sstools.roles import policy
from sstools.roles.models import Group
from sstools.roles.permissions import Permission

from .models import MOST_APPROVALS, Protection, Route
from .windows import DAYS

__all__ = ["PREFIX", "FreezeForm", "ProtectionForm", "RouteForm"]

WINDOW_ROWS = 4


class ApproversForm(forms.Form):
    approvals = forms.IntegerField(
        label="Approvals",
        min_value=0,
        max_value=MOST_APPROVALS,
        help_text="How many people must approve a plan before it is applied; nobody approves their own.",
    )
    users = forms.ModelMultipleChoiceField(
        get_user_model()._default_manager.filter(is_active=True).order_by("username"),
        required=False,
        label="By these people",
    )
    groups = forms.ModelMultipleChoiceField(
        Group.objects.order_by("name"),
        required=False,
        label="Or by members of these groups",
        help_text="Nobody chosen: everybody who has migration:approve on the target.",
    )


class WindowForm(forms.Form):
    """One weekly window; without days it is none."""

    days = forms.MultipleChoiceField(
        choices=list(enumerate(DAYS)), required=False, widget=forms.CheckboxSelectMultiple
    )
    start = forms.TimeField(required=False, widget=forms.TimeInput(attrs={"type": "time"}, format="%H:%M"))
    end = forms.TimeField(required=False, widget=forms.TimeInput(attrs={"type": "time"}, format="%H:%M"))

    def clean(self) -> dict[str, Any]:
        given = super().clean() or {}
        if given.get("days") and (given.get("start") is None or given.get("end") is None):
            raise forms.ValidationError("A window needs a beginning and an end.")
        return given


class ProtectionForm(ApproversForm):
    approval_hours = forms.IntegerField(
        label="An approval counts for",
        min_value=0,
        max_value=2160,
        help_text="Hours; 0: until the plan changes.",
    )
    rollbacks_too = forms.BooleanField(
        required=False,
        label="Rolling back needs the same",
        help_text="Off: the way back is always open to who may roll back.",
    )
    zone_name = forms.ChoiceField(label="Time zone of the windows")

    def __init__(self, *args: Any, protection: Protection, **kwargs: Any) -> None:
        kwargs["initial"] = {
            "approvals": protection.approvals,
            "approval_hours": protection.approval_hours,
            "rollbacks_too": protection.rollbacks_too,
            "zone_name": protection.zone_name,
        }
        if not protection._state.adding:
            kwargs["initial"] |= {"users": protection.users.all(), "groups": protection.groups.all()}
        super().__init__(*args, **kwargs)
        zone = self.fields["zone_name"]
        assert isinstance(zone, forms.ChoiceField)
        names = sorted(name for name in available_timezones() if "/" in name and not name.startswith("Etc/"))
        zone.choices = [("UTC", "UTC"), *((name, name.replace("_", " ")) for name in names)]
        rows = [
            {"days": [str(day) for day in row["days"]], "start": row["start"], "end": row["end"]}
            for row in protection.windows
        ]
        shown = max(WINDOW_ROWS, len(rows) + 1)
        data = args[0] if args else None
        self.window_forms = [
            WindowForm(data, prefix=f"window-{number}", initial=rows[number] if number < len(rows) else None)
            for number in range(shown)
        ]

    def is_valid(self) -> bool:
        return all([super().is_valid(), *(form.is_valid() for form in self.window_forms)])

    def values(self) -> dict[str, Any]:
        """As the service takes them."""
        windows = [
            {
                "days": form.cleaned_data["days"],
                "start": f"{form.cleaned_data['start']:%H:%M}",
                "end": f"{form.cleaned_data['end']:%H:%M}",
            }
            for form in self.window_forms
            if form.cleaned_data.get("days")
        ]
        return {**self.cleaned_data, "windows": windows}


class FreezeForm(forms.Form):
    since = forms.DateTimeField(
        label="From", widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M")
    )
    until = forms.DateTimeField(
        label="Until", widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M")
    )
    reason = forms.CharField(max_length=300, help_text="Shown to whoever is stopped by it.")


class RouteForm(ApproversForm, CarryingForm):
    name = forms.CharField(max_length=100)
    description = forms.CharField(max_length=500, required=False)
    source = forms.ModelChoiceField(Environment.objects.none(), label="From")
    target = forms.ModelChoiceField(Environment.objects.none(), label="To")
    verify = forms.BooleanField(required=False, label="Verify every chart afterwards")
    roll_back_when_red = forms.BooleanField(required=False, label="Roll back by itself if a chart is red")
    prune = forms.BooleanField(
        required=False,
        label="Remove what the source no longer has",
        help_text="Only what this way brought and nothing else uses. Needs migration:prune, to switch on and to apply.",
    )
    webhooks = forms.ModelMultipleChoiceField(
        Webhook.objects.none(), required=False, label="Webhooks told of its approvals"
    )
    is_enabled = forms.BooleanField(required=False, label="Switched on")

    field_order = ("name", "description", "source", "target", "approvals", "users", "groups")

    def __init__(self, *args: Any, user: Any, route: Route | None = None, **kwargs: Any) -> None:
        if route is not None:
            kwargs["initial"] = {
                name: getattr(route, name)
                for name in (
                    "name",
                    "description",
                    "source",
                    "target",
                    "approvals",
                    "verify",
                    "roll_back_when_red",
                    "prune",
                )
            } | {
                "users": route.users.all(),
                "groups": route.groups.all(),
                "webhooks": route.webhooks.all(),
                "is_enabled": route.is_enabled,
            }
        else:
            kwargs["initial"] = {
                "approvals": 1,
                "verify": True,
                "is_enabled": True,
                **(kwargs.get("initial") or {}),
            }
        super().__init__(*args, chosen=route.carrying if route is not None else None, **kwargs)
        seen = Environment.objects.visible_to(user)
        where = policy.scopes(user, Permission.ROUTE_EDIT)
        targets = seen if where.everything else seen.filter(uuid__in=where.uuids("environment"))
        for name, rows in (
            ("source", seen),
            ("target", targets),
            ("webhooks", Webhook.objects.visible_to(user)),
        ):
            field = self.fields[name]
            assert isinstance(field, forms.ModelChoiceField)
            field.queryset = rows
