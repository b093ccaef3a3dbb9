"""How far apart two arrays are."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

__all__ = ["as_numbers", "gap"]


def gap(left: Any, right: Any) -> float:
    """The largest absolute difference between two arrays of one shape; where both are NaN, or the same infinity, none.

    >>> gap(np.float32([1, np.nan, -np.inf]), np.float32([1.5, np.nan, -np.inf]))
    0.5
    """
    one, other = as_numbers(left), as_numbers(right)
    wide = np.complex128 if np.iscomplexobj(one) or np.iscomplexobj(other) else np.float64
    one, other = one.astype(wide), other.astype(wide)
    same = (one == other) | (np.isnan(one) & np.isnan(other))
    return float(np.max(np.abs(np.where(same, 0, one) - np.where(same, 0, other)), initial=0.0))


def as_numbers(value: Any) -> np.ndarray:
    """An array for NumPy; a PRNG key as the numbers in it."""
    is_key = jnp.issubdtype(getattr(value, "dtype", np.float32), jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(value) if is_key else value)
