"""scan, unique, bucket_by_length against plain Python, their states, and what they refuse."""

from __future__ import annotations

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aidl_jax import data
from aidl_jax.errors import DataError

NUMBERS = np.array([3, 1, 3, 2, 1, 5, 3], np.int32)
SIZES = [2, 9, 4, 1, 3, 7, 2, 5]
RAGGED = data.from_generator(
    lambda: (np.full(size, number, np.float32) for number, size in enumerate(SIZES)),
    jax.ShapeDtypeStruct((None,), np.float32),
)


def running(total, number):
    return total + number, (total, number * 2)


def bucketed(**options):
    return RAGGED.bucket_by_length(len, [3, 6], [2, 3, 1], **options)


def test_scan_hands_a_state_on():
    got = [(int(a), int(b)) for a, b in data.from_tensor_slices(NUMBERS).scan(10, running)]
    before = 10 + np.concatenate([[0], np.cumsum(NUMBERS)[:-1]])
    assert got == list(zip(before.tolist(), (NUMBERS * 2).tolist(), strict=True))


def test_each_epoch_of_a_scan_begins_anew():
    twice = data.range(4).scan(0, lambda total, n: (total + n, total + n)).repeat(2)
    assert [int(n) for n in twice] == [0, 1, 3, 6, 0, 1, 3, 6] and twice.cardinality() == 8


def test_unique_keeps_the_first_of_equals():
    assert [int(n) for n in data.from_tensor_slices(NUMBERS).unique()] == [3, 1, 2, 5]
    pairs = {"a": np.array([[1, 2], [2, 1], [1, 2]]), "b": np.array([0.0, 0.0, 0.0])}
    assert [element["a"].tolist() for element in data.from_tensor_slices(pairs).unique()] == [[1, 2], [2, 1]]
    texts = data.from_tensor_slices(np.array(["a", "b", "a"]))
    assert [element[()] for element in texts.unique()] == ["a", "b"]
    several = data.from_tensor_slices(np.array([np.nan, 0.0, -0.0, np.nan]))
    assert len(list(several.unique())) == 3


def test_elements_of_other_shapes_are_not_equal():
    ragged = data.from_generator(
        lambda: iter([np.zeros((1, 2), np.int32), np.zeros((2, 1), np.int32)]),
        jax.ShapeDtypeStruct((None, None), np.int32),
    )
    assert len(list(ragged.unique())) == 2


def test_buckets_hold_elements_of_like_length():
    got = [batch[:, 0].astype(int).tolist() for batch in bucketed()]
    held, expected = {0: [], 1: [], 2: []}, []
    for number, size in enumerate(SIZES):
        bucket = 0 if size < 3 else 1 if size < 6 else 2
        held[bucket].append(number)
        if len(held[bucket]) == [2, 3, 1][bucket]:
            expected.append(held.pop(bucket))
            held[bucket] = []
    assert got == expected + [held[bucket] for bucket in range(3) if held[bucket]]


def test_a_batch_is_as_wide_as_its_longest():
    for batch in bucketed(padding_values=-1):
        sizes = [SIZES[int(row[0])] for row in batch]
        assert batch.shape == (len(sizes), max(sizes))
        assert all((row[:size] >= 0).all() and (row[size:] == -1).all() for row, size in zip(batch, sizes, strict=True))


def test_what_is_left_can_be_dropped():
    kept = [len(batch) for batch in bucketed(drop_remainder=True)]
    assert set(kept) <= {1, 2, 3} and sum(kept) == 8 - (len(list(bucketed())) - len(kept)) * 1
    same = RAGGED.bucket_by_length(len, [4], [2, 2], drop_remainder=True)
    assert same.element_spec.shape == (2, None) and bucketed().element_spec.shape == (None, None)


@pytest.mark.parametrize(
    "dataset",
    [data.range(9).scan(0, lambda s, n: (s + n, s * n)), data.from_tensor_slices(NUMBERS).unique(), bucketed()],
    ids=["scan", "unique", "bucket_by_length"],
)
def test_every_state_goes_on_where_it_was(dataset):
    dataset = dataset.repeat(2)
    whole, iterator = [element.tolist() for element in dataset], dataset.iterate()
    for number in range(len(whole) + 1):
        state = json.loads(json.dumps(iterator.state()))
        assert [element.tolist() for element in dataset.iterate(state)] == whole[number:]
        if number < len(whole):
            next(iterator)


def test_an_error_loses_nothing():
    fails = [True]

    def length(row):
        if row[0] == 2 and fails.pop():
            raise OSError("busy")
        return len(row)

    fails += [False] * 20
    iterator = RAGGED.bucket_by_length(length, [3], [1, 1]).iterate()
    got = []
    fails.append(True)
    for _ in SIZES:
        try:
            got.append(next(iterator))
        except DataError:
            got.append(next(iterator))
    assert [int(batch[0, 0]) for batch in got] == list(range(8))


def test_the_plan_says_how_they_resume():
    assert "resumed by going through the epoch again" in data.range(3).unique().explain()
    assert data.range(3).unique().cardinality() is data.UNKNOWN and data.range(0).unique().cardinality() == 0


def test_error_a_scan_without_output():
    with pytest.raises(
        DataError, match="the function of a scan must return a state like the one that it is given, and an output"
    ):
        data.range(3).scan(0, lambda state, n: state + n)
    with pytest.raises(DataError, match="the function of a scan must return a state like"):
        data.range(3).scan(0, lambda state, n: (state + jnp.float32(1), n))


def test_errors_of_buckets():
    with pytest.raises(DataError, match=r"boundaries must rise: given \[6, 3\]"):
        RAGGED.bucket_by_length(len, [6, 3], [1, 1, 1])
    with pytest.raises(DataError, match=r"each bucket needs a batch size of at least 1.*expected 3 of them"):
        RAGGED.bucket_by_length(len, [3, 6], [1, 1])
    with pytest.raises(DataError, match=r"at element 0: a length is one whole number: given 2\.5"):
        next(RAGGED.bucket_by_length(lambda row: 2.5, [3], [1, 1]).iterate())
    with pytest.raises(DataError, match=r"at element 0: the length function raised an error.*ZeroDivisionError"):
        next(RAGGED.bucket_by_length(lambda row: 1 // 0, [3], [1, 1]).iterate())
