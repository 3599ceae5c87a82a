"""An export of saved queries, and what has to become of it; tried over the fake and over a real Superset."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from io import BytesIO
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import pytest
import yaml

from environments.models import Environment
from environments.superset.archives import pack_files
from migrations_app import services
from migrations_app.comparing.uploads import store_upload
from migrations_app.files import sources
from migrations_app.models import Migration
from sstools.errors import Invalid
from tests.live.product import Product

QUERIES = {"Revenue by day": "SELECT 1 AS revenue -- Umsätze 📈", "../Nightly": "SELECT 2 AS nights"}


def exported_queries(database: str, name: str) -> dict[str, bytes]:
    """What saved_query/export gives (superset/commands/query/export.py), over a connection of that name."""
    root = "saved_query_export_20260101T000000"
    files: dict[str, Any] = {
        "metadata.yaml": {"version": "1.0.0", "type": "SavedQuery", "timestamp": "2026-01-01T00:00:00+00:00"},
        f"databases/{name.replace(' ', '_')}.yaml": {
            "database_name": name,
            "sqlalchemy_uri": "sqlite:///dev.db",
            "uuid": database,
            "extra": {},
            "version": "1.0.0",
        },
    }
    for number, (label, sql) in enumerate(QUERIES.items()):
        files[f"queries/{name.replace(' ', '_')}/query_{number}.yaml"] = {
            "schema": "main",
            "catalog": None,
            "label": label,
            "description": "",
            "sql": sql,
            "uuid": str(uuid5(NAMESPACE_URL, label)),
            "version": "1.0.0",
            "database_uuid": database,
        }
    return {
        f"{root}/{path}": yaml.safe_dump(data, allow_unicode=True, sort_keys=False).encode()
        for path, data in files.items()
    }


def check_queries_of_a_file(
    product: Product, target: Environment, files: Mapping[str, bytes], there: Callable[[], dict[str, str]]
) -> Migration:
    """Upload, plan, map, plan, apply, look, roll back. `there`: label -> SQL of what the target has, asked past
    ss-tools. Gives the migration that brought them.
    """
    before = there()
    broken = {path: data.replace(b"\nuuid: ", b"\nother: ") for path, data in files.items()}
    with pytest.raises(Invalid) as refused:
        store_upload(BytesIO(pack_files(broken)), "broken.zip", actor=product.admin)
    assert "uuid" in refused.value.message
    bundle = store_upload(BytesIO(pack_files(dict(files))), "queries.zip", actor=product.admin)
    migration = sources.create_migration(bundle, target, actor=product.admin)
    plan = product.plan(migration)
    # Nothing is guessed: until its connection is mapped a query is named and stays behind.
    assert {(item.title, item.action) for item in plan.companions.all()} == {
        (label, "leave_out") for label in QUERIES
    }
    assert all("not mapped" in item.reason for item in plan.companions.all())
    (row,) = plan.databases
    assert row["target"] == ""
    (choice,) = [one for one in row["choices"] if one["name"] == "Warehouse PROD"]
    services.save_mapping(None, target, actor=product.admin, databases={row["uuid"]: choice["uuid"]})
    plan = product.plan(migration)
    assert {(item.title, item.action) for item in plan.companions.all()} == {
        (label, "create") for label in QUERIES
    }
    run = product.apply(migration)
    assert run.state == "applied", run.error
    assert there() == {**before, **QUERIES}
    again = sources.create_migration(bundle, target, actor=product.admin)
    assert product.plan(again).write_count == 0
    product.apply(product.roll_back(run))
    assert there() == before
    return migration
