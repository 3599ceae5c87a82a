"""An estate with everything in it that has gone wrong somewhere: built by REST on an empty Superset over PostgreSQL."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from environments.lab.instance import RunningSuperset
from environments.lab.rest import Rest

LONG = "Ümsätze nach Regïon 📈 " + "sehr lang " * 17  # 193 characters
COUNT = {"expressionType": "SQL", "sqlExpression": "COUNT(*)", "label": "n"}
STALE = 987_654_321  # an id that never existed


@dataclass
class Nasty:
    """What was built: (id, uuid) by name."""

    rest: Rest
    connection: tuple[int, str]
    datasets: dict[str, tuple[int, str]] = field(default_factory=dict)
    charts: dict[str, tuple[int, str]] = field(default_factory=dict)
    dashboards: dict[str, tuple[int, str]] = field(default_factory=dict)

    def ids(self) -> set[int]:
        return {
            number for group in (self.datasets, self.charts, self.dashboards) for number, _ in group.values()
        }


def chart_node(chart: tuple[int, str], parents: list[str], **meta: Any) -> dict[str, Any]:
    return {
        "type": "CHART",
        "id": f"CHART-{chart[0]}",
        "children": [],
        "parents": parents,
        "meta": {"chartId": chart[0], "uuid": chart[1], "width": 4, "height": 50, **meta},
    }


def tabbed_layout(title: str, tabs: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Tabs by name, each with one row of nodes."""
    names = {name: f"TAB-{index}" for index, name in enumerate(tabs)}
    layout: dict[str, Any] = {
        "DASHBOARD_VERSION_KEY": "v2",
        "ROOT_ID": {"type": "ROOT", "id": "ROOT_ID", "children": ["TABS-all"]},
        "GRID_ID": {"type": "GRID", "id": "GRID_ID", "children": [], "parents": ["ROOT_ID"]},
        "HEADER_ID": {"type": "HEADER", "id": "HEADER_ID", "meta": {"text": title}},
        "TABS-all": {
            "type": "TABS",
            "id": "TABS-all",
            "children": list(names.values()),
            "parents": ["ROOT_ID"],
            "meta": {},
        },
    }
    for name, nodes in tabs.items():
        tab, row = names[name], f"ROW-{names[name]}"
        parents = ["ROOT_ID", "TABS-all", tab]
        layout[tab] = {
            "type": "TAB",
            "id": tab,
            "children": [row],
            "parents": parents[:2],
            "meta": {"text": name},
        }
        layout[row] = {
            "type": "ROW",
            "id": row,
            "children": [node["id"] for node in nodes],
            "parents": parents,
            "meta": {"background": "BACKGROUND_TRANSPARENT"},
        }
        layout |= {node["id"]: {**node, "parents": [*parents, row]} for node in nodes}
    return layout


def markdown(name: str, code: str) -> dict[str, Any]:
    return {
        "type": "MARKDOWN",
        "id": f"MARKDOWN-{name}",
        "children": [],
        "parents": [],
        "meta": {"code": code, "width": 4, "height": 50},
    }


def native_filter(
    name: str, dataset: int, column: str, excluded: list[int], in_scope: list[int]
) -> dict[str, Any]:
    return {
        "id": f"NATIVE_FILTER-{name}",
        "name": f"{name} – gefiltert",
        "type": "NATIVE_FILTER",
        "filterType": "filter_select",
        "targets": [{"datasetId": dataset, "column": {"name": column}}],
        "scope": {"rootPath": ["ROOT_ID"], "excluded": excluded},
        "chartsInScope": in_scope,
        "tabsInScope": ["TAB-0"],
        "cascadeParentIds": [],
        "controlValues": {"multiSelect": True, "enableEmptyFilter": False},
        "defaultDataMask": {"extraFormData": {}, "filterState": {"value": None}},
        "adhoc_filters": [
            {"expressionType": "SQL", "sqlExpression": "1 = 1 -- {x}: 100%", "clause": "WHERE"}
        ],
    }


def build_nasty_estate(superset: RunningSuperset, uri: str) -> Nasty:
    """Some 60 REST calls. `superset` is empty and has ENABLE_TEMPLATE_PROCESSING on; `uri` of the warehouse `dev`."""
    rest = Rest(superset)
    estate = Nasty(rest, rest.add_connection("Wärehouse 100% “Dev”", uri))
    database = estate.connection[0]
    sets, charts = estate.datasets, estate.charts
    sets["sales.orders"] = rest.add_dataset(database, "orders", "sales")
    sets["hr.orders"] = rest.add_dataset(database, "orders", "hr")
    sets["filter only"] = rest.add_dataset(database, "customers", "sales")
    sets["odd"] = rest.add_dataset(
        database,
        "odd “names” 📦",
        "sales",
        sql="select region, ':a' as colon, '100%' as percent, '{x}' as brace, quantity\n"
        "from sales.orders -- it's here\nwhere region not like 'a:b%'",
    )
    sets["jinja"] = rest.add_dataset(
        database, "from_macro", "sales", sql=f"select * from {{{{ dataset({sets['odd'][0]}) }}}} limit 100"
    )
    # What 4.1.4 does not know, and what no import carries.
    if not superset.version.startswith("4."):
        rest.call("PUT", f"/api/v1/dataset/{sets['sales.orders'][0]}", {"currency_code_column": "region"})
    orders, hr, odd, jinja = (sets[name][0] for name in ("sales.orders", "hr.orders", "odd", "jinja"))

    def add(name: str, dataset: int, viz_type: str, title: str = "", **params: Any) -> None:
        charts[name] = rest.add_chart(title or name, dataset, viz_type, params)

    table = {"query_mode": "aggregate", "groupby": ["region"], "metrics": [COUNT], "row_limit": 100}
    add("by region", orders, "table", LONG, **table)
    add("total", orders, "big_number_total", metric=COUNT)
    add("requests", hr, "table", query_mode="raw", all_columns=["id", "item"], row_limit=7)
    add("odd chart", odd, "table", **table)
    add("from macro", jinja, "table", **table)
    add("unshown member", orders, "big_number_total", metric=COUNT)
    add("ghost", orders, "big_number_total", metric=COUNT)
    add("outsider", hr, "big_number_total", metric=COUNT)
    layers = [charts["total"][0], charts["by region"][0]]
    add("layers", orders, "deck_multi", deck_slices=layers, mapbox_style="light")
    formula = {
        "name": "Doubled",
        "annotationType": "FORMULA",
        "sourceType": "",
        "value": "x*2",
        "show": True,
        "style": "solid",
    }
    event = {
        "name": "Requests",
        "annotationType": "EVENT",
        "sourceType": "table",
        "value": charts["requests"][0],
        "show": True,
    }
    add(
        "annotated",
        orders,
        "echarts_timeseries_line",
        x_axis="ordered_at",
        time_grain_sqla="P1M",
        metrics=[COUNT],
        groupby=[],
        row_limit=1000,
        annotation_layers=[formula, event],
        url_params={"slice_id": str(charts["total"][0]), "form_data_key": "abc"},
    )
    number = charts["annotated"][0]
    form_data = {
        "datasource": f"{orders}__table",
        "slice_id": number,
        "viz_type": "echarts_timeseries_line",
        "x_axis": "ordered_at",
        "metrics": [COUNT],
        "dashboards": [STALE],
        "annotation_layers": [formula, event],
    }
    context = {
        "datasource": {"id": orders, "type": "table"},
        "force": True,
        "queries": [{"metrics": [COUNT], "columns": ["ordered_at"], "annotation_layers": [formula, event]}],
        "form_data": form_data,
    }
    rest.call("PUT", f"/api/v1/chart/{number}", {"query_context": json.dumps(context)})
    _add_dashboards(estate, superset.url)
    if not superset.version.startswith("4."):
        theme = {"theme_name": "Ours", "json_data": json.dumps({"token": {"colorPrimary": "#112233"}})}
        number = rest.call("POST", "/api/v1/theme/", theme)["id"]
        rest.call("PUT", f"/api/v1/dashboard/{estate.dashboards['second'][0]}", {"theme_id": number})
    return estate


def _add_dashboards(estate: Nasty, base: str) -> None:
    rest, charts, sets = estate.rest, estate.charts, estate.datasets
    second = _post_dashboard(rest, "Second", "second", {}, {})
    main = _post_dashboard(rest, "Übersicht 🌍: 100% {alles}", "main-slug", {}, {})
    estate.dashboards |= {"main": main, "second": second}
    total, region, requests = (charts[name] for name in ("total", "by region", "requests"))
    links = (
        f"# Links\n[by id](/superset/dashboard/{second[0]}/) [by slug](/superset/dashboard/second/) "
        f"[absolute]({base}/superset/dashboard/{second[0]}/?standalone=1) "
        f"[chart](/explore/?slice_id={total[0]}) [other host](https://bi.example.com/superset/dashboard/12/) "
        f"[gone](/superset/dashboard/{STALE}/)"
    )
    shown = ["by region", "total", "odd chart", "from macro", "layers", "annotated"]
    layout = tabbed_layout(
        "Übersicht",
        {
            "Erste 📊": [chart_node(charts[name], [], sliceName=name) for name in shown[:3]],
            "Zweite": [chart_node(charts[name], [], sliceNameOverride="Änderung") for name in shown[3:]],
            "Text": [
                markdown("links", links),
                chart_node(requests, []),
                chart_node(charts["ghost"], [], sliceName="Ghost"),
            ],
        },
    )
    in_scope = [charts[name][0] for name in shown]
    metadata = {
        "color_scheme": "supersetColors",
        "label_colors": {"Nord": "#ff0000", "it's": "#00ff00"},
        "shared_label_colors": ["Nord"],
        "refresh_frequency": 300,
        "cross_filters_enabled": True,
        "expanded_slices": {str(total[0]): True},
        "timed_refresh_immune_slices": [region[0]],
        "chart_configuration": {
            str(total[0]): {
                "id": total[0],
                "crossFilters": {
                    "scope": {"rootPath": ["ROOT_ID"], "excluded": [region[0], total[0]]},
                    "chartsInScope": in_scope,
                },
            },
            str(region[0]): {"id": region[0], "crossFilters": {"scope": "global", "chartsInScope": in_scope}},
        },
        "global_chart_configuration": {
            "scope": {"rootPath": ["ROOT_ID"], "excluded": [total[0]]},
            "chartsInScope": in_scope,
        },
        "native_filter_configuration": [
            native_filter("region", sets["sales.orders"][0], "region", [total[0]], in_scope),
            native_filter("customer", sets["filter only"][0], "name", [], in_scope),
        ],
    }
    _fill(rest, main[0], layout, metadata)
    # Seen in the wild: what is not on the dashboard any more stays named in its settings.
    stale = json.loads(json.dumps(metadata))
    stale["expanded_slices"][str(charts["outsider"][0])] = True
    stale["timed_refresh_immune_slices"] += [charts["outsider"][0], STALE]
    stale["native_filter_configuration"][0]["scope"]["excluded"] += [charts["outsider"][0], STALE]
    rest.call("PUT", f"/api/v1/dashboard/{main[0]}", {"json_metadata": json.dumps(stale)})
    rest.call("PUT", f"/api/v1/chart/{charts['unshown member'][0]}", {"dashboards": [main[0]]})
    back = tabbed_layout(
        "Second",
        {"Only": [markdown("back", f"[back](/superset/dashboard/{main[0]}/)"), chart_node(requests, [])]},
    )
    _fill(rest, second[0], back, {})
    copy = {
        "dashboard_title": "Copy of the overview",
        "duplicate_slices": True,
        "css": "",
        "json_metadata": json.dumps({**metadata, "positions": layout}),
    }
    made = int(rest.call("POST", f"/api/v1/dashboard/{main[0]}/copy/", copy)["result"]["id"])
    estate.dashboards["copy"] = (made, rest._uuid("dashboard", made))
    rest.call("DELETE", f"/api/v1/chart/{charts['ghost'][0]}")


def _post_dashboard(
    rest: Rest, title: str, slug: str, layout: dict[str, Any], metadata: dict[str, Any]
) -> tuple[int, str]:
    body = {
        "dashboard_title": title,
        "slug": slug,
        "published": True,
        "css": ".header { content: '100%'; }",
        "position_json": json.dumps(layout),
        "json_metadata": json.dumps(metadata),
    }
    made = int(rest.call("POST", "/api/v1/dashboard/", body)["id"])
    return made, rest._uuid("dashboard", made)


def _fill(rest: Rest, number: int, layout: dict[str, Any], metadata: dict[str, Any]) -> None:
    """Layout and settings as the dashboard page saves them: members become what the layout shows."""
    rest.call(
        "PUT",
        f"/api/v1/dashboard/{number}",
        {"json_metadata": json.dumps({**metadata, "positions": layout})},
    )
