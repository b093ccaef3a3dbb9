"""filter: what it keeps, traced and in Python, how far it reads ahead, and what it refuses."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import aidl_jax.data as data
from aidl_jax.data import UNKNOWN, EndOfDataError
from aidl_jax.errors import DataError

SCALAR = jax.ShapeDtypeStruct((), np.int32)


def even(number: Any) -> Any:
    return number % 2 == 0


def told(dataset: data.Dataset) -> list[int]:
    return [int(element) for element in dataset]


@pytest.mark.parametrize("python", [False, True])
def test_filter_keeps_what_the_predicate_holds_of(python: bool) -> None:
    assert told(data.range(10).filter(even, python)) == [0, 2, 4, 6, 8]
    assert told(data.range(1, 10, 2).filter(even, python)) == []
    assert told(data.range(0).filter(even, python)) == []
    assert told(data.from_generator(lambda: iter(range(5)), SCALAR).filter(even, python)) == [0, 2, 4]
    pairs = data.zip((data.range(4), data.range(3, -1, -1)))
    assert [(int(a), int(b)) for a, b in pairs.filter(lambda a, b: a > b, python)] == [(2, 1), (3, 0)]


def test_filter_keeps_elements_as_they_are() -> None:
    rows = {"x": np.arange(8, dtype=np.float32).reshape(4, 2), "y": np.arange(4, dtype=np.uint8)}
    kept = list(data.from_tensor_slices(rows).filter(lambda row: row["y"] > 1))
    assert [element["y"] for element in kept] == [2, 3] and kept[0]["x"].tolist() == [4, 5]
    with pytest.raises(ValueError, match="read-only"):
        kept[0]["x"][0] = 1


def test_filter_of_elements_of_several_sizes() -> None:
    sizes = [2, 3, 3, 1, 2]
    ragged = data.from_generator(
        lambda: (np.ones(size, np.float32) for size in sizes), jax.ShapeDtypeStruct((None,), np.float32)
    )
    kept = ragged.filter(lambda row: jnp.sum(row) != 3)
    assert [element.shape for element in kept] == [(2,), (1,), (2,)]
    assert [element.shape for element in kept.iterate(kept.iterate().state())] == [(2,), (1,), (2,)]


def test_text_is_filtered_in_python() -> None:
    texts = data.from_tensor_slices(np.array(["a", "bc", "def"])).filter(lambda text: len(text[()]) > 1, python=True)
    assert [element[()] for element in texts] == ["bc", "def"]


def test_how_many_are_kept_is_not_known() -> None:
    assert data.range(4).filter(even).cardinality() is UNKNOWN
    assert data.range(0).filter(even).cardinality() == 0
    assert not data.range(4).filter(even).stage.indexed
    assert data.range(4).filter(even).element_spec == SCALAR


def test_no_more_of_a_generator_is_taken_in_than_was_asked_for() -> None:
    taken = []

    def count() -> Any:
        for number in range(100):
            taken.append(number)
            yield number

    iterator = data.from_generator(count, SCALAR).filter(even).iterate()
    assert int(next(iterator)) == 0 and len(taken) == 1
    assert int(next(iterator)) == 2 and len(taken) == 3


def test_a_jump_over_an_indexed_input_reads_one_block() -> None:
    rows = np.arange(100_000, dtype=np.int32)
    dataset = data.from_tensor_slices(rows).filter(even)
    iterator = dataset.iterate()
    for _ in range(40_000):
        next(iterator)
    read: list[int] = []
    stage = dataset.stage.input
    original = type(stage).rows

    def counted(self: Any, at: Any, run: Any) -> Any:
        read.append(len(at))
        return original(self, at, run)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(stage), "rows", counted)
        assert int(next(dataset.iterate(iterator.state()))) == 80_000
    assert sum(read) <= 2 * 4096


def test_an_epoch_that_keeps_nothing_ends() -> None:
    iterator = data.range(9000).filter(lambda number: number < 0).iterate()
    for _ in range(2):
        with pytest.raises(EndOfDataError):
            next(iterator)


@pytest.mark.parametrize("predicate", [lambda x: x, lambda x: (x > 0, x > 1), lambda x: jnp.stack([x, x]) > 0])
def test_a_predicate_answers_with_one_bool(predicate: Any) -> None:
    with pytest.raises(
        DataError, match=r"range\(3\).filter\(.*: a predicate must answer with one bool: given .*expected bool\[\]"
    ):
        data.range(3).filter(predicate)


@pytest.mark.parametrize("answer", [1, None, np.array([True, False]), "yes"])
def test_a_python_predicate_answers_with_one_bool(answer: Any) -> None:
    with pytest.raises(DataError, match=r"a predicate must answer with one bool: given .* compare: x > 0"):
        list(data.range(3).filter(lambda number: answer, python=True))


def test_a_predicate_that_cannot_be_traced() -> None:
    with pytest.raises(DataError, match=r"the function of a filter is traced.*filter\(fn, python=True\)"):
        data.range(3).filter(lambda number: number > 1 or number < 0)


def test_an_error_in_the_midst_of_a_block_loses_nothing() -> None:
    class Flaky:
        """Fails once before its third element."""

        def __init__(self) -> None:
            self.next, self.failing = -1, True

        def __iter__(self) -> Flaky:
            return self

        def __next__(self) -> int:
            if self.next == 1 and self.failing:
                self.failing = False
                raise OSError("the disk is away")
            if self.next == 7:
                raise StopIteration
            self.next += 1
            return self.next

    dataset = data.from_generator(Flaky, SCALAR).filter(lambda number: number >= 0).batch(4)
    iterator = dataset.iterate()
    with pytest.raises(DataError, match="the generator raised an error: given OSError: the disk is away"):
        next(iterator)
    state = iterator.state()
    assert [batch.tolist() for batch in iterator] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    again = dataset.iterate(state)
    with pytest.raises(DataError, match="the generator raised an error: given OSError: the disk is away"):
        next(again)
    assert next(again).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("python", [False, True])
def test_take_while_ends_at_the_first_that_does_not_hold(python: bool) -> None:
    numbers = data.from_tensor_slices(np.array([1, 2, 9, 1, 2], np.int32))
    few = numbers.take_while(lambda number: number < 5, python)
    assert told(few) == [1, 2] and told(few.repeat(2)) == [1, 2, 1, 2]
    assert told(numbers.take_while(lambda number: number < 0, python)) == []
    assert told(numbers.take_while(lambda number: number < 10, python)) == [1, 2, 9, 1, 2]
    iterator = few.iterate()
    assert told(iterator) == [1, 2]  # type: ignore[arg-type]
    assert told(few.iterate(iterator.state())) == []  # type: ignore[arg-type]
    assert told(data.range(3).repeat().take_while(lambda number: number < 2, python)) == [0, 1]


def test_a_predicate_of_take_while_is_named_in_its_errors() -> None:
    with pytest.raises(DataError, match=r"range\(3\).take_while\(.*: a predicate must answer with one bool"):
        data.range(3).take_while(lambda number: number)


def test_an_error_in_a_python_predicate_says_where_and_can_be_tried_again() -> None:
    failing = [2]

    def sometimes(number: Any) -> bool:
        if int(number) in failing:
            failing.remove(int(number))
            raise KeyError("label")
        return bool(number != 1)

    iterator = data.range(5).filter(sometimes, python=True).iterate()
    assert int(next(iterator)) == 0
    with pytest.raises(
        DataError, match=r"filter\(.*\) at element 2, epoch 0: the predicate raised an error: given KeyError: 'label'"
    ):
        next(iterator)
    state = iterator.state()
    assert [int(number) for number in iterator] == [2, 3, 4]
    iterator.restore(state)
    assert [int(number) for number in iterator] == [2, 3, 4]
