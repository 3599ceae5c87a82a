"""The queries we build against those that Superset's own pages sent. See tests/data/chart_requests/README.md."""

from __future__ import annotations

import json
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from migrations_app.engine.queries import Built, DatasetFacts, build_queries
from migrations_app.engine.queries.forms import explore_form
from migrations_app.engine.queries.legacy import legacy_queries
from migrations_app.engine.queries.viz import page_queries

RECORDED = Path(__file__).parent.parent / "data" / "chart_requests"
DATASETS = {
    name: DatasetFacts.from_mapping(body)
    for name, body in json.loads((RECORDED / "_datasets.json").read_text()).items()
}
CHARTS = [
    pytest.param({**chart, "viz_type": path.stem}, id=f"{path.stem}-{chart['chart']}")
    for path in sorted(RECORDED.glob("[a-z]*.json"))
    for chart in json.loads(path.read_text())
]
MODERN = [case for case in CHARTS if "sql" not in case.values[0]]
LEGACY = [case for case in CHARTS if "sql" in case.values[0]]
NOW = datetime(2026, 11, 23, 4, 30)

# Operations on results that we leave out: each is a function of the rows, and the rows are what is compared.
RESHAPING = {
    "pivot",
    "flatten",
    "rename",
    "contribution",
    "rank",
    "sort",
    "rolling",
    "cum",
    "resample",
    "compare",
}


def normalised(query: dict[str, Any]) -> dict[str, Any]:
    """A query without what makes no difference to Superset: null is as good as absent; reshaping is left out."""
    kept = {key: value for key, value in query.items() if value is not None and key != "post_processing"}
    kept["filters"] = [
        {k: v for k, v in item.items() if v is not None} for item in query.get("filters") or []
    ]
    kept["extras"] = {k: v for k, v in (query.get("extras") or {}).items() if v is not None}
    operations = [item for item in query.get("post_processing") or [] if item["operation"] not in RESHAPING]
    return {**kept, "post_processing": operations} if operations else kept


def chart_params(chart: dict[str, Any]) -> dict[str, Any]:
    return {**chart["params"], "viz_type": chart["viz_type"]}


def test_all_example_charts_are_here() -> None:
    assert len(CHARTS) == 103
    assert len(LEGACY) == 7
    assert len({case.values[0]["viz_type"] for case in CHARTS}) == 37


@pytest.mark.parametrize("chart", MODERN)
def test_the_queries_are_those_of_the_page(chart: dict[str, Any]) -> None:
    _, queries = page_queries(chart_params(chart), DATASETS[chart["dataset"]])
    built = json.loads(json.dumps(queries))
    assert [normalised(query) for query in built] == [normalised(query) for query in chart["queries"]]


@pytest.mark.parametrize("chart", LEGACY)
def test_a_legacy_chart_asks_for_what_explore_json_ran(chart: dict[str, Any]) -> None:
    _, queries = legacy_queries(chart_params(chart), DATASETS[chart["dataset"]])
    assert json.loads(json.dumps(queries)) == chart["queries"]
    for metric in queries[0]["metrics"]:
        label = metric if isinstance(metric, str) else metric["label"]
        assert label in chart["sql"]


def telling(form: dict[str, Any]) -> dict[str, Any]:
    """Form data without what says nothing: empty fields, and controls at the default that holds without them too."""
    silent = {"viz_type": form.get("viz_type"), "order_desc": True, "server_page_length": 10}
    return {
        key: value
        for key, value in form.items()
        if value not in (None, [], "", False)
        and silent.get(key) != value
        and not key.endswith("_b")  # the page of a mixed chart posts the form data of its first query only
        and key != "temporal_columns_lookup"
    }


@pytest.mark.parametrize("chart", CHARTS)
def test_the_form_data_is_what_the_page_makes_of_it(chart: dict[str, Any]) -> None:
    form = explore_form(chart_params(chart), DATASETS[chart["dataset"]])
    assert telling(form) == telling(chart["form"])


@pytest.mark.parametrize("chart", CHARTS)
def test_every_example_chart_is_checkable_and_says_the_same_tomorrow(chart: dict[str, Any]) -> None:
    built = build_queries(chart_params(chart), DATASETS[chart["dataset"]], now=NOW, row_limit_cap=1000)
    assert isinstance(built, Built)
    assert not built.unresolved_times
    request = json.dumps(built.with_datasource(7))
    assert json.loads(request)["datasource"] == {"id": 7, "type": "table"}
    for word in ("ago", '"now"', ": now", "today", "slice_id", "dashboardId"):
        assert word not in request
    for query, shape in zip(built.payload["queries"], built.shapes, strict=True):
        assert not {"annotation_layers", "url_params"} & query.keys()
        if shape.row_limit is not None:
            assert query["row_limit"] == shape.row_limit <= 1000
            assert built.totals is not None


def test_most_charts_are_totally_ordered() -> None:
    ordered = Counter(
        shape.totally_ordered
        for case in CHARTS
        for shape in build_queries(  # type: ignore[union-attr]
            chart_params(case.values[0]), DATASETS[case.values[0]["dataset"]], now=NOW, row_limit_cap=1000
        ).shapes
    )
    assert ordered[False] == 1  # horizon: the old time column has no name to order by
