"""What the search finds of migrations and their runs: by title and number."""

import re
from collections.abc import Collection, Iterable, Mapping
from itertools import islice
from typing import Any

from sstools.web.search import FEW, Ask, Group, Item, fits

from .models import Migration, Run

LOOKED_AT = 500  # the newest that the reader sees


def find(ask: Ask) -> Iterable[Group]:
    rows = Migration.objects.visible_to(ask.user).select_related("target").defer("selection", "answers")
    fitting = (
        row for row in rows[:LOOKED_AT] if fits(ask.text, row.title, f"migration {row.number} #{row.number}")
    )
    yield Group("Migrations", tuple(_item(row) for row in islice(fitting, FEW)), order=30)
    if number := re.fullmatch(r"(?:run )?#?(\d{1,9})", ask.text.casefold()):
        runs = Run.objects.visible_to(ask.user).filter(number=number[1]).select_related("migration__target")
        yield Group("Runs", tuple(_run(run) for run in runs), order=31)


def recall(user: Any, paths: Collection[str]) -> Mapping[str, Item]:
    """Any page of a migration stands for the migration."""
    numbers = {path: int(found[1]) for path in paths if (found := re.match(r"/migrations/(\d{1,9})/", path))}
    rows = Migration.objects.visible_to(user).filter(number__in=numbers.values()).select_related("target")
    items = {row.number: _item(row) for row in (rows if numbers else ())}
    first = {number: path for path, number in reversed(numbers.items())}
    return {path: items[number] for number, path in first.items() if number in items}


def _item(row: Migration) -> Item:
    state = row.get_state_display()
    return Item(row.title, row.get_absolute_url(), "migrations", f"{row}, {state}", (row.target,))


def _run(run: Run) -> Item:
    migration = run.migration
    return Item(
        f"Run {run.number}",
        run.get_absolute_url(),
        "migrations",
        f"{migration.title}, {run.get_state_display()}",
        (migration.target,),
    )
