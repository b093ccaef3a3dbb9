"""What operations, losses and models ask of their arguments, in one place, so that all complain in the same words."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from aidl_jax.errors import OpError
from aidl_jax.graph.nodes import describe

__all__ = [
    "check",
    "check_key",
    "check_range",
    "check_same_shape",
    "check_training",
    "floats",
    "pair",
    "told",
    "whole",
    "wide",
]


def told(*arrays: Any) -> str:
    """Arrays' dtypes and shapes, for an error."""
    return " and ".join(describe(array.shape, array.dtype) for array in arrays)


def check(holds: bool, what: str, *arrays: Any, fix: str, expected: str | None = None) -> None:
    """Raises `OpError`, with the arrays' dtypes and shapes, unless it holds."""
    if not holds:
        raise OpError(what, given=told(*arrays), expected=expected, fix=fix)


def floats(name: str, x: Any) -> jax.Array:
    """The array, which must hold floats."""
    array = jnp.asarray(x)
    is_float = jnp.issubdtype(array.dtype, jnp.floating)
    check(is_float, f"{name} must be floats", array, fix="convert first: x.astype(jnp.float32), pixels / 255")
    return array


def check_same_shape(what: str, first: Any, second: Any) -> None:
    """Raises `OpError` unless both have one shape: [n] and [n, 1] together would become [n, n] without a word."""
    check(
        first.shape == second.shape,
        f"{what} differ in shape, and nothing is broadcast",
        first,
        second,
        fix="give both one shape: x[:, 0] makes [n] of [n, 1]",
    )


def check_training(training: Any) -> None:
    """Raises `OpError` unless it is a Python bool: which of two programs is meant must be known when one is traced."""
    if not isinstance(training, bool | np.bool_):
        raise OpError(
            "training must be a Python bool",
            given=repr(training),
            fix="fix it before jit: functools.partial(model, training=True)",
        )


def check_key(op: str, key: Any) -> None:
    """Raises `OpError` without a key: nothing is random by itself."""
    if key is None or isinstance(key, int):
        raise OpError(
            f"{op} needs a PRNG key", given=f"key={key}", fix="pass one: jax.random.key(0), or one of a split"
        )


def check_range(name: str, low: float, high: float, least: float = float("-inf")) -> None:
    """Raises `OpError` unless least <= low <= high."""
    if not least <= low <= high:
        expected = "low <= high" if least == float("-inf") else f"{least} <= low <= high"
        raise OpError(
            f"{name} is not a range", given=f"low {low}, high {high}", expected=expected, fix="swap or widen it"
        )


def whole(name: str, value: Any, least: int) -> int:
    """The number as a Python int, which must be whole and large enough."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise OpError(
            f"{name} must be a whole number",
            given=repr(value),
            expected=f"an int from {least} on, known before tracing",
            fix="pass a Python int",
        )
    return int(value)


def pair(name: str, size: Any) -> tuple[int, int]:
    """A size for both directions: two whole numbers from 1 on, or one for both."""
    sizes = size if isinstance(size, tuple | list) else (size, size)
    if len(sizes) != 2:
        raise OpError(
            f"{name} must be one number or two",
            given=repr(size),
            expected="a number, or (down, right)",
            fix="leave batch and channels out: (2, 2) for TF1's [1, 2, 2, 1]",
        )
    return whole(name, sizes[0], 1), whole(name, sizes[1], 1)


def wide(dtype: Any) -> Any:
    """The dtype to take means in: float32, or the floats' own where that is wider."""
    return dtype if jnp.finfo(dtype).bits >= 32 else jnp.dtype(jnp.float32)
