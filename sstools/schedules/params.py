"""The base of the forms that a schedulable kind of job brings: which environment, which migration."""

from typing import Any

from django import forms


class ParamsForm(forms.Form):
    """Made as `Form(data, user=…)`: what may be chosen is what that user may see. Takes JSON or a posted form."""

    def __init__(self, *args: Any, user: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.user = user

    def params(self) -> dict[str, Any]:
        """After is_valid(): the schedule's params, JSON."""
        return {name: value for name, value in self.cleaned_data.items() if value is not None}

    @classmethod
    def initial_of(cls, params: dict[str, Any]) -> dict[str, Any]:
        """The form's initial values for params of a stored schedule."""
        return params
