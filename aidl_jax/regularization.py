"""What is put around an optimizer: clipping, L2, weight decay, an average of the parameters. Each takes one and returns one.

The outermost sees the gradients first and the updates last:

>>> from aidl_jax.optimizers import adam, sgd
>>> optimizer = clip_gradients(decay_weights(adam(1e-3), 1e-2, "*/weights"), max_norm=1.0)

Patterns are those of `aidl_jax.parameters`: `*/weights` is every weight, in whatever scope.

L2 and weight decay are the same thing under `sgd`, and under nothing else. L2 is a term of the loss, so its gradient goes through
what the optimizer does to gradients; Adam divides it away where gradients are large. Weight decay goes past the optimizer:

>>> def after_one_step(optimizer, p=jnp.float32(1), gradient=jnp.float32(1)):
...     updates, _ = optimizer.update(gradient, optimizer.init(p), p)
...     return round(float(p + updates), 3)
>>> after_one_step(add_l2(sgd(0.1), 0.5)), after_one_step(decay_weights(sgd(0.1), 0.5))
(0.85, 0.85)
>>> after_one_step(add_l2(adam(0.1), 0.5)), after_one_step(decay_weights(adam(0.1), 0.5)), after_one_step(adam(0.1))
(0.9, 0.85, 0.9)
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from aidl_jax.errors import OptimizerError
from aidl_jax.optimizer_checks import check_number, check_optimizer
from aidl_jax.optimizers import Optimizer, current_rate
from aidl_jax.parameters import mask

__all__ = ["add_l2", "average_params", "averaged_params", "clip_gradients", "clip_values", "decay_weights"]


def clip_gradients(optimizer: Optimizer, max_norm: float) -> Optimizer:
    """Scales all gradients by one factor where their common norm is above `max_norm`: `g <- g * min(1, max_norm / norm)`.

    The norm is the root of the sum of squares over all parameters together, so the direction stays.

    Source: R. Pascanu, T. Mikolov, Y. Bengio, On the difficulty of training recurrent neural networks (2013).

    >>> from aidl_jax.optimizers import sgd
    >>> optimizer, p = clip_gradients(sgd(1.0), max_norm=1.0), {"w": jnp.zeros(2)}
    >>> optimizer.update({"w": jnp.float32([3, 4])}, optimizer.init(p), p)[0]["w"].tolist()
    [-0.6000000238418579, -0.800000011920929]
    """
    return optax.chain(optax.clip_by_global_norm(check_number("max_norm", max_norm)), check_optimizer(optimizer))


def clip_values(optimizer: Optimizer, limit: float) -> Optimizer:
    """Cuts every single gradient off at `-limit` and `limit`; the direction changes.

    >>> from aidl_jax.optimizers import sgd
    >>> optimizer, p = clip_values(sgd(1.0), limit=1.0), jnp.zeros(2)
    >>> optimizer.update(jnp.float32([3, -0.5]), optimizer.init(p), p)[0].tolist()
    [-1.0, 0.5]
    """
    return optax.chain(optax.clip(check_number("limit", limit)), check_optimizer(optimizer))


def add_l2(optimizer: Optimizer, strength: float, *patterns: str) -> Optimizer:
    """Adds `strength * p` to the gradient of each parameter, as if the loss had the term `strength * sum(p**2) / 2`.

    Args:
        optimizer: what the sum goes into.
        strength: at least 0.
        *patterns: which parameters, of a nested dict; all of them without a pattern.
    """
    check_number("strength", strength)
    return optax.chain(optax.add_decayed_weights(strength, _mask(*patterns)), check_optimizer(optimizer))


def decay_weights(optimizer: Optimizer, strength: float, *patterns: str) -> Optimizer:
    """Shrinks parameters beside what the optimizer does: `p <- p + update - learning_rate * strength * p`.

    Source: I. Loshchilov, F. Hutter, Decoupled Weight Decay Regularization (2019).

    Args:
        optimizer: one that keeps its rate in its state, as those of `aidl_jax.optimizers` do.
        strength: at least 0.
        *patterns: which parameters, of a nested dict; all of them without a pattern.
    """
    decay = optax.add_decayed_weights(check_number("strength", strength), _mask(*patterns))
    inner = optax.with_extra_args_support(check_optimizer(optimizer))

    def update(gradients: Any, opt_state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        _check_there("weight decay", params)
        updates, opt_state = inner.update(gradients, opt_state, params, **extra)
        rate = current_rate(opt_state)
        nothing = optax.tree_utils.tree_zeros_like(params)
        shrink, _ = decay.update(nothing, decay.init(params), params)
        return jax.tree.map(
            lambda u, s: u - (jnp.asarray(rate, s.dtype) * s).astype(u.dtype), updates, shrink
        ), opt_state

    return optax.GradientTransformationExtraArgs(inner.init, update)


class Averaged(NamedTuple):
    """The state of an optimizer that also averages the parameters."""

    inner: Any
    steps: jax.Array
    average: Any


def average_params(optimizer: Optimizer, decay: float = 0.999) -> Optimizer:
    """Keeps a moving average of the parameters, which often does better than the last ones; training goes on as without.

    After step t = 1, 2, ...: `m <- decay * m + (1 - decay) * p`, from m = 0; the average is `m / (1 - decay**t)`, so that it
    is one of parameters that have been, and not of zeros. It is kept in float32 at least: bfloat16 would swallow the changes.
    Put it around `decay_weights`, not inside: it averages what comes of the updates that it sees.

    Source: B. T. Polyak, A. B. Juditsky, Acceleration of stochastic approximation by averaging (1992); the division is Adam's.

    Args:
        optimizer: what changes the parameters.
        decay: what remains of m after a step, in [0, 1): about the last `1 / (1 - decay)` steps count.
    """
    check_number("decay", decay, below=1)
    inner = optax.with_extra_args_support(check_optimizer(optimizer))

    def init(params: Any) -> Averaged:
        return Averaged(inner.init(params), jnp.zeros((), jnp.int32), jax.tree.map(_wide, params))

    def update(gradients: Any, opt_state: Averaged, params: Any = None, **extra: Any) -> tuple[Any, Averaged]:
        _check_there("an average of the parameters", params)
        updates, state = inner.update(gradients, opt_state.inner, params, **extra)
        new = jax.tree.map(_wide, optax.apply_updates(params, updates))
        steps = optax.safe_increment(opt_state.steps)
        share = (1 - decay) / (1 - decay ** steps.astype(float))
        average = jax.tree.map(lambda a, p: a + share.astype(a.dtype) * (p - a), opt_state.average, new)
        return updates, Averaged(state, steps, average)

    return optax.GradientTransformationExtraArgs(init, update)


def averaged_params(opt_state: Any, params: Any) -> Any:
    """The average that `average_params` keeps, in the dtypes of the params.

    Args:
        opt_state: the state, maybe inside of others.
        params: the parameters, for their dtypes.

    Raises:
        OptimizerError: there is no average in the state.

    >>> from aidl_jax.optimizers import sgd
    >>> optimizer, p = average_params(sgd(1.0), decay=0.5), jnp.float32(4)
    >>> opt_state = optimizer.init(p)
    >>> for step in range(2):
    ...     updates, opt_state = optimizer.update(jnp.float32(1), opt_state, p)
    ...     p = p + updates
    >>> float(p), round(float(averaged_params(opt_state, p)), 4)
    (2.0, 2.3333)
    """
    found = [leaf for leaf in jax.tree.leaves(opt_state, is_leaf=_is_averaged) if _is_averaged(leaf)]
    if len(found) != 1:
        raise OptimizerError(
            f"this state holds {len(found) or 'no'} average{'s' if found else ''} of the parameters",
            given=f"a {type(opt_state).__name__}",
            fix="make the optimizer with one average_params(optimizer, decay=0.999) around it",
        )
    return jax.tree.map(lambda a, p: a.astype(jnp.result_type(p)), found[0].average, params)


def _is_averaged(state: Any) -> bool:
    return isinstance(state, Averaged)


def _wide(leaf: Any) -> jax.Array:
    leaf = jnp.asarray(leaf)
    return leaf.astype(jnp.promote_types(leaf.dtype, jnp.float32))


def _mask(*patterns: str) -> Any:
    return (lambda params: mask(params, *patterns)) if patterns else None


def _check_there(what: str, params: Any) -> None:
    if params is None:
        raise OptimizerError(
            f"{what} needs the parameters", given="params=None", fix="optimizer.update(gradients, opt_state, params)"
        )
