"""Records in one stretch of bytes, as they are read, without an object of Python's for each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Packed", "pack"]


@dataclass(frozen=True)
class Packed:
    """Records that stand one after another, with or without something between them.

    Attributes:
        data: all of them, bytes or uint8 [m].
        begins: where each begins, int64 [n].
        ends: where each ends, int64 [n].
    """

    data: bytes | np.ndarray
    begins: np.ndarray
    ends: np.ndarray

    def __len__(self) -> int:
        return len(self.begins)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.listed())

    def __getitem__(self, number: int) -> bytes:
        """One record."""
        return bytes(self.data[self.begins[number] : self.ends[number]])

    def listed(self) -> list[bytes]:
        """Each record, as an object of Python's."""
        step = self._step()
        return self._view(step).view(f"V{self._length()}")[:, 0].tolist() if step else self._cut()

    def only(self, numbers: np.ndarray | slice) -> Packed:
        """Some of them, by int64 [m], bool [n] or a slice; the bytes are shared."""
        return Packed(self.data, self.begins[numbers], self.ends[numbers])

    def columns(self, start: int, stop: int) -> Packed:
        """Of each record the bytes from `start` to `stop`."""
        return Packed(self.data, self.begins + start, self.begins + stop)

    def block(self) -> np.ndarray:
        """Records of one length as an array, uint8 [n, bytes]: a view where they stand at equal distances.

        >>> pack([b"abc", b"def"]).columns(1, 3).block().tolist()
        [[98, 99], [101, 102]]
        """
        step = self._step()
        if step:
            return self._view(step)
        return np.frombuffer(b"".join(self._cut()), np.uint8).reshape(len(self), self._length())

    def _view(self, step: int) -> np.ndarray:
        first = np.frombuffer(self.data, np.uint8)[self.begins[0] :]
        return np.lib.stride_tricks.as_strided(first, (len(self), self._length()), (step, 1), writeable=False)

    def _cut(self) -> list[bytes]:
        data: Any = self.data if isinstance(self.data, bytes) else memoryview(self.data)  # type: ignore[arg-type]
        return [bytes(data[begin:end]) for begin, end in zip(self.begins.tolist(), self.ends.tolist(), strict=True)]

    def _length(self) -> int:
        return int(self.ends[0] - self.begins[0]) if len(self) else 0

    def _step(self) -> int:
        """How far records of one length, more than nothing, stand from one another; 0 where they do not."""
        length, last = self._length(), len(self) - 1
        step = int(self.begins[1] - self.begins[0]) if last > 0 else 0
        if not 0 < length <= step or self.begins[last] - self.begins[0] != last * step:
            return 0
        regular = (np.diff(self.begins) == step).all() and (self.ends - self.begins == length).all()
        return step if regular else 0


def pack(records: Sequence[bytes]) -> Packed:
    """Records that are objects of Python's, one after another."""
    lengths = np.fromiter(map(len, records), np.int64, len(records))
    ends = np.cumsum(lengths)
    return Packed(b"".join(records), ends - lengths, ends)
