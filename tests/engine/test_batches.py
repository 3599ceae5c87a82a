"""In which order documents are written: closed bundles, nothing in vain, an end to cycles."""

from __future__ import annotations

from typing import Any

import pytest

from environments.canonical.documents import Document, Kind
from environments.canonical.ids import IdTable
from migrations_app.engine.batches import (
    BATCH_LIMIT,
    Batch,
    Way,
    missing_ids,
    next_batch,
    still_pending,
    without_stale,
)
from tests.canonical.builders import (
    chart_node,
    layout,
    raw_chart,
    raw_dashboard,
    raw_database,
    raw_dataset,
    read,
    uid,
)

KINDS = {"d": Kind.DASHBOARD, "c": Kind.CHART, "e": Kind.DATASET}


def _markdown(code: str) -> dict[str, Any]:
    return {"type": "MARKDOWN", "children": [], "meta": {"code": code}}


def _documents(*assets: Any) -> dict[str, Document]:
    found = read(*assets, raw_database(1)).documents
    return {uuid: item for uuid, item in found.items() if item.kind != Kind.DATABASE}


def _all(
    pending: dict[str, Document], *, sparse: bool = True, there: dict[str, Document] | None = None
) -> list[Batch]:
    """Every batch until the end; what was written and is asked for has an id from then on."""
    there = there or {}
    ids = IdTable((KINDS[uuid[0]], 9000 + place, uuid) for place, uuid in enumerate(there))
    around = {**there, **pending}
    batches: list[Batch] = []
    while batch := next_batch(pending, around, ids, sparse=sparse):
        batches.append(batch)
        assert len(batches) < 10
        pending = still_pending(pending, batch)
        for kind, uuid in missing_ids(pending, ids):
            if uuid in batch.writes:
                ids.add(kind, 100 + len(ids), uuid)
    return batches


SMALL = (raw_dashboard(1, layout([chart_node(1)])), raw_chart(1), raw_dataset(1))


def test_nothing_to_write_is_no_batch() -> None:
    assert next_batch({}, {}, IdTable(), sparse=True) is None


def test_only_ids_that_the_rest_refers_to_are_asked_for() -> None:
    pending = _documents(*SMALL, raw_chart(2), raw_dataset(2))
    ids = IdTable()
    batch = next_batch(pending, pending, ids, sparse=True)
    assert batch is not None
    rest = still_pending(pending, batch)
    assert missing_ids(rest, ids) == {(Kind.CHART, uid("c", 1))}
    assert missing_ids({}, ids) == frozenset()


def test_new_assets_take_two_imports_and_known_ones_one() -> None:
    documents = _documents(*SMALL)
    assert [batch.label for batch in _all(documents)] == ["1 dataset, 1 chart", "1 dashboard"]
    again = _all(documents, there=documents)
    assert [batch.label for batch in again] == ["1 dataset, 1 chart, 1 dashboard"]
    assert again[0].databases == ()
    assert [item.kind for item in again[0].rendered] == [Kind.DATASET, Kind.CHART, Kind.DASHBOARD]


def test_a_query_over_a_new_dataset_comes_after_it_with_what_stands_on_it() -> None:
    documents = _documents(
        raw_dataset(1), raw_dataset(2, sql="{{ dataset(1) }}"), raw_chart(1, 2), raw_chart(2, 1)
    )
    batches = _all(documents)
    assert [set(batch.writes) for batch in batches] == [
        {uid("e", 1), uid("c", 2)},
        {uid("e", 2), uid("c", 1)},
    ]
    assert (
        "dataset(100)" in next(item for item in batches[1].rendered if item.uuid == uid("e", 2)).data["sql"]
    )


@pytest.mark.parametrize("sparse", [True, False])
def test_a_chart_that_names_its_own_new_dataset_in_a_text_comes_after_it(sparse: bool) -> None:
    naming = raw_chart(1, params={"metric": {"sqlExpression": "{{ metric('n', 1) }}"}})
    batches = _all(_documents(raw_dataset(1), naming, raw_chart(2)), sparse=sparse)
    assert not any(batch.provisional for batch in batches)
    last = next(item for item in batches[-1].rendered if item.uuid == uid("c", 1))
    assert "metric('n', 100)" in str(last.data["params"])
    assert sum(uid("c", 1) in batch.writes for batch in batches) == 1


def test_a_deck_of_new_charts_comes_after_them() -> None:
    deck = raw_chart(1, params={"deck_slices": [2, 3]})
    batches = _all(_documents(raw_dataset(1), deck, raw_chart(2), raw_chart(3)))
    assert [set(batch.writes) for batch in batches] == [
        {uid("e", 1), uid("c", 2), uid("c", 3)},
        {uid("c", 1)},
    ]
    assert len(batches[1].rendered[0].data["params"]["deck_slices"]) == 2


@pytest.mark.parametrize("sparse", [True, False])
def test_new_dashboards_that_link_to_each_other_are_written_twice(sparse: bool) -> None:
    documents = _documents(
        raw_dashboard(1, layout([_markdown("/superset/dashboard/2/")])),
        raw_dashboard(2, layout([_markdown("/superset/dashboard/1/")])),
        raw_dashboard(3),
    )
    batches = _all(documents, sparse=sparse)
    both = {uid("d", 1), uid("d", 2)}
    assert [set(batch.writes) for batch in batches] == [{uid("d", 3)}, both, both]
    assert [batch.provisional for batch in batches] == [frozenset(), both, frozenset()]
    assert "/superset/dashboard/0/" in str(batches[1].rendered[0].data)
    assert "/superset/dashboard/0/" not in str(batches[2].rendered[0].data)


def test_what_stands_on_a_cycle_waits_for_it() -> None:
    documents = _documents(
        raw_dashboard(1, layout([chart_node(1)])),
        raw_chart(1),
        raw_dataset(1, sql="{{ dataset(2) }}"),
        raw_dataset(2, sql="{{ dataset(1) }}"),
    )
    batches = _all(documents)
    ring = {uid("e", 1), uid("e", 2)}
    assert [set(batch.writes) for batch in batches] == [ring, {*ring, uid("c", 1)}, {uid("d", 1)}]


def test_before_6_each_kind_goes_alone_beside_all_it_stands_on() -> None:
    documents = _documents(*SMALL)
    batches = _all(documents, sparse=False)
    assert [batch.way for batch in batches] == [Way.DATASETS, Way.CHARTS, Way.DASHBOARDS]
    assert [batch.writes for batch in batches] == [(uid("e", 1),), (uid("c", 1),), (uid("d", 1),)]
    assert [{item.uuid for item in batch.rendered} for batch in batches] == [
        {uid("e", 1)},
        {uid("e", 1), uid("c", 1)},
        {uid("e", 1), uid("c", 1), uid("d", 1)},
    ]
    assert {batch.databases for batch in batches} == {(uid("b", 1),)}


def test_before_6_a_dashboard_brings_its_filters_datasets_and_unchanged_charts_along() -> None:
    filters = {"native_filter_configuration": [{"id": "f", "targets": [{"datasetUuid": uid("e", 2)}]}]}
    there = _documents(*SMALL, raw_dataset(2, 2))
    dashboard = _documents(raw_dashboard(1, layout([chart_node(1, uid("c", 1))]), filters), raw_chart(1))[
        uid("d", 1)
    ]
    (batch,) = _all({dashboard.uuid: dashboard}, sparse=False, there=there)
    assert batch.writes == (dashboard.uuid,)
    assert {item.uuid for item in batch.rendered} == {uid("d", 1), uid("c", 1), uid("e", 1), uid("e", 2)}
    assert batch.databases == (uid("b", 1), uid("b", 2))
    assert batch.label == "1 dashboard"


@pytest.mark.parametrize("sparse", [True, False])
def test_many_assets_go_in_bundles_of_bounded_size(sparse: bool) -> None:
    charts = [raw_chart(number) for number in range(1, 1201)]
    shown = raw_dashboard(1, layout([chart_node(1), chart_node(1200)]))
    batches = _all(_documents(shown, *charts, raw_dataset(1)), sparse=sparse)
    sizes = [len(batch.writes) for batch in batches]
    assert max(sizes) <= BATCH_LIMIT
    assert sum(sizes) == 1202
    assert sizes == ([500, 500, 201, 1] if sparse else [1, 500, 500, 200, 1])
    written: set[str] = set()
    for batch in batches:
        assert written.isdisjoint(batch.writes)
        written |= set(batch.writes)


def test_a_batch_knows_whether_it_is_done() -> None:
    (batch, _) = _all(_documents(*SMALL))
    assert without_stale(batch, [])
    assert without_stale(batch, [uid("e", 1)])
    assert not without_stale(batch, [uid("e", 1), uid("c", 1)])
