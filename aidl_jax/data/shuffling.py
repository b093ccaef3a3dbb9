"""Shuffles: of the whole set, by a bijection on positions; by a buffer, as tf.data defines it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from aidl_jax.data.elements import Element, frozen
from aidl_jax.data.iterator import block_of
from aidl_jax.data.once import cached_property
from aidl_jax.data.permutation import bijection, buffer_order, buffer_slots, buffer_steps, shuffled, slot_generator
from aidl_jax.data.selecting import next_in_list
from aidl_jax.data.stage import INFINITE, At, Cursor, Moving, Run, State

__all__ = ["BufferShuffled", "Shuffled"]

STRETCH = 2**16  # positions of a whole-set shuffle computed together: few cost NumPy's calls nearly as much
KEPT = 4  # of these stretches
MOST_CUTS = 8  # where positions follow one another less than this, each is computed alone
DRAWN = 8192  # slots of a buffer drawn together


@dataclass(frozen=True, eq=False)
class Shuffling(Moving):
    """An order for each epoch, or one for all of them."""

    buffer: int | None
    seed: int
    reshuffle: bool
    verb = "shuffle"

    @property
    def arguments(self) -> str:
        size = "" if self.buffer is None else f"{self.buffer}, "
        return f"{size}seed={self.seed}" + ("" if self.reshuffle else ", reshuffle_each_iteration=False")

    def epochs(self, at: At) -> np.ndarray:
        """The epochs whose orders are asked for: int64 [places]."""
        return at.epochs if self.reshuffle else np.zeros_like(at.epochs)


@dataclass(frozen=True, eq=False)
class Shuffled(Shuffling):
    """All elements of an epoch in random order."""

    @property
    def note(self) -> str:
        kilobytes = -(-KEPT * 8 * self._together // 1000)
        return f"the whole set, by a bijection on positions; of its order {KEPT * self._together:,} integers are kept, {kilobytes:,} kB"

    @property
    def jump_cost(self) -> str:
        if self._together == self.input.size:
            return f"{self._together:,} integers, the order of one epoch"
        return f"{self._together:,} integers for each stretch of the shuffle's order that it touches"

    @property
    def _together(self) -> int:
        """Positions that are computed together, if they follow one another."""
        return min(int(self.input.size), STRETCH)  # type: ignore[arg-type]

    def move(self, at: At) -> At:
        epochs, positions = self.epochs(at), at.positions
        cuts = np.flatnonzero((np.diff(positions) != 1) | (np.diff(epochs) != 0)) + 1
        if len(cuts) > MOST_CUTS or not len(at):
            return at.moved(bijection(positions, int(self.input.size), self.seed, epochs))  # type: ignore[arg-type]
        spans = zip(epochs[[0, *cuts]].tolist(), np.split(positions, cuts), strict=True)
        pieces = [piece for epoch, span in spans for piece in self._pieces(epoch, int(span[0]), int(span[-1]) + 1)]
        return at.moved(np.concatenate(pieces))

    def _pieces(self, epoch: int, start: int, stop: int) -> Iterator[np.ndarray]:
        """Where positions go that follow one another, as parts of stretches."""
        for number in range(start // STRETCH, (stop - 1) // STRETCH + 1):
            first = number * STRETCH
            yield self._stretch(epoch, number)[max(start - first, 0) : stop - first]

    @cached_property
    def _stretch(self) -> Callable[[int, int], np.ndarray]:
        """Where a shuffle sends a long stretch of positions; the last ones are kept, which is 2 MB at most."""

        @lru_cache(maxsize=KEPT)
        def stretch(epoch: int, number: int) -> np.ndarray:
            size = int(self.input.size)  # type: ignore[arg-type]
            places = At.span(epoch, number * STRETCH, min((number + 1) * STRETCH, size))
            return frozen(bijection(places.positions, size, self.seed, places.epochs))

        return stretch


@dataclass(frozen=True, eq=False)
class BufferShuffled(Shuffling):
    """What a buffer gives out that is filled from the input, one drawn element for one that comes in."""

    buffer: int

    @property
    def indexed(self) -> bool:
        """An endless input has no epoch whose order could be known."""
        return self.input.indexed and self.input.size != INFINITE

    @property
    def jump_cost(self) -> str:
        return f"{self.input.size:,} integers, the order of one epoch's buffer" if self.indexed else ""

    @property
    def note(self) -> str:
        if self.indexed:
            return f"a buffer's order as integers: {self.size:,} of them once an epoch, also after a jump"
        if self.input.indexed:
            return f"holds {self.buffer:,} positions; a jump draws its integers again, without the elements"
        return f"holds {self.buffer:,} elements; resumed by going through the epoch again"

    @cached_property
    def _order(self) -> Callable[[int], np.ndarray]:
        """The order of an epoch; two epochs are remembered."""
        size, buffer, seed = int(self.input.size), self.buffer, self.seed  # type: ignore[arg-type]
        return lru_cache(maxsize=2)(lambda epoch: buffer_order(size, buffer, seed, epoch))

    def move(self, at: At) -> At:
        epochs = self.epochs(at)
        moved = np.empty_like(at.positions)
        for epoch in np.unique(epochs).tolist():
            here = epochs == epoch
            moved[here] = self._order(epoch)[at.positions[here]]
        return at.moved(moved)

    def walk(self, epoch: int, run: Run, state: State) -> Cursor:
        cursor = _EndlessCursor if self.input.indexed else _BufferCursor
        return cursor(self, epoch, run, state)


class _BufferCursor:
    """A shuffle buffer, in the same order as `buffer_order`. Its state is how many elements of the epoch it has given."""

    def __init__(self, stage: BufferShuffled, epoch: int, run: Run, state: State) -> None:
        self.inner = stage.input.cursor(epoch, run)
        self.size, self.seed, self.epoch = stage.buffer, stage.seed, epoch if stage.reshuffle else 0
        self.slots = _slots(self.size, self.seed, self.epoch)
        self.held: list[Element] = []
        self.left: Iterator[int] | None = None  # once the input has ended: the slots that are still to be emptied
        self.given = 0
        for _ in range(0 if state is None else int(state)):
            next(self)

    def __next__(self) -> Element:
        element = self._drawn()
        self.given += 1
        return element

    def _drawn(self) -> Element:
        while self.left is None:
            incoming = next_in_list(self.inner)
            if not incoming:
                self.left = iter(shuffled(len(self.held), self.seed, self.epoch).tolist())
            elif len(self.held) < self.size:
                self.held += incoming
            else:
                slot = next(self.slots)
                element, self.held[slot] = self.held[slot], incoming[0]
                return element
        return self.held[next(self.left)]

    def state(self) -> State:
        return self.given


class _EndlessCursor:
    """A buffer over an Indexed input without end: it holds positions, so that nothing but integers is gone through again."""

    def __init__(self, stage: BufferShuffled, epoch: int, run: Run, state: State) -> None:
        self.given = 0 if state is None else int(state)
        self.stage, self.epoch = stage.input, epoch
        self.run = replace(run, block=max(run.block, block_of(stage.input)))
        self.random = slot_generator(stage.seed, epoch if stage.reshuffle else 0)
        self.held, self.coming = np.arange(stage.buffer), stage.buffer
        for steps in range(self.given, 0, -DRAWN):
            self._positions(min(steps, DRAWN))
        self.positions = np.empty(0, np.int64)  # drawn, and not given yet
        self.rows: Iterator[Element] = iter(())

    def __next__(self) -> Element:
        for element in self.rows:
            self.given += 1
            return element
        if not len(self.positions):
            self.positions = self._positions(self.run.block)
        self.rows = iter(self.stage.rows(At(np.full(len(self.positions), self.epoch), self.positions), self.run))
        self.positions = self.positions[:0]
        return next(self)

    def _positions(self, steps: int) -> np.ndarray:
        """Those that the next steps give out."""
        slots = buffer_slots(len(self.held), steps, self.random)
        given, self.held = buffer_steps(self.held, slots, self.coming)
        self.coming += steps
        return given

    def state(self) -> State:
        return self.given


def _slots(size: int, seed: int, epoch: int) -> Iterator[int]:
    random = slot_generator(seed, epoch)
    while True:
        yield from buffer_slots(size, DRAWN, random).tolist()
