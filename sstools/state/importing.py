"""Bringing a file back: into an empty ss-tools, or, where that is safe, beside what is there."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.color import no_style
from django.db import IntegrityError, connection, models, transaction
from django.db.models import Max

from sstools.audit import services as audit

from .files import Damaged, Keys, Reader, StateError
from .tables import Table, references, tables

CHUNK = 500
Say = Callable[[str], None]
_SKIPPED = object()  # a row that was there before, as part of something that was there before


class Used(StateError):
    code = "state_not_empty"
    message = "This ss-tools is in use."
    remedy = (
        "Nothing was brought in. Start with an empty database, or take --merge: it adds what is not there, and leaves "
        "what is there as it is."
    )


class Clash(StateError):
    code = "state_clash"
    remedy = "Nothing was brought in. Rename what is there, or bring the file into an empty ss-tools."


@dataclass
class Imported:
    """By words of the rows: how many were `added`, and how many `left` as they are here or out. `said`: what else
    somebody has to know.
    """

    fingerprint: str
    added: dict[str, int] = field(default_factory=dict)
    left: dict[str, int] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)


@dataclass
class _Work:
    """renamed: model -> key in the file -> key here. old: the same of rows that were here before. offsets: what is
    added to the numbers of a model.
    """

    merge: bool
    keys: Keys | None
    renamed: dict[type[models.Model], dict[Any, Any]] = field(default_factory=dict)
    old: dict[type[models.Model], set[Any]] = field(default_factory=dict)
    offsets: dict[type[models.Model], int] = field(default_factory=dict)


def import_state(
    path: Path,
    *,
    actor: Any,
    passphrase: Callable[[], str] | None = None,
    merge: bool = False,
    fingerprint: str = "",
    say: Say = print,
) -> Imported:
    """Bring in what `export_state` wrote. All of it or nothing.

    Into an empty ss-tools, where people may be there already; they are matched by name. With `merge` into any: what is
    there stays as it is, with all that is part of it, and people get no rights. `fingerprint`: what the export said, to
    be sure that it is this file. `passphrase` is asked for where the file holds secrets. Raises Damaged,
    WrongPassphrase, Used, Clash, StateError.
    """
    reader = Reader(path)
    try:
        if fingerprint and fingerprint != reader.fingerprint:
            raise Damaged(f"{path} is another file than the one of this fingerprint.")
        keys = None
        if reader.has_secrets:
            if passphrase is None:
                raise StateError(f"{path} holds secrets: its passphrase is needed.", code="no_passphrase")
            keys = reader.keys(passphrase())
        reader.verify()
        say("The file is whole.")
        with transaction.atomic():
            return _bring_in(reader, _Work(merge, keys), actor, say)
    finally:
        reader.close()


def _bring_in(reader: Reader, work: _Work, actor: Any, say: Say) -> Imported:
    parts = tables()
    known = {one.name: one for one in parts}
    inside = {str(one["name"]): one for one in reader.manifest["tables"]}
    _must_be_known(inside, known)
    if not work.merge and (used := first_used()):
        raise Used(f"This ss-tools is in use: it has {used}.")
    done = Imported(reader.fingerprint)
    for one in parts:
        if one.name not in inside:
            continue
        entry = inside[one.name]
        count = 0
        rows = reader.rows(str(entry["file"]))
        try:
            while some := list(islice(rows, CHUNK)):
                count += len(_keep(one, list(entry["columns"]), some, work))
        except IntegrityError as exc:
            raise Clash(f"Something here stands in the way of the file's {one.words}.") from exc
        done.added[one.words] = count
        if left := int(entry["rows"]) - count:
            done.left[one.words] = left
        say(f"{count} {one.words}" + (f", {left} left as they are" if left else ""))
    _follow_numbers([one.model for one in parts if one.numbers])
    for model, offset in work.offsets.items():
        if offset:
            done.said.append(
                f"Numbers of {model._meta.verbose_name_plural} of the file are {offset} higher here."
            )
    data = {"fingerprint": done.fingerprint, "merge": work.merge, "added": sum(done.added.values())}
    audit.record("state:import", "state:all", actor=actor, data=data, source="command")
    return done


def first_used() -> str:
    """What this ss-tools has that an empty one has not, in words; "" if it is empty."""
    for one in tables():
        if not one.may_be_there and one.queryset().exists():
            return one.words
    return ""


def _must_be_known(inside: dict[str, Any], known: dict[str, Table]) -> None:
    """Raises StateError for what a newer version wrote: leaving a column out would change what it means."""
    for name, entry in inside.items():
        more = set() if name not in known else set(entry["columns"]) - set(known[name].fields)
        if name not in known or more:
            raise StateError(
                f"The file has {', '.join(sorted(more)) or 'rows'} of {name}, which this ss-tools does not know.",
                code="newer_format",
                remedy="Nothing was brought in. Use the version that made it, or a newer one.",
            )


# --- One portion of a table -----------------------------------------------------------------------------------------


def _keep(one: Table, names: list[str], rows: list[list[Any]], work: _Work) -> list[Any]:
    """Keep these rows; returns those that were added."""
    fresh: list[tuple[Any, models.Model]] = []
    renamed = work.renamed.setdefault(one.model, {})
    old = work.old.setdefault(one.model, set())
    candidates = [(row, made) for row in rows if (made := _made(one, names, row, work)) is not None]
    there = _there(one, [made for _, made in candidates])
    place = names.index(one.pk)
    for row, made in candidates:
        key = _plain_key(row[place])
        known = there.get(_key_of(one, made))
        if known is not None:
            renamed[key] = known
            old.add(key)
        elif not (work.merge and one.is_matched_only):
            fresh.append((key, made))
    if fresh and not one.of:
        _must_not_clash(one, [made for _, made in fresh])
    for key, made in fresh:
        _give_key(one, key, made, work)
        if one.prepare is not None:
            one.prepare(made)
    kept = one.model._base_manager.bulk_create([made for _, made in fresh])
    for (key, _), made in zip(fresh, kept, strict=True):
        renamed[key] = made.pk
    return kept


def _made(one: Table, names: list[str], row: list[Any], work: _Work) -> models.Model | None:
    """The row as it is to be here, None where it is left out. Raises Damaged."""
    leads = references(one)
    values: dict[str, Any] = {}
    if len(row) != len(names):
        raise Damaged(f"A row of {one.name} is not complete.")
    for name, stored in zip(names, row, strict=True):
        column = one.fields[name]
        if name in leads:
            found = _led(one, column, leads[name], stored, work)
            if found is _SKIPPED:
                return None
            values[column.attname] = found
        elif column.is_relation:
            values[column.attname] = None
        elif name in one.follows and stored is not None:
            values[name] = int(stored) + work.offsets.get(one.follows[name], 0)
        elif name in one.secrets and work.keys is not None:
            values[name] = work.keys.open(stored)
        else:
            values[name] = _value(one, column, stored)
    for name, fill in one.empty.items():
        if not values.get(name):
            values[name] = fill()
    if one.model._meta.pk is not None and not one.model._meta.pk.is_relation and not _is_natural(one):
        values.pop(one.pk, None)
    return one.model(**values)


def _led(one: Table, column: Any, model: type[models.Model], stored: Any, work: _Work) -> Any:
    """Where a foreign key of the file leads here."""
    if stored is None:
        return None
    key = _plain_key(stored)
    if work.merge and column.name in one.of and key in work.old.get(model, ()):
        return _SKIPPED
    found = work.renamed.get(model, {}).get(key)
    if found is None and not column.null:
        if work.merge:
            return _SKIPPED  # part of what was left out
        raise Damaged(f"A row of {one.name} belongs to a {model._meta.verbose_name} that is not in the file.")
    return found


def _value(one: Table, column: models.Field[Any, Any], stored: Any) -> Any:
    try:
        return stored if isinstance(column, models.JSONField) else column.to_python(stored)
    except (ValidationError, ValueError, TypeError) as exc:
        raise Damaged(f"A row of {one.name} has no usable {column.name}.") from exc


def _plain_key(value: Any) -> Any:
    return value if isinstance(value, int | str) else json.dumps(value)


def _is_natural(one: Table) -> bool:
    """Its key says something by itself: the fingerprint of a document."""
    return not isinstance(one.model._meta.pk, models.AutoField)


def _key_of(one: Table, made: models.Model) -> tuple[Any, ...]:
    return tuple(str(getattr(made, one.model._meta.get_field(name).attname)) for name in one.key)  # type: ignore[union-attr]


def _there(one: Table, made: Collection[models.Model]) -> dict[tuple[Any, ...], Any]:
    """Key -> primary key of those among these rows that are here already. One query; none for parts of what is new."""
    if not made:
        return {}
    attnames = [one.model._meta.get_field(name).attname for name in one.key]  # type: ignore[union-attr]
    rows = one.model._base_manager.all()
    first = attnames[0]
    rows = rows.filter(**{f"{first}__in": {getattr(row, first) for row in made}})
    return {tuple(str(value) for value in values): pk for pk, *values in rows.values_list("pk", *attnames)}


def _must_not_clash(one: Table, made: Collection[models.Model]) -> None:
    """Raises Clash where another row here has what only one may have: a slug, a name."""
    for column in one.fields.values():
        if not column.unique or column.primary_key or column.name in one.key or column.is_relation:
            continue
        values = {value for row in made if (value := getattr(row, column.attname)) is not None}
        taken = one.model._base_manager.filter(**{f"{column.attname}__in": values})
        if (found := taken.values_list(column.attname, flat=True).first()) is not None:
            raise Clash(
                f"There is another one here among the {one.words} with the {column.verbose_name} “{found}”."
            )


def _give_key(one: Table, key: Any, made: models.Model, work: _Work) -> None:
    if not one.numbers:
        return
    if one.model not in work.offsets:
        # All of them move by the same, so that their order stays, and what speaks of a range of them is right.
        highest = one.model._base_manager.aggregate(highest=Max("pk"))["highest"] if work.merge else None
        work.offsets[one.model] = int(highest or 0)
    made.pk = int(key) + work.offsets[one.model]


def _follow_numbers(some: list[type[models.Model]]) -> None:
    """Have PostgreSQL go on after the highest number; SQLite does by itself."""
    for statement in connection.ops.sequence_reset_sql(no_style(), some):
        with connection.cursor() as cursor:
            cursor.execute(statement)


def names_of(rows: dict[str, int]) -> Iterator[str]:
    for words, count in rows.items():
        if count:
            yield f"{count} {words}"
