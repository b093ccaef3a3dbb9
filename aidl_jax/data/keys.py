"""Keys of places: the ones that a traced map is given, computed outside of it."""

from __future__ import annotations

import jax
import numpy as np

from aidl_jax.data.stage import At
from aidl_jax.errors import DataError

__all__ = ["key_data"]

AT_ONCE = 64  # always as many, so that this is compiled once in a process


def _fold(key: jax.Array, epochs: jax.Array, positions: jax.Array) -> jax.Array:
    keys = jax.vmap(lambda epoch, position: jax.random.fold_in(jax.random.fold_in(key, epoch), position))
    return jax.random.key_data(keys(epochs, positions))


_folded = jax.jit(_fold)


def key_data(seed: int, at: At, where: str) -> np.ndarray:
    """The data of the keys folded from (seed, epoch, position), uint32 [places, ...]: `jax.random.wrap_key_data` makes keys of them.

    >>> data = key_data(7, At.span(2, 5, 6), "map")[0]
    >>> key = jax.random.fold_in(jax.random.fold_in(jax.random.key(7), 2), 5)
    >>> bool((data == jax.random.key_data(key)).all())
    True
    """
    if len(at) and max(at.positions.max(), at.epochs.max()) >= 2**32:
        raise DataError(
            "a key is folded from 32 bits of the position",
            given=str(int(max(at.positions.max(), at.epochs.max()))),
            expected="less than 2**32",
            where=where,
            fix="map before repeat, so that positions begin again with each epoch",
        )
    key, parts = jax.random.key(seed), []
    for first in range(0, len(at), AT_ONCE):
        places = [
            np.resize(each[first : first + AT_ONCE], AT_ONCE).astype(np.uint32) for each in (at.epochs, at.positions)
        ]
        parts.append(np.asarray(_folded(key, *places))[: len(at) - first])
    return np.concatenate(parts) if parts else np.zeros((0, 2), np.uint32)
