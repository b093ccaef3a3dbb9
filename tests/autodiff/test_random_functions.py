"""Random functions against `jax.grad` and `jax.jvp`: hypothesis builds them, to the rounding of float64."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from comparing import assert_near, dot, random_like
from hypothesis import given, settings
from hypothesis import strategies as st

from aidl_jax import autodiff

SIZE = 3
# Each keeps values of moderate size moderate, and has no kink where a sum of sines can be expected to fall.
ONE = {
    "sin": jnp.sin,
    "tanh": jnp.tanh,
    "exp": lambda x: jnp.exp(-x * x),
    "log1p": lambda x: jnp.log1p(x * x),
    "sqrt": lambda x: jnp.sqrt(1.0 + x * x),
    "logistic": jax.nn.sigmoid,
    "relu": jax.nn.relu,
    "neg": lambda x: -x,
    "cube": lambda x: (x / 2) ** 3,
    "power": lambda x: (1.5 + jnp.cos(x)) ** 1.7,
    "softmax": jax.nn.softmax,
    "transpose": jnp.transpose,
    "turn": lambda x: x[::-1, ::2].repeat(2, axis=1)[:, :SIZE],
    "spread": lambda x: jnp.broadcast_to(x.sum(0, keepdims=True), x.shape) / SIZE,
    "rows": lambda x: x[jnp.array([2, 0, 2])],
    "maximum": lambda x: x - x.max(axis=1, keepdims=True),
    "scan": lambda x: jax.lax.scan(lambda c, row: (jnp.tanh(c + row), c * row), x[0], x)[1],
    "checkpoint": jax.checkpoint(lambda x: jnp.cos(x) * x),
}
TWO = {
    "add": jnp.add,
    "sub": jnp.subtract,
    "mul": lambda x, y: x * jnp.tanh(y),
    "div": lambda x, y: x / (1.0 + y * y),
    "matmul": lambda x, y: x @ y / SIZE,
    "max": jnp.maximum,
    "where": lambda x, y: jnp.where(x > y, x * y, y),
    "concatenate": lambda x, y: jnp.concatenate([x[:1], y], axis=0)[:SIZE],
}
WIRES = st.integers(0, 5)
STEPS = st.lists(
    st.one_of(st.tuples(st.sampled_from(sorted(ONE)), WIRES), st.tuples(st.sampled_from(sorted(TWO)), WIRES, WIRES)),
    min_size=1,
    max_size=6,
)


def build(steps):
    """A function of two matrices: each step takes values that are there by then; the last ones are added up."""

    def fn(x, y):
        values = [x, y]
        for name, *wires in steps:
            values.append({**ONE, **TWO}[name](*(values[wire % len(values)] for wire in wires)))
        return (values[-1] + values[-2] * 0.5).mean()

    return fn


@given(STEPS, st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None, derandomize=True, database=None)
def test_random_functions(steps, seed):
    fn = build(steps)
    with jax.enable_x64(True):
        rng = np.random.default_rng(seed)
        args = tuple(jnp.asarray(rng.normal(size=(SIZE, SIZE))) for _ in range(2))
        tangents = random_like(rng, args)
        gradient = autodiff.grad(fn, argnums=(0, 1))(*args)
        assert_near(gradient, jax.grad(fn, argnums=(0, 1))(*args), roundings=1e3)
        value, slope = autodiff.jvp(fn, args, tangents)
        assert_near((value, slope), jax.jvp(fn, args, tangents), roundings=1e3)
        assert_near(slope, dot(gradient, tangents), roundings=1e3)
