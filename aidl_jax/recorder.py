"""What one call of `init` or `apply` was given and has made so far; `aidl_jax.scope` is the way to it.

Its errors say at which line of the model something was asked for.
"""

from __future__ import annotations

import hashlib
import inspect
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path as File
from typing import Any

import jax
import jax.numpy as jnp

from aidl_jax._compat import trace_state
from aidl_jax.errors import ScopeError
from aidl_jax.graph.nodes import Source, describe
from aidl_jax.initializers import constant, glorot_uniform

__all__ = [
    "Call",
    "Path",
    "Variable",
    "caller",
    "check_given",
    "check_key",
    "check_model",
    "check_place",
    "check_same",
    "check_shape",
    "check_used",
    "fold",
    "given_value",
    "initial_value",
    "names_of",
    "told",
]

Path = tuple[str, ...]
OURS = (__file__, str(File(__file__).with_name("scope.py")))


@dataclass
class Variable:
    """One variable: its value when it was made, its value now, and where it was made."""

    initial: Any
    value: Any
    is_trainable: bool
    made_at: str


@dataclass
class Call:
    """What one call of `init` or `apply` has made so far; unusable after it returns.

    Args:
        key: what all keys are folded from; None where there is none.
        given: the params and the model_state of `apply`; None in `init`.
        expected: the names of all variables that the model makes.
        trace: where the call runs: a variable cannot be made in a trace inside of that.
        variables: what was made so far, by path.
        keys: how many keys were made under each path.
        is_open: whether the call is still running.
    """

    key: Any
    given: tuple[Mapping[str, Any], Mapping[str, Any]] | None
    expected: Callable[[], list[str]]
    trace: Any = field(default_factory=trace_state)
    variables: dict[Path, Variable] = field(default_factory=dict)
    keys: Counter[Path] = field(default_factory=Counter)
    is_open: bool = True

    def tree(self, is_trainable: bool) -> dict[str, Any]:
        """The variables of a kind as a nested dict; `init` returns them as they were made."""
        tree: dict[str, Any] = {}
        for path, variable in self.variables.items():
            if variable.is_trainable == is_trainable:
                branch = tree
                for part in path[:-1]:
                    branch = branch.setdefault(part, {})
                branch[path[-1]] = variable.initial if self.given is None else variable.value
        return tree


def initial_value(key: Any, path: Path, shape: Any, initializer: Any, dtype: Any) -> jax.Array:
    """A new variable's value, by its initializer and a key of its own."""
    if shape is None:
        raise ScopeError(f"variable {told(path)!r} needs a shape to be made", fix="get_variable(name, shape, ...)")
    _check_dtype(path, dtype)
    if initializer is None:
        initializer = glorot_uniform()
    if not callable(initializer):
        return constant(initializer)(None, shape, dtype)
    value = _made_by(initializer, fold(key, path), path, tuple(shape), dtype)
    check_same(path, value, shape, dtype)
    return value


def _check_dtype(path: Path, dtype: Any) -> None:
    narrow = jax.dtypes.canonicalize_dtype(dtype)
    if narrow != dtype:
        raise ScopeError(
            f"JAX would narrow variable {told(path)!r} without a word",
            given=str(dtype),
            expected=str(narrow),
            where=caller(),
            fix=f"dtype={narrow}, or call jax.config.update('jax_enable_x64', True) first",
        )


def _made_by(initializer: Callable[..., Any], key: Any, path: Path, shape: tuple[int, ...], dtype: Any) -> Any:
    """What an initializer makes, which must be an array: `he_normal` makes one only after `he_normal()`."""
    value = initializer(key, shape, dtype) if _takes_three(initializer) else None
    if hasattr(value, "shape"):
        return value
    raise ScopeError(
        f"the initializer of variable {told(path)!r} makes no array",
        given=getattr(initializer, "__name__", repr(initializer)),
        expected="a function (key, shape, dtype) -> array",
        where=caller(),
        fix="call what makes an initializer: he_normal(), with parentheses",
    )


def _takes_three(initializer: Callable[..., Any]) -> bool:
    try:
        inspect.signature(initializer).bind(None, None, None)
    except TypeError:
        return False
    except ValueError:  # it does not say
        pass
    return True


def given_value(call: Call, path: Path, trainable: bool) -> Any:
    """A variable's value in what `apply` was given."""
    assert call.given is not None
    found: Any = call.given[0 if trainable else 1]
    for part in path:
        if not isinstance(found, Mapping) or part not in found:
            raise _misfit(call, told(path))
        found = found[part]
    if isinstance(found, Mapping):
        raise _misfit(call, told(path))
    return found


def _misfit(call: Call, asked: str) -> ScopeError:
    """Both what is missing and what is not used, since a renamed scope is both."""
    assert call.given is not None
    there = set(names_of(*call.given))
    expected = call.expected()
    missing = [name for name in expected if name not in there]
    unused = sorted(there.difference(expected))
    return ScopeError(
        f"variable {asked!r} is not in what apply was given",
        given=f"missing: {', '.join(map(repr, missing)) or 'none'}; not used: {', '.join(map(repr, unused)) or 'none'}",
        where=caller(),
        fix="apply the function that init made the variables with, or rename what was renamed",
    )


def names_of(params: Mapping[str, Any], model_state: Mapping[str, Any]) -> list[str]:
    """The names of all variables, `params/conv1/weights`."""
    return [*_leaves(params, "params/"), *_leaves(model_state, "model_state/")]


def check_used(call: Call) -> None:
    """Raises `ScopeError` where `apply` was given variables that the model has not asked for."""
    assert call.given is not None
    kinds = (True, False)
    used = {kind: {told(path) for path, one in call.variables.items() if one.is_trainable is kind} for kind in kinds}
    unused = [
        name for kind, tree in zip(kinds, call.given, strict=True) for name in _leaves(tree) if name not in used[kind]
    ]
    if unused:
        raise ScopeError(
            "apply was given variables that the model does not use",
            given=", ".join(map(repr, unused)),
            expected=", ".join(map(repr, sorted(used[True] | used[False]))) or "none",
            fix="apply the function that init made them with, or leave them out",
        )


def check_model(fn: Any) -> None:
    """Raises `ScopeError` where a model is not a function."""
    if not callable(fn):
        raise ScopeError("a model is a function fn(scope, *inputs)", given=repr(fn), fix="init(fn), without calling it")


def check_given(params: Any, model_state: Any) -> None:
    """Raises `ScopeError` where what `apply` is given first are not two dicts of variables."""
    for name, tree in (("params", params), ("model_state", model_state)):
        if not isinstance(tree, Mapping):
            raise ScopeError(
                f"{name} is not a dict of variables",
                given=_described(tree),
                fix="apply(fn)(params, model_state, *inputs), with {} where a model has no state",
            )


def check_key(key: Any) -> None:
    """Raises `ScopeError` where what `init` is given first is not a PRNG key."""
    dtype = getattr(key, "dtype", None)
    if dtype is None or not (jnp.issubdtype(dtype, jax.dtypes.prng_key) or dtype == jnp.uint32):
        raise ScopeError(
            "init takes a PRNG key first", given=_described(key), fix="init(fn)(jax.random.key(0), *inputs)"
        )


def _described(value: Any) -> str:
    return describe(value.shape, value.dtype) if hasattr(value, "dtype") else repr(value)


def _leaves(tree: Mapping[str, Any], before: str = "") -> list[str]:
    names = []
    for key, value in tree.items():
        names += _leaves(value, f"{before}{key}/") if isinstance(value, Mapping) else [f"{before}{key}"]
    return names


def check_place(path: Path, variables: Mapping[Path, Variable]) -> None:
    """Raises `ScopeError` where a variable would stand in a scope's place, or a scope in a variable's."""
    for other in variables:
        shorter, longer = sorted((path, other), key=len)
        if longer[: len(shorter)] == shorter:
            raise ScopeError(
                f"{told(shorter)!r} cannot be both a variable and a scope with variables in it",
                given=f"{told(longer)!r} beside it",
                where=caller(),
                fix="give one of them another name",
            )


def check_shape(path: Path, shape: Any) -> None:
    """Raises `ScopeError` where a shape is no sequence: (3) is the number 3."""
    if shape is not None and not isinstance(shape, Sequence):
        raise ScopeError(
            f"the shape of variable {told(path)!r} is not a tuple of sizes",
            given=repr(shape),
            where=caller(),
            fix=f"write ({shape!r},) for a vector, () for one number",
        )


def check_same(path: Path, value: Any, shape: Sequence[int] | None, dtype: Any) -> None:
    """Raises `ScopeError` where a variable is not of the shape and dtype that are asked for."""
    if shape is None:
        shape = value.shape
    if tuple(value.shape) != tuple(shape) or value.dtype != jnp.dtype(dtype):
        raise ScopeError(
            f"variable {told(path)!r} has another shape or dtype",
            given=describe(value.shape, value.dtype),
            expected=describe(tuple(shape), jnp.dtype(dtype)),
            where=caller(),
            fix="ask for what is there, or give the new one another name",
        )


def fold(key: Any, path: Path) -> jax.Array:
    """A key that depends on the path alone: BLAKE2b's first 32 bits of it, folded in."""
    number = int.from_bytes(hashlib.blake2b(told(path).encode(), digest_size=4).digest())
    return jax.random.fold_in(key, number)


def told(path: Path) -> str:
    """A path as a name.

    >>> told(("conv1", "weights"))
    'conv1/weights'
    """
    return "/".join(path)


def caller() -> str:
    """The line that called, outside of this file and of the scope's."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename in OURS:
        frame = frame.f_back
    return str(Source(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name))
