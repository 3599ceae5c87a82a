"""A source's documents in the target's terms."""

from __future__ import annotations

import json
from typing import Any

import pytest

from migrations_app.engine.mapping import (
    AssetMapping,
    DatabaseTarget,
    Substitution,
    all_in_target_terms,
    in_target_terms,
)
from tests.canonical.builders import one, raw_chart, raw_dashboard, raw_database, raw_dataset, read, uid

TARGET = "77777777-0000-4000-8000-000000000001"


@pytest.mark.parametrize(
    ("find", "replace", "sql", "expected"),
    [
        ("dev", "prod", "dev.t, device, my_dev, dev2, DEV, dev", "prod.t, device, my_dev, dev2, DEV, prod"),
        ("dev.", "prod.", "dev.t adev.t dev.dev.t", "prod.t adev.t prod.prod.t"),
        (".t", ".u", "x.t x.t2", "x.u x.t2"),
        ("'x'", "'y'", "a = 'x''x'", "a = 'y''y'"),
        ("a+b", "c", "a+b aab", "c aab"),
        ("$1", r"\1 \g<0>", "$1", r"\1 \g<0>"),
        ("größe", "size", "größe größen", "size größen"),
    ],
)  # fmt: skip
def test_plain_text_is_replaced_as_a_whole_word(find: str, replace: str, sql: str, expected: str) -> None:
    assert Substitution(find, replace).apply(sql) == expected


def test_a_pattern_is_a_regular_expression() -> None:
    assert Substitution(r"dev_(\w+)", r"prod_\1", is_pattern=True).apply("dev_a.dev_b") == "prod_a.prod_b"


def _substituted(
    asset: Any, *others: Any, find: str = "dev", replace: str = "prod", pattern: bool = False
) -> Any:
    mapping = AssetMapping(substitutions=(Substitution(find, replace, pattern),))
    return in_target_terms(one(asset, *others), mapping).body


def test_substitutions_reach_all_sql_and_nothing_else() -> None:
    metric = {"expressionType": "SQL", "sqlExpression": "sum(dev)", "label": "dev"}
    dataset = raw_dataset(
        1,
        table_name="dev",
        sql="select dev",
        description="dev",
        fetch_values_predicate="dev = 1",
        columns=[{"column_name": "dev", "expression": "dev + 1"}],
        metrics=[{"metric_name": "dev", "expression": "sum(dev)"}],
    )
    body = _substituted(dataset)
    assert (body["table_name"], body["description"]) == ("dev", "dev")
    assert (body["sql"], body["fetch_values_predicate"]) == ("select prod", "prod = 1")
    assert (body["columns"][0]["column_name"], body["columns"][0]["expression"]) == ("dev", "prod + 1")
    assert body["metrics"][0]["expression"] == "sum(prod)"
    chart = raw_chart(
        1,
        params={"metric": metric, "groupby": ["dev"], "where": "dev > 1", "adhoc_filters": [metric]},
        query_context=json.dumps({"queries": [{"extras": {"having": "dev"}}], "form_data": {"where": "dev"}}),
        slice_name="dev",
    )
    body = _substituted(chart)
    assert body["slice_name"] == "dev"
    assert body["params"]["metric"] == {**metric, "sqlExpression": "sum(prod)"}
    assert body["params"]["where"] == "prod > 1"
    assert body["params"]["groupby"] == ["dev"]
    assert body["query_context"] == {
        "queries": [{"extras": {"having": "prod"}}],
        "form_data": {"where": "prod"},
    }
    filters = {"native_filter_configuration": [{"id": "dev", "name": "dev", "adhoc_filters": [metric]}]}
    body = _substituted(raw_dashboard(1, metadata=filters))
    assert body["metadata"]["native_filter_configuration"] == [
        {"id": "dev", "name": "dev", "adhoc_filters": [{**metric, "sqlExpression": "sum(prod)"}]}
    ]


def test_substitutions_do_not_reach_into_tokens() -> None:
    dataset = raw_dataset(1, sql="select * from {{ dataset(2) }} dataset, eeeeeeee")
    sql = _substituted(dataset, raw_dataset(2), find="dataset|e{8}", replace="X", pattern=True)["sql"]
    assert sql == f"select * from {{{{ X(⟦dataset:{uid('e', 2)}⟧) }}}} X, X"


@pytest.mark.parametrize(
    ("target", "catalog", "schema"),
    [
        (DatabaseTarget(TARGET), "dev", "public"),
        (DatabaseTarget(TARGET, has_catalogs=True, default_catalog="prod"), "prod", "public"),
        (DatabaseTarget(TARGET, has_catalogs=True), None, "public"),
        (DatabaseTarget(TARGET, True, "prod", catalogs={"dev": "other"}), "other", "public"),
        (DatabaseTarget(TARGET, catalogs={"dev": None}, schemas={"public": None}), None, None),
        (DatabaseTarget(TARGET, schemas={"public": "reporting", "x": "y"}), "dev", "reporting"),
        (DatabaseTarget(TARGET, schemas={None: "reporting"}), "dev", "public"),
    ],
)  # fmt: skip
def test_catalogs_and_schemas_are_the_targets(target: DatabaseTarget, catalog: Any, schema: Any) -> None:
    dataset = one(raw_dataset(1, catalog="dev"))
    body = in_target_terms(dataset, AssetMapping({uid("b", 1): target})).body
    assert (body["database_uuid"], body["catalog"], body["schema"]) == (TARGET, catalog, schema)


def test_a_missing_schema_can_be_mapped() -> None:
    mapping = AssetMapping({uid("b", 1): DatabaseTarget(TARGET, schemas={None: "reporting"})})
    assert in_target_terms(one(raw_dataset(1, schema="")), mapping).body["schema"] == "reporting"


def test_connections_are_not_written_and_unmapped_ones_are_named() -> None:
    documents = read(raw_dataset(1), raw_dataset(2, 2), raw_database(1)).documents
    mapping = AssetMapping({uid("b", 1): DatabaseTarget(TARGET)})
    assert set(all_in_target_terms(documents, mapping)) == {uid("e", 1), uid("e", 2)}
    assert mapping.unmapped(documents.values()) == (uid("b", 2),)
    assert AssetMapping().unmapped(documents.values()) == (uid("b", 1), uid("b", 2))


def test_pairs_and_renames_are_of_this_target() -> None:
    mapping = AssetMapping(pairs={uid("e", 1): uid("e", 9)}, renames={uid("c", 1): {"slice_name": "Ours"}})
    chart = in_target_terms(one(raw_chart(1)), mapping)
    assert chart.title == "Ours"
    assert chart.body["dataset_uuid"] == uid("e", 9)
    assert in_target_terms(one(raw_dataset(1)), mapping).uuid == uid("e", 9)
