"""A folder as a storage: one file for each object, complete or not there."""

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from .base import StoredObject
from .errors import ObjectMissing, StorageError, StorageFull, StorageRefused, StorageUnreachable

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS}
ABSENT = {errno.ENOENT, errno.ENOTDIR}
UNFINISHED = ".unfinished-"  # begins the name of a file that is being written
FORGOTTEN_AFTER = timedelta(days=1)  # nothing is written for so long


class FolderStorage:
    """`root`: made with mode 0700 at the first writing if its parent is there. On a share, mount it at all machines."""

    def __init__(self, name: str, root: Path) -> None:
        self.name, self.root = name, root
        self.words = f"folder {root}"

    def put(self, key: str, data: bytes) -> None:
        path = self.root / key
        try:
            self._make_folders(path.parent)
            handle, unfinished = tempfile.mkstemp(dir=path.parent, prefix=UNFINISHED)  # mode 0600
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(unfinished, path)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(unfinished)
                raise
            _sync(path.parent)  # the name too has to outlive a loss of power
        except OSError as exc:
            raise self._error(exc) from None

    def get(self, key: str) -> bytes:
        try:
            return (self.root / key).read_bytes()
        except OSError as exc:
            if exc.errno in ABSENT and self.root.is_dir():
                raise ObjectMissing(f"The file {key} is not in the {self.words} any more.") from None
            raise self._error(exc) from None

    def delete(self, key: str) -> None:
        try:
            (self.root / key).unlink(missing_ok=True)
        except OSError as exc:
            raise self._error(exc) from None

    def size(self, key: str) -> int | None:
        try:
            return (self.root / key).stat().st_size
        except OSError as exc:
            if exc.errno in ABSENT and self.root.is_dir():
                return None
            raise self._error(exc) from None

    def objects(self, prefix: str) -> Iterator[StoredObject]:
        try:
            for path in self._files(prefix):
                with contextlib.suppress(FileNotFoundError):  # deleted meanwhile
                    found = path.stat()
                    changed_at = datetime.fromtimestamp(found.st_mtime, UTC)
                    if not path.name.startswith(UNFINISHED):
                        key = path.relative_to(self.root).as_posix()
                        yield StoredObject(key, found.st_size, changed_at)
                    elif changed_at < datetime.now(UTC) - FORGOTTEN_AFTER:
                        path.unlink()  # of a process that died
        except OSError as exc:
            raise self._error(exc) from None

    def _files(self, prefix: str) -> Iterator[Path]:
        def failed(exc: OSError) -> None:
            if exc.errno not in ABSENT or not self.root.is_dir():
                raise exc

        for folder, _, names in os.walk(self.root / prefix, onerror=failed):
            yield from (Path(folder) / name for name in names)

    def _make_folders(self, folder: Path) -> None:
        if not folder.is_dir():
            if not self.root.is_dir():
                self.root.mkdir(
                    mode=0o700, exist_ok=True
                )  # not its parents: a share that is not mounted must not be made up
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for one in (folder, *folder.parents):
                _sync(one)
                if one == self.root:
                    break

    def _error(self, exc: OSError) -> StorageError:
        reason = exc.strerror or type(exc).__name__
        if exc.errno in FULL:
            return StorageFull(f"The {self.words} takes nothing more: {reason}.")
        if exc.errno in REFUSED:
            return StorageRefused(
                f"The {self.words} may not be used: {reason}.",
                remedy="It must belong to the account that ss-tools runs as, and be writable.",
            )
        return StorageUnreachable(f"The {self.words} cannot be used: {reason}.")


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
