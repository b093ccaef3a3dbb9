"""Holding our derivatives to JAX's, in float64, and the two modes to each other."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from aidl_jax import autodiff

# compiled in a hurry: what is run once is ready sooner
compiled = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
EPS = float(np.finfo(np.float64).eps)


def assert_near(got: Any, expected: Any, roundings: float = 1e4) -> None:
    """The same structure, shapes and dtypes; numbers up to some roundings of the largest of them."""
    assert jax.tree.structure(got) == jax.tree.structure(expected)
    for one, other in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        assert (one.shape, one.dtype) == (other.shape, other.dtype)
        size = max(1.0, float(np.max(np.abs(other), initial=0.0)))
        np.testing.assert_allclose(one, other, rtol=0, atol=roundings * EPS * size)


def random_like(rng: np.random.Generator, tree: Any) -> Any:
    return jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=np.shape(leaf)), jnp.result_type(leaf)), tree)


def check_derivatives(fn: Callable[..., Any], *args: Any, orders: int = 2, roundings: float = 1e4) -> None:
    """Forward and reverse mode give what JAX's do and fit each other (the dot test); so do those of the gradient."""
    with jax.enable_x64(True), jax.numpy_rank_promotion("raise"):
        rng = np.random.default_rng(0)
        args = jax.tree.map(jnp.asarray, args)
        moves = [(args, random_like(rng, args), random_like(rng, jax.eval_shape(fn, *args)))]
        moves += [(args, random_like(rng, args), random_like(rng, args))] * (orders - 1)
        ours, theirs = (compiled(partial(all_derivatives, module, fn))(moves) for module in (autodiff, jax))
        for order, (found, expected) in enumerate(zip(ours, theirs, strict=True)):
            assert_near(found, expected, roundings * 100**order)
            _, slope, back = found
            assert_near(dot(moves[order][2], slope), dot(back, moves[order][1]), roundings * 100**order)


def all_derivatives(module: Any, fn: Callable[..., Any], moves: Any) -> list[Any]:
    """Value, slope along a direction and gradient of a function; then those of the gradient of a loss made of it."""
    found = []
    for args, tangents, upstream in moves:
        value, slope = module.jvp(fn, args, tangents)
        found.append((value, slope, module.vjp(fn, *args)[1](upstream)))
        fn = gradient(module, fn, upstream)
    return found


def gradient(module: Any, fn: Callable[..., Any], weights: Any) -> Callable[..., Any]:
    def loss(*args: Any) -> Any:
        return dot(weights, fn(*args)) ** 2

    return lambda *args: module.grad(loss, argnums=tuple(range(len(args))))(*args)


def dot(one: Any, other: Any) -> Any:
    return sum(map(jnp.vdot, jax.tree.leaves(one), jax.tree.leaves(other)))
