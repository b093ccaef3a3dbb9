"""TFRecord files: how records stand in them, where each begins, how they are written.

A record is a length (uint64), the masked CRC-32C of those 8 bytes, the data, and the masked CRC-32C of the data, all little endian
(the format of TensorFlow's `TFRecordWriter`). The index of a file is where its records begin, and where the last one ends; beside
a file `train` it is kept as `.train.index.npy`.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import google_crc32c
import numpy as np

from aidl_jax.data.blocks_reused import ReusedBlocks
from aidl_jax.data.crc import MASK, have_crcs, unmasked
from aidl_jax.data.file_paths import opened
from aidl_jax.data.inflating import Compression, Inflated, check_compression, deflater
from aidl_jax.data.packed import Packed
from aidl_jax.errors import DataError

__all__ = ["index_of", "index_path", "record_reader", "streamed_record", "write_tfrecord", "write_tfrecord_index"]

HEADER, FOOTER = 12, 4
FRAME = HEADER + FOOTER
LARGE = 2**20  # bytes: memory of that size is new to the process, and has to be cleared, each time


def masked_crc(data: bytes) -> int:
    """The CRC-32C of some bytes, masked.

    >>> hex(masked_crc(bytes(8)))
    '0x7980329'
    """
    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + int(MASK)) & 0xFFFFFFFF


def index_path(path: Path) -> Path:
    """Where a file's index is kept."""
    return path.with_name(f".{path.name}.index.npy")


def write_tfrecord(path: str | Path, records: Iterable[bytes], compression: Compression = None) -> int:
    """Writes a TFRecord file and, unless it is compressed, its index. There is no file before all is written.

    Args:
        path: of the file.
        records: bytes each; `build_example` makes such.
        compression: None, "GZIP" or "ZLIB", for the file as a whole; such a file can only be read from its beginning.

    Returns:
        How many records there are.

    Raises:
        DataError: a record that is not bytes; no such compression.

    >>> import tempfile
    >>> write_tfrecord(f"{tempfile.mkdtemp()}/words.tfrecord", [b"one", b"two"])
    2
    """
    check_compression("write_tfrecord", compression)
    path, ends = Path(path), [0]
    whole = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with whole.open("wb") as file:
            packed = deflater(compression) if compression else None
            for number, record in enumerate(records):
                frame = _frame(record, f"record {number} of {path}")
                file.write(packed.compress(frame) if packed else frame)
                ends.append(ends[-1] + len(frame))
            file.write(packed.flush() if packed else b"")
        index_path(path).unlink(missing_ok=True)
        whole.replace(path)
    finally:
        whole.unlink(missing_ok=True)
    if not compression:
        np.save(index_path(path), np.array(ends, np.int64))
    return len(ends) - 1


def _frame(record: bytes, where: str) -> bytes:
    if not isinstance(record, bytes):
        raise DataError(
            "a record is bytes",
            given=f"a {type(record).__name__}",
            where=where,
            fix="build_example({...}) makes bytes of arrays and texts",
        )
    length = struct.pack("<Q", len(record))
    return b"".join([length, _crc_bytes(length), record, _crc_bytes(record)])


def _crc_bytes(data: bytes) -> bytes:
    return struct.pack("<I", masked_crc(data))


def write_tfrecord_index(path: str | Path) -> Path:
    """Keeps the index of a TFRecord file beside it, so that it need not be looked for again.

    Returns:
        The index's file.
    """
    path = Path(path)
    np.save(index_path(path), _searched(path))
    return index_path(path)


def index_of(path: Path) -> np.ndarray:
    """Where the records of a file begin, and where the last one ends: int64 [records + 1].

    Raises:
        DataError: a header that is damaged, a record that is cut off, an index that is not this file's.
    """
    kept = index_path(path)
    if not kept.is_file():
        return _searched(path)
    index: np.ndarray = np.load(kept)
    size = path.stat().st_size
    is_index = index.dtype == np.int64 and index.ndim == 1 and len(index) > 0
    if not is_index or index[-1] != size or index[0] != 0 or (np.diff(index) < FRAME).any():
        overlapping = is_index and index[-1] == size
        raise DataError(
            "the index is not this file's",
            given="one with records that overlap"
            if overlapping
            else f"one for {int(index.flat[-1]) if index.size else 0:,} bytes",
            expected=f"{size:,} bytes in records of {FRAME} or more",
            where=str(path),
            fix=f"remove {kept}, or make it anew: write_tfrecord_index(path)",
        )
    return index


def _searched(path: Path) -> np.ndarray:
    """The index, from header to header."""
    size, starts, at = path.stat().st_size, [], 0
    if not size:
        return np.zeros(1, np.int64)
    with opened(path, "tfrecord") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as held:
        while at < size:
            starts.append(at)
            length = length_in(held[at : at + HEADER], path, len(starts) - 1, at)
            at += length + FRAME
        if at > size:
            raise _cut_off(path, len(starts) - 1, starts[-1], size - starts[-1], length + FRAME)
    return np.array([*starts, size], np.int64)


def length_in(header: bytes, path: Path, record: int, offset: int) -> int:
    """The length that a header says.

    Raises:
        DataError: it is cut off, or damaged.
    """
    if len(header) < HEADER:
        raise _cut_off(path, record, offset, len(header), FRAME)
    length, crc = struct.unpack("<QI", header)
    if crc != masked_crc(header[:8]):
        fix = (
            'it seems to be compressed: tfrecord(..., compression="GZIP")'
            if header[:2] == b"\x1f\x8b" and not offset
            else "what follows cannot be found any more: write or fetch the file again, or name the right kind of file"
        )
        raise DataError(
            "the header of a record is damaged: its CRC does not match",
            given=f"0x{crc:08x}",
            expected=f"0x{masked_crc(header[:8]):08x}",
            where=told_place(path, record, offset),
            fix=fix,
        )
    return int(length)


def _cut_off(path: Path, record: int, offset: int, there: int, wanted: int) -> DataError:
    return DataError(
        "a record is cut off",
        given=f"{there:,} bytes to the end of the file",
        expected=f"{wanted:,} or more" if wanted == FRAME else f"{wanted:,}",
        where=told_place(path, record, offset),
        fix=f"write or fetch the file again; its first {record:,} records are whole",
    )


def told_place(path: Path, record: int, offset: int) -> str:
    """Where a record begins, in words."""
    return f"{path}, record {record}, byte {offset}"


def record_reader() -> Callable[[Path, np.ndarray, np.ndarray], Packed]:
    """What reads records of a file, given its index and their numbers, into memory that it uses again."""
    return partial(_records, ReusedBlocks())


def _records(memory: ReusedBlocks, path: Path, index: np.ndarray, records: np.ndarray) -> Packed:
    """The data of records, int64 [n], read together where they follow one another.

    Raises:
        DataError: the data are damaged, or the index is not this file's.
    """
    starts, stops = index[records], index[records + 1]
    ends = np.cumsum(stops - starts)
    frames = Packed(_bytes_between(memory, path, starts, stops), ends - (stops - starts), ends)
    found = Packed(frames.data, frames.begins + HEADER, frames.ends - FOOTER)
    bad = _bad_records(frames, found)
    if len(bad):
        raise _damaged(path, int(records[bad[0]]), int(starts[bad[0]]), frames[bad[0]])
    return found


def _bytes_between(memory: ReusedBlocks, path: Path, starts: np.ndarray, stops: np.ndarray) -> bytes | np.ndarray:
    """The frames of records, one after another; read at once where they stand so in the file."""
    lengths = stops - starts
    size = int(lengths.sum())
    found: bytes | np.ndarray
    with opened(path, "tfrecord") as file:
        if not (starts[1:] == stops[:-1]).all():
            spans = zip(starts.tolist(), stops.tolist(), strict=True)
            found = b"".join([file.read(stop - file.seek(start)) for start, stop in spans])
        elif size < LARGE or (lengths != lengths[0]).any():  # such are taken one by one, and `bytes` are cut faster
            file.seek(int(starts[0]))
            found = file.read(size)
        else:
            file.seek(int(starts[0]))
            block = memory.empty((-(-size // LARGE) * LARGE,), np.uint8)
            found = block[: file.readinto(block[:size])]
    if len(found) != size:
        raise DataError(
            "the file has become shorter", given=f"{path.stat().st_size:,} bytes", where=str(path), fix="begin anew"
        )
    return found


def _bad_records(frames: Packed, found: Packed) -> np.ndarray:
    """Which of the records' lengths are not those of the index, or whose CRC does not match."""
    stored = np.frombuffer(frames.data, np.uint8)
    lengths = stored[frames.begins[:, None] + np.arange(8)].view("<u8")[:, 0]
    crcs = stored[found.ends[:, None] + np.arange(FOOTER)].view("<u4")[:, 0]
    same_length = lengths == (found.ends - found.begins).astype(np.uint64)
    return np.flatnonzero(~(same_length & have_crcs(found, unmasked(crcs))))


def _damaged(path: Path, record: int, offset: int, frame: bytes) -> DataError:
    where = told_place(path, record, offset)
    length = length_in(frame[:HEADER], path, record, offset)
    if length != len(frame) - FRAME:
        return DataError(
            "the index is not this file's",
            given=f"a record of {len(frame) - FRAME:,} bytes",
            expected=f"{length:,}",
            where=where,
            fix=f"remove {index_path(path)}, or make it anew: write_tfrecord_index(path)",
        )
    return bad_data(where, frame[HEADER:-FOOTER], frame[-FOOTER:])


def bad_data(where: str, data: bytes, footer: bytes) -> DataError:
    """The error for data that are not what was written."""
    return DataError(
        "the data of a record are damaged: their CRC does not match",
        given=f"0x{struct.unpack('<I', footer)[0]:08x}",
        expected=f"0x{masked_crc(data):08x}",
        where=where,
        fix="write or fetch the file again; the records before and after it can be read: skip(...), take(...)",
    )


def streamed_record(stream: Inflated, record: int) -> bytes | None:
    """The next record of a compressed file, or None at its end; offsets are those of its contents."""
    offset = stream.offset
    header = stream.read(HEADER)
    if not header:
        return None
    length = length_in(header, stream.path, record, offset)
    body = stream.read(length + FOOTER)
    if len(body) < length + FOOTER:
        raise _cut_off(stream.path, record, offset, HEADER + len(body), length + FRAME)
    data, footer = body[:-FOOTER], body[-FOOTER:]
    if struct.unpack("<I", footer)[0] != masked_crc(data):
        raise bad_data(told_place(stream.path, record, offset), data, footer)
    return data
