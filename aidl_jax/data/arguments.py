"""What verbs ask of their arguments."""

from __future__ import annotations

from typing import Any

import numpy as np

from aidl_jax.data.elements import is_fixed, tell_spec
from aidl_jax.data.stage import Stage
from aidl_jax.errors import DataError

__all__ = ["at_least", "check_same_shape"]


def at_least(verb: str, name: str, value: Any, least: int) -> int:
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < least:
        raise DataError(
            f"{name} is not a whole number of at least {least}",
            given=repr(value),
            where=verb,
            fix=f"{verb}({least or 1})",
        )
    return int(value)


def check_same_shape(stage: Stage, verb: str) -> None:
    if not is_fixed(stage.spec):
        raise DataError(
            "elements that differ in shape cannot be stacked",
            given=tell_spec(stage.spec),
            where=verb,
            fix="padded_batch(...), or batch(..., drop_remainder=True) before if they are batches",
        )
