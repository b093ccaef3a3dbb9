"""`map(fn, python=True)`: equal to a plain loop at any number of threads, from any state, with errors that say where."""

from __future__ import annotations

import json
import os
import signal
import threading
from typing import Any

import jax
import numpy as np
import pytest

import aidl_jax.data as data
from aidl_jax.data import AUTOTUNE, Dataset
from aidl_jax.errors import DataError

INT32 = jax.ShapeDtypeStruct((), np.int32)
THREADS = [None, 1, 3, AUTOTUNE]


def numbers(size: int = 23) -> Dataset:
    return data.range(size)


def generated(size: int = 23) -> Dataset:
    return data.from_generator(lambda: iter(range(size)), INT32)


SOURCES = [numbers, generated]


def square(x: Any) -> Any:
    return {"square": np.int64(x) ** 2, "half": np.float32(x) / np.float32(2)}


def squares(size: int) -> list[Any]:
    return [(n**2, n / 2) for n in range(size)]


def bad_at_5(x: Any) -> Any:
    if x == 5:
        raise ValueError("a broken record")
    return x + np.int32(100)


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "aidl-data"]


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("calls", THREADS)
def test_it_gives_what_a_loop_gives_at_any_number_of_threads(source: Any, calls: Any) -> None:
    got = list(source().map(square, calls, python=True))
    assert [(int(one["square"]), float(one["half"])) for one in got] == squares(23)
    assert got[0]["square"].dtype == np.int64 and got[0]["half"].dtype == np.float32
    assert not threads()


@pytest.mark.parametrize("calls", [None, 3])
@pytest.mark.parametrize("source", SOURCES)
def test_every_state_goes_on_with_the_next_element_at_any_number_of_threads(source: Any, calls: Any) -> None:
    def pipeline(calls: Any) -> Dataset:
        ds = source(7).shuffle(3).map(square, calls, python=True).repeat(2).map(lambda e: e["half"], python=True)
        return ds.batch(2)

    expected = [batch.tolist() for batch in pipeline(None)]
    iterator = pipeline(calls).iterate()
    for done in range(len(expected) + 1):
        state = json.loads(json.dumps(iterator.state()))
        assert [batch.tolist() for batch in pipeline(2).iterate(state)] == expected[done:]
        next(iterator, None)
    assert not threads()


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("calls", [None, 3])
def test_a_key_is_that_of_the_place_as_in_a_traced_map(source: Any, calls: Any) -> None:
    def draw(key: Any, x: Any) -> Any:
        return jax.random.bits(key)

    traced = source(70).map(draw, keyed=True, seed=9).repeat(2)
    python = source(70).map(lambda key, x: np.asarray(draw(key, x)), calls, python=True, keyed=True, seed=9).repeat(2)
    assert [int(one) for one in python] == [int(one) for one in traced]


def test_it_is_indexed_over_an_indexed_input_and_knows_elements_by_position() -> None:
    mapped = numbers().map(square, 3, python=True)
    assert mapped.stage.indexed and int(mapped.element(7)["square"]) == 49
    assert not threads()
    assert not generated().map(square, python=True).stage.indexed


@pytest.mark.parametrize("after", ["batch", "filter"])
def test_threads_work_on_several_elements_at_once(after: str) -> None:
    meeting = threading.Barrier(4, timeout=30)

    def meet(x: Any) -> Any:
        meeting.wait()
        return x

    mapped = numbers(32).map(meet, 4, python=True, spec=INT32)
    follow = mapped.batch(2).unbatch() if after == "batch" else mapped.filter(lambda x: x >= 0)
    assert [int(x) for x in follow] == list(range(32))


def test_the_threads_of_the_next_block_are_busy_while_the_last_calls_of_one_come_in() -> None:
    second = threading.Event()

    def first_waits_for_another_block(x: Any) -> Any:
        if x >= 4:  # the first batch is 0, 1, 2, 3
            second.set()
        assert x != 3 or second.wait(30)
        return x

    batches = numbers(16).map(first_waits_for_another_block, 2, python=True, spec=INT32).batch(4)
    assert [batch.tolist() for batch in batches] == np.arange(16).reshape(4, 4).tolist()


def test_no_more_elements_are_taken_in_than_are_under_way() -> None:
    taken: list[int] = []

    def items() -> Any:
        for number in range(1000):
            taken.append(number)
            yield number

    iterator = data.from_generator(items, INT32).map(bad_at_5, 3, python=True, spec=INT32).iterate()
    next(iterator)
    assert len(taken) <= 2 * 3 + 1
    iterator.close()


def test_one_call_after_another_where_no_threads_are_asked_for() -> None:
    seen: list[tuple[int, int]] = []

    def remember(x: Any) -> Any:
        seen.append((int(x), threading.get_ident()))
        return x

    list(numbers(9).map(remember, python=True, spec=INT32).map(square, 3, python=True).batch(2))
    assert [x for x, _ in seen if x < 9][-9:] == list(range(9))


@pytest.mark.parametrize("calls", [None, 3])
@pytest.mark.parametrize("source", SOURCES)
def test_an_error_comes_at_its_element_and_again_when_asked_again(source: Any, calls: Any) -> None:
    iterator = source(9).map(bad_at_5, calls, python=True, spec=INT32).iterate()
    assert [int(next(iterator)) for _ in range(5)] == [100, 101, 102, 103, 104]
    for _ in range(2):
        with pytest.raises(DataError, match="a broken record") as caught:
            next(iterator)
        assert isinstance(caught.value.__cause__, ValueError)
        assert not threads()
    state = iterator.state()
    good = source(9).map(lambda x: x, python=True, spec=INT32)
    at = {**good.iterate().state(), "at": state["at"]}
    assert [int(x) for x in good.iterate(at)] == [5, 6, 7, 8]


def test_an_error_comes_at_the_batch_it_is_in() -> None:
    iterator = numbers(12).map(bad_at_5, 3, python=True, spec=INT32).batch(2).iterate()
    assert [next(iterator).tolist() for _ in range(2)] == [[100, 101], [102, 103]]
    with pytest.raises(DataError, match="a broken record"):
        next(iterator)


def test_an_error_names_stage_position_and_origin() -> None:
    rows = np.arange(10, dtype=np.int32)[::-1].copy()
    failing = data.from_tensor_slices(rows).skip(2).map(bad_at_5, python=True, spec=INT32)
    with pytest.raises(DataError) as caught:
        list(failing)
    assert str(caught.value) == (
        "map(bad_at_5, python=True) at position 2 (position 4 of from_tensor_slices, epoch 0): the function of a map failed: "
        "given ValueError: a broken record. Fix: repair the function or the data; "
        'on_error="skip" leaves such elements out and lists them in iterator.skipped'
    )


@pytest.mark.parametrize("calls", THREADS)
@pytest.mark.parametrize("source", SOURCES)
def test_skip_leaves_out_and_lists_what_fails(source: Any, calls: Any) -> None:
    mapped = source(9).map(bad_at_5, calls, python=True, on_error="skip")
    assert not mapped.stage.indexed and mapped.cardinality() is data.UNKNOWN
    iterator = mapped.iterate()
    assert [int(x) for x in iterator] == [100, 101, 102, 103, 104, 106, 107, 108]
    assert [(one.position, one.error) for one in iterator.skipped] == [(5, "ValueError: a broken record")]
    assert "bad_at_5" in iterator.skipped[0].stage
    assert (iterator.skipped[0].origin == "position 5 of range, epoch 0") == (source is numbers)


@pytest.mark.parametrize("calls", [None, 3])
def test_every_state_of_a_map_that_skips_goes_on_equally(calls: Any) -> None:
    mapped = numbers(9).map(bad_at_5, calls, python=True, on_error="skip").repeat(2)
    expected = [int(x) for x in mapped]
    iterator = mapped.iterate()
    for done in range(len(expected) + 1):
        resumed = mapped.iterate(iterator.state())
        assert [int(x) for x in resumed] == expected[done:]
        assert len(resumed.skipped) + len(iterator.skipped) == 2
        next(iterator, None)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("calls", [3, AUTOTUNE])
def test_without_an_order_all_elements_come_and_there_is_no_state(source: Any, calls: Any) -> None:
    half = lambda x: square(x)["half"]  # noqa: E731
    mapped = source().map(half, calls, python=True, deterministic=False).map(lambda x: x + 1).batch(4)
    iterator = mapped.iterate()
    assert sorted(np.concatenate(list(iterator)).tolist()) == [1 + n / 2 for n in range(23)]
    iterator = mapped.iterate()
    next(iterator)
    with pytest.raises(DataError, match="a pipeline whose order is not fixed has no state") as caught:
        iterator.state()
    assert "leave deterministic=False out" in str(caught.value)
    iterator.close()
    assert not threads()


def test_without_an_order_what_is_ready_comes_first() -> None:
    after = threading.Event()

    def zero_waits(x: Any) -> Any:
        assert x != 0 or after.wait(30)
        return x

    iterator = numbers(4).map(zero_waits, 2, python=True, deterministic=False, spec=INT32).iterate()
    first = int(next(iterator))
    after.set()
    assert first != 0 and sorted([first, *map(int, iterator)]) == [0, 1, 2, 3]


def test_threads_end_with_break_close_error_and_when_nobody_holds_the_iterator() -> None:
    mapped = numbers(100).map(square, 3, python=True)
    for _ in mapped:
        assert threads()
        break
    assert not threads()
    iterator = mapped.iterate()
    next(iterator)
    iterator.close()
    assert not threads() and list(iterator) == []
    iterator = mapped.iterate()
    next(iterator)
    del iterator
    assert not threads()


def test_ctrl_c_leaves_no_thread_and_the_iterator_goes_on_where_it_stood() -> None:
    pressed: list[bool] = []

    def press_once(x: Any) -> Any:
        if x == 6 and not pressed:
            pressed.append(True)
            os.kill(os.getpid(), signal.SIGINT)
        return x

    iterator = numbers(30).map(press_once, 2, python=True, spec=INT32).iterate()
    got: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        got.extend(int(element) for element in iterator)
    assert not threads()
    assert got + [int(x) for x in iterator] == list(range(30))


def test_restore_goes_back_with_new_threads() -> None:
    iterator = numbers(30).map(square, 3, python=True).iterate()
    start = iterator.state()
    first = [float(next(iterator)["half"]) for _ in range(9)]
    iterator.restore(start)
    assert [float(next(iterator)["half"]) for _ in range(9)] == first
    iterator.close()
    assert not threads()


def test_the_spec_is_that_of_the_first_element_or_the_one_given() -> None:
    called: list[int] = []

    def remember(x: Any) -> Any:
        called.append(int(x))
        return [float(x)]

    mapped = numbers().map(remember, python=True)
    assert called == []
    assert mapped.element_spec == [jax.ShapeDtypeStruct((), np.float32)] and called == [0]
    given = numbers().map(remember, python=True, spec=[jax.ShapeDtypeStruct((), np.float64)])
    assert next(iter(given))[0].dtype == np.float64 and called == [0, 0]
    assert generated().map(remember, python=True).element_spec == mapped.element_spec


def test_sizes_that_differ_are_told_with_none() -> None:
    ragged = numbers(4).map(lambda x: np.zeros(x, np.uint8), python=True, spec=jax.ShapeDtypeStruct((None,), np.uint8))
    assert [one.shape for one in ragged] == [(0,), (1,), (2,), (3,)]
    assert [one.shape for one in ragged.padded_batch(2)] == [(2, 1), (2, 3)]


@pytest.mark.parametrize("calls", [None, 3])
def test_texts_are_elements_too(calls: Any) -> None:
    texts = numbers(3).map(lambda x: "ab" * int(x), calls, python=True)
    assert [str(text) for text in texts] == ["", "ab", "abab"]
    assert [text.shape for text in texts.batch(2)] == [(2,), (1,)]


@pytest.mark.parametrize("source", SOURCES)
def test_a_result_of_another_spec_is_an_error_with_its_position(source: Any) -> None:
    mapped = source(4).map(lambda x: np.zeros(2 + (x == 3), np.uint8), python=True)
    iterator = mapped.iterate()
    assert len([next(iterator) for _ in range(3)]) == 3
    with pytest.raises(DataError) as caught:
        next(iterator)
    assert "at position 3" in str(caught.value) and "given uint8[3]" in str(caught.value)
    assert "expected uint8[2], as it made of the first element" in str(caught.value)
    assert "map(fn, python=True, spec=...)" in str(caught.value)
    with pytest.raises(DataError, match=r"given uint8\[3\], expected float32\[\]"):
        list(source(4).map(lambda x: np.zeros(3, np.uint8), python=True, spec=jax.ShapeDtypeStruct((), np.float32)))


def test_what_would_surprise_is_told() -> None:
    def nothing(x: Any) -> None:
        pass

    def in_place(x: Any) -> Any:
        x += 1
        return x

    with pytest.raises(
        DataError, match=r"at position 0 .*the function of a map returned None.*Fix: return the new element"
    ):
        list(numbers().map(nothing, python=True))
    with pytest.raises(
        DataError, match=r"Fix: elements share memory with their source: copy before writing, x = x.copy\(\)"
    ):
        list(data.from_tensor_slices(np.zeros((3, 2))).map(in_place, python=True))
    with pytest.raises(DataError, match=r"there is no element that could show.*given an empty dataset.*spec=jax"):
        _ = data.range(0).map(square, python=True).element_spec
    with pytest.raises(DataError, match="the function of a map returned None"):  # no error of the data, so not skipped
        list(numbers().map(nothing, python=True, on_error="skip", spec=INT32))
    with pytest.raises(DataError, match="3 elements, all of which fail"):
        _ = data.range(5, 6).repeat(3).map(bad_at_5, python=True, on_error="skip").element_spec


@pytest.mark.parametrize("options", [{"deterministic": False}, {"on_error": "skip"}, {"spec": INT32}])
def test_options_of_python_maps_are_refused_for_traced_ones(options: Any) -> None:
    with pytest.raises(DataError, match=f"given {next(iter(options))}=.*python=True"):
        numbers().map(lambda x: x, **options)


def test_options_that_say_nothing_are_refused() -> None:
    with pytest.raises(DataError, match='given \'ignore\', expected "raise" or "skip"'):
        numbers().map(square, python=True, on_error="ignore")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="num_parallel_calls is no number of threads: given 0"):
        numbers().map(square, 0, python=True)
    with pytest.raises(DataError, match="given deterministic=False, num_parallel_calls=None"):
        numbers().map(square, python=True, deterministic=False)
    with pytest.raises(DataError, match=r"a spec is made of shapes and dtypes.*jax.ShapeDtypeStruct\(\(28, 28\)"):
        numbers().map(square, python=True, spec=np.zeros(3))


def test_the_chain_of_the_decks_works_as_written() -> None:
    def parse_fn(x: Any) -> Any:
        return x * 2

    chain = data.range(100).shuffle(10).repeat(2).map(parse_fn, num_parallel_calls=10).batch(8).prefetch(2)
    plain = data.range(100).shuffle(10).repeat(2)
    assert np.concatenate(list(chain)).tolist() == [2 * int(x) for x in plain]
    assert "num_parallel_calls is for Python maps, not needed here" in chain.explain()
    assert not threads()


def test_autotune_says_what_it_chose_and_why() -> None:
    mapped = numbers(200).map(square, AUTOTUNE, python=True)
    iterator = mapped.iterate()
    next(iterator)
    (label, told), *others = iterator.choices.items()
    assert not others and label == "map(square, python=True)"
    assert " thread" in told and "1 gave " in told and "/s" in told and "on the CPU" in told
    assert next(iter(mapped.take(1).iterate().choices), None) is None
    few = numbers(2).map(square, AUTOTUNE, python=True).iterate()
    next(few)
    assert "too few elements" in few.choices[label]
    iterator.close()
    few.close()
    assert not threads()


def test_how_many_threads_there_are_is_no_part_of_the_description() -> None:
    assert str(numbers().map(square, 3, python=True)) == str(numbers().map(square, AUTOTUNE, python=True))
    assert "in 3 threads" in numbers().map(square, 3, python=True).stage.note
