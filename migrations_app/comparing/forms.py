"""The filters of a comparison, for page and API alike, and the form for an upload."""

from __future__ import annotations

from typing import Any

from django import forms

from environments.models import Environment

from .listing import DIRECTIONS, KINDS, STATES

KIND_CHOICES = [("", "all"), *((kind.value, kind.plural) for kind in KINDS)]
STATE_CHOICES = [
    ("", "different"),
    ("all", "all"),
    *((state, state) for state in STATES),
    *((state.value, state.value) for state in DIRECTIONS),
]


class FilterForm(forms.Form):
    """?type=chart&state=changed&q=words&tag=sales&assets=uuid,uuid. What is not known is as if it were not said."""

    q = forms.CharField(
        required=False,
        max_length=200,
        label="Search",
        widget=forms.TextInput(attrs={"type": "search", "placeholder": "Title or uuid"}),
    )
    type = forms.ChoiceField(required=False, choices=KIND_CHOICES, label="Type")
    state = forms.ChoiceField(required=False, choices=STATE_CHOICES, label="State")
    tag = forms.CharField(required=False, max_length=250, label="Tag")
    assets = forms.CharField(required=False, label="Chosen assets", widget=forms.HiddenInput)
    left = forms.CharField(required=False, widget=forms.HiddenInput)
    right = forms.CharField(required=False, widget=forms.HiddenInput)

    @property
    def filters(self) -> dict[str, str]:
        """For `listing.select`."""
        self.is_valid()
        data: dict[str, Any] = getattr(self, "cleaned_data", {})
        return {
            "kind": data.get("type", ""),
            "state": data.get("state", ""),
            "words": data.get("q", ""),
            "assets": data.get("assets", ""),
            "tag": data.get("tag", ""),
        }


class UploadForm(forms.Form):
    file = forms.FileField(
        label="Export or tree (ZIP, tar.gz)",
        widget=forms.FileInput(attrs={"accept": ".zip,.tar,.tgz,.gz,application/zip,application/gzip"}),
    )
    origin = forms.ModelChoiceField(
        Environment.objects.none(),
        required=False,
        to_field_name="slug",
        empty_label="not known",
        label="Exported from",
        help_text="Ids in its texts are then those of there, and its connections are mapped as those of there.",
    )
    side = forms.ChoiceField(
        required=False, choices=[("left", "left"), ("right", "right")], widget=forms.HiddenInput
    )
    other = forms.CharField(required=False, max_length=200, widget=forms.HiddenInput)

    def __init__(self, *args: Any, origins: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["origin"].queryset = origins  # type: ignore[attr-defined]
