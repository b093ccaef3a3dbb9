"""How long a zip says that its list of files is, read before anything else: `zipfile` reads that list whole, however long.

Format: PKWARE's APPNOTE.TXT 6.3, sections 4.3.14 to 4.3.16. The list (the central directory) is announced at the end of the file by
a record of 22 bytes and a comment; for large zips (ZIP64) a longer record stands before it, and a locator that says where.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import IO

from aidl_jax.errors import HandInError

__all__ = ["BYTES_EACH", "announced", "refuse_long_directory"]

BYTES_EACH = 256  # of a file in the list: 46, its name, some extras

END = struct.Struct("<4s4H2LH")  # signature, disks and entries on this one, entries, bytes, offset, comment's length
LOCATOR = struct.Struct("<4sLQL")  # signature, disk, offset of the longer record, disks
END64 = struct.Struct("<4sQ2H2L4Q")  # signature, own size, versions, disks, entries on this one, entries, bytes, offset
LONGEST_COMMENT = 2**16 - 1


def refuse_long_directory(where: str, file: IO[bytes], most: int) -> None:
    """Refuses a zip that announces more than `most` files, or more bytes of list than these need.

    Args:
        where: the zip's name.
        file: it; can be sought in.
        most: files.

    Raises:
        HandInError: its list is too long.
    """
    for entries, size in announced(file):
        if entries > most or size > most * BYTES_EACH:
            raise HandInError(
                "the zip's list of files is too long", where=where, given=f"{entries:,} files in {size:,} bytes",
                expected=f"at most {most:,} files in {most * BYTES_EACH:,} bytes",
                fix="make the zip anew, with the answers alone in it",
            )  # fmt: skip


def announced(file: IO[bytes]) -> Iterator[tuple[int, int]]:
    """Entries and bytes of the list, as each record says that `zipfile` may go by; none where there is none.

    >>> import io
    >>> list(announced(io.BytesIO(END.pack(b"PK\\5\\6", 0, 0, 3, 3, 150, 0, 0))))
    [(3, 150)]
    """
    length = file.seek(0, os.SEEK_END)
    begin = max(length - END.size - LONGEST_COMMENT, 0)
    tail = _at(file, begin, length - begin)
    at = _end(tail)
    if at is None:
        return
    _, _, _, _, entries, size, _, _ = END.unpack_from(tail, at)
    large = list(_announced_by_zip64(file, begin + at - LOCATOR.size))
    if not large or (entries, size) != (0xFFFF, 0xFFFFFFFF):  # which say: look into the other record
        yield entries, size
    yield from large


def _announced_by_zip64(file: IO[bytes], before: int) -> Iterator[tuple[int, int]]:
    locator = _at(file, before, LOCATOR.size)
    if locator.startswith(b"PK\6\7") and len(locator) == LOCATOR.size:
        for place in (before - END64.size, LOCATOR.unpack(locator)[2]):  # which of the two depends on Python's version
            record = _at(file, place, END64.size)
            if record.startswith(b"PK\6\6") and len(record) == END64.size:
                _, _, _, _, _, _, _, entries, size, _ = END64.unpack(record)
                yield entries, size


def _end(tail: bytes) -> int | None:
    """Where the last record begins, found as `zipfile` finds it: at the very end, else behind the last signature."""
    plain = len(tail) - END.size
    if tail[max(plain, 0) :].startswith(b"PK\5\6") and tail.endswith(b"\0\0"):
        return plain if plain >= 0 else None
    found = tail.rfind(b"PK\5\6")
    return found if 0 <= found <= plain else None


def _at(file: IO[bytes], place: int, size: int) -> bytes:
    """Bytes of a file; none where the place is outside it."""
    if not 0 <= place < file.seek(0, os.SEEK_END):
        return b""
    file.seek(place)
    return file.read(size)
