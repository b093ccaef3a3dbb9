"""Going through a dataset: the end of data, states, and what random pipelines with threads, skips and caches give."""

from __future__ import annotations

import gc
import json
import threading
from typing import Any

import jax
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import aidl_jax.data as data
from aidl_jax.data import Dataset, EndOfDataError
from aidl_jax.errors import DataError

INT32 = jax.ShapeDtypeStruct((), np.int32)


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "aidl-data"]


def affine(*parts: Any) -> Any:
    return sum(int(np.sum(part)) for part in parts) % 1000


def not_of_3(x: Any) -> Any:
    if np.sum(x) % 3 == 0:
        raise ValueError("a multiple of three")
    return x


def extended(ds: Dataset, plain: list[Any], verb: str, a: int, calls: int | None) -> tuple[Dataset, list[Any]]:
    """One verb more: of the dataset, and of the list of numbers or tuples that it is to give."""
    if verb == "map":
        return ds.map(affine, calls, python=True, spec=INT32), [affine(np.asarray(one)) for one in plain]
    if verb == "skip_errors":
        left = [one for one in plain if np.sum(one) % 3]
        return ds.map(not_of_3, calls, python=True, on_error="skip", spec=ds.element_spec), left
    if verb == "prefetch":
        return ds.prefetch(a), plain
    if verb == "cache":
        return ds.cache(), plain
    if verb == "take":
        return ds.take(a), plain[:a]
    if verb == "repeat":
        return ds.repeat(2), plain * 2
    if verb == "sum":
        batches = [plain[first : first + a] for first in range(0, len(plain), a)]
        return ds.batch(a).map(affine, calls, python=True, spec=INT32), [affine(np.asarray(one)) for one in batches]
    return ds.filter(lambda x: x % 2 == 0), [one for one in plain if one % 2 == 0]


VERBS = ["map", "skip_errors", "prefetch", "cache", "take", "repeat", "sum", "filter"]
STEPS = st.lists(
    st.tuples(st.sampled_from(VERBS), st.integers(1, 4), st.sampled_from([None, 2, 3, data.AUTOTUNE])), max_size=5
)
few = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


def built(size: int, indexed: bool, steps: Any, calls: Any = "as drawn") -> tuple[Dataset, list[Any]]:
    ds = data.range(size) if indexed else data.from_generator(lambda: iter(range(size)), INT32)
    plain: list[Any] = list(range(size))
    for verb, a, drawn in steps:
        ds, plain = extended(ds, plain, verb, a, drawn if calls == "as drawn" else calls)
    return ds, plain


@few
@given(st.integers(0, 12), st.booleans(), STEPS)
def test_a_pipeline_with_threads_gives_what_plain_python_gives(size: int, indexed: bool, steps: Any) -> None:
    ds, plain = built(size, indexed, steps)
    for _ in range(2):  # the second time, caches are filled
        assert [int(one) for one in ds] == plain, str(ds)
    assert not threads()


@few
@given(st.integers(0, 9), st.booleans(), STEPS, st.integers(0, 1000))
def test_any_state_goes_on_at_any_number_of_threads(size: int, indexed: bool, steps: Any, seed: int) -> None:
    ds, plain = built(size, indexed, steps)
    done = seed % (len(plain) + 1)
    iterator = ds.iterate()
    for _ in range(done):
        next(iterator)
    state = json.loads(json.dumps(iterator.state()))
    assert len(json.dumps(state)) < 1024
    for calls in (None, 3):
        fresh, _ = built(size, indexed, steps, calls)
        assert [int(one) for one in fresh.iterate(state)] == plain[done:], str(ds)
    iterator.restore(state)
    assert [int(one) for one in iterator] == plain[done:]
    assert not threads()


def test_the_end_comes_again_and_again_and_has_a_state() -> None:
    iterator = data.range(2).make_one_shot_iterator()
    assert [int(iterator.get_next()), int(iterator.get_next())] == [0, 1]
    for _ in range(2):
        with pytest.raises(EndOfDataError):
            iterator.get_next()
        with pytest.raises(StopIteration):
            next(iterator)
    assert list(data.range(2).iterate(iterator.state())) == []


def test_after_close_there_is_no_further_element_and_the_state_stays() -> None:
    with data.range(9).map(affine, 2, python=True).iterate() as iterator:
        next(iterator)
        state = iterator.state()
    assert list(iterator) == [] and iterator.state() == state
    iterator.restore(state)
    assert [int(one) for one in iterator] == list(range(1, 9))


def test_a_state_says_whose_it_is_and_another_pipelines_is_refused_with_both() -> None:
    state = data.range(9).batch(2).iterate().state()
    assert state["pipeline"] == "range(9).batch(2)"
    with pytest.raises(DataError) as caught:
        data.range(9).batch(3).iterate(state)
    assert str(caught.value) == (
        "the state belongs to another pipeline: given range(9).batch(2), expected range(9).batch(3). Fix: restore it into the "
        "pipeline that it was saved from, or begin anew without a state"
    )
    with pytest.raises(DataError, match="the state has another format: given 99, expected 1"):
        data.range(9).batch(2).iterate({**state, "format": 99})
    with pytest.raises(DataError, match=r"this is no state of a data iterator: given \[1\]"):
        data.range(9).iterate([1])  # type: ignore[arg-type]


def test_what_was_skipped_before_an_error_stays_listed() -> None:
    def fails(x: Any) -> Any:
        if x == 4:
            raise ValueError("four")
        return x

    numbers = data.range(6).map(not_of_3, 2, python=True, on_error="skip", spec=INT32)
    iterator = numbers.map(fails, python=True, spec=INT32).iterate()
    assert [int(next(iterator)) for _ in range(2)] == [1, 2]
    with pytest.raises(DataError, match="four"):
        next(iterator)
    with pytest.raises(DataError, match="four"):
        next(iterator)
    assert [one.position for one in iterator.skipped][:2] == [0, 3]


def test_an_iterator_that_is_part_of_a_cycle_ends_its_threads_when_it_is_collected() -> None:
    iterator: Any = data.range(50).map(affine, 2, python=True).iterate()
    next(iterator)
    iterator.itself = iterator
    del iterator
    gc.collect()
    assert not threads()


@pytest.mark.parametrize("calls", [None, 2])
def test_an_iterator_that_skipped_errors_ends_its_threads_when_it_is_dropped(calls: int | None) -> None:
    gc.disable()
    try:
        numbers = data.range(40).map(not_of_3, calls, python=True, on_error="skip").map(affine, 2, python=True)
        iterator = numbers.iterate()
        assert [int(next(iterator)) for _ in range(3)] == [1, 2, 4] and threads()
        del iterator
        assert not threads()
    finally:
        gc.enable()


def test_threads_of_inner_datasets_end_with_them() -> None:
    flat = data.range(6).flat_map(lambda x: data.range(4).map(affine, 2, python=True), spec=INT32).iterate()
    most = 0
    for _ in flat:
        most = max(most, len(threads()))
    assert 0 < most <= 4 and not threads()


@pytest.mark.parametrize("indexed", [True, False])
def test_memory_stays_flat_while_a_python_map_runs_through_much_data(indexed: bool) -> None:
    made: list[int] = []

    def count(x: Any) -> Any:
        made.append(1)
        return x

    numbers = data.range(2000) if indexed else data.from_generator(lambda: iter(range(2000)), INT32)
    most = 0
    for done, element in enumerate(numbers.map(count, 3, python=True, spec=INT32).prefetch(2)):
        assert int(element) == done
        most = max(most, len(made) - done)
    assert most <= 4 * 6  # 6 calls are a block; one is given out, two are under way, and the next may have begun
