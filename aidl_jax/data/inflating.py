"""Compressed files as streams of bytes: GZIP and ZLIB, taken in a piece at a time."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, TypeAlias

from aidl_jax.data.file_paths import opened
from aidl_jax.errors import DataError

__all__ = ["Compression", "Inflated", "check_compression", "deflater"]

Compression: TypeAlias = Literal["GZIP", "ZLIB"] | None
WINDOWS = {"GZIP": 31, "ZLIB": 15}  # zlib's numbers for the two headers
PIECE = 2**18


def check_compression(verb: str, compression: Any) -> None:
    """Raises where there is no such compression."""
    if compression is not None and compression not in WINDOWS:
        raise DataError(
            "there is no such compression", given=repr(compression), expected='None, "GZIP" or "ZLIB"', where=verb
        )


def deflater(compression: str) -> Any:
    """What compresses: `compress(bytes)`, and `flush()` at the end."""
    return zlib.compressobj(wbits=WINDOWS[compression])


class Inflated:
    """The contents of a compressed file, from a place on.

    Attributes:
        offset: bytes of the contents that have been given or passed over.
    """

    def __init__(self, path: Path, compression: str, skip: int = 0) -> None:
        self.path, self.offset = path, 0
        self._pieces = _inflated(path, compression)
        self._held, self._start = b"", 0
        while self.offset < skip:
            self._fill(1)
            step = min(skip - self.offset, len(self._held) - self._start)
            if not step:
                raise DataError(
                    "the file ends before the place that the state was saved at",
                    given=f"{self.offset:,} bytes",
                    expected=f"at least {skip:,}",
                    where=str(path),
                    fix="restore with the data that the state was saved with",
                )
            self._advance(step)

    def read(self, count: int) -> bytes:
        """So many bytes; fewer only at the end."""
        self._fill(count)
        given = self._held[self._start : self._start + count]
        self._advance(len(given))
        return given

    def line(self) -> bytes:
        """The bytes up to a newline and with it; without one at the end, where nothing more is left."""
        length = PIECE
        while (end := self._held.find(b"\n", self._start)) < 0:
            before = len(self._held) - self._start
            self._fill(length)
            if len(self._held) - self._start == before:
                return self.read(before)
            length *= 2
        return self.read(end + 1 - self._start)

    def close(self) -> None:
        """Closes the file."""
        self._pieces.close()  # type: ignore[attr-defined]

    def _advance(self, count: int) -> None:
        self._start += count
        self.offset += count

    def _fill(self, count: int) -> None:
        """Has at least so many bytes at hand, if there are so many."""
        if len(self._held) - self._start >= count:
            return
        pieces, length = [self._held[self._start :]], len(self._held) - self._start
        while length < count and (piece := next(self._pieces, b"")):
            pieces.append(piece)
            length += len(piece)
        self._held, self._start = b"".join(pieces), 0


def _inflated(path: Path, compression: str) -> Iterator[bytes]:
    """Pieces of the contents; a GZIP file may hold several members, one after another."""
    with opened(path, "reading") as file:
        part = zlib.decompressobj(WINDOWS[compression])
        while compressed := file.read(PIECE):
            while compressed:
                if part.eof:
                    part = zlib.decompressobj(WINDOWS[compression])
                begins = file.tell() - len(compressed)
                try:
                    piece = part.decompress(compressed)
                except zlib.error as error:
                    raise _damaged(path, compression, f"{error} after byte {begins:,}") from error
                compressed = part.unused_data
                if piece:
                    yield piece
        if file.tell() and not part.eof:
            raise _damaged(path, compression, f"it ends at byte {file.tell():,}, within what is compressed")


def _damaged(path: Path, compression: str, given: str) -> DataError:
    return DataError(
        f"the file is no whole {compression} file",
        given=given,
        where=str(path),
        fix="fetch or write it again; compression=None is for files that are not compressed",
    )
