"""What a storage does: bytes under a key. All else (seals, what belongs to what) is the same for each of them."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True)
class StoredObject:
    """`size`: in bytes. `changed_at`: by the storage's clock, aware."""

    key: str
    size: int
    changed_at: datetime


class Storage(Protocol):
    """Every call is safe to repeat, and safe in threads. Each raises StorageUnreachable, StorageRefused, StorageError.

    `name`: how settings and rows call it; `words`: how people are told where it is, without secrets.
    """

    name: str
    words: str

    def put(self, key: str, data: bytes) -> None:
        """Whole or not at all, and on the disk when this returns. Raises StorageFull."""

    def get(self, key: str) -> bytes:
        """Raises ObjectMissing."""

    def delete(self, key: str) -> None:
        """What is not there is deleted."""

    def size(self, key: str) -> int | None:
        """In bytes; None if there is no such object."""

    def objects(self, prefix: str) -> Iterator[StoredObject]:
        """All whose keys begin so, in no order."""
