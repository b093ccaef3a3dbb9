"""What a dataset promises as a whole: it is a description, gone through in one of several ways."""

from __future__ import annotations

import json
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
    with pytest.raises(DataError, match="element: there is no such position: given 7, expected 0 to 6"):
        dataset.element(7)
    for position in (-1, 1.5, True, "a"):
        with pytest.raises(DataError, match="element: the position is not a whole number of at least 0"):
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


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda ds: ds.map(3), "map takes a function: given 3"),
        (lambda ds: ds.filter(None), "filter takes a function"),
        (lambda ds: ds.flat_map(3), "flat_map takes a function"),
        (lambda ds: ds.reduce(0, 3), "reduce takes a function"),
        (lambda ds: ds.shuffle(3, seed=None), "a seed is a whole number of at least 0"),
        (lambda ds: ds.shuffle(seed=4.5), "a seed is a whole number"),
        (lambda ds: ds.map(lambda k, n: n, keyed=True, seed=2**40), "a seed is a whole number .*below"),
        (lambda ds: ds.concatenate([1]), "concatenate takes datasets: given a list"),
        (lambda ds: ds.apply(lambda d: None), "apply takes datasets: given a NoneType"),
        (lambda ds: ds.enumerate(0.5), "enumerate: start is not a whole number"),
        (lambda ds: ds.repeat(-1), r"repeat: count is not a whole number of at least 0: given -1. Fix: repeat\(\)"),
        (lambda ds: data.zip(ds, ds), "zip takes one pytree of datasets: given 2 arguments"),
        (lambda ds: data.range(5.0), "range takes one to three whole numbers"),
        (lambda ds: data.choose_from([ds], [0]), "choose_from takes datasets"),
        (lambda ds: data.sample_from([1]), "sample_from takes datasets"),
        (lambda ds: data.from_generator(lambda: iter([1]), np.int32), "a spec is a pytree of jax.ShapeDtypeStruct"),
        (
            lambda ds: next(data.from_generator(lambda: None, SPEC).iterate()),
            "makes nothing that can be gone through: given a NoneType",
        ),
    ],
)
def test_misuse_is_told(call, told):
    with pytest.raises(DataError, match=told):
        call(data.range(4))


SPEC = jax.ShapeDtypeStruct((), np.int32)


def test_the_end_says_what_ended():
    iterator = data.range(1).iterate()
    next(iterator)
    for _ in range(2):
        with pytest.raises(data.EndOfDataError, match=r"the data end here: range\(1\)\. Use `for`, or repeat\(\)"):
            iterator.get_next()
    assert repr(iterator) == "<DataIterator range(1) at its end>"


def test_numbers_of_numpy_make_the_same_pipeline():
    plain, numpy = data.range(9).shard(2, 1).batch(2), data.range(9).shard(np.int64(2), np.int64(1)).batch(np.int64(2))
    assert str(plain) == str(numpy)
    generated = data.from_generator(lambda: iter(range(9)), SPEC).shard(np.int64(2), np.int64(0)).iterate()
    json.dumps(generated.state())


def test_a_state_that_would_be_too_large_is_refused():
    inner = lambda x: data.range(100).interleave(lambda y: data.range(50), cycle_length=16)  # noqa: E731
    iterator = data.range(100).interleave(inner, cycle_length=16).iterate()
    for _ in range(300):
        next(iterator)
    with pytest.raises(DataError, match="the place in this pipeline takes more than a state may"):
        iterator.state()
