"""Variable scopes and name scopes: the functional counterpart of TF1's `variable_scope`, `get_variable`, `name_scope`.

A model is `fn(scope, *inputs)`. `init(fn)` runs it to make its variables, `apply(fn)` runs it with variables that are there:

>>> def dense(scope, x, units):
...     w = scope.get_variable("w", (x.shape[-1], units), jax.nn.initializers.glorot_normal())
...     return x @ w + scope.get_variable("b", (units,), 0.0)
>>> def model(scope, x):
...     with scope.variable_scope("layer1") as layer1:
...         return dense(layer1, x, units=2)
>>> params, model_state = init(model)(jax.random.key(0), jnp.ones((4, 3)))
>>> jax.tree.map(jnp.shape, params)
{'layer1': {'b': (2,), 'w': (3, 2)}}
>>> outputs, model_state = apply(model)(params, model_state, jnp.ones((4, 3)))
>>> outputs.shape
(4, 2)
"""

from __future__ import annotations

import hashlib
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import jax
import jax.numpy as jnp

from aidl_jax._compat import trace_state
from aidl_jax.errors import ScopeError, close_matches
from aidl_jax.graph.nodes import Source, describe
from aidl_jax.initializers import glorot_uniform

__all__ = ["AUTO", "Scope", "apply", "init"]

AUTO: Literal["auto"] = "auto"
Reuse = bool | Literal["auto"]
Path = tuple[str, ...]


@dataclass
class _Variable:
    initial: Any
    value: Any
    is_trainable: bool
    made_at: str


@dataclass
class _Call:
    """What one call of `init` or `apply` has made so far; unusable after it returns."""

    key: Any
    given: tuple[Mapping[str, Any], Mapping[str, Any]] | None
    expected: Callable[[], list[str]]
    trace: Any = field(default_factory=trace_state)
    variables: dict[Path, _Variable] = field(default_factory=dict)
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


def init(fn: Callable[..., Any]) -> Callable[..., tuple[dict[str, Any], dict[str, Any]]]:
    """The function that makes a model's variables.

    Args:
        fn: a model, `fn(scope, *inputs)`.

    Returns:
        `(key, *inputs) -> (params, model_state)`, both nested dicts by scope. Each variable's key is folded from its path, so that
        adding a layer changes no other layer's values.
    """

    def run(key: Any, *inputs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        call = _Call(key, None, list)
        _run(fn, call, inputs)
        return call.tree(is_trainable=True), call.tree(is_trainable=False)

    return run


def apply(fn: Callable[..., Any]) -> Callable[..., tuple[Any, dict[str, Any]]]:
    """The function that runs a model with variables that are there.

    Args:
        fn: a model, `fn(scope, *inputs)`.

    Returns:
        `(params, model_state, *inputs, key=None) -> (outputs, model_state)`. The key is what `scope.make_key` draws from, for
        dropout; the state that comes back has what `scope.assign` put into it.

    Raises:
        ScopeError: (when it is called) a variable is missing, not used, or of another shape or dtype.
    """

    def run(
        params: Mapping[str, Any], model_state: Mapping[str, Any], *inputs: Any, key: Any = None
    ) -> tuple[Any, dict[str, Any]]:
        call = _Call(key, (params, model_state), lambda: _expected(fn, inputs))
        outputs = _run(fn, call, inputs)
        _check_used(call)
        return outputs, call.tree(is_trainable=False)

    return run


def _run(fn: Callable[..., Any], call: _Call, inputs: Sequence[Any]) -> Any:
    try:
        return fn(Scope(call), *inputs)
    finally:
        call.is_open = False


@dataclass(frozen=True)
class Scope:
    """Where a model stands in the tree of its variables: a cursor, passed on by hand.

    Args:
        call: the recorder of the `init` or `apply` that made it.
        path: the names of the scopes around it.
        reuse: what `get_variable` does with a name: False makes it, True finds it, AUTO finds it or makes it.
    """

    call: _Call = field(repr=False)
    path: Path = ()
    reuse: Reuse = False

    @contextmanager
    def variable_scope(self, name: str, reuse: Reuse = False) -> Iterator[Scope]:
        """A scope for variables and names inside this one.

        Args:
            name: one name, without "/".
            reuse: as TF1 has it, a scope inside of one that reuses (or AUTO) does so too, whatever is said here.

        Yields:
            The inner scope; the outer one stays where it is.
        """
        self._check_name(name)
        with jax.named_scope(name):
            yield replace(self, path=(*self.path, name), reuse=reuse or self.reuse)

    @contextmanager
    def name_scope(self, name: str) -> Iterator[Scope]:
        """A scope for the names of operations only: variables stay where they are."""
        self._check_name(name)
        with jax.named_scope(name):
            yield self

    def get_variable(
        self,
        name: str,
        shape: Sequence[int] | None = None,
        initializer: Any = None,
        dtype: Any = jnp.float32,
        trainable: bool = True,
    ) -> jax.Array:
        """A variable of this scope: made, or found, as `reuse` says.

        Args:
            name: one name, without "/".
            shape: its shape; may be left out where it is found.
            initializer: `(key, shape, dtype) -> array`, or a number that fills it; Glorot's uniform one by default.
            dtype: its dtype.
            trainable: whether it is one of `params`; else of `model_state`.

        Raises:
            ScopeError: it is there already, or not there, or of another shape or dtype, or cannot be made here.
        """
        self._check_name(name)
        path = (*self.path, name)
        found = self.call.variables.get(path)
        if found is None:
            if self.reuse is True:
                raise self._absent(path)
            return self._make(path, shape, initializer, jnp.dtype(dtype), trainable)
        if self.reuse is False:
            raise ScopeError(
                f"variable {_told(path)!r} is there already",
                given=f"made at {found.made_at}, asked for again at {_caller()}",
                fix="give one of them another name, or share it: variable_scope(..., reuse=True) or reuse=AUTO",
            )
        _check_same(path, found.value, shape, dtype if shape is not None else found.value.dtype)
        return found.value

    def assign(self, name: str, value: Any) -> jax.Array:
        """Gives a variable of `model_state` a new value, which `apply` returns; the state that was passed in stays as it is.

        Raises:
            ScopeError: there is no such variable here, it is trainable, or its shape or dtype would change.
        """
        self._check_name(name)
        path = (*self.path, name)
        found = self.call.variables.get(path)
        if found is None:
            raise self._absent(path)
        if found.is_trainable:
            raise ScopeError(
                f"variable {_told(path)!r} is trainable, so only an optimizer changes it",
                fix="make it with get_variable(..., trainable=False)",
            )
        self._check_trace(f"{_told(path)!r} is assigned")
        new = jnp.asarray(value)
        _check_same(path, found.value, new.shape, new.dtype)
        found.value = new
        return new

    @property
    def has_key(self) -> bool:
        """Whether `make_key` can make one."""
        return self.call.key is not None

    def make_key(self, name: str = "key") -> jax.Array:
        """A fresh PRNG key, a new one at each call, folded from the call's key and this scope's path.

        Raises:
            ScopeError: `apply` was not given a key.
        """
        self._check_name(name)
        path = (*self.path, name)
        if self.call.key is None:
            raise ScopeError(
                f"{_told(path)!r} needs a PRNG key", given="key=None", fix="apply(fn)(..., key=jax.random.key(0))"
            )
        self._check_trace(f"key {_told(path)!r} is made")
        count = self.call.keys[path]
        self.call.keys[path] += 1
        return _fold(self.call.key, (*path, f"#{count}"))

    def _make(self, path: Path, shape: Any, initializer: Any, dtype: Any, trainable: bool) -> jax.Array:
        self._check_trace(f"variable {_told(path)!r} is made")
        _check_place(path, self.call.variables)
        if self.call.given is None:
            value = _initial(self.call.key, path, shape, initializer, dtype)
        else:
            value = _given(self.call, path, trainable)
            _check_same(path, value, value.shape if shape is None else shape, dtype)
        self.call.variables[path] = _Variable(value, value, trainable, _caller())
        return value

    def _absent(self, path: Path) -> ScopeError:
        names = [_told(one) for one in self.call.variables]
        return ScopeError(
            f"variable {_told(path)!r} is not there to be reused",
            given=f"asked for at {_caller()}",
            expected=f"one of: {', '.join(map(repr, names)) or 'none yet'}",
            fix=close_matches(_told(path), names) if names else "make it first, outside of reuse=True",
        )

    def _check_name(self, name: str) -> None:
        if not self.call.is_open:
            raise ScopeError(
                "this scope's init or apply has returned, so it cannot be used any more",
                given=f"{name!r} in scope {_told(self.path)!r}",
                fix="use a scope only inside the function that got it",
            )
        if not isinstance(name, str) or not name or "/" in name:
            raise ScopeError(
                "a name is one word without '/'",
                given=repr(name),
                fix="open a scope for each part of a path: with scope.variable_scope('a') as a: ...",
            )

    def _check_trace(self, what: str) -> None:
        if self.call.trace != trace_state():
            raise ScopeError(
                f"{what} inside a scan, jit, vmap, grad, cond or checkpoint, from which it could not come back",
                where=_caller(),
                fix="do it before, and use it inside: a variable that is there may be reused anywhere (reuse=True)",
            )


def _initial(key: Any, path: Path, shape: Any, initializer: Any, dtype: Any) -> jax.Array:
    if shape is None:
        raise ScopeError(f"variable {_told(path)!r} needs a shape to be made", fix="get_variable(name, shape, ...)")
    if initializer is None:
        initializer = glorot_uniform()
    if not callable(initializer):
        return jnp.full(shape, initializer, dtype)
    value = initializer(_fold(key, path), tuple(shape), dtype)
    _check_same(path, value, shape, dtype)
    return value


def _given(call: _Call, path: Path, trainable: bool) -> Any:
    assert call.given is not None
    found: Any = call.given[0 if trainable else 1]
    for part in path:
        if not isinstance(found, Mapping) or part not in found:
            raise _misfit(call, _told(path))
        found = found[part]
    if isinstance(found, Mapping):
        raise _misfit(call, _told(path))
    return found


def _misfit(call: _Call, asked: str) -> ScopeError:
    """Both what is missing and what is not used, since a renamed scope is both."""
    assert call.given is not None
    there = set(_both(*call.given))
    expected = call.expected()
    missing = [name for name in expected if name not in there]
    unused = sorted(there.difference(expected))
    return ScopeError(
        f"variable {asked!r} is not in what apply was given",
        given=f"missing: {', '.join(map(repr, missing)) or 'none'}; not used: {', '.join(map(repr, unused)) or 'none'}",
        where=_caller(),
        fix="apply the function that init made the variables with, or rename what was renamed",
    )


def _expected(fn: Callable[..., Any], inputs: Sequence[Any]) -> list[str]:
    """The variables that a model makes, without computing them."""
    return _both(*jax.eval_shape(init(fn), jax.random.key(0), *inputs))


def _both(params: Mapping[str, Any], model_state: Mapping[str, Any]) -> list[str]:
    return [*_leaves(params, "params/"), *_leaves(model_state, "model_state/")]


def _check_used(call: _Call) -> None:
    assert call.given is not None
    used = {_told(path) for path in call.variables}
    unused = [name for tree in call.given for name in _leaves(tree) if name not in used]
    if unused:
        raise ScopeError(
            "apply was given variables that the model does not use",
            given=", ".join(map(repr, unused)),
            expected=", ".join(map(repr, sorted(used))) or "none",
            fix="apply the function that init made them with, or leave them out",
        )


def _leaves(tree: Mapping[str, Any], before: str = "") -> list[str]:
    names = []
    for key, value in tree.items():
        names += _leaves(value, f"{before}{key}/") if isinstance(value, Mapping) else [f"{before}{key}"]
    return names


def _check_place(path: Path, variables: Mapping[Path, _Variable]) -> None:
    for other in variables:
        shorter, longer = sorted((path, other), key=len)
        if longer[: len(shorter)] == shorter:
            raise ScopeError(
                f"{_told(shorter)!r} cannot be both a variable and a scope with variables in it",
                given=f"{_told(longer)!r} beside it",
                where=_caller(),
                fix="give one of them another name",
            )


def _check_same(path: Path, value: Any, shape: Sequence[int] | None, dtype: Any) -> None:
    if shape is None:
        shape = value.shape
    if tuple(value.shape) != tuple(shape) or value.dtype != jnp.dtype(dtype):
        raise ScopeError(
            f"variable {_told(path)!r} has another shape or dtype",
            given=describe(value.shape, value.dtype),
            expected=describe(tuple(shape), jnp.dtype(dtype)),
            where=_caller(),
            fix="ask for what is there, or give the new one another name",
        )


def _fold(key: Any, path: Path) -> jax.Array:
    """A key that depends on the path alone: BLAKE2b's first 32 bits of it, folded in."""
    number = int.from_bytes(hashlib.blake2b(_told(path).encode(), digest_size=4).digest())
    return jax.random.fold_in(key, number)


def _told(path: Path) -> str:
    return "/".join(path)


def _caller() -> str:
    """The line outside of this file that called."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename == __file__:
        frame = frame.f_back
    return str(Source(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name))
