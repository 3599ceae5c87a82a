"""What the search finds of backups: by their number and title."""

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from sstools.web.search import FEW, Ask, Group, Item, fits

from .models import Backup

LOOKED_AT = 300  # the newest that the reader sees


def find(ask: Ask) -> Iterable[Group]:
    rows = Backup.objects.visible_to(ask.user).select_related("environment")
    if number := re.fullmatch(r"(?:backup[: ]\s*)?#?(\d{1,15})", ask.text.casefold()):
        found = list(rows.filter(pk=int(number[1])))
    else:
        found = [row for row in rows[:LOOKED_AT] if fits(ask.text, row.title, _name(row))]
    yield Group("Backups", tuple(_item(row) for row in found[:FEW]), order=36)


def recall(user: Any, paths: Collection[str]) -> Mapping[str, Item]:
    """Any page of a backup stands for the backup."""
    numbers = {path: int(found[1]) for path in paths if (found := re.match(r"/backups/(\d{1,15})/", path))}
    rows = Backup.objects.visible_to(user).filter(pk__in=numbers.values()).select_related("environment")
    items = {row.pk: _item(row) for row in (rows if numbers else ())}
    first = {number: path for path, number in reversed(numbers.items())}
    return {path: items[number] for number, path in first.items() if number in items}


def _name(row: Backup) -> str:
    return f"backup {row.pk} of {row.environment.name}"


def _item(row: Backup) -> Item:
    detail = f"{row.title or row.get_reason_display()}, {row.started_at:%Y-%m-%d}, {row.get_state_display()}"
    return Item(f"Backup {row.pk}", row.get_absolute_url(), "backups", detail, (row.environment,))
