"""Forms of the pages of migrations. What an answer or a mapping means is decided by the services."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from django import forms

from environments.models import Environment

from .models import MigrationState

_SEARCH = {"type": "search", "autocomplete": "off", "spellcheck": "false"}


class FilterForm(forms.Form):
    """Of the list: ?q=&state=&environment=&mine="""

    q = forms.CharField(
        label="Find",
        required=False,
        max_length=200,
        widget=forms.TextInput(attrs={**_SEARCH, "placeholder": "Title or number"}),
    )
    state = forms.ChoiceField(
        label="State",
        required=False,
        choices=[("", "any"), ("open", "open"), ("busy", "being applied"), *MigrationState.choices],
    )
    environment = forms.ChoiceField(label="Environment", required=False)
    mine = forms.BooleanField(label="Mine", required=False)

    def __init__(self, *args: Any, environments: Iterable[Environment], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = cast(forms.ChoiceField, self.fields["environment"])
        field.choices = [("", "any"), *((item.slug, item.name) for item in environments)]


class OptionsForm(forms.Form):
    """How a migration goes."""

    title = forms.CharField(
        label="Title",
        required=False,
        max_length=200,
        help_text="What this is for. Empty: named after what is selected.",
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )
    with_dependencies = forms.BooleanField(
        label="With dependencies",
        required=False,
        help_text="Also the charts of the dashboards, and the datasets of the charts.",
    )
    verify = forms.BooleanField(
        label="Verify each chart afterwards",
        required=False,
        help_text="Asks the data of every chart on both sides and compares.",
    )
    roll_back_when_red = forms.BooleanField(
        label="Roll back by itself when a chart is red",
        required=False,
        help_text="Red is a chart that works on the source and fails on the target.",
    )


class EditForm(OptionsForm):
    with_dependencies = None  # type: ignore[assignment]  # changes the plan: on the page of the selection
    title = forms.CharField(
        label="Title", max_length=200, widget=forms.TextInput(attrs={"autocomplete": "off"})
    )

    def clean(self) -> dict[str, Any]:
        return _verified(super().clean() or {})


class NewForm(OptionsForm):
    def clean(self) -> dict[str, Any]:
        return _verified(super().clean() or {})


def _verified(data: dict[str, Any]) -> dict[str, Any]:
    """Rolling back when red needs something that can be red."""
    if data.get("roll_back_when_red") and not data.get("verify"):
        raise forms.ValidationError(
            "Rolling back by itself needs the verification of the charts: switch that on too."
        )
    return data


class PickForm(forms.Form):
    """Which assets of the source are listed: ?q=&kind="""

    q = forms.CharField(
        label="Find",
        required=False,
        max_length=200,
        # Typing goes on while an answer is on its way: the field is not replaced by it.
        widget=forms.TextInput(
            attrs={**_SEARCH, "placeholder": "Name, slug, owner or uuid", "hx-preserve": "true"}
        ),
    )
    kind = forms.ChoiceField(
        label="Show",
        required=False,
        choices=[
            ("dashboard", "Dashboards"),
            ("chart", "Charts"),
            ("dataset", "Datasets"),
            ("all", "All kinds"),
        ],
    )


class OverrideForm(forms.Form):
    reason = forms.CharField(
        label="Why the failed checks shall not stop it",
        max_length=500,
        min_length=5,
        help_text="Kept with the migration and in the audit.",
        widget=forms.Textarea(attrs={"rows": 2}),
    )
