"""Writing the state to a file, as it was at one moment."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.db import connection, models, transaction
from django.utils import timezone

from sstools import __version__
from sstools.audit import services as audit

from .files import FORMAT, Keys, Writer, cannot_write
from .tables import Table, left_out, references, tables

CHUNK = 1000
Say = Callable[[str], None]


@dataclass(frozen=True)
class Exported:
    """fingerprint: SHA-256 of the manifest. rows: name of the table -> how many."""

    path: Path
    fingerprint: str
    rows: dict[str, int]
    with_secrets: bool


def export_state(
    path: Path, *, actor: Any, passphrase: str = "", replace: bool = False, say: Say = print
) -> Exported:
    """Write what ss-tools knows to `path`; with a passphrase also its secrets, encrypted with it.

    Others may write meanwhile: what is in the file is as it was at one moment. Raises StateError, SecretUnreadable;
    nothing of the file is left then.
    """
    keys = Keys(passphrase) if passphrase else None
    writer = Writer(path, replace=replace)
    try:
        with one_moment():
            found = _write(writer, keys, say)
        manifest = {
            "product": "ss-tools state",
            "format": FORMAT,
            "version": __version__,
            "made_at": timezone.now().isoformat(),
            "key": keys.terms if keys else None,
            "tables": found,
            "left_out": left_out(),
        }
        fingerprint = writer.finish(manifest, keys)
    except OSError as exc:
        writer.drop()
        raise cannot_write(path, exc) from None
    except BaseException:
        writer.drop()
        raise
    rows = {str(one["name"]): int(one["rows"]) for one in found}
    data = {"fingerprint": fingerprint, "with_secrets": bool(keys), "rows": sum(rows.values())}
    audit.record("state:export", "state:all", actor=actor, data=data, source="command")
    return Exported(path, fingerprint, rows, bool(keys))


@contextmanager
def one_moment() -> Iterator[None]:
    """All that is read within is of one moment, and nobody who writes waits for it."""
    if connection.in_atomic_block:
        yield
    elif connection.vendor == "postgresql":
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            yield
    else:
        # Our own transactions take SQLite's write lock as they begin; this one never writes.
        with connection.cursor() as cursor:
            cursor.execute("BEGIN DEFERRED")
            try:
                yield
            finally:
                cursor.execute("ROLLBACK")


def _write(writer: Writer, keys: Keys | None, say: Say) -> list[dict[str, Any]]:
    wanted: dict[type[models.Model], set[Any]] = {}
    parts = tables()
    found = []
    # What is collected comes last: only then it is known what is referred to.
    for one in sorted(parts, key=lambda part: part.is_collected):
        if one.secret_rows and keys is None:
            continue
        names = [name for name in one.fields if keys is not None or name not in one.secrets]
        part = writer.member(f"tables/{one.name}.jsonl", _lines(one, names, keys, wanted))
        found.append({"name": one.name, "columns": names, **part})
        say(f"{part['rows']} {one.words}")
    return found


def _lines(
    one: Table, names: list[str], keys: Keys | None, wanted: dict[type[models.Model], set[Any]]
) -> Iterator[str]:
    columns = [one.fields[name] for name in names]
    collected = {names.index(name): model for name, model in references(one).items() if _is_collected(model)}
    locked = [name in one.secrets for name in names]
    for values in _rows(one, [column.attname for column in columns], wanted.get(one.model, set())):
        for place, model in collected.items():
            if values[place] is not None:
                wanted.setdefault(model, set()).add(values[place])
        row = [
            keys.lock(str(value)) if keys is not None and is_locked else plain(value)
            for value, is_locked in zip(values, locked, strict=True)
        ]
        yield json.dumps(row, ensure_ascii=False, separators=(",", ":"))


def _rows(one: Table, attnames: list[str], wanted: set[Any]) -> Iterator[Sequence[Any]]:
    if not one.is_collected:
        yield from one.queryset().values_list(*attnames).iterator(chunk_size=CHUNK)
        return
    keys = sorted(wanted)
    for start in range(0, len(keys), CHUNK // 2):  # older builds of SQLite take 999 values in a statement
        some = one.queryset().filter(pk__in=keys[start : start + CHUNK // 2])
        yield from _filled(one, attnames, [list(row) for row in some.values_list(*attnames)])


def _filled(one: Table, attnames: list[str], rows: list[list[Any]]) -> list[list[Any]]:
    """The rows with what of them is kept elsewhere."""
    key = attnames.index(one.pk)
    for name, read in one.fills.items():
        place = attnames.index(name)
        if missing := [row[key] for row in rows if row[place] is None]:
            found = read(missing)
            for row in rows:
                if row[place] is None:
                    row[place] = found.get(row[key])
    return rows


def _is_collected(model: type[models.Model]) -> bool:
    return any(one.model is model and one.is_collected for one in tables())


def plain(value: Any) -> Any:
    """A value of a column in JSON; `Field.to_python` reads it back."""
    if value is None or isinstance(value, bool | int | float | str | list | dict):
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(bytes(value)).decode()
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
