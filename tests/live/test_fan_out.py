"""One dashboard for three tenants on one target: each over its own schema, updated in place, one taken back."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from environments.canonical.documents import Kind, canonical_json
from environments.lab.instance import RunningSuperset
from environments.lab.rest import Rest
from environments.store import EnvironmentReading
from migrations_app import services as migrations
from migrations_app.engine.copies import copy_uuid
from migrations_app.fanout import running, services
from migrations_app.fanout.models import FanOut, FanOutRun
from migrations_app.fanout.states import standings
from migrations_app.fanout.table import parse
from migrations_app.models import Verdict
from sstools.jobs.models import Job, State
from sstools.jobs.runner import run_job
from tests.live.nasty import _fill, _post_dashboard, chart_node, markdown, native_filter, tabbed_layout
from tests.live.product import Product, fingerprints, product

pytestmark = [pytest.mark.live]
__all__ = ["product"]

Lease = Callable[..., RunningSuperset]
#: Schema -> what its orders sum up to.
SUMS = {"t_demo": 60, "t_acme": 6000, "t_globex": 600, "t_initech": 6}
TENANTS = {"acme": "Acme & Söhne", "globex": "Globex 🌍", "initech": "Initech"}
SUM = {"expressionType": "SQL", "sqlExpression": "sum(amount)", "label": "Umsatz"}


def _schemas(owner: str, uri: str) -> str:
    """A schema for each tenant in a database of this test; returns its address for the account that reads."""
    there, admin = urlsplit(uri), urlsplit(owner)
    address = admin._replace(scheme="postgresql", path=there.path).geturl()
    with psycopg.connect(address, autocommit=True) as connection:
        for schema, total in SUMS.items():
            name = schema.removeprefix("t_")
            connection.execute(f"drop schema if exists {schema} cascade")
            connection.execute(f"create schema {schema}")
            connection.execute(f"create table {schema}.orders (region text, tenant text, amount integer)")
            connection.execute(
                f"insert into {schema}.orders values ('north', %s, %s), ('south', %s, %s), ('south', 'x', 99)",
                (name, total // 6, name, total - total // 6),
            )
            connection.execute(f"grant usage on schema {schema} to {there.username}")
            connection.execute(f"grant select on {schema}.orders to {there.username}")
    return uri


def _build(rest: Rest, uri: str) -> dict[str, tuple[int, str]]:
    """Two dashboards that link to each other, over a table and a query of the schema t_demo; by name."""
    database, _ = rest.add_connection("Wärehouse Dev", uri)
    orders = rest.add_dataset(database, "orders", "t_demo")
    sql = "select * from t_demo.orders where tenant = 'demo'"
    own = rest.add_dataset(database, "own orders", "t_demo", sql=sql)
    total = rest.add_chart("Demo total", own[0], "big_number_total", {"metric": SUM})
    aggregate = {"query_mode": "aggregate", "groupby": ["region"], "metrics": [SUM], "row_limit": 100}
    where = {"clause": "WHERE", "expressionType": "SIMPLE", "operator": "==", "subject": "tenant"}
    filters = [{**where, "comparator": "demo"}]
    region = rest.add_chart("Demo by region", orders[0], "table", {**aggregate, "adhoc_filters": filters})
    second = _post_dashboard(rest, "Details of Demo", "details", {}, {})
    main = _post_dashboard(rest, "Sales of Demo", "sales", {}, {})
    link = (
        f"# Demo\n[details](/superset/dashboard/{second[0]}/) and [the chart](/explore/?slice_id={total[0]})"
    )
    layout = tabbed_layout(
        "Sales of Demo", {"Demo": [chart_node(total, []), chart_node(region, []), markdown("links", link)]}
    )
    in_scope = [total[0], region[0]]
    scope = {"rootPath": ["ROOT_ID"], "excluded": [total[0]]}
    metadata = {
        "cross_filters_enabled": True,
        "chart_configuration": {
            str(region[0]): {"id": region[0], "crossFilters": {"scope": scope, "chartsInScope": in_scope}}
        },
        "native_filter_configuration": [native_filter("Region", orders[0], "region", [total[0]], in_scope)],
    }
    _fill(rest, main[0], layout, metadata)
    back = tabbed_layout(
        "Details of Demo",
        {"Only": [markdown("b", f"[b](/superset/dashboard/{main[0]}/)"), chart_node(region, [])]},
    )
    _fill(rest, second[0], back, {})
    return {"orders": orders, "own": own, "total": total, "region": region, "main": main, "second": second}


def _work(product: Product, run: FanOutRun) -> dict[str, str]:
    """Does the jobs of a fan-out as a worker would. State by key."""
    while jobs := list(Job.objects.filter(state=State.QUEUED).order_by("pk").values_list("uuid", flat=True)):
        for uuid in jobs:
            run_job(str(uuid))
    found = standings(running.visible_entries(run, product.admin))
    assert not running.find_run(run.number, product.admin).is_at_work, [(one.name, one.text) for one in found]
    return {one.entry.copy.key: one.name for one in found}


def _sum(rest: Rest, reading: EnvironmentReading, chart: str) -> int:
    """What the chart's dataset answers on the target, with the chart's own filters."""
    document = reading.documents[chart]
    dataset = reading.ids.id_of(Kind.DATASET, document.body["dataset_uuid"])
    filters = [
        {"col": one["subject"], "op": one["operator"], "val": one["comparator"]}
        for one in document.body["params"].get("adhoc_filters", [])
    ]
    query = {
        "datasource": {"id": dataset, "type": "table"},
        "queries": [{"metrics": [SUM], "columns": [], "filters": filters}],
        "force": True,
    }
    return int(rest.call("POST", "/api/v1/chart/data", query)["result"][0]["data"][0]["Umsatz"])


def test_a_dashboard_for_three_tenants_is_updated_in_place_and_one_goes_back(
    product: Product, fresh_target: Lease, lab: Any
) -> None:
    one, other = fresh_target("6.1.0", "empty"), fresh_target("6.1.0", "empty")
    uri = _schemas(one.metadata_url, lab.postgres_warehouses("_fan_out")["dev_fan_out"])
    rest, there = Rest(one), Rest(other)
    built = _build(rest, uri)
    _, connection = there.add_connection("Warehouse Prod", uri)
    source, target = product.register("dev", one), product.register("prod", other)
    before = product.read(target)
    fan_out = services.create(
        source,
        name="Tenants",
        selection=[built["main"][1], built["second"][1]],
        actor=product.admin,
        title="{title} ({key})",
        changes=[
            {"find": "Demo", "replace": "{tenant}", "where": "text"},
            {"find": "demo", "replace": "{key}", "where": "value"},
            {"find": "t_demo", "replace": "{home}", "where": "sql"},
            {"find": "'demo'", "replace": "'{key}'", "where": "sql"},
        ],
    )
    table = "key,target,database,schema,home,tenant\n" + "".join(
        f"{key},prod,Warehouse Prod,t_{key},t_{key},{tenant}\n" for key, tenant in TENANTS.items()
    )
    services.save_copies(fan_out, parse(table), actor=product.admin)

    run = running.plan(fan_out, actor=product.admin)
    assert _work(product, run) == dict.fromkeys(TENANTS, "planned")
    running.apply(run, actor=product.admin, confirmed=["prod"])
    assert _work(product, run) == dict.fromkeys(TENANTS, "applied")

    after = product.read(target)
    uuids = {
        (key, name): copy_uuid(str(fan_out.uuid), key, uuid)
        for key in TENANTS
        for name, (_, uuid) in built.items()
    }
    assert set(after.documents) == {connection, *uuids.values()}
    old = {uuid for _, uuid in built.values()}
    for key, tenant in TENANTS.items():
        main = after.documents[uuids[key, "main"]]
        assert (main.title, main.body["slug"]) == (f"Sales of {tenant} ({key})", f"sales-{key}")
        text = canonical_json(main.to_json())
        assert not [uuid for uuid in old if uuid in text]
        link = main.body["position"]["MARKDOWN-links"]["meta"]["code"]
        assert f"# {tenant}\n" in link
        assert f"⟦dashboard:{uuids[key, 'second']}⟧" in link
        assert f"⟦chart:{uuids[key, 'total']}⟧" in link
        number = after.ids.id_of(Kind.DASHBOARD, uuids[key, "main"])
        stored = there.call("GET", f"/api/v1/dashboard/{number}")["result"]
        metadata = json.loads(stored["json_metadata"])
        region, total = (after.ids.id_of(Kind.CHART, uuids[key, name]) for name in ("region", "total"))
        (native,) = metadata["native_filter_configuration"]
        assert native["targets"][0]["datasetId"] == after.ids.id_of(Kind.DATASET, uuids[key, "orders"])
        assert native["scope"]["excluded"] == [total]
        assert metadata["chart_configuration"][str(region)]["crossFilters"]["scope"]["excluded"] == [total]
        second = after.ids.id_of(Kind.DASHBOARD, uuids[key, "second"])
        assert f"/superset/dashboard/{second}/" in stored["position_json"]
        for name in ("total", "region"):
            assert _sum(there, after, uuids[key, name]) == SUMS[f"t_{key}"]
    verdicts = Verdict.objects.filter(run__migration__fan_out_entries__run=run)
    assert verdicts.count() == 2 * len(TENANTS)
    assert set(verdicts.values_list("status", flat=True)) == {"differs"}  # other tenants, other sums
    assert _sum(rest, product.read(source), built["total"][1]) == SUMS["t_demo"]

    # The source moves on, and somebody edits one copy by hand: the others follow in place.
    rest.call("PUT", f"/api/v1/chart/{built['region'][0]}", {"slice_name": "Demo per region"})
    edited = after.ids.id_of(Kind.CHART, uuids["globex", "region"])
    there.call("PUT", f"/api/v1/chart/{edited}", {"slice_name": "By hand"})
    product.refresh(source)
    again = running.plan(fan_out, actor=product.admin)
    assert _work(product, again) == {"acme": "planned", "globex": "blocked", "initech": "planned"}
    entry = again.entries.get(copy__key="globex")
    assert entry.migration is not None
    migrations.answer_conflicts(entry.migration, {built["region"][1]: "take"}, actor=product.admin)
    running.plan_again(again, actor=product.admin)
    assert _work(product, again) == dict.fromkeys(TENANTS, "planned")
    running.apply(again, actor=product.admin, confirmed=["prod"])
    assert _work(product, again) == dict.fromkeys(TENANTS, "applied")
    now = product.read(target)
    assert set(now.documents) == set(after.documents)
    assert [now.documents[uuids[key, "region"]].title for key in TENANTS] == [
        f"{tenant} per region" for tenant in TENANTS.values()
    ]
    _one_goes_back(product, fan_out, run, uuids, before, after)


def _one_goes_back(
    product: Product,
    fan_out: FanOut,
    run: FanOutRun,
    uuids: dict[tuple[str, str], str],
    before: EnvironmentReading,
    after: EnvironmentReading,
) -> None:
    target = fan_out.copies.first().target  # type: ignore[union-attr]
    last = running.find_run(fan_out.runs.first().number, product.admin)  # type: ignore[union-attr]
    running.roll_back(last, actor=product.admin, keys=["acme"], confirmed=["prod"])
    assert _work(product, last) == {"acme": "rolled_back", "globex": "applied", "initech": "applied"}
    there = product.read(target)
    assert there.documents[uuids["acme", "region"]].title == "Acme & Söhne by region"
    assert there.documents[uuids["initech", "region"]].title == "Initech per region"
    running.roll_back(
        running.find_run(run.number, product.admin), actor=product.admin, keys=["acme"], confirmed=["prod"]
    )
    assert _work(product, run)["acme"] == "rolled_back"
    left = fingerprints(product.read(target))
    own = {uuid for (key, _), uuid in uuids.items() if key == "acme"}
    assert own.isdisjoint(left)
    assert set(left) == set(after.documents) - own
    assert {uuid: left[uuid] for uuid in before.documents} == fingerprints(before)
