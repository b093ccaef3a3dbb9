"""Verbs that group elements: batch, padded_batch, window, unbatch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import jax
import numpy as np

from aidl_jax.data.elements import (
    Element,
    Listed,
    Rows,
    Spec,
    Stacked,
    frozen,
    map_shapes,
    spec_of,
    tell_spec,
)
from aidl_jax.data.once import cached_property
from aidl_jax.data.padding import Padding, padded
from aidl_jax.data.stage import INFINITE, UNKNOWN, At, Cursor, Origin, Run, Size, State, Verb
from aidl_jax.errors import DataError

__all__ = ["Batched", "Unbatched", "Windowed"]


@dataclass(frozen=True, eq=False)
class Windowed(Verb):
    """Groups of `length` elements, each group `shift` after the one before, its elements `stride` apart.

    A batch is a window whose shift is its length.
    """

    length: int
    shift: int
    stride: int
    drop_remainder: bool
    verb = "window"

    @property
    def size(self) -> Size:
        inner = self.input.size
        if inner in (UNKNOWN, INFINITE):
            return inner
        if not self.drop_remainder:
            return -(-int(inner) // self.shift)
        return max((int(inner) - self._reach) // self.shift + 1, 0)

    @property
    def _reach(self) -> int:
        """How many elements of the input one group spans."""
        return (self.length - 1) * self.stride + 1

    @cached_property
    def spec(self) -> Spec:
        return map_shapes(lambda shape: (self._length_told, *shape), self._element_spec)

    @property
    def _element_spec(self) -> Spec:
        """An element's, as it stands in its group."""
        return self.input.spec

    @property
    def _length_told(self) -> int | None:
        """How many elements every group has, or None where the last may have fewer."""
        inner = self.input.size
        full = self.drop_remainder or inner == INFINITE
        if inner not in (UNKNOWN, INFINITE):
            full = full or (int(self.size) - 1) * self.shift + self._reach <= int(inner)  # type: ignore[arg-type]
        return self.length if full else None

    @property
    def arguments(self) -> str:
        told = f"{self.length}"
        told += f", shift={self.shift}" if self.shift != self.length else ""
        told += f", stride={self.stride}" if self.stride != 1 else ""
        return told + (", drop_remainder=True" if self.drop_remainder else "")

    @property
    def note(self) -> str:
        if self.indexed:
            return f"positions {self._formula}, gathered at once"
        return "collects"

    @property
    def _formula(self) -> str:
        shift, last = self.shift, (self.length - 1) * self.stride
        return f"{shift} * position, ..., {shift} * position + {last}"

    def _inner(self, at: At) -> tuple[At, np.ndarray]:
        """The places of all groups' elements in the input, and how many each group has."""
        offsets = np.arange(self.length) * self.stride
        positions = at.positions[:, None] * self.shift + offsets
        places = At(np.repeat(at.epochs, self.length), positions.ravel())
        inside = places.positions < self.input.size
        if inside.all():
            return places, np.full(len(at), self.length)
        return places.only(inside), inside.reshape(-1, self.length).sum(axis=1)

    def rows(self, at: At, run: Run) -> Rows:
        places, lengths = self._inner(at)
        rows = self.input.rows(places, run.wider(self.length))
        if len(lengths) and (lengths == self.length).all():
            stacked = rows.stacked(str(self))
            leaves = [leaf.reshape(len(at), self.length, *leaf.shape[1:]) for leaf in stacked.leaves]
            return Stacked(leaves, stacked.structure, len(at))
        return Listed(self._groups(rows, lengths))

    def _groups(self, rows: Rows, lengths: np.ndarray) -> list[Element]:
        if not len(rows):
            return []
        stacked = rows.stacked(str(self))
        parts = _slices_of(lengths)
        return [stacked.structure.unflatten([leaf[part] for leaf in stacked.leaves]) for part in parts]

    def origins(self, at: At) -> list[Origin]:
        return self.input.origins(self._inner(at)[0])

    def walk(self, epoch: int, run: Run, state: State) -> Cursor:
        return _WindowCursor(self, epoch, run, state)

    def group(self, elements: Sequence[Element]) -> Element:
        """One group out of its elements."""
        return Listed(elements).stacked(str(self)).tree


@dataclass(frozen=True, eq=False)
class Batched(Windowed):
    """Groups of elements that follow one another; the last may be shorter."""

    padding: Padding | None = None
    verb = "batch"

    @property
    def _element_spec(self) -> Spec:
        if self.padding is None:
            return self.input.spec
        leaves, structure = jax.tree.flatten(self.input.spec)
        shapes = zip(leaves, self.padding.shapes, strict=True)
        return structure.unflatten([jax.ShapeDtypeStruct(tuple(shape), leaf.dtype) for leaf, shape in shapes])

    @property
    def arguments(self) -> str:
        told = "" if self.padding is None else f", {self.padding}"
        return f"{self.length}{told}" + (", drop_remainder=True" if self.drop_remainder else "")

    @property
    def told(self) -> str:
        return super().told if self.padding is None else f"{self.input}.padded_batch({self.arguments})"

    def rows(self, at: At, run: Run) -> Rows:
        if self.padding is None:
            return super().rows(at, run)
        places, lengths = self._inner(at)
        elements = list(self.input.rows(places, run.wider(self.length)))
        return Listed([self.group(elements[part]) for part in _slices_of(lengths)])

    def group(self, elements: Sequence[Element]) -> Element:
        return super().group(elements if self.padding is None else padded(elements, self.padding, str(self)))


def _slices_of(lengths: np.ndarray) -> list[slice]:
    """Slices of these lengths, one after another."""
    ends = np.cumsum(lengths)
    return list(map(slice, (ends - lengths).tolist(), ends.tolist()))


class _WindowCursor:
    """Collects groups from a cursor. Its state is the input's where the next group begins."""

    def __init__(self, stage: Windowed, epoch: int, run: Run, state: State) -> None:
        self.stage = stage
        self.inner = stage.input.cursor(epoch, run.wider(stage.length), state)
        self.held: list[Element] = []  # what has come in and belongs to the next group or one after
        self.marks: list[State] = []  # the input's state before each of them; only where groups overlap
        self.ended = False
        self.overlapping = stage.shift < stage._reach

    def __next__(self) -> Element:
        stage = self.stage
        self._fill(stage._reach)
        group = self.held[: stage._reach : stage.stride]
        if not group or (stage.drop_remainder and len(group) < stage.length):
            raise StopIteration
        self._fill(stage.shift)
        made = stage.group(group)
        del self.held[: stage.shift], self.marks[: stage.shift]
        return made

    def _fill(self, count: int) -> None:
        while len(self.held) < count and not self.ended:
            mark = self.inner.state() if self.overlapping or not self.held else None
            try:
                self.held.append(next(self.inner))
            except StopIteration:
                self.ended = True
                return
            self.marks.append(mark)

    def state(self) -> State:
        return self.marks[0] if self.marks else self.inner.state()


@dataclass(frozen=True, eq=False)
class Unbatched(Verb):
    """The rows of each element, one after another. Indexed where every element has the same number of rows."""

    verb = "unbatch"

    @property
    def length(self) -> int | None:
        """Rows of an element, where all have the same."""
        return jax.tree.leaves(self.input.spec)[0].shape[0]

    @property
    def indexed(self) -> bool:
        return self.input.indexed and bool(self.length)

    @property
    def size(self) -> Size:
        inner = self.input.size
        if 0 in (inner, self.length):
            return 0
        if inner in (UNKNOWN, INFINITE):
            return inner
        return UNKNOWN if self.length is None else inner * self.length

    @cached_property
    def spec(self) -> Spec:
        return map_shapes(lambda shape: shape[1:], self.input.spec)

    @property
    def note(self) -> str:
        return (
            f"element position // {self.length}, row position % {self.length}" if self.indexed else "one row at a time"
        )

    def rows(self, at: At, run: Run) -> Rows:
        assert self.length is not None
        places, where = np.unique(np.stack([at.epochs, at.positions // self.length]), axis=1, return_inverse=True)
        stacked = self.input.rows(At(places[0], places[1]), run.narrower(self.length)).stacked(str(self))
        rows = at.positions % self.length
        return Stacked([frozen(leaf[where.ravel(), rows]) for leaf in stacked.leaves], stacked.structure, len(at))

    def origins(self, at: At) -> list[Origin]:
        assert self.length is not None
        return self.input.origins(at.moved(at.positions // self.length))

    def walk(self, epoch: int, run: Run, state: State) -> Cursor:
        return _UnbatchCursor(self, epoch, run, state)


class _UnbatchCursor:
    """Its state is the input's before the element that it is in, and the row it comes to next."""

    def __init__(self, stage: Unbatched, epoch: int, run: Run, state: State) -> None:
        row: int
        self.before, row = state or [None, 0]
        self.inner = stage.input.cursor(epoch, run, self.before)
        self.stage, self.row, self.rows = stage, 0, []  # type: tuple[Unbatched, int, list[Element]]
        if row:
            self._open()
            self.row = row

    def __next__(self) -> Element:
        if self.stage.size == 0:
            raise StopIteration
        while self.row >= len(self.rows):
            self._open()
        self.row += 1
        return self.rows[self.row - 1]

    def _open(self) -> None:
        before = self.inner.state()
        self.rows, self.row, self.before = rows_of(next(self.inner), str(self.stage)), 0, before

    def state(self) -> State:
        return [self.before, self.row] if self.row < len(self.rows) else [self.inner.state(), 0]


def rows_of(element: Element, where: str) -> list[Element]:
    """The rows of an element."""
    leaves, structure = jax.tree.flatten(element)
    counts = {len(leaf) for leaf in leaves if leaf.ndim}
    if len(counts) != 1 or not all(leaf.ndim for leaf in leaves):
        raise DataError(
            "an element has no rows, or its leaves have different numbers of them",
            given=tell_spec(spec_of(element)),
            expected="leaves [rows, ...] of one length",
            where=where,
            fix="unbatch what was batched",
        )
    return list(Stacked(leaves, structure, counts.pop()))
