"""The YAML files of an archive or a folder, from strangers too: ZIP, tar and tar.gz, each within the same limits.

What is not YAML is never read. Nothing is ever unpacked to a disk.
"""

from __future__ import annotations

import io
import os
import posixpath
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from .errors import SupersetRefused
from .yaml_text import MAX_FILE_BYTES, invalid

MAX_ENTRIES = 60_000  # files in one archive; a full export of 10,000 charts has 11,345
MAX_TOTAL_BYTES = 128 * 2**20  # unpacked; that full export has 35 MB
MAX_RATIO = (
    200  # unpacked by packed: Superset's ZIP_FILE_MAX_COMPRESS_RATIO, beyond which it would refuse too
)
RATIO_FREE_BYTES = 2**20  # a megabyte of anything is harmless, and short repetitive files do pack that well
MAX_NAME = 1_000  # characters of a path; table names go into them
_TAR_OVERHEAD = 4  # times: headers and padding of many small files
_CHUNK = 2**20  # bytes unpacked of a gzip at a time


def archive_files(data: bytes, *, max_total_bytes: int = MAX_TOTAL_BYTES) -> dict[str, bytes]:
    """The YAML files of a ZIP, tar or tar.gz by their paths in it, as they are sorted there.

    Files and folders whose names begin with a dot or an underscore are passed over: what editors, git and file managers
    leave behind. Raises SupersetRefused(bundle_invalid), `detail` by file.
    """
    if data[:2] == b"\x1f\x8b":
        return dict(_of_tar(_unpacked(data, max_total_bytes * _TAR_OVERHEAD), max_total_bytes))
    if data[257:262] == b"ustar":
        return dict(_of_tar(data, max_total_bytes))
    return dict(_of_zip(data, max_total_bytes))


def folder_files(folder: Path, *, max_total_bytes: int = MAX_TOTAL_BYTES) -> dict[str, bytes]:
    """The same of a folder, by path below it. Links to folders are not followed; a link to a file is refused."""
    found: dict[str, bytes] = {}
    total = 0
    for where, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not _is_passed_over(name))
        for name in sorted(names):
            path = Path(where) / name
            shown = path.relative_to(folder).as_posix()
            if _is_passed_over(name) or not _is_yaml(name):
                continue
            if not stat.S_ISREG(path.lstat().st_mode):
                raise invalid(shown, "is a link, or no plain file")
            total += path.lstat().st_size
            _check_total(len(found) + 1, total, max_total_bytes)
            if path.lstat().st_size > MAX_FILE_BYTES:
                raise invalid(shown, f"larger than {MAX_FILE_BYTES // 2**20} MiB")
            found[shown] = path.read_bytes()
    return found


def check_path(name: str) -> None:
    """Raises SupersetRefused for a path that leads outside of where it belongs, or that nobody can mean."""
    shown = name[:100].encode("unicode_escape").decode("ascii")
    if len(name) > MAX_NAME:
        raise invalid(shown, "has a name too long to be meant")
    if "\\" in name or any(ord(character) < 32 for character in name):
        raise invalid(shown, "has a name with backslashes or control characters")
    parts = name.rstrip("/").split("/")
    if name.startswith("/") or ":" in parts[0] or any(part in ("", ".", "..") for part in parts):
        raise invalid(shown, "points outside of the bundle")


def check_entry(entry: zipfile.ZipInfo) -> None:
    """Raises SupersetRefused for an entry of a ZIP that is no plain file or folder inside of it."""
    # zipfile cuts `filename` at a NUL and turns the platform's separators into slashes
    name = entry.orig_filename
    check_path(name)
    shown = name[:100].encode("unicode_escape").decode("ascii")
    if entry.flag_bits & 0x1:
        raise invalid(shown, "is encrypted")
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        # bzip2 and LZMA are unpacked without any bound by zipfile, and nothing of Superset's is packed so
        raise invalid(shown, "is packed in a way that Superset never uses")
    if stat.S_ISLNK(entry.external_attr >> 16):
        raise invalid(shown, "is a symbolic link")


def unpack(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    """The content of an entry whose declared size was found bearable; never more memory than that, whatever it says.

    Raises SupersetRefused if it is damaged or larger than it says. `ZipFile.read` would unpack first, a gigabyte at a
    time, and cut to the declared size afterwards (CPython 3.11, ZipExtFile._read1).
    """
    try:
        with archive.open(entry) as held:
            content = held.read(entry.file_size + 1)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError) as exc:
        raise invalid(entry.filename, "damaged inside the ZIP") from exc
    if len(content) != entry.file_size:
        raise invalid(entry.filename, "damaged inside the ZIP")
    return content


def _is_yaml(name: str) -> bool:
    return name.lower().endswith((".yaml", ".yml"))


def _is_passed_over(name: str) -> bool:
    return name.startswith((".", "_"))


def _is_wanted(path: str) -> bool:
    return _is_yaml(path) and not any(_is_passed_over(part) for part in path.split("/"))


def _check_total(entries: int, total: int, most: int) -> None:
    if entries > MAX_ENTRIES:
        raise SupersetRefused(f"There are more than {MAX_ENTRIES} files in it.", code="bundle_invalid")
    if total > most:
        problem = f"It would unpack to more than {most // 2**20} MiB."
        raise SupersetRefused(problem, code="bundle_invalid")


def _of_zip(data: bytes, most: int) -> Iterator[tuple[str, bytes]]:
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError) as exc:
        what = "is neither a ZIP nor a tar file, or only the beginning of one" if data else "is empty"
        raise SupersetRefused(f"The file {what}.", code="bundle_invalid") from exc
    with archive:
        entries = archive.infolist()
        total = sum(entry.file_size for entry in entries)
        _check_total(len(entries), total, most)
        if total > RATIO_FREE_BYTES and total > MAX_RATIO * max(
            sum(entry.compress_size for entry in entries), 1
        ):
            raise SupersetRefused("The file is a compression bomb.", code="bundle_invalid")
        seen: set[str] = set()
        for entry in entries:
            check_entry(entry)
            path = entry.filename
            if entry.is_dir() or not _is_wanted(path):
                continue
            if path in seen:
                raise invalid(path, "is in the file twice")
            seen.add(path)
            if entry.file_size > RATIO_FREE_BYTES and entry.file_size > MAX_RATIO * max(
                entry.compress_size, 1
            ):
                raise invalid(path, "is a compression bomb")
            yield path, unpack(archive, entry)


def _unpacked(data: bytes, most: int) -> bytes:
    """What a gzip holds, of at most so many bytes and of no better packing than is believable."""
    most = min(most, max(RATIO_FREE_BYTES, MAX_RATIO * len(data)))
    unpacker = zlib.decompressobj(wbits=31)
    pieces: list[bytes] = []
    total, rest = 0, data
    try:
        while not unpacker.eof:
            piece = unpacker.decompress(rest, _CHUNK)
            rest = unpacker.unconsumed_tail
            if not piece and not rest:
                raise SupersetRefused("The file is only the beginning of one.", code="bundle_invalid")
            total += len(piece)
            if total > most:
                raise SupersetRefused("The file is a compression bomb, or too large.", code="bundle_invalid")
            pieces.append(piece)
    except zlib.error as exc:
        raise SupersetRefused("The file is damaged.", code="bundle_invalid") from exc
    return b"".join(pieces)


def _of_tar(data: bytes, most: int) -> Iterator[tuple[str, bytes]]:
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
            count = total = 0
            seen: set[str] = set()
            for member in archive:
                count += 1
                total += max(member.size, 0)
                _check_total(count, total, most)
                path = member.name.removeprefix("./")
                if member.isdir() and path in ("", "."):
                    continue
                check_path(path)
                if member.isdir() or not _is_wanted(path):
                    continue
                if not member.isreg() or member.issparse():
                    raise invalid(path, "is a link, or no plain file")
                if path in seen:
                    raise invalid(path, "is in the file twice")
                seen.add(path)
                held = archive.extractfile(member)
                content = held.read() if held is not None else b""
                if len(content) != member.size:
                    raise invalid(path, "damaged inside the tar")
                yield path, content
    except (tarfile.TarError, EOFError, OSError, ValueError, OverflowError, RecursionError) as exc:
        raise SupersetRefused(
            "The file is not a tar file, or only the beginning of one.", code="bundle_invalid"
        ) from exc


def pack_files(files: dict[str, bytes]) -> bytes:
    """A ZIP of files, the same bytes for the same files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for path in sorted(files):
            content = files[path]
            entry = zipfile.ZipInfo(posixpath.normpath(path), date_time=(1980, 1, 1, 0, 0, 0))
            entry.external_attr = 0o644 << 16
            too_well = len(content) > 50 * len(zlib.compress(content, 1))
            entry.compress_type = zipfile.ZIP_STORED if too_well else zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)
    return buffer.getvalue()
