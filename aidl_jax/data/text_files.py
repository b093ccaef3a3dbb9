"""Lines of text files: where they begin, and reading many of them at once."""

from __future__ import annotations

import mmap
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from aidl_jax.data.file_paths import opened
from aidl_jax.data.inflating import Inflated
from aidl_jax.errors import DataError

__all__ = ["check_encoding", "line_index", "lines_in", "streamed_line"]

PIECE = 2**24


def check_encoding(encoding: str) -> None:
    """Raises where lines cannot be found by their newline bytes."""
    try:
        plain = "a\n".encode(encoding) == b"a\n"
    except LookupError:
        plain = False
    if not plain:
        raise DataError(
            "lines cannot be read in this encoding",
            given=repr(encoding),
            expected='one in which a newline is one byte, such as "utf-8" or "latin-1"',
            where="text_lines",
            fix="convert the file to UTF-8",
        )


def line_index(path: Path) -> np.ndarray:
    """Where the lines of a file begin, and where the last one ends: int64 [lines + 1]."""
    size = path.stat().st_size
    if not size:
        return np.zeros(1, np.int64)
    with opened(path, "text_lines") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as held:
        ends = [np.zeros(1, np.int64)]
        for at in range(0, size, PIECE):
            ends.append(np.flatnonzero(np.frombuffer(held[at : at + PIECE], np.uint8) == 10) + (at + 1))
    index = np.concatenate(ends)
    return index if index[-1] == size else np.append(index, size)  # the last line may have no newline


def lines_in(encoding: str) -> Callable[[Path, np.ndarray, np.ndarray], list[str]]:
    """What reads lines of a file, given its index and their numbers, int64 [n]."""
    return partial(_lines, encoding)


def _lines(encoding: str, path: Path, index: np.ndarray, numbers: np.ndarray) -> list[str]:
    starts, stops = index[numbers], index[numbers + 1]
    with opened(path, "text_lines") as file:
        if (starts[1:] == stops[:-1]).all():
            file.seek(int(starts[0]))
            found = file.read(int(stops[-1] - starts[0]))
        else:
            spans = zip(starts.tolist(), stops.tolist(), strict=True)
            found = b"".join([_with_end(file.read(stop - file.seek(start))) for start, stop in spans])
    try:
        text = found.decode(encoding)
    except UnicodeDecodeError:
        raise _undecodable(encoding, path, index, numbers) from None
    lines = text.removesuffix("\n").split("\n")
    if len(lines) != len(numbers):
        raise DataError(
            "the file has changed since it was first looked at",
            given=f"{len(lines)} lines",
            expected=f"{len(numbers)}, from line {int(numbers[0])} on",
            where=str(path),
            fix="make the dataset anew",
        )
    return [line.removesuffix("\r") for line in lines] if "\r" in text else lines


def _with_end(line: bytes) -> bytes:
    return line if line.endswith(b"\n") else line + b"\n"


def _undecodable(encoding: str, path: Path, index: np.ndarray, numbers: np.ndarray) -> DataError:
    """The error for the first line that cannot be decoded."""
    with opened(path, "text_lines") as file:
        for number in numbers.tolist():
            start = file.seek(int(index[number]))
            try:
                file.read(int(index[number + 1]) - start).decode(encoding)
            except UnicodeDecodeError as error:
                return _not_text(encoding, error, path, number, start)
    raise AssertionError("no line of the block fails alone")


def _not_text(encoding: str, error: UnicodeDecodeError, path: Path, number: int, start: int) -> DataError:
    return DataError(
        f"a line is not {encoding}",
        given=f"byte 0x{error.object[error.start]:02x} at byte {start + error.start}",
        where=f"{path}, line {number}",
        fix='say what the file is in: text_lines(..., encoding="latin-1")',
    )


def streamed_line(encoding: str) -> Callable[[Inflated, int], str | None]:
    """What gives the next line of a compressed file, or None at its end."""
    return partial(_streamed, encoding)


def _streamed(encoding: str, stream: Inflated, number: int) -> str | None:
    start = stream.offset
    line = stream.line()
    try:
        return line.decode(encoding).removesuffix("\n").removesuffix("\r") if line else None
    except UnicodeDecodeError as error:
        raise _not_text(encoding, error, stream.path, number, start) from None
