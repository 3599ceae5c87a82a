"""Two answers to one question, and what they prove.

Values are compared as sets of rows, not in the order they came: sorting text differs between databases. Whole numbers
and texts must be equal, fractions within a relative tolerance, because databases add them up in different orders.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol

from .model import Built, QueryShape

Status = Literal["ok", "differs", "failed", "failed_on_both", "not_checkable"]
Strictness = Literal["same_data", "same_shape"]


class QueryAnswer(Protocol):
    """What is read of a query's result; `environments.superset.rows.QueryResult` is one."""

    @property
    def status(self) -> str: ...
    @property
    def error(self) -> str | None: ...
    @property
    def columns(self) -> tuple[str, ...]: ...
    @property
    def types(self) -> tuple[int, ...]: ...
    @property
    def rows(self) -> list[dict[str, Any]]: ...
    @property
    def rowcount(self) -> int: ...
    @property
    def seconds(self) -> float: ...


@dataclass(frozen=True)
class Spec:
    """How strictly two answers are compared, and what the sides are called in sentences.

    "same_data": columns and values; "same_shape": columns and their types only, for environments whose data differ
    by intention. A side is called slower when it takes both `slow_factor` times and `slow_seconds` longer.
    """

    strictness: Strictness = "same_data"
    source_name: str = "source"
    target_name: str = "target"
    relative_tolerance: float = 1e-9
    slow_factor: float = 3.0
    slow_seconds: float = 2.0
    shapes: tuple[QueryShape, ...] = ()
    totals_shapes: tuple[QueryShape, ...] = ()
    notes: tuple[str, ...] = ()
    origin: str = ""

    @classmethod
    def of(cls, built: Built, **options: Any) -> Spec:
        return cls(
            shapes=built.shapes,
            totals_shapes=built.totals_shapes,
            notes=built.notes,
            origin=built.origin,
            **options,
        )


@dataclass(frozen=True)
class Verdict:
    """What a check found. `details` is JSON for a table row, see `compare`.

    ok: the target answers as the source does. differs: both answer, not alike; what follows is the caller's policy.
    failed: the source answers and the target does not. failed_on_both: broken before, so not this migration's doing.
    not_checkable: nothing can be said, for the reason given.
    """

    status: Status
    reason: str
    details: dict[str, Any] = field(default_factory=dict)


# Superset's generic column types (superset/utils/core.py GenericDataType): number, text, time, boolean
_TYPE_NAMES: Final = {0: "number", 1: "text", 2: "time", 3: "boolean"}
_MAX_REASON: Final = 300  # characters of a database's message that fit a table row
_QUOTES: Final = re.compile("[\"'`]")
_MISSING: Final = (
    re.compile(r"column \"?([\w.]+)\"? (?:of relation \"?[\w.]+\"? )?does not exist", re.IGNORECASE),
    re.compile(r"no such column: ([\w.\"]+)", re.IGNORECASE),
    re.compile(r"unknown column '([^']+)'", re.IGNORECASE),
    re.compile(r"Columns missing in dataset: \[(.+?)\]"),
)
_MISSING_TABLE: Final = (
    re.compile(r"relation \"?([\w.]+)\"? does not exist", re.IGNORECASE),
    re.compile(r"no such table: ([\w.\"]+)", re.IGNORECASE),
    re.compile(r"table '([^']+)' doesn't exist", re.IGNORECASE),
)


def compare(
    source: Sequence[QueryAnswer],
    target: Sequence[QueryAnswer],
    spec: Spec,
    *,
    source_totals: Sequence[QueryAnswer] | None = None,
    target_totals: Sequence[QueryAnswer] | None = None,
) -> Verdict:
    """Judge what two Supersets answered to the same request (`Built.payload`, and `Built.totals` where it was sent).

    `details`: `seconds {source, target}`, `slower`, `limit_reached`, `origin` (how the request was made,
    see Built), `notes`, `errors {source, target}`, and
    `queries`: per query `rows {source, target}`, `rows_different`, `limit`, `is_count`, and `columns`: per column
    `name`, `type {…}`, `equal` and on each side `sum, min, max` of numbers, `distinct` of others, `nulls`.
    `totals`: the same for the request over all rows. Values of single rows are not kept.
    """
    details: dict[str, Any] = {
        "seconds": {"source": _seconds(source), "target": _seconds(target)},
        "slower": _is_slower(source, target, spec),
        "limit_reached": False,
        "origin": spec.origin,
        "notes": list(spec.notes),
        "queries": [],
    }
    failures = {"source": _failure(source), "target": _failure(target)}
    if any(failures.values()):
        details["errors"] = failures
        return _failed(failures["source"], failures["target"], spec, details)
    if len(source) != len(target):
        told = f"{_many(len(source), 'query')} answered on {spec.source_name}, {len(target)} on {spec.target_name}"
        return Verdict("differs", told, details)

    differences: list[str] = []
    for index, (left, right) in enumerate(zip(source, target, strict=True)):
        shape = spec.shapes[index] if index < len(spec.shapes) else None
        found, entry = _compare_query(left, right, shape, spec)
        details["queries"].append(entry)
        details["limit_reached"] = details["limit_reached"] or entry["limit_reached"]
        differences += found
    if spec.strictness == "same_data" and source_totals is not None and target_totals is not None:
        differences = _compare_totals(source_totals, target_totals, spec, details, differences)
    if differences:
        return Verdict("differs", "; ".join([*dict.fromkeys(differences), *spec.notes[:1]]), details)
    return Verdict("ok", _praise(source, target, spec, details), details)


def _failed(source: str | None, target: str | None, spec: Spec, details: dict[str, Any]) -> Verdict:
    if source and target:
        same = explain(source) == explain(target)
        told = (
            explain(source)
            if same
            else f"{spec.source_name}: {explain(source)}; {spec.target_name}: {explain(target)}"
        )
        return Verdict("failed_on_both", f"fails on both sides: {told}", details)
    if target:
        return Verdict("failed", f"{spec.target_name}: {explain(target)}", details)
    told = f"fails on {spec.source_name} ({explain(source or '')}), answers on {spec.target_name}"
    return Verdict("not_checkable", f"{told}: nothing to compare with", details)


def explain(error: str) -> str:
    """A database's or Superset's message in one line, the usual ones in the same words for every database."""
    for patterns, what in ((_MISSING, "column"), (_MISSING_TABLE, "table")):
        for pattern in patterns:
            if match := pattern.search(error):
                return f"no such {what}: {re.sub(_QUOTES, '', match[1])}"
    lines = [line.strip() for line in error.strip().splitlines() if line.strip()]
    first = lines[0].removeprefix("Error: ") if lines else "no reason given"
    return first if len(first) <= _MAX_REASON else first[: _MAX_REASON - 1] + "…"


def _failure(answers: Sequence[QueryAnswer]) -> str | None:
    for answer in answers:
        if answer.error or answer.status not in ("success", "cached", "ok"):
            return answer.error or f"status {answer.status}"
    return None if answers else "no answer"


def _seconds(answers: Iterable[QueryAnswer]) -> float:
    # the results of one request all carry the time of the request
    return round(max((float(answer.seconds or 0) for answer in answers), default=0.0), 3)


def _is_slower(source: Sequence[QueryAnswer], target: Sequence[QueryAnswer], spec: Spec) -> bool:
    before, after = _seconds(source), _seconds(target)
    return after > before * spec.slow_factor and after - before > spec.slow_seconds


def _compare_query(
    source: QueryAnswer, target: QueryAnswer, shape: QueryShape | None, spec: Spec
) -> tuple[list[str], dict[str, Any]]:
    differences: list[str] = []
    left, right = list(source.columns), list(target.columns)
    limit = shape.row_limit if shape else None
    reached = limit is not None and max(_count(source), _count(target)) >= limit
    shared = [name for name in left if name in right]
    entry: dict[str, Any] = {
        "rows": {"source": _count(source), "target": _count(target)},
        "rows_different": 0,
        "limit": limit,
        "limit_reached": reached,
        "is_count": bool(shape and shape.is_rowcount),
        "columns": _columns(source, target, shared, spec),
    }
    if set(left) != set(right) and (source.rows or target.rows or (left and right)):
        missing = [name for name in left if name not in right]
        extra = [name for name in right if name not in left]
        # an answer without rows has no columns where the result was pivoted; then the row count says it
        if missing and right:
            differences.append(f"{spec.target_name} lacks {_names(missing)}")
        if extra and left:
            differences.append(f"{spec.target_name} has {_names(extra)} in addition")
    changed = [column["name"] for column in entry["columns"] if not column["same_type"]]
    if changed and source.rows and target.rows:
        differences.append(f"another type of {_names(changed)}")
    if spec.strictness == "same_shape":
        entry["empty_on_target"] = bool(source.rows) and not target.rows
        return differences, entry

    if shape is not None and shape.is_rowcount:
        before, after = _only_number(source), _only_number(target)
        entry["rows"] = {"source": before, "target": after}
        if before != after:
            differences.append(_counts_differ(before, after, spec))
        return differences, entry
    if _count(source) != _count(target):
        differences.append(_counts_differ(_count(source), _count(target), spec))
    if not differences:
        unequal = _rows_different(source.rows, target.rows, shared, spec.relative_tolerance)
        entry["rows_different"] = unequal
        if unequal:
            told = _first_unequal_aggregate(entry["columns"], spec)
            rows = f"{unequal:,} of {_many(len(source.rows), 'row')} differ" if len(source.rows) > 1 else ""
            cut = ", at the row limit" if reached and shape and not shape.totally_ordered else ""
            differences.append(
                "; ".join(part for part in (told, rows + cut if rows else "") if part) or "the row differs"
            )
    elif not any(name not in right for name in left) and (
        told := _first_unequal_aggregate(entry["columns"], spec)
    ):
        differences.append(told)
    return differences, entry


def _compare_totals(
    source: Sequence[QueryAnswer],
    target: Sequence[QueryAnswer],
    spec: Spec,
    details: dict[str, Any],
    differences: list[str],
) -> list[str]:
    if _failure(source) or _failure(target):
        # aggregates are ours, not the chart's: a column that can't be summed is no fault of the migration
        details["notes"] = [*details["notes"], "counts over all rows could not be asked for"]
        return differences
    details["totals"] = []
    found: list[str] = []
    for index, (left, right) in enumerate(zip(source, target, strict=False)):
        shape = spec.totals_shapes[index] if index < len(spec.totals_shapes) else None
        unequal, entry = _compare_query(left, right, shape, spec)
        details["totals"].append(entry)
        found += unequal
    return [*found, *differences] if found else differences


def _praise(
    source: Sequence[QueryAnswer], target: Sequence[QueryAnswer], spec: Spec, details: dict[str, Any]
) -> str:
    columns = sum(len(answer.columns) for answer in source)
    rows = sum(entry["rows"]["source"] or 0 for entry in details["queries"])
    if spec.strictness == "same_shape":
        words = f"{_many(columns, 'column')} equal"
        if any(entry.get("empty_on_target") for entry in details["queries"]):
            words += f"; no rows on {spec.target_name}"
    elif details.get("totals"):
        everything = sum(entry["rows"]["source"] for entry in details["totals"] if entry["is_count"])
        words = f"{_many(columns, 'column')}, {_many(rows, 'row')} and all totals equal"
        if everything > rows:
            words = f"{_many(columns, 'column')}, first {rows:,} of {everything:,} rows and all totals equal"
    elif details["limit_reached"]:
        words = f"{_many(columns, 'column')}, first {_many(rows, 'row')} equal"
    else:
        words = f"{_many(columns, 'column')}, {_many(rows, 'row')} equal"
    if details["slower"]:
        before, after = details["seconds"]["source"], details["seconds"]["target"]
        words += f"; slower: {before:.1f} s on {spec.source_name}, {after:.1f} s on {spec.target_name}"
    return words


def _count(answer: QueryAnswer) -> int:
    return int(answer.rowcount) if answer.rowcount is not None else len(answer.rows)


def _only_number(answer: QueryAnswer) -> int:
    values = [value for row in answer.rows[:1] for value in row.values() if isinstance(value, int | float)]
    return int(values[0]) if values else 0


def _counts_differ(before: int, after: int, spec: Spec) -> str:
    return f"row count {before:,} on {spec.source_name}, {after:,} on {spec.target_name}"


def _many(count: int, word: str) -> str:
    plural = word[:-1] + "ies" if word.endswith("y") else word + "s"
    return f"{count:,} {word if count == 1 else plural}"


def _names(names: list[str]) -> str:
    shown = ", ".join(f"“{name}”" for name in names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more columns"


# Columns and their aggregates


def _columns(source: QueryAnswer, target: QueryAnswer, shared: list[str], spec: Spec) -> list[dict[str, Any]]:
    left_types, right_types = _types(source), _types(target)
    columns = []
    for name in shared:
        left = _aggregate([row.get(name) for row in source.rows])
        right = _aggregate([row.get(name) for row in target.rows])
        types = {"source": left_types.get(name), "target": right_types.get(name)}
        columns.append(
            {
                "name": name,
                "type": types,
                "same_type": _same_type(types["source"], types["target"], left, right),
                "equal": _equal_aggregates(left, right, spec.relative_tolerance),
                "source": left,
                "target": right,
            }
        )
    return columns


def _types(answer: QueryAnswer) -> dict[str, str]:
    return {
        name: _TYPE_NAMES.get(kind, str(kind))
        for name, kind in zip(answer.columns, answer.types, strict=False)
    }


def _same_type(
    source: str | None, target: str | None, left: Mapping[str, Any], right: Mapping[str, Any]
) -> bool:
    """Loosely: databases name types differently, and a column of nothing but nulls has any type."""
    if source is None or target is None or source == target:
        return True
    if left["nulls"] == left["count"] or right["nulls"] == right["count"]:
        return True
    return {source, target} <= {"number", "boolean"}


def _aggregate(values: list[Any]) -> dict[str, Any]:
    present = [value for value in values if not _is_null(value)]
    summary: dict[str, Any] = {"count": len(values), "nulls": len(values) - len(present)}
    numbers = [value for value in present if isinstance(value, int | float)]
    if present and len(numbers) == len(present):
        summary |= {"sum": _sum(numbers), "min": _finite(min(numbers)), "max": _finite(max(numbers))}
    elif present:
        summary["distinct"] = len({_token(value) for value in present})
    return summary


def _sum(numbers: list[Any]) -> Any:
    if all(isinstance(value, int) for value in numbers):
        return sum(numbers)
    try:
        return _finite(math.fsum(numbers))  # exact, so that the order of rows makes no difference
    except (ValueError, OverflowError):  # infinities of both signs, or beyond the largest fraction
        return None


def _finite(value: Any) -> Any:
    # JSON has no infinity, and PostgreSQL refuses it in its own
    return value if isinstance(value, int) or math.isfinite(value) else None


def _equal_aggregates(left: Mapping[str, Any], right: Mapping[str, Any], tolerance: float) -> bool:
    return left.keys() == right.keys() and all(_equal(left[name], right[name], tolerance) for name in left)


def _first_unequal_aggregate(columns: list[dict[str, Any]], spec: Spec) -> str:
    for column in columns:
        left, right = column["source"], column["target"]
        for name in ("sum", "distinct", "min", "max", "nulls"):
            if (
                name in left
                and name in right
                and not _equal(left[name], right[name], spec.relative_tolerance)
            ):
                word = {"distinct": "different values of", "nulls": "empty values of"}.get(name, name)
                return f"{word}({column['name']}) {_number(left[name])} / {_number(right[name])}"
    return ""


def _number(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return (
        f"{value:,}" if isinstance(value, int) else f"{value:,.6g}" if abs(value) < 1e5 else f"{value:,.2f}"
    )


# Rows


def _is_null(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _equal(left: Any, right: Any, tolerance: float) -> bool:
    if _is_null(left) or _is_null(right):
        return _is_null(left) and _is_null(right)
    if isinstance(left, int | float) and isinstance(right, int | float):
        if isinstance(left, int) and isinstance(right, int):
            return left == right
        return left == right or math.isclose(left, right, rel_tol=tolerance, abs_tol=1e-12)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(
            _equal(a, b, tolerance) for a, b in zip(left, right, strict=True)
        )
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_equal(left[key], right[key], tolerance) for key in left)
    return bool(left == right)


def _token(value: Any) -> tuple[int, Any]:
    """A value as something that sorts among all others."""
    if _is_null(value):
        return (0, 0)
    if isinstance(value, int | float):
        return (1, value)
    return (2, value if isinstance(value, str) else repr(value))


def _rows_different(
    source: Sequence[Mapping[str, Any]],
    target: Sequence[Mapping[str, Any]],
    columns: list[str],
    tolerance: float,
) -> int:
    """How many rows of the source have no equal row in the target, in any order.

    Rows are put in an order that doesn't depend on fractions as far as possible, then compared one by one; where that
    finds a difference, rows are matched again as sets, so that one missing row doesn't make all later ones unequal.
    """
    names = _stable_columns_first(source, target, columns)

    def key(row: Mapping[str, Any]) -> tuple[tuple[int, Any], ...]:
        return tuple(_token(row.get(name)) for name in names)

    left, right = sorted(source, key=key), sorted(target, key=key)
    unequal = sum(
        1
        for one, other in zip(left, right, strict=False)
        if not all(_equal(one.get(name), other.get(name), tolerance) for name in names)
    ) + abs(len(left) - len(right))
    if unequal <= 1:
        return unequal
    counts: dict[tuple[Any, ...], int] = {}
    for row in right:
        rounded = tuple(_rounded(row.get(name)) for name in names)
        counts[rounded] = counts.get(rounded, 0) + 1
    missing = 0
    for row in left:
        rounded = tuple(_rounded(row.get(name)) for name in names)
        if counts.get(rounded, 0):
            counts[rounded] -= 1
        else:
            missing += 1
    return min(unequal, max(missing, 1))


def _stable_columns_first(
    source: Sequence[Mapping[str, Any]], target: Sequence[Mapping[str, Any]], columns: list[str]
) -> list[str]:
    def has_fractions(name: str) -> bool:
        return any(
            isinstance(row.get(name), float) and row[name] % 1 != 0
            for rows in (source, target)
            for row in rows
        )

    return sorted(columns, key=has_fractions)  # False before True; otherwise as they came


def _rounded(value: Any) -> Any:
    if _is_null(value):
        return None
    if isinstance(value, float):
        return float(f"{value:.9g}")
    return value if isinstance(value, int | str) else repr(value)
