"""What traces cleanly and yet changes results: random numbers that freeze, and 64-bit integers that are narrowed."""

from __future__ import annotations

import functools
import inspect
import pickle
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from aidl_jax.errors import DataError

__all__ = ["random_states", "refuse_wide"]


def random_states(fn: Callable[..., Any]) -> list[bytes]:
    """Where the generators of random numbers stand that a function can reach: Python's, NumPy's, and those it names.

    Two traces alone would not always differ: a coin comes up the same way twice in every second try.
    """
    states: list[Any] = [random.getstate(), np.random.get_state()]
    for _, value in _named(fn):
        if isinstance(value, np.random.Generator):
            states.append(value.bit_generator.state)
        elif isinstance(value, np.random.RandomState):
            states.append(value.get_state())
        elif isinstance(value, random.Random):
            states.append(value.getstate())
    return [pickle.dumps(state) for state in states]


def refuse_wide(fn: Callable[..., Any], where: str) -> None:
    """Raises where a function names an integer array that does not fit into 32 bits; JAX would cut it off.

    Raises:
        DataError: with the name.
    """
    for name, value in _named(fn):
        if not isinstance(value, np.ndarray | np.generic) or value.dtype not in (np.int64, np.uint64) or not value.size:
            continue
        if not -(2**31) <= int(value.min()) <= int(value.max()) < 2**32:
            raise DataError(
                "the function uses integers that need 64 bits, which JAX would cut off",
                given=f"{name}: {int(value.min())} to {int(value.max())}",
                where=where,
                fix='compute with them in map(fn, python=True), or switch 64 bits on: jax.config.update("jax_enable_x64", True)',
            )


def _named(fn: Any, seen: frozenset[int] = frozenset()) -> Iterator[tuple[str, Any]]:
    """The values that a function closes over, finds among the globals or has as defaults, by name; and those of functions among them."""
    if isinstance(fn, functools.partial):
        fn = fn.func
    if not inspect.isfunction(fn) or id(fn) in seen:
        return
    found = inspect.getclosurevars(fn)
    defaults = {name: one.default for name, one in inspect.signature(fn).parameters.items()}
    for name, value in {**found.globals, **found.nonlocals, **defaults}.items():
        yield name, value
        if getattr(value, "__module__", None) == fn.__module__:
            yield from _named(value, seen | {id(fn)})
