"""What can be searched in an asset: its texts, each with the name of the place where it stands. No Django here.

Addresses of connections are not among them, nor anything else that might hold a secret: of a connection only its name,
its kind and its uuid can be found.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from environments.canonical.documents import Kind

VERSION = 2  # of these rules: what was indexed by older ones is indexed anew after the next reading
MOST_TEXT = 100_000  # characters of one asset; what comes after them cannot be found
MOST_VALUE = 20_000  # of one setting of a chart


class Rank(IntEnum):
    """How well a text says what the asset is: hits in titles come before those in names, and those before others."""

    TITLE, NAME, TEXT = range(3)


@dataclass(frozen=True)
class Text:
    label: str
    text: str
    rank: Rank


# Settings of charts whose values are Superset's own words, in every chart.
_PLAIN_SETTINGS = frozenset(
    {
        "clause",
        "color_scheme",
        "datasource",
        "expressionType",
        "filterOptionName",
        "operator",
        "operatorId",
        "optionName",
        "subject_type",
        "viz_type",
    }
)
_NAMES = frozenset(
    {"metric", "metrics", "groupby", "columns", "all_columns", "x_axis", "column_name", "label"}
)
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", re.IGNORECASE)


def texts_of(row: Mapping[str, Any], body: Mapping[str, Any] | None) -> list[Text]:
    """The texts of an asset, the best first.

    `row`: kind, title, slug, uuid, schema, catalog, viz_type, backend, owners ([{"name", "email"}]), tags of the
    inventory.
    `body`: of its canonical document, None where it was not read. At most MOST_TEXT characters.
    """
    found: list[Text] = []
    room = MOST_TEXT
    seen: set[tuple[str, str]] = set()
    for one in sorted(_texts(row, body), key=lambda text: text.rank):
        if (one.label, one.text) in seen or room <= 0:
            continue
        seen.add((one.label, one.text))
        found.append(Text(one.label, one.text[:room], one.rank))
        room -= len(one.text)
    return found


def _texts(row: Mapping[str, Any], body: Mapping[str, Any] | None) -> Iterator[Text]:
    kind = Kind(row["kind"])
    yield Text("title", str(row["title"]), Rank.TITLE)
    for label in ("slug", "uuid", "schema", "catalog", "backend"):
        if row.get(label):
            yield Text(label, str(row[label]), Rank.NAME)
    if row.get("viz_type"):
        yield Text("chart type", str(row["viz_type"]), Rank.NAME)
    for owner in row.get("owners") or ():
        yield Text("owner", " ".join(filter(None, (owner.get("name"), owner.get("email")))), Rank.NAME)
    for tag in row.get("tags") or ():
        yield Text("tag", str(tag), Rank.NAME)
    if body is not None and kind != Kind.DATABASE:
        of_kind = {Kind.DATASET: _dataset, Kind.CHART: _chart, Kind.DASHBOARD: _dashboard}[kind]
        for one in (*of_kind(body), *_described(body)):
            if one.text.strip():
                yield one


def _described(body: Mapping[str, Any]) -> Iterator[Text]:
    for name, label in (
        ("description", "description"),
        ("certified_by", "certified by"),
        ("certification_details", "certification"),
    ):
        yield Text(label, _string(body.get(name)), Rank.TEXT)


def _dataset(body: Mapping[str, Any]) -> Iterator[Text]:
    for label, key in (("metric", "metrics"), ("column", "columns")):
        for one in _mappings(body.get(key)):
            yield Text(label, _string(one.get(f"{label}_name")), Rank.NAME)
            yield Text(label, _string(one.get("verbose_name")), Rank.NAME)
            name = _string(one.get(f"{label}_name"))
            for part in ("expression", "description"):
                if text := _string(one.get(part)):
                    yield Text(f"{part} of {label} {name}", text, Rank.TEXT)
    yield Text("SQL", _string(body.get("sql")), Rank.TEXT)
    yield Text("values predicate", _string(body.get("fetch_values_predicate")), Rank.TEXT)


def _chart(body: Mapping[str, Any]) -> Iterator[Text]:
    yield from _settings(body.get("params"), "")


def _settings(value: Any, name: str) -> Iterator[Text]:
    """Every text below a chart's settings: metrics and columns by their names, SQL as such, others by their key."""
    if isinstance(value, Mapping):
        for key, part in value.items():
            if key not in _PLAIN_SETTINGS:
                # A metric written by hand is a mapping with a label and SQL.
                yield from _settings(part, name if key == "label" and name in _NAMES else str(key))
    elif isinstance(value, list):
        for part in value:
            yield from _settings(part, name)
    elif isinstance(value, str) and len(value) > 1 and not _UUID.match(value):
        if name == "sqlExpression":
            yield Text("SQL", value[:MOST_VALUE], Rank.TEXT)
        elif name in _NAMES:
            yield Text("metric" if name.startswith("metric") else "column", value[:MOST_VALUE], Rank.NAME)
        else:
            yield Text(f"setting {name}", value[:MOST_VALUE], Rank.TEXT)


def _dashboard(body: Mapping[str, Any]) -> Iterator[Text]:
    position = body.get("position")
    for node in position.values() if isinstance(position, Mapping) else ():
        meta = node.get("meta") if isinstance(node, Mapping) else None
        if isinstance(meta, Mapping):
            yield Text("tab or header", _string(meta.get("text")), Rank.TEXT)
            yield Text("chart's title on it", _string(meta.get("sliceNameOverride")), Rank.TEXT)
            yield Text("text on it", _string(meta.get("code")), Rank.TEXT)
    metadata = body.get("metadata")
    configured = metadata.get("native_filter_configuration") if isinstance(metadata, Mapping) else None
    for one in _mappings(configured):
        yield Text("filter", _string(one.get("name")), Rank.NAME)
        yield Text("filter's description", _string(one.get("description")), Rank.TEXT)
        for target in _mappings(one.get("targets")):
            column = target.get("column")
            yield Text(
                "filter's column",
                _string(column.get("name")) if isinstance(column, Mapping) else "",
                Rank.NAME,
            )


def _mappings(value: Any) -> list[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []


def _string(value: Any) -> str:
    return value if isinstance(value, str) else ""
