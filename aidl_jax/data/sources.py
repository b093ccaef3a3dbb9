"""Where elements come from: arrays in memory or on disk, numbers in a row, a generator."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from aidl_jax.data.conforming import conforming
from aidl_jax.data.elements import Element, Rows, Spec, Stacked, frozen, gathered, map_shapes, spec_of, tell_spec
from aidl_jax.data.once import cached_property
from aidl_jax.data.stage import INFINITE, UNKNOWN, At, Cursor, Origin, Run, Size, Stage, State
from aidl_jax.errors import DataError, tell_error

__all__ = ["Counting", "Generated", "Slices", "counting", "generated", "slices"]


@dataclass(frozen=True, eq=False)
class Slices(Stage):
    """The rows of arrays of one length; a memory map's rows stay on disk until they are asked for."""

    leaves: list[np.ndarray]
    structure: Any
    verb = "from_tensor_slices"

    @property
    def size(self) -> int:
        return len(self.leaves[0])

    @cached_property
    def spec(self) -> Spec:
        return map_shapes(lambda shape: shape[1:], spec_of(self.structure.unflatten(self.leaves)))

    @property
    def arguments(self) -> str:
        return tell_spec(spec_of(self.structure.unflatten(self.leaves)))

    @property
    def note(self) -> str:
        on_disk = any(isinstance(leaf, np.memmap) for leaf in self.leaves)
        return f"{self.size:,} rows {'on disk' if on_disk else 'in memory'}, gathered by index"

    def rows(self, at: At, run: Run) -> Rows:
        where = at.positions
        if at.is_span:
            block = slice(int(where[0]), int(where[-1]) + 1)
            return Stacked([frozen(leaf[block]) for leaf in self.leaves], self.structure, len(where))
        return Stacked([frozen(gathered(leaf, where)) for leaf in self.leaves], self.structure, len(where))

    def origins(self, at: At) -> list[Origin]:
        return at.origins_in(self.verb)


def slices(tensors: Any) -> Slices:
    """The source of a pytree of arrays."""
    leaves, structure = jax.tree.flatten(tensors)
    if not leaves:
        raise DataError(
            "there is no array to slice",
            given=repr(tensors),
            expected="a pytree of arrays",
            fix="pass the data: (x, y)",
        )
    arrays = [leaf if isinstance(leaf, np.memmap) else _as_array(leaf) for leaf in leaves]
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(tensors)]
    for path, array in zip(paths, arrays, strict=True):
        if array.ndim == 0:
            raise DataError(
                "a number has no rows to slice",
                given=f"{array.dtype.name}[] at {path or 'the top'}",
                expected="arrays [rows, ...] of one length",
                fix="give each leaf a first dimension; a list of numbers must be an array: np.array([...])",
            )
    lengths = {path: len(array) for path, array in zip(paths, arrays, strict=True)}
    if len(set(lengths.values())) > 1:
        raise DataError(
            "the arrays differ in length",
            given=", ".join(f"{path or 'the top'}: {length}" for path, length in lengths.items()),
            expected="one length",
            fix="each row of every array must belong to one example",
        )
    return Slices([frozen(array) for array in arrays], structure)


def _as_array(leaf: Any) -> np.ndarray:
    """An array as it is; texts as Python's, of any length."""
    array = np.asarray(leaf)
    return array.astype(object) if array.dtype.kind in "US" else array


@dataclass(frozen=True, eq=False)
class Counting(Stage):
    """The numbers of a Python range, int32 unless another dtype is asked for."""

    numbers: range
    dtype: np.dtype
    verb = "range"

    @property
    def size(self) -> int:
        return len(self.numbers)

    @property
    def spec(self) -> Spec:
        return jax.ShapeDtypeStruct((), self.dtype)

    @property
    def arguments(self) -> str:
        start, stop, step = self.numbers.start, self.numbers.stop, self.numbers.step
        told = f"{stop}" if (start, step) == (0, 1) else f"{start}, {stop}" + (f", {step}" if step != 1 else "")
        return told if self.dtype == np.int32 else f"{told}, dtype={self.dtype.name}"

    @property
    def note(self) -> str:
        return "computed from the position"

    def rows(self, at: At, run: Run) -> Rows:
        numbers = self.numbers.start + at.positions * self.numbers.step
        return Stacked([frozen(numbers.astype(self.dtype))], jax.tree.structure(0), len(at))

    def origins(self, at: At) -> list[Origin]:
        return at.origins_in(self.verb)


def counting(numbers: range, dtype: Any) -> Counting:
    """The source of a range's numbers."""
    kind = np.dtype(dtype)
    ends = [numbers[0], numbers[-1]] if numbers else []
    least, most = _whole_numbers(kind)
    if not all(least <= end <= most for end in ends):
        raise DataError(
            "the dtype does not hold these numbers",
            given=f"{numbers} as {kind.name}",
            expected=f"numbers from {least} to {most}",
            fix="give a larger dtype, such as dtype=np.int64, or smaller numbers",
        )
    return Counting(numbers, kind)


def _whole_numbers(kind: np.dtype) -> tuple[int, int]:
    """Between which bounds a dtype holds every whole number."""
    if kind.kind in "iu":
        return int(np.iinfo(kind).min), int(np.iinfo(kind).max)
    if kind.kind == "f":
        most = 2 ** (np.finfo(kind).nmant + 1)
        return -most, most
    raise DataError("range counts in whole numbers or floats", given=kind.name, fix="convert them in a map")


@dataclass(frozen=True, eq=False)
class Generated(Stage):
    """What a function's generator yields, held to a spec."""

    make: Callable[[], Iterable[Any]]
    declared: Spec
    known_size: Size = UNKNOWN
    verb = "from_generator"
    passes_rows = False

    @property
    def size(self) -> Size:
        return self.known_size

    @property
    def spec(self) -> Spec:
        return self.declared

    @property
    def arguments(self) -> str:
        return f"{getattr(self.make, '__qualname__', type(self.make).__name__)}, {tell_spec(self.declared)}"

    @property
    def note(self) -> str:
        return "Python, one element at a time; resumed by going through it again"

    def walk(self, epoch: int, run: Run, state: State) -> Cursor:
        return _GeneratorCursor(self, 0 if state is None else int(state), run)


class _GeneratorCursor:
    """The elements of a generator; its state is how many it has given."""

    def __init__(self, stage: Generated, count: int, run: Run) -> None:
        self._stage, self._run, self._count = stage, run, count
        self._elements: Iterator[Any] | None = self._opened()
        self._coming: list[Any] = []  # an element that is not what the spec says, so that it is not lost

    def _opened(self) -> Iterator[Any]:
        """A new generator, behind the elements that have been given."""
        made = self._stage.make()
        try:
            elements = iter(made)
        except TypeError:
            raise DataError(
                "the function of from_generator makes nothing that can be gone through",
                given=f"a {type(made).__name__}",
                where=str(self._stage),
                fix="yield the elements, or return iter(items)",
            ) from None
        if isinstance(elements, Generator):
            self._run.closing.callback(elements.close)
        skipped = sum(1 for _ in itertools.islice(elements, self._count))
        if skipped < self._count:
            raise DataError(
                "the generator ends before the place that the state was saved at",
                given=f"{skipped} elements",
                expected=f"at least {self._count}",
                where=str(self._stage),
                fix="restore with the data that the state was saved with",
            )
        return elements

    def __next__(self) -> Element:
        where = f"element {self._count} of {self._stage}"
        if not self._coming:
            self._coming = self._pulled(where)
        if not self._coming:
            raise StopIteration
        element = conforming(self._coming[0], self._stage.declared, where)
        self._coming = []
        self._count += 1
        return element

    def _pulled(self, where: str) -> list[Any]:
        """The next element, or none. Who asks again after an error gets the same one tried again."""
        elements = self._elements = self._opened() if self._elements is None else self._elements
        try:
            values = list(itertools.islice(elements, 1))
        except Exception as error:
            if isinstance(elements, Generator):  # it is over; another iterator can be asked again
                self._elements = None
            raise DataError("the generator raised an error", given=tell_error(error)[:200], where=where) from error
        self._check_count(bool(values))
        return values

    def _check_count(self, more: bool) -> None:
        known = self._stage.known_size
        if known is not UNKNOWN and more != (self._count < known):
            raise DataError(
                "the generator does not give as many elements as its cardinality says",
                given=f"more than {known}" if more else str(self._count),
                expected=str(known),
                where=str(self._stage),
                fix="correct from_generator's cardinality, or leave it out",
            )

    def state(self) -> State:
        return self._count


def check_spec(spec: Spec, where: str) -> None:
    """Raises where something else than specs stands in a pytree of them."""
    for leaf in jax.tree.leaves(spec):
        if not isinstance(leaf, jax.ShapeDtypeStruct):
            raise DataError(
                "a spec is a pytree of jax.ShapeDtypeStruct",
                given=repr(leaf),
                where=where,
                fix="jax.ShapeDtypeStruct((28, 28), np.float32); () for a number, None for a size that differs",
            )


def generated(make: Callable[[], Iterable[Any]], spec: Spec, size: Size) -> Generated:
    """The source of a generator function."""
    if not callable(make):
        raise DataError(
            "from_generator needs a function that makes a new generator, since each epoch starts one",
            given=f"a {type(make).__name__}",
            fix="pass the function itself, without calling it, or lambda: iter(items)",
        )
    check_spec(spec, "from_generator")
    if size not in (UNKNOWN, INFINITE) and (type(size) is not int or size < 0):
        raise DataError(
            "the cardinality is no number of elements", given=repr(size), expected="an integer of at least 0"
        )
    return Generated(make, spec, size)
