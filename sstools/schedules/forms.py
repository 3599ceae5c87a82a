"""The form of the pages. It shapes input; what is right is decided by the service."""

import zoneinfo
from typing import Any, cast

from django import forms
from django.http import QueryDict
from django.urls import reverse
from django.utils import timezone

from sstools.errors import Invalid
from sstools.jobs.registry import Kind

from .models import Missed, Schedule
from .params import ParamsForm
from .services import CRON_LENGTH, NAME_LENGTH, PLAIN

PRESETS = (
    ("0 2 * * *", "Every night, 02:00"),
    ("0 * * * *", "Every hour"),
    ("0 6 * * mon-fri", "Weekdays, 06:00"),
    ("0 3 * * sun", "Sundays, 03:00"),
    ("0 4 1 * *", "First of the month, 04:00"),
)
PREFIX = "params"


class ScheduleForm(forms.Form):
    """Making and editing one. `params` is the form of its kind, with fields "params-…"."""

    name = forms.CharField(max_length=NAME_LENGTH, help_text="As people call it: Nightly reading of prod.")
    cron = forms.CharField(
        label="Cron expression",
        max_length=CRON_LENGTH,
        help_text="Minute, hour, day of month, month, day of week.",
        widget=forms.TextInput(
            attrs={"class": "mono", "spellcheck": "false", "autocomplete": "off", "autocapitalize": "none"}
        ),
    )
    time_zone = forms.ChoiceField()
    missed = forms.ChoiceField(
        label="A run that nobody could start in time",
        choices=[
            (Missed.RUN_ONCE, "is made up for: one run, late, for all that were missed"),
            (Missed.SKIP, "is left out, and the history says so"),
        ],
        widget=forms.RadioSelect,
    )
    grace_seconds = forms.IntegerField(
        label="Grace, seconds", help_text="So long a run may wait until it counts as late."
    )
    jitter_seconds = forms.IntegerField(
        label="Jitter, seconds",
        help_text="Starts up to so much later, so that not everything starts at once.",
    )

    def __init__(
        self,
        data: QueryDict | None,
        *,
        kind: Kind,
        user: Any,
        schedule: Schedule | None = None,
        initial: dict[str, Any] | None = None,
    ) -> None:
        model = schedule or Schedule(cron=PRESETS[0][0], time_zone=timezone.get_current_timezone_name())
        values = {name: getattr(model, name) for name in PLAIN}
        super().__init__(data, initial=values)
        self.schedule = schedule
        self.fields["time_zone"].widget.attrs |= {
            "hx-get": reverse("schedules:preview"),
            "hx-include": "#id_cron",
            "hx-trigger": "change",
            "hx-target": "#preview",
            "hx-swap": "innerHTML",
        }
        assert kind.schedulable is not None
        form = cast(type[ParamsForm], kind.schedulable.form)
        known = form.initial_of(schedule.params) if schedule else (initial or {})
        self.params = form(data, user=user, prefix=PREFIX, initial=known)
        cast(forms.ChoiceField, self.fields["time_zone"]).choices = _zones(values["time_zone"])
        if schedule is not None and schedule.is_builtin:
            self.fields.pop("name")
            self.params.fields.clear()

    def is_valid(self) -> bool:
        """Both halves, so that all errors show at once."""
        ours, theirs = super().is_valid(), self.params.is_valid()
        return ours and theirs

    def values(self) -> dict[str, Any]:
        """What the service takes."""
        given = {name: self.params[name].data for name in self.params.fields}
        return {**self.cleaned_data, **({PREFIX: given} if given else {})}

    def add_invalid(self, error: Invalid) -> None:
        """Show what the service refused beside the fields it is about."""
        for name, messages in error.errors.items():
            for message in messages:
                own, _, theirs = name.partition(".")
                if own == PREFIX:
                    self.params.add_error(theirs if theirs in self.params.fields else None, message)
                else:
                    self.add_error(name if name in self.fields else None, message)
        if not error.errors:
            self.add_error(None, str(error))

    @property
    def more_is_open(self) -> bool:
        """Whether the folded part holds something to look at."""
        names = ("grace_seconds", "jitter_seconds", "missed")
        return any(name in self.errors for name in names)


def _zones(stored: str) -> list[tuple[str, str]]:
    names = {name for name in zoneinfo.available_timezones() if "/" in name and not name.startswith("Etc/")}
    return [("UTC", "UTC"), *((name, name.replace("_", " ")) for name in sorted(names | {stored} - {"UTC"}))]
