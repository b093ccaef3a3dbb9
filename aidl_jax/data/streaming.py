"""Verbs whose elements have no position of their own, since nobody knows beforehand how many are kept: filter, take_while."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import jax
import numpy as np

from aidl_jax.data.elements import Element, Listed, Rows, Stacked, frozen, tell_spec
from aidl_jax.data.iterator import block_of
from aidl_jax.data.mapping import Mapped, arguments_of, name_of
from aidl_jax.data.once import cached_property
from aidl_jax.data.selecting import next_in_list
from aidl_jax.data.stage import UNKNOWN, At, Cursor, RowReader, Run, Size, Stage, State, Verb
from aidl_jax.errors import DataError, tell_error

__all__ = ["BlockReader", "Filtered", "TakenWhile"]


class BlockReader:
    """Goes through an epoch of a stage a block of rows at a time; `before` is the stage's state at the block it gave last.

    An Indexed stage gives as many rows as it makes at once. Of a Sequential one no more are taken in than `run` asks for, so that
    nobody waits for elements that may never come.
    """

    def __init__(self, stage: Stage, epoch: int, run: Run, state: State) -> None:
        self.stage, self.epoch, self.before = stage, epoch, state
        self.run = replace(run, block=max(run.block, block_of(stage)))
        self.inner: Cursor | None = None if stage.indexed else stage.cursor(epoch, self.run, state)
        self.position = int(state or 0) if stage.indexed else 0
        self.read = RowReader(stage, epoch, self.run)
        self.coming: list[Element] = []  # a block that is not complete, so that an error in its midst loses nothing

    def __next__(self) -> Rows:
        self.before = self.state()
        rows = self._indexed() if self.inner is None else self._collected(self.inner)
        if not len(rows):
            raise StopIteration
        return rows

    def _indexed(self) -> Rows:
        rows = self.read(self.position)
        self.position += len(rows)
        return rows

    def _collected(self, inner: Cursor) -> Rows:
        while len(self.coming) < self.run.block and (more := next_in_list(inner)):
            self.coming += more
        elements, self.coming = self.coming, []
        return Listed(elements)

    def state(self) -> State:
        if self.coming:
            return self.before
        return self.position if self.inner is None else self.inner.state()


class _Predicate(Mapped):
    """A traced predicate, evaluated as a map is: vmapped, compiled, a block of rows at a time."""

    verb = "filter"

    def answers(self, rows: Rows, run: Run) -> np.ndarray:
        """bool [rows]."""
        self.check()
        nowhere = At.span(0, 0, len(rows))
        return np.concatenate([part.leaves[0] for part in self._mapped(rows, nowhere, run.block)])

    def check(self) -> None:
        """Refuses what answers with anything but one bool."""
        if not (isinstance(self.spec, jax.ShapeDtypeStruct) and self.spec.shape == () and self.spec.dtype == bool):
            raise _no_bool(tell_spec(self.spec), str(self))


def _no_bool(given: str, where: str) -> DataError:
    return DataError(
        "a predicate must answer with one bool",
        given=given,
        expected="bool[]",
        where=where,
        fix="compare: x > 0; or say which of many is meant: jnp.all(x > 0)",
    )


@dataclass(frozen=True, eq=False)
class Filtered(Verb):
    """The elements of which a predicate holds.

    A jump costs what the input's own costs, and a block of rows: over an Indexed input next to nothing.
    """

    predicate: Callable[..., Any]
    python: bool
    verb = "filter"
    asked: ClassVar[type[_Predicate]] = _Predicate
    ends: ClassVar[bool] = False  # whether nothing comes after the first of which it does not hold
    passes_rows = False

    @property
    def size(self) -> Size:
        return 0 if self.input.size == 0 else UNKNOWN

    @property
    def arguments(self) -> str:
        return name_of(self.predicate) + (", python=True" if self.python else "")

    @property
    def note(self) -> str:
        how = "Python, one element at a time" if self.python else "compiled, a block of rows at a time"
        return f"{how}; resumed at the input's place"

    @cached_property
    def traced(self) -> _Predicate:
        """The predicate of a block of rows."""
        return self.asked(self.input, self.predicate, False, 0)

    def kept(self, rows: Rows, run: Run) -> Rows:
        """The rows of a block of which the predicate holds."""
        mask = self.traced.answers(rows, run)
        if not isinstance(rows, Stacked):
            return Listed([row for row, keep in zip(rows, mask, strict=True) if keep])
        return Stacked([frozen(leaf[mask]) for leaf in rows.leaves], rows.structure, int(mask.sum()))

    def holds(self, element: Element, epoch: int, count: int) -> bool:
        """What a predicate in Python answers of element `count` of an epoch of the input."""
        where = f"{self.verb}({self.arguments}) at element {count}, epoch {epoch}"
        try:
            answer = self.predicate(*arguments_of(element))
        except Exception as error:
            raise DataError("the predicate raised an error", given=tell_error(error), where=where) from error
        if np.shape(answer) != () or np.asarray(answer).dtype != bool:
            raise _no_bool(repr(answer)[:80], where)
        return bool(answer)

    def walk(self, epoch: int, run: Run, state: State) -> Cursor:
        return (_PythonCursor if self.python else _BlockCursor)(self, epoch, run, state)


class _WhilePredicate(_Predicate):
    verb = "take_while"


@dataclass(frozen=True, eq=False)
class TakenWhile(Filtered):
    """The elements before the first of which a predicate does not hold."""

    verb = "take_while"
    asked = _WhilePredicate
    ends = True

    def kept(self, rows: Rows, run: Run) -> Rows:
        """The rows of a block before the first of which the predicate does not hold."""
        mask = np.logical_and.accumulate(self.traced.answers(rows, run))
        return Listed([row for row, keep in zip(rows, mask, strict=True) if keep])


class _PythonCursor:
    """Asks a predicate in Python about one element after another. Its state is the input's, and how many it has asked about."""

    def __init__(self, stage: Filtered, epoch: int, run: Run, state: State) -> None:
        self.stage, self.epoch = stage, epoch
        self.before, self.count = state or [None, 0]  # the input's state before what is coming
        block = max(run.block, block_of(stage.input))
        self.inner = stage.input.cursor(epoch, replace(run, block=block), self.before)
        self.coming: list[Element] = []  # one that has not been decided about, so that an error loses nothing

    def __next__(self) -> Element:
        while True:
            if not self.coming:
                self.before = self.inner.state()
                self.coming = [next(self.inner)]
            if self.stage.holds(self.coming[0], self.epoch, self.count):
                self.count += 1
                return self.coming.pop()
            if self.stage.ends:
                raise StopIteration
            self.count += 1
            self.coming.pop()

    def state(self) -> State:
        return [self.before if self.coming else self.inner.state(), self.count]


class _BlockCursor:
    """Asks a traced predicate about a block of rows. Its state is the input's before the block, and how many of its rows it has given."""

    def __init__(self, stage: Filtered, epoch: int, run: Run, state: State) -> None:
        given: int
        before, given = state or [None, 0]
        self.stage, self.given = stage, 0
        self.reader = BlockReader(stage.input, epoch, run, before)
        self.block: Rows | None = None  # one that has not been asked about yet
        self.ended = False
        self.rows: list[Element] = []
        for _ in range(given):
            next(self)

    def __next__(self) -> Element:
        while self.given == len(self.rows):
            self._fill()
        self.given += 1
        return self.rows[self.given - 1]

    def _fill(self) -> None:
        if self.ended:
            raise StopIteration
        self.block = next(self.reader) if self.block is None else self.block
        kept = self.stage.kept(self.block, self.reader.run)
        self.ended = self.stage.ends and len(kept) < len(self.block)
        self.rows, self.given, self.block = list(kept), 0, None

    def state(self) -> State:
        if self.block is not None:
            return [self.reader.before, 0]
        if self.given == len(self.rows) and not self.ended:
            return [self.reader.state(), 0]
        return [self.reader.before, self.given]
