"""A pipeline over arrays in memory, taken apart: gathering the rows of its numbers gives its elements."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from aidl_jax import data
from aidl_jax.data.in_memory import row_numbers
from aidl_jax.data.iterator import DataIterator

X = {"a": np.arange(46, dtype=np.float32).reshape(23, 2), "b": np.arange(23, dtype=np.int32)}
SOURCE = data.from_tensor_slices(X)
PIPELINES = {
    "source": SOURCE,
    "batches": SOURCE.batch(5),
    "shuffled": SOURCE.shuffle(seed=3).batch(5, drop_remainder=True).repeat(3),
    "buffer": SOURCE.shuffle(7, seed=1).batch(4).repeat(2),
    "chain": SOURCE.skip(2).take(17).shard(2, 1).shuffle(seed=2).repeat(3).batch(4).prefetch(2),
    "batches of batches": SOURCE.batch(3, drop_remainder=True).shuffle(seed=5).batch(2, drop_remainder=True),
}
NOT_TAKEN_APART = {
    "map": SOURCE.map(lambda row: row).batch(5),
    "padded": SOURCE.padded_batch(5),
    "sequential": SOURCE.repeat().shuffle(5).batch(5),
    "filter": SOURCE.filter(lambda row: row["b"] > 3).batch(5),
    "enumerate": SOURCE.enumerate().batch(5),
    "texts": data.from_tensor_slices(np.array(["a", "b"])),
    "on the device": SOURCE.batch(5).prefetch(2, device=jax.devices()[0]),
}


@pytest.mark.parametrize("name", PIPELINES)
def test_the_numbers_rows_are_the_elements(name):
    dataset = PIPELINES[name]
    arrays, numbers = row_numbers(dataset.stage)
    assert arrays["a"] is not None and jax.tree.structure(arrays) == jax.tree.structure(X)
    rows = list(data.Dataset(numbers))
    wanted = list(dataset)
    assert len(rows) == len(wanted) > 0
    for row, element in zip(rows, wanted, strict=True):
        assert row.dtype == np.int32
        for leaf in ("a", "b"):
            np.testing.assert_array_equal(arrays[leaf][row], element[leaf])


@pytest.mark.parametrize("name", NOT_TAKEN_APART)
def test_what_computes_or_lies_elsewhere_stays_whole(name):
    assert row_numbers(NOT_TAKEN_APART[name].stage) is None


def test_rows_on_disk_stay_there(tmp_path):
    np.save(tmp_path / "x.npy", X["a"])
    assert row_numbers(data.from_tensor_slices(np.load(tmp_path / "x.npy", mmap_mode="r")).batch(2).stage) is None


def test_an_iterator_over_the_numbers_has_the_pipelines_state():
    dataset = PIPELINES["chain"]
    numbers = row_numbers(dataset.stage)[1]
    one, other = dataset.iterate(), DataIterator(dataset.stage, instead=numbers)
    for _ in range(3):
        next(one), next(other)
        assert one.state() == other.state()
    again = DataIterator(dataset.stage, one.state(), instead=numbers)
    np.testing.assert_array_equal(X["b"][next(again)], next(one)["b"])
