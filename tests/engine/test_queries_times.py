"""Relative time ranges made absolute, against what Superset's own parser said with its clock stopped."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrations_app.engine.queries.times import freeze, is_absolute

RECORDED = json.loads((Path(__file__).parent.parent / "data" / "time_ranges.json").read_text())["ranges"]
CASES = [(text, at, answer) for text, by_time in RECORDED.items() for at, answer in by_time.items()]
LEFT_TO_SUPERSET = {"Last 5 hours", "10 quarters ago : now"}  # Superset can't read these either
moments = st.datetimes(datetime(1990, 1, 1), datetime(2090, 12, 31))


@pytest.mark.parametrize(("text", "at", "answer"), CASES)
def test_a_range_is_frozen_as_superset_reads_it(text: str, at: str, answer: list[str | None] | str) -> None:
    frozen = freeze(text, datetime.fromisoformat(at))
    if isinstance(answer, str):
        assert frozen is None, "Superset refuses this range"
        return
    assert frozen is not None
    assert [part.strip() or None for part in frozen.split(" : ", 1)] == answer


def test_only_what_superset_refuses_is_left_open() -> None:
    now = datetime(2025, 3, 31, 13, 14, 15)
    open_ends = {text for text in RECORDED if freeze(text, now) is None}
    assert open_ends == LEFT_TO_SUPERSET | {
        "Last 90 seconds",
        "Last 15 minutes",
    }  # these two end before they start


@pytest.mark.parametrize(
    "text", ["No filter", "2011-01-01 : 2011-01-02", "2000 : 2014-01-02", "2024-01-01T10:00:00 : ", ""]
)
def test_explicit_ranges_stay_as_they_are(text: str) -> None:
    assert is_absolute(text)
    assert freeze(text, datetime(2026, 1, 1)) == text


@pytest.mark.parametrize(
    "text",
    [
        "Easter : now",
        "HOLIDAY('Easter', DATETIME('today')) : now",
        "next tuesday : ",
        "last 2 fortnights : now",
        "first monday",
    ],
)
def test_what_needs_a_dictionary_is_not_guessed(text: str) -> None:
    assert freeze(text, datetime(2026, 1, 1)) is None


@given(st.sampled_from(sorted(RECORDED)), moments)
def test_a_frozen_range_is_absolute_and_stays(text: str, now: datetime) -> None:
    frozen = freeze(text, now)
    if frozen is not None:
        assert is_absolute(frozen)
        assert freeze(frozen, datetime(1999, 1, 1)) == frozen


@given(st.text(max_size=40), moments)
def test_no_text_raises(text: str, now: datetime) -> None:
    freeze(text, now)
    freeze(f"{text} : now", now)
    freeze(f"DATEADD(DATETIME('{text}'), 99999999, year) : now", now)


def test_the_relative_ends_of_a_query_count() -> None:
    now = datetime(2026, 11, 23, 4, 30)
    assert freeze("Last week", now) == "2026-11-16T00:00:00 : 2026-11-23T00:00:00"
    assert freeze("Last week", now, relative_end="now") == "2026-11-16T00:00:00 : 2026-11-23T04:30:00"
