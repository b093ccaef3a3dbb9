"""Where a dataset begins: arrays, a generator, numbers in a row, other datasets side by side."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterable
from typing import Any

import jax
import numpy as np

from aidl_jax.data import sources
from aidl_jax.data.combining import Zipped
from aidl_jax.data.dataset import Dataset
from aidl_jax.data.elements import Spec
from aidl_jax.data.stage import UNKNOWN, Size
from aidl_jax.errors import DataError

__all__ = ["from_generator", "from_tensor_slices", "range", "zip"]


def from_tensor_slices(tensors: Any) -> Dataset:
    """The rows of arrays: element i is row i of every leaf.

    Args:
        tensors: a pytree of arrays [rows, ...] of one length. A NumPy memory map stays on disk. Nothing is copied.

    Raises:
        DataError: no array, a number without rows, or arrays of several lengths.

    >>> next(iter(from_tensor_slices({"x": np.arange(6).reshape(3, 2)})))
    {'x': array([0, 1])}
    """
    return Dataset(sources.slices(tensors))


def from_generator(make: Callable[[], Iterable[Any]], spec: Spec, cardinality: Size = UNKNOWN) -> Dataset:
    """What a generator yields.

    Args:
        make: makes a new generator; each epoch calls it.
        spec: a pytree of `jax.ShapeDtypeStruct`: what each element must be; None for a size that differs.
        cardinality: how many elements there are, if it is known.

    >>> numbers = from_generator(lambda: iter([1, 2, 3]), jax.ShapeDtypeStruct((), np.int32))
    >>> [int(number) for number in numbers]
    [1, 2, 3]
    """
    return Dataset(sources.generated(make, spec, cardinality))


def range(*bounds: int, dtype: Any = np.int32) -> Dataset:
    """The numbers of Python's `range`, as int32 unless another dtype is asked for.

    >>> [int(number) for number in range(2, 8, 3)]
    [2, 5]
    """
    try:
        numbers = builtins.range(*bounds)
    except (TypeError, ValueError) as error:
        raise DataError("range takes one to three whole numbers", given=f"{bounds}: {error}", fix="range(10)") from None
    return Dataset(sources.counting(numbers, dtype))


def zip(datasets: Any, *others: Any) -> Dataset:
    """Elements that stand at the same position of several datasets; as many as the shortest has.

    Args:
        datasets: a pytree whose leaves are datasets; elements are such pytrees.

    >>> [(int(a), int(b)) for a, b in zip((range(3), range(10, 20)))]
    [(0, 10), (1, 11), (2, 12)]
    """
    if others:
        raise DataError(
            "zip takes one pytree of datasets", given=f"{1 + len(others)} arguments", fix="zip((images, labels))"
        )
    parts, structure = jax.tree.flatten(datasets)
    if not parts:
        raise DataError("zip takes at least one dataset", given=repr(datasets), fix="zip((images, labels))")
    for part in parts:
        if not isinstance(part, Dataset):
            raise DataError("zip takes datasets", given=f"a {type(part).__name__}", fix="zip((images, labels))")
    return Dataset(Zipped([part.stage for part in parts], structure))
