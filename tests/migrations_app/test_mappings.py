"""From what people enter, and what connections say, to the engine's mapping."""

from __future__ import annotations

from typing import Any

import pytest

from environments.canonical.documents import Document
from migrations_app.engine.mapping import AssetMapping
from migrations_app.mappings import (
    backend_of,
    clean_databases,
    clean_substitutions,
    database_target,
    default_catalog,
    mapping_to_json,
)
from sstools.errors import Invalid
from tests.canonical.builders import one, raw_database, raw_dataset, uid


def _connection(uri: str) -> Document:
    return one(raw_database(1, uri))


def _datasets(*catalogs: str | None) -> list[Document]:
    return [one(raw_dataset(number, catalog=catalog)) for number, catalog in enumerate(catalogs, start=1)]


@pytest.mark.parametrize(
    ("uri", "carried", "catalog"),
    [
        ("postgresql+psycopg2://u:XXXXXXXXXX@h/prod", ("dev", "dev"), "prod"),  # it can read no other one
        ("postgresql://u@h/my%20db?sslmode=require", (), "my db"),
        ("postgresql://u@h", ("a", "b", "b", None), "b"),
        ("trino://u@h:8080/hive/default", (), "hive"),
        ("snowflake://u:XXXXXXXXXX@acc/DB/SCHEMA?warehouse=w", (), "DB"),
        ("bigquery://my-project/dataset", ("x",), "my-project"),
        (
            "databricks+connector://token:XXXXXXXXXX@h:443/default?http_path=x",
            ("main", "main", "dev"),
            "main",
        ),
        ("databricks://h", (), None),
    ],
)
def test_the_catalog_that_datasets_of_a_connection_carry(uri: str, carried: Any, catalog: str | None) -> None:
    connection = _connection(uri)
    assert default_catalog(connection, _datasets(*carried)) == catalog
    target = database_target(
        connection.uuid, {}, {connection.uuid: connection} | {d.uuid: d for d in _datasets(*carried)}
    )
    assert (target.has_catalogs, target.default_catalog) == (True, catalog)


@pytest.mark.parametrize(
    "uri", ["mysql://h/db", "sqlite:////x.db", "redshift+psycopg2://h/db", "hana://h", "", "nonsense"]
)
def test_engines_without_catalogs_keep_what_the_source_says(uri: str) -> None:
    connection = _connection(uri)
    target = database_target(connection.uuid, {}, {connection.uuid: connection})
    assert (target.has_catalogs, target.default_catalog) == (False, None)
    assert target.catalog(None) is None


def test_a_dialect_is_known_without_its_driver() -> None:
    assert backend_of(_connection("PostgreSQL+psycopg2://h/db")) == "postgresql"
    assert backend_of(_connection("")) == ""


def test_entries_for_what_is_not_set_are_understood() -> None:
    connection = _connection("mysql://h/db")
    entry = {"schemas": {"": "reporting", "dev": ""}, "catalogs": {"a": "b"}}
    target = database_target(connection.uuid, entry, {connection.uuid: connection})
    assert target.schema(None) == "reporting"
    assert target.schema("dev") is None
    assert target.schema("other") == "other"
    assert target.catalog("a") == "b"
    kept = mapping_to_json(AssetMapping({uid("b", 2): target}))["databases"][uid("b", 2)]
    assert (kept["schemas"], kept["catalogs"]) == (entry["schemas"], entry["catalogs"])


def test_databases_are_cleaned_and_wrong_ones_named() -> None:
    here, there = uid("b", 1), uid("b", 2)
    assert clean_databases({here: there.upper()}) == {here: {"target": there, "schemas": {}, "catalogs": {}}}
    assert clean_databases({here: None, there: ""}) == {here: None, there: None}
    with pytest.raises(Invalid) as error:
        clean_databases({here: "Warehouse", "x": there, there: 7})
    assert set(error.value.errors) == {f"databases.{here}", "databases.x", f"databases.{there}"}


def test_a_pattern_that_does_not_work_is_named() -> None:
    rows = [
        {"find": "", "replace": "x"},
        {"find": "(", "replace": "", "is_pattern": True},
        {"find": "(a)", "replace": r"\2", "is_pattern": True},
        {"find": "(", "replace": r"\2"},
    ]
    with pytest.raises(Invalid) as error:
        clean_substitutions(rows)
    assert "substitutions.1" in error.value.errors
    assert clean_substitutions(rows[3:]) == [{"find": "(", "replace": r"\2", "is_pattern": False}]
    assert clean_substitutions(rows[:1]) == []
