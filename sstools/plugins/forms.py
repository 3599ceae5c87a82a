"""Forms from what a plugin declares. They shape input; what is right is decided by `values.checked`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django import forms
from django.http import QueryDict

from sstools.errors import Invalid
from sstools.resources import EVERYTHING
from sstools.roles import places, policy
from sstools.roles.permissions import Permission

from . import services
from .extension import FieldKind
from .models import Plugin

PREFIX = "v"
WHERE = "_environment"  # no field of a plugin begins like this


class FieldsForm(forms.Form):
    """One input for each field. The names have a prefix, so that no field of a plugin is in the way of a page's own."""

    def __init__(
        self,
        fields: Sequence[Mapping[str, Any]],
        data: QueryDict | None = None,
        *,
        initial: Mapping[str, Any] | None = None,
        stored: frozenset[str] = frozenset(),
    ) -> None:
        known = {one["name"]: one["default"] for one in fields} | dict(initial or {})
        super().__init__(data, prefix=PREFIX, initial=known)
        self.declared = list(fields)
        self.stored = stored  # names of secrets that there are
        for one in fields:
            self.fields[one["name"]] = _input(one)

    def given(self) -> dict[str, Any]:
        """What was entered, as `values.checked` takes it. After is_valid()."""
        return dict(self.cleaned_data)

    def add_invalid(self, error: Invalid) -> None:
        for name, texts in error.errors.items():
            for text in texts:
                own = WHERE if name == "environment" and WHERE in self.fields else name
                self.add_error(own if own in self.fields else None, text)
        if not error.errors:
            self.add_error(None, str(error))

    @property
    def rows(self) -> list[dict[str, Any]]:
        """For the template: the bound field, and of secrets whether one is stored."""
        return [
            {
                "field": self[one["name"]],
                "is_secret": one["kind"] == FieldKind.SECRET,
                "is_set": one["name"] in self.stored,
                "html_name": self[one["name"]].html_name,
                **one,
            }
            for one in self.declared
        ]


def _input(one: Mapping[str, Any]) -> forms.Field:
    common: dict[str, Any] = {
        "label": one["label"],
        "help_text": one["help_text"],
        "required": one["required"],
    }
    match one["kind"]:
        case FieldKind.FLAG:
            return forms.BooleanField(**{**common, "required": False})
        case FieldKind.NUMBER:
            return forms.FloatField(**common)
        case FieldKind.CHOICE:
            choices = [(str(value), str(label)) for value, label in one["choices"]]
            empty = [] if one["required"] and one["default"] else [("", "---------")]
            return forms.ChoiceField(**common, choices=[*empty, *choices])
        case FieldKind.LONG_TEXT:
            return forms.CharField(**common, strip=False, widget=forms.Textarea(attrs={"rows": 5}))
        case FieldKind.SECRET:
            return forms.CharField(**{**common, "required": False}, strip=False, widget=forms.PasswordInput())
        case _:
            return forms.CharField(**common)


class EnableForm(forms.Form):
    scope = forms.ChoiceField(label="On")
    roles = forms.MultipleChoiceField(
        required=False,
        widget=forms.CheckboxSelectMultiple,
        label="For the roles",
        help_text="None ticked: for whoever has the right. Checks of plans look at everybody's plans.",
    )

    def __init__(self, *args: Any, user: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        where = policy.scopes(user, Permission.PLUGIN_EDIT)
        choices = [
            (one.resource_name, one.label) for one in places.seen_by(user) if one.resource_name in where
        ]
        if where.everything:
            choices = [
                (EVERYTHING, "everything"),
                *((one.resource_name, one.label) for one in places.seen_by(user)),
            ]
        scope, roles = self.fields["scope"], self.fields["roles"]
        assert isinstance(scope, forms.ChoiceField)
        assert isinstance(roles, forms.MultipleChoiceField)
        scope.choices = choices
        roles.choices = list(services.known_roles().items())


class JobForm(FieldsForm):
    """A job's own fields, and the environment it works on where it reads assets."""

    def __init__(
        self, plugin: Plugin, kind: Mapping[str, Any], data: QueryDict | None, *, user: Any, scope: str = ""
    ):
        super().__init__(kind["fields"], data)
        self.places = []
        if kind["reads"]:
            allowed = policy.scopes(user, Permission.PLUGIN_RUN)
            self.places = [
                one
                for one in places.seen_by(user)
                if one.resource_name in allowed and services.may_use(user, plugin, one.resource_name)
            ]
            choices = [(one.resource_name, one.label) for one in self.places]
            self.environment = forms.ChoiceField(label="Environment", choices=choices, initial=scope)
            self.fields[WHERE] = self.environment

    @property
    def where(self) -> Any:
        """The bound field of the environment, or None."""
        return self[WHERE] if WHERE in self.fields else None

    @property
    def chosen(self) -> str:
        return str(self.cleaned_data.get(WHERE) or EVERYTHING)

    def given(self) -> dict[str, Any]:
        return {name: value for name, value in self.cleaned_data.items() if name != WHERE}
