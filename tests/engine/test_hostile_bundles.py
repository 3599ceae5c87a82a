"""Bundles with what has gone wrong in somebody's hands: each thing is refused, found in the plan, or moved right."""

from __future__ import annotations

import io
import time
import zipfile
from collections.abc import Mapping
from typing import Any

import pytest
import yaml

from environments.canonical.documents import Document, Kind, canonical_json
from environments.canonical.ids import IdTable
from environments.canonical.reading import Reading, read_assets
from environments.superset.bundle import Bundle
from environments.superset.errors import SupersetRefused
from migrations_app.engine.batches import next_batch
from migrations_app.engine.mapping import AssetMapping, DatabaseTarget
from migrations_app.engine.plan import Plan, PlanInput, make_plan, written_documents
from tests.canonical.builders import (
    chart_node,
    layout,
    raw_chart,
    raw_dashboard,
    raw_database,
    raw_dataset,
    uid,
)

THEIRS, OTHER = "77777777-0000-4000-8000-000000000001", "77777777-0000-4000-8000-000000000002"
B1, B2, C1, C2, D1, D2, E1, E2 = (uid(kind, number) for kind in "bcde" for number in (1, 2))
NAMES = (
    "../../etc/passwd",
    "a/b\\c",
    "CON",
    "null",
    "true",
    "123",
    "1e5",
    "~",
    "- x: y",
    "Sales_2024",
    "{{ jinja }}",
    " spaces ",
    "Ünïcödé 漢字 🧑‍🚀",
    "⟦chart:x⟧",
)


def bundle(files: Mapping[str, Any]) -> bytes:
    """A ZIP as people make them by hand."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for path, content in {"metadata.yaml": {"version": "1.0.0", "type": "assets"}, **files}.items():
            text = content if isinstance(content, str) else yaml.safe_dump(content, allow_unicode=True)
            archive.writestr(f"by hand/{path}", text)
    return data.getvalue()


def files(*assets: Any) -> dict[str, Any]:
    folders = {
        "dashboard": "dashboards",
        "chart": "charts",
        "dataset": "datasets/db",
        "database": "databases",
    }
    return {
        f"{folders[asset.kind]}/{asset.data.get('slice_name') or asset.kind}_{asset.uuid[-1]}.yaml": asset.data
        for asset in assets
    }


def read(content: Mapping[str, Any]) -> Reading:
    return read_assets(Bundle.from_zip(bundle(content)).assets.values())


def planned(reading: Reading, databases: Mapping[str, str] | None = None, **fields: Any) -> Plan:
    """Everything of a bundle, to a target with two connections and nothing else."""
    target = {
        number: Document(Kind.DATABASE, number, {"database_name": name, "sqlalchemy_uri": "postgresql://p/p"})
        for number, name in ((THEIRS, "Warehouse"), (OTHER, "Warehouse TWO"))
    }
    mapping = AssetMapping({uuid: DatabaseTarget(to) for uuid, to in (databases or {}).items()})
    return make_plan(
        PlanInput(
            source=reading.documents,
            target={**target, **fields.pop("there", {})},
            selection=list(reading.documents),
            mapping=mapping,
            source_notes=reading.notes,
            **fields,
        )
    )


def decided(plan: Plan) -> dict[str, tuple[str, str]]:
    return {item.uuid: (item.action.value, item.blocked_by) for item in plan.items}


def whole() -> list[Any]:
    """A dashboard, its two charts, their dataset, its database."""
    dashboard = raw_dashboard(1, layout([chart_node(1, C1), chart_node(2, C2)]))
    return [dashboard, raw_chart(1), raw_chart(2), raw_dataset(1), raw_database(1)]


def test_a_database_that_is_not_there_blocks_until_it_is_mapped() -> None:
    reading = read(files(*whole()[:-1]))
    plan = planned(reading)
    assert plan.unmapped_databases == (B1,)
    assert decided(plan)[E1] == ("blocked", f"The database “{B1}” is not mapped to one of the target.")
    assert {action for action, _ in decided(plan).values()} == {"blocked"}
    assert {action for action, _ in decided(planned(reading, {B1: THEIRS})).values()} == {"create"}


def test_a_chart_that_is_not_there_is_named_and_the_others_keep_their_places() -> None:
    dashboard, one, _, dataset, database = whole()
    plan = planned(read(files(dashboard, one, dataset, database)), {B1: THEIRS})
    assert [(problem.code, problem.uuid) for problem in plan.problems] == [("ghost_chart", D1)]
    written = written_documents(plan)[D1]
    nodes = [node for node in written.body["position"].values() if isinstance(node, dict)]
    assert [node["meta"]["uuid"] for node in nodes if node["type"] == "CHART"] == [C1]


def test_a_dataset_that_is_not_there_blocks_its_charts_and_their_dashboard() -> None:
    dashboard, one, two, _, database = whole()
    plan = planned(read(files(dashboard, one, two, database)), {B1: THEIRS})
    assert {action for action, _ in decided(plan).values()} == {"blocked"}
    assert "dataset" in decided(plan)[C1][1]
    assert "dangling_reference" in {problem.code for problem in plan.problems}


@pytest.mark.parametrize(
    "spell", [str, str.upper, lambda uuid: "{" + uuid + "}", lambda uuid: uuid.replace("-", "")]
)
def test_one_uuid_in_two_files_is_refused_with_both_names(spell: Any) -> None:
    content = {
        **files(raw_chart(1), raw_dataset(1)),
        "charts/copy.yaml": {**raw_chart(1).data, "uuid": spell(C1)},
    }
    with pytest.raises(SupersetRefused) as refused:
        Bundle.from_zip(bundle(content))
    said = str(refused.value) + str(refused.value.detail)
    assert "same uuid" in said
    assert "charts/copy.yaml" in said


def test_two_datasets_on_one_table_are_a_conflict_and_not_one_dataset() -> None:
    second = raw_dataset(
        2, table_name=raw_dataset(1).data["table_name"], schema=raw_dataset(1).data["schema"]
    )
    reading = read(
        files(raw_dataset(1), second, raw_chart(1), raw_chart(2, dataset_uuid=E2), raw_database(1))
    )
    plan = planned(reading, {B1: THEIRS})
    conflicts = {item.uuid: item.conflict for item in plan.items if item.conflict}
    assert {uuid: conflict.code.value for uuid, conflict in conflicts.items()} == {E2: "doubled"}
    assert decided(plan)[C2][0] == "blocked"


def test_two_dashboards_of_one_slug_are_a_conflict_and_not_one_dashboard() -> None:
    dashboards = [raw_dashboard(number, layout([chart_node(1, C1)]), slug="sales") for number in (1, 2)]
    reading = read(files(*dashboards, raw_chart(1), raw_dataset(1), raw_database(1)))
    conflicts = {item.uuid: item.conflict for item in planned(reading, {B1: THEIRS}).items if item.conflict}
    assert {uuid: conflict.code.value for uuid, conflict in conflicts.items()} == {D2: "doubled"}


def test_a_connection_of_the_same_name_or_uuid_is_never_among_what_is_written() -> None:
    for database in (raw_database(1, database_name="Warehouse"), raw_database(1, uuid=THEIRS)):
        source = database.data["uuid"]
        reading = read(files(raw_chart(1), raw_dataset(1, database_uuid=source), database))
        plan = planned(reading, {source: OTHER})
        written = written_documents(plan)
        assert {document.kind for document in written.values()} == {Kind.CHART, Kind.DATASET}
        assert written[E1].body["database_uuid"] == OTHER
        for sparse in (True, False):
            batch = next_batch(written, {}, IdTable(), sparse=sparse)
            assert batch is not None
            assert "database" not in {item.kind.value for item in batch.rendered}
            assert set(batch.databases) <= {OTHER}


def test_no_secret_of_a_connection_is_kept_and_none_is_needed() -> None:
    tunnel = {
        "server_address": "bastion.example.org",
        "server_port": 22,
        "username": "tunnel",
        "password": "canary-1",
        "private_key": "canary-2",
        "private_key_password": "canary-3",
    }
    secrets: dict[str, Any] = {
        "sqlalchemy_uri": "postgresql://user:canary-4@host/db?sslpassword=canary-5",
        "password": "canary-6",
        "encrypted_extra": '{"credentials_info": {"private_key": "canary-7"}}',
        "masked_encrypted_extra": '{"oauth2_client_info": {"secret": "canary-8"}}',
        "ssh_tunnel": tunnel,
        "extra": {"engine_params": {"connect_args": {"password": "canary-9", "token": "canary-10"}}},
    }
    masked: dict[str, Any] = {
        "sqlalchemy_uri": "postgresql://user:XXXXXXXXXX@host/db",
        "ssh_tunnel": {**tunnel, "password": "XXXXXXXXXX"},
    }
    for fields in (secrets, masked):
        reading = read(files(*whole()[:-1], raw_database(1, **fields)))
        assert reading.notes == ()
        assert "canary" not in canonical_json(reading.documents[B1].to_json())
        plan = planned(reading, {B1: THEIRS})
        assert {action for action, _ in decided(plan).values()} == {"create"}
        assert "canary" not in "".join(
            canonical_json(item.to_json()) for item in written_documents(plan).values()
        )


@pytest.mark.parametrize("name", NAMES)
def test_names_are_names_and_nothing_else(name: str) -> None:
    dashboard = raw_dashboard(
        1, layout([chart_node(1, C1, sliceName=name)]), dashboard_title=name, slug=name or None
    )
    chart = raw_chart(1, slice_name=name)
    dataset, database = raw_dataset(1, table_name=name, schema=name), raw_database(1, database_name=name)
    content = {"dashboards/1.yaml": dashboard.data, "charts/1.yaml": chart.data}
    content |= {"datasets/1/1.yaml": dataset.data, "databases/1.yaml": database.data}
    plan = planned(read(content), {B1: THEIRS})
    assert {action for action, _ in decided(plan).values()} == {"create"}
    ids = IdTable([(Kind.CHART, 7, C1), (Kind.DATASET, 8, E1)])
    batch = next_batch(written_documents(plan), {}, ids, sparse=True)
    assert batch is not None
    written = [(item.kind.value, item.uuid, dict(item.data)) for item in batch.rendered]
    data = Bundle.from_assets("assets", written).to_zip()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for path in archive.namelist():
            assert all(part and part.strip(".") for part in path.split("/")), path
            assert path.isascii()
            assert len(path) < 300
    # What Superset will read of it, by its own parser's rules.
    again = read_assets(Bundle.from_zip(data).assets.values(), ids).documents
    assert (again[D1].title, again[C1].title, again[E1].title) == (name, name, name)
    assert (again[D1].body["slug"], again[E1].body["schema"]) == (name or None, name or None)


def test_names_that_the_target_has_no_room_for_are_errors_before_anything_is_written() -> None:
    dashboard = raw_dashboard(1, layout([chart_node(1, C1)]), dashboard_title="d" * 501, slug="s" * 256)
    long = [
        dashboard,
        raw_chart(1, slice_name="c" * 251),
        raw_dataset(1, table_name="t" * 230),
        raw_database(1),
    ]
    content = {
        f"{name}/1.yaml": raw.data
        for name, raw in zip(("dashboards", "charts", "datasets/d", "databases"), long, strict=True)
    }
    told = [
        (problem.code, problem.uuid)
        for problem in planned(read(content), {B1: THEIRS}).problems
        if problem.severity.value == "error"
    ]
    assert told == [("name_too_long", uuid) for uuid in (C1, D1, D1)]
    # “Warehouse TWO” is four characters longer, and those are too many for the permission on the dataset.
    longer = planned(read(content), {B1: OTHER}).problems
    assert [problem.uuid for problem in longer if "permission" in problem.text] == [E1]


@pytest.mark.parametrize("value", [None, 7, ["a"]])
def test_a_chart_without_a_type_is_blocked_and_says_so(value: Any) -> None:
    reading = read(files(raw_chart(1, viz_type=value), raw_chart(2), raw_dataset(1), raw_database(1)))
    found = decided(planned(reading, {B1: THEIRS}))
    assert (found[C1][0], "viz_type" in found[C1][1], found[C2][0]) == ("blocked", True, "create")


def test_a_number_in_a_name_is_no_id() -> None:
    """Tools write trees without ids in the names of files: `Sales_2024.yaml` is the chart “Sales 2024”."""
    content = {
        "charts/Sales_2024.yaml": raw_chart(1, slice_name="Sales 2024").data,
        "charts/Sales.yaml": raw_chart(2, slice_name="Sales").data,
        "datasets/db/orders.yaml": raw_dataset(1).data,
        "databases/db.yaml": raw_database(1).data,
        "dashboards/Overview_1.yaml": raw_dashboard(
            1, layout([chart_node(2024, C2), chart_node(3, C1)]), dashboard_title="Overview 1"
        ).data,
    }
    reading = read(content)
    assert reading.notes == ()
    nodes = [node for node in reading.documents[D1].body["position"].values() if isinstance(node, dict)]
    assert [node["meta"]["uuid"] for node in nodes if node["type"] == "CHART"] == [C2, C1]


def test_a_chart_in_two_dashboards_is_one_chart() -> None:
    dashboards = [raw_dashboard(number, layout([chart_node(1, C1)])) for number in (1, 2)]
    reading = read(files(*dashboards, raw_chart(1), raw_dataset(1), raw_database(1)))
    target = {THEIRS: Document(Kind.DATABASE, THEIRS, {"database_name": "W", "sqlalchemy_uri": "p://p"})}
    given = PlanInput(reading.documents, target, [D1, D2], AssetMapping({B1: DatabaseTarget(THEIRS)}))
    plan = make_plan(given)
    chart = [item for item in plan.items if item.kind == Kind.CHART]
    assert [(item.uuid, item.action.value, item.reasons) for item in chart] == [(C1, "create", (D1, D2))]


def test_a_table_in_two_databases_of_one_name_is_two_datasets_where_they_stay_two() -> None:
    """Two instances' trees put together, or two databases whose names give one file name."""
    table: dict[str, Any] = {"table_name": "orders", "schema": "sales"}
    content = {
        "datasets/Sales/orders.yaml": raw_dataset(1, **table).data,
        "datasets/Sales/orders_1.yaml": raw_dataset(2, database_uuid=B2, **table).data,
        "databases/Sales.yaml": raw_database(1, database_name="Sales").data,
        "databases/Sales_1.yaml": raw_database(2, database_name="Sales").data,
    }
    reading = read(content)
    apart = planned(reading, {B1: THEIRS, B2: OTHER})
    assert decided(apart) == {E1: ("create", ""), E2: ("create", "")}
    written = written_documents(apart)
    assert (written[E1].body["database_uuid"], written[E2].body["database_uuid"]) == (THEIRS, OTHER)
    together = {item.uuid: item.conflict for item in planned(reading, {B1: THEIRS, B2: THEIRS}).items}
    assert [conflict.code.value for conflict in together.values() if conflict] == ["doubled"]


def test_five_megabytes_of_layout_are_moved_as_they_are() -> None:
    texts: dict[str, Any] = {
        f"MARKDOWN-{number}": {
            "type": "MARKDOWN",
            "id": f"MARKDOWN-{number}",
            "children": [],
            "meta": {
                "code": f"{number}: äé 🧑‍🚀 [link](/superset/dashboard/1/) " * 6_500,
                "width": 4,
                "height": 50,
            },
        }
        for number in range(20)
    }
    position = {**layout([chart_node(1, C1)]), **texts}
    position["ROW-0"]["children"] += list(texts)
    dashboard = raw_dashboard(1, position)
    assert len(canonical_json(dashboard.data)) > 5_000_000
    began = time.process_time()
    plan = planned(read(files(dashboard, raw_chart(1), raw_dataset(1), raw_database(1))), {B1: THEIRS})
    assert {action for action, _ in decided(plan).values()} == {"create"}
    written = written_documents(plan)
    # The chart and its dataset first; then the dashboard, which names itself, once with no id of its own and once with.
    batch = next_batch(
        {D1: written[D1]}, {}, IdTable([(Kind.CHART, 7, C1), (Kind.DASHBOARD, 9, D1)]), sparse=True
    )
    assert batch is not None
    (rendered,) = batch.rendered
    code = rendered.data["position"]["MARKDOWN-3"]["meta"]["code"]
    assert code == texts["MARKDOWN-3"]["meta"]["code"].replace("dashboard/1/", "dashboard/9/")
    assert time.process_time() - began < 20
