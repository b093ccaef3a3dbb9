"""Keys of places: the ones that a traced map is given, computed outside of it."""

from __future__ import annotations

import jax
import numpy as np

from aidl_jax.data.stage import At
from aidl_jax.errors import DataError

__all__ = ["key_data", "key_of", "numbers_of"]

AT_ONCE = 64  # always as many, so that this is compiled once in a process


def key_of(key: jax.Array, epoch: jax.Array, position: jax.Array) -> jax.Array:
    """The key of a place: the seed's key, into which the epoch and then the position are folded."""
    return jax.random.fold_in(jax.random.fold_in(key, epoch), position)


def numbers_of(at: At, where: str) -> tuple[np.ndarray, np.ndarray]:
    """Epochs and positions as keys are folded from them: uint32 [places] each.

    Raises:
        DataError: one of them needs more than 32 bits.
    """
    most = max(at.epochs.max(initial=0), at.positions.max(initial=0))
    if most >= 2**32:
        raise DataError(
            "a key is folded from 32 bits of the position",
            given=str(int(most)),
            expected="less than 2**32",
            where=where,
            fix="map before repeat, so that positions begin again with each epoch",
        )
    return at.epochs.astype(np.uint32), at.positions.astype(np.uint32)


def _fold(key: jax.Array, epochs: jax.Array, positions: jax.Array) -> jax.Array:
    return jax.random.key_data(jax.vmap(key_of, in_axes=(None, 0, 0))(key, epochs, positions))


_folded = jax.jit(_fold)


def key_data(seed: int, at: At, where: str) -> np.ndarray:
    """The data of the keys folded from (seed, epoch, position), uint32 [places, ...]: `jax.random.wrap_key_data` makes keys of them.

    >>> data = key_data(7, At.span(2, 5, 6), "map")[0]
    >>> key = jax.random.fold_in(jax.random.fold_in(jax.random.key(7), 2), 5)
    >>> bool((data == jax.random.key_data(key)).all())
    True
    """
    key, numbers, parts = jax.random.key(seed), numbers_of(at, where), []
    for first in range(0, len(at), AT_ONCE):
        places = [np.resize(each[first : first + AT_ONCE], AT_ONCE) for each in numbers]
        parts.append(np.asarray(_folded(key, *places))[: len(at) - first])
    return np.concatenate(parts) if parts else np.zeros((0, 2), np.uint32)
