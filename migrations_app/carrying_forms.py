"""Fields for what comes along beside the assets, on the pages of a migration and of a route."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from django import forms

from .engine.carrying import KEEP, OPTIONS, RECIPIENTS, Carrying

PREFIX = "carrying_"


class CarryingForm(forms.Form):
    """One field for each option, `carrying_<name>`. `chosen`: as a migration or a route keeps it; `only`:
    the options there are, where not all of them make sense.
    """

    def __init__(
        self,
        *args: Any,
        chosen: Mapping[str, str] | None = None,
        only: Collection[str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        now = Carrying(chosen or {})
        for option in OPTIONS:
            if only is not None and option.name not in only:
                continue
            self.fields[PREFIX + option.name] = forms.ChoiceField(
                label=option.label,
                choices=list(option.choices.items()),
                initial=now[option.name],
                required=False,
                help_text=option.help,
            )
        if only is not None:
            return
        self.fields[PREFIX + RECIPIENTS] = forms.CharField(
            label="Recipients of alerts and reports",
            initial=now[RECIPIENTS],
            required=False,
            max_length=2000,
            help_text="keep: as on the source; none: nobody; or e-mail addresses, separated by commas.",
            widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
        )

    @property
    def carrying_fields(self) -> list[forms.BoundField]:
        return [self[name] for name in self.fields if name.startswith(PREFIX)]

    @property
    def carrying(self) -> dict[str, str]:
        """As the services take it. Of a valid form."""
        given = {
            name.removeprefix(PREFIX): str(value)
            for name, value in self.cleaned_data.items()
            if name.startswith(PREFIX) and value != ""
        }
        return {RECIPIENTS: KEEP, **given}
