"""Parameters by name: choose, count, list, freeze and change them by scope.

A name is a path, `conv1/weights`. A pattern is a name in which `*` stands for anything, "/" included: `conv1/*` is all of that scope,
`*/weights` all weights.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from typing import Any

import jax
import jax.numpy as jnp

from aidl_jax.errors import ScopeError, close_matches

__all__ = ["count", "flat", "l2", "map_selected", "mask", "merge", "names", "nested", "select", "split", "tabulate"]

Params = Mapping[str, Any]


def flat(params: Params) -> dict[str, Any]:
    """The arrays of a nested dict by name.

    >>> flat({"conv1": {"weights": 1, "biases": 2}})
    {'conv1/weights': 1, 'conv1/biases': 2}
    """
    if not isinstance(params, Mapping):
        raise ScopeError(
            "parameters are a nested dict", given=f"a {type(params).__name__}", fix="pass what init returned"
        )
    found: dict[str, Any] = {}
    for key, value in params.items():
        if isinstance(value, Mapping):
            found |= {f"{key}/{name}": leaf for name, leaf in flat(value).items()}
        else:
            found[key] = value
    return found


def nested(leaves: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of `flat`.

    Raises:
        ScopeError: one name is the beginning of another one, `conv1` and `conv1/weights`.

    >>> nested({"conv1/weights": 1, "conv1/biases": 2})
    {'conv1': {'weights': 1, 'biases': 2}}
    """
    tree: dict[str, Any] = {}
    for name, leaf in leaves.items():
        branch = tree
        *scopes, last = name.split("/")
        for scope in scopes:
            branch = branch.setdefault(scope, {})
            if not isinstance(branch, dict):
                raise _clash(name)
        if last in branch:
            raise _clash(name)
        branch[last] = leaf
    return tree


def _clash(name: str) -> ScopeError:
    return ScopeError(
        "a name cannot be both a parameter and a scope with parameters in it", given=repr(name), fix="rename one"
    )


def names(params: Params, *patterns: str) -> list[str]:
    """The names that match any of the patterns; all of them without a pattern.

    Raises:
        ScopeError: a pattern matches nothing.

    >>> names({"conv1": {"weights": 1, "biases": 2}, "dense": {"weights": 3}}, "*/weights")
    ['conv1/weights', 'dense/weights']
    """
    there = list(flat(params))
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in there):
            raise ScopeError("no parameter has such a name", given=repr(pattern), fix=close_matches(pattern, there))
    return [name for name in there if not patterns or any(fnmatchcase(name, pattern) for pattern in patterns)]


def mask(params: Params, *patterns: str) -> dict[str, Any]:
    """True where a name matches, False elsewhere, as `optax.masked` takes it.

    >>> mask({"dense": {"weights": 1, "biases": 2}}, "*/weights")
    {'dense': {'weights': True, 'biases': False}}
    """
    chosen = set(names(params, *patterns))
    return nested({name: name in chosen for name in flat(params)})


def select(params: Params, *patterns: str) -> dict[str, Any]:
    """The parameters whose names match, nested as they were.

    >>> select({"conv1": {"weights": 1, "biases": 2}, "dense": {"weights": 3}}, "conv*")
    {'conv1': {'weights': 1, 'biases': 2}}
    """
    return split(params, *patterns)[0]


def split(params: Params, *patterns: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """What matches, and the rest; `merge` puts them together again.

    To fine-tune a part of a model, differentiate by that part alone; the rest is frozen:

    >>> params = {"body": {"w": jnp.float32(3)}, "head": {"w": jnp.float32(2)}}
    >>> head, frozen = split(params, "head/*")
    >>> loss = lambda head: merge(head, frozen)["head"]["w"] * merge(head, frozen)["body"]["w"]
    >>> jax.tree.map(float, jax.grad(loss)(head))
    {'head': {'w': 3.0}}
    """
    chosen = set(names(params, *patterns))
    leaves = flat(params)
    return (
        nested({name: leaf for name, leaf in leaves.items() if name in chosen}),
        nested({name: leaf for name, leaf in leaves.items() if name not in chosen}),
    )


def merge(*parts: Params) -> dict[str, Any]:
    """The parameters of several nested dicts in one.

    Raises:
        ScopeError: a name is in more than one of them.

    >>> merge({"head": {"w": 1}}, {"body": {"w": 2}})
    {'head': {'w': 1}, 'body': {'w': 2}}
    """
    together: dict[str, Any] = {}
    for part in parts:
        for name, leaf in flat(part).items():
            if name in together:
                raise ScopeError(
                    "two parts have a parameter of the same name", given=repr(name), fix="merge what `split` gave"
                )
            together[name] = leaf
    return nested(together)


def map_selected(fn: Callable[[Any], Any], params: Params, *patterns: str) -> dict[str, Any]:
    """The parameters with a function applied to those whose names match.

    >>> map_selected(lambda leaf: leaf * 10, {"dense": {"weights": 1, "biases": 2}}, "*/biases")
    {'dense': {'weights': 1, 'biases': 20}}
    """
    chosen = set(names(params, *patterns))
    return nested({name: fn(leaf) if name in chosen else leaf for name, leaf in flat(params).items()})


def count(params: Params, *patterns: str) -> int:
    """How many numbers there are in the parameters whose names match.

    >>> count({"dense": {"weights": jnp.ones((30, 20)), "biases": jnp.ones(20)}})
    620
    """
    leaves = flat(params)
    return sum(_size(leaves[name]) for name in names(params, *patterns))


def l2(params: Params, *patterns: str) -> jax.Array:
    """`sum(t ** 2) / 2` over the parameters whose names match, to add to a loss; its gradient is the parameters.

    >>> float(l2({"dense": {"weights": jnp.float32([3, 4]), "biases": jnp.float32([9])}}, "*/weights"))
    12.5
    """
    leaves = flat(params)
    squares = [jnp.sum(jnp.square(leaves[name])) for name in names(params, *patterns)]
    return functools.reduce(jnp.add, squares) / 2 if squares else jnp.zeros(())


def tabulate(params: Params, *patterns: str) -> str:
    """A table: name, shape, dtype and size of each parameter whose name matches, by outermost scope, and the sums.

    >>> print(tabulate({"dense": {"weights": jnp.ones((30, 20)), "biases": jnp.ones(20)}}))
    parameter  shape    dtype    size
    dense                         620
      weights  30 x 20  float32   600
      biases   20       float32    20
    total                         620
    """
    leaves = flat(params)
    groups: dict[str, list[str]] = {}
    for name in names(params, *patterns):
        groups.setdefault(name.partition("/")[0], []).append(name)
    rows = [("parameter", "shape", "dtype", "size")]
    for scope, inside in groups.items():
        if inside != [scope]:
            rows.append((scope, "", "", f"{sum(_size(leaves[name]) for name in inside):,}"))
        rows += [_row(name, leaves[name]) for name in inside]
    rows.append(("total", "", "", f"{count(params, *patterns):,}"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        f"{name:<{widths[0]}}  {shape:<{widths[1]}}  {dtype:<{widths[2]}}  {size:>{widths[3]}}"
        for name, shape, dtype, size in rows
    )


def _row(name: str, leaf: Any) -> tuple[str, str, str, str]:
    scope, _, inside = name.partition("/")
    shape = " x ".join(map(str, jnp.shape(leaf))) or "scalar"
    return f"  {inside}" if inside else scope, shape, str(jnp.result_type(leaf)), f"{_size(leaf):,}"


def _size(leaf: Any) -> int:
    return math.prod(jnp.shape(leaf))
