"""A pipeline that only orders and groups rows of arrays in memory, in two parts: the arrays, and the numbers of their rows.

Who has the arrays on a device needs nothing but the numbers, and gathers there.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from aidl_jax.data.batching import Batched
from aidl_jax.data.elements import Element
from aidl_jax.data.prefetching import Prefetched
from aidl_jax.data.sources import Slices, counting
from aidl_jax.data.stage import Moving, Stage

__all__ = ["row_numbers"]


def row_numbers(stage: Stage) -> tuple[Element, Stage] | None:
    """The arrays of a pipeline, and the same pipeline over the numbers of their rows, int32.

    Args:
        stage: Indexed. None comes back where a verb computes something, or where rows are on disk or no numbers.

    >>> from aidl_jax import data
    >>> arrays, numbers = row_numbers(data.from_tensor_slices(np.float32([5, 6, 7, 8])).skip(1).batch(2).stage)
    >>> [rows.tolist() for rows in data.Dataset(numbers)]
    [[1, 2], [3]]
    """
    match stage:
        case Slices():
            gathered = all(leaf.dtype.kind in "biufc" and not isinstance(leaf, np.memmap) for leaf in stage.leaves)
            numbers = counting(range(stage.size), np.int32)
            return (stage.structure.unflatten(stage.leaves), numbers) if gathered else None
        case Prefetched(device=None):
            return row_numbers(stage.input)
        case Moving() | Batched(padding=None) if stage.indexed:
            found = row_numbers(stage.input)
            return found and (found[0], replace(stage, input=found[1]))
    return None
