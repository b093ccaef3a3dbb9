"""reduce: a fold, in order, compiled."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import aidl_jax.data as data
from aidl_jax.errors import DataError

SCALAR = jax.ShapeDtypeStruct((), np.int32)


def generated(size: int) -> data.Dataset:
    return data.from_generator(lambda: iter(range(size)), SCALAR)


@pytest.mark.parametrize("count", [data.range, generated])
@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 5000])
def test_reduce_folds_in_order(count: Any, size: int) -> None:
    expected = 7
    for number in range(size):
        expected = (expected * 31 + number) % 1009
    got = count(size).reduce(7, lambda state, number: (state * 31 + number) % 1009)
    assert int(got) == expected and got.dtype == np.int32 and not got.flags.writeable


def test_a_state_may_be_a_tree_and_a_tuples_parts_are_arguments() -> None:
    pairs = data.zip((data.range(4), data.from_tensor_slices(np.ones((4, 2), np.float32))))
    initial = {"n": 0, "sum": np.zeros(2, np.float32)}
    got = pairs.reduce(initial, lambda state, n, row: {"n": state["n"] + 1, "sum": state["sum"] + n * row})
    assert int(got["n"]) == 4 and got["sum"].tolist() == [6, 6] and isinstance(got["sum"], np.ndarray)


def test_batches_and_their_remainder_are_folded() -> None:
    batches = data.range(10).batch(4)
    assert int(batches.reduce(0, lambda most, batch: jnp.maximum(most, batch.sum()))) == 22
    assert int(batches.reduce(0, lambda count, batch: count + batch.size)) == 10


def test_an_epoch_in_random_order_is_the_first() -> None:
    order = data.range(9).shuffle(seed=1)
    last = order.reduce(-1, lambda state, number: number)
    assert int(last) == int(list(order)[-1])


def test_what_has_no_end_is_not_reduced() -> None:
    with pytest.raises(
        DataError, match=r"reduce: a dataset without end cannot be reduced: given range\(3\).repeat\(\).*take"
    ):
        data.range(3).repeat().reduce(0, lambda state, number: state + number)


@pytest.mark.parametrize(
    ("fn", "given"),
    [
        (lambda state, number: state + number * 0.5, r"float32\[\]"),
        (lambda state, number: (state, number), r"\(int32\[\], int32\[\]\)"),
        (lambda state, number: jnp.stack([state, number]), r"int32\[2\]"),
    ],
)
def test_a_state_stays_what_it_is(fn: Any, given: str) -> None:
    text = rf"reduce\(.*must return a state like the one that it is given: given {given}, expected int32\[\].*np.float32\(0\)"
    with pytest.raises(DataError, match=text):
        data.range(3).reduce(0, fn)


def test_64_bits_of_state_are_not_narrowed() -> None:
    with pytest.raises(DataError, match=r"a leaf has 64 bits, which JAX would narrow to int32 at \[0\]"):
        data.range(3).reduce(np.int64(0), lambda state, number: state)


def test_a_fold_that_cannot_be_traced() -> None:
    with pytest.raises(DataError, match=r"the function of a reduce is traced.*fold it in a Python loop"):
        data.range(3).reduce(0, lambda state, number: number if number > state else state)
