"""Connections with tunnels and secrets, on both ends: nothing of them is asked for, kept or touched."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from environments.canonical.documents import Kind, canonical_json
from environments.lab.instance import RunningSuperset
from environments.lab.rest import Rest
from migrations_app import services
from tests.live.plant import Plant, uuid_of, zipped
from tests.live.product import Product, actions, product

pytestmark = [pytest.mark.live]
__all__ = ["product"]

SECRETS = ("canary-tunnel", "canary-url", "canary-extra")


def _import_connection(rest: Rest, name: str, uuid: str, uri: str) -> None:
    """As people restore one: by a file with all of its secrets in it."""
    body = {
        "database_name": name,
        "sqlalchemy_uri": uri,
        "expose_in_sqllab": True,
        "encrypted_extra": '{"credentials_info": {"private_key": "canary-extra"}}',
        "extra": {},
        "ssh_tunnel": {
            "server_address": "127.0.0.1",
            "server_port": 1,
            "username": "somebody",
            "password": "canary-tunnel",
        },
        "uuid": uuid,
        "version": "1.0.0",
    }
    rest.import_assets(zipped({f"databases/{uuid}.yaml": body}))


def _rows(superset: RunningSuperset) -> dict[str, Any]:
    """Connections and tunnels as they stand in Superset's own tables, secrets encrypted."""
    address = re.sub(r"^postgresql\+\w+", "postgresql", superset.metadata_url)
    with psycopg.connect(address) as connection:
        return {
            table: connection.execute(f"select * from {table} order by id").fetchall()
            for table in ("dbs", "ssh_tunnels")
        }


def test_connections_with_tunnels_and_secrets_stay_as_they_are(
    product: Product, fresh_target: Callable[..., RunningSuperset], lab: Any
) -> None:
    flags = {"SSH_TUNNELING": True}
    one, other = (fresh_target(contents="empty", feature_flags=flags) for _ in range(2))
    here, theirs = uuid_of("connection here"), uuid_of("connection there")
    uri = str(lab.postgres_warehouses()["dev"])
    with_secret = re.sub(r"//[^@]+@", "//analyst:canary-url@", uri)
    _import_connection(Rest(one), "Warehouse", here, with_secret)
    _import_connection(Rest(other), "Warehouse", theirs, with_secret)
    plant = Plant(one, here)
    orders = plant.dataset("orders", schema="sales", catalog="dev", columns=["id", "region"])
    chart = plant.chart("Orders", orders)
    plant.dashboard("Sales", [chart])
    plant.grow()
    source, target = product.register("dev", one), product.register("prod", other)
    before = _rows(one), _rows(other)
    assert [len(rows["ssh_tunnels"]) for rows in before] == [1, 1]

    migration = services.create_migration(
        source, target, selection=[uuid_of("Sales")], actor=product.admin, verify=False
    )
    services.save_mapping(source, target, actor=product.admin, databases={here: theirs})
    plan = product.plan(migration)
    # No tunnel leads anywhere here, which the plan says before anything is written.
    assert {problem["code"] for problem in plan.errors} == {"connection_failed"}
    assert actions(plan) == {"orders": "create", "Orders": "create", "Sales": "create"}
    services.update_migration(migration, actor=product.admin, override_reason="the tunnel is not up yet")
    run = product.apply(migration)
    assert run.state == "applied", run.error
    assert (_rows(one), _rows(other)) == before
    after = product.read(target)
    assert after.documents[orders].body["database_uuid"] == theirs
    kept = "".join(
        canonical_json(document.to_json())
        for reading in (product.read(source), after)
        for document in reading.documents.values()
        if document.kind == Kind.DATABASE
    )
    assert not [secret for secret in SECRETS if secret in kept]
    product.apply(product.roll_back(run))
    assert _rows(other)["ssh_tunnels"] == before[1]["ssh_tunnels"]
    assert _rows(other)["dbs"] == before[1]["dbs"]
