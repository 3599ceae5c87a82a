"""Documents by content, snapshots by moment."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from environments import models, store
from environments.canonical.documents import Document, Kind, Note
from environments.canonical.ids import IdTable
from environments.models import Asset, Reason, Snapshot, SnapshotEntry
from environments.store import (
    EnvironmentReading,
    StoreDamaged,
    get_documents,
    load_snapshot,
    put_documents,
    take_snapshot,
)
from tests.factories import make_asset, make_environment, uuid_for

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]


def chart(name: str, **body: Any) -> Document:
    return Document(Kind.CHART, uuid_for(name), {"slice_name": name, "params": {}, **body})


def many(number: int) -> Iterator[Document]:
    return (chart(f"Chart {n}", description="x" * 300) for n in range(number))


def reading(*documents: Document, complete: bool = True, **fields: Any) -> EnvironmentReading:
    found = EnvironmentReading(
        "", {d.uuid: d for d in documents}, complete=complete, exported_at=timezone.now(), **fields
    )
    for number, document in enumerate(documents, start=1):
        found.ids.add(document.kind, number, document.uuid)
    return found


def test_a_document_comes_back_as_it_was_kept() -> None:
    odd = chart("Ünïcödé 🦆", params={"a": [1, 2.5, None, {"б": "ё"}], "lone": "\ud800"}, sql="SELECT '\x00'")
    assert put_documents([odd]) == 1
    back = get_documents([odd.fingerprint])[odd.fingerprint]
    assert back == odd
    assert back.fingerprint == odd.fingerprint


def test_equal_content_is_kept_once_whoever_brings_it() -> None:
    assert put_documents([chart("A"), chart("A"), chart("B")]) == 2
    assert put_documents(iter([chart("A"), chart("C")])) == 1
    assert models.Document.objects.count() == 3


def test_ten_thousand_documents_take_few_queries() -> None:
    """A nightly reading of 10,000 assets where none changed looks at the keys and writes nothing."""
    per_insert = connection.features.max_query_params or 10_000
    with CaptureQueriesContext(connection) as first:
        assert put_documents(many(10_000)) == 10_000
    columns = len(models.Document._meta.local_concrete_fields)
    rows_per_insert = min(500, per_insert // columns)
    assert len(first) <= 20 * (3 + -(-500 // rows_per_insert))
    with CaptureQueriesContext(connection) as again:
        assert put_documents(many(10_000)) == 0
    assert len(again) <= 40
    assert len(get_documents(document.fingerprint for document in many(10_000))) == 10_000


def test_damage_is_noticed_and_never_served() -> None:
    document = chart("A")
    put_documents([document])
    row = models.Document.objects.filter(pk=document.fingerprint)
    row.update(body=zlib.compress(b'{"kind":"chart","uuid":"x","body":{}}'))
    with pytest.raises(StoreDamaged, match="changed"):
        get_documents([document.fingerprint])
    row.update(body=b"no zlib")
    with pytest.raises(StoreDamaged, match="unpacked"):
        get_documents([document.fingerprint])
    row.delete()
    with pytest.raises(StoreDamaged, match="missing"):
        get_documents([document.fingerprint])


def test_a_snapshot_is_loaded_as_the_reading_it_was_taken_of() -> None:
    environment = make_environment("dev")
    taken = reading(
        chart("A"),
        chart("B"),
        notes=(Note("ghost_chart", uuid_for("A"), "A place for nothing.", "position.x"),),
    )
    taken.marks = {uuid_for("A"): "mark"}
    taken.exported = {uuid_for("B"): timezone.now() - timedelta(days=1)}
    snapshot = take_snapshot(environment, taken, Reason.RESTORE_POINT)
    back = load_snapshot(Snapshot.objects.get(pk=snapshot.pk))
    assert back.documents == taken.documents
    assert sorted(back.ids) == sorted(taken.ids)
    assert back.notes == taken.notes
    assert back.complete
    assert back.marks == {uuid_for("A"): "mark", uuid_for("B"): ""}
    assert back.exported == {uuid_for("A"): taken.exported_at, uuid_for("B"): taken.exported[uuid_for("B")]}
    assert back.environment_uuid == str(environment.uuid)


def test_a_snapshot_of_nothing_is_one() -> None:
    snapshot = take_snapshot(make_environment("dev"), reading(), "reading")
    assert load_snapshot(snapshot).documents == {}


@pytest.mark.parametrize("reason", ["reading", "plan"])
def test_the_same_again_is_the_same_snapshot_confirmed(reason: str) -> None:
    environment = make_environment("dev")
    first = take_snapshot(environment, reading(chart("A")), "reading")
    again = reading(chart("A"))
    again.marks = {uuid_for("A"): "what the list says now"}
    second = take_snapshot(environment, again, reason)
    assert second == first
    assert second.confirmed_at is not None
    assert second.entries.get().mark == "what the list says now"


@pytest.mark.parametrize(
    ("change", "is_new"),
    [
        (lambda r: r.documents.update({uuid_for("A"): chart("A", description="other")}), True),
        (lambda r: r.documents.update({uuid_for("B"): chart("B")}), True),
        (lambda r: r.documents.clear(), True),
        (
            lambda r: setattr(r, "ids", IdTable([(Kind.CHART, 99, uuid_for("A"))])),
            True,
        ),  # made anew under its uuid
        (lambda r: setattr(r, "notes", (Note("x", uuid_for("A"), "new"),)), True),
        (lambda r: setattr(r, "complete", False), True),
        (lambda r: setattr(r, "exported_at", timezone.now()), False),
    ],
)
def test_whatever_differs_is_a_snapshot_of_its_own(change: Callable[[Any], None], is_new: bool) -> None:
    environment = make_environment("dev")
    first = take_snapshot(environment, reading(chart("A")), "reading")
    other = reading(chart("A"))
    change(other)
    assert (take_snapshot(environment, other, "reading") != first) is is_new


def test_restore_points_are_always_their_own() -> None:
    environment = make_environment("dev")
    assert len({take_snapshot(environment, reading(chart("A")), "restore_point").pk for _ in range(3)}) == 3


def test_two_environments_share_a_document_and_no_snapshot() -> None:
    for slug in ("dev", "prod"):
        take_snapshot(make_environment(slug), reading(chart("A")), "reading")
    assert (models.Document.objects.count(), Snapshot.objects.count()) == (1, 2)


def test_unreadable_assets_are_remembered_as_there() -> None:
    environment = make_environment("dev")
    taken = reading(chart("A"), notes=(Note("unreadable", uuid_for("B"), "This chart cannot be read."),))
    taken.ids.add(Kind.CHART, 7, uuid_for("B"))
    taken.exported = {uuid_for("B"): timezone.now()}
    back = load_snapshot(take_snapshot(environment, taken, "reading"))
    assert back.unreadable == {uuid_for("B")}
    assert back.ids.id_of(Kind.CHART, uuid_for("B")) == 7
    assert uuid_for("B") in back.exported
    assert uuid_for("B") not in back.documents


def test_the_inventory_points_to_the_newest_complete_documents() -> None:
    environment, other = make_environment("dev"), make_environment("prod")
    for one in (environment, other):
        for name in ("A", "B"):
            make_asset(one, "chart", name, uuid=uuid_for(name))
    document = chart("A")
    take_snapshot(environment, reading(document, complete=False), "restore_point")
    assert not Asset.objects.exclude(document=None).exists()
    take_snapshot(environment, reading(document), "reading")
    linked = Asset.objects.exclude(document=None).get()
    assert (linked.environment, linked.title, linked.document_id) == (environment, "A", document.fingerprint)
    take_snapshot(environment, reading(chart("B")), "reading")
    assert Asset.objects.exclude(document=None).get().title == "B"


def test_ten_thousand_entries_are_written_in_bulk() -> None:
    environment = make_environment("dev")
    documents = list(many(10_000))
    put_documents(documents)
    with CaptureQueriesContext(connection) as queries:
        snapshot = take_snapshot(environment, reading(*documents), "reading")
    columns = len(SnapshotEntry._meta.local_concrete_fields)
    rows_per_insert = min(1000, (connection.features.max_query_params or 10_000) // columns)
    assert len(queries) <= 60 + -(-10_000 // rows_per_insert)
    assert snapshot.entries.count() == 10_000
    with CaptureQueriesContext(connection) as again:
        assert take_snapshot(environment, reading(*documents), "plan") == snapshot
    assert len(again) <= 40
    fresh = reading(*documents)
    fresh.exported = {document.uuid: fresh.exported_at for document in documents}
    with CaptureQueriesContext(connection) as refreshed:  # all of it exported again, and nothing had changed
        assert take_snapshot(environment, fresh, "plan") == snapshot
    assert len(refreshed) <= 60 + -(-10_000 // rows_per_insert)
    assert not snapshot.entries.exclude(exported_at=fresh.exported_at).exists()


def test_documents_in_snapshots_cannot_be_deleted_by_accident() -> None:
    from django.db.models import ProtectedError

    take_snapshot(make_environment("dev"), reading(chart("A")), "reading")
    with pytest.raises(ProtectedError):
        models.Document.objects.all().delete()


def test_what_the_store_says_of_itself() -> None:
    assert store.EnvironmentReading("x").counts() == {"database": 0, "dataset": 0, "chart": 0, "dashboard": 0}
