"""Graphs that the tests of tables, pages and boards look at, traced once."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import jax
import jax.numpy as jnp

from aidl_jax.graph import Graph, trace
from aidl_jax.graph.loading import opened

EXAMPLE = Path(__file__).parents[2] / "examples" / "graph" / "two_layers.py"


@cache
def train_step() -> Graph:
    """Two layers, their loss, gradients and a step of Adam."""
    with opened(EXAMPLE) as module:
        images, labels = jax.ShapeDtypeStruct((None, 784), jnp.float32), jax.ShapeDtypeStruct((None,), jnp.int32)
        given = (module.params, module.opt_state, images, labels)
        return trace(module.train_step, *given, variables=["params", "opt_state"])


def rnn(w, xs):
    """A scan in a scope, then a while loop, then a cond; `w` goes into the first and the last."""

    def step(h, x):
        with jax.named_scope("cell"):
            h = jnp.tanh(x @ w + h)
        return h, 2 * h

    with jax.named_scope("rnn"):
        h, ys = jax.lax.scan(step, jnp.zeros(3), xs)
    limit = ys.sum()
    _, h = jax.lax.while_loop(lambda c: c[1].sum() < limit, lambda c: (c[0] + 1, c[1] * c[0]), (0, h))
    return jax.lax.cond(limit > 0, lambda a: a + 1, lambda a: a * w.sum(), h), ys


@cache
def loops() -> Graph:
    """A scan, a while loop and a cond."""
    return trace(rnn, jnp.ones((4, 3)), jnp.ones((7, 4)))


@cache
def deep() -> Graph:
    """Hundreds of operations in twenty layers of three scopes each."""

    def model(x):
        for number in range(20):
            with jax.named_scope(f"layer{number}"):
                for part in ("a", "b", "c"):
                    with jax.named_scope(part):
                        for _ in range(6):
                            x = jnp.sin(x) + 1
        return x

    return trace(model, 1.0)
