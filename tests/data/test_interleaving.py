"""flat_map and interleave, against the example in tf.data's documentation and by their definition."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
import pytest
from pipeline_oracle import interleaved

import aidl_jax.data as data
from aidl_jax.data import UNKNOWN
from aidl_jax.errors import DataError

SCALAR = jax.ShapeDtypeStruct((), np.int32)


def told(dataset: data.Dataset) -> list[int]:
    return [int(element) for element in dataset]


def times(count: int) -> Any:
    return lambda number: data.range(int(number), int(number) + 1).repeat(count)


def test_the_example_of_tf_data() -> None:
    """https://www.tensorflow.org/api_docs/python/tf/data/Dataset#interleave"""
    dataset = data.range(1, 6).interleave(times(6), cycle_length=2, block_length=4)
    expected = [1, 1, 1, 1, 2, 2, 2, 2, 1, 1, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 3, 3, 4, 4, 5, 5, 5, 5, 5, 5]
    assert told(dataset) == expected


def test_flat_map_is_one_dataset_after_another() -> None:
    assert told(data.range(4).flat_map(lambda n: data.range(int(n)))) == [0, 0, 1, 0, 1, 2]
    pairs = data.zip((data.range(3), data.range(3, 6))).flat_map(lambda a, b: data.range(int(a), int(b)))
    assert told(pairs) == [0, 1, 2, 1, 2, 3, 2, 3, 4]
    assert told(data.range(2).flat_map(lambda n: data.range(2).map(lambda m: m + 10))) == [10, 11] * 2


@pytest.mark.parametrize("cycle", [1, 2, 3, 5, 16])
@pytest.mark.parametrize("block", [1, 2, 3])
def test_interleave_is_its_definition(cycle: int, block: int) -> None:
    lengths = [3, 0, 5, 1, 4, 0, 2]

    def numbers(which: Any) -> data.Dataset:
        return data.range(10 * int(which), 10 * int(which) + lengths[int(which)])

    expected = interleaved([list(range(10 * n, 10 * n + length)) for n, length in enumerate(lengths)], cycle, block)
    assert told(data.range(7).interleave(numbers, cycle_length=cycle, block_length=block)) == expected


def test_a_dataset_without_end_keeps_its_slot() -> None:
    dataset = data.range(3).interleave(lambda n: data.range(int(n), 10).take(1).repeat(), cycle_length=2)
    assert told(dataset.take(6)) == [0, 1, 0, 1, 0, 1]


def test_how_many_there_are_is_not_known() -> None:
    assert data.range(2).flat_map(times(2)).cardinality() is UNKNOWN
    assert data.range(0).flat_map(times(2), spec=SCALAR).cardinality() == 0
    assert told(data.range(0).flat_map(times(2), spec=SCALAR)) == []


def test_datasets_draw_for_the_epoch_they_are_in() -> None:
    dataset = data.range(1).flat_map(lambda n: data.range(20).shuffle(seed=3)).repeat(2)
    first, second = np.array(told(dataset)).reshape(2, 20).tolist()
    assert first != second and first == told(data.range(20).shuffle(seed=3))


@pytest.mark.parametrize("outer", ["indexed", "generator", "filtered"])
def test_sixteen_open_datasets_fit_into_a_state(outer: str) -> None:
    """Long positions and a nested state in every slot; the text of the pipeline at its longest."""
    start = 1_000_000_000
    sources = {
        "indexed": lambda: data.range(start, start + 40),
        "generator": lambda: data.from_generator(lambda: iter(range(start, start + 40)), SCALAR),
        "filtered": lambda: data.range(start, start + 40).filter(lambda number: number > 0),
    }

    def inner(number: Any) -> data.Dataset:
        return data.range(int(number) % 100, int(number) % 100 + 5).filter(lambda n: n >= 0, python=True)

    dataset = sources[outer]().interleave(inner, cycle_length=16, block_length=2)
    for _ in range(40):
        dataset = dataset.skip(0)
    elements = told(dataset)
    iterator = dataset.iterate()
    for step in range(len(elements)):
        if step % 23 == 0 or step == 90:
            text = json.dumps(iterator.state())
            restored = dataset.iterate(json.loads(text))
            assert len(text) < 1024
            assert [int(next(restored)) for _ in elements[step : step + 3]] == elements[step : step + 3]
        next(iterator)


def test_what_a_dataset_opens_is_closed_when_it_has_ended() -> None:
    log: list[str] = []

    def source(number: Any) -> data.Dataset:
        def yields() -> Iterator[int]:
            log.append(f"+{number}")
            try:
                yield from range(2)
            finally:
                log.append(f"-{number}")

        return data.from_generator(yields, SCALAR)

    with data.range(4).interleave(source, cycle_length=2, spec=SCALAR).iterate() as iterator:
        for _ in range(6):
            next(iterator)
        assert log == ["+0", "+1", "-0", "-1", "+2", "+3"]
    assert sorted(log) == sorted(f"{sign}{number}" for sign in "+-" for number in range(4))


def test_an_error_in_the_function_loses_no_element() -> None:
    failing = [2]

    def sometimes(number: Any) -> data.Dataset:
        if int(number) in failing:
            failing.remove(int(number))
            raise OSError("the file is away")
        return data.range(int(number), int(number) + 1)

    for source in (data.range(4), data.range(4).filter(lambda number: number >= 0)):
        failing[:] = [2]
        iterator = source.interleave(sometimes, cycle_length=1, spec=SCALAR).iterate()
        got = [int(next(iterator)), int(next(iterator))]
        with pytest.raises(DataError, match=r"the function given to flat_map raised an error.*the file is away"):
            next(iterator)
        state = iterator.state()
        assert got + [int(number) for number in iterator] == [0, 1, 2, 3]
        iterator.restore(state)
        assert [int(number) for number in iterator] == [2, 3]


def test_a_function_that_makes_no_dataset() -> None:
    with pytest.raises(
        DataError, match="the function of a flat_map must make a dataset of each element: given a list, expected"
    ):
        list(data.range(3).flat_map(lambda number: [number]))


def test_datasets_that_differ() -> None:
    ragged = data.range(1, 3).flat_map(lambda n: data.from_tensor_slices(np.zeros((2, int(n)), np.float32)))
    with pytest.raises(
        DataError, match=r"the datasets of a flat_map differ: given float32\[2\] from .*, expected float32\[1\]"
    ):
        list(ragged)
    wide = jax.ShapeDtypeStruct((None,), np.float32)
    allowed = data.range(1, 3).flat_map(lambda n: data.from_tensor_slices(np.zeros((1, int(n)), np.float32)), spec=wide)
    assert [element.shape for element in allowed] == [(1,), (2,)]


def test_a_spec_that_no_element_can_show() -> None:
    with pytest.raises(DataError, match=r"there is no element that could show what the function makes of it.*spec="):
        _ = data.range(0).flat_map(times(2)).element_spec


@pytest.mark.parametrize(
    ("how", "text"),
    [
        ({"cycle_length": 17}, "too many datasets would be open at a time.*given cycle_length=17, expected at most 16"),
        ({"cycle_length": 0}, "interleave: cycle_length is not a whole number of at least 1: given 0"),
        (
            {"cycle_length": 2, "block_length": 0},
            "interleave: block_length is not a whole number of at least 1: given 0",
        ),
    ],
)
def test_cycles_that_cannot_be(how: Any, text: str) -> None:
    with pytest.raises(DataError, match=text):
        data.range(3).interleave(times(2), **how)
