"""Shuffles: of the whole set, by a bijection on positions; by a buffer, as tf.data defines it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from aidl_jax.data.elements import Element
from aidl_jax.data.permutation import bijection, buffer_order, generator
from aidl_jax.data.stage import INFINITE, At, Cursor, Moving, Run, State

__all__ = ["BufferShuffled", "Shuffled"]

STRETCH = 8192


@dataclass(frozen=True, eq=False)
class Shuffled(Moving):
    """All elements of an epoch in random order."""

    seed: int
    reshuffle: bool
    buffer: int | None = None
    verb = "shuffle"

    @property
    def arguments(self) -> str:
        size = "" if self.buffer is None else f"{self.buffer}, "
        return f"{size}seed={self.seed}" + ("" if self.reshuffle else ", reshuffle_each_iteration=False")

    @property
    def note(self) -> str:
        return "the whole set, by a bijection on positions: nothing is stored, a jump costs nothing"

    def move(self, at: At) -> At:
        epochs = at.epochs if self.reshuffle else np.zeros_like(at.epochs)
        if not at.is_span:
            return at.moved(bijection(at.positions, int(self.input.size), self.seed, epochs))  # type: ignore[arg-type]
        first, last = (int(at.positions[end]) // STRETCH for end in (0, -1))
        order = np.concatenate([self._stretch(int(epochs[0]), number) for number in range(first, last + 1)])
        return at.moved(order[at.positions - first * STRETCH])

    @cached_property
    def _stretch(self) -> Callable[[int, int], np.ndarray]:
        """Where a shuffle sends a long stretch of positions: neighbours are asked for in turn, and many at once cost less."""

        @lru_cache(maxsize=4)
        def stretch(epoch: int, number: int) -> np.ndarray:
            size = int(self.input.size)  # type: ignore[arg-type]
            places = At.span(epoch, number * STRETCH, min((number + 1) * STRETCH, size))
            return bijection(places.positions, size, self.seed, places.epochs)

        return stretch


@dataclass(frozen=True, eq=False)
class BufferShuffled(Moving):
    """What a buffer gives out that is filled from the input, one drawn element for one that comes in."""

    buffer: int
    seed: int
    reshuffle: bool
    verb = "shuffle"

    @property
    def indexed(self) -> bool:
        """An endless input has no epoch whose order could be known."""
        return self.input.indexed and self.input.size != INFINITE

    @property
    def arguments(self) -> str:
        return f"{self.buffer}, seed={self.seed}" + ("" if self.reshuffle else ", reshuffle_each_iteration=False")

    @property
    def note(self) -> str:
        if self.indexed:
            return f"a buffer's order as integers: {self.size:,} of them once an epoch, also after a jump"
        return f"holds {self.buffer:,} elements; resumed by going through the epoch again"

    @cached_property
    def _order(self) -> Callable[[int], np.ndarray]:
        """The order of an epoch; two epochs are remembered."""
        size, buffer, seed = int(self.input.size), self.buffer, self.seed  # type: ignore[arg-type]
        return lru_cache(maxsize=2)(lambda epoch: buffer_order(size, buffer, seed, epoch))

    def move(self, at: At) -> At:
        epochs = at.epochs if self.reshuffle else np.zeros_like(at.epochs)
        moved = np.empty_like(at.positions)
        for epoch in np.unique(epochs).tolist():
            here = epochs == epoch
            moved[here] = self._order(epoch)[at.positions[here]]
        return at.moved(moved)

    def walk(self, epoch: int, run: Run, state: State) -> Cursor:
        return _BufferCursor(self, epoch, run, state)


class _BufferCursor:
    """A shuffle buffer. Its state is where the epoch began and how many elements it has given since."""

    def __init__(self, stage: BufferShuffled, epoch: int, run: Run, state: State) -> None:
        given = 0 if state is None else int(state)
        self.inner = stage.input.cursor(epoch, run)
        self.random = generator(stage.seed, epoch if stage.reshuffle else 0)
        self.size, self.given = stage.buffer, 0
        self.held: list[Element] = []
        self.filled = False
        for _ in range(given):
            next(self)

    def __next__(self) -> Element:
        while not self.filled and len(self.held) < self.size:
            self._take_in()
        if not self.held:
            raise StopIteration
        slot = int(self.random.integers(len(self.held)))
        element = self.held[slot]
        self.held[slot] = self.held[-1]
        self.held.pop()
        self.given += 1
        return element

    def _take_in(self) -> None:
        try:
            self.held.append(next(self.inner))
        except StopIteration:
            self.filled = True

    def state(self) -> State:
        return self.given
