"""Unrelated assets that an import would take over."""

from __future__ import annotations

from typing import Any

import pytest

from environments.canonical.references import with_uuids
from migrations_app.engine.conflicts import ConflictCode, natural_key_conflicts, renamed
from tests.canonical.builders import one, raw_dashboard, raw_dataset, read, uid


def _datasets(*schemas: Any, first: int = 1, **fields: Any) -> Any:
    return read(
        *(raw_dataset(first + n, table_name="t", schema=schema, **fields) for n, schema in enumerate(schemas))
    ).documents


@pytest.mark.parametrize(
    ("ours", "theirs", "conflict"),
    [
        ("a", "a", True),
        ("a", "b", False),
        (None, "b", True),  # the importer ignores the empty part of a key
        ("a", None, True),  # most likely the same table; with a choice
        (None, None, True),
    ],
)
def test_a_dataset_on_the_table_of_another(ours: Any, theirs: Any, conflict: bool) -> None:
    found = natural_key_conflicts(_datasets(ours), _datasets(theirs, first=9))
    assert bool(found) == conflict
    if conflict:
        assert found[uid("e", 1)].code == ConflictCode.TABLE_TAKEN
        assert found[uid("e", 1)].options == ("adopt", "keep", "rename", "leave_out")
        assert found[uid("e", 1)].other_uuid == uid("e", 9)


@pytest.mark.parametrize(
    ("ours", "theirs", "conflict"),
    [("a", "a", True), ("a", "b", False), (None, "b", True), ("a", None, False)],
)
def test_beside_one_that_is_there_already(ours: Any, theirs: Any, conflict: bool) -> None:
    """An import that hits two rows writes nothing, or fails; one that cannot hit the other is no trouble."""
    target = {**_datasets(ours), **_datasets(theirs, first=9)}
    found = natural_key_conflicts(_datasets(ours), target)
    assert bool(found) == conflict
    assert all(item.options == ("rename", "leave_out") for item in found.values())


def test_other_connections_and_other_tables_are_nobodys_business() -> None:
    assert not natural_key_conflicts(_datasets("a"), _datasets("a", first=9, database=2))
    assert not natural_key_conflicts(_datasets("a"), read(raw_dataset(9, schema="a")).documents)
    assert not natural_key_conflicts(_datasets("a"), _datasets("a"))


@pytest.mark.parametrize(
    ("schemas", "doubled"), [(("a", "a"), {2}), (("a", "b"), set()), ((None, "b"), {2}), (("a", None), {2})]
)
def test_two_of_one_plan_on_one_table(schemas: Any, doubled: set[int]) -> None:
    found = natural_key_conflicts(_datasets(*schemas), {})
    assert {uuid: item.code for uuid, item in found.items()} == {
        uid("e", n): ConflictCode.DOUBLED for n in doubled
    }


def test_what_is_left_out_doubles_nothing() -> None:
    found = natural_key_conflicts(_datasets("a", "a"), {}, [uid("e", 1)])
    assert set(found) == {uid("e", 1)}  # its own answer can still be changed
    assert not natural_key_conflicts({uid("e", 2): _datasets("a", "a")[uid("e", 2)]}, {}, [uid("e", 1)])


def test_a_slug_that_belongs_to_another_dashboard() -> None:
    ours, theirs = one(raw_dashboard(1, slug="s")), one(raw_dashboard(9, slug="s"))
    new = natural_key_conflicts({ours.uuid: ours}, {theirs.uuid: theirs})[ours.uuid]
    assert new.code == ConflictCode.SLUG_TAKEN
    assert new.options == ("adopt", "rename", "leave_out")
    present = one(raw_dashboard(1, slug="old"))
    both = natural_key_conflicts({ours.uuid: ours}, {theirs.uuid: theirs, ours.uuid: present})[ours.uuid]
    assert "adopt" not in both.options
    assert not natural_key_conflicts({ours.uuid: ours}, {ours.uuid: ours})
    empty = one(raw_dashboard(1, slug=""))
    assert not natural_key_conflicts({ours.uuid: empty}, {uid("d", 9): one(raw_dashboard(9, slug=""))})


def test_two_of_one_plan_never_become_one() -> None:
    one_, two = one(raw_dashboard(1, slug="s")), one(raw_dashboard(2, slug="s"))
    found = natural_key_conflicts({one_.uuid: one_, two.uuid: two}, {})
    assert {uuid: (item.code, item.options) for uuid, item in found.items()} == {
        two.uuid: (ConflictCode.DOUBLED, ("rename", "leave_out"))
    }
    assert set(natural_key_conflicts({one_.uuid: one_, two.uuid: two}, {}, [one_.uuid])) == {one_.uuid}
    other = one(raw_dashboard(2, slug="t"))
    assert natural_key_conflicts({one_.uuid: one_, two.uuid: other}, {}) == {}
    # Two of the source that are paired with one of the target.
    partner = with_uuids(other, {other.uuid: one_.uuid})
    found = natural_key_conflicts({one_.uuid: one_, two.uuid: partner}, {one_.uuid: one_})
    assert {uuid: item.other_title for uuid, item in found.items()} == {two.uuid: one_.title}


def test_a_renamed_dataset_reads_the_same_table_by_a_query() -> None:
    dataset = one(raw_dataset(1, table_name="t", schema="Sales Data"))
    target = _datasets("x", first=9)
    assert renamed(dataset, "", target) == {"table_name": "t_2", "sql": 'SELECT * FROM "Sales Data".t'}
    assert renamed(dataset, "mine", target)["table_name"] == "mine"
    query = one(raw_dataset(1, table_name="t", sql="select 1"))
    assert renamed(query, "", target) == {"table_name": "t_2"}
    odd = one(raw_dataset(1, table_name='a"b', schema=None))
    assert renamed(odd, "", {})["sql"] == 'SELECT * FROM "a""b"'


def test_a_name_that_is_made_up_is_free_on_the_target_and_in_the_plan() -> None:
    dashboard = one(raw_dashboard(1, slug="s"))
    target = {uid("d", 9): one(raw_dashboard(9, slug="s")), uid("d", 8): one(raw_dashboard(8, slug="s-2"))}
    assert renamed(dashboard, "", target) == {"slug": "s-3"}
    assert renamed(dashboard, "", target, [one(raw_dashboard(2, slug="s-3"))]) == {"slug": "s-4"}
