"""Fields of bundles that not every Superset knows: since which release, what is lost without each, and the source.

An import refuses the whole bundle for one key that it does not know (marshmallow RAISE), but in free mappings. A live
test holds this table against the import schemas of the four releases themselves (tests/live/test_versions.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

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
