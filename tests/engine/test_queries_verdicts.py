"""What two answers to one question prove."""

from __future__ import annotations

import json
import math
import random
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrations_app.engine.queries import QueryShape, Spec, compare, explain


@dataclass(frozen=True)
class Answer:
    status: str = "success"
    error: str | None = None
    columns: tuple[str, ...] = ()
    types: tuple[int, ...] = ()
    rows: list[dict[str, Any]] = field(default_factory=list)
    rowcount: int = 0
    seconds: float = 0.1


def answer(rows: list[dict[str, Any]], *, types: tuple[int, ...] = (), seconds: float = 0.1) -> Answer:
    columns = tuple(rows[0]) if rows else ()
    return Answer(columns=columns, types=types, rows=rows, rowcount=len(rows), seconds=seconds)


def failure(text: str) -> Answer:
    return Answer("failed", text)


SALES = [
    {"city": "Bern", "count": 3, "sum(amount)": 700.25},
    {"city": "Oslo", "count": 2, "sum(amount)": 500.25},
]
SPEC = Spec(source_name="dev", target_name="prod")


def test_equal_rows_are_ok_in_any_order() -> None:
    verdict = compare([answer(SALES)], [answer(SALES[::-1])], SPEC)
    assert (verdict.status, verdict.reason) == ("ok", "3 columns, 2 rows equal")
    assert verdict.details["queries"][0]["rows"] == {"source": 2, "target": 2}
    assert verdict.details["queries"][0]["columns"][2]["source"] == {
        "count": 2,
        "nulls": 0,
        "sum": 1200.5,
        "min": 500.25,
        "max": 700.25,
    }
    assert verdict.details["queries"][0]["columns"][0]["source"]["distinct"] == 2


def test_large_counts_are_written_for_people() -> None:
    rows = [{"n": n} for n in range(5120)]
    assert compare([answer(rows)], [answer(rows)], SPEC).reason == "1 column, 5,120 rows equal"


def test_another_sum_is_named() -> None:
    other = [SALES[0], {**SALES[1], "sum(amount)": 479.75}]
    verdict = compare([answer(SALES)], [answer(other)], SPEC)
    assert verdict.status == "differs"
    assert verdict.reason == "sum(sum(amount)) 1,200.5 / 1,180; 1 of 2 rows differ"
    assert verdict.details["queries"][0]["rows_different"] == 1


def test_swapped_values_are_found_although_all_aggregates_are_equal() -> None:
    swapped = [{**SALES[0], "count": 2}, {**SALES[1], "count": 3}]
    verdict = compare([answer(SALES)], [answer(swapped)], SPEC)
    assert (verdict.status, verdict.reason) == ("differs", "2 of 2 rows differ")


def test_another_row_count_is_named() -> None:
    verdict = compare([answer([{"a": n} for n in range(500)])], [answer([{"a": n} for n in range(10)])], SPEC)
    assert verdict.reason.startswith("row count 500 on dev, 10 on prod; sum(a) ")


def test_a_single_number_that_differs() -> None:
    verdict = compare([answer([{"count": 7}])], [answer([{"count": 8}])], SPEC)
    assert (verdict.status, verdict.reason) == ("differs", "sum(count) 7 / 8")


def test_no_rows_on_the_target() -> None:
    verdict = compare([answer(SALES)], [answer([])], SPEC)
    assert (verdict.status, verdict.reason) == ("differs", "row count 2 on dev, 0 on prod")


def test_no_rows_on_either_side_is_equal() -> None:
    assert compare([answer([])], [answer([])], SPEC).reason == "0 columns, 0 rows equal"


def test_a_missing_and_an_additional_column_are_named() -> None:
    renamed = [{"city": row["city"], "net": 1, "sum(amount)": row["sum(amount)"]} for row in SALES]
    verdict = compare([answer(SALES)], [answer(renamed)], SPEC)
    assert verdict.status == "differs"
    assert verdict.reason.startswith("prod lacks “count”; prod has “net” in addition")


def test_fractions_are_compared_with_tolerance_and_whole_numbers_exactly() -> None:
    nearly = [{**row, "sum(amount)": row["sum(amount)"] * (1 + 1e-12)} for row in SALES]
    assert compare([answer(SALES)], [answer(nearly)], SPEC).status == "ok"
    assert compare([answer([{"n": 10**15}])], [answer([{"n": 10**15 + 1}])], SPEC).status == "differs"
    assert compare([answer([{"n": 5}])], [answer([{"n": 5.0}])], SPEC).status == "ok"


def test_nulls_and_nan_are_alike_and_unlike_zero() -> None:
    null, nan, zero = [{"n": None}], [{"n": math.nan}], [{"n": 0}]
    assert compare([answer(null)], [answer(nan)], SPEC).status == "ok"
    assert compare([answer(null)], [answer(zero)], SPEC).status == "differs"


def test_types_are_compared_loosely() -> None:
    rows = [{"a": 1, "b": None}]
    assert compare([answer(rows, types=(0, 1))], [answer(rows, types=(3, 2))], SPEC).status == "ok"
    verdict = compare([answer([{"a": "1"}], types=(1,))], [answer([{"a": 1}], types=(0,))], SPEC)
    assert verdict.reason.startswith("another type of “a”")


def test_failed_on_the_target_only() -> None:
    error = 'psycopg2.errors.UndefinedColumn: column "net_amount" does not exist\nLINE 1: SELECT net_amount'
    verdict = compare([answer(SALES)], [failure(error)], SPEC)
    assert (verdict.status, verdict.reason) == ("failed", "prod: no such column: net_amount")
    assert verdict.details["errors"]["target"] == error


def test_failed_on_both_sides_is_told_apart() -> None:
    same = compare([failure("no such table: main.x")], [failure('relation "main.x" does not exist')], SPEC)
    assert (same.status, same.reason) == ("failed_on_both", "fails on both sides: no such table: main.x")
    other = compare([failure("Empty query?")], [failure("no such column: a")], SPEC)
    assert other.reason == "fails on both sides: dev: Empty query?; prod: no such column: a"


def test_failed_on_the_source_only_leaves_nothing_to_compare() -> None:
    verdict = compare([failure("database is locked")], [answer(SALES)], SPEC)
    assert verdict.status == "not_checkable"
    assert verdict.reason == "fails on dev (database is locked), answers on prod: nothing to compare with"


def test_no_answer_at_all_is_a_failure() -> None:
    assert compare([answer(SALES)], [], SPEC).reason == "prod: no answer"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        ("(sqlite3.OperationalError) no such column: net_amount\n[SQL: …]", "no such column: net_amount"),
        ("(1054, \"Unknown column 'net' in 'field list'\")", "no such column: net"),
        ("Columns missing in dataset: ['net', 'vat']", "no such column: net, vat"),
        ("Table 'shop.orders' doesn't exist", "no such table: shop.orders"),
        ("Error: Metric 'x' does not exist", "Metric 'x' does not exist"),
        ("", "no reason given"),
        ("x" * 400, "x" * 299 + "…"),
    ],
)
def test_messages_become_one_line(error: str, told: str) -> None:
    assert explain(error) == told


def test_the_same_shape_is_enough_where_data_differ_by_intention() -> None:
    shape = Spec(strictness="same_shape", source_name="dev", target_name="prod")
    fewer = [{**SALES[0], "count": 99}]
    assert compare([answer(SALES)], [answer(fewer)], shape).reason == "3 columns equal"
    empty = compare([answer(SALES)], [answer([])], shape)
    assert (empty.status, empty.reason) == ("ok", "3 columns equal; no rows on prod")
    assert compare([answer(SALES)], [answer([{"city": "Bern"}])], shape).status == "differs"


def test_slower_is_said_and_is_no_difference() -> None:
    verdict = compare([answer(SALES, seconds=1.0)], [answer(SALES, seconds=4.5)], SPEC)
    assert (verdict.status, verdict.details["slower"]) == ("ok", True)
    assert verdict.reason == "3 columns, 2 rows equal; slower: 1.0 s on dev, 4.5 s on prod"
    assert not compare([answer(SALES, seconds=0.01)], [answer(SALES, seconds=1.0)], SPEC).details["slower"]


LIMITED = Spec(
    source_name="dev",
    target_name="prod",
    shapes=(QueryShape(0, 2, 1000, ("city",), ("count",)),),
    totals_shapes=(
        QueryShape(0, None, None, (), (), is_rowcount=True),
        QueryShape(1, None, None, (), ("count",)),
    ),
)


def test_totals_tell_what_lies_behind_a_limit() -> None:
    one, other = (
        [answer([{"rowcount": 640}]), answer([{"count": 9000}])],
        [answer([{"rowcount": 640}]), answer([{"count": 9001}])],
    )
    equal = compare([answer(SALES)], [answer(SALES)], LIMITED, source_totals=one, target_totals=one)
    assert (equal.status, equal.reason) == ("ok", "3 columns, first 2 of 640 rows and all totals equal")
    differs = compare([answer(SALES)], [answer(SALES)], LIMITED, source_totals=one, target_totals=other)
    assert (differs.status, differs.reason) == ("differs", "sum(count) 9,000 / 9,001")
    fewer = [answer([{"rowcount": 12}]), answer([{"count": 9000}])]
    assert compare(
        [answer(SALES)], [answer(SALES)], LIMITED, source_totals=one, target_totals=fewer
    ).reason == ("row count 640 on dev, 12 on prod")


def test_totals_that_cannot_be_asked_for_are_no_fault_of_the_migration() -> None:
    verdict = compare(
        [answer(SALES)],
        [answer(SALES)],
        LIMITED,
        source_totals=[failure("sum(text)")],
        target_totals=[answer([])],
    )
    assert (verdict.status, verdict.reason) == ("ok", "3 columns, first 2 rows equal")
    assert "counts over all rows could not be asked for" in verdict.details["notes"]


def test_a_note_on_the_query_is_added_to_a_difference() -> None:
    noted = Spec(source_name="dev", target_name="prod", notes=("its SQL asks for random values",))
    assert compare([answer([{"n": 1}])], [answer([{"n": 2}])], noted).reason == (
        "sum(n) 1 / 2; its SQL asks for random values"
    )
    assert compare([answer([{"n": 1}])], [answer([{"n": 1}])], noted).reason == "1 column, 1 row equal"


def test_infinities_keep_the_details_json() -> None:
    rows = [{"n": math.inf}, {"n": -math.inf}, {"n": 0.5}]
    verdict = compare([answer(rows)], [answer(rows[::-1])], SPEC)
    assert verdict.status == "ok"
    assert (
        json.loads(json.dumps(verdict.details, allow_nan=False))["queries"][0]["columns"][0]["source"]["sum"]
        is None
    )


cells = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=True, allow_infinity=True),
    st.text(max_size=5),
)
tables = st.lists(st.fixed_dictionaries({"a": cells, "b": cells, "c": cells}), max_size=30)


@given(tables, st.randoms(use_true_random=False))
def test_every_table_equals_itself_in_any_order(rows: list[dict[str, Any]], chance: random.Random) -> None:
    shuffled = rows[:]
    chance.shuffle(shuffled)
    verdict = compare([answer(rows)], [answer(shuffled)], SPEC)
    assert verdict.status == "ok"
    json.dumps(verdict.details, allow_nan=False)


@given(
    st.lists(st.fixed_dictionaries({"key": st.text(max_size=3), "n": st.integers()}), min_size=1), st.data()
)
def test_one_changed_value_is_always_found(rows: list[dict[str, Any]], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(rows) - 1))
    changed = [dict(row) for row in rows]
    changed[index]["n"] += data.draw(st.integers(1, 1000))
    verdict = compare([answer(rows)], [answer(changed)], SPEC)
    assert verdict.status == "differs"
    assert compare([answer(changed)], [answer(rows)], SPEC).status == "differs"
