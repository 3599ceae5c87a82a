from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django import forms

from environments.canonical.documents import Kind
from environments.models import Asset, Environment
from migrations_app import naming
from migrations_app.filters import looks_like_uuid
from sstools.errors import Invalid, NotFoundError

from .models import FanOut

LARGEST_TABLE = 1_000_000  # bytes
EMPTY_ROWS = 2


class TemplateForm(forms.Form):
    name = forms.CharField(max_length=100, help_text="Pages and commands call it so.")
    description = forms.CharField(max_length=300, required=False)
    source = forms.ModelChoiceField(Environment.objects.none(), to_field_name="slug", label="From")
    assets = forms.CharField(
        label="Dashboards",
        widget=forms.Textarea(attrs={"rows": 4}),
        help_text="One a line: title, slug or uuid. What they stand on comes along. “chart: …” and “dataset: …” name "
        "those.",
    )
    title = forms.CharField(
        max_length=200,
        initial="{title} ({key})",
        label="Titles of dashboards",
        help_text="{title} and {slug} are the source's, {key} and all other names in braces the copy's.",
    )
    slug = forms.CharField(
        max_length=200,
        required=False,
        initial="{slug}-{key}",
        label="Slugs",
        help_text="Empty: copies have none.",
    )
    chart_title = forms.CharField(max_length=200, initial="{title}", label="Titles of charts")
    dataset_name = forms.CharField(
        max_length=200,
        initial="{name}",
        label="Names of datasets that are queries",
        help_text="A dataset on a table is called as the table.",
    )
    shares_datasets = forms.BooleanField(
        required=False,
        label="Copies share the source's datasets",
        help_text="For other words over the same rows, as of languages. Else each copy has datasets of its own.",
    )
    verify = forms.BooleanField(required=False, initial=True, label="Verify every chart afterwards")
    roll_back_when_red = forms.BooleanField(
        required=False, label="Roll a copy back if a chart fails on the target that works on the source"
    )

    def __init__(self, *args: Any, user: Any, fan_out: FanOut | None = None, **kwargs: Any) -> None:
        if fan_out is not None:
            kwargs.setdefault("initial", _initial(fan_out))
        super().__init__(*args, **kwargs)
        field = self.fields["source"]
        assert isinstance(field, forms.ModelChoiceField)
        field.queryset = Environment.objects.visible_to(user).in_order()
        if fan_out is not None:
            field.disabled = True
        self.selection: list[str] = []

    def clean(self) -> dict[str, Any]:
        given = super().clean() or {}
        if given.get("source") and given.get("assets"):
            try:
                self.selection = named_assets(given["source"], given["assets"].splitlines())
            except (Invalid, naming.NeverRead) as error:
                self.add_error("assets", str(error))
        return given

    @property
    def fields_given(self) -> dict[str, Any]:
        """For `services.create` and `update`, without the source."""
        data = {name: value for name, value in self.cleaned_data.items() if name not in ("source", "assets")}
        return {**data, "selection": self.selection}


class TableForm(forms.Form):
    table = forms.CharField(
        required=False,
        label="Table of copies",
        strip=False,
        widget=forms.Textarea(attrs={"rows": 12, "class": "mono", "spellcheck": "false", "wrap": "off"}),
    )
    file = forms.FileField(
        required=False,
        label="Or a file",
        help_text="CSV in UTF-8. It replaces the table above.",
        widget=forms.FileInput(attrs={"accept": ".csv,text/csv"}),
    )

    def clean_file(self) -> str:
        uploaded = self.cleaned_data.get("file")
        if not uploaded:
            return ""
        if uploaded.size > LARGEST_TABLE:
            raise forms.ValidationError(f"At most {LARGEST_TABLE:,} bytes.")
        try:
            return str(uploaded.read().decode("utf-8-sig"))
        except UnicodeDecodeError:
            raise forms.ValidationError("This file is not in UTF-8.") from None

    @property
    def text(self) -> str:
        return self.cleaned_data.get("file") or self.cleaned_data.get("table") or ""


def named_assets(source: Environment, lines: Iterable[str]) -> list[str]:
    """uuids of what the lines name. Raises Invalid with every name that does not fit, NeverRead."""
    naming.must_be_read(source)
    names: list[tuple[Kind, str]] = []
    uuids: list[str] = []
    for line in lines:
        text = line.strip()
        first = text.partition(" ")[0]
        if looks_like_uuid(first):
            uuids.append(first.lower())
        elif text:
            word, colon, rest = text.partition(":")
            kind = next(
                (kind for kind in (Kind.CHART, Kind.DATASET) if colon and word.lower() == kind.value), None
            )
            names.append((kind, rest.strip()) if kind is not None else (Kind.DASHBOARD, text))
    return sorted({*uuids, *naming.find_assets(source, names)})


def _initial(fan_out: FanOut) -> dict[str, Any]:
    titles = dict(
        Asset.objects.filter(environment=fan_out.source, uuid__in=fan_out.selection).values_list(
            "uuid", "title"
        )
    )
    fields = {name: getattr(fan_out, name) for name in TemplateForm.base_fields if hasattr(fan_out, name)}
    lines = [f"{uuid} {titles.get(uuid, '')}".strip() for uuid in fan_out.selection]
    return {**fields, "source": fan_out.source.slug, "assets": "\n".join(lines)}


def entered_changes(data: Any) -> list[dict[str, Any]]:
    """Rows of repeated `find`, `replace`, `where` (sql, text, value, pattern: sql by a pattern); empty ones are out."""
    groups = [data.getlist(name) for name in ("find", "replace", "where")]
    return [
        {
            "find": find,
            "replace": replace,
            "where": "sql" if where == "pattern" else where,
            "is_pattern": where == "pattern",
        }
        for find, replace, where in zip(*groups, strict=False)
        if find or replace
    ]


def environment_of(slug: str, user: Any) -> Environment:
    """Raises NotFoundError for one that is absent or not visible."""
    found: Environment | None = Environment.objects.visible_to(user).filter(slug=slug).first()
    if found is None:
        raise NotFoundError(f"There is no environment “{slug}”, or you may not see it.")
    return found
