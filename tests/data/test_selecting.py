"""Verbs that choose and order: take, skip, shard, repeat, concatenate, zip, enumerate; in both classes."""

from __future__ import annotations

from itertools import chain
from typing import Any

import jax
import numpy as np
import pytest

import aidl_jax.data as data
from aidl_jax.data import INFINITE, UNKNOWN, Dataset
from aidl_jax.errors import DataError


def indexed(size: int) -> Dataset:
    return data.range(size)


def sequential(size: int) -> Dataset:
    return data.from_generator(lambda: iter(range(size)), jax.ShapeDtypeStruct((), np.int32), size)


both = pytest.mark.parametrize("count", [indexed, sequential])


def told(dataset: Dataset) -> list[Any]:
    elements = [jax.tree.map(int, element) for element in dataset]
    assert dataset.cardinality() in (UNKNOWN, len(elements))
    return elements


@both
@pytest.mark.parametrize("few", [0, 3, 5, 9])
def test_take_and_skip_part_a_dataset(count: Any, few: int) -> None:
    assert told(count(5).take(few)) == list(range(5))[:few]
    assert told(count(5).skip(few)) == list(range(5))[few:]


@both
def test_shards_part_a_dataset(count: Any) -> None:
    shards = [told(count(7).shard(3, index)) for index in range(3)]
    assert shards == [[0, 3, 6], [1, 4], [2, 5]]
    assert told(count(2).shard(5, 4)) == []


@both
def test_repeat_runs_epochs_one_after_another(count: Any) -> None:
    assert told(count(3).repeat(2)) == [0, 1, 2, 0, 1, 2]
    assert told(count(3).repeat(0)) == []
    assert told(count(2).repeat(2).repeat(2)) == [0, 1] * 4
    assert count(3).repeat().cardinality() == INFINITE
    assert told(count(3).repeat().take(7)) == [0, 1, 2, 0, 1, 2, 0]
    assert told(count(2).repeat().repeat().skip(3).take(3)) == [1, 0, 1]


@both
def test_repeating_nothing_without_end_ends(count: Any) -> None:
    assert told(count(0).repeat()) == []
    assert count(0).repeat().cardinality() == 0


def test_an_epoch_without_elements_ends_an_endless_repeat_and_no_other() -> None:
    """With this seed, the second epoch begins with the element that the filter leaves out."""
    dataset = data.range(4).shuffle(seed=0).take(1).filter(lambda number: number != 1)
    epochs = [told(data.range(4).shuffle(seed=0).repeat().skip(4 * epoch).take(1)) for epoch in range(6)]
    kept = [[number for number in epoch if number != 1] for epoch in epochs]
    assert [] in kept[:-1] and kept[-1] != []
    assert told(dataset.repeat(6)) == list(chain(*kept))
    assert told(dataset.repeat()) == list(chain(*kept[: kept.index([])]))


@both
def test_concatenate_and_zip(count: Any) -> None:
    assert told(count(2).concatenate(data.range(5, 8))) == [0, 1, 5, 6, 7]
    assert told(data.range(5, 8).concatenate(count(0))) == [5, 6, 7]
    assert told(data.zip({"a": count(2), "b": (data.range(5, 9),)})) == [{"a": 0, "b": (5,)}, {"a": 1, "b": (6,)}]
    assert told(data.zip(count(2))) == [0, 1]


def test_concatenated_elements_may_differ_in_size() -> None:
    rows = [data.from_tensor_slices(np.zeros((2, size), np.int32)) for size in (3, 4)]
    dataset = rows[0].concatenate(rows[1])
    assert dataset.element_spec == jax.ShapeDtypeStruct((None,), np.int32)
    assert [dataset.shuffle(seed=1).element(place).shape for place in range(4)].count((4,)) == 2


@pytest.mark.parametrize(
    "other", [np.zeros(3, np.float32), np.zeros((3, 2), np.int32), (np.zeros(3, np.int32),) * 2], ids=str
)
def test_what_differs_cannot_be_concatenated(other: Any) -> None:
    with pytest.raises(DataError, match=r"concatenate: the datasets' elements differ: given int32\[\] and "):
        data.range(3).concatenate(data.from_tensor_slices(other))
    with pytest.raises(DataError, match=r"concatenate: the datasets' elements differ: given .* and int32\[\]"):
        data.from_tensor_slices(other).concatenate(data.range(3))


def test_an_epoch_without_end_hides_what_follows() -> None:
    dataset = data.range(2).repeat().concatenate(data.range(9, 10))
    assert dataset.cardinality() == INFINITE
    assert told(dataset.take(3)) == [0, 1, 0]


@both
def test_enumerate_numbers_elements(count: Any) -> None:
    assert told(count(3).enumerate()) == [(0, 0), (1, 1), (2, 2)]
    assert told(count(2).enumerate(start=5)) == [(5, 0), (6, 1)]
    assert told(count(2).enumerate().repeat(2)) == [(0, 0), (1, 1)] * 2
    number, _ = next(iter(count(1).enumerate()))
    assert number.dtype == np.int32


@both
def test_enumerate_refuses_what_int32_does_not_hold(count: Any) -> None:
    assert told(count(2).enumerate(start=2**31 - 2))[-1] == (2**31 - 1, 1)
    with pytest.raises(
        DataError, match=r"enumerate: counting went beyond what int32 holds: given 2147483648, expected"
    ):
        list(count(3).enumerate(start=2**31 - 2))


def test_origins_stand_in_the_order_of_the_elements() -> None:
    parts = data.range(3).concatenate(data.from_tensor_slices(np.arange(10, 13, dtype=np.int32)))
    batches = parts.shuffle(seed=4).batch(6)
    [values] = batches
    where = [(origin.source, origin.position) for origin in batches.locate(0)]
    assert where == [("range", v) if v < 10 else ("from_tensor_slices", v - 10) for v in values.tolist()]


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda ds: ds.take(-1), r"take: count is not a whole number of at least 0: given -1\. Fix: count=1"),
        (lambda ds: ds.skip(1.5), "skip: count is not a whole number of at least 0: given 1.5"),
        (lambda ds: ds.repeat(-1), "repeat: count is not a whole number of at least 0: given -1"),
        (lambda ds: ds.shard(0, 0), "shard: num_shards is not a whole number of at least 1: given 0"),
        (lambda ds: ds.shard(3, 3), "shard: there is no such shard: given 3, expected 0 to 2"),
        (lambda ds: ds.take(True), "take: count is not a whole number of at least 0: given True"),
        (lambda ds: data.zip((ds, 3)), r"zip takes datasets: given a int\. Fix: zip\(\(images, labels\)\)"),
        (lambda ds: data.zip(()), r"zip takes at least one dataset: given \(\)"),
    ],
)
def test_what_no_verb_can_do(call: Any, text: str) -> None:
    with pytest.raises(DataError, match=text):
        call(data.range(5))


def test_parts_of_a_zip_stay_together_after_errors() -> None:
    """The second part fails twice where the first has already given its element."""

    class Flaky:
        def __init__(self) -> None:
            self.next, self.failures = 0, 2

        def __iter__(self) -> Flaky:
            return self

        def __next__(self) -> int:
            if self.next == 2 and self.failures:
                self.failures -= 1
                raise OSError("the disk is away")
            self.next += 1
            return self.next - 1

    flaky = data.from_generator(Flaky, jax.ShapeDtypeStruct((), np.int32))
    dataset = data.zip((sequential(5), flaky))
    iterator = dataset.iterate()
    got = [next(iterator), next(iterator)]
    for _ in range(2):
        with pytest.raises(DataError, match="the generator raised an error: given OSError: the disk is away"):
            next(iterator)
        assert iterator.state()["at"] == [2, 2]
    assert [tuple(map(int, pair)) for pair in got + list(iterator)] == [(n, n) for n in range(5)]
