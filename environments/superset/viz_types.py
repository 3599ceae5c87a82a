"""Which chart types each Superset can draw.

No endpoint tells; the pages of each release register them (frontend/src/visualizations/presets/MainPreset). The lists
are what the released packages register, and a live test reads them there again (tests/live/test_versions.py).
"""

from __future__ import annotations

from .versions import Capabilities, version_tuple

#: Drawn by all four: 4.1.4, 5.0.0, 6.0.0, 6.1.0.
_ALWAYS = frozenset(
    {
        *(
            "big_number",
            "big_number_total",
            "box_plot",
            "bubble",
            "bubble_v2",
            "bullet",
            "cal_heatmap",
            "chord",
        ),
        *("compare", "country_map", "deck_arc", "deck_contour", "deck_geojson", "deck_grid", "deck_heatmap"),
        *("deck_hex", "deck_multi", "deck_path", "deck_polygon", "deck_scatter", "deck_screengrid"),
        *("echarts_area", "echarts_timeseries", "echarts_timeseries_bar", "echarts_timeseries_line"),
        *("echarts_timeseries_scatter", "echarts_timeseries_smooth", "echarts_timeseries_step", "funnel"),
        *("gauge_chart", "graph_chart", "handlebars", "heatmap_v2", "histogram_v2", "horizon", "mapbox"),
        *(
            "mixed_timeseries",
            "paired_ttest",
            "para",
            "partition",
            "pie",
            "pivot_table_v2",
            "pop_kpi",
            "radar",
        ),
        *(
            "rose",
            "sankey_v2",
            "sunburst_v2",
            "table",
            "time_pivot",
            "time_table",
            "tree_chart",
            "treemap_v2",
        ),
        *("waterfall", "word_cloud", "world_map"),
    }
)
#: Drawn by 4.1 only; later ones turn all but event_flow into their successors when they are imported.
_REMOVED_IN_5_0 = frozenset(
    {"area", "bar", "dist_bar", "event_flow", "heatmap", "histogram", "line", "sankey"}
)
_NEW_IN_5_0 = frozenset({"cartodiagram"})
_NEW_IN_6_0 = frozenset({"ag-grid-table", "gantt_chart"})

#: Newest first; a version between two of them draws what the older one does.
VIZ_TYPES: dict[tuple[int, int], frozenset[str]] = {
    (6, 0): _ALWAYS | _NEW_IN_5_0 | _NEW_IN_6_0,  # 6.1.0 has no other
    (5, 0): _ALWAYS | _NEW_IN_5_0,
    (4, 1): _ALWAYS | _REMOVED_IN_5_0,
}
KNOWN = frozenset().union(*VIZ_TYPES.values())

#: Registered only where this feature flag is on (MainPreset of all four; off by default, superset/config.py).
NEEDS_FLAG = {"ag-grid-table": "AG_GRID_TABLE_ENABLED", "pop_kpi": "CHART_PLUGINS_EXPERIMENTAL"}


def undrawable(capabilities: Capabilities) -> dict[str, str]:
    """Chart types of other releases that this Superset cannot draw, and why, in a sentence.

    Nothing is said of types that are in no release, which are somebody's own, nor of versions that are no number.
    """
    number = version_tuple(capabilities.version)[:2]
    drawn = next((types for since, types in VIZ_TYPES.items() if number >= since), None)
    # commands/importers/v1/assets.py and commands/chart/importers/v1/__init__.py of all four
    found = {"filter_box": "Every import of Superset drops charts of the type filter_box."}
    if drawn is None:
        return found
    for viz_type in KNOWN - drawn:
        found[viz_type] = f"Superset {capabilities.version} has no charts of the type {viz_type}."
    return found


def needing_a_flag(capabilities: Capabilities) -> dict[str, str]:
    """Chart types that this Superset draws once a feature flag is on, and says that it is off, in a sentence."""
    flags = capabilities.feature_flags  # none at all: they could not be read
    return {
        viz_type: f"Charts of the type {viz_type} need Superset's feature flag {flag}, which is off there."
        for viz_type, flag in NEEDS_FLAG.items()
        if flags and not flags.get(flag, False)
    }
