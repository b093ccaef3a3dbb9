"""Holding what Python code gives to a spec."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from aidl_jax.data.elements import Element, Spec, as_element, frozen, spec_of, tell_spec
from aidl_jax.errors import DataError

__all__ = ["conforming", "held_by"]


def conforming(value: Any, spec: Spec, where: str) -> Element:
    """What Python code gave, as an element of this spec.

    Python numbers and lists of them take the spec's dtype where it holds their values; arrays must have it.

    Raises:
        DataError: another structure, shape or dtype.
    """
    leaves, structure = jax.tree.flatten(spec)
    try:
        parts = structure.flatten_up_to(value)
    except ValueError:
        raise DataError(
            "an element has another structure than its spec",
            given=tell_spec(spec_of(as_element(value))),
            expected=tell_spec(spec),
            where=where,
            fix="return what the spec says, or change the spec",
        ) from None
    places = ((spec, number, where) for number in range(len(leaves)))
    fitted = [_fitting(part, leaf, place) for part, leaf, place in zip(parts, leaves, places, strict=True)]
    return structure.unflatten(fitted)


def _fitting(part: Any, leaf: Any, place: tuple[Spec, int, str]) -> np.ndarray:
    array = (
        as_element(part) if isinstance(part, str | bytes) else np.array(part)
    )  # a copy: a generator may reuse its array
    if not isinstance(part, np.ndarray | np.generic | jax.Array | str | bytes) and held_by(leaf.dtype, array):
        array = array.astype(leaf.dtype)
    same = len(array.shape) == len(leaf.shape) and all(
        wanted in (None, size) for size, wanted in zip(array.shape, leaf.shape, strict=True)
    )
    if not same or array.dtype != leaf.dtype:
        spec, number, where = place
        path, _ = jax.tree_util.tree_leaves_with_path(spec)[number]
        raise DataError(
            f"a leaf is not what the spec says{f' at {jax.tree_util.keystr(path)}' if path else ''}",
            given=tell_spec(spec_of(array)),
            expected=tell_spec(leaf),
            where=where,
            fix=f"return np.asarray(value, np.{leaf.dtype}) of this shape, or change the spec",
        )
    return frozen(array)


def held_by(dtype: np.dtype, numbers: np.ndarray) -> bool:
    """Whether a dtype holds the values of Python's numbers; floats may be rounded, and must not become infinite."""
    if numbers.dtype.kind not in "biuf" or np.dtype(dtype).kind in "OUS":
        return False
    with np.errstate(over="ignore", invalid="ignore"):
        converted = numbers.astype(dtype)
        if dtype.kind == "f" == numbers.dtype.kind:
            return bool((np.isfinite(converted) == np.isfinite(numbers)).all())
        return bool(np.array_equal(converted, numbers))
