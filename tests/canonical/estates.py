"""Hypothesis strategies: whole estates as people and Superset's pages leave them, in the ids of one instance."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from environments.canonical.documents import Kind

from .builders import chart_node, layout, raw_chart, raw_dashboard, raw_database, raw_dataset, uid
from .model import ModelSuperset

#: Ids begin here on the source; a target's begin far above, so that a surviving one is seen.
SOURCE_IDS = 11
TARGET_IDS = 500_011

_texts = st.one_of(
    st.sampled_from(
        ["", "Sales: 100% {x}", "Übersicht 🌍", 'it\'s "quoted"', "a\nb", "null", "12", "⟦base⟧x", "x" * 200]
    ),
    st.text(st.characters(exclude_categories=("Cs",), exclude_characters="⟦⟧"), max_size=20),
)
_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-5, 5), st.floats(-2, 2, width=16), _texts),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
    ),
    max_leaves=6,
)


@st.composite
def estates(draw: st.DrawFn) -> ModelSuperset:
    """One connection, up to 3 datasets, 5 charts and 3 dashboards, with references of every kind between them."""
    superset = ModelSuperset(SOURCE_IDS, "https://dev.example.org", draw(st.integers(0, 9)))
    superset.add(Kind.DATABASE, uid("b", 1), _stored(raw_database(1)))
    datasets = [uid("e", number) for number in range(1, draw(st.integers(1, 3)) + 1)]
    charts = [uid("c", number) for number in range(1, draw(st.integers(0, 5)) + 1)]
    dashboards = [uid("d", number) for number in range(1, draw(st.integers(0, 3)) + 1)]
    for kind, uuids in ((Kind.DATASET, datasets), (Kind.CHART, charts), (Kind.DASHBOARD, dashboards)):
        for uuid in uuids:
            superset.id_of(kind, uuid)
    numbers = {uuid: superset.ids.id_of(kind, uuid) for kind, _, uuid in superset.ids}
    for index, uuid in enumerate(datasets, start=1):
        superset.add(
            Kind.DATASET, uuid, _dataset(draw, index, [numbers[other] for other in datasets[: index - 1]])
        )
    for index, uuid in enumerate(charts, start=1):
        data = _chart(draw, index, datasets, numbers, [numbers[other] for other in charts])
        superset.add(Kind.CHART, uuid, data)
    for index, uuid in enumerate(dashboards, start=1):
        members = draw(st.lists(st.sampled_from(charts), unique=True)) if charts else []
        shown = [chart for chart in members if draw(st.integers(0, 4))]
        data = _dashboard(draw, index, shown, datasets, numbers, [numbers[other] for other in dashboards])
        superset.add(Kind.DASHBOARD, uuid, data)
        superset.members[uuid] = set(members)
    return superset


def _stored(raw: Any) -> dict[str, Any]:
    return {key: value for key, value in raw.data.items() if key not in ("uuid", "version")}


def _dataset(draw: st.DrawFn, index: int, others: list[Any]) -> dict[str, Any]:
    sql = None
    if draw(st.booleans()):
        sql = "select 'a:b', '100%' from t where x = '{y}' -- " + draw(_texts).replace("\n", " ")
        if others and draw(st.booleans()):
            sql += f"\njoin {{{{ dataset({draw(st.sampled_from(others))}) }}}}"
    columns = [
        {"column_name": name, "type": "TEXT", "expression": draw(st.sampled_from([None, "", "a + 1"])),
         "extra": draw(st.sampled_from([None, {}, '{"a": 1}']))}
        for name in draw(st.lists(st.sampled_from("abcde"), unique=True))
    ]  # fmt: skip
    metrics = [
        {
            "metric_name": name,
            "expression": "COUNT(*)",
            "currency": draw(st.sampled_from([None, {"symbol": "EUR"}])),
        }
        for name in draw(st.lists(st.sampled_from("mn"), unique=True))
    ]
    return _stored(
        raw_dataset(
            index,
            table_name=f"t{index} {draw(_texts)}",
            sql=sql,
            columns=columns,
            metrics=metrics,
            description=draw(st.one_of(st.none(), _texts)),
            extra=draw(st.sampled_from([None, {}, {"certification": {"details": "x"}}])),
        )
    )


def _chart(
    draw: st.DrawFn, index: int, datasets: list[str], numbers: dict[str, Any], charts: list[Any]
) -> dict[str, Any]:
    dataset = draw(st.sampled_from(datasets))
    datasource = f"{numbers[dataset]}__table"
    layers = [
        draw(
            st.sampled_from(
                [
                    {"name": "f", "annotationType": "FORMULA", "value": "x"},
                    {"name": "c", "annotationType": "EVENT", "sourceType": "line", "value": charts[0]},
                ]
            )
        )
        for _ in range(draw(st.integers(0, 2)))
    ]
    params = {
        "viz_type": "table",
        "datasource": datasource,
        "slice_id": charts[index - 1],
        "free": draw(_values),
        "annotation_layers": layers,
    }
    if index > 1 and draw(st.booleans()):
        params["deck_slices"] = charts[: index - 1]
    if draw(st.booleans()):
        params["markup"] = f"[x](/explore/?slice_id={draw(st.sampled_from(charts))})"
    context = None
    if draw(st.booleans()):
        context = json.dumps(
            {
                "datasource": {"id": numbers[dataset], "type": "table"},
                "force": draw(st.booleans()),
                "queries": [{"filters": draw(_values), "annotation_layers": layers}],
                "form_data": params,
            }
        )
    chart = raw_chart(index, params=params, query_context=context, slice_name=draw(_texts) or "x")
    return {**_stored(chart), "dataset_uuid": dataset}


def _dashboard(
    draw: st.DrawFn,
    index: int,
    shown: list[str],
    datasets: list[str],
    numbers: dict[str, Any],
    dashboards: list[Any],
) -> dict[str, Any]:
    code = f"[a](/superset/dashboard/{draw(st.sampled_from(dashboards))}/) {draw(_texts)}"
    nodes = [chart_node(numbers[uuid], uuid, sliceName=draw(_texts)) for uuid in shown]
    markdown = {"type": "MARKDOWN", "children": [], "meta": {"code": code}}
    position = layout([markdown, *nodes]) if draw(st.booleans()) else layout([markdown], nodes)
    if draw(st.booleans()):
        position["ROOT_ID"]["children"] = ["TABS-x"]
        position["TABS-x"] = {
            "type": "TABS",
            "id": "TABS-x",
            "children": ["TAB-x"],
            "parents": ["ROOT_ID"],
            "meta": {},
        }
        position["TAB-x"] = {
            "type": "TAB",
            "id": "TAB-x",
            "children": position["GRID_ID"]["children"],
            "parents": ["ROOT_ID", "TABS-x"],
            "meta": {"text": draw(_texts)},
        }
        position["GRID_ID"] = {**position["GRID_ID"], "children": []}
    some = st.lists(st.sampled_from([numbers[uuid] for uuid in shown]), unique=True) if shown else st.just([])
    metadata: dict[str, Any] = {"label_colors": {"a": "#fff"}, "free": draw(_values)}
    if draw(st.booleans()):
        metadata["timed_refresh_immune_slices"] = draw(some)
        metadata["expanded_slices"] = {str(number): True for number in draw(some)}
        metadata["global_chart_configuration"] = {
            "scope": {"rootPath": ["ROOT_ID"], "excluded": draw(some)},
            "chartsInScope": draw(some),
        }
        metadata["chart_configuration"] = {
            str(number): {
                "id": number,
                "crossFilters": {
                    "scope": {"rootPath": ["ROOT_ID"], "excluded": draw(some)},
                    "chartsInScope": draw(some),
                },
            }
            for number in draw(some)
        }
        metadata["native_filter_configuration"] = [
            {
                "id": f"NATIVE_FILTER-{place}",
                "name": draw(_texts),
                "targets": [{"datasetId": numbers[draw(st.sampled_from(datasets))], "column": {"name": "a"}}],
                "scope": {
                    "rootPath": ["ROOT_ID"],
                    "excluded": draw(some),
                    "selectedLayers": [f"chart-{number}-layer-0" for number in draw(some)],
                },
                "chartsInScope": draw(some),
            }
            for place in range(draw(st.integers(0, 2)))
        ]
    return _stored(
        raw_dashboard(
            index,
            position,
            metadata,
            dashboard_title=f"{draw(_texts)} {index}",
            slug=draw(st.sampled_from([None, f"slug-{index}"])),
            css=draw(_texts),
        )
    )
