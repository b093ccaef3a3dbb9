"""A function compiled, batched and differentiated, in one compilation, in float64."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

# compiled in a hurry: what is run once is ready sooner
compiled = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def check_function(fn: Callable[..., Any], *arguments: Any, step: float = 1e-6) -> None:
    """Holds a function's `vmap` to the function, and its gradient to the slope between two near points.

    Args:
        fn: a function of floats that returns one array.
        *arguments: pytrees of arrays.
        step: how far the points lie from the arguments, along a random direction; their error is about its square.
    """
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        arguments = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), arguments)
        direction = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape)), arguments)
        weights = jnp.asarray(rng.normal(size=jax.eval_shape(fn, *arguments).shape))

        @compiled
        def together(arguments: Any, direction: Any, weights: Any) -> Any:
            near = [jax.tree.map(lambda a, d, s=s: a + s * d, arguments, direction) for s in (step, -step)]
            value, back = jax.vjp(fn, *arguments)
            ahead, behind, again = jax.vmap(fn)(*jax.tree.map(lambda *leaves: jnp.stack(leaves), *near, arguments))
            along = jax.tree.map(jnp.vdot, back(weights), direction)
            return value, again, jnp.vdot(weights, (ahead - behind) / (2 * step)), sum(jax.tree.leaves(along))

        value, again, difference, slope = together(arguments, direction, weights)
        np.testing.assert_allclose(again, value, rtol=1e-12, atol=1e-12)
        assert abs(slope) > 1e-3
        np.testing.assert_allclose(slope, difference, rtol=1e-6, atol=1e-7)
