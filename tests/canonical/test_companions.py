"""Companions: keys, what they name, and exchanging it."""

from __future__ import annotations

from typing import Any

import pytest

from environments.canonical.companions import (
    FACETS,
    Companion,
    CompanionKind,
    companion_uuid,
    comparable,
    mapped,
    person_key,
    person_name,
)
from environments.canonical.documents import Kind

ADA = {"username": "ada", "email": "Ada@Example.org", "first_name": "Ada", "last_name": "Lovelace"}
BOB = {"username": None, "email": "bob@example.org", "first_name": "Bob", "last_name": ""}
ORDERS, CHART, BOARD = "d-orders", "c-sales", "b-sales"

BODIES: dict[CompanionKind, dict[str, Any]] = {
    CompanionKind.RLS: {
        "name": "Own region", "description": "", "filter_type": "Regular", "clause": "region = 'N'", "group_key": None,
        "tables": [ORDERS], "roles": ["Sales"],
    },
    CompanionKind.SAVED_QUERY: {"uuid": "q-1", "label": "All", "sql": "select 1", "database": "w-1"},
    CompanionKind.REPORT: {
        "type": "Alert", "name": "Daily", "active": True, "dashboard": BOARD, "chart": None, "database": "w-1",
        "recipients": [], "owners": [ADA],
    },
}  # fmt: skip


def facet(kind: CompanionKind, **body: Any) -> Companion:
    return Companion.facet(kind, FACETS[kind][-1], BOARD, **body)


def test_the_same_thing_has_the_same_uuid_everywhere_and_other_things_have_others() -> None:
    one, other = (
        Companion.of(CompanionKind.RLS, BODIES[CompanionKind.RLS]),
        facet(CompanionKind.OWNERS, users=[ADA]),
    )
    assert (
        one.uuid == companion_uuid(CompanionKind.RLS, "Own region") == "2bda9336-6981-5000-8600-4ec9fc4b702b"
    )
    assert other.uuid == facet(CompanionKind.OWNERS, users=[BOB]).uuid
    assert other.fingerprint != facet(CompanionKind.OWNERS, users=[BOB]).fingerprint
    assert one.replace(name="Own shop").uuid != one.uuid
    assert Companion.from_json(one.to_json()) == one
    uuids = {companion_uuid(kind, "same") for kind in CompanionKind}
    assert len(uuids) == len(CompanionKind)


def test_what_a_companion_names() -> None:
    rule = Companion.of(CompanionKind.RLS, BODIES[CompanionKind.RLS])
    assert (rule.assets, rule.roles, rule.asset) == ({(Kind.DATASET, ORDERS)}, ("Sales",), None)
    report = Companion.of(CompanionKind.REPORT, BODIES[CompanionKind.REPORT])
    assert report.assets == {(Kind.DASHBOARD, BOARD), (Kind.DATABASE, "w-1")}
    assert report.people == (ADA,)
    layers = [
        {"name": "f", "annotationType": "FORMULA", "value": "1"},
        {"name": "holidays", "sourceType": "NATIVE", "value": {"annotation_layer": "Holidays"}},
        {"name": "other", "sourceType": "line", "value": {"chart": CHART}},
    ]
    use = Companion.facet(CompanionKind.ANNOTATION_USE, Kind.CHART, "c-9", layers=layers)
    assert use.assets == {(Kind.CHART, "c-9"), (Kind.CHART, CHART)}
    assert use.needs == {companion_uuid(CompanionKind.ANNOTATION_LAYER, "Holidays")}


def test_everything_that_is_named_can_be_exchanged() -> None:
    rule = mapped(
        Companion.of(CompanionKind.RLS, BODIES[CompanionKind.RLS]),
        assets={ORDERS: "d-there"},
        role={"Sales": "Vertrieb"}.get,
    )
    assert (rule.body["tables"], rule.body["roles"]) == (["d-there"], ["Vertrieb"])
    owners = mapped(
        facet(CompanionKind.OWNERS, users=[ADA, BOB]), assets={BOARD: "b-2"}, person=lambda who: BOB
    )
    assert owners.asset == (Kind.DASHBOARD, "b-2")
    assert owners.body["users"] == [BOB]
    assert owners.uuid == companion_uuid(CompanionKind.OWNERS, "dashboard:b-2")
    report = mapped(
        Companion.of(CompanionKind.REPORT, BODIES[CompanionKind.REPORT]),
        assets={BOARD: "b-2"},
        person=lambda _: None,
    )
    assert (report.body["dashboard"], report.body["chart"], report.body["owners"]) == ("b-2", None, [])


def test_people_are_told_apart_by_their_address() -> None:
    assert person_key(ADA) == "ada@example.org"
    assert person_key({**ADA, "email": None}) == "ada"
    assert person_name(ADA) == "Ada Lovelace (Ada@Example.org)"
    assert person_name({"first_name": "Eve"}) == "Eve"
    here, there = (
        facet(CompanionKind.OWNERS, users=[ADA]),
        facet(CompanionKind.OWNERS, users=[{**ADA, "username": None}]),
    )
    assert here.fingerprint != there.fingerprint
    assert comparable(here) == comparable(there)


@pytest.mark.parametrize("kind", CompanionKind)
def test_every_kind_is_a_facet_or_has_a_key_of_its_own(kind: CompanionKind) -> None:
    if kind in FACETS:
        assert facet(kind, roles=[], theme={"uuid": "t", "is_system": False}, layers=[]).asset is not None
    else:
        body = {"name": "n", "uuid": "u", "type": "Alert", "tables": [], "roles": []}
        assert Companion.of(kind, body).asset is None
