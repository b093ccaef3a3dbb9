"""Elements and rows: pytrees of NumPy arrays, one by one or a whole block of them at once.

An **element** is a pytree whose leaves are NumPy arrays. Many elements of one shape are **stacked**: each leaf has one
more dimension, in front, and a batch is cut out of it without a copy. Elements of different shapes are **listed**. `Rows` is either.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from aidl_jax.errors import DataError
from aidl_jax.graph.nodes import describe

__all__ = [
    "Element",
    "Listed",
    "Rows",
    "Spec",
    "Stacked",
    "as_element",
    "frozen",
    "gathered",
    "is_fixed",
    "joined",
    "map_shapes",
    "row_bytes",
    "spec_of",
    "stacked_tree",
    "tell_spec",
]

Element = Any  # a pytree of NumPy arrays
Spec = Any  # a pytree of jax.ShapeDtypeStruct; a size that differs from element to element is None


@dataclass(frozen=True)
class Stacked:
    """Elements of one shape: leaves [rows, ...]."""

    leaves: Sequence[np.ndarray]
    structure: Any
    count: int

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Element]:
        make = self.structure.unflatten
        if not self.leaves:
            return (make(()) for _ in range(self.count))
        return (make(parts) for parts in zip(*map(_each, self.leaves), strict=True))

    @property
    def tree(self) -> Element:
        """The pytree of stacked leaves."""
        return self.structure.unflatten(self.leaves)

    def stacked(self, where: str) -> Stacked:
        """Itself."""
        return self

    def shapes(self) -> list[Stacked]:
        """Itself: all have one shape."""
        return [self]


@dataclass(frozen=True)
class Listed:
    """Elements that may differ in shape."""

    elements: Sequence[Element]

    def __len__(self) -> int:
        return len(self.elements)

    def __iter__(self) -> Iterator[Element]:
        return iter(self.elements)

    def stacked(self, where: str) -> Stacked:
        """All of them as one block.

        Raises:
            DataError: they differ in structure, shape or dtype.
        """
        structure = jax.tree.structure(self.elements[0])
        columns = [
            structure.flatten_up_to(one) if jax.tree.structure(one) == structure else None for one in self.elements
        ]
        first = spec_of(self.elements[0])
        for number, (one, leaves) in enumerate(zip(self.elements, columns, strict=True)):
            if leaves is None or spec_of(one) != first:
                raise DataError(
                    f"elements 0 and {number} of a block differ, so they cannot be stacked",
                    given=f"{tell_spec(first)} and {tell_spec(spec_of(one))}",
                    where=where,
                    fix="give all one shape in a map, or use padded_batch, or batch(..., drop_remainder=True) before",
                )
        blocks = [_stack(column) for column in zip(*columns, strict=True)]
        return Stacked(blocks, structure, len(self.elements))

    def shapes(self) -> list[Stacked]:
        """Runs of elements that follow one another and have one shape, each stacked."""
        runs: list[list[Element]] = []
        last = None
        for element in self.elements:
            spec = spec_of(element)
            if spec != last:
                runs.append([])
            runs[-1].append(element)
            last = spec
        return [Listed(run).stacked("") for run in runs]


Rows = Stacked | Listed


def joined(parts: Sequence[Rows]) -> Rows:
    """Rows one after another."""
    if len(parts) == 1:
        return parts[0]
    first = parts[0]
    if isinstance(first, Stacked) and all(
        isinstance(part, Stacked) and part.structure == first.structure and _same_rows(part, first) for part in parts
    ):
        columns = zip(*(part.leaves for part in parts), strict=True)  # type: ignore[union-attr]
        return Stacked([frozen(np.concatenate(column)) for column in columns], first.structure, sum(map(len, parts)))
    return Listed([element for part in parts for element in part])


def _same_rows(one: Stacked, other: Stacked) -> bool:
    pairs = zip(one.leaves, other.leaves, strict=True)
    return all(a.shape[1:] == b.shape[1:] and a.dtype == b.dtype for a, b in pairs)


def stacked_tree(tree: Element, count: int) -> Stacked:
    """A pytree whose leaves have a first dimension of `count`, as rows."""
    leaves, structure = jax.tree.flatten(tree)
    return Stacked([frozen(np.asarray(leaf)) for leaf in leaves], structure, count)


def frozen(array: np.ndarray) -> np.ndarray:
    """The array, read-only: elements share memory with their block, and may share it with the source."""
    if array.flags.writeable:
        array = array.view()
        array.flags.writeable = False
    return array


def gathered(array: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The rows of an array at these places, int64 [n]: an array of its own, [n, ...].

    It begins at a multiple of 64 bytes, which JAX reads as it is; anything else JAX would copy first.
    """
    if array.dtype.hasobject:
        return np.take(array, places, axis=0)
    shape = (len(places), *array.shape[1:])
    size = math.prod(shape) * array.itemsize
    memory = np.empty(size + 64, np.uint8)
    start = -memory.ctypes.data % 64
    rows = memory[start : start + size].view(array.dtype).reshape(shape)
    return np.take(
        array, places, axis=0, out=rows, mode="clip"
    )  # with mode="raise" NumPy would fill another array first


def _each(leaf: np.ndarray) -> Iterable[Any]:
    if leaf.dtype == object:  # a text, alone, would be no array
        return (leaf[row, ...] for row in range(len(leaf)))
    return leaf


def _stack(column: Sequence[np.ndarray]) -> np.ndarray:
    return frozen(np.stack(column))


def as_element(value: Any) -> Element:
    """What Python code returned, as a pytree of read-only NumPy arrays.

    A Python number becomes what JAX takes it for: int32, float32, bool.
    """
    return jax.tree.map(_leaf, value)


PYTHON_NUMBERS = {bool: np.bool_, int: np.int32, float: np.float32}


def _leaf(value: Any) -> np.ndarray:
    if type(value) is int and not -(2**31) <= value < 2**31:
        raise DataError(
            "an integer does not fit into int32, which is what a Python integer becomes",
            given=str(value),
            fix="say the dtype: np.int64(value)",
        )
    if type(value) in PYTHON_NUMBERS:
        return frozen(np.array(value, PYTHON_NUMBERS[type(value)]))
    if isinstance(value, str | bytes):
        text = np.empty((), object)
        text[()] = value
        return frozen(text)
    return frozen(np.asarray(value))


def spec_of(element: Element) -> Spec:
    """Shapes and dtypes of an element's leaves.

    >>> spec_of({"x": np.zeros((2, 3), np.float32)})
    {'x': ShapeDtypeStruct(shape=(2, 3), dtype=float32)}
    """
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), element)


def is_fixed(spec: Spec) -> bool:
    """Whether all elements have one shape."""
    return all(None not in leaf.shape for leaf in jax.tree.leaves(spec))


def row_bytes(spec: Spec) -> int:
    """Bytes of one element; a size that differs counts as 1."""
    return sum(
        int(np.prod([size or 1 for size in leaf.shape], dtype=np.int64)) * np.dtype(leaf.dtype).itemsize
        for leaf in jax.tree.leaves(spec)
    )


def map_shapes(change: Callable[[tuple[Any, ...]], tuple[Any, ...]], spec: Spec) -> Spec:
    """The spec with every leaf's shape changed."""
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(change(leaf.shape), leaf.dtype), spec)


def tell_spec(spec: Spec) -> str:
    """A spec in short notation.

    >>> tell_spec({"x": jax.ShapeDtypeStruct((None, 3), np.float32)})
    "{'x': float32[?,3]}"
    """

    class Told(str):
        __repr__ = str.__str__

    return repr(jax.tree.map(lambda leaf: Told(_told(leaf)), spec))


def _told(leaf: Any) -> str:
    return describe(tuple("?" if size is None else size for size in leaf.shape), leaf.dtype)
