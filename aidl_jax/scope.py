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

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp

from aidl_jax._compat import trace_state
from aidl_jax.errors import ScopeError, close_matches
from aidl_jax.recorder import (
    Call,
    Path,
    Variable,
    caller,
    check_given,
    check_key,
    check_model,
    check_place,
    check_same,
    check_shape,
    check_used,
    fold,
    given_value,
    initial_value,
    names_of,
    told,
)

__all__ = ["AUTO", "Scope", "apply", "init"]

AUTO: Literal["auto"] = "auto"
Reuse = bool | Literal["auto"]


def init(fn: Callable[..., Any]) -> Callable[..., tuple[dict[str, Any], dict[str, Any]]]:
    """The function that makes a model's variables.

    Args:
        fn: a model, `fn(scope, *inputs)`.

    Returns:
        `(key, *inputs) -> (params, model_state)`, both nested dicts by scope. Each variable's key is folded from its path, so that
        adding a layer changes no other layer's values.

    Raises:
        ScopeError: (when it is called) the first argument is no key, or a variable cannot be made.
    """

    check_model(fn)

    def run(key: Any, *inputs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        check_key(key)
        call = Call(key, None, list)
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
        ScopeError: (when it is called) params or model_state is no dict, or a variable is missing, not used, or of another
            shape or dtype.
    """

    check_model(fn)

    def run(
        params: Mapping[str, Any], model_state: Mapping[str, Any], *inputs: Any, key: Any = None
    ) -> tuple[Any, dict[str, Any]]:
        check_given(params, model_state)
        call = Call(key, (params, model_state), partial(_expected, fn, inputs))
        outputs = _run(fn, call, inputs)
        check_used(call)
        return outputs, call.tree(is_trainable=False)

    return run


def _run(fn: Callable[..., Any], call: Call, inputs: Sequence[Any]) -> Any:
    try:
        return fn(Scope(call), *inputs)
    finally:
        call.is_open = False


def _expected(fn: Callable[..., Any], inputs: Sequence[Any]) -> list[str]:
    """The variables that a model makes, without computing them."""
    return names_of(*jax.eval_shape(init(fn), jax.random.key(0), *inputs))


@dataclass(frozen=True)
class Scope:
    """Where a model stands in the tree of its variables: a cursor, passed on by hand.

    Args:
        call: the recorder of the `init` or `apply` that made it.
        path: the names of the scopes around it.
        reuse: what `get_variable` does with a name: False makes it, True finds it, AUTO finds it or makes it.
    """

    call: Call = field(repr=False)
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
        if reuse not in (False, True, AUTO):
            raise ScopeError("there is no such reuse", given=repr(reuse), fix="False, True, or AUTO of aidl_jax.scope")
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
        check_shape(path, shape)
        found = self.call.variables.get(path)
        if found is None:
            if self.reuse is True:
                raise self._absent(path)
            return self._make(path, shape, initializer, jnp.dtype(dtype), trainable)
        if self.reuse is False:
            raise ScopeError(
                f"variable {told(path)!r} is there already",
                given=f"made at {found.made_at}, asked for again at {caller()}",
                fix="give one of them another name, or share it: variable_scope(..., reuse=True) or reuse=AUTO",
            )
        check_same(path, found.value, shape, dtype if shape is not None else found.value.dtype)
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
                f"variable {told(path)!r} is trainable, so only an optimizer changes it",
                fix="make it with get_variable(..., trainable=False)",
            )
        self._check_trace(f"{told(path)!r} is assigned")
        new = jnp.asarray(value)
        check_same(path, found.value, new.shape, new.dtype)
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
                f"{told(path)!r} needs a PRNG key", given="key=None", fix="apply(fn)(..., key=jax.random.key(0))"
            )
        self._check_trace(f"key {told(path)!r} is made")
        count = self.call.keys[path]
        self.call.keys[path] += 1
        return fold(self.call.key, (*path, f"#{count}"))

    def _make(self, path: Path, shape: Any, initializer: Any, dtype: Any, trainable: bool) -> jax.Array:
        self._check_trace(f"variable {told(path)!r} is made")
        check_place(path, self.call.variables)
        if self.call.given is None:
            value = initial_value(self.call.key, path, shape, initializer, dtype)
        else:
            value = given_value(self.call, path, trainable)
            check_same(path, value, value.shape if shape is None else shape, dtype)
        self.call.variables[path] = Variable(value, value, trainable, caller())
        return value

    def _absent(self, path: Path) -> ScopeError:
        names = [told(one) for one in self.call.variables]
        return ScopeError(
            f"variable {told(path)!r} is not there to be reused",
            given=f"asked for at {caller()}",
            expected=f"one of: {', '.join(map(repr, names)) or 'none yet'}",
            fix=close_matches(told(path), names) if names else "make it first, outside of reuse=True",
        )

    def _check_name(self, name: str) -> None:
        if not self.call.is_open:
            raise ScopeError(
                "this scope's init or apply has returned, so it cannot be used any more",
                given=f"{name!r} in scope {told(self.path)!r}",
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
                where=caller(),
                fix="do it before, and use it inside: a variable that is there may be reused anywhere (reuse=True)",
            )
