"""The client on real Supersets."""

from __future__ import annotations

import json

import pytest

from environments.lab.instance import RunningSuperset
from environments.superset.auth import Auth, PasswordAuth, SessionAuth
from environments.superset.bundle import Bundle
from environments.superset.client import SupersetClient
from environments.superset.errors import SupersetRefused
from tests.live.conftest import LeaseSuperset
from tests.superset.contract import check_contract

pytestmark = pytest.mark.live


def client_of(superset: RunningSuperset, auth: Auth | None = None) -> SupersetClient:
    return SupersetClient(superset.url, auth or PasswordAuth(superset.username, superset.password))


@pytest.mark.parametrize("version", ["6.1.0", "4.1.4"])
def test_the_contract_holds_on_a_real_superset(fresh_target: LeaseSuperset, version: str) -> None:
    superset = fresh_target(version, "prod")
    with client_of(superset) as client:
        check_contract(client, lambda auth: client_of(superset, auth))


def test_everything_of_the_examples_is_listed_and_exported(dev: RunningSuperset) -> None:
    with client_of(dev) as client:
        dashboards, charts, datasets = client.list_dashboards(), client.list_charts(), client.list_datasets()
        assert (len(dashboards), len(charts), len(datasets)) == (9, 103, 21)
        assert len(client.log) == 5  # sign-in, three lists, the second page of the charts
        by_dashboard = client.export_dashboards([row.id for row in dashboards])
        everything = Bundle.merge(
            by_dashboard,
            client.export_charts([row.id for row in charts]),
            client.export_datasets([row.id for row in datasets]),
        )
        assert everything.counts() == {"dashboard": 9, "chart": 103, "dataset": 21, "database": 1}
        assert everything.unresolved() == {}
        assert everything.conflicting == ()
        ids = {
            asset.uuid: asset.source_id for asset in everything.assets.values() if asset.kind != "database"
        }
        listed = {row.uuid: row.id for row in dashboards} | {row.uuid: row.id for row in charts}
        assert ids == listed | {row.uuid: row.id for row in datasets}
        again = Bundle.from_zip(everything.to_zip())
        assert {u: a.data for u, a in again.assets.items()} == {
            u: a.data for u, a in everything.assets.items()
        }


def test_one_export_of_everything_holds_the_same(dev: RunningSuperset) -> None:
    with client_of(dev) as client:
        assert client.export_assets().counts() == {"dashboard": 9, "chart": 103, "dataset": 21, "database": 1}


def test_tokens_that_live_seconds_are_renewed_in_mid_run(fresh_target: LeaseSuperset) -> None:
    superset = fresh_target(contents="prod", settings={"JWT_ACCESS_TOKEN_EXPIRES": 3})
    with client_of(superset) as client:
        for _ in range(3):
            client.list_databases()
            client.auth._good_until = float("inf")  # type: ignore[attr-defined]  # as if our clock had stopped
            client._sleep(3.2)
        client.list_databases()
        statuses = [(line.path.partition("?")[0], line.status) for line in client.log]
    assert ("/api/v1/database/", 401) in statuses
    assert statuses[-1] == ("/api/v1/database/", 200)


def test_an_instance_whose_public_role_may_read_is_recognised_and_a_session_sees_all(
    fresh_target: LeaseSuperset,
) -> None:
    superset = fresh_target(contents="prod")
    with client_of(superset) as client:
        assert client.check().ok
        roles = client._request("GET", "/api/v1/security/roles/", q={"page_size": 100}).json["result"]
        public = next(role["id"] for role in roles if role["name"] == "Public")
        rights = client._request(
            "GET", "/api/v1/security/permissions-resources/", q={"page_size": 1000, "page": 0}
        ).json
        wanted = []
        page = 0
        while True:
            for right in rights["result"]:
                names = (right["permission"]["name"], right["view_menu"]["name"])
                if names == ("can_read", "Database"):
                    wanted.append(right["id"])
            page += 1
            if wanted or not rights["result"]:
                break
            rights = client._request(
                "GET", "/api/v1/security/permissions-resources/", q={"page_size": 1000, "page": page}
            ).json
        client._request(
            "POST", f"/api/v1/security/roles/{public}/permissions", json={"permission_view_menu_ids": wanted}
        )
        report = client.check()
        assert report.problem is not None
        assert report.problem.code == "bearer_ignored"
        assert report.bearer_ignored == ("database",)
        assert client.list_databases() == []  # the trap itself
    with client_of(superset, SessionAuth(superset.username, superset.password)) as session:
        assert session.check().ok
        assert len(session.list_databases()) == 1


def test_a_bundle_that_superset_refuses_changes_nothing(fresh_target: LeaseSuperset) -> None:
    superset = fresh_target(contents="prod")
    with client_of(superset) as client:
        capabilities = json.loads(json.dumps(client.detect().to_dict()))
        assert capabilities["version"] == "6.1.0"
        assert capabilities["sparse_import"] is True
        before = client.export_assets()
        uuid = "c0000000-0000-4000-8000-000000000001"
        with pytest.raises(SupersetRefused) as caught:
            client.import_assets(Bundle.from_assets("assets", [("chart", uuid, {"uuid": uuid})]), sparse=True)
        assert set(caught.value.detail[f"charts/{uuid}.yaml"]) >= {"slice_name", "viz_type", "dataset_uuid"}
        assert "slice_name" in caught.value.message
        after = client.export_assets()
    assert {u: a.data for u, a in after.assets.items()} == {u: a.data for u, a in before.assets.items()}
