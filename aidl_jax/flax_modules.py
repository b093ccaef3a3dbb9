"""Flax modules inside scopes: what they make are variables of the scope, under the names that Flax gives them.

>>> import jax.numpy as jnp
>>> from aidl_jax.scope import init
>>> def model(scope, x):
...     return linen_module(scope, "dense", linen.Dense(2), x)
>>> params, _ = init(model)(jax.random.key(0), jnp.ones((1, 3)))
>>> jax.tree.map(jnp.shape, params)
{'dense': {'bias': (2,), 'kernel': (3, 2)}}
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from typing import Any

import jax
from flax import linen, nnx, traverse_util

from aidl_jax.scope import Scope

__all__ = ["linen_module", "nnx_module"]

Leaves = Mapping[tuple[Any, ...], Any]


def linen_module(scope: Scope, name: str, module: linen.Module, *inputs: Any, **options: Any) -> Any:
    """Runs a Flax linen module in a scope of its own.

    Args:
        scope: where.
        name: the scope's name; where it is reused, two calls share the variables.
        module: any linen module. Its `params` are trainable variables; those of other collections (`batch_stats`) are
            variables of the model's state.
        *inputs: what the module is called with.
        **options: its keyword arguments, `train=True`; `rngs={"dropout": scope.make_key()}` for its keys.

    Returns:
        What the module returns.
    """
    rngs = options.pop("rngs", {})

    def make(key: Any) -> Any:
        return _flat(module.init({**rngs, "params": key}, *inputs, **options))

    with scope.variable_scope(name) as inner:
        variables = _variables(inner, make, is_trainable=lambda path: path[0] == "params", place=lambda path: path[1:])
        states = sorted({path[0] for path in variables} - {"params"})
        given = _nested(variables)
        if not states:
            return module.apply(given, *inputs, rngs=rngs, **options)
        outputs, updated = module.apply(given, *inputs, rngs=rngs, mutable=states, **options)
        for path, value in _flat(updated).items():
            _at(inner, path[1:], partial(_assign, value))
        return outputs


def nnx_module(scope: Scope, name: str, make: Callable[[nnx.Rngs], Any], *inputs: Any, **options: Any) -> Any:
    """Runs a Flax nnx module in a scope of its own.

    Args:
        scope: where.
        name: the scope's name; where it is reused, two calls share the variables.
        make: the module's constructor, `lambda rngs: nnx.Linear(3, 2, rngs=rngs)`. Its `nnx.Param`s are trainable variables,
            all others variables of the model's state, but for its random streams, which come from the scope's key.
        *inputs: what the module is called with.
        **options: its keyword arguments.

    Returns:
        What the module returns.
    """
    others = nnx.Not(nnx.Any(nnx.Param, nnx.RngState))

    def leaves(module: Any) -> dict[tuple[Any, ...], Any]:
        kinds = {"params": nnx.state(module, nnx.Param), "state": nnx.state(module, others)}
        return {
            (kind, *path): leaf
            for kind, state in kinds.items()
            for path, leaf in _flat(nnx.to_pure_dict(state)).items()
        }

    with scope.variable_scope(name) as inner:
        module = make(nnx.Rngs(inner.make_key("rngs") if inner.has_key else 0))
        variables = _variables(
            inner,
            lambda key: leaves(make(nnx.Rngs(key))),
            is_trainable=lambda path: path[0] == "params",
            place=lambda path: tuple(map(str, path[1:])),
        )
        for kind, only in (("params", nnx.Param), ("state", others)):
            state = nnx.state(module, only)
            chosen = {path[1:]: leaf for path, leaf in variables.items() if path[0] == kind}
            nnx.replace_by_pure_dict(state, _nested(chosen))
            nnx.update(module, state)
        outputs = module(*inputs, **options)
        for path, value in leaves(module).items():
            if path[0] == "state":
                _at(inner, tuple(map(str, path[1:])), partial(_assign, value))
        return outputs


def _variables(
    scope: Scope,
    make: Callable[[Any], Leaves],
    is_trainable: Callable[[tuple[Any, ...]], bool],
    place: Callable[[tuple[Any, ...]], tuple[str, ...]],
) -> dict[tuple[Any, ...], Any]:
    """A module's variables as the scope's; they are made all at once, when the first one is missing."""
    made: dict[tuple[Any, ...], Any] = {}

    def initial(path: tuple[Any, ...]) -> Any:
        if not made:
            made.update(make(scope.make_key("init")))
        return made[path]

    variables = {}
    for path, leaf in jax.eval_shape(make, jax.random.key(0)).items():

        def get(at: Scope, last: str, path: Any = path, leaf: Any = leaf) -> Any:
            return at.get_variable(last, leaf.shape, lambda *_: initial(path), leaf.dtype, is_trainable(path))

        variables[path] = _at(scope, place(path), get)
    return variables


def _assign(value: Any, scope: Scope, name: str) -> Any:
    return scope.assign(name, value)


def _at(scope: Scope, path: tuple[str, ...], act: Callable[[Scope, str], Any]) -> Any:
    """Does something with a variable that is some scopes further in."""
    with ExitStack() as scopes:
        for name in path[:-1]:
            scope = scopes.enter_context(scope.variable_scope(name))
        return act(scope, path[-1])


def _flat(tree: Any) -> dict[tuple[Any, ...], Any]:
    return dict(traverse_util.flatten_dict(tree))  # type: ignore[no-untyped-call]


def _nested(leaves: Leaves) -> dict[Any, Any]:
    return dict(traverse_util.unflatten_dict(leaves))  # type: ignore[no-untyped-call]
