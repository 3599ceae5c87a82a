"""One bundle with everything in it that goes wrong in somebody's hands, and what has to become of each thing.

Tried over the fake Superset on every change (test_hostile.py) and over a real one (tests/live/test_hostile_bundle.py).
"""

from __future__ import annotations

from io import BytesIO
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import pytest
import yaml

from environments.canonical.comparison import comparison_fingerprint
from environments.canonical.documents import Kind, canonical_json
from environments.models import Environment
from environments.superset.archives import pack_files
from migrations_app import services
from migrations_app.comparing.models import UploadedBundle
from migrations_app.comparing.uploads import store_upload
from migrations_app.engine.mapping import AssetMapping, DatabaseTarget, in_target_terms
from migrations_app.files import services as audits
from migrations_app.files import sources
from migrations_app.files.reading import documents_of, tree_of
from migrations_app.models import Plan
from sstools.errors import Invalid
from tests.live.plant import grid
from tests.live.product import Product, fingerprints

NAMES = (
    "../../etc/passwd",
    "a/b\\c: d?* <e>",
    "CON",
    "null",
    "1e5",
    "{{ jinja }} {% raw %} ⟦chart:x⟧",
    "Ünïcödé 漢字 العربية 🧑‍🚀🏳️‍🌈",
)
SECRETS = ("canary-url", "canary-tunnel", "canary-key", "canary-extra")
BIG = 5_000_000  # characters of the large layout; the fake writes its YAML with Python alone, and gets less
COUNT = {"expressionType": "SQL", "sqlExpression": "COUNT(*)", "label": "n"}


def uid(name: str) -> str:
    return str(uuid5(NAMESPACE_URL, f"hostile {name}"))


def hostile_files(table: str, columns: list[str], big: int = BIG) -> dict[str, bytes]:
    """A tree over the table `main.<table>` that the target's connections have."""
    assets: dict[str, dict[str, Any]] = {}

    def put(folder: str, name: str, **body: Any) -> str:
        # Names of files are like those of people: some would lead elsewhere, some are names of devices.
        assets[f"{folder}/{len(assets)}_{uid(name)[:4]}.yaml"] = {
            "uuid": uid(name),
            "version": "1.0.0",
            **body,
        }
        return uid(name)

    tunnel = {"server_address": "bastion.test", "server_port": 22, "username": "me"}
    open_secrets = {
        "sqlalchemy_uri": "postgresql://bi:canary-url@dwh/one",
        "ssh_tunnel": {**tunnel, "password": "canary-tunnel", "private_key": "canary-key"},
        "encrypted_extra": '{"credentials_info": {"private_key": "canary-extra"}}',
    }
    masked = {
        "sqlalchemy_uri": "postgresql://bi:XXXXXXXXXX@dwh/two",
        "ssh_tunnel": {**tunnel, "password": "XXXXXXXXXX"},
        "masked_encrypted_extra": '{"credentials_info": {"private_key": "XXXXXXXXXX"}}',
    }
    for name, fields in (("one", open_secrets), ("two", masked)):  # both as the target calls its own
        put("databases", name, database_name="Warehouse PROD", extra={}, **fields)

    def dataset(name: str, database: str, **fields: Any) -> str:
        body = {
            "table_name": name,
            "schema": "main",
            "sql": None,
            "columns": [{"column_name": one, "type": "TEXT", "groupby": True} for one in columns],
            "metrics": [{"metric_name": "count", "expression": "COUNT(*)"}],
        }
        return put("datasets/Warehouse_PROD", name, **{**body, **fields}, database_uuid=uid(database))

    def chart(name: str, over: str, **fields: Any) -> str:
        params = {"viz_type": "big_number_total", "metric": COUNT}
        body = {
            "slice_name": name,
            "viz_type": "big_number_total",
            "params": params,
            "query_context": None,
            "dataset_uuid": over,
        }
        return put("charts", name, **{**body, **fields})

    def dashboard(name: str, charts: list[str], *extra: dict[str, Any], **fields: Any) -> str:
        body = {
            "dashboard_title": name,
            "slug": None,
            "position": grid(charts, *extra),
            "metadata": {},
            "css": "",
        }
        return put("dashboards", name, **{**body, **fields})

    # A table in two databases of one name; a second dataset on one of them.
    here, there = dataset("here", "one", table_name=table), dataset("there", "two", table_name=table)
    twin = dataset("twin", "one", table_name=table)
    nowhere = dataset("database is nowhere", "nowhere", table_name=table)
    shown_twice, other = chart("shown twice", here), chart("other database", there)
    virtual = {"sql": "select 1 as id", "schema": None, "columns": [{"column_name": "id", "type": "INTEGER"}]}
    named = [
        chart(name, dataset(f"dataset {name}", "two", **{**virtual, "table_name": name})) for name in NAMES
    ]
    dashboard("Übersicht 🌍 / ..", [shown_twice, other, *named], slug="../null")
    dashboard("with a ghost", [shown_twice, uid("a chart that is nowhere")])
    text = "plain words of [a link](https://example.test/) " * (
        big // 2_000
    )  # Superset’s YAML is slow with others
    notes = [
        {
            "type": "MARKDOWN",
            "id": f"MARKDOWN-{number}",
            "children": [],
            "meta": {"code": f"{number}: {text}", "width": 1, "height": 50},
        }
        for number in range(big // len(text) + 1)
    ]
    dashboard("large", [other], *notes)
    chart("over a twin", twin)
    chart("over nowhere", nowhere)
    chart("dataset is nowhere", uid("a dataset that is nowhere"))
    chart("unknown field", here, colour_of_the_week="red")
    return {
        path: yaml.safe_dump(data, allow_unicode=True, sort_keys=False).encode()
        for path, data in assets.items()
    }


def try_hostile_bundle(
    product: Product, target: Environment, second: str, files: dict[str, bytes], big: int = BIG
) -> None:
    """`target` has a connection “Warehouse PROD”, and another with the uuid `second`; both have the table.

    Upload, audit, plan, answer, apply, hold the target against the files, roll back.
    """
    before = product.read(target)
    prod = next(one.uuid for one in before.documents.values() if one.title == "Warehouse PROD")

    # One uuid in two files is refused with both names, and nothing is kept.
    path = next(
        path for path, data in files.items() if f"uuid: {uid('shown twice')}".encode() == data.split(b"\n")[0]
    )
    doubled = {**files, "charts/copy.yaml": files[path].replace(b"shown twice", b"another one")}
    with pytest.raises(Invalid) as refused:
        store_upload(BytesIO(pack_files(doubled)), "doubled.zip", actor=product.admin)
    assert path in str(refused.value), refused.value
    assert "charts/copy.yaml" in str(refused.value)
    assert not UploadedBundle.objects.exists()

    _audited(product, target, files)
    data = pack_files(files)
    bundle = store_upload(BytesIO(data), "hostile.zip", actor=product.admin)
    assert [note["uuid"] for note in bundle.notes if note["code"] == "secret_masked"] == [uid("one")] * 4
    assert not [secret for secret in SECRETS if secret in str(bundle.notes)]
    migration = sources.create_migration(
        bundle, target, actor=product.admin, databases={uid("one"): prod, uid("two"): second}
    )
    plan = product.plan(migration)
    _found(plan)

    # What cannot be moved is left out; all the rest arrives as it is.
    out = [item.uuid for item in plan.items.filter(action="blocked")]
    services.update_migration(migration, actor=product.admin, left_out=out)
    plan = product.plan(migration)
    assert plan.blocked_count == 0
    run = product.apply(migration)
    assert run.state == "applied", run.error
    assert run.verdict_counts.get("failed", 0) == 0, run.verdict_counts
    after = product.read(target)
    connections = {uuid for uuid, one in before.documents.items() if one.kind == Kind.DATABASE}
    for uuid in connections:  # no other, none changed
        assert after.documents[uuid].fingerprint == before.documents[uuid].fingerprint
    assert {uuid for uuid, one in after.documents.items() if one.kind == Kind.DATABASE} == connections
    mapping = AssetMapping({uid("one"): DatabaseTarget(prod), uid("two"): DatabaseTarget(second)})
    ours = documents_of(tree_of(data)).documents
    written = set(plan.items.filter(action="create").values_list("uuid", flat=True))
    expected = {uid(name) for name in ("here", "there", "large", "shown twice", "unknown field")}
    assert expected | {uid(name) for name in NAMES} <= written
    for uuid in written - {uid("with a ghost")}:
        wanted = in_target_terms(ours[uuid], mapping)
        assert comparison_fingerprint(after.documents[uuid]) == comparison_fingerprint(wanted), wanted.title
    for name, database in (("here", prod), ("there", second)):
        assert after.documents[uid(name)].body["database_uuid"] == database
    for board in ("Übersicht 🌍 / ..", "with a ghost"):
        assert uid("shown twice") in canonical_json(after.documents[uid(board)].body["position"])
    assert len(canonical_json(after.documents[uid("large")].body["position"])) > big
    kept = "".join(canonical_json(one.to_json()) for one in after.documents.values())
    assert not [secret for secret in SECRETS if secret in kept]
    product.apply(product.roll_back(run))
    assert fingerprints(product.read(target)) == fingerprints(before)


def _audited(product: Product, target: Environment, files: dict[str, bytes]) -> None:
    row = audits.request_audit(pack_files(files), "hostile.zip", target, actor=product.admin)
    assert row.job is not None
    product.do(row.job)
    row.refresh_from_db()
    codes = {one["code"] for one in row.findings}
    assert codes >= {
        "connection_hijacked",
        "dangling_chart",
        "dangling_database",
        "dangling_dataset",
        "doubled_table",
        "secret_in_file",
        "unknown_field",
    }, codes
    assert not [secret for secret in SECRETS if secret in str(row.findings)]


def _found(plan: Plan) -> None:
    """What the plan says before anything is written."""
    items = {item.uuid: item for item in plan.items.all()}
    blocked = {item.title for item in items.values() if item.action == "blocked"}
    twin, nowhere = (items[uid(name)].title for name in ("twin", "database is nowhere"))
    assert blocked == {"over a twin", "over nowhere", "dataset is nowhere", twin, nowhere}
    conflicts = {uuid: item.conflict["code"] for uuid, item in items.items() if item.conflict}
    assert conflicts == {uid("twin"): "doubled"}
    assert "not mapped" in items[uid("database is nowhere")].blocked_by
    assert "dataset" in items[uid("dataset is nowhere")].blocked_by
    told = {(problem["code"], problem["uuid"]) for problem in plan.problems}
    assert told == {
        ("charts_left_out", uid("with a ghost")),
        ("dangling_reference", uid("with a ghost")),
        ("dangling_reference", uid("dataset is nowhere")),
        ("unknown_field", uid("unknown field")),
    }
