"""Field by field: what makes one document differ from another."""

from __future__ import annotations

from typing import Any

import pytest

from environments.canonical.documents import Document, Kind
from migrations_app.engine.diff import field_changes
from tests.canonical.builders import one, raw_chart, raw_dashboard, raw_dataset, uid


def _params(before: Any, after: Any) -> list[tuple[str, Any, Any]]:
    def chart(params: Any) -> Document:
        return Document(
            Kind.CHART, uid("c", 1), {"slice_name": "x", "params": {"v": params}, "query_context": None}
        )

    return [
        (".".join(change.path[2:]), change.before, change.after)
        for change in field_changes(chart(before), chart(after))
    ]


@pytest.mark.parametrize(
    ("before", "after", "changes"),
    [
        (1, 1.0, []),
        ([1.0], [1], []),
        ({"a": 1.0}, {"a": 1}, []),
        (True, 1, [("", True, 1)]),
        ({"a": True}, {"a": 1}, [("a", True, 1)]),
        ([True], [1], [("", [True], [1])]),
        ([{"x": False}], [{"x": 0}], [("1.x", False, 0)]),
        ("1", 1, [("", "1", 1)]),
        (None, "", [("", None, "")]),
        ({"a": None}, {}, [("a", None, None)]),
        ({}, {"a": None}, [("a", None, None)]),
        ({"a": 1}, {"a": 2, "b": 3}, [("a", 1, 2), ("b", None, 3)]),
        ({"a": 1}, None, [("", {"a": 1}, None)]),
        ([1, 2], [2, 1], [("", [1, 2], [2, 1])]),
        ([], [1], [("", [], [1])]),
        ([{"name": "a", "v": 1}, {"name": "b"}], [{"name": "a", "v": 2}, {"name": "b"}], [("a.v", 1, 2)]),
        (
            [{"name": "a"}, {"name": "b"}],
            [{"name": "b"}, {"name": "a"}],
            [("(order)", ["a", "b"], ["b", "a"])],
        ),
        ([{"name": "a"}], [{"name": "b"}], [("a", {"name": "a"}, None), ("b", None, {"name": "b"})]),
        ([], [{"name": "a"}], [("a", None, {"name": "a"})]),
        ([{"name": 1}, {"name": "1"}], [{"name": 1}, {"name": "2"}], [("2.name", "1", "2")]),
        ([{"name": "a"}, {"name": "a"}], [{"name": "a"}, {"name": "c"}], [("2.name", "a", "c")]),
        ([{"x": 1}, 5], [{"x": 2}, 5], [("1.x", 1, 2)]),
        ([{"x": 1}], [{"x": 1}, {"x": 2}], [("", [{"x": 1}], [{"x": 1}, {"x": 2}])]),
    ],
)
def test_a_change_has_a_path_and_both_values(before: Any, after: Any, changes: list[Any]) -> None:
    found = _params(before, after)
    assert found == changes
    assert [[type(value) for value in change] for change in found] == [
        [type(value) for value in change] for change in changes
    ]


def test_columns_are_told_by_their_names() -> None:
    before = one(raw_dataset(1, columns=[{"column_name": "a"}, {"column_name": "b"}]))
    after = one(raw_dataset(1, columns=[{"column_name": "b", "verbose_name": "B"}, {"column_name": "c"}]))
    assert [change.path for change in field_changes(before, after)] == [
        ("columns", "a"),
        ("columns", "b", "verbose_name"),
        ("columns", "c"),
    ]


def test_what_a_comparison_ignores_never_shows() -> None:
    before = one(raw_dashboard(1, metadata={"map_label_colors": {"a": "b"}}, description=""))
    after = one(raw_dashboard(1, metadata={"color_scheme_domain": ["x"]}))
    assert field_changes(before, after) == ()
    assert field_changes(one(raw_chart(1)), one(raw_chart(1, query_context="{}"))) == ()


def test_a_change_knows_whether_something_came_went_or_is_another() -> None:
    before, after = one(raw_chart(1, params={"a": 1, "b": 1})), one(raw_chart(1, params={"b": 2, "c": 3}))
    changes = field_changes(before, after)
    assert [change.operator for change in changes] == ["-", "~", "+"]
    assert changes[1].to_json() == {"path": ["params", "b"], "before": 1, "after": 2}
