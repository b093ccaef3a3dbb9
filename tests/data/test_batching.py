"""Verbs that group: batch, window, padded_batch, unbatch; in both classes."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest
from pipeline_oracle import same, windowed

import aidl_jax.data as data
from aidl_jax.data import UNKNOWN, Dataset, EndOfDataError
from aidl_jax.errors import DataError


def indexed(size: int) -> Dataset:
    return data.range(size)


def sequential(size: int) -> Dataset:
    return data.from_generator(lambda: iter(range(size)), jax.ShapeDtypeStruct((), np.int32), size)


both = pytest.mark.parametrize("count", [indexed, sequential])
RAGGED = [np.arange(size, dtype=np.int32) for size in (2, 0, 3, 1, 4)]


def ragged() -> Dataset:
    return data.from_generator(lambda: iter(RAGGED), jax.ShapeDtypeStruct((None,), np.int32), len(RAGGED))


def lists(dataset: Dataset) -> list[Any]:
    elements = [element.tolist() for element in dataset]
    assert dataset.cardinality() in (UNKNOWN, len(elements))
    return elements


@both
def test_the_last_batch_holds_what_is_left(count: Any) -> None:
    assert lists(count(5).batch(2)) == [[0, 1], [2, 3], [4]]
    assert lists(count(5).batch(2, drop_remainder=True)) == [[0, 1], [2, 3]]
    assert lists(count(4).batch(2)) == [[0, 1], [2, 3]]
    assert lists(count(3).batch(8)) == [[0, 1, 2]] and lists(count(3).batch(8, True)) == []
    assert lists(count(0).batch(2)) == []
    assert lists(count(4).batch(2).batch(2)) == [[[0, 1], [2, 3]]]


@both
def test_a_size_is_told_where_every_batch_has_it(count: Any) -> None:
    def size(dataset: Dataset) -> Any:
        return dataset.element_spec.shape[0]

    assert size(count(4).batch(2)) == size(count(5).batch(2, True)) == size(count(3).repeat().batch(2)) == 2
    assert size(count(5).batch(2)) is None


@both
@pytest.mark.parametrize("drop", [False, True])
@pytest.mark.parametrize(
    ("size", "shift", "stride"), [(3, 1, 1), (2, 3, 1), (3, 2, 2), (1, 1, 4), (2, 5, 3), (9, 1, 1)]
)
def test_windows_are_those_of_a_list(count: Any, drop: bool, size: int, shift: int, stride: int) -> None:
    dataset = count(8).window(size, shift, stride, drop)
    expected = windowed([np.int32(number) for number in range(8)], size, shift, stride, drop)
    got = list(dataset)
    assert len(got) == len(expected) == dataset.cardinality() and all(map(same, got, expected))


def test_a_state_at_the_end_stays_at_the_end() -> None:
    """What is left and dropped must not be taken for a beginning."""
    dataset = sequential(5).batch(2, drop_remainder=True)
    iterator = dataset.iterate()
    assert len(list(iterator)) == 2
    with pytest.raises(EndOfDataError):
        next(dataset.iterate(iterator.state()))


@both
def test_batches_of_text(count: Any) -> None:
    texts = data.from_tensor_slices(np.array(["a", "bc", "d"]))
    first = next(iter(data.zip((texts, count(3))).batch(2)))
    assert first[0].tolist() == ["a", "bc"] and first[1].tolist() == [0, 1]


def test_elements_of_several_sizes_are_not_stacked() -> None:
    for verb in ("batch", "window"):
        with pytest.raises(
            DataError, match=rf"{verb}: elements that differ in shape cannot be stacked: given int32\[\?\]"
        ):
            getattr(ragged(), verb)(2)


def test_padding_fills_up_to_the_longest_of_each_batch() -> None:
    assert lists(ragged().padded_batch(2)) == [[[0, 1], [0, 0]], [[0, 1, 2], [0, 0, 0]], [[0, 1, 2, 3]]]
    padded = ragged().padded_batch(2, padding_values=-1, drop_remainder=True)
    assert lists(padded) == [[[0, 1], [-1, -1]], [[0, 1, 2], [0, -1, -1]]]
    assert padded.element_spec == jax.ShapeDtypeStruct((2, None), np.int32)


def test_padding_fills_up_to_a_shape() -> None:
    dataset = ragged().padded_batch(5, (5,), padding_values=9)
    assert dataset.element_spec.shape == (5, 5)
    [batch] = dataset
    for row, values in zip(batch, RAGGED, strict=True):
        assert row.tolist() == values.tolist() + [9] * (5 - len(values))
    assert not batch.flags.writeable


def test_padding_works_leaf_by_leaf_and_is_indexed_over_what_is() -> None:
    dataset = data.from_tensor_slices({"x": np.ones((3, 2), np.float32), "n": np.arange(3, dtype=np.int32)})
    padded = dataset.padded_batch(2, {"x": (3,), "n": ()}, {"x": 0.5, "n": 0})
    assert padded.element(1)["x"].tolist() == [[1, 1, 0.5]] and padded.element(1)["n"].tolist() == [2]


def test_padding_is_part_of_what_a_pipeline_is_called() -> None:
    assert str(ragged().padded_batch(2)) != str(ragged().padded_batch(2, padding_values=1))
    assert ".padded_batch(2, " in str(ragged().padded_batch(2))


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (((1,),), r"an element is larger than the shape it is to be padded to: given \(2,\), expected at most \(1,\)"),
        (((2, 2),), r"another number of dimensions than its leaf: given \(2, 2\), expected 1 of them, for int32\[\?\]"),
        ((3,), r"padded_shapes has something that is no shape: given 3, expected a tuple of sizes and None"),
        (({"x": (3,)},), r"padded_shapes has something that is no shape: given \{'x': \(3,\)\}"),
        ((None, 0.5), r"a padding value is none of its leaf's dtype: given 0.5, expected a value that int32 holds"),
        ((None, 2**40), "a padding value is none of its leaf's dtype: given 1099511627776"),
    ],
)
def test_padding_that_does_not_fit(arguments: Any, text: str) -> None:
    with pytest.raises(DataError, match=text):
        list(ragged().padded_batch(2, *arguments))


def test_padding_of_another_structure() -> None:
    with pytest.raises(
        DataError, match=r"padding_values has another structure than an element: given \{'y': 0\}, expected"
    ):
        data.from_tensor_slices({"x": np.zeros((2, 1))}).padded_batch(2, None, {"y": 0})


@both
def test_unbatch_undoes_batch(count: Any) -> None:
    assert lists(count(5).batch(2).unbatch()) == [0, 1, 2, 3, 4]
    assert lists(count(6).batch(2).unbatch().batch(3)) == [[0, 1, 2], [3, 4, 5]]
    assert lists(count(6).batch(3).batch(2).unbatch().unbatch()) == list(range(6))
    assert count(6).batch(2).unbatch().cardinality() == 6


def test_unbatch_gives_the_rows_of_every_leaf() -> None:
    x = np.arange(12, dtype=np.int32).reshape(2, 3, 2)
    rows = data.from_tensor_slices({"x": x, "y": x[:, :, 0]}).unbatch()
    assert rows.stage.indexed and rows.element(4)["x"].tolist() == x[1, 1].tolist()
    assert [int(row["y"]) for row in rows.shuffle(seed=1)] != [int(row["y"]) for row in rows]
    assert sorted(int(row["y"]) for row in rows.shuffle(seed=1)) == sorted(x[:, :, 0].ravel().tolist())


def test_elements_without_rows_give_none() -> None:
    nothing = data.from_tensor_slices(np.zeros((3, 0), np.int32)).unbatch()
    assert nothing.cardinality() == 0 and list(nothing) == []
    assert list(data.from_tensor_slices(np.zeros((3, 0), np.int32)).repeat().unbatch()) == []
    assert [row.tolist() for row in ragged().unbatch()] == [value for row in RAGGED for value in row.tolist()]


@pytest.mark.parametrize(
    "tensors", [np.zeros(3), (np.zeros((3, 2)), np.zeros((3, 4))), (np.zeros((3, 2)), np.zeros(3))]
)
def test_what_has_no_rows_cannot_be_unbatched(tensors: Any) -> None:
    with pytest.raises(
        DataError, match=r"unbatch: only what has rows can be unbatched: given .*, expected leaves \[rows, ...\]"
    ):
        data.from_tensor_slices(tensors).unbatch()


def test_an_element_whose_leaves_have_different_numbers_of_rows() -> None:
    spec = (jax.ShapeDtypeStruct((None,), np.int32),) * 2
    pairs = data.from_generator(lambda: iter([([1, 2], [3])]), spec)
    with pytest.raises(DataError, match=r"its leaves have different numbers of them: given \(int32\[2\], int32\[1\]\)"):
        list(pairs.unbatch())


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda ds: ds.batch(0), r"batch: batch_size is not a whole number of at least 1: given 0\. Fix: batch_size=1"),
        (lambda ds: ds.window(0), "window: size is not a whole number of at least 1"),
        (lambda ds: ds.window(2, 0), "window: shift is not a whole number of at least 1"),
        (lambda ds: ds.window(2, stride=0), "window: stride is not a whole number of at least 1"),
        (lambda ds: ds.padded_batch(0), "padded_batch: batch_size is not a whole number of at least 1"),
    ],
)
def test_sizes_that_are_none(call: Any, text: str) -> None:
    with pytest.raises(DataError, match=text):
        call(data.range(5))
