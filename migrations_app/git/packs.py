"""What a pack holds, looked at before anything is unpacked: a server may send anything.

A pack is a header, then objects one after the other: type and size, for a delta what it stands on, then zlib
(gitformat-pack(5)). 60 KB of it may say that they are 60 GB, so each object is unpacked piece by piece, never beyond
what it said, and a delta is only believed if what it puts together is as long as it says.
"""

from __future__ import annotations

import zlib
from typing import BinaryIO

from sstools.errors import Invalid

MAX_PACK_BYTES = 128 * 2**20  # as sent; 10,000 files of a chart each take some 8 MB
MAX_OBJECT_BYTES = 16 * 2**20  # one file; no asset is larger (environments.superset.yaml_text.MAX_FILE_BYTES)
MAX_TOTAL_BYTES = 512 * 2**20  # unpacked
MAX_OBJECTS = 300_000
_CHUNK = 64 * 2**10
_OFS_DELTA, _REF_DELTA, _HASH = 6, 7, 20


class RepositoryTooLarge(Invalid):
    """More than a repository of assets can mean."""

    code = "repository_too_large"
    remedy = "Keep assets in a repository of their own, without large files; what is read is the newest commit only."


class PackDamaged(Invalid):
    code = "repository_damaged"
    message = "What the server sent is no pack of git."
    remedy = "Try again; if it comes again, have the repository checked (git fsck)."


def check_pack(pack: BinaryIO, size: int) -> int:
    """The number of objects in a pack of `size` bytes, none of them larger than may be. Leaves the file at its end.

    Raises RepositoryTooLarge; PackDamaged.
    """
    reader = _Reader(pack, size)
    if reader.take(4) != b"PACK" or int.from_bytes(reader.take(4)) not in (2, 3):
        raise PackDamaged
    count = int.from_bytes(reader.take(4))
    if count > MAX_OBJECTS:
        raise RepositoryTooLarge(f"It holds more than {MAX_OBJECTS:,} objects.")
    total = 0
    for _ in range(count):
        kind, length = reader.header()
        if kind == _OFS_DELTA:
            while reader.take(1)[0] & 0x80:
                pass
        elif kind == _REF_DELTA:
            reader.take(_HASH)
        if length > MAX_OBJECT_BYTES:
            raise _object_too_large()
        is_delta = kind in (_OFS_DELTA, _REF_DELTA)
        content = reader.unpack(length, keep=is_delta)
        total += _length_after(content) if is_delta else length
        if total > MAX_TOTAL_BYTES:
            raise RepositoryTooLarge(f"Its files take more than {MAX_TOTAL_BYTES // 2**20} MiB.")
    return count


def _object_too_large() -> RepositoryTooLarge:
    return RepositoryTooLarge(f"A file in it is larger than {MAX_OBJECT_BYTES // 2**20} MiB.")


class _Reader:
    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._left, self._held = file, size, b""

    def _more(self) -> bytes:
        piece = self._file.read(min(_CHUNK, self._left))
        self._left -= len(piece)
        if not piece:
            raise PackDamaged
        return piece

    def take(self, count: int) -> bytes:
        while len(self._held) < count:
            self._held += self._more()
        found, self._held = self._held[:count], self._held[count:]
        return found

    def header(self) -> tuple[int, int]:
        """(type, size when unpacked) of the next object."""
        byte = self.take(1)[0]
        kind, size, shift = byte >> 4 & 7, byte & 15, 4
        while byte & 0x80:
            byte = self.take(1)[0]
            size |= (byte & 0x7F) << shift
            shift += 7
            if shift > 63:
                raise PackDamaged
        return kind, size

    def unpack(self, length: int, *, keep: bool) -> bytes:
        """The next object's content if it is to be kept; it has to be as long as it said."""
        unpacker = zlib.decompressobj()
        kept: list[bytes] = []
        seen = 0
        try:
            while not unpacker.eof:
                piece = unpacker.decompress(self._held or self._more(), _CHUNK)
                self._held = unpacker.unconsumed_tail
                seen += len(piece)
                if seen > length:
                    raise PackDamaged
                if keep:
                    kept.append(piece)
        except zlib.error:
            raise PackDamaged from None
        self._held = unpacker.unused_data
        if seen != length:
            raise PackDamaged
        return b"".join(kept)


def _length_after(delta: bytes) -> int:
    """How long what a delta makes is. Raises PackDamaged unless its instructions make just that much."""
    place = _skip_number(delta, 0)[1]
    said, place = _skip_number(delta, place)
    if said > MAX_OBJECT_BYTES:
        raise _object_too_large()
    made = 0
    while place < len(delta):
        code = delta[place]
        place += 1
        if code & 0x80:
            size = 0
            for bit in range(7):
                if code & 1 << bit:
                    if place >= len(delta):
                        raise PackDamaged
                    if bit >= 4:
                        size |= delta[place] << 8 * (bit - 4)
                    place += 1
            made += size or 0x10000
        elif code:
            place += code
            made += code
        else:
            raise PackDamaged
        if made > said:
            raise PackDamaged
    if made != said or place != len(delta):
        raise PackDamaged
    return said


def _skip_number(delta: bytes, place: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        if place >= len(delta) or shift > 63:
            raise PackDamaged
        byte = delta[place]
        place += 1
        number |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            return number, place
