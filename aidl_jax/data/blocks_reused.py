"""Large blocks of memory, used again once nobody holds a view of them: new memory must first be cleared by the system, which takes time."""

from __future__ import annotations

import sys
import threading
from typing import Any

import numpy as np

__all__ = ["ReusedBlocks"]

KEPT = 4


def _references(blocks: list[np.ndarray], number: int) -> int:
    return sys.getrefcount(blocks[number])


ALONE = _references([np.empty(0)], 0)  # what is counted where only the list holds a block


class ReusedBlocks:
    """Gives out arrays. One whose views are all gone is given out again, with what was in it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._blocks: list[np.ndarray] = []

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy, in this process or another, begins with memory of its own."""
        return ReusedBlocks, ()

    def empty(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """A view of a block, whose values are anything."""
        with self._lock:
            for number in range(len(self._blocks)):
                free = _references(self._blocks, number) == ALONE
                if free and self._blocks[number].shape == shape and self._blocks[number].dtype == dtype:
                    return self._blocks[number][...]
            self._blocks = [*self._blocks[1 - KEPT :], np.empty(shape, dtype)]
            return self._blocks[-1][...]
