"""Drivers make array functions of answers that are none. They run in the worker, and check nothing.

A model is `fn(scope, *inputs)`; what becomes of it are `init` and `apply` of `aidl_jax.scope`, and `shapes`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from aidl_jax import scope

__all__ = ["DRIVERS", "shapes"]


def shapes(model: Callable[..., Any]) -> Callable[..., Any]:
    """What `init` would make, all zeros: names, shapes and dtypes without the cost of compiling random numbers.

    >>> shapes(lambda scope, x: x @ scope.get_variable("w", (3, 2)))(jnp.ones((4, 3)))[0]["w"].shape
    (3, 2)
    """

    def run(*inputs: Any) -> Any:
        made = jax.eval_shape(scope.init(model), jax.random.key(0), *inputs)
        return jax.tree.map(lambda spec: jnp.zeros(spec.shape, spec.dtype), made)

    return run


DRIVERS: dict[str, Callable[..., Any]] = {"init": scope.init, "apply": scope.apply, "shapes": shapes}
