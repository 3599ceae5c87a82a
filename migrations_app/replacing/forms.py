from __future__ import annotations

from typing import Any

from django import forms
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser

from environments.canonical.documents import Kind
from environments.models import Asset, Environment

from .terms import FIELDS, HOWS, KINDS, MOST_CHARACTERS, How

MOST_CONNECTIONS = 500  # to choose from


class ReplaceForm(forms.Form):
    """`user` chooses among the environments that they may see."""

    environment = forms.ModelChoiceField(
        Environment.objects.none(), to_field_name="slug", label="Where", empty_label="Choose an environment"
    )
    find = forms.CharField(
        strip=False,
        max_length=MOST_CHARACTERS,
        label="Find",
        widget=forms.Textarea(attrs={"rows": 2, "class": "mono", "spellcheck": "false"}),
    )
    replace = forms.CharField(
        strip=False,
        required=False,
        max_length=MOST_CHARACTERS,
        label="Put in its place",
        help_text="Empty: it goes. Of a regular expression \\1 and \\g<name> are its groups.",
        widget=forms.Textarea(attrs={"rows": 2, "class": "mono", "spellcheck": "false"}),
    )
    how = forms.ChoiceField(
        label="Find is",
        choices=[(how.value, text) for how, text in HOWS.items()],
        initial=How.TEXT.value,
        widget=forms.RadioSelect,
    )
    ignore_case = forms.BooleanField(required=False, label="In any case: Sales, SALES and sales")
    fields_ = forms.MultipleChoiceField(
        label="In",
        choices=[(field.value, text) for field, text in FIELDS.items()],
        initial=[field.value for field in FIELDS],
        widget=forms.CheckboxSelectMultiple,
    )
    kinds = forms.MultipleChoiceField(
        label="Of",
        choices=[(kind.value, f"{kind.plural}") for kind in KINDS],
        initial=[kind.value for kind in KINDS],
        widget=forms.CheckboxSelectMultiple,
    )
    title = forms.CharField(
        required=False, max_length=250, label="Only where the title contains", help_text="In any case."
    )
    database = forms.ChoiceField(
        required=False,
        label="Only what reads from",
        help_text="Datasets of a connection, and the charts on them.",
    )
    selection = forms.CharField(required=False, widget=forms.HiddenInput)
    roll_back_when_red = forms.BooleanField(
        required=False, initial=True, label="Roll it back if a chart that ran before fails afterwards"
    )

    def __init__(self, *args: Any, user: AbstractBaseUser | AnonymousUser, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        environment = self.fields["environment"]
        assert isinstance(environment, forms.ModelChoiceField)
        seen = Environment.objects.visible_to(user).in_order()
        environment.queryset = seen
        rows = Asset.objects.filter(environment__in=seen, kind=Kind.DATABASE.value).order_by(
            "environment__position", "environment__name", "sort_key"
        )
        named = rows.values_list("uuid", "environment__tag", "title")[:MOST_CONNECTIONS]
        database = self.fields["database"]
        assert isinstance(database, forms.ChoiceField)
        database.choices = [
            ("", "any connection"),
            *((uuid, f"{tag}: {title}") for uuid, tag, title in named),
        ]

    @property
    def asked(self) -> dict[str, Any]:
        """What was entered, as `services.create_replacement` takes it."""
        given = self.cleaned_data
        return {
            "find": given["find"].replace("\r\n", "\n"),
            "replace": given["replace"].replace("\r\n", "\n"),
            "how": given["how"],
            "ignore_case": given["ignore_case"],
            "fields": given["fields_"],
            "kinds": given["kinds"],
            "title": given["title"],
            "database": given["database"],
            "selection": [uuid for uuid in given["selection"].split(",") if uuid],
            "roll_back_when_red": given["roll_back_when_red"],
        }

    def say(self, errors: dict[str, list[str]]) -> None:
        """Put what the service said at its fields."""
        for name, texts in errors.items():
            field = "fields_" if name == "fields" else name
            for text in texts:
                self.add_error(field if field in self.fields and field != "selection" else None, text)
