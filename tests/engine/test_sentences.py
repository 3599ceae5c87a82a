"""Changes as an analyst would say them."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from environments.canonical.documents import Document, Kind
from environments.canonical.reading import read_assets
from migrations_app.engine.diff import FieldChange, field_changes
from migrations_app.engine.sentences import sentence, shown
from tests.canonical.builders import example_files

DOCUMENTS = read_assets(example_files()).documents
BY_TITLE = {document.title: document for document in DOCUMENTS.values()}
ABSENT = object()


def _said(title: str, *changes: tuple[str, Any]) -> list[str]:
    """What is said when fields of an example, named by dotted paths, get other values (ABSENT: none)."""
    before = BY_TITLE[title]
    body = copy.deepcopy(dict(before.body))
    for path, value in changes:
        *parents, last = path.split(".")
        place: Any = body
        for key in parents:
            place = place[int(key)] if isinstance(place, list) else place[key]
        if value is ABSENT:
            del place[int(last) if isinstance(place, list) else last]
        elif isinstance(place, list):
            place[int(last)] = value
        else:
            place[last] = value
    after = Document(before.kind, before.uuid, body)
    return [
        sentence(before.kind, change, DOCUMENTS, (after, before)) for change in field_changes(before, after)
    ]


BOYS, GIRLS = BY_TITLE["Boys"].uuid, BY_TITLE["Girls"].uuid
FORMULA = {"name": "Twice", "annotationType": "FORMULA", "value": "x*2"}
SQL_FILTER = {"clause": "WHERE", "expressionType": "SQL", "sqlExpression": "num > 5"}
GIRL = {
    "clause": "WHERE",
    "expressionType": "SIMPLE",
    "subject": "gender",
    "operator": "==",
    "comparator": "girl",
}
AVERAGE = {"expressionType": "SIMPLE", "aggregate": "AVG", "column": {"column_name": "num"}}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("slice_name", "Girls only"), "name: Girls → Girls only"),
        (("viz_type", "pie"), "chart type: table → pie"),
        (("cache_timeout", 60), "cache timeout (s): set to 60"),
        (("dataset_uuid", BY_TITLE["video_game_sales"].uuid), "dataset: “birth_names” → “video_game_sales”"),
        (("dataset_uuid", "unknown"), "dataset: “birth_names” → unknown"),
        (("params.row_limit", 10), "row limit: 50 → 10"),
        (("params.row_limit", ABSENT), "row limit: 50 removed"),
        (("params.row_limit", None), "row limit: 50 removed"),
        (("params.show_totals", True), "show totals: set to on"),
        (("params.show_totals", None), "show totals: set to nothing"),
        (("params.url_params", {}), "address parameters: set to none"),
        (("params.queryMode", ""), "query mode: set to empty"),
        (("params.groupby", ["name", "state"]), "dimensions: name → name, state"),
        (("params.metrics", [AVERAGE]), "metrics: sum__num → AVG(num)"),
        (("params.metrics", [{**AVERAGE, "label": "Mean"}]), "metrics: sum__num → Mean"),
        (("params.adhoc_filters.0.comparator", "boy"), "filter: gender == girl → gender == boy"),
        (("params.adhoc_filters", [GIRL, SQL_FILTER]), "filters: gender == girl → gender == girl, num > 5"),
        (("params.adhoc_filters", []), "filters: gender == girl → none"),
        (("params.adhoc_filters.0.isNew", False), "filter “gender == girl” › is new: set to off"),
        (("params.annotation_layers", [FORMULA]), "annotations: set to Twice"),
        (("params.deck_slices", [BOYS, GIRLS]), "layers: set to “Boys”, “Girls”"),
        (("params.markup", f"/explore/?slice_id=⟦chart:{BOYS}⟧"), "markup: set to /explore/?slice_id=“Boys”"),
        (("params.time_range", "Last week"), "time range: 100 years ago : now → Last week"),
    ],
)
def test_charts(change: tuple[str, Any], said: str) -> None:
    assert _said("Girls", change) == [said]


LONG = "select 1\n" * 100


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("schema", "other"), "schema: main → other"),
        (("sql", "select 1"), "SQL: set to select 1"),
        (("sql", f"select * from {{{{ dataset(⟦dataset:{BY_TITLE['video_game_sales'].uuid}⟧) }}}}"),
         "SQL: set to select * from {{ dataset(“video_game_sales”) }}"),
        (("database_uuid", "x"), "database: “examples” → x"),
        (("columns.0", ABSENT), "column “ds” removed"),
        (("columns.0.verbose_name", "Day"), "column “ds”, label: set to Day"),
        (("columns.0.is_dttm", False), "column “ds”, is a time column: on → off"),
        (("columns.0.extra", {"a": None}), 'column “ds”, extra: set to {"a": null}'),
        (("metrics.0.expression", "SUM(1)"), "metric “count”, expression: COUNT(*) → SUM(1)"),
        (("extra", {"warning_markdown": "old"}), 'extra: set to {"warning_markdown": "old"}'),
    ],
)  # fmt: skip
def test_datasets(change: tuple[str, Any], said: str) -> None:
    assert _said("birth_names", change) == [said]


def test_long_texts_are_counted_not_quoted() -> None:
    before = BY_TITLE["birth_names"].replace(sql=LONG)
    change = field_changes(before, before.replace(sql=LONG + "where 1"))[0]
    assert sentence(Kind.DATASET, change, {}) == "SQL: text changed (101 → 101 lines)"
    assert shown("x" * 200) == "x" * 79 + "…"


def _ids(title: str, kind: str) -> list[str]:
    position = BY_TITLE[title].body["position"]
    return [key for key, node in position.items() if isinstance(node, dict) and node["type"] == kind]


def _node_of(title: str, chart: str) -> str:
    position = BY_TITLE[title].body["position"]
    return next(key for key in _ids(title, "CHART") if position[key]["meta"]["uuid"] == BY_TITLE[chart].uuid)


BIRTHS = "USA Births Names"
NODE = f"position.{_node_of(BIRTHS, 'Girls')}"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("published", False), "published: on → off"),
        (("slug", "b"), "slug: births → b"),
        (("dashboard_title", "T"), "title: USA Births Names → T"),
        ((f"{NODE}.meta.width", 12), "layout: chart “Girls”, width: 3 → 12"),
        ((f"{NODE}.meta.sliceNameOverride", "Mädchen"), "layout: heading set to Mädchen"),
        ((f"{NODE}.meta.uuid", BOYS), "layout: chart “Girls” shows “Boys” instead of “Girls”"),
        ((f"{NODE}.parents", []), "layout: chart “Girls” moved or rearranged"),
        ((NODE, ABSENT), "layout: chart “Girls” removed"),
        (("position.X", {"type": "TAB", "meta": {"text": "Neu"}}), "layout: tab “Neu” added"),
        (("position.X", {"type": "DIVIDER", "meta": {}}), "layout: divider added"),
        (("position.X", {"type": "MARKDOWN", "meta": {"code": "# <b>Hello</b>"}}), "layout: text “Hello” added"),
        ((f"position.{_ids(BIRTHS, 'ROW')[0]}.meta.background", "BACKGROUND_WHITE"),
         "layout: a row, background: transparent → white"),
        (("position.HEADER_ID.meta.text", "B"), "layout: heading Births → B"),
        (("metadata.refresh_frequency", 300), "refresh every (s): 0 → 300"),
        (("metadata.label_colors.boy", "#000"), "colour of “boy”: #ADD8E6 → #000"),
        (("metadata.color_scheme", "d3"), "colour scheme: set to d3"),
        (("metadata.expanded_slices", {GIRLS: True}), "charts with their description open: set to “Girls”"),
        (("metadata.timed_refresh_immune_slices", [GIRLS, BOYS]),
         "charts left out of the timed refresh: set to “Girls”, “Boys”"),
        (("metadata.chart_configuration", {GIRLS: {}}), "cross-filter scope of the dashboard changed"),
        (("metadata.global_chart_configuration", {"scope": {"excluded": [GIRLS]}}),
         "cross-filter scope of the dashboard changed"),
        (("metadata.native_filter_configuration", [{"id": "f", "name": "Year"}]), "filters added: “Year”"),
    ],
)  # fmt: skip
def test_dashboards(change: tuple[str, Any], said: str) -> None:
    assert _said(BIRTHS, change) == [said]


def test_filters_are_called_by_their_names() -> None:
    def filters(**fields: Any) -> Document:
        item = {
            "id": "F-1",
            "name": "Year",
            "targets": [],
            "scope": {"excluded": []},
            "controlValues": {"multiSelect": True},
        }
        return BY_TITLE[BIRTHS].replace(metadata={"native_filter_configuration": [{**item, **fields}]})

    def said(**fields: Any) -> list[str]:
        before, after = filters(), filters(**fields)
        return [
            sentence(Kind.DASHBOARD, change, DOCUMENTS, (after, before))
            for change in field_changes(before, after)
        ]

    target = [{"datasetUuid": BY_TITLE["birth_names"].uuid, "column": {"name": "ds"}}]
    assert said(name="Month") == ["filter “Month”, name: Year → Month"]
    assert said(scope={"excluded": [GIRLS]}) == ["filter “Year”: which charts it applies to changed"]
    assert said(controlValues={"multiSelect": False}) == ["filter “Year”, several values: on → off"]
    assert said(defaultDataMask={"filterState": {}}) == ["filter “Year”: default value changed"]
    assert said(targets=target) == ["filter “Year”, takes its values from: none → ds of “birth_names”"]


KEYS = ["id", "name", "meta", "type", "label", "clause", "expressionType", "datasetUuid", "column", GIRLS]
_json = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.text(max_size=5),
        st.sampled_from([GIRLS, f"⟦chart:{GIRLS}⟧"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(KEYS), inner, max_size=3)
    ),
    max_leaves=8,
)
_paths = st.lists(
    st.sampled_from(
        [
            "position",
            "metadata",
            "params",
            "columns",
            "metrics",
            "native_filter_configuration",
            "adhoc_filters",
            "(order)",
            "chart_configuration",
            "expanded_slices",
            "label_colors",
            "meta",
            "children",
            "scope",
            "controlValues",
            "1",
            GIRLS,
        ]
    ),
    min_size=1,
    max_size=5,
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(list(Kind)), _paths, _json, _json, st.sampled_from(list(DOCUMENTS.values())), _json)
def test_there_are_words_for_whatever_a_damaged_asset_holds(
    kind: Kind, path: list[str], before: Any, after: Any, side: Document, part: Any
) -> None:
    damaged = Document(
        kind, "x", {"position": part, "metadata": {"native_filter_configuration": part}, "params": part}
    )
    text = sentence(kind, FieldChange(tuple(path), before, after), DOCUMENTS, (side, damaged))
    assert text.strip()
    assert "⟦" not in text
