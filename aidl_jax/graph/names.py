"""Names: every operation has one of its own, made of the scopes it stands in and what it does."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable
from typing import Any

__all__ = ["argument_names", "clean", "leaf_name", "unique"]


def unique(name: str, taken: set[str]) -> str:
    """The name, or the first of `name_1`, `name_2`, ... that is free; takes it.

    >>> taken = set()
    >>> [unique("layer1/add", taken) for _ in range(3)]
    ['layer1/add', 'layer1/add_1', 'layer1/add_2']
    """
    free, count = name, 0
    while free in taken:
        count += 1
        free = f"{name}_{count}"
    taken.add(free)
    return free


def clean(name: str) -> str:
    """A name of the characters that TensorBoard and a feed's key can have.

    >>> clean("my layer <1>")
    'my_layer__1_'
    """
    return re.sub(r"[^A-Za-z0-9_.\-/]", "_", name) or "_"


def argument_names(fn: Callable[..., Any], count: int) -> list[str]:
    """What a function calls its first arguments: `x`, `rest/0`; `argument_0` where it does not say.

    >>> argument_names(lambda x, *rest: x, 3)
    ['x', 'rest/0', 'rest/1']
    """
    try:
        parameters = list(inspect.signature(fn).parameters.values())
    except (TypeError, ValueError):
        return [f"argument_{number}" for number in range(count)]
    names = [one.name for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    rest = next((one.name for one in parameters if one.kind is one.VAR_POSITIONAL), "argument")
    return [*names[:count], *(f"{rest}/{number}" for number in range(count - len(names)))]


def leaf_name(argument: str, path: Iterable[Any]) -> str:
    """An argument's part by its path: `params/layer1/w`.

    >>> import jax
    >>> leaf_name("params", jax.tree_util.tree_flatten_with_path({"w": 1})[0][0][0])
    'params/w'
    """
    parts = [clean(_key(part)) for part in path]
    if len(parts) > 1 and parts[-1] == "value":  # flax.nnx keeps an array in its variable's `value`
        parts.pop()
    return "/".join([clean(argument), *parts])


def _key(part: Any) -> str:
    for attribute in ("key", "idx", "name"):
        if hasattr(part, attribute):
            return str(getattr(part, attribute))
    return str(part)
