"""Verbs that choose and order elements by arithmetic on positions: take, skip, shard, repeat, enumerate."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np

from aidl_jax.data.elements import Element, Listed, Rows, Spec, Stacked, frozen, stacked_tree
from aidl_jax.data.once import cached_property
from aidl_jax.data.stage import (
    INFINITE,
    UNKNOWN,
    At,
    Cursor,
    Moving,
    Run,
    Size,
    State,
    Verb,
)
from aidl_jax.errors import DataError

__all__ = ["Enumerated", "Repeated", "Sharded", "Skipping", "Taken", "next_in_list"]


@dataclass(frozen=True, eq=False)
class Taken(Moving):
    """The first `count` elements."""

    count: int
    verb = "take"

    @property
    def size(self) -> Size:
        inner = self.input.size if self.count else 0
        return UNKNOWN if inner is UNKNOWN else min(inner, self.count)

    @property
    def arguments(self) -> str:
        return str(self.count)

    @property
    def note(self) -> str:
        return "the same positions, fewer of them" if self.indexed else "stops there"

    def move(self, at: At) -> At:
        return at

    def walk(self, epoch: int, run: Run, state: State) -> Cursor:
        given, inner = state or [0, None]
        return _TakeCursor(self.input.cursor(epoch, run, inner), self.count, given)


class _TakeCursor:
    def __init__(self, inner: Cursor, count: int, given: int) -> None:
        self.inner, self.count, self.given = inner, count, given

    def __next__(self) -> Element:
        if self.given >= self.count:
            raise StopIteration
        element = next(self.inner)
        self.given += 1
        return element

    def state(self) -> State:
        return [self.given, self.inner.state()]


@dataclass(frozen=True, eq=False)
class Skipping(Moving):
    """All but the first `count` elements."""

    count: int
    verb = "skip"

    @property
    def size(self) -> Size:
        inner = self.input.size
        return UNKNOWN if inner is UNKNOWN else max(inner - self.count, 0)

    @property
    def arguments(self) -> str:
        return str(self.count)

    @property
    def note(self) -> str:
        return f"position + {self.count}" if self.indexed else "goes through what it skips"

    def move(self, at: At) -> At:
        return at.moved(at.positions + self.count)

    def walk(self, epoch: int, run: Run, state: State) -> Cursor:
        inner = self.input.cursor(epoch, run, state)
        if state is None:
            for _ in range(self.count):
                if next(inner, inner) is inner:
                    break
        return inner


@dataclass(frozen=True, eq=False)
class Sharded(Moving):
    """Every `shards`-th element, from the one at `index` on."""

    shards: int
    index: int
    verb = "shard"

    @property
    def size(self) -> Size:
        inner = self.input.size
        return inner if inner in (UNKNOWN, INFINITE) else max(-(-(int(inner) - self.index) // self.shards), 0)

    @property
    def arguments(self) -> str:
        return f"{self.shards}, {self.index}"

    @property
    def note(self) -> str:
        return f"position * {self.shards} + {self.index}" if self.indexed else "goes through the other shards' elements"

    def move(self, at: At) -> At:
        return at.moved(at.positions * self.shards + self.index)

    def walk(self, epoch: int, run: Run, state: State) -> Cursor:
        to_go, inner = state or [self.index, None]
        return _ShardCursor(self.input.cursor(epoch, run, inner), self.shards, to_go)


class _ShardCursor:
    def __init__(self, inner: Cursor, shards: int, to_go: int) -> None:
        self.inner, self.shards, self.to_go = inner, shards, to_go

    def __next__(self) -> Element:
        while self.to_go:
            next(self.inner)
            self.to_go -= 1
        element = next(self.inner)
        self.to_go = self.shards - 1
        return element

    def state(self) -> State:
        return [self.to_go, self.inner.state()]


@dataclass(frozen=True, eq=False)
class Repeated(Moving):
    """The input's epochs one after another: `count` of them, or INFINITE.

    Without end, it stops at an epoch that has no element, as tf.data does.
    """

    count: int | float
    verb = "repeat"

    @property
    def size(self) -> Size:
        inner = self.input.size
        if inner is UNKNOWN:
            return UNKNOWN if self.count else 0
        return 0 if 0 in (inner, self.count) else inner * self.count

    @property
    def arguments(self) -> str:
        return "" if self.count == INFINITE else str(self.count)

    @property
    def note(self) -> str:
        if not self.indexed:
            return "begins its input again, as the next epoch"
        return f"epoch = position // {self.input.size}, position % {self.input.size}"

    def move(self, at: At) -> At:
        if self.input.size == INFINITE:
            return at
        rounds, positions = np.divmod(at.positions, max(int(self.input.size), 1))  # type: ignore[arg-type]
        outer = 0 if self.count == INFINITE else at.epochs * int(self.count)
        return At(outer + rounds, positions)

    def walk(self, epoch: int, run: Run, state: State) -> Cursor:
        return _RepeatCursor(self, epoch, run, state)


class _RepeatCursor:
    def __init__(self, stage: Repeated, epoch: int, run: Run, state: State) -> None:
        self.closing = run.closing.enter_context(ExitStack())  # what one round opens is closed with it
        self.stage, self.run = stage, replace(run, closing=self.closing)
        self.first = 0 if stage.count == INFINITE else epoch * int(stage.count)
        inner: State
        self.round, self.some, inner = state or [0, 0, None]
        self.inner: Cursor | None = self._opened(inner)

    def _opened(self, inner: State) -> Cursor:
        return self.stage.input.cursor(self.first + self.round, self.run, inner)

    def __next__(self) -> Element:
        while self.round < self.stage.count:
            self.inner = self.inner or self._opened(None)
            for element in next_in_list(self.inner):
                self.some = 1
                return element
            if not self.some and self.stage.count == INFINITE:  # there could be no end to looking for an element
                break
            self.round, self.some, self.inner = self.round + 1, 0, None
            self.closing.close()
        raise StopIteration

    def state(self) -> State:
        return [self.round, self.some, None if self.inner is None else self.inner.state()]


def next_in_list(cursor: Any) -> list[Any]:
    """What a cursor, or a reader of blocks, gives next, in a list; an empty list at the end."""
    try:
        return [next(cursor)]
    except StopIteration:
        return []


@dataclass(frozen=True, eq=False)
class Enumerated(Verb):
    """Pairs of a number, int32, and the element."""

    start: int
    verb = "enumerate"

    @cached_property
    def spec(self) -> Spec:
        return (jax.ShapeDtypeStruct((), np.int32), self.input.spec)

    @property
    def arguments(self) -> str:
        return str(self.start) if self.start else ""

    @property
    def note(self) -> str:
        return "the position itself" if self.indexed else "counts"

    def rows(self, at: At, run: Run) -> Rows:
        rows = self.input.rows(at, run)
        numbers = frozen(counted(at.positions + self.start, "enumerate"))
        if isinstance(rows, Stacked):
            return stacked_tree((numbers, rows.tree), len(at))
        return Listed([(number, element) for number, element in zip(numbers, rows, strict=True)])

    def walk(self, epoch: int, run: Run, state: State) -> Cursor:
        count, inner = state or [0, None]
        return _EnumerateCursor(self.input.cursor(epoch, run, inner), count, self.start)


class _EnumerateCursor:
    def __init__(self, inner: Cursor, count: int, start: int) -> None:
        self.inner, self.count, self.start = inner, count, start

    def __next__(self) -> Element:
        element = next(self.inner)
        number = counted(np.int64(self.count + self.start), "enumerate")
        self.count += 1
        return (number, element)

    def state(self) -> State:
        return [self.count, self.inner.state()]


def counted(numbers: Any, verb: str) -> Any:
    """Counted numbers as int32."""
    if np.size(numbers) and np.max(numbers) >= 2**31:
        raise DataError(
            "counting went beyond what int32 holds",
            given=str(np.max(numbers)),
            expected="less than 2**31",
            where=verb,
            fix="enumerate before repeat",
        )
    return numbers.astype(np.int32)
