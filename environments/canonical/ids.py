"""Which integer id is which uuid inside one environment."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from .documents import Kind


class IdTable:
    """The ids of one environment, both ways. An id means something in that environment only and is never
    stored for another.
    """

    def __init__(self, entries: Iterable[tuple[Kind, int, str]] = ()) -> None:
        self._uuids: dict[tuple[Kind, int], str] = {}
        self._ids: dict[tuple[Kind, str], int] = {}
        for kind, number, uuid in entries:
            self.add(kind, number, uuid)

    def add(self, kind: Kind, number: int, uuid: str) -> None:
        self._uuids[kind, number] = uuid
        self._ids[kind, uuid] = number

    def update(self, other: IdTable) -> None:
        for kind, number, uuid in other:
            self.add(kind, number, uuid)

    def uuid_of(self, kind: Kind, number: object) -> str | None:
        """The uuid of an id, which may come as a number or as digits in a text; None if this environment
        has no such asset.
        """
        parsed = as_id(number)
        return None if parsed is None else self._uuids.get((kind, parsed))

    def id_of(self, kind: Kind, uuid: str) -> int | None:
        return self._ids.get((kind, uuid))

    def __iter__(self) -> Iterator[tuple[Kind, int, str]]:
        for (kind, number), uuid in self._uuids.items():
            yield kind, number, uuid

    def __len__(self) -> int:
        return len(self._uuids)


def as_id(value: object) -> int | None:
    """An integer id out of 12 or "12"; None for anything else (True is not 1 here)."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 19:
        return int(value)
    return None
