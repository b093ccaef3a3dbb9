"""Shuffles of the whole set and of a buffer."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest

import aidl_jax.data as data
from aidl_jax.data import Dataset
from aidl_jax.data.permutation import shuffled
from aidl_jax.data.shuffling import STRETCH
from aidl_jax.errors import DataError


def sequential(size: int) -> Dataset:
    return data.from_generator(lambda: iter(range(size)), jax.ShapeDtypeStruct((), np.int32))


def told(dataset: Dataset) -> list[int]:
    return [int(element) for element in dataset]


SHUFFLES = {
    "whole": lambda seed=0, **how: data.range(50).shuffle(seed=seed, **how),
    "buffer": lambda seed=0, **how: data.range(50).shuffle(8, seed=seed, **how),
    "sequential": lambda seed=0, **how: sequential(50).shuffle(8, seed=seed, **how),
}
each = pytest.mark.parametrize("shuffle", SHUFFLES.values(), ids=SHUFFLES)


@each
def test_a_seed_repeats_and_another_differs(shuffle: Any) -> None:
    assert told(shuffle()) == told(shuffle()) == told(shuffle(seed=0))
    assert told(shuffle(seed=1)) != told(shuffle())
    assert sorted(told(shuffle(seed=1))) == list(range(50))


@each
def test_epochs_differ_unless_they_are_to_be_the_same(shuffle: Any) -> None:
    epochs = np.array(told(shuffle().repeat(3))).reshape(3, 50)
    assert (np.sort(epochs, axis=1) == np.arange(50)).all()
    assert len({tuple(epoch) for epoch in epochs.tolist()}) == 3
    same = np.array(told(shuffle(reshuffle_each_iteration=False).repeat(3))).reshape(3, 50)
    assert (same == epochs[0]).all()


def test_two_going_through_it_see_the_same_order() -> None:
    dataset = data.range(50).shuffle()
    assert told(dataset) == told(dataset)


@pytest.mark.parametrize("count", [data.range, sequential])
def test_a_buffer_as_large_as_the_set_shuffles_all_of_it(count: Any) -> None:
    """In one class nothing is stored, in the other all is; the order is the same."""
    whole = told(data.range(20).shuffle(seed=4).repeat(2))
    for size in (20, 21, 1000):
        assert told(count(20).shuffle(size, seed=4).repeat(2)) == whole
    assert told(count(20).shuffle(19, seed=4).repeat(2)) != whole


@pytest.mark.parametrize("count", [data.range, sequential])
def test_a_buffer_of_one_changes_nothing(count: Any) -> None:
    assert told(count(9).shuffle(1)) == list(range(9))


def test_a_long_epoch_is_the_same_in_stretches_and_alone() -> None:
    size = 2 * STRETCH + 5000
    dataset = data.range(size).shuffle(seed=3).repeat(2)
    whole = np.concatenate([np.asarray(batch) for batch in dataset.batch(5000)])
    for epoch in (0, 1):
        np.testing.assert_array_equal(whole[epoch * size : (epoch + 1) * size], shuffled(size, 3, epoch))
    for position in (0, STRETCH - 1, STRETCH, STRETCH + 1, size - 1, size, size + STRETCH, 2 * size - 1):
        assert dataset.element(position) == whole[position]


def test_shuffling_nothing() -> None:
    for dataset in (data.range(0).shuffle(), data.range(0).shuffle(3), sequential(0).shuffle(3)):
        assert told(dataset) == []


def test_a_class_is_kept_where_an_order_can_be_known() -> None:
    assert data.range(5).shuffle().stage.indexed and data.range(5).shuffle(2).stage.indexed
    assert not data.range(5).repeat().shuffle(2).stage.indexed
    endless = data.range(5).repeat().shuffle(4).take(25)
    assert sorted(told(endless)) != told(endless) and set(told(endless)) == set(range(5))


def test_the_whole_of_what_has_no_end_or_no_positions_is_refused() -> None:
    for dataset in (data.range(5).repeat(), sequential(5)):
        with pytest.raises(
            DataError, match=r"shuffle: only a dataset of the class Indexed, with an end.*shuffle\(10_000\)"
        ):
            dataset.shuffle()


def test_a_buffer_without_room_is_refused() -> None:
    with pytest.raises(DataError, match="shuffle: buffer_size is not a whole number of at least 1: given 0"):
        data.range(5).shuffle(0)


def test_a_jump_in_an_endless_buffer_draws_integers_and_reads_one_block() -> None:
    dataset = data.range(1000).repeat().shuffle(100, seed=1).map(lambda number: number)
    iterator = dataset.iterate()
    for _ in range(20_000):
        next(iterator)
    read: list[int] = []
    stage = dataset.stage.input.input.input  # type: ignore[attr-defined]
    original = type(stage).rows

    def counted(self: Any, at: Any, run: Any) -> Any:
        read.append(len(at))
        return original(self, at, run)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(stage), "rows", counted)
        assert next(dataset.iterate(iterator.state())) == next(iterator)
    assert sum(read) <= 2 * 4096
