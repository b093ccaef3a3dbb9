"""The random numbers of `jax.random`, computed in NumPy, so that a check need not ask JAX in the student's process.

They are those of JAX's default key (`threefry2x32`, `jax_threefry_partitionable` on). The cipher is Threefry-2x32 with
20 rounds (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011).
"""

from __future__ import annotations

from statistics import NormalDist

import numpy as np

__all__ = ["fold_in", "normal", "threefry", "uniform"]

ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
PARITY = 0x1BD11BDA  # the third word of the key schedule is this, xor the two words of the key


def threefry(key: np.ndarray, high: np.ndarray, low: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Enciphers counters with a key.

    Args:
        key: uint32 [2].
        high: uint32 [n], the first words of the counters.
        low: uint32 [n], the second words.

    Returns:
        Two words for each counter, uint32 [n] each.

    >>> [hex(word[0]) for word in threefry(np.zeros(2, np.uint32), np.zeros(1, np.uint32), np.zeros(1, np.uint32))]
    ['0x6b200159', '0x99ba4efe']
    """
    schedule = np.array([key[0], key[1], key[0] ^ key[1] ^ np.uint32(PARITY)], np.uint32)
    one, other = high + schedule[:1], low + schedule[1:2]  # arrays, not scalars: their sums wrap around silently
    for block in range(5):
        for bits in ROTATIONS[block % 2]:
            one = one + other
            other = (other << np.uint32(bits) | other >> np.uint32(32 - bits)) ^ one
        one = one + schedule[[(block + 1) % 3]]
        other = other + schedule[[(block + 2) % 3]] + np.uint32(block + 1)
    return one, other


def fold_in(key: np.ndarray, number: int) -> np.ndarray:
    """The key that `jax.random.fold_in(key, number)` makes, uint32 [2], for a number of 0 to 2**32 - 1.

    >>> fold_in(np.array([0, 42], np.uint32), 7).tolist()
    [2547012911, 1371500959]
    """
    return np.concatenate(threefry(key, np.zeros(1, np.uint32), np.array([number], np.uint32)))


def uniform(key: np.ndarray, size: int) -> np.ndarray:
    """The numbers that `jax.random.uniform(key, (size,), minval=nextafter(-1, 0), maxval=1)` draws, float32 [size].

    >>> uniform(np.array([0, 42], np.uint32), 2).tolist()
    [-0.02258080244064331, 0.3595944046974182]
    """
    one, other = threefry(key, np.zeros(size, np.uint32), np.arange(size, dtype=np.uint32))
    mantissa = (one ^ other) >> np.uint32(9)  # 23 bits: as many as a float32 from 1 up to 2 has after the point
    above = (mantissa | np.uint32(0x3F800000)).view(np.float32) - np.float32(1)
    return above * np.float32(2) + np.nextafter(np.float32(-1), np.float32(0))


def normal(key: np.ndarray, size: int) -> np.ndarray:
    """The numbers that `jax.random.normal(key, (size,))` draws, float64 [size].

    JAX makes u of `uniform` into sqrt(2) * erfinv(u), a quantile of the normal distribution, with a polynomial in
    float32; this is the quantile itself. Over all values of u the two differ by 50 eps(float32) of the number at most.

    >>> normal(np.array([0, 42], np.uint32), 2).round(6).tolist()
    [-0.028305, 0.467132]
    """
    return np.array([NormalDist().inv_cdf((1 + float(u)) / 2) for u in uniform(key, size)])
