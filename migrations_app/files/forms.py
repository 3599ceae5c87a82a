"""Forms of the pages of files."""

from __future__ import annotations

from typing import Any

from django import forms

from environments.models import Environment
from migrations_app.engine.auditing import Severity
from migrations_app.forms import OptionsForm

ARCHIVES = {"accept": ".zip,.tar,.tgz,.tar.gz,.gz,application/zip,application/gzip,application/x-tar"}


class FileForm(forms.Form):
    """A tree, and what its templates are rendered with."""

    file = forms.FileField(
        label="Export or tree (ZIP, tar.gz)",
        widget=forms.FileInput(attrs=ARCHIVES),
        help_text="An export ZIP of Superset, or a ZIP or tar.gz of a tree of preset-cli or ol-superset.",
    )
    values = forms.FileField(
        label="Values for its templates (YAML)",
        required=False,
        widget=forms.FileInput(attrs={"accept": ".yaml,.yml"}),
        help_text="Without: Jinja stays as it is. With: every file is rendered, in a sandbox, and a name without a "
        "value is an error.",
    )


class AuditForm(FileForm):
    target = forms.ModelChoiceField(
        Environment.objects.none(),
        to_field_name="slug",
        label="Against",
        empty_label=None,
        help_text="It is read as for a plan. Nothing is written there.",
    )
    field_order = ["file", "target", "values"]

    def __init__(self, *args: Any, targets: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["target"].queryset = targets  # type: ignore[attr-defined]


class FromFileForm(FileForm):
    """A file to upload as the source of a migration."""

    origin = forms.ModelChoiceField(
        Environment.objects.none(),
        required=False,
        to_field_name="slug",
        empty_label="not known",
        label="Exported from",
        help_text="Ids in its texts are then those of there, and its connections are mapped as those of there.",
    )
    field_order = ["file", "origin", "values"]

    def __init__(self, *args: Any, origins: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["origin"].queryset = origins  # type: ignore[attr-defined]


class MigrateForm(OptionsForm):
    """How a migration of a file goes, and where."""

    target = forms.ModelChoiceField(
        Environment.objects.none(), to_field_name="slug", label="To", empty_label=None
    )
    field_order = ["target", "title", "with_dependencies", "verify", "roll_back_when_red"]

    def __init__(self, *args: Any, targets: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["target"].queryset = targets  # type: ignore[attr-defined]
        self.fields[
            "verify"
        ].help_text = "Asks the data of every chart on the target: there is no source to ask."
        self.fields["roll_back_when_red"].help_text = "Red is a chart that fails on the target."


class FindingForm(forms.Form):
    """?severity=error&code=connection_hijacked&q=words. What is not known is as if it were not said."""

    q = forms.CharField(
        required=False,
        max_length=200,
        label="Search",
        widget=forms.TextInput(attrs={"type": "search", "placeholder": "File, title or words"}),
    )
    severity = forms.ChoiceField(
        required=False,
        label="How bad",
        choices=[("", "all"), *((one.value, one.value) for one in Severity)],
    )
    code = forms.ChoiceField(required=False, label="What")

    def __init__(self, *args: Any, codes: list[str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["code"].choices = [  # type: ignore[attr-defined]
            ("", "all"),
            *((code, code.replace("_", " ")) for code in codes),
        ]

    def select(self, findings: list[dict[str, Any]]) -> list[dict[str, Any]]:
        self.is_valid()
        data: dict[str, Any] = getattr(self, "cleaned_data", {})
        words = data.get("q", "").casefold().split()
        return [
            one
            for one in findings
            if data.get("severity", "") in ("", one["severity"])
            and data.get("code", "") in ("", one["code"])
            and all(word in f"{one['path']} {one['title']} {one['text']}".casefold() for word in words)
        ]
