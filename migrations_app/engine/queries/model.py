"""The values that go in and come out: what is known of a dataset, a request that was built, why none could be."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Query = dict[str, Any]  # one entry of `queries` in a chart/data request
Form = dict[str, Any]  # a chart's form data (`params`), or what became of it

DTTM_ALIAS = (
    "__timestamp"  # Superset's name for "the time column of this query" (superset/utils/core.py, 6.1.0)
)
NO_TIME_RANGE = "No filter"


class CannotBuild(Exception):
    """Raised inside the package when no request can be made of a chart's form data; its text is the reason."""


@dataclass(frozen=True)
class DatasetFacts:
    """What a request depends on besides the chart: the columns, metrics and main time column of its dataset.

    `columns` maps names to `{"is_dttm": bool, "type": str | None, "expression": str | None}`, in the dataset's
    order (the first temporal column counts where there is no main one); `metrics` maps names to
    `{"expression": str | None}`. Names are the dataset's own, not their verbose names.
    """

    columns: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    metrics: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    main_dttm_col: str | None = None
    sql: str | None = None

    @classmethod
    def from_mapping(cls, body: Mapping[str, Any]) -> DatasetFacts:
        """Read a dataset as Superset writes it, in an export file or in the answer of GET dataset/{id}.

        Both name the keys alike: `columns[].column_name, is_dttm, type, expression`, `metrics[].metric_name,
        expression`, `main_dttm_col`, `sql` (read in 6.1.0, connectors/sqla/models.py `export_fields`).
        """
        return cls(
            columns={
                str(column["column_name"]): {
                    "is_dttm": bool(column.get("is_dttm")),
                    "type": column.get("type"),
                    "expression": column.get("expression"),
                }
                for column in body.get("columns") or ()
            },
            metrics={
                str(metric["metric_name"]): {"expression": metric.get("expression")}
                for metric in body.get("metrics") or ()
            },
            main_dttm_col=body.get("main_dttm_col") or None,
            sql=body.get("sql") or None,
        )

    @property
    def temporal_columns(self) -> tuple[str, ...]:
        return tuple(name for name, facts in self.columns.items() if facts.get("is_dttm"))

    @property
    def default_temporal_column(self) -> str | None:
        """The column Explore filters by when a chart names none: the main one, else the first temporal one."""
        temporal = self.temporal_columns
        return self.main_dttm_col or (temporal[0] if temporal else None)


@dataclass(frozen=True)
class QueryShape:
    """What one query of a request asks for, so that its answers can be judged. Belongs to the query at `index`."""

    index: int
    row_limit: int | None  # rows that the request asks for at most; None where the server's own default holds
    chart_row_limit: int | None  # rows that the chart itself would ask for
    columns: tuple[str, ...]
    metrics: tuple[str, ...]
    is_rowcount: bool = False
    totally_ordered: bool = True  # False: which rows a reached limit keeps is up to the database


@dataclass(frozen=True)
class Built:
    """A request for POST /api/v1/chart/data, the same for both sides but for the dataset's id.

    `payload["datasource"]["id"]` is None until `with_datasource(id)`. `totals`, where present, is a second request
    (counts and aggregates over all rows) that is only worth sending when `limit_reached` says so. `origin` tells how
    the request came about: "form data", "stored query context" or "form data of a legacy chart type".
    `notes` are sentences for people about what was left out or changed to make results comparable.
    `unresolved_times` are time expressions that need Superset to read them; ask GET time_range/ on one side and
    build again with `time_ranges={expression: "since : until"}`.
    """

    payload: dict[str, Any]
    shapes: tuple[QueryShape, ...]
    viz_type: str
    origin: str
    notes: tuple[str, ...] = ()
    totals: dict[str, Any] | None = None
    totals_shapes: tuple[QueryShape, ...] = ()
    unresolved_times: tuple[str, ...] = ()

    def with_datasource(self, dataset_id: int) -> dict[str, Any]:
        """The request for a side where the dataset has this id. A new object each time."""
        return _for_dataset(self.payload, dataset_id)

    def totals_with_datasource(self, dataset_id: int) -> dict[str, Any] | None:
        return _for_dataset(self.totals, dataset_id) if self.totals is not None else None

    def limit_reached(self, *answers: Sequence[Any]) -> bool:
        """Whether any of these answers (one list of query results per side) may have been cut by a row limit."""
        for results in answers:
            for shape in self.shapes:
                if shape.is_rowcount or shape.row_limit is None or shape.index >= len(results):
                    continue
                if int(results[shape.index].rowcount or 0) >= shape.row_limit:
                    return True
        return False


@dataclass(frozen=True)
class NotCheckable:
    """No request can be made of this chart. `reason` is a sentence for people, the same for each chart of a kind."""

    reason: str
    viz_type: str = ""


def _for_dataset(payload: dict[str, Any], dataset_id: int) -> dict[str, Any]:
    request = copy.deepcopy(payload)
    request["datasource"] = {"id": dataset_id, "type": "table"}
    request["form_data"]["datasource"] = f"{dataset_id}__table"
    return request
