"""Initial values: functions `(key, shape, dtype) -> array`, as `jax.nn.initializers` has them, under TF's names.

For Glorot's and He's, a weight of shape `[..., inputs, outputs]` with `size` places in front (1 for a dense layer, height * width
for a convolution) has `fan_in = size * inputs` and `fan_out = size * outputs`. A vector's length counts as both, as in TF.

`zeros` is such a function itself; the others make one: `normal(stddev=0.1)`, `he_normal()`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax.nn.initializers import variance_scaling, zeros

from aidl_jax._checks import check_range
from aidl_jax.errors import OpError

__all__ = ["constant", "glorot_normal", "glorot_uniform", "he_normal", "he_uniform", "normal", "uniform", "zeros"]

Initializer = Callable[..., jax.Array]


def normal(stddev: float = 1.0, mean: float = 0.0) -> Initializer:
    """Normally distributed values: any number, 68% of them within one `stddev` of the mean.

    Args:
        stddev: the standard deviation, 0 or more; 1 unless given, as TF1's `random_normal_initializer` has it.
        mean: the mean.

    >>> normal(stddev=0.1)(jax.random.key(0), (2, 3), jnp.float32).shape
    (2, 3)
    """
    if stddev < 0:
        raise OpError("a standard deviation is not negative", given=str(stddev), fix="normal(stddev=0.1)")
    return lambda key, shape, dtype=jnp.float32: mean + stddev * jax.random.normal(key, shape, dtype)


def uniform(low: float = -1.0, high: float = 1.0) -> Initializer:
    """Values in [low, high), all equally likely: mean (low + high) / 2, variance (high - low)**2 / 12.

    JAX's own `jax.nn.initializers.uniform(scale)` is another one: from 0 to `scale`.

    >>> bool((abs(uniform(-1, 1)(jax.random.key(0), (5,), jnp.float32)) <= 1).all())
    True
    """
    check_range("uniform", low, high)
    return lambda key, shape, dtype=jnp.float32: jax.random.uniform(key, shape, dtype, low, high)


def constant(value: float) -> Initializer:
    """The same number everywhere; the key plays no part.

    >>> constant(5)(jax.random.key(0), (2,), jnp.float32)
    Array([5., 5.], dtype=float32)
    """

    def values(key: Any, shape: Sequence[int], dtype: Any = jnp.float32) -> jax.Array:
        if not jnp.issubdtype(dtype, jnp.inexact) and value != int(value):
            raise OpError(f"{jnp.dtype(dtype)} cannot hold {value}", fix="dtype=jnp.float32, or a whole number")
        return jnp.full(shape, value, dtype)

    return values


def glorot_uniform() -> Initializer:
    """Uniform in [-r, r) with r = sqrt(6 / (fan_in + fan_out)): variance 2 / (fan_in + fan_out).

    Source: X. Glorot, Y. Bengio, Understanding the difficulty of training deep feedforward neural networks (2010).
    """
    return _scaled(1.0, "fan_avg", "uniform")


def glorot_normal() -> Initializer:
    """Normal of variance 2 / (fan_in + fan_out), cut off at 2.27 standard deviations. Source: see `glorot_uniform`.

    (A wider normal is cut at two of its standard deviations, such that what is left has that variance.)
    """
    return _scaled(1.0, "fan_avg", "truncated_normal")


def he_uniform() -> Initializer:
    """Uniform in [-r, r) with r = sqrt(6 / fan_in): variance 2 / fan_in, for layers followed by a ReLU.

    Source: K. He, X. Zhang, S. Ren, J. Sun, Delving deep into rectifiers (2015).
    """
    return _scaled(2.0, "fan_in", "uniform")


def he_normal() -> Initializer:
    """Normal of variance 2 / fan_in, cut off as in `glorot_normal`. Source: see `he_uniform`."""
    return _scaled(2.0, "fan_in", "truncated_normal")


def _scaled(
    scale: float, mode: Literal["fan_in", "fan_avg"], distribution: Literal["uniform", "truncated_normal"]
) -> Initializer:
    def values(key: Any, shape: Sequence[int], dtype: Any = jnp.float32) -> jax.Array:
        if 0 in shape:
            return jnp.zeros(shape, dtype)
        if len(shape) >= 2:
            return variance_scaling(scale, mode, distribution)(key, tuple(shape), dtype)
        fan = math.prod(shape)
        # a row of a matrix with one input: its fan_in is 1, so the vector's own goes into the scale
        row = variance_scaling(scale / fan, "fan_in", distribution)(key, (1, fan), dtype)
        return row.reshape(tuple(shape))

    return values
