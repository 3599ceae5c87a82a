import zoneinfo
from typing import Any, cast

from django import forms

from .models import Preference


class PreferenceForm(forms.ModelForm):  # type: ignore[type-arg]  # Django's is no generic at run time
    time_zone = forms.ChoiceField(
        required=False,
        help_text="Times on all pages; audit and logs name the zone. UTC is always in the tooltip.",
    )

    class Meta:
        model = Preference
        fields = ["theme", "density", "time_zone", "shortcuts"]
        widgets = {"theme": forms.RadioSelect, "density": forms.RadioSelect}
        labels = {"shortcuts": "Keyboard shortcuts"}
        help_texts = {
            "density": "Compact shows about a quarter more rows.",
            "shortcuts": "Single keys such as g m for Migrations. Press ? to see them all.",
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        names = sorted(
            name for name in zoneinfo.available_timezones() if "/" in name and not name.startswith("Etc/")
        )
        zones = cast(forms.ChoiceField, self.fields["time_zone"])
        zones.choices = [
            ("", "The server's"),
            ("UTC", "UTC"),
            *((name, name.replace("_", " ")) for name in names),
        ]
