"""Which state an asset is in: edits on either side or both, seen within one reading of two small Supersets."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db.models import F
from django.utils import timezone

from environments.models import Asset
from migrations_app import pairings, services
from migrations_app.estate import states
from migrations_app.estate.models import NEEDS_ATTENTION, Pair, SyncState
from migrations_app.models import Baseline
from sstools.jobs.models import Job
from tests.factories import make_environment, uuid_for
from tests.fakes.pair import FakePair, fake_pair
from tests.fakes.superset import FakeSuperset
from tests.live.product import Product

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]


@pytest.fixture
def pair(db: None) -> Iterator[FakePair]:
    with fake_pair() as made:
        yield made


@pytest.fixture
def product(db: None) -> Product:
    return Product()


@pytest.fixture
def brought(pair: FakePair, product: Product) -> FakePair:
    """Sales with all it stands on was brought from dev to prod, and both were read since."""
    product.apply(product.migrate(pair.source, pair.target, [uuid_for("Sales")]))
    product.refresh(pair.source)
    product.refresh(pair.target)
    return pair


def edit(fake: FakeSuperset, kind: str, title: str, by: str = "Irina Petrova", **data: Any) -> None:
    record = fake.record(kind, uuid_for(title))
    record["data"].update(data)
    first, last = by.split()
    record["changed_on"], record["changed_by"] = timezone.now(), {"first_name": first, "last_name": last}


def delete(fake: FakeSuperset, kind: str, title: str) -> None:
    del fake.assets[kind][fake.id_of(kind, uuid_for(title))]


def state(pair: FakePair, title: str, *, back: bool = False) -> SyncState:
    source, target = (pair.target, pair.source) if back else (pair.source, pair.target)
    uuid = uuid_for(title)
    rows = SyncState.objects.filter(source=source, target=target, row__in=(uuid, f"~{uuid}"))
    found: SyncState = rows.get()
    return found


def both(pair: FakePair, title: str) -> tuple[str, str]:
    """From dev's side, and from prod's."""
    return state(pair, title).state, state(pair, title, back=True).state


def test_before_anything_was_brought_all_is_absent_there_and_only_here_the_other_way_round(
    pair: FakePair, product: Product
) -> None:
    assert {both(pair, title) for title in ("Sales", "Revenue", "Regions", "orders")} == {
        ("absent", "only_here")
    }
    assert not SyncState.objects.filter(kind="database").exists()  # mapped, never compared


def test_what_was_brought_is_in_sync_although_its_connection_is_another_one(brought: FakePair) -> None:
    assert {both(brought, title) for title in ("Sales", "Revenue", "Regions", "orders")} == {
        ("in_sync", "in_sync")
    }
    assert not SyncState.objects.filter(attention__gt=0).exists()


def test_an_edit_says_which_side_moved_who_did_it_and_what(brought: FakePair, product: Product) -> None:
    edit(brought.dev, "chart", "Revenue", slice_name="Net revenue")
    edit(brought.prod, "chart", "Regions", by="J. Doe", description="by hand")
    edit(brought.dev, "dashboard", "Sales", dashboard_title="Sales overview")
    edit(brought.prod, "dashboard", "Sales", by="J. Doe", css=".x {}")
    product.refresh(brought.source)
    product.refresh(brought.target)

    behind = state(brought, "Revenue")
    assert (behind.state, behind.changes, behind.changed_by) == ("behind", 1, "Irina Petrova")
    assert behind.sentences == ["name: Revenue → Net revenue"]
    assert behind.title == "Net revenue"
    drifted = state(brought, "Regions")
    assert (drifted.state, drifted.changes, drifted.changed_by) == ("drifted", 1, "J. Doe")
    assert drifted.sentences == ["description: set to by hand"]  # what was done there, not what would undo it
    diverged = state(brought, "Sales")
    assert (diverged.state, diverged.changes, diverged.changed_by) == ("diverged", 2, "J. Doe")
    assert state(brought, "orders").state == "in_sync"

    turned = state(brought, "Revenue", back=True)
    assert (turned.state, turned.changed_by) == ("drifted", "Irina Petrova")
    assert turned.sentences == behind.sentences
    assert state(brought, "Regions", back=True).state == "behind"
    assert state(brought, "Sales", back=True).state == "diverged"


def test_what_is_deleted_after_it_was_brought_is_told_from_what_never_was_there(
    brought: FakePair, product: Product
) -> None:
    delete(brought.prod, "chart", "Revenue")
    delete(brought.dev, "chart", "Regions")
    brought.dev.add_chart("New", dataset=uuid_for("orders"), uuid=uuid_for("New"))
    product.refresh(brought.source)
    product.refresh(brought.target)

    deleted = state(brought, "Revenue")
    assert deleted.state == "absent"
    assert deleted.attention >= NEEDS_ATTENTION
    assert "Not on Prod any more: run" in deleted.sentences[0]
    assert deleted.changed_at
    assert state(brought, "Regions").state == "only_here"
    assert "Not on Dev any more: run" in state(brought, "Regions").sentences[0]
    never = state(brought, "New")
    assert never.state == "absent"
    assert never.attention < NEEDS_ATTENTION
    assert never.sentences == []


def test_what_was_kept_as_it_is_differs_without_asking_for_attention(
    brought: FakePair, product: Product
) -> None:
    edit(brought.prod, "chart", "Revenue", description="ours")
    product.refresh(brought.target)
    assert state(brought, "Revenue").attention >= NEEDS_ATTENTION
    now = state(brought, "Revenue")
    Baseline.objects.filter(uuid=uuid_for("Revenue")).update(
        present=now.present
    )  # as an answer "keep" leaves it
    product.refresh(brought.target)  # reads nothing new

    kept = state(brought, "Revenue")
    assert (kept.state, kept.is_settled) == ("differs", True)
    assert kept.attention < NEEDS_ATTENTION
    assert kept.changes == 1
    edit(brought.prod, "chart", "Revenue", description="ours, again")
    product.refresh(brought.target)
    assert state(brought, "Revenue").state == "drifted"


def test_without_a_base_it_only_differs_and_a_connection_nobody_mapped_is_no_difference(
    db: None, product: Product
) -> None:
    with fake_pair() as pair:
        same = {"query_mode": "raw", "all_columns": ["region", "amount"], "row_limit": 100}
        columns = pair.dev.record("dataset", uuid_for("orders"))["data"]["columns"]
        pair.prod.add_dataset(  # somebody made the same there by hand
            "orders",
            database=uuid_for("Warehouse PROD"),
            uuid=uuid_for("orders"),
            schema="main",
            columns=columns,
        )
        for name in ("Revenue", "Regions"):
            pair.prod.add_chart(name, dataset=uuid_for("orders"), uuid=uuid_for(name), params=dict(same))
        edit(pair.prod, "chart", "Regions", by="J. Doe", description="other")
        pair.read(pair.target)

        assert both(pair, "orders") == ("in_sync", "in_sync")
        assert both(pair, "Revenue") == ("in_sync", "in_sync")
        assert both(pair, "Regions") == ("differs", "differs")
        assert state(pair, "Regions").changed_by == "J. Doe"


def test_a_pairing_counts_both_ways_and_what_it_covers_is_nobodys_counterpart_else(
    brought: FakePair, product: Product
) -> None:
    for fake in (brought.dev, brought.prod):
        params = {"query_mode": "raw", "all_columns": ["region"], "row_limit": 7}
        uuid = uuid_for(f"Margin {fake.version} {fake is brought.dev}")
        fake.add_chart("Margin", dataset=uuid_for("orders"), uuid=uuid, params=params)
    here, there = uuid_for("Margin 6.1.0 True"), uuid_for("Margin 6.1.0 False")
    brought.read()
    rows = SyncState.objects.filter(title="Margin", source=brought.source)
    assert sorted(rows.values_list("state", "row")) == [("absent", here), ("only_here", f"~{there}")]

    # Entered the other way round: prod's is dev's.
    pairings.pair(brought.target, brought.source, "chart", there, here, actor=product.admin)
    product.do(Job.objects.get(kind="estate.compare_pair"))
    paired = rows.get()
    assert (paired.source_uuid, paired.target_uuid, paired.state) == (here, there, "in_sync")


def test_a_mapping_that_changed_is_a_difference_at_once_and_back_again(
    brought: FakePair, product: Product
) -> None:
    def mapped(schema: str) -> None:
        entry = {"target": uuid_for("Warehouse PROD"), "schemas": {"main": schema}}
        services.save_mapping(
            brought.source, brought.target, actor=product.admin, databases={uuid_for("Warehouse DEV"): entry}
        )
        product.do(Job.objects.filter(kind="estate.compare_pair").latest("pk"))

    mapped("sales")
    assert both(brought, "orders") == ("behind", "drifted")
    assert state(brought, "orders").sentences == ["schema: main → sales"]
    mapped("")
    mapped("main")
    assert both(brought, "orders") == ("in_sync", "in_sync")


def test_after_an_upgrade_or_with_another_address_all_is_compared_again(brought: FakePair) -> None:
    def digest() -> str:
        states.refresh(brought.target)
        return str(Pair.objects.get().mapping)

    before = digest()
    assert digest() == before
    brought.target.version = "6.2.0"
    brought.target.save()
    upgraded = digest()
    assert upgraded != before
    brought.target.url = "http://prod.test/superset"
    brought.target.save()
    assert digest() not in (before, upgraded)


def test_where_both_ways_are_mapped_the_newer_run_tells_who_moved(
    brought: FakePair, product: Product
) -> None:
    edit(brought.prod, "chart", "Revenue", by="J. Doe", description="theirs")
    product.refresh(brought.target)
    assert both(brought, "Revenue") == ("drifted", "behind")
    product.apply(product.migrate(brought.target, brought.source, [uuid_for("Revenue")]))  # taken back to dev
    product.refresh(brought.source)
    assert both(brought, "Revenue") == ("in_sync", "in_sync")

    edit(brought.dev, "chart", "Revenue", description="and on")
    product.refresh(brought.source)
    # Seen from the first run alone both would have moved.
    assert both(brought, "Revenue") == ("behind", "drifted")


def test_what_could_not_be_read_is_unknown_and_a_reading_that_finds_nothing_writes_nothing(
    brought: FakePair, product: Product, django_assert_max_num_queries: Any
) -> None:
    before = list(SyncState.objects.order_by("pk").values_list("pk", "computed_at"))
    with django_assert_max_num_queries(40):
        states.refresh(brought.source)
    assert list(SyncState.objects.order_by("pk").values_list("pk", "computed_at")) == before

    Asset.objects.filter(environment=brought.target, title="Revenue").update(document=None, comparable="")
    states.refresh(brought.target)
    lost = state(brought, "Revenue")
    assert (lost.state, lost.changes) == ("unknown", 0)
    assert lost.attention >= NEEDS_ATTENTION


def test_looking_at_what_changed_finds_what_looking_at_everything_finds(
    brought: FakePair, product: Product, django_assert_max_num_queries: Any
) -> None:
    """Edits on both sides, one deleted, a base that moved, what nobody was told of, what is not readable."""
    dev, prod = brought.dev, brought.prod
    edit(dev, "chart", "Revenue", description="from dev")
    edit(prod, "chart", "Revenue", description="from prod")
    edit(prod, "dashboard", "Sales", dashboard_title="Sales on prod")
    delete(prod, "chart", "Regions")
    product.refresh(brought.source)
    product.refresh(brought.target)
    Baseline.objects.filter(uuid=uuid_for("Sales")).update(wanted="0" * 64, updated_at=timezone.now())
    Asset.objects.filter(environment=brought.source, title="Revenue").update(title="Unheard")
    Asset.objects.filter(environment=brought.target, kind="dataset").update(document=None, comparable="")
    written = set(SyncState.objects.values_list("pk", "computed_at"))
    states.refresh(brought.source, frozenset())
    some = list(SyncState.objects.order_by("pk").values())
    assert 0 < len(set(SyncState.objects.values_list("pk", "computed_at")) - written) < len(some)
    assert {state(brought, name).state for name in ("Revenue", "Sales")} == {"diverged"}
    assert state(brought, "Revenue").title == "Unheard"

    Baseline.objects.update(updated_at=timezone.now() - timedelta(hours=1))
    with django_assert_max_num_queries(25):
        states.refresh(brought.source, frozenset())
    states.refresh(brought.source)  # everything
    assert list(SyncState.objects.order_by("pk").values()) == some


def test_a_comparison_that_was_overtaken_is_made_again(
    brought: FakePair, monkeypatch: pytest.MonkeyPatch
) -> None:
    Asset.objects.filter(environment=brought.source, title="Revenue").update(title="Late")
    real, calls = states._known, []

    def known(*way: Any) -> Any:
        calls.append(way)
        if len(calls) == 1:  # somebody else writes while this one holds what it has read
            Pair.objects.update(revision=F("revision") + 1)
        return real(*way)

    monkeypatch.setattr(states, "_known", known)
    states.refresh_pair(brought.source, brought.target)
    assert len(calls) == 4
    assert state(brought, "Revenue").title == "Late"


def test_a_third_environment_is_compared_with_both_and_one_never_read_with_none(brought: FakePair) -> None:
    make_environment("stage")
    states.refresh(brought.source)
    assert Pair.objects.count() == 1
    stage = make_environment("stage-2", inventory_at=timezone.now())
    states.refresh(stage)
    assert Pair.objects.count() == 3
    assert set(SyncState.objects.filter(target=stage).values_list("state", flat=True)) == {"absent"}
