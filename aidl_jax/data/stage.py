"""What a stage of a pipeline is: a frozen description that knows how to make its elements, in one of two classes.

An **Indexed** stage is a pure function from places to rows: `rows(at, run)`. A place is an epoch and a position in it, and
places come as vectors, so that repeats, shards and shuffles are arithmetic on integers and rows are made a block at a time.

A **Sequential** stage is gone through from its beginning: `cursor(epoch, run, state)` returns a `Cursor`, which gives one
element after another and can say where it stands. An Indexed stage has a cursor too, whose state is a position.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Protocol

import numpy as np

from aidl_jax.data.elements import Element, Rows, Spec

__all__ = [
    "INFINITE",
    "UNKNOWN",
    "At",
    "Cursor",
    "IndexedCursor",
    "Moving",
    "Origin",
    "Run",
    "Size",
    "Skipped",
    "Stage",
    "State",
    "Verb",
    "blocks",
]

INFINITE = float("inf")
UNKNOWN = None
Size = int | float | None  # elements in one epoch: a number, INFINITE, or UNKNOWN
State = Any  # where a cursor stands, as JSON: numbers, texts, None, and lists of them


@dataclass(frozen=True)
class At:
    """Places: epochs and positions, int64 [n] each."""

    epochs: np.ndarray
    positions: np.ndarray

    def __len__(self) -> int:
        return len(self.positions)

    def moved(self, positions: np.ndarray) -> At:
        """The same epochs at other positions."""
        return At(self.epochs, positions)

    def each(self, times: int) -> At:
        """Every place `times` times, one after another."""
        return At(np.repeat(self.epochs, times), np.repeat(self.positions, times))

    def only(self, which: np.ndarray) -> At:
        """The places that a mask or index vector chooses."""
        return At(self.epochs[which], self.positions[which])

    @property
    def is_span(self) -> bool:
        """Whether they follow one another in one epoch."""
        if not len(self):
            return False
        positions, epochs = self.positions, self.epochs
        stretch = positions[-1] - positions[0] == len(self) - 1 and epochs[0] == epochs[-1]
        return bool(stretch and (np.diff(positions) == 1).all() and (epochs == epochs[0]).all())

    @staticmethod
    def span(epoch: int, start: int, stop: int) -> At:
        """Positions that follow one another in one epoch."""
        positions = np.arange(start, stop, dtype=np.int64)
        return At(np.full(len(positions), epoch, np.int64), positions)


@dataclass(frozen=True)
class Origin:
    """Where an element came from: the source, and what it calls its parts."""

    source: str
    epoch: int
    position: int
    file: str | None = None
    record: int | None = None

    def __str__(self) -> str:
        told = f"position {self.position} of {self.source}"
        if self.file is not None:
            told = f"{self.file}" if self.record is None else f"{self.file}, record {self.record}"
        return f"{told}, epoch {self.epoch}"


@dataclass(frozen=True)
class Skipped:
    """An element that `on_error="skip"` left out."""

    stage: str
    position: int
    error: str
    origin: str | None = None


@dataclass(frozen=True)
class Run:
    """One going through a pipeline.

    Attributes:
        block: rows that are computed together. Compiled maps are always given this many, so that a row's bits do not
            depend on who its neighbours are.
        closing: what must be closed when the run is over (threads, files).
        skipped: what was left out so far.
        choices: what AUTOTUNE chose so far, by stage, with the reason.
    """

    block: int = 1
    closing: ExitStack = field(default_factory=ExitStack)
    skipped: list[Skipped] = field(default_factory=list)
    choices: dict[str, str] = field(default_factory=dict)

    def wider(self, times: int) -> Run:
        """The same run, for a stage that needs `times` rows for each of ours."""
        return replace(self, block=self.block * times)

    def narrower(self, times: int) -> Run:
        """The same run, for a stage of which one row makes `times` of ours."""
        return replace(self, block=max(1, -(-self.block // times)))


class Cursor(Protocol):
    """A going through one epoch of a stage."""

    def __next__(self) -> Element:
        """The next element; StopIteration at the end, and ever after."""

    def state(self) -> State:
        """Where it stands: a cursor opened with it goes on with the element that would have come next."""


@dataclass(frozen=True, eq=False)
class Stage:
    """One verb of a pipeline, or its source.

    Attributes:
        inputs: the stages it takes its elements from.
    """

    verb: ClassVar[str] = ""
    passes_rows: ClassVar[bool] = True  # whether it is Indexed where all of its inputs are

    @property
    def inputs(self) -> tuple[Stage, ...]:
        return ()

    @property
    def indexed(self) -> bool:
        """Whether it is of the class Indexed."""
        return self.passes_rows and all(one.indexed for one in self.inputs)

    @property
    def size(self) -> Size:
        """Elements in one epoch."""
        raise NotImplementedError

    @property
    def spec(self) -> Spec:
        """Shapes and dtypes of an element."""
        raise NotImplementedError

    @property
    def arguments(self) -> str:
        """What stands between the brackets of the verb."""
        return ""

    @property
    def note(self) -> str:
        """What it becomes when it is run, for `explain()`."""
        return ""

    def rows(self, at: At, run: Run) -> Rows:
        """The elements at these places (Indexed)."""
        raise NotImplementedError

    def origins(self, at: At) -> list[Origin]:
        """Where the elements at these places come from (Indexed); one element can come from many."""
        raise NotImplementedError

    def cursor(self, epoch: int, run: Run, state: State = None) -> Cursor:
        """A cursor at the beginning of an epoch, or where the state says."""
        return IndexedCursor(self, epoch, run, state)

    def __str__(self) -> str:
        told = f"{self.verb}({self.arguments})"
        if not self.inputs:
            return told
        others = ", ".join(map(str, self.inputs[1:]))
        return f"{self.inputs[0]}.{told}" if not others else f"{self.inputs[0]}.{self.verb}({others})"


@dataclass(frozen=True, eq=False)
class Verb(Stage):
    """A stage over one other; what it does not say is its input's."""

    input: Stage

    @property
    def inputs(self) -> tuple[Stage, ...]:
        return (self.input,)

    @property
    def size(self) -> Size:
        return self.input.size

    @property
    def spec(self) -> Spec:
        return self.input.spec

    def origins(self, at: At) -> list[Origin]:
        return self.input.origins(at)


@dataclass(frozen=True, eq=False)
class Moving(Verb):
    """A verb that hands its input's elements on unchanged: Indexed, it is arithmetic on places and nothing else."""

    def move(self, at: At) -> At:
        """Where in the input the elements at these places stand."""
        raise NotImplementedError

    def rows(self, at: At, run: Run) -> Rows:
        return self.input.rows(self.move(at), run)

    def origins(self, at: At) -> list[Origin]:
        return self.input.origins(self.move(at))

    def cursor(self, epoch: int, run: Run, state: State = None) -> Cursor:
        return IndexedCursor(self, epoch, run, state) if self.indexed else self.walk(epoch, run, state)

    def walk(self, epoch: int, run: Run, state: State) -> Cursor:
        """The cursor over an input that is Sequential."""
        raise NotImplementedError


class IndexedCursor:
    """A cursor over an Indexed stage: it reads `run.block` rows at a time, and its state is a position."""

    def __init__(self, stage: Stage, epoch: int, run: Run, state: State) -> None:
        self.position = 0 if state is None else int(state)
        self._blocks = blocks(stage, epoch, run, self.position)
        self._rows: Iterator[Element] = iter(())

    def __next__(self) -> Element:
        for element in self._rows:
            self.position += 1
            return element
        self._rows = iter(next(self._blocks))
        return next(self)

    def state(self) -> State:
        return self.position


def blocks(stage: Stage, epoch: int, run: Run, start: int) -> Iterator[Rows]:
    """The rows of an epoch from a position on, `run.block` at a time."""
    size = stage.size
    assert size is not None
    for first in itertools.count(start, run.block):
        if first >= size:
            return
        yield stage.rows(At.span(epoch, first, int(min(first + run.block, size))), run)
