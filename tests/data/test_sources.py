"""Where elements come from: rows of arrays, numbers, a generator held to its spec."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
import pytest

import aidl_jax.data as data
from aidl_jax.data.elements import gathered
from aidl_jax.errors import DataError

SCALAR = jax.ShapeDtypeStruct((), np.int32)


def test_elements_are_the_rows_of_every_leaf() -> None:
    x, y = np.arange(12.0, dtype=np.float32).reshape(4, 3), np.array([3, 1, 2, 0], np.uint8)
    elements = list(data.from_tensor_slices((x, {"y": y})))
    assert len(elements) == 4
    for row, (a, b) in enumerate(elements):
        np.testing.assert_array_equal(a, x[row])
        assert b["y"] == y[row] and b["y"].dtype == np.uint8


def test_rows_share_memory_with_the_source_and_cannot_be_written() -> None:
    x = np.zeros((4, 3), np.float32)
    for batched in (False, True):
        dataset = data.from_tensor_slices(x)
        element = next(iter(dataset.batch(2) if batched else dataset))
        assert np.shares_memory(element, x)
        with pytest.raises(ValueError, match="read-only"):
            element[0] = 1
    assert x.flags.writeable


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.complex128, bool, object])
@pytest.mark.parametrize("shape", [(9,), (9, 5), (9, 3, 7), (9, 0)])
def test_gathered_rows_are_those_of_an_index_vector(dtype: Any, shape: tuple[int, ...]) -> None:
    array, places = np.arange(np.prod(shape)).reshape(shape).astype(dtype), np.array([8, 0, 3, 3])
    rows = gathered(array, places)
    np.testing.assert_array_equal(rows, array[places])
    assert rows.dtype == array.dtype and not np.shares_memory(rows, array)
    if dtype is not object and rows.size:
        assert rows.ctypes.data % 64 == 0 and rows.flags.aligned and rows.flags.c_contiguous


def test_no_rows_are_no_elements() -> None:
    dataset = data.from_tensor_slices({"x": np.zeros((0, 3))})
    assert dataset.cardinality() == 0
    assert list(dataset) == list(dataset.batch(4)) == list(dataset.repeat()) == list(dataset.shuffle()) == []


def test_a_memory_map_stays_on_disk(tmp_path: Any) -> None:
    """16 GiB on a disk that holds none of them: whoever read or copied them all would be noticed."""
    rows = 2**30
    x = np.memmap(tmp_path / "x", np.float32, "w+", shape=(rows, 4))
    x[rows - 3] = 7
    dataset = data.from_tensor_slices(x)
    assert "on disk" in dataset.stage.note
    element = dataset.element(rows - 3)
    assert isinstance(element, np.memmap) and element.tolist() == [7, 7, 7, 7]
    assert dataset.shuffle(seed=1).batch(8).element(1000).shape == (8, 4)


def test_texts_are_python_texts() -> None:
    for texts in (["a", "long"], np.array(["a", "long"]), np.array(["a", "long"], object)):
        elements = list(data.from_tensor_slices(np.array(texts)))
        assert [element[()] for element in elements] == ["a", "long"] and elements[0].dtype == object


def test_nothing_to_slice_is_refused() -> None:
    with pytest.raises(DataError, match=r"there is no array to slice: given \{\}.*pass the data"):
        data.from_tensor_slices({})


def test_a_number_has_no_rows() -> None:
    with pytest.raises(DataError, match=r"a number has no rows to slice: given int64\[\] at \['b'\].*np.array"):
        data.from_tensor_slices({"a": np.zeros(3), "b": np.int64(3)})


def test_arrays_of_several_lengths_are_refused() -> None:
    with pytest.raises(DataError, match=r"the arrays differ in length: given \[0\]: 3, \[1\]: 4, expected one length"):
        data.from_tensor_slices((np.zeros(3), np.zeros(4)))


@pytest.mark.parametrize("bounds", [(0,), (5,), (2, 9), (2, 9, 3), (9, 2, -2), (3, 3)])
def test_range_is_pythons(bounds: tuple[int, ...]) -> None:
    numbers = list(data.range(*bounds))
    assert numbers == list(range(*bounds)) and all(number.dtype == np.int32 for number in numbers)


def test_range_counts_in_another_dtype() -> None:
    assert [one.dtype for one in data.range(2, dtype=np.uint8)] == [np.uint8] * 2
    assert list(data.range(2**40, 2**40 + 2, dtype=np.int64)) == [2**40, 2**40 + 1]
    assert list(data.range(2**24 - 1, 2**24 + 1, dtype=np.float32))[-1] == 2**24


@pytest.mark.parametrize(
    ("bounds", "dtype"), [((300,), np.uint8), ((-1, 3), np.uint8), ((2**31 + 1,), np.int32), ((2**25,), np.float32)]
)
def test_range_refuses_numbers_that_do_not_fit(bounds: Any, dtype: Any) -> None:
    with pytest.raises(DataError, match=r"the dtype does not hold these numbers: given range.* expected numbers from"):
        data.range(*bounds, dtype=dtype)


def test_range_refuses_what_does_not_count() -> None:
    with pytest.raises(DataError, match="range counts in whole numbers or floats: given bool"):
        data.range(2, dtype=bool)


def gives(*values: Any, spec: Any = SCALAR, cardinality: Any = None) -> data.Dataset:
    return data.from_generator(lambda: iter(values), spec, cardinality)


def test_a_generator_starts_anew_in_each_epoch() -> None:
    started = []

    def count() -> Iterator[int]:
        started.append(1)
        yield from range(3)

    assert list(data.from_generator(count, SCALAR).repeat(2)) == [0, 1, 2, 0, 1, 2]
    assert len(started) == 2
    assert list(gives()) == []


def test_python_numbers_take_the_specs_dtype_where_it_holds_them() -> None:
    spec = (jax.ShapeDtypeStruct((2,), np.uint8), jax.ShapeDtypeStruct((), np.float32))
    [(a, b)] = gives(([1, 255], 0.1), spec=spec)
    assert a.dtype == np.uint8 and a.tolist() == [1, 255]
    assert b == np.float32(0.1) and b.dtype == np.float32
    assert next(iter(gives(float("inf"), spec=spec[1]))) == np.inf


@pytest.mark.parametrize(
    ("value", "spec", "given"),
    [
        (256, jax.ShapeDtypeStruct((), np.uint8), r"int64\[\], expected uint8\[\]"),
        (0.5, SCALAR, r"float64\[\], expected int32\[\]"),
        (1e300, jax.ShapeDtypeStruct((), np.float32), r"float64\[\], expected float32\[\]"),
        (np.int64(3), SCALAR, r"int64\[\], expected int32\[\]"),
        (np.zeros(3, np.int32), jax.ShapeDtypeStruct((2,), np.int32), r"int32\[3\], expected int32\[2\]"),
        (np.zeros((), np.int32), jax.ShapeDtypeStruct((None,), np.int32), r"int32\[\], expected int32\[\?\]"),
    ],
)
def test_an_element_that_is_not_what_the_spec_says(value: Any, spec: Any, given: str) -> None:
    with pytest.raises(
        DataError, match=rf"element 1 of from_generator\(.*: a leaf is not what the spec says: given {given}"
    ):
        list(gives(np.zeros([size or 0 for size in spec.shape], spec.dtype), value, spec=spec))


def test_the_leaf_that_differs_is_named() -> None:
    spec = {"x": SCALAR, "y": SCALAR}
    with pytest.raises(DataError, match=r"a leaf is not what the spec says at \['y'\]"):
        list(gives({"x": 1, "y": 0.5}, spec=spec))


def test_an_element_of_another_structure() -> None:
    with pytest.raises(
        DataError, match=r"an element has another structure than its spec: given \(int32\[\], int32\[\]\)"
    ):
        list(gives((1, 2), spec={"x": SCALAR}))


def test_a_size_that_differs_is_none_in_the_spec() -> None:
    dataset = gives(np.zeros(2, np.int32), np.zeros(5, np.int32), spec=jax.ShapeDtypeStruct((None,), np.int32))
    assert [element.shape for element in dataset] == [(2,), (5,)]


def test_a_generator_may_write_into_the_same_array_again() -> None:
    def reusing() -> Iterator[np.ndarray]:
        array = np.zeros(2, np.int32)
        for number in range(4):
            array[:] = number
            yield array

    dataset = data.from_generator(reusing, jax.ShapeDtypeStruct((2,), np.int32))
    assert [batch[:, 0].tolist() for batch in dataset.batch(2)] == [[0, 1], [2, 3]]


def test_a_generator_that_has_begun_is_refused() -> None:
    with pytest.raises(
        DataError, match=r"from_generator needs a function that makes a new generator.*given a list_iterator"
    ):
        data.from_generator(iter([1]), SCALAR)  # type: ignore[arg-type]


@pytest.mark.parametrize("cardinality", [-1, 2.5, "3"])
def test_a_cardinality_that_is_no_number_of_elements(cardinality: Any) -> None:
    with pytest.raises(DataError, match=r"the cardinality is no number of elements: given .*, expected an integer"):
        gives(1, cardinality=cardinality)


@pytest.mark.parametrize(("cardinality", "given"), [(2, "more than 2"), (4, "3")])
def test_a_cardinality_that_is_not_kept(cardinality: int, given: str) -> None:
    with pytest.raises(
        DataError, match=f"does not give as many elements as its cardinality says: given {given}, expected"
    ):
        list(gives(1, 2, 3, cardinality=cardinality))


def test_a_generator_that_became_shorter_than_its_state() -> None:
    values = [1, 2, 3]
    dataset = data.from_generator(lambda: iter(values), SCALAR)
    iterator = dataset.iterate()
    for _ in range(3):
        next(iterator)
    state = iterator.state()
    values.pop()
    with pytest.raises(
        DataError, match="the generator ends before the place that the state was saved at: given 2 elements"
    ):
        dataset.iterate(state)


def test_a_generator_is_closed_with_its_iterator_and_after_its_epoch() -> None:
    log: list[str] = []

    def source() -> Iterator[int]:
        log.append("open")
        try:
            yield from range(3)
        finally:
            log.append("closed")

    dataset = data.from_generator(source, SCALAR)
    with dataset.iterate() as iterator:
        next(iterator)
        assert log == ["open"]
    assert log == ["open", "closed"]
    log.clear()
    with dataset.repeat().iterate() as iterator:
        for _ in range(4):
            next(iterator)
        assert log == ["open", "closed", "open"]
    assert log[-1] == "closed"


def test_a_source_says_where_its_elements_come_from() -> None:
    [origin] = data.from_tensor_slices(np.arange(5)).skip(2).repeat().locate(4)
    assert (origin.source, origin.epoch, origin.position) == ("from_tensor_slices", 1, 3)
    assert str(origin) == "position 3 of from_tensor_slices, epoch 1"


def test_an_element_that_is_not_what_the_spec_says_is_tried_again() -> None:
    iterator = data.from_generator(lambda: iter([1, 2.5, 3]), jax.ShapeDtypeStruct((), np.int32)).iterate()
    assert int(next(iterator)) == 1
    for _ in range(2):
        with pytest.raises(DataError, match="element 1 of from_generator"):
            next(iterator)
        assert iterator.state()["at"] == 1


def test_a_generator_that_failed_begins_again_and_loses_nothing() -> None:
    failures = [True]

    def numbers() -> Any:
        for number in range(4):
            if number == 2 and failures:
                failures.pop()
                raise OSError("away")
            yield number

    iterator = data.from_generator(numbers, jax.ShapeDtypeStruct((), np.int32)).repeat(2).iterate()
    got = [int(next(iterator)), int(next(iterator))]
    with pytest.raises(DataError, match=r"element 2 of .*: the generator raised an error: given OSError: away"):
        next(iterator)
    assert got + [int(number) for number in iterator] == [0, 1, 2, 3] * 2
