"""`TrainState`: all that a training run is, at one step, as one pytree."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from aidl_jax.errors import TrainError
from aidl_jax.optimizer_checks import check_optimizer
from aidl_jax.scope import init

__all__ = ["TrainState", "make_state"]


class TrainState(NamedTuple):
    """A training run between two steps.

    Attributes:
        step: int32 [], steps done.
        params: what the optimizer changes, a nested dict.
        model_state: what the model itself changes, as averages for batch norm; {} where there is nothing.
        opt_state: the optimizer's.
        key: of the run; step n draws from it folded with n.
        finite: bool [], whether loss and gradients were finite so far. Where they were not, the state stays as it was before that step,
            through all further ones.
    """

    step: jax.Array
    params: Any
    model_state: Any
    opt_state: Any
    key: jax.Array
    finite: jax.Array


def make_state(model: Callable[..., Any], optimizer: Any, key: jax.Array, *inputs: Any) -> TrainState:
    """The state before the first step.

    Args:
        model: `fn(scope, *inputs)`.
        optimizer: one of `aidl_jax.optimizers`, or any of optax.
        key: for the variables and for the run.
        *inputs: an example of what the model is given; only its shape counts.

    Raises:
        TrainError: an input is no array.

    >>> from aidl_jax import models, optimizers
    >>> state = make_state(models.mlp, optimizers.adam(1e-3), jax.random.key(0), np.zeros((1, 784), np.float32))
    >>> int(state.step), bool(state.finite)
    (0, True)
    """
    for number, one in enumerate(inputs):
        for leaf in jax.tree.leaves(one):
            if not isinstance(leaf, jax.Array | np.ndarray | np.generic):
                raise TrainError(
                    "a model's inputs are arrays",
                    given=f"a {type(leaf).__name__} as input {number}",
                    fix="pass the first batch's inputs: next(iter(dataset))[0]",
                )
    params, model_state = jax.jit(init(model))(key, *inputs)
    return state_of(params, model_state, optimizer, key)


def state_of(params: Any, model_state: Any, optimizer: Any, key: jax.Array) -> TrainState:
    """The state before the first step, of variables that are there.

    All of it is copied: steps take a state's memory, and what the caller holds, or the optimizer keeps for its next state, must last.
    """
    opt_state = check_optimizer(optimizer).init(params)
    state = TrainState(jnp.int32(0), params, model_state, opt_state, key, jnp.bool_(True))
    return jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), state)
