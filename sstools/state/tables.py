"""What is part of the state, table by table. Each app says so of its own models, in its `state.py`.

Every model is either in it or left out with a reason that people can read: a test holds new ones to that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from django.db import models
from django.db.models import QuerySet
from django.utils.module_loading import autodiscover_modules

from sstools.secrets import SecretField


@dataclass(frozen=True)
class Table:
    """How the rows of one model go along.

    key: columns that make a row of the file the same as one that is there. words: what the rows are, for people.
    leaves: columns that do not go along; they get the model's defaults. secret: columns that go along with secrets
    only, beside those that are encrypted in the database. secret_rows: the whole table does. rows: which ones.
    of: foreign keys to what a row is part of: where that was there before a merge, the row is left as it is there.
    is_matched_only: in a merge rows are found and never made (people: their rights are not for a file to give).
    numbers: a row is called by its primary key, which is kept. follows: columns with such a number, and of which model.
    is_collected: only rows that others of the file refer to. fills: column -> primary keys to values, of rows that have
    none in the database because it is kept elsewhere. may_be_there: rows of it are in every new ss-tools.
    empty: column -> what stands there instead of a secret that does not come along. prepare: called with each new row
    before it is kept.
    """

    model: type[models.Model]
    key: tuple[str, ...]
    words: str
    leaves: tuple[str, ...] = ()
    secret: tuple[str, ...] = ()
    secret_rows: bool = False
    rows: Callable[[], QuerySet[Any]] | None = None
    of: tuple[str, ...] = ()
    is_matched_only: bool = False
    numbers: bool = False
    follows: Mapping[str, type[models.Model]] = field(default_factory=dict)
    is_collected: bool = False
    fills: Mapping[str, Callable[[list[Any]], Mapping[Any, Any]]] = field(default_factory=dict)
    may_be_there: bool = False
    empty: Mapping[str, Callable[[], Any]] = field(default_factory=dict)
    prepare: Callable[[Any], None] | None = None

    @property
    def name(self) -> str:
        return self.model._meta.label_lower

    @cached_property
    def fields(self) -> dict[str, models.Field[Any, Any]]:
        """By column of the file; the primary key is always one of them, as others refer to it."""
        found = {one.name: one for one in self.model._meta.local_concrete_fields}
        return {name: one for name, one in found.items() if name not in self.leaves}

    @cached_property
    def secrets(self) -> frozenset[str]:
        of_the_database = (name for name, one in self.fields.items() if isinstance(one, SecretField))
        return frozenset((*self.secret, *of_the_database))

    @property
    def pk(self) -> str:
        assert self.model._meta.pk is not None
        return self.model._meta.pk.name

    def queryset(self) -> QuerySet[Any]:
        rows = self.rows() if self.rows is not None else self.model._base_manager.all()
        return rows.order_by(self.pk)


_tables: dict[type[models.Model], Table] = {}
_left_out: dict[type[models.Model], str] = {}
_loaded = False


def table(model: type[models.Model], key: tuple[str, ...], words: str, **more: Any) -> None:
    """Make rows of `model` a part of the state; arguments as of `Table`."""
    _tables[model] = Table(model, key, words, **more)


def leave_out(why: str, *some: type[models.Model]) -> None:
    """Say why these are no part of it: a clause that people read."""
    for model in some:
        _left_out[model] = why


def load() -> None:
    """Import `state.py` of all apps, once."""
    global _loaded
    if not _loaded:
        autodiscover_modules("state")
        _loaded = True


def tables() -> list[Table]:
    """All of them, each after those that its rows refer to."""
    load()
    ordered: dict[type[models.Model], Table] = {}

    def add(one: Table, above: tuple[type[models.Model], ...]) -> None:
        if one.model in above:
            raise RuntimeError(f"{one.name} refers to itself by way of others.")
        for target in references(one).values():
            if target is not one.model:
                add(_tables[target], (*above, one.model))
        for target in one.follows.values():
            add(_tables[target], (*above, one.model))
        ordered[one.model] = one

    for one in sorted(_tables.values(), key=lambda one: one.name):
        add(one, ())
    return list(ordered.values())


def references(one: Table) -> dict[str, type[models.Model]]:
    """Column -> model of its foreign keys that lead to a part of the state."""
    return {
        name: column.related_model
        for name, column in one.fields.items()
        if column.related_model in _tables and isinstance(column, models.ForeignKey)
    }


def is_known(model: type[models.Model]) -> bool:
    load()
    return model in _tables or model in _left_out


def left_out() -> dict[str, str]:
    """Name of the model -> why it is no part of the state."""
    load()
    return {
        model._meta.label_lower: why
        for model, why in sorted(_left_out.items(), key=lambda x: x[0]._meta.label)
        if model not in _tables
    }
