"""Files of the machine that a command runs on, as if somebody had uploaded them."""

from __future__ import annotations

from pathlib import Path

from environments.superset.archives import folder_files, pack_files
from environments.superset.errors import SupersetRefused
from sstools.errors import Invalid

from .reading import MAX_BYTES, MAX_UNPACKED_BYTES
from .rendering import MAX_VALUES_BYTES


def archive_of(path: Path, values: Path | None = None) -> tuple[str, bytes, bytes | None]:
    """(name, content, values) of a file, or of a folder's YAML files as a ZIP. Raises Invalid("file_unreadable")."""
    try:
        if path.is_dir():
            name = path.resolve().name or "files"
            data = pack_files(folder_files(path, max_total_bytes=MAX_UNPACKED_BYTES))
        else:
            name, data = path.name, _read(path, MAX_BYTES)
        return name, data, _read(values, MAX_VALUES_BYTES) if values is not None else None
    except OSError as error:
        raise Invalid(
            f"{error.filename or path} cannot be read: {error.strerror or error}.", code="file_unreadable"
        ) from None
    except SupersetRefused as refused:
        raise Invalid(f"{path} cannot be read: {refused.message}", code=refused.code) from None


def _read(path: Path, most: int) -> bytes:
    """One byte more than may be, so that whoever checks sees it."""
    with path.open("rb") as file:
        return file.read(most + 1)
