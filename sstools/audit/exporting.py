"""History as files: CSV for spreadsheets, JSON lines for programs. Both stream, whatever the number of events."""

import csv
import json
from collections.abc import Iterator
from typing import Any

from django.db.models import QuerySet

from .models import AuditEvent

COLUMNS = (
    "number",
    "at",
    "actor_id",
    "actor_name",
    "source",
    "action",
    "object_name",
    "object_label",
    "data",
    "request_id",
    "address",
    "job",
    "concerns",
    "prev_hash",
    "hash",
)
CHUNK = 500
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # how a spreadsheet knows a formula


def values(event: AuditEvent) -> dict[str, Any]:
    """The event as the chain hashes it, and its hash: enough to prove an export without ss-tools."""
    return {name: getattr(event, name) for name in COLUMNS} | {
        "at": event.at.isoformat(timespec="microseconds")
    }


def json_lines(rows: QuerySet[AuditEvent]) -> Iterator[str]:
    for event in rows.iterator(chunk_size=CHUNK):
        yield json.dumps(values(event), ensure_ascii=False, sort_keys=True) + "\n"


class _Echo:
    def write(self, text: str) -> str:
        return text


def csv_lines(rows: QuerySet[AuditEvent]) -> Iterator[str]:
    """A text that a spreadsheet would run as a formula gets an apostrophe before it."""
    writer = csv.writer(_Echo())
    yield "\ufeff" + writer.writerow(COLUMNS)  # the mark by which spreadsheets know UTF-8
    for event in rows.iterator(chunk_size=CHUNK):
        row = values(event) | {"data": json.dumps(event.data, ensure_ascii=False, sort_keys=True)}
        yield writer.writerow([_plain(value) for value in row.values()])


def _plain(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
