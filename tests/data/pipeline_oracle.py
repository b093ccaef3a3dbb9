"""What every verb gives, in plain Python over plain lists: the definitions that the pipelines are compared with.

Each function takes the elements of one epoch, or a function from an epoch's number to them, and returns a list. Two things are not
defined here but asked of the library: the order of a whole-set shuffle, which the tests of `permutation` hold to be a
bijection, and the slots that a buffer draws.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from aidl_jax.data.permutation import bijection, buffer_slots, slot_generator

Epoch = Callable[[int], list[Any]]  # from an epoch's number to its elements


def repeated(epoch: Epoch, count: int) -> Epoch:
    return lambda e: [element for r in range(count) for element in epoch(e * count + r)]


def sharded(elements: Sequence[Any], shards: int, index: int) -> list[Any]:
    return [element for number, element in enumerate(elements) if number % shards == index]


def stacked(elements: Sequence[Any]) -> Any:
    return jax.tree.map(lambda *leaves: np.stack(leaves), *elements)


def windowed(elements: Sequence[Any], size: int, shift: int, stride: int, drop: bool) -> list[Any]:
    groups = [list(elements[first:][::stride][:size]) for first in range(0, len(elements), shift)]
    return [stacked(group) for group in groups if len(group) == size or not drop]


def unbatched(elements: Sequence[Any]) -> list[Any]:
    rows = lambda element: len(jax.tree.leaves(element)[0])  # noqa: E731
    return [
        jax.tree.map(lambda leaf, n=number: leaf[n], element) for element in elements for number in range(rows(element))
    ]


def shuffled(elements: Sequence[Any], seed: int, epoch: int) -> list[Any]:
    n = len(elements)
    order = bijection(np.arange(n), n, seed, np.full(n, epoch)).tolist()
    assert sorted(order) == list(range(n))
    return [elements[place] for place in order]


def buffered(elements: Sequence[Any], size: int, seed: int, epoch: int) -> list[Any]:
    """A shuffle buffer, slowly: one draw, one out, one in; what is left in the end is shuffled as a whole."""
    held, given = list(elements[:size]), []
    random = slot_generator(seed, epoch)
    for element in elements[size:]:
        slot = int(buffer_slots(size, 1, random)[0])
        given.append(held[slot])
        held[slot] = element
    return given + shuffled(held, seed, epoch)


def interleaved(datasets: Sequence[Sequence[Any]], cycle: int, block: int) -> list[Any]:
    """tf.data's rule: a slot gives `block` elements and the next one follows; an empty slot takes a new dataset at its turn."""
    waiting, slots = [list(one) for one in datasets], [None] * cycle
    given: list[Any] = []
    turn = 0
    while waiting or any(slot is not None for slot in slots):
        if slots[turn] is None and waiting:
            slots[turn] = waiting.pop(0)
        here = slots[turn]
        if here is not None:
            given += here[:block]
            slots[turn] = (
                here[block:] if len(here) >= block else None
            )  # one that ends with its turn is found empty at the next
        turn = (turn + 1) % cycle
    return given


def same(one: Any, other: Any) -> bool:
    """Equal to the bit: structure, dtypes, shapes, values."""
    if jax.tree.structure(one) != jax.tree.structure(other):
        return False
    leaves = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(
        np.asarray(a).dtype == np.asarray(b).dtype and np.array_equal(a, b) and np.shape(a) == np.shape(b)
        for a, b in leaves
    )
