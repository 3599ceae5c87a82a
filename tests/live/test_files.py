"""Files that other tools made, on a real Superset 6.1.0: a tree of preset-cli is brought, a damaged one audited."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest

from environments.canonical.comparison import comparison_fingerprint
from environments.canonical.documents import Kind
from environments.lab.instance import RunningSuperset
from environments.lab.rest import Rest
from environments.superset.archives import archive_files, pack_files
from environments.superset.auth import PasswordAuth
from environments.superset.client import SupersetClient
from migrations_app import services
from migrations_app.comparing.uploads import store_upload
from migrations_app.files import services as audits
from migrations_app.files import sources
from migrations_app.files.reading import documents_of, tree_of
from tests.files.damage import DATABASE, DATASET, SECRET, changed, damaged, tree_files
from tests.files.queries import QUERIES, check_queries_of_a_file
from tests.live.product import Product, fingerprints, product

pytestmark = [pytest.mark.live]
__all__ = ["product"]

Lease = Callable[..., RunningSuperset]


def test_a_tree_of_preset_cli_is_planned_applied_verified_and_rolled_back_and_a_damaged_one_audited(
    product: Product, fresh_target: Lease
) -> None:
    """The tree is the Slack dashboard of dev with all it stands on; the target's warehouse has the same tables."""
    target = product.register("prod", fresh_target())
    before = product.read(target)
    data = pack_files(tree_files())
    file = store_upload(BytesIO(data), "slack.zip", actor=product.admin)
    migration = sources.create_migration(
        file, target, actor=product.admin, databases={"examples": "Warehouse PROD"}
    )
    product.do(services.request_plan(migration, actor=product.admin))
    migration.refresh_from_db()
    assert migration.plan is not None
    assert migration.plan.counts["create"] == 17, migration.plan.problems

    run = product.apply(migration)

    assert run.state == "applied", run.error
    verdicts = {verdict.title: (verdict.status, verdict.reason) for verdict in run.verdicts.all()}
    assert len(verdicts) == 9
    assert {status for status, _ in verdicts.values()} <= {"ok", "not_checkable"}, verdicts
    assert sum(status == "ok" for status, _ in verdicts.values()) >= 8, verdicts
    there = product.read(target)
    ours = documents_of(tree_of(data)).documents
    for uuid, document in ours.items():
        if document.kind in (Kind.CHART, Kind.DASHBOARD):
            assert comparison_fingerprint(there.documents[uuid]) == comparison_fingerprint(document), (
                document.title
            )

    # Of what is there now only the connection is another one; a plain import would stumble over its datasets.
    found = _audit(product, target, tree_files())
    assert {one["code"] for one in found} == {"connection_new", "dataset_moved"}
    files, planted = damaged()
    changed(files, DATABASE, lambda data: data.update(database_name="Warehouse PROD"))
    found = _audit(product, target, files)
    named = {(one["code"], one["path"]) for one in found}
    assert planted | {("connection_hijacked", DATABASE)} <= named, planted - named
    assert SECRET not in str(found)
    hijacked = next(one for one in found if one["code"] == "connection_hijacked")
    assert files[DATABASE].decode().splitlines()[hijacked["line"] - 1].startswith("database_name:")
    assert any(one["path"] == DATASET for one in found)
    assert fingerprints(product.read(target)) == fingerprints(there)  # an audit writes nothing

    product.apply(product.roll_back(run))
    assert fingerprints(product.read(target)) == fingerprints(before)


def test_an_export_of_saved_queries_is_brought_and_taken_back(product: Product, fresh_target: Lease) -> None:
    source, superset = fresh_target(), fresh_target("5.0.0")
    rest = Rest(source)
    (database,) = rest.call("GET", "/api/v1/database/")["result"]
    for label, sql in QUERIES.items():
        body = {"label": label, "sql": sql, "schema": "main", "description": "", "db_id": database["id"]}
        rest.call("POST", "/api/v1/saved_query/", body)
    with SupersetClient(source.url, PasswordAuth(source.username, source.password)) as client:
        files: dict[str, bytes] = {}
        for row in client.list_rows("saved_query", ("id",)):
            found = archive_files(client.export_saved_query(row["id"]).to_zip())
            files |= {path: data for path, data in found.items() if path not in files}
    there = Rest(superset)

    def queries() -> dict[str, str]:
        return {row["label"]: row["sql"] for row in there.call("GET", "/api/v1/saved_query/")["result"]}

    check_queries_of_a_file(product, product.register("prod", superset), files, queries)


def _audit(product: Product, target: Any, files: dict[str, bytes]) -> list[dict[str, Any]]:
    row = audits.request_audit(pack_files(files), "tree.zip", target, actor=product.admin)
    assert row.job is not None
    product.do(row.job)
    row.refresh_from_db()
    return list(row.findings)
