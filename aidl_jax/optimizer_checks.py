"""What optimizers, schedules and races refuse, and how they say it."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import optax

from aidl_jax.errors import OptimizerError, close_matches

__all__ = [
    "check_loss",
    "check_number",
    "check_optimizer",
    "check_params",
    "check_same",
    "check_steps",
    "is_known",
    "named",
]

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def named(make: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """The function, but an argument that it does not have is told with the one that was meant."""

    @functools.wraps(make)
    def checked(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        known = list(inspect.signature(make).parameters)
        for name in kwargs:
            if name not in known:
                meant = "learning_rate" if name in ("lr", "rate", "step_size", "eta", "alpha") else None
                raise OptimizerError(
                    f"{make.__name__} has no argument of this name",
                    given=f"{name}=...",
                    expected=", ".join(known),
                    fix=f"write {meant}=..." if meant else close_matches(name, known),
                )
        return make(*args, **kwargs)

    return checked


def check_number(name: str, value: Any, below: float = math.inf) -> Any:
    """The value, if it is one number in [0, below). What is traced, a rate in a race for example, has no value to check yet.

    Raises:
        OptimizerError: it is not.
    """
    if not is_known(value):
        return value
    is_number = not isinstance(value, bool | str | bytes) and np.ndim(value) == 0 and np.isrealobj(value)
    try:
        if is_number and 0 <= float(value) < below:
            return value
    except (TypeError, ValueError):
        pass
    raise OptimizerError(
        f"{name} is not one that can be used",
        given=f"{name}={value!r}",
        expected="a number of at least 0" + (f" and below {below:g}" if below < math.inf else ""),
        fix="an optimizer steps against the gradient by itself: leave out the minus"
        if is_number and value < 0
        else None,
    )


def check_steps(steps: Any) -> None:
    """Raises unless it is a whole number of at least 1.

    Raises:
        OptimizerError: it is not.
    """
    if isinstance(steps, bool) or not isinstance(steps, int | np.integer) or steps < 1:
        raise OptimizerError(
            "a schedule takes a whole number of steps", given=f"steps={steps!r}", expected="an int of at least 1"
        )


def check_optimizer(optimizer: Any) -> Any:
    """The optimizer, if it is one.

    Raises:
        OptimizerError: it is not.
    """
    if isinstance(optimizer, optax.GradientTransformation):
        return optimizer
    raise OptimizerError(
        "this is not an optimizer",
        given=getattr(optimizer, "__name__", repr(optimizer)),
        expected="a pair of functions, init and update",
        fix="call what makes one: sgd(0.1)",
    )


def check_params(params: Any) -> None:
    """Raises unless all parameters are of floating point.

    Raises:
        OptimizerError: one is not.
    """
    for path, leaf in jax.tree.leaves_with_path(params):
        if not jnp.issubdtype(jnp.result_type(leaf), jnp.floating):
            raise OptimizerError(
                "a parameter that an optimizer changes is of floating point",
                given=str(jnp.result_type(leaf)),
                where=_name("params", path),
                fix="write 1.0 for 1, or keep what is not learned out of params, in model_state",
            )


def check_loss(loss: Any) -> Any:
    """The loss, if it is one number of floating point.

    Raises:
        OptimizerError: it is not.
    """
    leaves = jax.tree.leaves(loss)
    is_one = len(leaves) == 1 and leaves[0] is loss and jnp.shape(loss) == ()
    if is_one and jnp.issubdtype(jnp.result_type(loss), jnp.floating):
        return loss
    given = [f"{jnp.result_type(leaf)}{list(jnp.shape(leaf))}" for leaf in leaves]
    raise OptimizerError(
        "a loss is one floating-point number",
        given=f"a {type(loss).__name__} of {', '.join(given)}"
        if isinstance(loss, tuple | list | dict)
        else ", ".join(given) or "None",
        expected="float32[]",
        fix="return the mean over the batch, jnp.mean(losses), and nothing else",
    )


def check_same(name: str, given: Any, expected: Any, fix: str) -> None:
    """Raises where two trees differ in structure or shapes, at the first path that differs."""
    here, there = (
        {_name(name, path): jnp.shape(leaf) for path, leaf in jax.tree.leaves_with_path(tree)}
        for tree in (given, expected)
    )
    for path in [*there, *here]:
        if here.get(path) != there.get(path):
            raise OptimizerError(
                f"the {name} do not fit the params",
                given=f"shape {here[path]}" if path in here else "nothing",
                expected=f"shape {there[path]}" if path in there else "nothing",
                where=path,
                fix=fix,
            )


def is_known(value: Any) -> bool:
    return not isinstance(value, jax.core.Tracer)


def _name(tree: str, path: Any) -> str:
    return "/".join([tree, *(jax.tree_util.keystr((key,), simple=True) for key in path)])
