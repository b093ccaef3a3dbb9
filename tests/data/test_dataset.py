"""What a dataset promises as a whole: it is a description, gone through in one of several ways."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
import pytest

import aidl_jax.data as data
from aidl_jax.data import INFINITE, UNKNOWN, EndOfDataError
from aidl_jax.errors import DataError

SCALAR = jax.ShapeDtypeStruct((), np.int32)


def test_the_chain_of_the_lectures() -> None:
    images, labels = np.arange(24, dtype=np.float32).reshape(6, 4), np.arange(6, dtype=np.int32)
    dataset = data.from_tensor_slices((images, labels))
    dataset = dataset.shuffle(buffer_size=6).map(lambda image, label: (image / 2, label)).repeat().batch(4)
    iterator = dataset.make_one_shot_iterator()
    seen = []
    for _ in range(3):
        batch_images, batch_labels = iterator.get_next()
        assert batch_images.shape == (4, 4) and batch_labels.shape == (4,)
        np.testing.assert_array_equal(batch_images, images[batch_labels] / 2)
        seen += batch_labels.tolist()
    assert sorted(seen[:6]) == sorted(seen[6:]) == list(range(6)) and seen[:6] != seen[6:]


def test_a_verb_leaves_its_dataset_as_it_was() -> None:
    dataset = data.range(4)
    longer = dataset.repeat(3).batch(2)
    assert len(dataset) == 4 and len(longer) == 6
    assert [int(number) for number in dataset] == [0, 1, 2, 3]


def test_nothing_is_read_before_it_is_gone_through() -> None:
    started = []

    def count() -> Iterator[int]:
        started.append(1)
        yield 1

    dataset = data.from_generator(count, SCALAR).repeat(2).batch(2).filter(lambda batch: True, python=True)
    assert dataset.element_spec.dtype == np.int32 and not started
    assert len(list(dataset)) == 1 and started


def test_the_end_stays_the_end() -> None:
    for dataset in (data.range(2), data.from_generator(lambda: iter([0, 1]), SCALAR)):
        iterator = dataset.iterate()
        assert [int(iterator.get_next()) for _ in range(2)] == [0, 1]
        for _ in range(2):
            with pytest.raises(EndOfDataError):
                iterator.get_next()
        assert list(iterator) == []
    assert issubclass(EndOfDataError, StopIteration)


def test_iterators_do_not_disturb_each_other() -> None:
    dataset = data.range(5).shuffle(seed=1)
    one, other = dataset.iterate(), dataset.iterate()
    first = [int(next(one)) for _ in range(3)]
    assert [int(next(other)) for _ in range(3)] == first


def test_a_closed_iterator_is_at_its_end() -> None:
    with data.range(5).iterate() as iterator:
        next(iterator)
    assert list(iterator) == []


def test_an_error_leaves_an_indexed_iterator_where_it_stood() -> None:
    """A retry, or a state saved then, loses no element: here a block and its first row alone fail once each."""
    failing = [True] * 2

    class Rows(np.ndarray):
        def __getitem__(self, where: Any) -> Any:
            if failing and failing.pop():
                raise OSError("the disk is away")
            return super().__getitem__(where)

    dataset = data.from_tensor_slices(np.arange(4, dtype=np.int32))
    dataset.stage.leaves[0] = dataset.stage.leaves[0].view(Rows)
    iterator = dataset.iterate()
    with pytest.raises(OSError, match="the disk is away"):
        next(iterator)
    assert iterator.state()["at"] == 0 and [int(number) for number in iterator] == [0, 1, 2, 3]


def test_apply_chains_what_a_function_makes() -> None:
    assert [batch.tolist() for batch in data.range(4).apply(lambda ds: ds.skip(1).batch(2))] == [[1, 2], [3]]


def test_length_and_cardinality() -> None:
    unknown = data.from_generator(lambda: iter([1]), SCALAR)
    assert len(data.range(7).batch(2)) == 4
    assert data.range(3).repeat().cardinality() == INFINITE and unknown.cardinality() is UNKNOWN
    with pytest.raises(TypeError, match=r"this dataset has no length: infinite \(range\(3\)\.repeat\(\)\)"):
        len(data.range(3).repeat())
    with pytest.raises(TypeError, match="this dataset has no length: unknown"):
        len(unknown)


def test_a_dataset_shows_what_it_is() -> None:
    dataset = data.range(9).shuffle(3, seed=2).batch(4)
    assert repr(dataset) == "<Dataset range(9).shuffle(3, seed=2).batch(4): int32[?]>"


def test_an_element_by_position() -> None:
    dataset = data.range(10).shuffle(seed=1).repeat(2).batch(3)
    assert [dataset.element(place).tolist() for place in range(7)] == [batch.tolist() for batch in dataset]
    for position in (-1, 7):
        with pytest.raises(DataError, match=f"element: there is no such position: given {position}, expected 0 to 6"):
            dataset.element(position)


def test_locate_names_what_is_behind_a_batch() -> None:
    dataset = data.range(100, 110).shuffle(seed=1).repeat(2).batch(3)
    origins = dataset.locate(3)
    assert [100 + origin.position for origin in origins] == dataset.element(3).tolist()
    assert [origin.epoch for origin in origins] == [0, 1, 1]


def test_a_sequential_dataset_has_no_positions() -> None:
    dataset = data.range(4).filter(lambda number: number > 1)
    for verb in (dataset.element, dataset.locate):
        with pytest.raises(DataError, match="only a dataset of the class Indexed knows its elements by position"):
            verb(0)
