"""Names: every operation has one of its own, made of the scopes it stands in and what it does."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable
from typing import Any

__all__ = ["argument_names", "clean", "leaf_name", "unique"]


def unique(name: str, taken: dict[str, int]) -> str:
    """The name, or the first of `name_1`, `name_2`, ... that is free; takes it.

    Args:
        name: what it would be called.
        taken: the names that are not free, each with the last number that was tried after it.

    >>> taken = {}
    >>> [unique("layer1/add", taken) for _ in range(3)]
    ['layer1/add', 'layer1/add_1', 'layer1/add_2']
    """
    free, count = name, taken.get(name, 0)
    while free in taken:
        count += 1
        free = f"{name}_{count}"
    taken[free] = 0
    taken[name] = count
    return free


def clean(name: str) -> str:
    """A name of the characters that TensorBoard and a feed's key can have; no scope in it is empty.

    >>> clean("my layer <1>"), clean("/add")
    ('my_layer__1_', 'add')
    """
    parts = re.sub(r"[^\w.\-/]", "_", name).split("/")
    return "/".join(part for part in parts if part) or "_"


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
    keys = list(path)
    if len(keys) > 1 and getattr(keys[-1], "name", None) == "value":
        keys.pop()  # the attribute of a flax.nnx variable that holds its array
    return "/".join(clean(part) for part in (argument, *map(_key, keys)))


def _key(part: Any) -> str:
    for attribute in ("key", "idx", "name"):
        if hasattr(part, attribute):
            return str(getattr(part, attribute))
    return str(part)
