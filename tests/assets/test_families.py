"""The same asset on several environments, and who decides which is which."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from environments.canonical.documents import Kind
from environments.models import Asset, GoneAsset
from migrations_app import pairings
from migrations_app.assets.families import find_family
from migrations_app.models import Pairing
from sstools.audit.models import AuditEvent
from sstools.errors import Invalid, NotAllowed
from tests.factories import make_asset, uuid_for

from .conftest import FIRST, World, chart_document

pytestmark = pytest.mark.django_db


def twin(world: World, title: str = "Revenue by month") -> Asset:
    """The same chart made by hand on prod: another uuid."""
    Asset.objects.filter(environment=world.prod, uuid=uuid_for(title)).delete()
    document = chart_document(title, uuid_for("sales_fact"), uuid_for("made by hand"), groupby=["region"])
    return world.add(world.prod, document, viz_type="table")


def family(world: World, uuid: str, kind: Kind = Kind.CHART) -> Any:
    return find_family(kind, uuid, [world.dev, world.stage, world.prod])


def test_one_uuid_is_one_asset_and_its_key_is_what_was_seen_first(world: World) -> None:
    found = family(world, uuid_for("Sales overview"), Kind.DASHBOARD)
    assert [member.is_there for member in found.members] == [True, True, True]
    assert found.key == uuid_for("Sales overview")
    assert found.reference().environment == world.dev
    assert found.reference("prod").environment == world.prod
    assert family(world, uuid_for("nothing")) is None
    assert family(world, uuid_for("Sales overview")) is None  # no chart has it


def test_a_pairing_joins_two_uuids_both_ways_and_its_removal_parts_them(world: World, author: Any) -> None:
    other = twin(world)
    one = uuid_for("Revenue by month")
    assert not family(world, one).by_slug["prod"].is_there
    row = pairings.pair(world.dev, world.prod, "chart", one, other.uuid, actor=author)
    for uuid in (one, other.uuid):
        found = family(world, uuid)
        assert found.key == one
        assert found.by_slug["prod"].uuid == other.uuid
        assert found.by_slug["prod"].pairing == row
    assert pairings.pairs_between(world.dev, world.prod) == {one: other.uuid}
    assert pairings.pairs_between(world.prod, world.dev) == {other.uuid: one}
    assert pairings.pairs_between(world.dev, world.stage) == {}
    assert row is not None
    pairings.unpair(row, actor=author)
    assert not family(world, one).by_slug["prod"].is_there
    actions = list(AuditEvent.objects.order_by("number").values_list("action", "actor_name"))
    assert actions == [("pairing:set", "author"), ("pairing:remove", "author")]


def test_changing_a_pairing_takes_the_old_one_away_in_either_direction(world: World, author: Any) -> None:
    other = twin(world)
    third = make_asset(world.prod, "chart", "Revenue by month (copy)")
    one = uuid_for("Revenue by month")
    pairings.pair(world.prod, world.dev, "chart", other.uuid, one, actor=author)
    pairings.pair(world.dev, world.prod, "chart", one, third.uuid, actor=author)
    assert Pairing.objects.count() == 1
    assert pairings.pairs_between(world.prod, world.dev) == {third.uuid: one}
    event = AuditEvent.objects.latest("number")
    assert event.data["before"][0]["source_uuid"] == other.uuid
    assert event.data["after"] == {"source_uuid": one, "target_uuid": third.uuid}
    pairings.pair(world.dev, world.prod, "chart", one, third.uuid, actor=author)  # again: nothing happens
    assert AuditEvent.objects.count() == 2


def test_the_same_uuid_needs_no_pairing_and_an_asset_that_is_paired_away_is_another(
    world: World, author: Any
) -> None:
    one = uuid_for("Top regions")
    other = make_asset(world.prod, "chart", "Top regions, new")
    pairings.pair(world.dev, world.prod, "chart", one, other.uuid, actor=author)
    found = family(world, one)
    assert found.by_slug["prod"].uuid in (one, other.uuid)  # stage still says that prod's namesake is it
    assert {found.by_slug["prod"].uuid, *found.by_slug["prod"].others} == {one, other.uuid}
    assert pairings.pair(world.dev, world.prod, "chart", one, one, actor=author) is None
    assert not Pairing.objects.exists()


def test_what_cannot_be_paired_is_refused(world: World, author: Any, viewer: Any) -> None:
    one = uuid_for("Top regions")
    for arguments, code in (
        ((world.dev, world.dev, "chart", one, one), "same_environment"),
        ((world.dev, world.prod, "database", one, one), "wrong_kind"),
        ((world.dev, world.prod, "chart", one, uuid_for("nothing")), "unknown_asset"),
    ):
        with pytest.raises(Invalid) as refused:
            pairings.pair(*arguments, actor=author)
        assert refused.value.code == code
    with pytest.raises(NotAllowed):
        pairings.pair(world.dev, world.prod, "chart", one, one, actor=viewer)
    assert not AuditEvent.objects.filter(action="pairing:set").exists()


def test_others_are_told_after_a_change(
    world: World, author: Any, monkeypatch: Any, django_capture_on_commit_callbacks: Any
) -> None:
    told: list[Any] = []

    def broken(*arguments: Any) -> None:
        raise RuntimeError("no reason")

    monkeypatch.setattr(pairings, "_receivers", [broken])
    pairings.after_change(lambda source, target, assets: told.append((source.slug, target.slug, assets)))
    other = twin(world)
    one = uuid_for("Revenue by month")
    with django_capture_on_commit_callbacks(execute=True):
        pairings.pair(world.dev, world.prod, "chart", one, other.uuid, actor=author)
    assert told == [("dev", "prod", {("chart", one), ("chart", other.uuid)})]


def test_what_is_gone_is_still_known(world: World) -> None:
    gone = uuid_for("Long ago")
    GoneAsset.objects.create(
        environment=world.prod,
        kind="chart",
        uuid=gone,
        title="Long ago",
        last_seen_at=FIRST,
        gone_at=FIRST,
    )
    found = family(world, gone)
    assert found.is_gone
    assert found.title == "Long ago"
    assert found.reference() is None


def test_plans_use_what_a_person_paired(world: World, author: Any) -> None:
    from migrations_app.mappings import asset_mapping

    other = twin(world)
    one = uuid_for("Revenue by month")
    pairings.pair(world.prod, world.dev, "chart", other.uuid, one, actor=author)
    document = chart_document("x", "y", other.uuid)
    assert asset_mapping(world.dev, world.prod, {other.uuid: document}).pairs == {one: other.uuid}


def test_another_uuid_leads_to_the_first_seen_with_tab_and_query(
    world: World, author: Any, signed_in: Callable[[Any], Client]
) -> None:
    other = twin(world)
    one = uuid_for("Revenue by month")
    pairings.pair(world.dev, world.prod, "chart", one, other.uuid, actor=author)
    answer = signed_in(author).get(f"/charts/{other.uuid.upper()}/graph/?env=prod")
    assert (answer.status_code, answer["Location"]) == (302, f"/charts/{one}/graph/?env=prod")
