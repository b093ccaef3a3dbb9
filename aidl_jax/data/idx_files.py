"""IDX files, the format of MNIST: two zero bytes, a dtype, the number of dimensions, their sizes (big endian uint32), the data."""

from __future__ import annotations

import gzip
import math
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from aidl_jax.data.elements import frozen
from aidl_jax.data.sources import Slices
from aidl_jax.data.stage import At, Origin
from aidl_jax.errors import DataError

__all__ = ["IdxRows", "read_idx"]

DTYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}


def read_idx(path: Path) -> np.ndarray:
    """The array of an IDX file: a memory map where it can be one, else in memory.

    Raises:
        DataError: it is no IDX file, or has not as many bytes as it says.
    """
    held: Any = (
        _unpacked(path) if path.suffix == ".gz" else np.memmap(path, np.uint8, "r") if path.stat().st_size else b""
    )
    head = bytes(held[:4])
    if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in DTYPES:
        raise DataError(
            "this is no IDX file",
            given=f"the first bytes {head.hex(' ')}",
            expected="00 00, a dtype (08, 09, 0b to 0e) and the number of dimensions",
            where=str(path),
            fix="fetch it again; a compressed one must be named .gz",
        )
    dtype, begin = np.dtype(DTYPES[head[2]]), 4 + 4 * head[3]
    shape = tuple(int(size) for size in np.frombuffer(bytes(held[4:begin]), ">u4"))
    wanted = begin + math.prod(shape) * dtype.itemsize
    if len(shape) != head[3] or len(held) != wanted:
        raise DataError(
            "the file has not as many bytes as its sizes say",
            given=f"{len(held):,}",
            expected=f"{wanted:,} for {list(shape)} of {dtype.newbyteorder('=').name}",
            where=str(path),
            fix="fetch it again",
        )
    data = np.frombuffer(held, np.uint8) if isinstance(held, bytes) else held
    array = data[begin:].view(dtype).reshape(shape)
    return array if dtype.itemsize == 1 else array.astype(dtype.newbyteorder("="))


def _unpacked(path: Path) -> bytes:
    try:
        return gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(
            "the file is no whole GZIP file", given=str(error), where=str(path), fix="fetch it again"
        ) from error


@dataclass(frozen=True, eq=False)
class IdxRows(Slices):
    """The rows of an IDX file."""

    path: Path
    verb = "idx"

    @staticmethod
    def of(path: Path) -> IdxRows:
        """The source of a file.

        Raises:
            DataError: it holds a number without rows.
        """
        array = read_idx(path)
        if not array.ndim:
            raise DataError("the file holds one number and no rows", where=str(path), fix="read another file")
        return IdxRows([frozen(array)], jax.tree.structure(0), path)

    @property
    def arguments(self) -> str:
        return f"{self.path.name}, {super().arguments}"

    def origins(self, at: At) -> list[Origin]:
        places = zip(at.epochs.tolist(), at.positions.tolist(), strict=True)
        return [Origin(self.verb, epoch, place, str(self.path), place) for epoch, place in places]
