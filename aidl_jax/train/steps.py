"""One step of training, and one of evaluation, as pure functions that are compiled."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from aidl_jax.errors import TrainError
from aidl_jax.optimizer_checks import check_optimizer
from aidl_jax.optimizers import Optimizer, descend
from aidl_jax.train.state import TrainState

__all__ = [
    "EvalStep",
    "LossFn",
    "Metrics",
    "TrainStep",
    "all_finite",
    "make_eval_step",
    "make_fused_step",
    "make_gathering_step",
    "make_train_step",
]

Metrics = dict[str, jax.Array]
LossFn = Callable[..., tuple[jax.Array, tuple[Any, Metrics]]]
TrainStep = Callable[[TrainState, Any], tuple[TrainState, Metrics]]
EvalStep = Callable[[TrainState, Any], Metrics]


def make_train_step(loss_fn: LossFn, optimizer: Optimizer) -> TrainStep:
    """The train step of a loss: gradients, then the optimizer's update, compiled.

    A step whose loss or gradients are not finite leaves the state as it was, and so do all that follow: the compiled program sees to
    it, and nobody has to wait for a number.

    Args:
        loss_fn: `(params, model_state, batch, key) -> (loss, (model_state, metrics))`: one number, what the model remembers, and
            a dict of numbers to report.
        optimizer: one of `aidl_jax.optimizers`, or any of optax.

    Returns:
        `step(state, batch) -> (state, metrics)`. The state that is passed in is *donated*: its memory is used for the one that
        comes out. Metrics are those of the loss function, "loss", and "finite": bool [1 + leaves of params], for the loss and each
        gradient.

    Raises:
        TrainError: the loss function takes other arguments, or (when it is called) does not return what it should.
    """

    check_optimizer(optimizer)
    check_loss_fn(loss_fn)

    def train_step(state: TrainState, batch: Any) -> tuple[TrainState, Metrics]:
        key = jax.random.fold_in(state.key, state.step)

        def loss_of(params: Any) -> Any:
            return _answer(loss_fn(params, state.model_state, batch, key), state.model_state)

        params, opt_state, loss, gradients, (model_state, metrics) = descend(
            loss_of, optimizer, state.params, state.opt_state
        )
        finite = jnp.stack([all_finite(one) for one in (loss, *jax.tree.leaves(gradients))])
        well = state.finite & finite.all()
        made = TrainState(state.step + 1, params, model_state, opt_state, state.key, well)
        kept = jax.tree.map(partial(jnp.where, well), made, state._replace(finite=well))
        return kept, {**metrics, "loss": loss, "finite": finite}

    return jax.jit(train_step, donate_argnums=0)


def all_finite(array: jax.Array) -> jax.Array:
    """Whether every number of an array is finite: bool [].

    Zero times a number is zero, or NaN where the number is infinite or NaN; so a product with zeros tells, at the speed of matrix
    products. Looking at each number costs a small network's step a fifth of its time on a CPU.

    >>> bool(all_finite(jnp.array([[1.0, 2.0], [3.0, jnp.inf]])))
    False
    """
    rows = array.reshape(math.prod(array.shape[:-1]), math.prod(array.shape[-1:]))
    zeros = jax.lax.optimization_barrier(jnp.zeros(len(rows), array.dtype))  # XLA must not know that they are zeros
    return (jnp.matmul(zeros, rows, precision="highest") == 0).all()


def make_fused_step(step: TrainStep) -> TrainStep:
    """Many steps as one compiled program.

    Args:
        step: what `make_train_step` returned.

    Returns:
        `(state, batches) -> (state, metrics)`: batches have one more dimension in front, [steps, ...], and so have the metrics.
    """

    return partial(_fused, step)


@partial(jax.jit, static_argnums=0, donate_argnums=1)
def _fused(step: TrainStep, state: TrainState, batches: Any) -> tuple[TrainState, Metrics]:
    """One compiled program for each step function, however often it is fused."""
    return jax.lax.scan(step, state, batches)


def make_gathering_step(step: TrainStep) -> Callable[[TrainState, Any, Any], tuple[TrainState, Metrics]]:
    """Many steps as one compiled program, which also gathers their batches.

    Args:
        step: what `make_train_step` returned.

    Returns:
        `(state, arrays, rows) -> (state, metrics)`: arrays [examples, ...] that stay where the state is, and which of their rows make
        each batch, int32 [steps, batch]; metrics have one more dimension in front, [steps, ...].
    """

    return partial(_gathering, step)


@partial(jax.jit, static_argnums=0, donate_argnums=1)
def _gathering(step: TrainStep, state: TrainState, arrays: Any, rows: jax.Array) -> tuple[TrainState, Metrics]:
    def one(state: TrainState, rows: jax.Array) -> tuple[TrainState, Metrics]:
        return step(state, jax.tree.map(lambda leaf: leaf[rows], arrays))

    return jax.lax.scan(one, state, rows)


def make_eval_step(metrics_fn: Callable[[Any, Any, Any], Metrics]) -> EvalStep:
    """The step of an evaluation.

    Args:
        metrics_fn: `(params, model_state, batch) -> metrics`, a dict of means over the batch.

    Returns:
        `step(state, batch) -> metrics`, compiled; the state stays as it is.

    Raises:
        TrainError: the function takes other arguments, or (when it is called) returns no dict of numbers.
    """

    _check_function(
        metrics_fn,
        "metrics function",
        "metrics_fn(params, model_state, batch)",
        fixes=("make_eval_step(metrics_fn)", "an evaluation draws nothing: it has no key"),
    )

    def eval_step(state: TrainState, batch: Any) -> Metrics:
        return checked_metrics(metrics_fn(state.params, state.model_state, batch))

    return jax.jit(eval_step)


FORM = "(loss, (model_state, metrics))"


def check_loss_fn(loss_fn: Any) -> None:
    """Raises where it is no function of four arguments."""
    _check_function(
        loss_fn,
        "loss function",
        "loss_fn(params, model_state, batch, key)",
        fixes=(
            "make_train_step(loss_fn, optimizer)",
            "a loss of params and batch alone is one for optimizers.minimize",
        ),
    )


def _check_function(function: Any, kind: str, wanted: str, fixes: tuple[str, str]) -> None:
    """Raises where it is none, or none of these arguments; the two mistakes have a fix each."""
    if not callable(function):
        raise TrainError(f"there is no {kind}", given=repr(function)[:80], expected=wanted, fix=fixes[0])
    try:
        inspect.signature(function).bind(*[None] * (wanted.count(",") + 1))
    except TypeError as error:
        raise TrainError(f"the {kind} takes other arguments", given=str(error), expected=wanted, fix=fixes[1]) from None
    except ValueError:  # no signature to look at
        return


def checked_metrics(answer: Any) -> Metrics:
    """What an evaluation step returned.

    Raises:
        TrainError: it is no dict of numbers.
    """
    if not isinstance(answer, dict):
        wrong = type(answer).__name__
    else:
        wrong = next((f"{name!r}: {_told(one)}" for name, one in answer.items() if jnp.shape(one)), "")
    if not wrong:
        return answer
    raise TrainError(
        "an evaluation step returns means over the batch, by name",
        given=wrong,
        expected="a dict of numbers",
        fix="make_eval_step(metrics_fn), where metrics_fn returns {'accuracy': losses.accuracy(logits, labels)}",
    )


def _answer(answer: Any, before: Any) -> tuple[jax.Array, tuple[Any, Metrics]]:
    """What a loss function returned, if it is of the right form."""
    match answer:
        case (loss, (model_state, dict(metrics))):
            pass
        case _:
            raise TrainError(
                "the loss function returns something else than it should",
                given=_told(answer),
                expected=FORM,
                fix="return loss, (model_state, {}) where there is nothing more to tell",
            )
    taken = {"loss", "finite"} & metrics.keys()
    if taken:
        raise TrainError(
            "a metric has a name that the step itself uses", given=", ".join(sorted(taken)), fix="rename it"
        )
    if jax.tree.structure(model_state) != jax.tree.structure(before):
        raise TrainError(
            "the model's state came back in another form",
            given=str(jax.tree.structure(model_state)),
            expected=str(jax.tree.structure(before)),
            fix="return the model_state that apply returned, or the one that came in",
        )
    numbers = {name: jnp.asarray(one) for name, one in metrics.items()}
    return loss, (model_state, numbers)


def _told(answer: Any) -> str:
    if isinstance(answer, tuple):
        return f"({', '.join(map(_told, answer))})"
    return (
        type(answer).__name__ if not isinstance(answer, jax.Array | np.ndarray) else f"an array of shape {answer.shape}"
    )
