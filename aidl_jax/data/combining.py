"""Verbs over several datasets: concatenate, zip."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from aidl_jax.data.elements import Element, Listed, Rows, Spec, Stacked, frozen, stacked_tree, tell_spec
from aidl_jax.data.once import cached_property
from aidl_jax.data.stage import UNKNOWN, At, Cursor, Origin, Run, Size, Stage, State
from aidl_jax.errors import DataError

__all__ = ["Concatenated", "Zipped"]


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
        places = (at.only(np.array([place])) for place in range(len(at)))
        splits = (self._split(place)[1:] for place in places)
        return [origin for a, b in splits for origin in self.first.origins(a) + self.second.origins(b)]

    def walk(self, epoch: int, run: Run, state: State) -> Cursor:
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
        self.which, self.inner = 1, self.stages[1].cursor(self.epoch, self.run, None)
        return next(self.inner)

    def state(self) -> State:
        return [self.which, self.inner.state()]


def common_spec(first: Spec, second: Spec, verb: str) -> Spec:
    """The spec of elements of either; sizes that differ become None.

    Raises:
        DataError: another structure, dtype or number of dimensions.
    """

    def common(a: Any, b: Any) -> Any:
        if not isinstance(b, jax.ShapeDtypeStruct) or a.dtype != b.dtype or len(a.shape) != len(b.shape):
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

    @property
    def told(self) -> str:
        return f"zip({', '.join(map(str, self.parts))})"

    def rows(self, at: At, run: Run) -> Rows:
        rows = [part.rows(at, run) for part in self.parts]
        if all(isinstance(one, Stacked) for one in rows):
            return stacked_tree(self.structure.unflatten([one.tree for one in rows]), len(at))  # type: ignore[union-attr]
        return Listed([self.structure.unflatten(elements) for elements in zip(*rows, strict=True)])

    def origins(self, at: At) -> list[Origin]:
        return [origin for part in self.parts for origin in part.origins(at)]

    def walk(self, epoch: int, run: Run, state: State) -> Cursor:
        states = state or [None] * len(self.parts)
        return _ZipCursor(self, [part.cursor(epoch, run, one) for part, one in zip(self.parts, states, strict=True)])


class _ZipCursor:
    def __init__(self, stage: Zipped, inner: list[Cursor]) -> None:
        self.stage, self.inner = stage, inner
        self.coming: list[Element] = []  # the first parts of an element, if an error kept the others from coming
        self.before: list[State] = []  # the states before those

    def __next__(self) -> Element:
        for one in self.inner[len(self.coming) :]:
            self.before = [*self.before[: len(self.coming)], one.state()]
            self.coming.append(next(one))
        parts, self.coming, self.before = self.coming, [], []
        return self.stage.structure.unflatten(parts)

    def state(self) -> State:
        """Where each part stands; where the parts of an element have come in part, before that element."""
        return self.before + [one.state() for one in self.inner[len(self.before) :]]
