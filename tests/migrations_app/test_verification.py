"""What verification concludes from answers that are no errors and yet not right."""

from environments.superset.rows import QueryResult
from migrations_app.verification import _dropped_filters


def test_a_filter_that_only_the_target_drops_is_named() -> None:
    source = [QueryResult("success", rejected_filters=("__time_range",))]
    target = [QueryResult("success", rejected_filters=("region", "__time_range"))]
    assert _dropped_filters(source, target) == ["region"]


def test_what_the_source_drops_as_well_is_not_the_targets_fault() -> None:
    both = [QueryResult("success", rejected_filters=("region",))]
    assert _dropped_filters(both, both) == []
