"""Datasets and connections: what means the same is the same, and no secret survives."""

# ruff: noqa: E501  one case, one line

from __future__ import annotations

import json
from typing import Any

import pytest

from environments.canonical.comparison import comparison_fingerprint
from environments.canonical.documents import Kind
from environments.canonical.ids import IdTable
from environments.canonical.rendering import Dialect, render

from .builders import codes, one, raw_database, raw_dataset, read, uid

A, B = {"column_name": "a", "type": "TEXT"}, {"column_name": "b", "type": "INT"}


def _same(one_data: dict[str, Any], other: dict[str, Any]) -> bool:
    return one(raw_dataset(1, **one_data)).fingerprint == one(raw_dataset(1, **other)).fingerprint


def test_the_order_of_columns_and_metrics_means_nothing() -> None:
    assert _same({"columns": [A, B]}, {"columns": [B, A]})
    first, second = {"metric_name": "m", "expression": "1"}, {"metric_name": "n", "expression": "2"}
    assert _same({"metrics": [first, second]}, {"metrics": [second, first]})


@pytest.mark.parametrize("empty", ["", None, {}])
@pytest.mark.parametrize("field", ["template_params", "params", "extra", "description", "default_endpoint",
                                   "fetch_values_predicate", "sql", "schema", "catalog"])  # fmt: skip
def test_empty_is_one_thing(field: str, empty: Any) -> None:
    """An empty text in template_params fails imports before 6.0."""
    assert one(raw_dataset(1, **{field: empty})).body[field] is None


@pytest.mark.parametrize(
    "field", ["verbose_name", "expression", "description", "python_date_format", "extra"]
)
def test_empty_is_one_thing_in_columns(field: str) -> None:
    assert _same({"columns": [{**A, field: ""}]}, {"columns": [{**A, field: None}]})
    assert _same({"columns": [{**A, field: ""}]}, {"columns": [A]})


def test_a_column_without_word_on_it_is_active() -> None:
    assert _same({"columns": [{**A, "is_active": None}]}, {"columns": [{**A, "is_active": True}]})
    assert not _same({"columns": [{**A, "is_active": False}]}, {"columns": [A]})


def test_a_currency_is_the_same_as_text_and_as_map() -> None:
    currency = {"symbol": "EUR", "symbolPosition": "suffix"}
    text = {"metric_name": "m", "expression": "1", "currency": json.dumps(currency)}
    assert _same({"metrics": [text]}, {"metrics": [{**text, "currency": currency}]})
    assert _same({"metrics": [{**text, "currency": "{}"}]}, {"metrics": [{**text, "currency": None}]})
    document = one(raw_dataset(1, metrics=[text]))
    old = render([document], IdTable(), dialect=Dialect(currency_as_text=True))[0].data["metrics"][0][
        "currency"
    ]
    assert json.loads(old) == currency
    assert render([document], IdTable())[0].data["metrics"][0]["currency"] == currency


def test_json_kept_in_texts_is_parsed() -> None:
    """database/export leaves template_params and extra as text."""
    assert _same(
        {"extra": '{"a": 1}', "template_params": '{"b": 2}'}, {"extra": {"a": 1}, "template_params": {"b": 2}}
    )
    assert one(raw_dataset(1, extra="{broken")).body["extra"] == "{broken"


def test_an_inherited_cache_timeout_is_the_connections_own() -> None:
    """6.1 exports the effective timeout; imported, it would freeze in the dataset."""
    document = one(raw_dataset(1, cache_timeout=60), raw_database(1, cache_timeout=60))
    assert document.body["cache_timeout"] is None
    assert (
        one(raw_dataset(1, cache_timeout=60), raw_database(1, cache_timeout=61)).body["cache_timeout"] == 60
    )
    assert (
        one(raw_dataset(1, cache_timeout=60), raw_database(1, cache_timeout=None)).body["cache_timeout"] == 60
    )


def test_what_would_load_files_or_dangle_is_left_out() -> None:
    reading = read(
        raw_dataset(1, data="https://x/y.csv", data_file="y", source_db_engine="z", folders=[{"uuid": "q"}])
    )
    body = reading.documents[uid("e", 1)].body
    assert not {"data", "data_file", "source_db_engine", "folders", "uuid", "version"} & set(body)
    assert codes(reading) == {"folders"}


def test_uuids_of_columns_are_left_out() -> None:
    assert _same({"columns": [{**A, "uuid": "1"}]}, {"columns": [{**A, "uuid": "2"}]})


@pytest.mark.parametrize("columns", [None, {}, "x", [None], ["a"], [[]]])
def test_damaged_columns_are_read(columns: Any) -> None:
    asset = raw_dataset(1)
    asset.data["columns"] = columns
    reading = read(asset)
    assert "unreadable" not in codes(reading)
    assert all(set(column) for column in reading.documents[uid("e", 1)].body["columns"])


def test_fields_that_a_version_does_not_know_are_not_sent() -> None:
    document = one(raw_dataset(1, currency_code_column="c", columns=[{**A, "datetime_format": "%Y"}]))
    dialect = Dialect({Kind.DATASET: frozenset({"currency_code_column", "columns.datetime_format"})})
    data = render([document], IdTable(), dialect=dialect)[0].data
    assert "currency_code_column" not in data
    assert "datetime_format" not in data["columns"][0]


def test_a_macro_reads_the_dataset_of_the_same_uuid_everywhere() -> None:
    sql = "select * from {{ dataset(2) }} join {{dataset( dataset_id = 2, include_metrics=True)}} where {{ metric('m', 2) }}"
    reading = read(raw_dataset(1, sql=sql), raw_dataset(2))
    document = reading.documents[uid("e", 1)]
    assert document.body["sql"].count(f"⟦dataset:{uid('e', 2)}⟧") == 3
    rendered = render([document], IdTable([(Kind.DATASET, 77, uid("e", 2))]))[0]
    assert rendered.data["sql"] == sql.replace("2,", "77,").replace("(2)", "(77)").replace(" 2)", " 77)")
    assert render([document], IdTable())[0].missing == {(Kind.DATASET, uid("e", 2))}


# --- connections

SECRETS = ("s3cret", "p@ss", "pa/ss", "hunter2")


@pytest.mark.parametrize(
    ("uri", "kept"),
    [
        ("postgresql://u:s3cret@h:5432/db", "postgresql://u:XXXXXXXXXX@h:5432/db"),
        ("postgresql://u:XXXXXXXXXX@h/db", "postgresql://u:XXXXXXXXXX@h/db"),
        ("postgresql+psycopg2://u:p@ss@h/db", "postgresql+psycopg2://u:XXXXXXXXXX@h/db"),
        ("mysql://u:pa/ss@h/db", "mysql://u:XXXXXXXXXX@h/db"),
        ("mysql://u:pa/p@ss@h/db?charset=utf8", "mysql://u:XXXXXXXXXX@h/db?charset=utf8"),
        ("databricks+connector://token:s3cret@h:443/default", "databricks+connector://token:XXXXXXXXXX@h:443/default"),
        ("postgresql://:s3cret@h/db", "postgresql://:XXXXXXXXXX@h/db"),
        ("postgresql://u:@h/db", "postgresql://u:XXXXXXXXXX@h/db"),
        ("postgresql://u@h/db", "postgresql://u@h/db"),
        ("postgresql://h:5432/db", "postgresql://h:5432/db"),
        ("sqlite:////data/x.db?check_same_thread=false", "sqlite:////data/x.db?check_same_thread=false"),
        ("postgresql://h/db?user=u&password=s3cret&sslmode=require", "postgresql://h/db?user=u&password=XXXXXXXXXX&sslmode=require"),
        ("postgresql://u@h/db?sslkey=/keys/hunter2&sslpassword=s3cret", "postgresql://u@h/db?sslkey=XXXXXXXXXX&sslpassword=XXXXXXXXXX"),
        ("snowflake://u:s3cret@acc/db/sch?warehouse=w&role=r&token=hunter2", "snowflake://u:XXXXXXXXXX@acc/db/sch?warehouse=w&role=r&token=XXXXXXXXXX"),
        ("awsathena+rest://AKIA:s3cret@athena.eu.amazonaws.com/db?s3_staging_dir=s3://b/x&aws_secret_access_key=hunter2",
         "awsathena+rest://AKIA:XXXXXXXXXX@athena.eu.amazonaws.com/db?s3_staging_dir=s3://b/x&aws_secret_access_key=XXXXXXXXXX"),
        ("mssql+pyodbc:///?odbc_connect=DRIVER%3D%7BX%7D%3BUID%3Du%3BPWD%3Dhunter2", "mssql+pyodbc:///?odbc_connect=XXXXXXXXXX"),
        ("bigquery://project?credentials_base64=hunter2", "bigquery://project?credentials_base64=XXXXXXXXXX"),
        ("trino://u:s3cret@[::1]:8443/hive", "trino://u:XXXXXXXXXX@[::1]:8443/hive"),
    ],
)  # fmt: skip
def test_no_password_survives_and_the_rest_of_the_address_does(uri: str, kept: str) -> None:
    body = one(raw_database(1, uri)).body
    assert body["sqlalchemy_uri"] == kept
    assert not [secret for secret in SECRETS if secret in json.dumps(body)]


@pytest.mark.parametrize(
    "extra",
    [
        {"engine_params": {"connect_args": {"password": "s3cret", "ssl": {"ssl_key": "hunter2"}}}},
        {"engine_params": {"connect_args": {"http_headers": {"Authorization": "Bearer hunter2"}}}},
        {"engine_params": {"connect_args": {"http_proxy": "http://u:s3cret@proxy:3128"}}},
        {"metadata_params": {"api_token": ["hunter2"]}},
        '{"engine_params": {"connect_args": {"private_key_pwd": "hunter2"}}}',
        "password=s3cret, not JSON",
    ],
)
def test_no_secret_of_extra_survives(extra: Any) -> None:
    text = json.dumps(one(raw_database(1, extra=extra)).body)
    assert not [secret for secret in SECRETS if secret in text]


def test_secret_fields_are_no_part_of_a_connection() -> None:
    fields = {
        "password": "s3cret",
        "encrypted_extra": "hunter2",
        "masked_encrypted_extra": "x",
        "ssh_tunnel": {"password": "s3cret"},
    }
    body = one(raw_database(1, **fields)).body
    assert not set(fields) & set(body)


def test_every_export_names_file_uploads_its_own_way() -> None:
    one_way = raw_database(1, allow_csv_upload=True, extra={"schemas_allowed_for_csv_upload": ["a"]})
    other = raw_database(1, allow_file_upload=True, extra={"schemas_allowed_for_file_upload": ["a"]})
    assert one(one_way).fingerprint == one(other).fingerprint


def test_connections_are_compared_by_name_only_and_never_rendered() -> None:
    first, second = one(raw_database(1, "a://b")), one(raw_database(1, "c://d"))
    assert first.fingerprint != second.fingerprint
    assert comparison_fingerprint(first) == comparison_fingerprint(second)
    assert render([first], IdTable()) == []
