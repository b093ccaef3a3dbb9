"""Optimizers: pairs of pure functions, `init(params) -> opt_state` and `update(gradients, opt_state, params) -> (updates, opt_state)`.

Each is optax's direction followed by a step against it, `learning_rate` long, and keeps the rate it stepped with in its
state. Any optax transformation stands in their place everywhere. g is the gradient, p a parameter, all operations
are by element.

>>> def loss_fn(params, x, t):
...     return jnp.mean((params["w"] * x + params["b"] - t) ** 2)
>>> params = {"w": jnp.float32(0), "b": jnp.float32(0)}
>>> x, optimizer = jnp.arange(4.0), adam(learning_rate=0.1)
>>> train_step, opt_state = minimize(loss_fn, optimizer), optimizer.init(params)
>>> for step in range(300):
...     params, opt_state, loss = train_step(params, opt_state, x, 2 * x + 1)
>>> {name: round(float(value), 2) for name, value in sorted(params.items())}
{'b': 1.0, 'w': 2.0}
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax

from aidl_jax.errors import OptimizerError
from aidl_jax.optimizer_checks import check_loss, check_number, check_optimizer, check_params, check_same, named
from aidl_jax.schedules import Schedule

__all__ = ["adagrad", "adam", "adamw", "current_rate", "minimize", "momentum", "nesterov", "rmsprop", "sgd"]

Optimizer: TypeAlias = optax.GradientTransformation
Rate = float | jax.Array | Schedule


@named
def sgd(learning_rate: Rate) -> Optimizer:
    """Stochastic gradient descent: `p <- p - learning_rate * g`.

    Source: H. Robbins, S. Monro, A Stochastic Approximation Method (1951).

    Args:
        learning_rate: how far a step goes, a number of at least 0 or a schedule `step -> rate`.

    >>> optimizer, p, g = sgd(0.5), jnp.float32(3), jnp.float32(2)
    >>> updates, opt_state = optimizer.update(g, optimizer.init(p), p)
    >>> float(p + updates)
    2.0
    """
    return _descend(optax.identity(), learning_rate)


@named
def momentum(learning_rate: Rate, momentum: float = 0.9) -> Optimizer:
    """Gradients add up to a velocity that wears off: `v <- momentum * v + g`, `p <- p - learning_rate * v`.

    Source: B. T. Polyak, Some methods of speeding up the convergence of iteration methods (1964).

    Args:
        learning_rate: as for `sgd`. Under a steady gradient the steps grow to `1 / (1 - momentum)` times those of `sgd`.
        momentum: what remains of the velocity after a step, in [0, 1).

    >>> optimizer, p, g = momentum(0.5, momentum=0.5), jnp.float32(3), jnp.float32(2)
    >>> first, opt_state = optimizer.update(g, optimizer.init(p), p)
    >>> second, opt_state = optimizer.update(g, opt_state, p)
    >>> float(first), float(second)
    (-1.0, -1.5)
    """
    return _descend(optax.trace(check_number("momentum", momentum, below=1)), learning_rate)


@named
def nesterov(learning_rate: Rate, momentum: float = 0.9) -> Optimizer:
    """Momentum that looks ahead: `v <- momentum * v + g`, `p <- p - learning_rate * (momentum * v + g)`.

    Source: Y. Nesterov (1983), in the form of I. Sutskever et al., On the importance of initialization and momentum (2013).
    """
    return _descend(optax.trace(check_number("momentum", momentum, below=1), nesterov=True), learning_rate)


@named
def adagrad(learning_rate: Rate, initial_sum: float = 0.1, epsilon: float = 1e-7) -> Optimizer:
    """A rate per parameter that shrinks with all it has seen: `s <- s + g**2`, `p <- p - learning_rate * g / sqrt(s + epsilon)`.

    Source: J. Duchi, E. Hazan, Y. Singer, Adaptive Subgradient Methods (2011).

    Args:
        learning_rate: as for `sgd`.
        initial_sum: s before the first step.
        epsilon: keeps the root away from 0.
    """
    check_number("initial_sum", initial_sum)
    return _descend(optax.scale_by_rss(initial_sum, check_number("epsilon", epsilon)), learning_rate)


@named
def rmsprop(learning_rate: Rate, decay: float = 0.9, epsilon: float = 1e-8) -> Optimizer:
    """Adagrad that forgets: `s <- decay * s + (1 - decay) * g**2`, `p <- p - learning_rate * g / sqrt(s + epsilon)`.

    Source: T. Hinton, Neural Networks for Machine Learning, lecture 6 (2012).

    Args:
        learning_rate: as for `sgd`.
        decay: what remains of s after a step, in [0, 1). s begins at 0, so the first steps are `1 / sqrt(1 - decay)` times longer.
        epsilon: keeps the root away from 0.
    """
    check_number("epsilon", epsilon)
    return _descend(optax.scale_by_rms(check_number("decay", decay, below=1), epsilon), learning_rate)


@named
def adam(learning_rate: Rate, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8) -> Optimizer:
    """Averages of the gradient and of its square, each divided by what it lacks for having begun at 0.

    At step t = 1, 2, ...: `m <- beta1 * m + (1 - beta1) * g`, `s <- beta2 * s + (1 - beta2) * g**2`,
    `p <- p - learning_rate * m / (1 - beta1**t) / (sqrt(s / (1 - beta2**t)) + epsilon)`.

    Source: D. P. Kingma, J. Ba, Adam: A Method for Stochastic Optimization (2015), algorithm 1.

    Args:
        learning_rate: as for `sgd`; about the length of a step of each single parameter.
        beta1: what remains of m after a step, in [0, 1).
        beta2: what remains of s after a step, in [0, 1).
        epsilon: keeps the quotient finite.

    >>> optimizer, p, g = adam(0.1), jnp.float32(3), jnp.float32(1000)
    >>> updates, opt_state = optimizer.update(g, optimizer.init(p), p)
    >>> round(float(updates), 4)
    -0.1
    """
    check_number("beta1", beta1, below=1)
    check_number("beta2", beta2, below=1)
    return _descend(optax.scale_by_adam(beta1, beta2, check_number("epsilon", epsilon)), learning_rate)


@named
def adamw(
    learning_rate: Rate, weight_decay: float = 1e-4, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8
) -> Optimizer:
    """Adam, and beside it all parameters shrink: `p <- p - learning_rate * weight_decay * p`.

    Source: I. Loshchilov, F. Hutter, Decoupled Weight Decay Regularization (2019); as in optax and PyTorch, the rate
    multiplies the decay. To spare biases: `decay_weights(adam(...), 1e-4, "*/weights")`.
    """
    check_number("weight_decay", weight_decay)
    check_number("beta1", beta1, below=1)
    check_number("beta2", beta2, below=1)
    adam_direction = optax.scale_by_adam(beta1, beta2, check_number("epsilon", epsilon))
    return _descend(optax.chain(adam_direction, optax.add_decayed_weights(weight_decay)), learning_rate)


def minimize(loss_fn: Callable[..., Any], optimizer: Optimizer) -> Callable[..., tuple[Any, Any, jax.Array]]:
    """The train step of a loss: gradients, then the optimizer's update, compiled. The counterpart of TF1's `optimizer.minimize(loss)`.

    Args:
        loss_fn: `(params, *batch) -> loss`, one floating-point number.
        optimizer: one of this module or any of optax.

    Returns:
        `(params, opt_state, *batch) -> (params, opt_state, loss)`, the loss before the step. What is passed in stays as it is.
        `optimizer.init(params)` makes the first opt_state. Operations of the update stand in the name scope `optimizer`.

    Raises:
        OptimizerError: there is no function or no optimizer, or (when it is called) the loss is not one number, a parameter is not of floating point, or the opt_state
            belongs to other parameters or to another optimizer.
    """
    if not callable(loss_fn):
        raise OptimizerError("a loss is a function", given=repr(loss_fn), fix="minimize(loss_fn, optimizer)")
    check_optimizer(optimizer)

    def train_step(params: Any, opt_state: Any, *batch: Any) -> tuple[Any, Any, jax.Array]:
        params, opt_state, loss, _, _ = descend(
            lambda params: (loss_fn(params, *batch), None), optimizer, params, opt_state
        )
        return params, opt_state, loss

    return jax.jit(train_step)


def descend(
    loss_of: Callable[[Any], tuple[Any, Any]], optimizer: Optimizer, params: Any, opt_state: Any
) -> tuple[Any, Any, jax.Array, Any, Any]:
    """One update of parameters: what `minimize` and every train step do.

    Args:
        loss_of: `params -> (loss, aux)`: one floating-point number, and whatever else comes out.
        optimizer: one of this module or any of optax.
        params: a pytree of floating-point arrays.
        opt_state: the optimizer's.

    Returns:
        `(params, opt_state, loss, gradients, aux)`, the loss before the update.

    Raises:
        OptimizerError: as `minimize`.
    """
    update = optax.with_extra_args_support(check_optimizer(optimizer)).update
    check_params(params)
    expected = jax.eval_shape(optimizer.init, params)
    check_same("opt_state", opt_state, expected, "start with opt_state = optimizer.init(params), of the same optimizer")

    def checked(params: Any) -> tuple[jax.Array, Any]:
        loss, aux = loss_of(params)
        return check_loss(loss), aux

    (loss, aux), gradients = jax.value_and_grad(checked, has_aux=True)(params)
    with jax.named_scope("optimizer"):
        updates, opt_state = update(
            gradients, opt_state, params, value=loss, grad=gradients, value_fn=lambda params: checked(params)[0]
        )
        return optax.apply_updates(params, updates), opt_state, loss, gradients, aux


def current_rate(opt_state: Any) -> jax.Array:
    """The learning rate of the last step, read from an optimizer's state; before any step, that of the first.

    Returns:
        A scalar; [runs] of a state that was mapped over runs.

    Raises:
        OptimizerError: the state holds no rate, or more than one.

    >>> from aidl_jax.schedules import piecewise
    >>> optimizer, p = sgd(piecewise([1], [0.5, 0.25])), jnp.float32(1)
    >>> opt_state = optimizer.init(p)
    >>> for step in range(2):
    ...     updates, opt_state = optimizer.update(p, opt_state, p)
    ...     print(current_rate(opt_state))
    0.5
    0.25
    """
    found = optax.tree_utils.tree_get_all_with_path(
        opt_state, "learning_rate", lambda path, value: isinstance(value, jax.Array | np.ndarray | np.generic | float)
    )
    if len(found) == 1:
        return jnp.asarray(found[0][1])
    raise OptimizerError(
        "this state holds more than one learning rate" if found else "this state does not hold its learning rate",
        given=", ".join(jax.tree_util.keystr(path) for path, _ in found)
        or f"an optimizer's state of type {type(opt_state).__name__}",
        fix="ask for one of the states inside"
        if found
        else "make the optimizer with aidl_jax.optimizers, or with optax.inject_hyperparams(optax.adam)(learning_rate=...)",
    )


def _descend(direction: Optimizer, learning_rate: Rate) -> Optimizer:
    """Steps against a direction; the rate is part of the state, so it can be read, and set."""

    def step(learning_rate: Any) -> Optimizer:
        return optax.stateless(
            lambda updates, _: jax.tree.map(lambda u: u * jnp.asarray(-learning_rate, u.dtype), updates)
        )

    rate = learning_rate if callable(learning_rate) else check_number("learning_rate", learning_rate)
    precision = jnp.result_type(float)
    by_rate = optax.inject_hyperparams(step, hyperparam_dtype=precision)(
        learning_rate=rate if callable(rate) else jnp.asarray(rate, precision)
    )
    both = optax.with_extra_args_support(optax.chain(direction, by_rate))

    def update(gradients: Any, opt_state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        if params is not None:
            check_same(
                "gradients", gradients, params, "take the gradients by the same params: jax.grad(loss_fn)(params)"
            )
        return both.update(gradients, opt_state, params, **extra)

    return optax.GradientTransformationExtraArgs(both.init, update)
