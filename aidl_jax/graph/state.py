"""State as a value: what TF1 did by assigning to a variable is a function from state to state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from aidl_jax.errors import GraphError, close_matches
from aidl_jax.graph.feeding import NUMBERS, held
from aidl_jax.graph.nodes import describe

__all__ = ["assign", "assign_add", "assign_sub"]


def assign(state: Mapping[str, Any], name: str, value: Any) -> tuple[dict[str, Any], Any]:
    """The state in which one variable has a new value.

    Args:
        state: arrays by name, maybe nested; it stays as it is.
        name: which one, a path where the state is nested: `layer1/w`.
        value: an array of the variable's shape and dtype, or a number that it can hold.

    Returns:
        The new state, and the variable's value in it.

    Raises:
        GraphError: there is no such variable, its shape or dtype would change, or the state is no dict of names without
            "/".

    >>> state = {"v": jnp.int32(1)}
    >>> new, value = assign(state, "v", 7)
    >>> int(new["v"]), int(value), int(state["v"])
    (7, 7, 1)
    """
    new = _like(name, _variable(state, name), value)
    return _replaced(state, name.split("/"), new), new


def assign_add(state: Mapping[str, Any], name: str, amount: Any) -> tuple[dict[str, Any], Any]:
    """The state in which an amount was added to one variable; see `assign`.

    The two sanity checks of every TF1 course. Adding to a variable's value leaves the variable alone; adding to the
    variable makes a new state:

    >>> state = {"v": jnp.int32(1)}
    >>> int(state["v"] + 4), int(state["v"])
    (5, 1)
    >>> state, result = assign_add(state, "v", 4)
    >>> int(result), int(state["v"])
    (5, 5)
    """
    old = _variable(state, name)
    return assign(state, name, old + _amount(name, old, amount))


def assign_sub(state: Mapping[str, Any], name: str, amount: Any) -> tuple[dict[str, Any], Any]:
    """The state in which an amount was taken from one variable; see `assign`.

    >>> int(assign_sub({"v": jnp.int32(5)}, "v", 4)[1])
    1
    """
    old = _variable(state, name)
    return assign(state, name, old - _amount(name, old, amount))


def _like(name: str, old: Any, value: Any) -> Any:
    """A value that the variable can hold as it is: of its shape and dtype, or a number that fits."""
    new = held(value, old.dtype) if type(value) in NUMBERS else value
    shape, dtype = getattr(new, "shape", None), getattr(new, "dtype", None)
    if (shape, dtype) != (old.shape, old.dtype):
        raise GraphError(
            f"a variable keeps its shape and dtype, and {name!r} would change",
            given=repr(value) if shape is None else describe(shape, dtype),
            expected=describe(old.shape, old.dtype),
            fix="assign a value like the one that is there, or make a state of your own with {**state, name: value}",
        )
    return jnp.asarray(new)


def _amount(name: str, old: Any, amount: Any) -> Any:
    """An amount of the variable's dtype that can be added without changing the variable's shape."""
    if not hasattr(amount, "shape"):
        return _like(name, jnp.zeros((), old.dtype), amount)
    fits = len(amount.shape) <= len(old.shape) and all(
        size in (1, there) for size, there in zip(reversed(amount.shape), reversed(old.shape), strict=False)
    )
    if not fits or amount.dtype != old.dtype:
        raise GraphError(
            f"a variable keeps its shape and dtype, and {name!r} would change",
            given=f"an amount of {describe(amount.shape, amount.dtype)}",
            expected=f"one that fits {describe(old.shape, old.dtype)}",
            fix="give the amount the variable's dtype, and its shape or a single number",
        )
    return amount


def _variable(state: Mapping[str, Any], name: str) -> Any:
    _check_state(state)
    found: Any = state
    for part in name.split("/"):
        if not isinstance(found, Mapping) or part not in found:
            raise GraphError("the state has no such variable", given=repr(name), fix=close_matches(name, _names(state)))
        found = found[part]
    if isinstance(found, Mapping):
        raise GraphError(
            "this is not a variable but a group of them",
            given=repr(name),
            fix=f"choose one: {', '.join(map(repr, _names(found, name + '/')))}",
        )
    variable = jnp.asarray(found)
    if hasattr(found, "dtype") and variable.dtype != found.dtype:
        raise GraphError(
            f"JAX would narrow variable {name!r} without a word",
            given=describe(found.shape, found.dtype),
            expected=describe(variable.shape, variable.dtype),
            fix=f"make the state of arrays of {variable.dtype}",
        )
    return variable


def _check_state(state: Any) -> None:
    if not isinstance(state, Mapping):
        raise GraphError(
            "a state is a dict of arrays",
            given=f"a {type(state).__name__}",
            fix='write {"v": jnp.int32(1)}, for example',
        )
    for key, value in state.items():
        if isinstance(key, str) and "/" in key:
            raise GraphError(
                "a key of a state has a '/', which stands between the parts of a path",
                given=repr(key),
                fix='nest dicts: {"layer1": {"w": value}} has the variable "layer1/w"',
            )
        if isinstance(value, Mapping):
            _check_state(value)


def _names(state: Mapping[str, Any], before: str = "") -> list[str]:
    names = []
    for key, value in state.items():
        names += _names(value, f"{before}{key}/") if isinstance(value, Mapping) else [f"{before}{key}"]
    return names


def _replaced(state: Mapping[str, Any], path: list[str], value: Any) -> dict[str, Any]:
    first, *rest = path
    return {**state, first: _replaced(state[first], rest, value) if rest else value}
