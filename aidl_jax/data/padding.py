"""How elements of several sizes become one block: to which shape they are filled up, and with what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from aidl_jax.data.conforming import held_by
from aidl_jax.data.elements import Element, Spec, frozen, tell_spec
from aidl_jax.errors import DataError

__all__ = ["Padding", "padded", "padding_of"]


@dataclass(frozen=True)
class Padding:
    """How elements of several sizes become one block: to which shape, and with what."""

    shapes: list[tuple[int | None, ...]]
    values: list[Any]

    def __str__(self) -> str:
        return f"padded_shapes={self.shapes}, padding_values={self.values}"


def padding_of(spec: Spec, padded_shapes: Any, padding_values: Any) -> Padding:
    """How elements of a spec are padded, from what `padded_batch` is given.

    Raises:
        DataError: what is given does not fit the spec, a leaf's number of dimensions or a leaf's dtype.
    """
    leaves, structure = jax.tree.flatten(spec)
    shapes = [leaf.shape for leaf in leaves]
    if padded_shapes is not None:
        shapes = [_shape(shape, spec) for shape in _parts(structure, padded_shapes, "padded_shapes", spec)]
    one = not isinstance(padding_values, dict | list | tuple)
    values = [padding_values] * len(leaves) if one else _parts(structure, padding_values, "padding_values", spec)
    for leaf, shape, value in zip(leaves, shapes, values, strict=True):
        _check_padding(leaf, shape, value)
    return Padding(shapes, values)


def _parts(structure: Any, given: Any, name: str, spec: Spec) -> list[Any]:
    try:
        return structure.flatten_up_to(given)
    except ValueError:
        raise DataError(
            f"{name} has another structure than an element",
            given=repr(given),
            expected=f"one for each leaf of {tell_spec(spec)}",
            where="padded_batch",
        ) from None


def _shape(shape: Any, spec: Spec) -> tuple[int | None, ...]:
    whole = isinstance(shape, tuple | list) and all(size is None or isinstance(size, int) for size in shape)
    if not whole:
        raise DataError(
            "padded_shapes has something that is no shape",
            given=repr(shape),
            expected=f"a tuple of sizes and None for each leaf of {tell_spec(spec)}",
            where="padded_batch",
        )
    return tuple(shape)


def _check_padding(leaf: Any, shape: tuple[int | None, ...], value: Any) -> None:
    if len(shape) != len(leaf.shape):
        raise DataError(
            "a padded shape has another number of dimensions than its leaf",
            given=str(shape),
            expected=f"{len(leaf.shape)} of them, for {tell_spec(leaf)}",
            where="padded_batch",
            fix="give the shape of one element, without the batch dimension",
        )
    text = leaf.dtype == object
    fits = isinstance(value, str | bytes) if text else np.ndim(value) == 0 and held_by(leaf.dtype, np.asarray(value))
    if leaf.shape and not fits:
        raise DataError(
            "a padding value is none of its leaf's dtype",
            given=repr(value),
            expected=f"a value that {'text' if text else leaf.dtype.name} holds",
            where="padded_batch",
            fix="padding_values may be a pytree, with one value for each leaf",
        )


def padded(elements: Sequence[Element], padding: Padding, where: str) -> list[Element]:
    """Elements of one shape each leaf: the padding's, or the longest where that is None."""
    columns = [jax.tree.leaves(element) for element in elements]
    structure = jax.tree.structure(elements[0])
    blocks = []
    for leaf, (shape, value) in enumerate(zip(padding.shapes, padding.values, strict=True)):
        arrays = [column[leaf] for column in columns]
        longest = np.max([array.shape for array in arrays], axis=0) if arrays[0].ndim else ()
        wanted = tuple(int(most) if size is None else size for size, most in zip(shape, longest, strict=True))
        if any(most > size for most, size in zip(longest, wanted, strict=True)):
            raise DataError(
                "an element is larger than the shape it is to be padded to",
                given=str(tuple(map(int, longest))),
                expected=f"at most {wanted}",
                where=where,
                fix="give padded_shapes room, or None for the longest of the batch; nothing is cut off",
            )
        blocks.append([_pad(array, wanted, value) for array in arrays])
    return [structure.unflatten(parts) for parts in zip(*blocks, strict=True)]


def _pad(array: np.ndarray, shape: tuple[int, ...], value: Any) -> np.ndarray:
    whole = np.full(shape, value, array.dtype)
    whole[tuple(slice(size) for size in np.shape(array))] = array
    return frozen(whole)
