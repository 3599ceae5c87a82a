"""Datasets and database connections."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from .context import ReadContext, RenderContext
from .documents import Kind
from .rules import DROPPED
from .trees import as_list, as_mapping, plain

#: Fields that are an empty text, an empty mapping or null for the same meaning. A template_params of ''
#: breaks imports before
#: 6.0 (I#27437, I#35037).
_EMPTY_IS_NULL = (
    "template_params",
    "params",
    "extra",
    "description",
    "default_endpoint",
    "fetch_values_predicate",
    "sql",
    "schema",
    "catalog",
)


def read_dataset(
    data: Mapping[str, Any], context: ReadContext, database_cache_timeout: int | None = None
) -> dict[str, Any]:
    """The canonical body of a dataset as exported (datasets/*/*.yaml, parsed).

    `database_cache_timeout` is the connection's own: 6.1 exports the inherited value as if it were the dataset's.
    """
    raw = plain(data)
    if raw.get("folders"):
        context.note(
            "folders",
            "Folders of columns and metrics are not carried: an export names them by uuids it does not contain.",
            "folders",
        )
    body = {key: value for key, value in raw.items() if key not in DROPPED[Kind.DATASET]}
    for key in ("template_params", "params", "extra"):
        body[key] = _parsed(body.get(key))
    for key in _EMPTY_IS_NULL:
        if body.get(key) in ("", {}, None):
            body[key] = None
    if database_cache_timeout is not None and body.get("cache_timeout") == database_cache_timeout:
        body["cache_timeout"] = None
    body["columns"] = sorted(
        (_read_column(column) for column in as_list(body.get("columns"))),
        key=lambda item: str(item.get("column_name")),
    )
    body["metrics"] = sorted(
        (_read_metric(metric) for metric in as_list(body.get("metrics"))),
        key=lambda item: str(item.get("metric_name")),
    )
    for key in ("sql", "fetch_values_predicate", "columns", "metrics", "template_params"):
        body[key] = context.texts(body.get(key), key)
    return body


def render_dataset(body: Mapping[str, Any], context: RenderContext) -> dict[str, Any]:
    """A dataset as imports take it; columns and metrics that the file does not name are deleted by an
    overwriting import.
    """
    return {
        key: context.texts(value)
        if key in ("sql", "fetch_values_predicate", "columns", "metrics", "template_params")
        else value
        for key, value in body.items()
    }


def _parsed(value: Any) -> Any:
    """JSON kept in a text (database/export leaves template_params and extra as text) as what it says."""
    if isinstance(value, str) and value.strip():
        try:
            return plain(json.loads(value))
        except ValueError:
            return value
    return value


def _read_column(column: Any) -> dict[str, Any]:
    body = {key: value for key, value in as_mapping(column).items() if key != "uuid"}
    body["extra"] = _parsed(body.get("extra")) or None
    # A null becomes the column's default when it is imported (is_active of SqlaTable's columns, seen at 6.1.0).
    body["is_active"] = body.get("is_active") is not False
    for key in (
        "verbose_name",
        "expression",
        "description",
        "python_date_format",
        "datetime_format",
        "advanced_data_type",
        "type",
    ):
        body[key] = body.get(key) or None
    return body


def _read_metric(metric: Any) -> dict[str, Any]:
    body = {key: value for key, value in as_mapping(metric).items() if key != "uuid"}
    for key in ("extra", "currency"):
        # currency is a text up to 5.0 and a mapping from 6.0
        body[key] = _parsed(body.get(key)) or None
    for key in ("verbose_name", "description", "d3format", "warning_text", "metric_type"):
        body[key] = body.get(key) or None
    return body


MASK = "XXXXXXXXXX"  # what Superset itself shows instead of a password (superset/constants.py, PASSWORD_MASK)
# user:password@ of an address. SQLAlchemy ends a password at the first @ and lets it hold / and ?; a person who forgot
# to escape an @ has more of them before the path ends, and Superset masks only what it could parse.
_PASSWORD = re.compile(r"(://[^/@:]*:)[^@]*@(?:[^?]*@)?")
_SECRET_NAME = re.compile(
    r"pass(?!ive|word_?less)|pwd|secret|token|credential|authorization|(?<!primary)(?<!foreign)key|odbc_connect|cookie",
    re.IGNORECASE,
)
_PARAMETER = re.compile(r"([?&;])([^=&;?]+)=([^&]*)")


def masked(value: Any, name: str = "") -> Any:
    """A JSON value without secrets: passwords in addresses, secret parameters of addresses, and texts under names that
    speak of secrets.
    """
    if isinstance(value, Mapping):
        return {key: masked(item, str(key)) for key, item in value.items()}
    if isinstance(value, list):
        return [masked(item, name) for item in value]
    if not isinstance(value, str) or not value:
        return value
    if _SECRET_NAME.search(name):
        return MASK
    if "://" not in value:
        return value
    return _PARAMETER.sub(_masked_parameter, _PASSWORD.sub(rf"\g<1>{MASK}@", value))


def _masked_parameter(match: re.Match[str]) -> str:
    return f"{match[1]}{match[2]}={MASK if _SECRET_NAME.search(match[2]) and match[3] else match[3]}"


def read_database(data: Mapping[str, Any], context: ReadContext) -> dict[str, Any]:
    """What a mapping needs to know of a connection, and what a run proves unchanged. No secret: a password
    comes masked, and everything that looks like one is masked again.
    """
    raw = plain(data)
    body = {key: value for key, value in raw.items() if key not in DROPPED[Kind.DATABASE]}
    # Dataset, chart and dashboard exports say file_upload where database and assets exports say csv_upload.
    if "allow_file_upload" in body:
        body["allow_csv_upload"] = body.pop("allow_file_upload")
    body["sqlalchemy_uri"] = str(body.get("sqlalchemy_uri") or "")
    extra = _parsed(body.get("extra")) or None
    if isinstance(extra, dict) and "schemas_allowed_for_file_upload" in extra:
        extra["schemas_allowed_for_csv_upload"] = extra.pop("schemas_allowed_for_file_upload")
    body["extra"] = MASK if isinstance(extra, str) else extra  # not JSON: nobody knows what is in it
    result: dict[str, Any] = masked(body)
    return result
