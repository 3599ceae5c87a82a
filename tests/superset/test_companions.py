"""Companions on the fake; tests/live/test_companions.py does the same on real Supersets."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from environments.canonical.companions import Companion, CompanionKind, withheld
from environments.canonical.documents import Kind
from environments.superset.companions import list_people, list_roles, read_companions, write_companion
from environments.superset.errors import AmbiguousWrite, SupersetRefused
from tests.fakes.superset import FakeSuperset
from tests.superset.companion_scene import (
    FLAGS,
    Side,
    check_changes,
    check_it_arrives,
    check_removal,
    furnish,
    furnish_theme,
)
from tests.superset.helpers import client_of


def make_side(version: str, role: str, person: str, first_id: int) -> tuple[FakeSuperset, Side]:
    fake = FakeSuperset(version, first_id=first_id)
    fake.feature_flags = dict(FLAGS)
    fake.add_role(role)
    fake.add_user(person)
    database = fake.add_database("Warehouse")
    dataset = fake.add_dataset("bart_lines", database=database)
    charts = {name: fake.add_chart(name, dataset=dataset) for name in ("Lines", "Colors")}
    dashboard = fake.add_dashboard("Companions", charts=list(charts.values()))
    uuids = {"database": database, "dataset": dataset, "dashboard": dashboard, **charts}
    kinds = {"database": "database", "dataset": "dataset", "dashboard": "dashboard"}
    numbers = {name: fake.id_of(kinds.get(name, "chart"), uuid) for name, uuid in uuids.items()}
    client = client_of(fake)

    def call(method: str, path: str, body: Any = None) -> dict[str, Any]:
        found: dict[str, Any] = client._request(method, path, json=body).json
        return found

    return fake, Side(client, call, role, person, uuids, numbers)


@pytest.mark.parametrize(("old", "new"), [("6.1.0", "4.1.4"), ("4.1.4", "6.1.0"), ("6.1.0", "6.0.0")])
def test_everything_arrives_is_changed_and_goes(old: str, new: str) -> None:
    _, source = make_side(old, "North", "nora", 100)
    fake, target = make_side(new, "Nord", "otto", 900)
    furnish(source)
    if old != "4.1.4":
        furnish_theme(source)
    empty = fake.companion_state()
    after = check_it_arrives(source, target)
    has_themes = "4.1.4" not in (old, new)
    assert (CompanionKind.THEME_USE in {each.kind for each in after.documents.values()}) == has_themes
    check_changes(target)
    check_removal(target)
    left = fake.companion_state()
    assert left["facets"] == empty["facets"]


def scene(version: str = "6.1.0") -> tuple[FakeSuperset, Side]:
    fake, side = make_side(version, "North", "nora", 100)
    furnish(side)
    return fake, side


def test_only_what_has_to_do_with_a_selection_is_read() -> None:
    fake, side = scene()
    other = fake.add_dashboard("Other", charts=[])
    fake.record("dashboard", other)["owners"] = [1]
    for name, asset, expected in (
        ("the dashboard alone", "dashboard", {"owners", "roles", "tags", "tag", "embedded", "report"}),
        ("its chart", "Lines", {"annotation_use", "annotation_layer", "report"}),
        ("its dataset", "dataset", {"owners", "rls"}),
        ("the connection", "database", {"saved_query"}),
    ):
        read = side.read(assets=[side.uuids[asset]])
        assert {companion.kind.value for companion in read.documents.values()} == expected, name
    assert side.read(assets=[]).documents == {}


def test_what_a_superset_lacks_is_a_reason_and_no_error() -> None:
    fake, side = make_side("4.1.4", "North", "nora", 100)
    fake.feature_flags = {"ALERT_REPORTS": False, "TAGGING_SYSTEM": False, "EMBEDDED_SUPERSET": True}
    side.client.detect()
    read = side.read()
    reasons = {kind.value: text for kind, text in read.unreadable.items()}
    assert reasons == {
        "tag": "Tags are off in this Superset (feature flag TAGGING_SYSTEM).",
        "tags": "Tags of assets are off in this Superset (feature flag TAGGING_SYSTEM).",
        "theme": "Themes came with Superset 6.0; this one is 4.1.4.",
        "theme_use": "Themes of dashboards came with Superset 6.0; this one is 4.1.4.",
        "report": "Alerts and reports are off in this Superset (feature flag ALERT_REPORTS).",
        "access": "Access by role cannot be read: this Superset does not offer them.",
    }
    assert read.kinds == set(CompanionKind) - set(read.unreadable)
    tags = Companion.facet(CompanionKind.TAGS, Kind.DASHBOARD, side.uuids["dashboard"], tags=["x"])
    with pytest.raises(SupersetRefused) as refused:
        write_companion(side.client, tags, None, side.lookup(read))
    assert refused.value.code == "unsupported_version"
    fake.role = "Gamma"
    read = side.read([CompanionKind.RLS, CompanionKind.OWNERS])
    assert read.unreadable == {
        CompanionKind.RLS: "Rules for rows cannot be read: the account lacks the right "
        "(can_write on Row Level Security)."
    }


def test_people_are_found_with_and_without_the_security_api() -> None:
    for version in ("4.1.4", "6.1.0"):
        fake, side = make_side(version, "North", "nora", 100)
        people = list_people(side.client)
        nora = people.find({"email": "NORA@example.com"})
        assert nora is not None
        assert nora.email == "nora@example.com"
        assert nora.username == (None if version == "4.1.4" else "nora")
        assert people.find({"username": "nora", "email": None}) == (None if version == "4.1.4" else nora)
        assert people.find({"email": ""}) is None
        assert list_roles(side.client)["North"] == fake.role_ids["North"]
        for number in range(240):
            fake.add_user(f"user{number}")
        assert len(list_people(side.client).users) == 242


@pytest.mark.parametrize(
    ("kind", "body", "code"),
    [
        (
            "owners",
            {"users": [{"username": None, "email": "x@y", "first_name": "X", "last_name": ""}]},
            "unknown_user",
        ),
        ("roles", {"roles": ["Nobody"]}, "unknown_role"),
        ("annotation_use", {"layers": [{"value": {"annotation_layer": "Nothing"}}]}, "unknown_layer"),
        ("annotation_use", {"layers": [{"value": {"chart": "gone"}}]}, "unknown_asset"),
        ("theme_use", {"theme": {"uuid": "u", "name": "Gone", "is_system": False}}, "unknown_theme"),
    ],
)
def test_what_is_not_there_is_said_before_anything_is_written(kind: str, body: Any, code: str) -> None:
    fake, side = scene()
    before, writes = fake.companion_state(), len(fake.writes)
    name, of = ("Lines", Kind.CHART) if kind == "annotation_use" else ("dashboard", Kind.DASHBOARD)
    facet = Companion.facet(CompanionKind(kind), of, side.uuids[name], **body)
    with pytest.raises(SupersetRefused) as refused:
        write_companion(side.client, facet, None, side.lookup(side.read()))
    assert refused.value.code == code
    assert "Nothing was written" in refused.value.message
    assert fake.companion_state() == before
    assert len(fake.writes) == writes


def test_a_webhook_is_never_read_and_never_lost() -> None:
    fake, side = scene()
    held = next(row for row in fake.objects["report"].values() if row["type"] == "Alert")
    held["recipients"].append(
        {"type": "Webhook", "recipient_config_json": {"target": "https://hooks.example.org/2"}}
    )
    read = side.read([CompanionKind.REPORT])
    assert "hidden-key" not in repr(read)
    alert = next(report for report in read.documents.values() if report.body["type"] == "Alert")
    assert withheld(alert) == ("https://hooks.example.org/…", "https://hooks.example.org/…")
    write_companion(side.client, alert.replace(crontab="2 2 2 2 2"), read.ids[alert.uuid], side.lookup(read))
    assert held["crontab"] == "2 2 2 2 2"
    targets = [item["recipient_config_json"]["target"] for item in held["recipients"]]
    assert targets == [
        "boss@example.com",
        "https://hooks.example.org/services/T0/hidden-key",
        "https://hooks.example.org/2",
    ]
    with pytest.raises(SupersetRefused, match="was never read"):
        write_companion(side.client, alert.replace(name="Another"), None, side.lookup(read))


def test_an_older_superset_cannot_take_all_recipients_and_says_so() -> None:
    fake, side = scene("6.0.0")
    read, before = side.read([CompanionKind.REPORT]), fake.companion_state()
    for report in read.documents.values():
        with pytest.raises(SupersetRefused, match="cannot take all recipients"):
            write_companion(
                side.client, report.replace(recipients=[]), read.ids[report.uuid], side.lookup(read)
            )
    assert fake.companion_state() == before
    assert read.documents


def test_what_is_deleted_while_it_is_read_is_not_there_and_the_rest_is() -> None:
    fake, side = scene()
    gone = httpx.Response(404, json={"message": "Not found"})
    queries = CompanionKind.SAVED_QUERY
    for path, kind in (("report/", CompanionKind.REPORT), ("saved_query/export/", queries)):
        number = next(iter(fake.objects[path.split("/")[0]]))
        address = f"/api/v1/{path}{number}" if kind != queries else f"/api/v1/{path}"
        before = side.read([kind])
        fake.misbehave("GET", address, gone)
        read = side.read([kind])
        assert len(read.documents) == len(before.documents) - 1
        assert not read.unreadable


def test_a_rule_keeps_protecting_what_the_account_does_not_see() -> None:
    fake, side = scene()
    hidden = fake.add_dataset("salaries", database=side.uuids["database"])
    number = fake.id_of("dataset", hidden)
    (row,) = fake.objects["rowlevelsecurity"].values()
    row["tables"].append(number)
    seen = {key: held for key, held in fake.assets["dataset"].items() if key != number}
    everything, fake.assets["dataset"] = fake.assets["dataset"], seen
    fake.hidden_datasets = {number: everything[number]}
    read = side.read([CompanionKind.RLS])
    (rule,) = read.documents.values()
    assert rule.body["tables"] == [side.uuids["dataset"]]
    assert [note.code for note in read.notes] == ["unresolved_id"]
    write_companion(side.client, rule.replace(clause="1 = 0"), read.ids[rule.uuid], side.lookup(read))
    assert (row["clause"], row["tables"]) == ("1 = 0", [side.numbers["dataset"], number])


@pytest.mark.parametrize(
    "row", [{"id": 1}, {"id": 1, "name": "x", "tables": 7}, {"id": 1, "name": "x", "tables": [None]}]
)
def test_an_answer_in_another_form_is_a_reason_and_hides_nothing_else(row: dict[str, Any]) -> None:
    fake, side = scene()
    odd = httpx.Response(200, json={"count": 1, "result": [row]})
    fake.misbehave("GET", "/api/v1/rowlevelsecurity/", odd, times=None)
    read = side.read([CompanionKind.RLS, CompanionKind.ROLES])
    assert "not in Superset's form" in read.unreadable[CompanionKind.RLS]
    assert read.kinds == {CompanionKind.ROLES}
    assert len(read.documents) == 1


def test_a_success_without_an_id_is_not_believed() -> None:
    fake, side = scene()
    read = side.read([CompanionKind.RLS])
    (rule,) = read.documents.values()
    fake.misbehave("POST", "/api/v1/rowlevelsecurity/", httpx.Response(200, json={"message": "hello"}))
    with pytest.raises(AmbiguousWrite):
        write_companion(side.client, rule.replace(name="Second"), None, side.lookup(read))


def test_an_answer_that_is_lost_is_not_asked_for_again() -> None:
    fake, side = scene()
    read = side.read([CompanionKind.RLS])
    (rule,) = read.documents.values()
    fake.misbehave("POST", "/api/v1/rowlevelsecurity/", "reset_after")
    with pytest.raises(AmbiguousWrite):
        write_companion(side.client, rule.replace(name="Second"), None, side.lookup(read))
    assert len(fake.objects["rowlevelsecurity"]) == 2


def test_access_by_role_is_given_and_taken_for_one_asset_only() -> None:
    fake, side = make_side("6.1.0", "North", "nora", 100)
    fake.add_role("South")
    other = fake.add_dataset("other", database=side.uuids["database"])
    theirs = f"[fake].[other](id:{fake.id_of('dataset', other)})"
    fake.grants = {"South": {theirs}, "North": {f"[fake].[bart_lines](id:{side.numbers['dataset']})"}}
    read = side.read([CompanionKind.ACCESS], assets=[side.uuids["dataset"]])
    (access,) = read.documents.values()
    assert (access.body["roles"], access.asset) == (["North"], (Kind.DATASET, side.uuids["dataset"]))
    number = write_companion(side.client, access.replace(roles=["South"]), None, side.lookup(read))
    assert number == side.numbers["dataset"]
    assert fake.grants == {"North": set(), "South": {theirs, f"[fake].[bart_lines](id:{number})"}}


def test_requests_are_counted_and_few() -> None:
    fake, side = scene()
    for number in range(250):
        fake.add_chart(f"More {number}", dataset=side.uuids["dataset"])
    side.read([])  # signed in
    read = read_companions(
        side.client, [CompanionKind.OWNERS, CompanionKind.ROLES, CompanionKind.TAGS], side.ids
    )
    assert read.requests == 3 + 1 + 1 + 1  # pages of charts, dashboards, datasets, people


def test_a_report_without_owners_is_made_without_and_no_query_of_others_is_replaced() -> None:
    fake, side = scene()
    read = side.read([CompanionKind.REPORT, CompanionKind.SAVED_QUERY])
    report = next(one for one in read.documents.values() if one.kind == CompanionKind.REPORT)
    kept = [one for one in report.body["recipients"] if not one.get("withheld")]
    fresh = report.replace(name="Nobody's", owners=[], recipients=kept)
    number = write_companion(side.client, fresh, None, side.lookup(read))
    assert fake.objects["report"][int(number)]["owners"] == []
    query = next(one for one in read.documents.values() if one.kind == CompanionKind.SAVED_QUERY)
    before = fake.companion_state()
    with pytest.raises(SupersetRefused):
        write_companion(side.client, query.replace(sql="select 2"), None, side.lookup(read))
    assert fake.companion_state() == before
