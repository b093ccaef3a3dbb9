"""What a stage of a pipeline is: a frozen description that knows how to make its elements, in one of two classes.

An **Indexed** stage is a pure function from places to rows: `rows(at, run)`. A place is an epoch and a position in it, and
places come as vectors, so that repeats, shards and shuffles are arithmetic on integers and rows are made a block at a time.

A **Sequential** stage is gone through from its beginning: `cursor(epoch, run, state)` returns a `Cursor`, which gives one
element after another and can say where it stands. An Indexed stage has a cursor too, whose state is a position.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, ClassVar, Protocol

import jax
import numpy as np

from aidl_jax.data.ahead import plan_of
from aidl_jax.data.elements import Element, Listed, Rows, Spec, frozen, joined, row_bytes
from aidl_jax.data.once import cached_property
from aidl_jax.data.pools import Pool, Pools, in_order

__all__ = [
    "INFINITE",
    "UNKNOWN",
    "At",
    "Cursor",
    "IndexedCursor",
    "Moving",
    "Origin",
    "RowReader",
    "Run",
    "Size",
    "Skipped",
    "Stage",
    "State",
    "Verb",
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

    def only(self, which: np.ndarray) -> At:
        """The places that a mask or index vector chooses."""
        return At(self.epochs[which], self.positions[which])

    def origins_in(self, source: str) -> list[Origin]:
        """The same places, as where elements of a source come from."""
        places = zip(self.epochs.tolist(), self.positions.tolist(), strict=True)
        return [Origin(source, epoch, position) for epoch, position in places]

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
        pools: its threads.
    """

    block: int = 1
    closing: ExitStack = field(default_factory=ExitStack)
    skipped: list[Skipped] = field(default_factory=list)
    choices: dict[str, str] = field(default_factory=dict)
    pools: Pools = field(default_factory=Pools)

    def pool(self, owner: Any, threads: int) -> Pool:
        """The owner's threads; they end with the run."""
        return self.pools.of(self.closing, owner, threads)

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
    def element_bytes(self) -> int:
        """About how many bytes one element weighs."""
        return row_bytes(self.spec)

    @property
    def arguments(self) -> str:
        """What stands between the brackets of the verb."""
        return ""

    @property
    def note(self) -> str:
        """What it becomes when it is run, for `explain()`."""
        return ""

    @property
    def calls_at_once(self) -> int:
        """Calls of a Python function that it makes at once: 0 of none, 1 for one after another."""
        return 0

    @property
    def jump_cost(self) -> str:
        """What must be computed before the first element after a jump (Indexed), in words; none where nothing must."""
        return ""

    @property
    def held_ready(self) -> int:
        """Elements that it wants made before they are asked for."""
        return 0

    def rows(self, at: At, run: Run) -> Rows:
        """The elements at these places (Indexed)."""
        raise NotImplementedError

    def origins(self, at: At) -> list[Origin]:
        """Where the elements at these places come from (Indexed); one element can come from many."""
        raise NotImplementedError

    def cursor(self, epoch: int, run: Run, state: State = None) -> Cursor:
        """A cursor at the beginning of an epoch, or where the state says."""
        return IndexedCursor(self, epoch, run, state) if self.indexed else self.walk(epoch, run, state)

    def walk(self, epoch: int, run: Run, state: State) -> Cursor:
        """The cursor of a Sequential stage."""
        raise NotImplementedError

    @property
    def told(self) -> str:
        """The pipeline up to here, as it was written."""
        told = f"{self.verb}({self.arguments})"
        if not self.inputs:
            return told
        others = ", ".join(map(str, self.inputs[1:]))
        return f"{self.inputs[0]}.{told}" if not others else f"{self.inputs[0]}.{self.verb}({others})"

    @cached_property
    def _told(self) -> str:
        return self.told

    def __str__(self) -> str:
        return self._told


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


class RowReader:
    """Reads an epoch of an Indexed stage a block of rows at a time; ahead of who asks, where a verb in it wants that.

    What cannot be made is told where it stands: the rows of a block before it are given first.
    """

    def __init__(self, stage: Stage, epoch: int, run: Run) -> None:
        self._stage, self._epoch, self._run = stage, epoch, run
        self._coming: Iterator[Rows] = iter(())
        self._next = -1

    def __call__(self, position: int) -> Rows:
        """Rows from a position on; none at the end. Asked again after an error, it tries again."""
        if position != self._next:
            self._coming = self._from(position)
        try:
            rows = next(self._coming, Listed([]))
        except BaseException:
            self._next = -1
            raise
        self._next = position + len(rows)
        return rows

    def _from(self, position: int) -> Iterator[Rows]:
        plan = plan_of(self._stage, self._run.block)
        calls = self._calls(position, plan.step)
        pool = self._run.pool((self._stage, "rows"), plan.threads) if plan.threads else None
        for rows, error in in_order(calls, pool, plan.room) if pool else (call() for call in calls):
            if len(rows):
                yield rows
            del rows  # its memory can be that of the next
            if error is not None:
                raise error

    def _calls(self, first: int, step: int) -> Iterator[Callable[[], tuple[Rows, Exception | None]]]:
        size = self._stage.size
        assert size is not None
        while first < size:
            yield partial(self._rows, first, int(min(first + step, size)))
            first += step

    def _rows(self, start: int, stop: int) -> tuple[Rows, Exception | None]:
        try:
            return self._stage.rows(At.span(self._epoch, start, stop), self._run), None
        except Exception as error:
            return (Listed([]), error) if stop - start == 1 else self._one_by_one(start, stop)

    def _one_by_one(self, start: int, stop: int) -> tuple[Rows, Exception | None]:
        """The rows before the first that cannot be made, and its error."""
        rows: list[Rows] = []
        for position in range(start, stop):
            made, error = self._rows(position, position + 1)
            if error is not None:
                return joined(rows or [made]), error
            rows.append(made)
        return joined(rows), None


class IndexedCursor:
    """A cursor over an Indexed stage: it reads rows a block at a time, and its state is a position."""

    def __init__(self, stage: Stage, epoch: int, run: Run, state: State) -> None:
        self.position = 0 if state is None else int(state)
        if self.position < 0:
            raise ValueError("a position is at least 0")
        self._read = RowReader(stage, epoch, run)
        self._rows: Iterator[Element] = iter(())
        self._left = self._length = 0

    def __next__(self) -> Element:
        if not self._left:
            self._open()
        element = next(self._rows)
        self.position += 1
        self._left -= 1
        if self._left or self._length == 1:
            return element
        # Whoever holds this one would hold the whole block while the next is made, whose memory could be this block's.
        self._rows = iter(())
        return jax.tree.map(_copied, element)

    def _open(self) -> None:
        rows = self._read(self.position)
        if not len(rows):
            raise StopIteration
        self._rows, self._left, self._length = iter(rows), len(rows), len(rows)

    def state(self) -> State:
        return self.position


def _copied(leaf: Any) -> Any:
    return frozen(leaf.copy()) if isinstance(leaf, np.ndarray) else leaf
