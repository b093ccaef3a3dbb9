"""What verbs ask of their arguments."""

from __future__ import annotations

from typing import Any

import numpy as np

from aidl_jax.data.elements import is_fixed, tell_spec
from aidl_jax.data.stage import Stage
from aidl_jax.errors import DataError

__all__ = ["a_function", "a_seed", "a_stage", "at_least", "check_same_shape"]


def at_least(verb: str, name: str, value: Any, least: int) -> int:
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < least:
        raise DataError(
            f"{name} is not a whole number of at least {least}",
            given=repr(value),
            where=verb,
            fix=f"{name}={least or 1}" if (verb, name) != ("repeat", "count") else "repeat() for epochs without end",
        )
    return int(value)


def a_seed(verb: str, seed: Any) -> int:
    """The seed, if it is one: a whole number that 32 bits hold, as keys are made of them."""
    if not isinstance(seed, int | np.integer) or isinstance(seed, bool) or not 0 <= seed < 2**32:
        raise DataError(
            "a seed is a whole number of at least 0 and below 2**32",
            given=repr(seed),
            where=verb,
            fix="seed=0; there is no order without a seed, so that every run can be repeated",
        )
    return int(seed)


def a_function(verb: str, fn: Any) -> None:
    """Raises where there is no function."""
    if not callable(fn):
        raise DataError(f"{verb} takes a function", given=repr(fn)[:80], where=verb, fix=f"{verb}(lambda element: ...)")


def a_stage(verb: str, dataset: Any) -> Stage:
    """The stage of a dataset, if it is one."""
    stage = getattr(dataset, "stage", None)
    if not isinstance(stage, Stage):
        raise DataError(
            f"{verb} takes datasets",
            given=f"a {type(dataset).__name__}",
            where=verb,
            fix="from_tensor_slices(...) makes one",
        )
    return stage


def check_same_shape(stage: Stage, verb: str) -> None:
    if not is_fixed(stage.spec):
        raise DataError(
            "elements that differ in shape cannot be stacked",
            given=tell_spec(stage.spec),
            where=verb,
            fix="padded_batch(...), or batch(..., drop_remainder=True) before if they are batches",
        )
