"""Copies of a source: own uuids, closed references, and what each parameter reaches."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from environments.canonical.comparison import comparison_fingerprint
from environments.canonical.documents import Document, Documents, Kind, canonical_json
from environments.canonical.references import references
from migrations_app.engine.copies import (
    Change,
    Copy,
    copy_mapping,
    copy_uuid,
    database_entries,
    in_copy_terms,
    placeholder_notes,
)
from migrations_app.engine.plan import Plan, PlanInput, make_plan
from tests.canonical.builders import (
    chart_node,
    layout,
    raw_chart,
    raw_dashboard,
    raw_database,
    raw_dataset,
    read,
    uid,
)
from tests.canonical.estates import estates
from tests.canonical.model import ModelSuperset, without_databases

from .applying import CONNECTION, carry_out, empty_target, mapped

TEMPLATE = "aaaaaaaa-0000-4000-8000-00000000000a"
SLOW = settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


def a_copy(key: str = "acme", **more: Any) -> Copy:
    return Copy(template=TEMPLATE, key=key, **more)


def _plan(source: Documents, target: ModelSuperset, copy: Copy) -> Plan:
    mapping = copy_mapping(mapped(source), source, copy)
    # As datasets of a tenant stand in a schema of their own: the target holds one dataset a table.
    databases = {
        uuid: replace(one, schemas={name: copy.key for name in _schemas(source)})
        for uuid, one in mapping.databases.items()
    }
    return make_plan(
        PlanInput(
            source=source,
            target=target.documents(),
            selection=sorted(without_databases(source)),
            mapping=replace(mapping, databases=databases),
            target_ids=target.ids,
            target_url=target.url,
        )
    )


def _schemas(source: Documents) -> set[str | None]:
    return {item.body.get("schema") for item in source.values() if item.kind == Kind.DATASET}


@SLOW
@given(estates(), st.sampled_from(["acme", "Ägypten", "a/b:c", "x" * 60]))
def test_nothing_of_the_source_is_left_over_and_references_are_closed(
    source: ModelSuperset, key: str
) -> None:
    documents = source.documents()
    copy = a_copy(key)
    there = in_copy_terms(documents, copy)
    assert there == in_copy_terms(
        dict(reversed(list(documents.items()))), copy
    )  # the same again, in any order
    own = {document.uuid for document in there.values()}
    assert own.isdisjoint(documents)
    assert len(own) == len(there) == len(without_databases(documents))
    for uuid, document in there.items():
        assert document.uuid == copy_uuid(TEMPLATE, key, uuid)
        text = canonical_json(document.to_json())
        assert [old for old in without_databases(documents) if old in text] == []
        before = {
            (one.kind, copy.uuid_of(one.kind, one.uuid) if one.uuid in documents else one.uuid, one.how)
            for one in references(documents[uuid])
        }
        after = {(one.kind, one.uuid, one.how) for one in references(document)}
        assert after <= before  # an import leaves annotations out that read another chart
        assert all(how == "mentions" for _, _, how in before - after)
    # A copy of a copy's own key under another template, and another key, share nothing.
    assert own.isdisjoint(item.uuid for item in in_copy_terms(documents, a_copy(key + "2")).values())


@SLOW
@given(estates())
def test_copies_live_beside_each_other_and_are_updated_in_place(source: ModelSuperset) -> None:
    documents, target = source.documents(), empty_target()
    copies = [a_copy("one"), a_copy("two")]
    for copy in copies:
        plan = _plan(documents, target, copy)
        assert not plan.is_blocked, [(item.title, item.blocked_by) for item in plan.items if item.blocked_by]
        assert plan.counts["create"] == len(plan.items)
        carry_out(plan, target)
    before = target.documents()
    assert len(before) == 1 + 2 * len(without_databases(documents))
    for copy in copies:
        again = _plan(documents, target, copy)
        assert again.counts["unchanged"] == len(again.items)

    for kind, data in source.rows.values():
        if kind == Kind.CHART:
            data["params"] = {**data["params"], "row_limit": 4321}
    changed = source.documents()
    plan = _plan(changed, target, copies[0])
    charts = sum(item.kind == Kind.CHART for item in changed.values())
    assert (plan.counts["create"], plan.counts["update"]) == (0, charts)
    carry_out(plan, target)
    after = target.documents()
    assert set(after) == set(before)
    untouched = {copy_uuid(TEMPLATE, "two", uuid) for uuid in without_databases(documents)}
    assert all(
        comparison_fingerprint(after[uuid]) == comparison_fingerprint(before[uuid]) for uuid in untouched
    )


def test_the_uuid_of_a_copy_is_the_same_forever() -> None:
    """Of everybody's copies that were ever made: another formula would make them anew."""
    assert copy_uuid(TEMPLATE, "acme", uid("d", 1)) == "5bf7b3bc-860a-5662-a8f4-985129545559"


def _estate() -> Documents:
    metric = {"expressionType": "SQL", "sqlExpression": "sum(demo.amount)", "label": "demo"}
    where = {"expressionType": "SIMPLE", "subject": "tenant", "operator": "==", "comparator": "demo"}
    position = layout([chart_node(1, uid("c", 1))])
    position["HEADER_ID"] = {"id": "HEADER_ID", "type": "HEADER", "meta": {"text": "Sales of Demo"}}
    position["MARKDOWN-1"] = {
        "id": "MARKDOWN-1",
        "type": "MARKDOWN",
        "children": [],
        "meta": {"code": "# Demo, [[tenant]] and [[nobody]]\n[other](/superset/dashboard/2/) demography"},
    }
    native = {
        "id": "NATIVE_FILTER-1",
        "name": "Region of Demo",
        "targets": [{"datasetId": 1, "column": {"name": "demo"}}],
        "defaultDataMask": {"filterState": {"value": ["demo", "demo 2"]}},
    }
    assets = [
        raw_database(1),
        raw_dataset(
            1,
            table_name="demo",
            schema="tenant_demo",
            sql="select * from tenant_demo.orders -- demo [[tenant]]",
            description="Of Demo",
        ),
        raw_dataset(2, table_name="orders", schema="tenant_demo", sql=None),
        raw_chart(
            1,
            slice_name="Demo revenue",
            params={
                "metrics": [metric],
                "adhoc_filters": [where],
                "x_axis_title": "Demo",
                "groupby": ["demo", "Demo"],
            },
        ),
        raw_dashboard(
            1,
            dashboard_title="Sales of Demo",
            slug="sales",
            position=position,
            metadata={"native_filter_configuration": [native]},
        ),
        raw_dashboard(2, dashboard_title="Other", slug="other"),
    ]
    return read(*assets).documents


CHANGES = (
    Change("Demo", "{label}", "text"),
    Change("demo", "{key}", "value"),
    Change("tenant_demo", "{schema}", "sql"),
)


def test_each_parameter_reaches_what_it_says_and_nothing_else() -> None:
    documents = _estate()
    values = {"label": "Åcme & Söhne", "tenant": "T-1", "schema": "t_acme"}
    copy = a_copy(changes=CHANGES, values=values, chart_title="{title} · {key}", dataset_name="{name}_{key}")
    there = in_copy_terms(documents, copy)

    dashboard = there[uid("d", 1)]
    assert (dashboard.title, dashboard.body["slug"]) == ("Sales of Åcme & Söhne (acme)", "sales-acme")
    nodes = dashboard.body["position"]
    assert nodes["HEADER_ID"]["meta"]["text"] == dashboard.title
    other = copy.uuid_of(Kind.DASHBOARD, uid("d", 2))
    assert nodes["MARKDOWN-1"]["meta"]["code"] == (
        f"# Åcme & Söhne, T-1 and [[nobody]]\n[other](/superset/dashboard/⟦dashboard:{other}⟧/) demography"
    )
    (native,) = dashboard.body["metadata"]["native_filter_configuration"]
    assert native["name"] == "Region of Åcme & Söhne"
    assert native["targets"][0]["column"] == {"name": "demo"}
    assert native["targets"][0]["datasetUuid"] == copy.uuid_of(Kind.DATASET, uid("e", 1))
    assert native["defaultDataMask"]["filterState"]["value"] == ["acme", "demo 2"]

    chart = there[uid("c", 1)].body
    assert chart["slice_name"] == "Åcme & Söhne revenue · acme"
    assert chart["params"]["x_axis_title"] == "Åcme & Söhne"
    assert chart["params"]["groupby"] == ["demo", "Demo"]  # columns are no words
    assert chart["params"]["adhoc_filters"][0]["comparator"] == "acme"
    assert chart["params"]["metrics"][0]["sqlExpression"] == "sum(demo.amount)"

    virtual, table = there[uid("e", 1)].body, there[uid("e", 2)].body
    assert virtual["sql"] == "select * from t_acme.orders -- demo T-1"
    assert (virtual["table_name"], table["table_name"]) == ("demo_acme", "orders")
    assert virtual["description"] == "Of Åcme & Söhne"
    notes = list(placeholder_notes(documents, documents, copy))
    assert [(note.code, note.uuid) for note in notes] == [("placeholder_left", uid("d", 1))]
    assert "[[nobody]]" in notes[0].text


def test_shared_datasets_and_kept_uuids_stay_the_sources() -> None:
    documents = _estate()
    shared = in_copy_terms(documents, a_copy(shares_datasets=True, changes=CHANGES))
    assert shared[uid("e", 1)].uuid == uid("e", 1)
    assert shared[uid("e", 1)].body["sql"] == documents[uid("e", 1)].body["sql"]
    assert shared[uid("c", 1)].uuid != uid("c", 1)
    assert shared[uid("c", 1)].body["dataset_uuid"] == uid("e", 1)
    kept = in_copy_terms(documents, a_copy(keeps_uuids=True, title="{title}", slug="{slug}"))
    assert set(kept) == {document.uuid for document in kept.values()}
    assert kept[uid("d", 1)].body["slug"] == "sales"


def test_two_dashboards_never_get_one_slug_and_it_stays_theirs() -> None:
    documents = _estate()
    copy = a_copy(slug="all-{key}", title="Everything")
    there = in_copy_terms(documents, copy)
    slugs = {str(there[uid("d", number)].body["slug"]) for number in (1, 2)}
    assert len(slugs) == 2
    assert all(slug.startswith("all-acme-") for slug in slugs)
    assert {there[uid("d", number)].title for number in (1, 2)} == {
        "Everything – Sales of Demo",
        "Everything – Other",
    }


def test_a_value_is_no_group_of_a_pattern_and_braces_of_jinja_stay() -> None:
    documents = read(raw_database(1), raw_dataset(1, sql="select {{ key }} from dev_orders")).documents
    change = Change(r"dev_(\w+)", r"{schema}.\1", "sql", is_pattern=True)
    there = in_copy_terms(documents, a_copy(changes=(change,), values={"schema": r"a\1"}))
    assert there[uid("e", 1)].body["sql"] == r"select {{ key }} from a\1.orders"


def _connection(uuid: str, name: str) -> Document:
    return Document(Kind.DATABASE, uuid, {"database_name": name, "sqlalchemy_uri": "postgresql://x/y"})


@pytest.mark.parametrize("name", ["*", "examples", uid("b", 1)])
def test_connections_are_named_by_name_or_uuid_and_schemas_by_name_or_all(name: str) -> None:
    documents = read(
        raw_database(1, database_name="examples"), raw_dataset(1, schema="a"), raw_dataset(2, schema="b")
    ).documents
    target = {CONNECTION: _connection(CONNECTION, "Tenant acme")}
    copy = a_copy(databases={name: "Tenant {key}"}, schemas={"a": "first", "*": "{key}"})
    entries, missing = database_entries({}, documents, target, copy)
    assert missing == ()
    assert entries[uid("b", 1)] == {
        "target": CONNECTION,
        "schemas": {"a": "first", "b": "acme"},
        "catalogs": {},
    }
    assert database_entries({}, documents, {}, copy)[1] == ("Tenant acme",)
    # Without a word of the copy: what is remembered for the pair; beside its source the connection itself.
    assert database_entries({}, documents, target, a_copy())[0] == {}
    itself, _ = database_entries({}, documents, target, a_copy(), is_same_environment=True)
    assert itself[uid("b", 1)]["target"] == uid("b", 1)


def test_a_copy_is_the_same_after_json() -> None:
    copy = a_copy(
        changes=CHANGES,
        values={"label": "x"},
        databases={"*": "y"},
        selection=(uid("d", 1),),
        pairs={uid("d", 1): uid("d", 2)},
        renames={uid("d", 1): {"slug": "z"}},
    )
    assert Copy.from_json({**json.loads(json.dumps(copy.to_json())), "name": "later fields"}) == copy


def test_an_answer_of_before_outweighs_the_derived_uuid() -> None:
    documents = _estate()
    copy = a_copy(pairs={uid("d", 1): uid("d", 9)}, renames={uid("d", 2): {"slug": "other-2"}})
    there = in_copy_terms(documents, copy)
    assert there[uid("d", 1)].uuid == uid("d", 9)
    assert there[uid("d", 2)].body["slug"] == "other-2"
