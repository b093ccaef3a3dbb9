"""Verbs that choose and order elements by arithmetic on positions: take, skip, shard, repeat, concatenate, zip, enumerate."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import numpy as np

from aidl_jax.data.elements import Element, Listed, Rows, Spec, Stacked, frozen, stacked_tree, tell_spec
from aidl_jax.data.stage import (
    INFINITE,
    UNKNOWN,
    At,
    Cursor,
    IndexedCursor,
    Moving,
    Origin,
    Run,
    Size,
    Stage,
    State,
    Verb,
)
from aidl_jax.errors import DataError

__all__ = ["Concatenated", "Enumerated", "Repeated", "Sharded", "Skipping", "Taken", "Zipped"]


@dataclass(frozen=True, eq=False)
class Taken(Moving):
    """The first `count` elements."""

    count: int
    verb = "take"

    @property
    def size(self) -> Size:
        inner = self.input.size
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
    """The input's epochs one after another: `count` of them, or INFINITE."""

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
        self.stage, self.run = stage, run
        self.first = 0 if stage.count == INFINITE else epoch * int(stage.count)
        inner: State
        self.round, self.some, inner = state or [0, 0, None]
        self.inner = stage.input.cursor(self.first + self.round, run, inner)

    def __next__(self) -> Element:
        while self.round < self.stage.count:
            for element in _once(self.inner):
                self.some = 1
                return element
            if not self.some:  # an empty epoch: there would be no end to looking for an element
                break
            self.round, self.some = self.round + 1, 0
            if self.round < self.stage.count:
                self.inner = self.stage.input.cursor(self.first + self.round, self.run, None)
        raise StopIteration

    def state(self) -> State:
        return [self.round, self.some, self.inner.state()]


def _once(cursor: Cursor) -> list[Element]:
    """The next element in a list, or an empty list at the end."""
    try:
        return [next(cursor)]
    except StopIteration:
        return []


@dataclass(frozen=True, eq=False)
class Concatenated(Stage):
    """All elements of one stage, then all of another."""

    first: Stage
    second: Stage
    verb = "concatenate"

    @property
    def inputs(self) -> tuple[Stage, ...]:
        return (self.first, self.second)

    @property
    def size(self) -> Size:
        sizes = self.first.size, self.second.size
        return UNKNOWN if UNKNOWN in sizes else sizes[0] + sizes[1]  # type: ignore[operator]

    @cached_property
    def spec(self) -> Spec:
        return common_spec(self.first.spec, self.second.spec, "concatenate")

    @property
    def note(self) -> str:
        return f"positions from {self.first.size} on are the second's" if self.indexed else "one after the other"

    def _split(self, at: At) -> tuple[np.ndarray, At, At]:
        late = at.positions >= self.first.size
        second = at.only(late)
        if len(second):
            second = second.moved(second.positions - int(self.first.size))  # type: ignore[arg-type]
        return late, at.only(~late), second

    def rows(self, at: At, run: Run) -> Rows:
        late, first, second = self._split(at)
        if not len(second):
            return self.first.rows(first, run)
        if not len(first):
            return self.second.rows(second, run)
        return _merged(late, self.first.rows(first, run), self.second.rows(second, run))

    def origins(self, at: At) -> list[Origin]:
        _, first, second = self._split(at)
        return self.first.origins(first) + self.second.origins(second)

    def cursor(self, epoch: int, run: Run, state: State = None) -> Cursor:
        if self.indexed:
            return IndexedCursor(self, epoch, run, state)
        return _ConcatenateCursor(self, epoch, run, state)


def _merged(late: np.ndarray, first: Rows, second: Rows) -> Rows:
    """Rows of two stages in the order that the mask gives."""
    if isinstance(first, Stacked) and isinstance(second, Stacked):
        leaves = []
        for a, b in zip(first.leaves, second.leaves, strict=True):
            if a.shape[1:] != b.shape[1:]:
                break
            leaf = np.empty((len(late), *a.shape[1:]), a.dtype)
            leaf[~late], leaf[late] = a, b
            leaves.append(frozen(leaf))
        else:
            return Stacked(leaves, first.structure, len(late))
    left, right = iter(first), iter(second)
    return Listed([next(right if one else left) for one in late])


class _ConcatenateCursor:
    def __init__(self, stage: Concatenated, epoch: int, run: Run, state: State) -> None:
        self.stages, self.epoch, self.run = (stage.first, stage.second), epoch, run
        inner: State
        self.which, inner = state or [0, None]
        self.inner = self.stages[self.which].cursor(epoch, run, inner)

    def __next__(self) -> Element:
        try:
            return next(self.inner)
        except StopIteration:
            if self.which == 1:
                raise
        self.which = 1
        self.inner = self.stages[1].cursor(self.epoch, self.run, None)
        return next(self.inner)

    def state(self) -> State:
        return [self.which, self.inner.state()]


def common_spec(first: Spec, second: Spec, verb: str) -> Spec:
    """The spec of elements of either; sizes that differ become None.

    Raises:
        DataError: another structure, dtype or number of dimensions.
    """

    def common(a: Any, b: Any) -> Any:
        if a.dtype != b.dtype or len(a.shape) != len(b.shape):
            raise ValueError
        sizes = (one if one == other else None for one, other in zip(a.shape, b.shape, strict=True))
        return jax.ShapeDtypeStruct(tuple(sizes), a.dtype)

    try:
        return jax.tree.map(common, first, second)
    except ValueError:
        raise DataError(
            "the datasets' elements differ",
            given=f"{tell_spec(first)} and {tell_spec(second)}",
            expected="one structure, with the same dtypes and numbers of dimensions",
            where=verb,
            fix="bring one to the other's form in a map",
        ) from None


@dataclass(frozen=True, eq=False)
class Zipped(Stage):
    """Elements that stand at the same position of several stages, in a pytree; as many as the shortest has."""

    parts: list[Stage]
    structure: Any
    verb = "zip"

    @property
    def inputs(self) -> tuple[Stage, ...]:
        return tuple(self.parts)

    @property
    def size(self) -> Size:
        sizes = [part.size for part in self.parts]
        return UNKNOWN if UNKNOWN in sizes else min(sizes)  # type: ignore[type-var]

    @cached_property
    def spec(self) -> Spec:
        return self.structure.unflatten([part.spec for part in self.parts])

    @property
    def note(self) -> str:
        return "the same position in each" if self.indexed else "one of each"

    def __str__(self) -> str:
        return f"zip({', '.join(map(str, self.parts))})"

    def rows(self, at: At, run: Run) -> Rows:
        rows = [part.rows(at, run) for part in self.parts]
        if all(isinstance(one, Stacked) for one in rows):
            return stacked_tree(self.structure.unflatten([one.tree for one in rows]), len(at))  # type: ignore[union-attr]
        return Listed([self.structure.unflatten(elements) for elements in zip(*rows, strict=True)])

    def origins(self, at: At) -> list[Origin]:
        return [origin for part in self.parts for origin in part.origins(at)]

    def cursor(self, epoch: int, run: Run, state: State = None) -> Cursor:
        if self.indexed:
            return IndexedCursor(self, epoch, run, state)
        states = state or [None] * len(self.parts)
        return _ZipCursor(self, [part.cursor(epoch, run, one) for part, one in zip(self.parts, states, strict=True)])


class _ZipCursor:
    def __init__(self, stage: Zipped, inner: list[Cursor]) -> None:
        self.stage, self.inner = stage, inner

    def __next__(self) -> Element:
        elements = [next(one) for one in self.inner]
        return self.stage.structure.unflatten(elements)

    def state(self) -> State:
        return [one.state() for one in self.inner]


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

    def cursor(self, epoch: int, run: Run, state: State = None) -> Cursor:
        if self.indexed:
            return IndexedCursor(self, epoch, run, state)
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
