"""Asking a chart of one environment for its data: its request, built as Explore would send it. Reads only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from environments.canonical.charts import render_chart
from environments.canonical.context import RenderContext
from environments.canonical.documents import Document, Kind
from environments.store import EnvironmentReading
from environments.superset.client import SupersetClient
from environments.superset.errors import SupersetError

from .engine import queries

#: Charts asked at the same time. Each asks the source, then the target, so with three both sides are kept busy
#: and neither is asked more than two or three things at once (superset-api.md 15: more gains nothing on a
#: one-worker Superset).
PARALLEL = 3
#: Rows that one query asks for at most; counts and sums beyond that are compared by a query of their own.
ROW_CAP = 1_000


@dataclass(frozen=True)
class Side:
    """One environment's view of one chart."""

    name: str
    client: SupersetClient
    reading: EnvironmentReading
    reading_url: str
    chart: Document
    dataset: Document
    dataset_id: int


def side_of(name: str, client: SupersetClient, reading: EnvironmentReading, uuid: str) -> Side | str:
    chart = reading.documents.get(uuid)
    if chart is None:
        return "The chart could not be read."
    dataset = reading.documents.get(str(chart.body.get("dataset_uuid")))
    number = reading.ids.id_of(Kind.DATASET, dataset.uuid) if dataset else None
    if dataset is None or number is None:
        return "The dataset of the chart could not be read."
    return Side(name, client, reading, "", chart, dataset, number)


def build(
    side: Side, now: datetime, ranges: dict[str, str], *, row_cap: int = ROW_CAP
) -> queries.Built | queries.NotCheckable:
    """The request of one side. Time expressions that only Superset can read are asked for once, for both sides."""
    rendered = render_chart(side.chart.body, RenderContext(side.reading.ids, side.reading_url))
    form_data = {**rendered["params"], "viz_type": side.chart.body.get("viz_type")}
    facts = queries.DatasetFacts.from_mapping(side.dataset.body)

    def built() -> queries.Built | queries.NotCheckable:
        return queries.build_queries(
            form_data,
            facts,
            now=now,
            row_limit_cap=row_cap,
            query_context=rendered["query_context"],
            time_ranges=ranges,
        )

    answer = built()
    if isinstance(answer, queries.NotCheckable) or not (new := set(answer.unresolved_times) - set(ranges)):
        return answer
    for expression in sorted(new):
        try:
            ranges[expression] = side.client.time_range(expression)
        except SupersetError:
            return answer
    return built()
