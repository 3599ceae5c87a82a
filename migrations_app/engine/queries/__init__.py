"""What a chart asks of its dataset, asked of two Supersets, and what the answers prove.

    built = build_queries(params, DatasetFacts.from_mapping(dataset), now=now, row_limit_cap=1000)
    before = source.chart_data(built.with_datasource(12))
    after = target.chart_data(built.with_datasource(1003))
    verdict = compare(before, after, Spec.of(built, source_name="dev", target_name="prod"))

Pure: no I/O, no clock. Where `built.limit_reached(before, after)`, send `built.totals_with_datasource(…)` too and give
both answers to `compare`. docs/verification.md says what is compared, and which charts can't be.
"""

from .comparable import NO_QUERY, build_queries
from .model import Built, DatasetFacts, NotCheckable, QueryShape
from .verdicts import QueryAnswer, Spec, Status, Strictness, Verdict, compare, explain

__all__ = [
    "NO_QUERY",
    "Built",
    "DatasetFacts",
    "NotCheckable",
    "QueryAnswer",
    "QueryShape",
    "Spec",
    "Status",
    "Strictness",
    "Verdict",
    "build_queries",
    "compare",
    "explain",
]
