"""Random orders of integers: a keyed bijection that needs no memory, and the order in which a shuffle buffer gives things out.

The bijection is a Feistel network over 2**bits numbers with a keyed 32-bit hash for a round function (M. Luby, C. Rackoff,
"How to construct pseudorandom permutations", 1988). Numbers that fall outside of [0, n) go through it again until they fall inside
("cycle walking": J. Black, P. Rogaway, "Ciphers with arbitrary finite domains", 2002).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import lru_cache, partial

import numpy as np

__all__ = ["bijection", "buffer_order", "buffer_slots", "buffer_steps", "generator", "shuffled", "slot_generator"]

ROUNDS = 6
SMALL = 4096  # up to here an epoch's order is drawn as a whole: few bits make a poor network


def bijection(positions: np.ndarray, n: int, seed: int, epochs: np.ndarray) -> np.ndarray:
    """Where a shuffle of 0, ..., n-1 sends each position, without the others.

    Args:
        positions: int64 [k], each in [0, n).
        n: how many there are; at most 2**62.
        seed: of the shuffle.
        epochs: int64 [k]: each epoch has another order.

    Returns:
        int64 [k]. For one seed and one epoch, no number comes twice.

    >>> bijection(np.arange(5), 5, 0, np.zeros(5, int)).tolist()
    [1, 3, 4, 2, 0]
    """
    if len(epochs) and epochs[0] == epochs[-1] and (epochs == epochs[0]).all():
        return _permuted(positions, n, seed, int(epochs[0]))
    shuffled = np.empty_like(positions)
    for epoch in np.unique(epochs):
        here = epochs == epoch
        shuffled[here] = _permuted(positions[here], n, seed, int(epoch))
    return shuffled


@lru_cache(maxsize=256)
def round_keys(seed: int, epoch: int) -> tuple[int, ...]:
    """A 32-bit key for each round."""
    digest = hashlib.blake2b(f"{seed},{epoch}".encode(), digest_size=4 * ROUNDS).digest()
    return tuple(int.from_bytes(digest[4 * i : 4 * i + 4], "little") for i in range(ROUNDS))


def _permuted(positions: np.ndarray, n: int, seed: int, epoch: int) -> np.ndarray:
    if n <= SMALL:
        return _small(n, seed, epoch)[positions]
    keys, bits = round_keys(seed, epoch), (n - 1).bit_length()
    kind = np.uint32 if bits <= 32 else np.uint64
    send: Callable[[np.ndarray], np.ndarray] = partial(_feistel, bits=bits, keys=keys)
    if len(positions) == n:  # all of them: where a number goes is computed once, and then looked up
        send = send(np.arange(2**bits, dtype=kind)).__getitem__
    shuffled = send(positions.astype(kind))
    outside = np.flatnonzero(shuffled >= n)
    while len(outside):
        shuffled[outside] = send(shuffled[outside])
        outside = outside[shuffled[outside] >= n]
    return shuffled.astype(np.int64)


@lru_cache(maxsize=64)
def _small(n: int, seed: int, epoch: int) -> np.ndarray:
    return generator(seed, epoch).permutation(n)


def _feistel(numbers: np.ndarray, bits: int, keys: tuple[int, ...]) -> np.ndarray:
    """One pass through all rounds, each of which mixes the lower part into the upper and lets them change places."""
    kind = numbers.dtype.type
    low, high = bits // 2, bits - bits // 2
    lower = (numbers & kind(2**low - 1)).astype(np.uint32, copy=False)
    upper = (numbers >> kind(low)).astype(np.uint32, copy=False)
    for key in keys:
        mixed = _hash(lower, np.uint32(key))
        mixed &= np.uint32(2**high - 1)
        mixed ^= upper
        lower, upper = mixed, lower
        low, high = high, low
    return (upper.astype(kind, copy=False) << kind(low)) | lower


def _hash(numbers: np.ndarray, key: np.uint32) -> np.ndarray:
    """The finalizer of MurmurHash3 (A. Appleby, public domain), keyed before."""
    mixed = numbers ^ key
    mixed ^= mixed >> np.uint32(16)
    mixed *= np.uint32(0x85EBCA6B)
    mixed ^= mixed >> np.uint32(13)
    mixed *= np.uint32(0xC2B2AE35)
    mixed ^= mixed >> np.uint32(16)
    return mixed


def buffer_order(n: int, size: int, seed: int, epoch: int) -> np.ndarray:
    """The order in which a buffer of `size` gives out 0, ..., n-1, as tf.data's `shuffle` defines it.

    The buffer is filled; then, again and again, one of its elements is drawn and given out, and the next of the input takes
    its place; at the end what is left is shuffled as a whole.

    Returns:
        int64 [n].

    >>> buffer_order(6, 2, seed=0, epoch=0).tolist()
    [1, 0, 3, 2, 5, 4]
    """
    size = min(size, n)
    if size == n:
        return shuffled(n, seed, epoch)
    slots = buffer_slots(size, n - size, slot_generator(seed, epoch))
    given, left = buffer_steps(np.arange(size), slots, size)
    return np.concatenate([given, left[shuffled(size, seed, epoch)]])


def buffer_steps(held: np.ndarray, slots: np.ndarray, coming: int) -> tuple[np.ndarray, np.ndarray]:
    """Many steps of a buffer at once.

    Step t gives out what stands in slot r[t], which is what was put there at the last step before t that drew the same slot: a stable
    sort by slot finds those for all steps.

    Args:
        held: what stands in each slot, int64 [size].
        slots: the slots drawn, int64 [steps].
        coming: the number that the first step puts in; each step's is one more.

    Returns:
        What the steps give out, int64 [steps], and what stands in each slot in the end, int64 [size].
    """
    if not len(slots):
        return slots, held
    by_slot = np.argsort(slots.astype(np.uint16) if len(held) <= 2**16 else slots, kind="stable")
    first = np.ones(len(by_slot), bool)
    first[1:] = slots[by_slot[1:]] != slots[by_slot[:-1]]
    previous = np.empty(len(by_slot), np.int64)
    previous[1:] = by_slot[:-1] + coming  # step t puts t + coming into its slot
    previous[first] = held[slots[by_slot[first]]]
    given = np.empty(len(by_slot), np.int64)
    given[by_slot] = previous
    left, last = held.copy(), by_slot[np.append(first[1:], True)]
    left[slots[last]] = last + coming
    return given, left


def shuffled(n: int, seed: int, epoch: int) -> np.ndarray:
    """All of 0, ..., n-1 in the order of a whole-set shuffle: int64 [n]."""
    return bijection(np.arange(n), n, seed, np.full(n, epoch))


def slot_generator(seed: int, epoch: int) -> np.random.Generator:
    """What a buffer's slots are drawn with."""
    return generator(seed, epoch, 1)


def buffer_slots(size: int, count: int, random: np.random.Generator) -> np.ndarray:
    """The next `count` slots of a buffer of `size`: int64 [count]. In one piece or in several, they are the same."""
    return random.integers(0, size, count, dtype=np.int64)


def generator(seed: int, *parts: int) -> np.random.Generator:
    """NumPy's Philox, keyed by numbers: the same on every machine."""
    digest = hashlib.blake2b(",".join(map(str, (seed, *parts))).encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest, "little")))
