"""Companions on real Supersets: what goes with a dashboard and is in no export is read on 6.1.0 and written to 4.1.4,
and back, with other names for users and roles there; a rule for rows filters what another user sees.

Two instances with the feature flags on serve all tests of this module: they change what the first one left.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from environments.canonical.companions import Companion, CompanionKind, withheld
from environments.canonical.documents import Kind
from environments.lab.instance import RunningSuperset
from environments.lab.rest import Rest
from environments.superset.auth import PasswordAuth
from environments.superset.client import SupersetClient
from environments.superset.companions import delete_companion, write_companion
from environments.superset.errors import SupersetRefused
from tests.superset.companion_scene import (
    FLAGS,
    Side,
    check_changes,
    check_it_arrives,
    check_removal,
    furnish,
    furnish_theme,
)

pytestmark = [pytest.mark.live]

PASSWORD = "secret-of-lab"
TABLE = "bart_lines"  # five lines, four of them with an r in their name


def make_side(superset: RunningSuperset, role: str, person: str) -> Side:
    """A dashboard with two charts over a dataset; a user with `role`, which may see all data, and one without it."""
    rest = Rest(superset)
    database = rest.find("database", "database_name", "Warehouse PROD")
    assert database is not None
    dataset, dataset_uuid = rest.add_dataset(database, TABLE, "main")
    numbers, uuids = {"database": database, "dataset": dataset}, {"dataset": dataset_uuid}
    charts = []
    for name in ("Lines", "Colors"):
        chart = rest.add_chart(name, dataset, "table", {"query_mode": "raw", "all_columns": ["name"]})
        numbers[name], uuids[name] = chart
        charts.append(chart)
    numbers["dashboard"], uuids["dashboard"] = rest.add_dashboard("Companions", charts)
    client = SupersetClient(superset.url, PasswordAuth(superset.username, superset.password))
    uuids["database"] = next(row.uuid for row in client.list_databases() if row.id == database)
    rest.add_role(role, [("all_datasource_access", "all_datasource_access")])
    rest.add_user(person, PASSWORD, "Gamma", role)
    rest.add_user("somebody", PASSWORD, "Gamma", "Alpha")
    return Side(client, rest.call, role, person, uuids, numbers)


def rows_seen_by(superset: RunningSuperset, side: Side, username: str) -> int:
    """How many rows of the dataset a user gets."""
    query = {"columns": ["name"], "metrics": [], "row_limit": 1000}
    body = {"datasource": {"id": side.numbers["dataset"], "type": "table"}, "force": True, "queries": [query]}
    answer = Rest(superset, username, PASSWORD).call("POST", "/api/v1/chart/data", body)
    return int(answer["result"][0]["rowcount"])


def test_all_of_it_arrives_on_another_release_and_rows_are_filtered_there(
    module_target: Callable[..., RunningSuperset],
) -> None:
    new = module_target("6.1.0", feature_flags=FLAGS)
    old = module_target("4.1.4", feature_flags=FLAGS)
    source, target = make_side(new, "North", "nora"), make_side(old, "Nord", "otto")
    furnish(source)
    furnish_theme(source)
    assert (rows_seen_by(new, source, "nora"), rows_seen_by(new, source, "somebody")) == (4, 5)
    assert (rows_seen_by(old, target, "otto"), rows_seen_by(old, target, "somebody")) == (5, 5)

    check_it_arrives(source, target)
    assert (rows_seen_by(old, target, "otto"), rows_seen_by(old, target, "somebody")) == (4, 5)
    check_changes(target)
    check_what_is_nobodys(old, target)
    check_removal(target)
    assert rows_seen_by(old, target, "otto") == 5

    # And on the newer one: all goes, themes too, and comes again as it was.
    held = source.read()
    assert not held.unreadable
    check_removal(source)
    assert rows_seen_by(new, source, "nora") == 5
    lookup = source.lookup(source.read())
    kept = {uuid: each for uuid, each in held.documents.items() if not withheld(each)}
    assert len(held.documents) - len(kept) == 1
    for companion in kept.values():
        write_companion(source.client, companion, None, lookup)
    again = source.read()
    assert {uuid: each.body for uuid, each in again.documents.items()} == {
        uuid: each.body for uuid, each in kept.items()
    }
    assert rows_seen_by(new, source, "nora") == 4
    assert {each.kind for each in kept.values()} == set(CompanionKind) - {CompanionKind.ACCESS}
    check_changes(source)
    check_access(new, source)


def check_what_is_nobodys(superset: RunningSuperset, side: Side) -> None:
    """A report is made and changed without owners; a saved query of somebody else, which the account does not see, is
    not replaced by one with its uuid.
    """
    kinds = [CompanionKind.REPORT, CompanionKind.SAVED_QUERY]
    held = side.read(kinds)
    mine = next(one for one in held.documents.values() if one.kind == CompanionKind.REPORT)
    orphan = mine.replace(name="Nobody's", owners=[], active=False)
    for wanted in (orphan, orphan.replace(crontab="5 4 * * *")):
        number = side.read(kinds).ids.get(wanted.uuid)
        write_companion(side.client, wanted, number, side.lookup(side.read(kinds)))
        read = side.read(kinds).documents[wanted.uuid]
        assert (read.body["owners"], read.body["crontab"]) == ([], wanted.body["crontab"])
    delete_companion(side.client, orphan, side.read(kinds).ids[orphan.uuid])

    Rest(superset).add_user("querist", PASSWORD, "Alpha", "sql_lab")
    rest = Rest(superset, "querist", PASSWORD)
    query = {"label": "Theirs", "sql": "select 'theirs'", "schema": "main", "db_id": side.numbers["database"]}
    theirs = int(rest.call("POST", "/api/v1/saved_query/", query)["id"])
    client = SupersetClient(superset.url, PasswordAuth("querist", PASSWORD))
    (file,) = (data for path, data in client.export_saved_query(theirs).other.items() if "queries/" in path)
    assert str(file["uuid"]) not in {str(one.body.get("uuid")) for one in side.read(kinds).documents.values()}
    ours = next(one for one in held.documents.values() if one.kind == CompanionKind.SAVED_QUERY)
    same = ours.replace(uuid=str(file["uuid"]), label="Ours", sql="select 'ours'")
    with pytest.raises(SupersetRefused):
        write_companion(side.client, same, None, side.lookup(held))
    kept = rest.call("GET", f"/api/v1/saved_query/{theirs}")["result"]
    assert (kept["label"], kept["sql"]) == ("Theirs", "select 'theirs'")
    rest.call("DELETE", f"/api/v1/saved_query/{theirs}")


def check_access(superset: RunningSuperset, side: Side) -> None:
    """A role without any rights is given one dataset, and has it taken again."""
    rest = Rest(superset)
    rest.add_role("Reader", [("can_read", "Chart"), ("can_read", "SecurityRestApi")])
    rest.add_user("reader", PASSWORD, "Reader")
    access = Companion.facet(CompanionKind.ACCESS, Kind.DATASET, side.uuids["dataset"], roles=["Reader"])
    lookup = side.lookup(side.read([CompanionKind.ACCESS]))
    with pytest.raises(Exception, match="403"):
        rows_seen_by(superset, side, "reader")
    number = write_companion(side.client, access, None, lookup)
    assert rows_seen_by(superset, side, "reader") > 0
    read: dict[str, Any] = dict(side.read([CompanionKind.ACCESS]).documents)
    assert read == {access.uuid: access}
    delete_companion(side.client, access, number)
    with pytest.raises(Exception, match="403"):
        rows_seen_by(superset, side, "reader")
