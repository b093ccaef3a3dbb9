"""choose_from and sample_from: whose turn it is, how often, where it ends, and its states."""

from __future__ import annotations

import json
from typing import Any

import jax
import numpy as np
import pytest

import aidl_jax.data as data
from aidl_jax.data import choose_from, sample_from
from aidl_jax.errors import DataError


def told(dataset: data.Dataset) -> list[int]:
    return [int(element) for element in dataset]


def choices(*places: int) -> data.Dataset:
    return data.from_tensor_slices(np.array(places, np.int32))


def test_each_choice_gives_the_next_of_its_dataset() -> None:
    parts = [data.range(3), data.range(10, 13), data.range(20, 30).filter(lambda number: number % 2 == 0)]
    assert told(choose_from(parts, choices(2, 0, 0, 2, 1, 2))) == [20, 0, 1, 22, 10, 24]
    assert told(choose_from(parts, choices())) == []


def test_it_ends_where_a_chosen_dataset_has_ended() -> None:
    assert told(choose_from([data.range(1), data.range(10, 20)], data.range(2).repeat())) == [0, 10]
    assert told(choose_from([data.range(1).repeat(), data.range(10, 12)], data.range(2).repeat())) == [0, 10, 0, 11, 0]


def test_samples_come_in_proportion_and_differ_by_seed_and_epoch() -> None:
    parts = [data.range(which, which + 1).repeat() for which in range(3)]
    mixed = sample_from(parts, [1, 0, 3], seed=2).take(4000)
    counts = np.bincount(told(mixed), minlength=3)
    assert counts[1] == 0 and abs(counts[2] - 3000) < 5 * np.sqrt(4000 * 0.25 * 0.75)
    assert told(mixed) == told(mixed) != told(sample_from(parts, [1, 0, 3], seed=3).take(4000))
    epochs = np.array(told(mixed.repeat(2))).reshape(2, 4000)
    assert (epochs[0] != epochs[1]).any()
    alike = np.bincount(told(sample_from(parts).take(3000)))
    assert (abs(alike - 1000) < 5 * np.sqrt(3000 * 2 / 9)).all()


def test_samples_are_independent_of_each_other() -> None:
    parts = [data.range(which, which + 1).repeat() for which in range(2)]
    drawn = np.array(told(sample_from(parts).take(5000))) - 0.5
    for apart in (1, 2, 1024):
        assert abs(np.mean(drawn[apart:] * drawn[:-apart])) < 5 * 0.25 / np.sqrt(5000 - apart)


@pytest.mark.parametrize("where", [0, 1, 17, 1500, 2500])
def test_a_state_goes_on(where: int) -> None:
    parts = [data.range(1000).shuffle(seed=1), data.range(1000, 5000).filter(lambda number: number % 2 == 0)]
    dataset = sample_from(parts, [1, 2], seed=4)
    elements = told(dataset)
    assert len(elements) > 2500
    iterator = dataset.iterate()
    for _ in range(where):
        next(iterator)
    text = json.dumps(iterator.state())
    assert len(text) < 1024 and told(dataset.iterate(json.loads(text))) == elements[where:]  # type: ignore[arg-type]


def test_sixteen_datasets_fit_into_a_state() -> None:
    parts = [data.range(2_000_000_000).skip(1_000_000_000).filter(lambda n: n > 0, python=True) for _ in range(16)]
    iterator = sample_from(parts).iterate()
    for _ in range(40):
        next(iterator)
    assert len(json.dumps(iterator.state())) < 1024


def test_elements_may_differ_in_size_and_in_nothing_else() -> None:
    rows = [data.from_tensor_slices(np.zeros((2, size), np.int32)) for size in (3, 4)]
    assert choose_from(rows, choices(0, 1)).element_spec == jax.ShapeDtypeStruct((None,), np.int32)
    with pytest.raises(DataError, match=r"sample_from: the datasets' elements differ: given int32\[3\] and int32\[\]"):
        sample_from([rows[0], data.range(3)])


@pytest.mark.parametrize("weights", [[1], [1, -1], [0, 0], [1, np.nan], [1, np.inf], 3])
def test_weights_that_are_no_proportions(weights: Any) -> None:
    with pytest.raises(
        DataError, match=r"sample_from: the weights are no proportions: given .*, expected 2 numbers of at least 0"
    ):
        sample_from([data.range(2), data.range(2)], weights)


@pytest.mark.parametrize("count", [0, 17])
def test_none_and_too_many_datasets(count: int) -> None:
    for make in (sample_from, lambda parts: choose_from(parts, choices(0))):
        with pytest.raises(DataError, match=f"names a place in each dataset.*given {count} datasets, expected 1 to 16"):
            make([data.range(2)] * count)


def test_choices_that_are_no_places() -> None:
    with pytest.raises(
        DataError, match=r"choose_from: the choices are no integers: given float32\[\], expected places of datasets"
    ):
        choose_from([data.range(2)], data.range(2, dtype=np.float32))
    with pytest.raises(DataError, match="there is no such dataset: given 1, expected 0 to 0"):
        told(choose_from([data.range(2)], choices(0, 1)))
