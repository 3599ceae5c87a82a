"""What canonical form leaves out or evens out, field by field, each with its reason.

These tables are data on purpose: the readers and renderers use them, `docs/canonical-form.md` prints them, and
the pages name the fields that a comparison ignores. Facts were read in Superset 4.1.4 to 6.1.0 and checked by
importing and exporting again.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from .documents import Kind

#: Never part of a document.
DROPPED: Mapping[Kind, Mapping[str, str]] = MappingProxyType(
    {
        Kind.DASHBOARD: {
            "uuid": "kept as the key of the document",
            "version": "the format's version, the same in every file",
            "tags": "not carried by the assets import; read separately",
            "theme_id": "an id of the instance; theme_uuid says the same",
            "is_managed_externally": "a mark of the instance, not exported",
            "external_url": "a mark of the instance, not exported",
        },
        Kind.CHART: {
            "uuid": "kept as the key of the document",
            "version": "the format's version, the same in every file",
            "tags": "not carried by the assets import; read separately",
            "is_managed_externally": "a mark of the instance, not exported",
            "external_url": "a mark of the instance, not exported",
        },
        Kind.DATASET: {
            "uuid": "kept as the key of the document",
            "version": "the format's version, the same in every file",
            "data": "the address of a CSV that an import would load into the warehouse",
            "data_file": "the name of a data file that an import would load into the warehouse",
            "source_db_engine": "a hint for loading examples",
            "folders": "names columns by uuids that no export carries and every import makes anew",
            "is_managed_externally": "a mark of the instance, not exported",
            "external_url": "a mark of the instance, not exported",
        },
        Kind.DATABASE: {
            "uuid": "kept as the key of the document",
            "version": "the format's version, the same in every file",
            "password": "secrets are never read",
            "encrypted_extra": "may hold secrets in clear text (6.1)",
            "masked_encrypted_extra": "may hold secrets",
            "ssh_tunnel": "may hold secrets, and is never written",
        },
    }
)

#: Keys of a dashboard's metadata that are never part of a document.
DROPPED_METADATA: Mapping[str, str] = MappingProxyType(
    {
        "default_filters": "belongs to filter boxes, which every import removes",
        "filter_scopes": "belongs to filter boxes, which every import removes",
        "import_time": "when some import happened",
        "remote_id": "an id of the instance the dashboard came from",
        "show_native_filters": "every import removes it (PR 23228)",
        "positions": "the layout once more; position holds it",
    }
)

#: Keys of a chart's form data that are never part of a document.
DROPPED_PARAMS: Mapping[str, str] = MappingProxyType(
    {
        "datasource": "an id of the instance; dataset_uuid says the same, and every import writes it",
        "slice_id": "the chart's own id in the instance",
        "dashboards": "ids of the dashboards it is on; the dashboards say the same",
        "dashboardId": "the id of the dashboard it was opened from",
        "dashboard_id": "the id of the dashboard it was opened from",
    }
)

#: Keys of a chart's `url_params`, the address under which it was last saved, that are never part of a document.
DROPPED_URL_PARAMS: Mapping[str, str] = MappingProxyType(
    {
        "slice_id": "an id of the instance",
        "dashboard_id": "an id of the instance",
        "dashboard_page_id": "a key of one open page",
        "datasource_id": "an id of the instance",
        "datasource_type": "belongs to datasource_id",
        "form_data_key": "a key of the instance's cache",
        "native_filters_key": "a key of the instance's cache",
        "permalink_key": "a key of the instance",
    }
)

#: Equal in a comparison although they differ in content: derived by Superset's own pages, or empty in two ways.
IGNORED_IN_COMPARISON: Mapping[str, str] = MappingProxyType(
    {
        "dashboard: metadata.*.chartsInScope": "a cache that the dashboard page computes from the scope and the layout",
        "dashboard: metadata.color_scheme_domain": "a cache of the colours of the colour scheme",
        "dashboard: metadata.map_label_colors": "a cache of the colours that labels got at the last save",
        "dashboard: metadata.shared_label_colors": "a cache of the labels that charts of the dashboard share",
        "chart: query_context": "derived from the form data; the Explore page writes it by itself when somebody "
        "merely opens a chart "
        "that has none (query_context_generation, seen at 6.1.0)",
        "dashboard: empty settings in metadata": "an empty setting and none mean the same",
        "any: 1 and 1.0": "JSON does not tell them apart, and browsers write the one for the other",
        "any: empty text": "an empty text and none mean the same",
        "database": "connections are mapped, never compared",
    }
)

#: Derived colour caches, by name in metadata.
DERIVED_METADATA: tuple[str, ...] = ("color_scheme_domain", "map_label_colors", "shared_label_colors")

#: Obsolete chart types that every import turns into their successors
#: (superset/migrations/shared/migrate_viz/processors.py, read at 6.1.0). A chart of such a type can not be the
#: same after an import, by design of Superset.
CONVERTED_VIZ_TYPES: Mapping[str, str] = MappingProxyType(
    {
        "treemap": "treemap_v2",
        "pivot_table": "pivot_table_v2",
        "dual_line": "mixed_timeseries",
        "sunburst": "sunburst_v2",
        "line": "echarts_timeseries_line",
        "area": "echarts_area",
        "bar": "echarts_timeseries_bar",
        "dist_bar": "echarts_timeseries_bar",
        "bubble": "bubble_v2",
        "heatmap": "heatmap_v2",
        "histogram": "histogram_v2",
        "sankey": "sankey_v2",
    }
)
