"""The table of copies: as CSV and as rows, and what is wrong with a row in words."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from migrations_app.engine.copies import ANY, NAME, Change, Copy, names_in
from sstools.errors import Invalid

MOST_COPIES = 500
MOST_VALUES = 50
LONGEST = 500  # characters of a value or a pattern
KEY = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.\-]{0,59}$")
#: Columns of a table with a meaning of their own; "database:NAME" and the like are for one connection or schema.
PATTERNS = ("title", "slug")
MAPPINGS = {"database": "databases", "schema": "schemas", "catalog": "catalogs"}
UUIDS = {"": False, "own": False, "source": True}
#: Names that mean the source's own in a pattern, by the pattern.
OWN_NAMES = {
    "title": {"key", "title", "slug"},
    "slug": {"key", "title", "slug"},
    "chart_title": {"key", "title"},
    "dataset_name": {"key", "name"},
}
RESERVED = {"key", "title", "slug", "name"}


@dataclass
class Row:
    """One copy as somebody gave it. `line`: where it stands, for messages; 0 where it came as data."""

    key: str
    target: str
    values: dict[str, str] = field(default_factory=dict)
    parameters: dict[str, Any] = field(default_factory=dict)
    keeps_uuids: bool = False
    line: int = 0


def parse(text: str) -> list[Row]:
    """The rows of a table: first line the names of columns, separated by comma, semicolon or tab. Raises Invalid, by
    line.
    """
    text = text.lstrip("\ufeff").strip("\r\n")
    if not text.strip():
        return []
    errors: dict[str, list[str]] = {}
    head = text.splitlines()[0]
    delimiter = max("\t;,", key=head.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows: list[Row] = []
    columns: list[str] = []
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if not columns:
                columns = [name.strip() for name in cells]
                _check_columns(columns)
                continue
            try:
                rows.append(_row(columns, cells, reader.line_num))
            except Invalid as error:
                errors[f"line {reader.line_num}"] = [error.message]
    except csv.Error as error:
        errors[f"line {reader.line_num}"] = [f"This is no CSV: {error}."]
    if errors:
        raise wrong_table(errors)
    return rows


def wrong_table(errors: Mapping[str, list[str]]) -> Invalid:
    """Nothing of a table with an error in it is kept."""
    number = sum(map(len, errors.values()))
    return Invalid(
        f"The table of copies has {number} {'error' if number == 1 else 'errors'}; nothing of it was saved.",
        code="wrong_copies",
        errors=dict(sorted(errors.items(), key=lambda item: int(re.sub(r"\D", "", item[0]) or 0))),
    )


def _check_columns(columns: Sequence[str]) -> None:
    errors = []
    for needed in ("key", "target"):
        if needed not in columns:
            errors.append(f"The column “{needed}” is missing.")
    errors += [f"The column “{name}” is there twice." for name in sorted(_doubled(columns))]
    for name in columns:
        known = name in ("key", "target", "uuids", *PATTERNS, *MAPPINGS) or name.partition(":")[0] in MAPPINGS
        if not known and not NAME.match(name):
            errors.append(
                f"“{name}” is no name of a value: lower-case letters, digits and _, beginning with a letter."
            )
    if errors:
        raise wrong_table({"line 1": errors})


def _row(columns: Sequence[str], cells: Sequence[str], line: int) -> Row:
    if len(cells) > len(columns) and any(cell.strip() for cell in cells[len(columns) :]):
        raise Invalid(f"{len(cells)} cells, and {len(columns)} columns.")
    data = {name: cell.strip() for name, cell in zip(columns, cells, strict=False)}
    row = Row(data.pop("key", ""), data.pop("target", ""), line=line)
    uuids = data.pop("uuids", "").lower()
    if uuids not in UUIDS:
        raise Invalid(f"uuids: “{uuids}” is neither own nor source.")
    row.keeps_uuids = UUIDS[uuids]
    for name, value in data.items():
        group, _, what = name.partition(":")
        if group in MAPPINGS:
            if value:
                row.parameters.setdefault(MAPPINGS[group], {})[what or ANY] = value
        elif name in PATTERNS:
            if value:
                row.parameters[name] = value
        else:
            row.values[name] = value
    return row


def as_csv(rows: Iterable[Row]) -> str:
    """The same table again. Changes that a copy has of its own are not in it."""
    rows = list(rows)
    columns = ["key", "target"]
    if any(row.keeps_uuids for row in rows):
        columns.append("uuids")
    cells: list[dict[str, str]] = []
    more: dict[str, None] = {}
    for row in rows:
        cell = {"key": row.key, "target": row.target, "uuids": "source" if row.keeps_uuids else ""}
        cell |= {name: str(row.parameters[name]) for name in PATTERNS if row.parameters.get(name)}
        for column, group in MAPPINGS.items():
            for name, value in (row.parameters.get(group) or {}).items():
                cell[column if name == ANY else f"{column}:{name}"] = value
        cell |= row.values
        more |= dict.fromkeys(name for name in cell if name not in ("key", "target", "uuids"))
        cells.append(cell)
    columns += more
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, columns, restval="", lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(cells)
    return out.getvalue()


# --- What is wrong with a row
# ---------------------------------------------------------------------------------------------


def row_problems(row: Row, terms: Copy) -> Iterator[str]:
    """What one row lacks by itself, as the copy that it becomes."""
    if not KEY.match(row.key):
        yield (
            f"“{row.key}” is no key: letters, digits, “.”, “_” and “-”, at most 60."
            if row.key
            else "It has no key."
        )
    if len(row.values) > MOST_VALUES:
        yield f"{len(row.values)} values; at most {MOST_VALUES}."
    for name, value in row.values.items():
        if not NAME.match(name) or name in RESERVED:
            yield f"“{name}” is no name of a value."
        elif len(value) > LONGEST or "\0" in value:
            yield f"The value of “{name}” is too long, or holds a NUL character: at most {LONGEST} characters."
    for group in MAPPINGS.values():
        for name, value in getattr(terms, group).items():
            if max(len(name), len(value)) > LONGEST or "\0" in name + value:
                yield f"{group.capitalize()}: at most {LONGEST} characters, and no NUL character."
    for what, names in _wanted(terms):
        for name in sorted(names - set(row.values)):
            yield f"{what} asks for {{{name}}}, and the copy has no value of that name."
    if terms.shares_datasets and (terms.databases or terms.schemas or terms.catalogs):
        yield (
            "The copies share the source's datasets: connection, schema and catalog are then those of the mapping "
            "between the environments, and not a copy's own."
        )


def pattern_problems(patterns: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """(field, text) of patterns that cannot be used."""
    for name, pattern in patterns.items():
        if len(pattern) > 200:
            yield name, "At most 200 characters."
        if "\0" in pattern:
            yield name, "The NUL character is in no name."
    for name in ("title", "chart_title", "dataset_name"):
        if name in patterns and not patterns[name].strip():
            yield name, "Give a pattern; {title} (of a dataset {name}) is what it is called on the source."


def _wanted(terms: Copy) -> Iterator[tuple[str, set[str]]]:
    """(what asks, the names that it wants values for)."""
    for name, own in OWN_NAMES.items():
        yield f"The pattern of {name.replace('_', ' ')}", names_in(getattr(terms, name)) - own
    for one in terms.changes:
        yield f"The replacement of “{one.find}”", names_in(one.replace) - {"key"}
    for group in MAPPINGS.values():
        for name, value in getattr(terms, group).items():
            yield f"{group.capitalize()}, {'all' if name == ANY else name}", names_in(value) - {"key"}


def table_problems(
    rows: Sequence[tuple[Row, Copy]], source: str, same: Mapping[str, str] | None = None
) -> Iterator[tuple[int, str]]:
    """(index, text) of what rows cannot be beside each other, or beside the source on its own environment (a slug).

    same: slug -> what it shares with the others of one Superset, which may be registered twice.
    """

    def place(slug: str) -> str:
        return (same or {}).get(slug, slug)

    if len(rows) > MOST_COPIES:
        yield 0, f"{len(rows)} copies; at most {MOST_COPIES}."
    keys = _doubled([row.key for row, _ in rows])
    seen: dict[tuple[str, str, str], str] = {}
    source = place(source)
    targets = [place(row.target) for row, _ in rows]
    for index, (row, terms) in enumerate(rows):
        if row.key in keys:
            yield index, f"The key “{row.key}” is there twice."
        if row.keeps_uuids and targets[index] == source:
            yield index, "A copy beside its source cannot keep the source's uuids."
        elif row.keeps_uuids and targets.count(targets[index]) > 1:
            yield (
                index,
                f"Only one copy of a target may keep the source's uuids, and {row.target} has several.",
            )
        named = {"title": terms.filled(terms.title, title="Title", slug="slug")}
        if terms.slug:
            named["slug"] = terms.filled(terms.slug, title="Title", slug="slug")
        for what, name in named.items():
            if targets[index] == source and name == {"title": "Title", "slug": "slug"}[what]:
                yield index, f"Its {what} would be that of the source, on the same environment."
            other = seen.setdefault((targets[index], what, name), row.key)
            if other != row.key:
                yield (
                    index,
                    f"Its dashboards would have the same {what} as those of “{other}” on {row.target}.",
                )


def _doubled(names: Sequence[str]) -> set[str]:
    return {name for name in names if names.count(name) > 1}


def terms_of(fan_out: Any, row: Row, **more: Any) -> Copy:
    """The copy that a row of a template's table stands for."""
    own = row.parameters
    patterns: dict[str, Any] = {
        "title": str(own.get("title") or ("{title}" if row.keeps_uuids else fan_out.title)),
        "slug": str(own.get("slug") or ("{slug}" if row.keeps_uuids else fan_out.slug)),
    }
    return Copy(
        template=str(fan_out.uuid),
        key=row.key,
        **patterns,
        chart_title=fan_out.chart_title,
        dataset_name="{name}" if row.keeps_uuids else fan_out.dataset_name,
        keeps_uuids=row.keeps_uuids,
        shares_datasets=fan_out.shares_datasets and not row.keeps_uuids,
        databases=own.get("databases") or {},
        schemas=own.get("schemas") or {},
        catalogs=own.get("catalogs") or {},
        changes=tuple(Change(**one) for one in [*fan_out.changes, *(own.get("changes") or [])]),
        values=row.values,
        selection=tuple(fan_out.selection),
        **more,
    )
