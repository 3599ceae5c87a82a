"""Fields of bundles that not every Superset knows: since which release, what is lost without each, and the source.

An import refuses the whole bundle for one key that it does not know (marshmallow RAISE), but in free mappings. A live
test holds this table against the import schemas of the four releases themselves (tests/live/test_versions.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .versions import TESTED, Capabilities, version_tuple


@dataclass(frozen=True, slots=True)
class Field:
    """`kind`: dashboard, chart, dataset or database. `name`: as in its file; `columns.x` of each column, `metadata.x`
    and `extra.x` within that mapping. `since`: first release that knows it. `meaning`: what an asset is without it.
    `source`: class and file in Superset, which names the field from that release on and in no earlier one.
    """

    kind: str
    name: str
    since: tuple[int, int]
    meaning: str
    source: str


_DASHBOARD = "ImportV1DashboardSchema, dashboards/schemas.py"
_METADATA = "DashboardJSONMetadataSchema, dashboards/schemas.py"
_CHART = "ImportV1ChartSchema, charts/schemas.py"
_DATASET = "ImportV1DatasetSchema, datasets/schemas.py"
_COLUMN = "ImportV1ColumnSchema, datasets/schemas.py"
_DATABASE = "ImportV1DatabaseSchema, databases/schemas.py"
_EXTRA = "ImportV1DatabaseExtraSchema, databases/schemas.py"

FIELDS: tuple[Field, ...] = (
    Field(
        "dashboard",
        "theme_uuid",
        (6, 0),
        "it has the instance's own colours, there are no themes",
        _DASHBOARD,
    ),
    Field(
        "dashboard", "theme_id", (6, 0), "it has the instance's own colours, there are no themes", _DASHBOARD
    ),
    Field("dashboard", "tags", (6, 0), "its tags are not in the file", _DASHBOARD),
    Field(
        "dashboard",
        "metadata.chart_customization_config",
        (6, 1),
        "people cannot choose what its charts are grouped by; with it, nobody could save the dashboard there",
        _METADATA,
    ),
    Field(
        "dashboard",
        "metadata.show_chart_timestamps",
        (6, 1),
        "its charts do not say when they were last asked; with it, nobody could save the dashboard there",
        _METADATA,
    ),
    Field("chart", "tags", (6, 0), "its tags are not in the file", _CHART),
    Field("dataset", "folders", (6, 0), "its columns and metrics stand in one list", _DATASET),
    Field(
        "dataset",
        "currency_code_column",
        (6, 1),
        "amounts are not shown in the currency that each row names",
        _DATASET,
    ),
    Field("dataset", "source_db_engine", (6, 1), "a hint for loading Superset's own examples", _DATASET),
    Field("dataset", "data_file", (6, 1), "a file of Superset's own examples", _DATASET),
    Field(
        "dataset",
        "columns.datetime_format",
        (6, 1),
        "Superset guesses at each query how the dates in it are written",
        _COLUMN,
    ),
    Field("database", "impersonate_user", (5, 0), "queries run as the connection's own account", _DATABASE),
    Field("database", "encrypted_extra", (6, 0), "secrets of the connection are given by hand", _DATABASE),
    Field(
        "database", "masked_encrypted_extra", (6, 1), "secrets of the connection are given by hand", _DATABASE
    ),
    Field(
        "database", "configuration_method", (6, 1), "which form the connection's page opens with", _DATABASE
    ),
    Field("database", "extra.schema_options", (5, 0), "options of single schemas do not hold", _EXTRA),
    Field("database", "extra.per_user_caching", (6, 1), "the cache is shared by all users", _EXTRA),
)


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


#: What the imports of all four releases know; the same schemas.
COMMON: Mapping[str, frozenset[str]] = {
    "dashboard": _names(
        "certification_details certified_by css dashboard_title description external_url is_managed_externally metadata"
        " position published slug uuid version"
    ),
    "chart": _names(
        "cache_timeout certification_details certified_by dataset_uuid description external_url is_managed_externally"
        " params query_context slice_name uuid version viz_type"
    ),
    "dataset": _names(
        "always_filter_main_dttm cache_timeout catalog columns data database_uuid default_endpoint description"
        " external_url extra fetch_values_predicate filter_select_enabled is_managed_externally main_dttm_col metrics"
        " normalize_columns offset params schema sql table_name template_params uuid version"
        " columns.advanced_data_type columns.column_name columns.description columns.expression columns.extra"
        " columns.filterable columns.groupby columns.is_active columns.is_dttm columns.python_date_format columns.type"
        " columns.verbose_name metrics.currency metrics.d3format metrics.description metrics.expression metrics.extra"
        " metrics.metric_name metrics.metric_type metrics.verbose_name metrics.warning_text"
    ),
    "database": _names(
        "allow_csv_upload allow_ctas allow_cvas allow_dml allow_file_upload allow_run_async cache_timeout database_name"
        " expose_in_sqllab external_url extra is_managed_externally password sqlalchemy_uri ssh_tunnel uuid version"
        " extra.allow_multi_catalog extra.allows_virtual_table_explore extra.cancel_query_on_windows_unload"
        " extra.cost_estimate_enabled extra.disable_data_preview extra.disable_drill_to_detail extra.engine_params"
        " extra.metadata_cache_timeout extra.metadata_params extra.schemas_allowed_for_csv_upload extra.version"
    ),
}


def new_fields(kind: str, data: Mapping[str, Any]) -> set[str]:
    """Fields of one exported file that no release here knows: a newer Superset, or somebody's own."""
    known = COMMON[kind] | {field.name for field in FIELDS if field.kind == kind}
    found = set(data) - known
    for group in ("columns", "metrics"):
        entries = data.get(group) if kind == "dataset" else None
        for entry in entries if isinstance(entries, list) else ():
            if isinstance(entry, Mapping):
                found |= {f"{group}.{name}" for name in entry} - known
    return found


def unknown_to(capabilities: Capabilities) -> tuple[Field, ...]:
    """What that Superset does not know. A version that is no number, as of a build from a branch, counts as the newest;
    themes are as the instance declares them itself.
    """
    number = version_tuple(capabilities.version)
    known = (number if number != (0, 0, 0) else version_tuple(TESTED[-1]))[:2]
    return tuple(field for field in FIELDS if not _is_known(field, known, capabilities))


def _is_known(field: Field, version: tuple[int, ...], capabilities: Capabilities) -> bool:
    if field.name.startswith("theme_"):
        return capabilities.themes
    return version >= field.since


def of_kind(fields: Iterable[Field], kind: str) -> dict[str, str]:
    """Name -> meaning."""
    return {field.name: field.meaning for field in fields if field.kind == kind}
