"""States: they outlive their process, belong to one pipeline, and stay small; memory stays flat however long the data is."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import aidl_jax.data as data
from aidl_jax.data import Dataset
from aidl_jax.errors import DataError

PIPELINES = """
import jax, json, sys
import jax.numpy as jnp
import numpy as np
import aidl_jax.data as data

def noisy(key, number):
    return number + jax.random.normal(key)

def numbers():
    yield from range(30)

def positive(number):
    return number % 3 != 1

def around(number):
    return data.range(int(number), int(number) + 3).shuffle(seed=int(number))

SCALAR = jax.ShapeDtypeStruct((), np.int32)
indexed = data.range(40, dtype=np.float32).shuffle(seed=5).map(noisy, keyed=True).repeat(2).batch(3)
sequential = data.from_generator(numbers, SCALAR).shuffle(8, seed=2).filter(positive).interleave(around, cycle_length=4).repeat(2).batch(3)
pipelines = [indexed, sequential]
"""
CONTINUE = """
states = json.loads(sys.argv[1])
rest = [[np.asarray(batch).tobytes().hex() for batch in ds.iterate(state)] for ds, state in zip(pipelines, states)]
print(json.dumps(rest))
"""


def test_a_state_goes_on_in_a_fresh_process_to_the_bit(tmp_path: Path) -> None:
    made: dict[str, Any] = {}
    exec(PIPELINES, made)
    states, rest = [], []
    for dataset in made["pipelines"]:
        iterator = dataset.iterate()
        for _ in range(20):
            next(iterator)
        states.append(iterator.state())
        rest.append([np.asarray(batch).tobytes().hex() for batch in iterator])
    assert all(len(json.dumps(state)) < 1024 for state in states) and all(len(one) >= 5 for one in rest)
    script = tmp_path / "go_on.py"
    script.write_text(PIPELINES + CONTINUE)
    done = subprocess.run([sys.executable, script, json.dumps(states)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == rest


def test_a_state_of_another_pipeline_is_refused_with_both_descriptions() -> None:
    state = data.range(9).shuffle(seed=1).iterate().state()
    text = r"the state belongs to another pipeline: given range\(9\).shuffle\(seed=1\), expected range\(9\).shuffle\(seed=2\)"
    with pytest.raises(DataError, match=text):
        data.range(9).shuffle(seed=2).iterate(state)
    with pytest.raises(DataError, match="the state belongs to another pipeline"):
        data.range(9).iterate().restore(state)


@pytest.mark.parametrize("change", ["size", "dtype", "verb", "length", "function"])
def test_what_makes_another_pipeline(change: str) -> None:
    def base(size: int = 9, dtype: Any = np.int32, fn: Any = abs) -> Dataset:
        return data.range(size, dtype=dtype).map(fn).batch(2)

    others = {
        "size": base(size=8),
        "dtype": base(dtype=np.int16),
        "verb": base().skip(1),
        "length": data.range(9).map(abs).batch(3),
        "function": base(fn=round),
    }
    with pytest.raises(DataError, match="the state belongs to another pipeline"):
        others[change].iterate(base().iterate().state())


def test_a_long_pipeline_is_told_by_its_ends() -> None:
    dataset, other = data.range(9), data.range(8)
    for _ in range(100):
        dataset, other = dataset.skip(0), other.skip(0)
    state = dataset.iterate().state()
    assert len(json.dumps(state)) < 1024 and " ... " in state["pipeline"]
    with pytest.raises(DataError, match="the state belongs to another pipeline"):
        other.iterate(state)


@pytest.mark.parametrize("state", [{}, {"at": 3}, [1], "state", 7, {"format": 1, "pipeline": "", "at": 0}])
def test_what_is_no_state(state: Any) -> None:
    text = (
        r"this is no state of a data iterator: given .*, expected a dict with .*pass what iterator.state\(\) returned"
    )
    with pytest.raises(DataError, match=text):
        data.range(3).iterate(state)


def test_a_state_of_another_format() -> None:
    state = data.range(3).iterate().state() | {"format": 99}
    with pytest.raises(DataError, match=r"the state has another format: given 99, expected 1.*the version of aidl_jax"):
        data.range(3).iterate(state)


def test_taking_a_state_changes_nothing_and_it_does_not_change_later() -> None:
    dataset = data.from_generator(lambda: iter(range(9)), jax.ShapeDtypeStruct((), np.int32)).shuffle(4).batch(2)
    iterator, other = dataset.iterate(), dataset.iterate()
    first = iterator.state()
    kept = json.dumps(first)
    got = []
    for batch in iterator:
        got.append(batch.tolist())
        iterator.state()
    assert got == [batch.tolist() for batch in other]
    assert json.dumps(first) == kept
    iterator.restore(first)
    assert [batch.tolist() for batch in iterator] == got


def endless(size: int) -> Dataset:
    return data.range(5).filter(lambda number: number > 0, python=True).repeat().take(size)


def from_rows(size: int) -> Dataset:
    rows = jax.ShapeDtypeStruct((64,), np.int32)
    return data.from_generator(lambda: (np.full(64, n, np.int32) for n in range(size)), rows).shuffle(32).batch(8)


def opened(size: int) -> Dataset:
    spec = jax.ShapeDtypeStruct((), np.int32)
    return data.range(size // 4).interleave(lambda n: data.range(int(n), int(n) + 4), cycle_length=3, spec=spec)


def short_generators(size: int) -> Dataset:
    return data.from_generator(lambda: iter(range(4)), jax.ShapeDtypeStruct((), np.int32)).repeat(size // 4)


PIPES = {
    "whole-set shuffle": (lambda size: data.range(500 * size).shuffle(seed=1).batch(2000), 600),
    "window": (lambda size: data.range(20 * size).window(8, 4, drop_remainder=True).batch(50), 600),
    "generator, buffer": (from_rows, 200),
    "filter, endless repeat": (endless, 100),
    "interleave": (opened, 60),
    "epochs of a generator": (short_generators, 60),
}


def peak(dataset: Dataset) -> int:
    """Bytes that going through it needs at once, beyond what was there before."""
    tracemalloc.start()
    for _ in dataset:
        pass
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return most


def fill_free_lists() -> None:
    """CPython keeps up to 2,000 freed tuples of each length below 20 to use them again: 96 kB of the shortest, which are no growth."""
    for length in range(1, 20):
        assert len([tuple(range(length)) for _ in range(2_000)]) == 2_000


@pytest.mark.parametrize("name", PIPES)
def test_memory_stays_flat_while_data_grows_a_hundredfold(name: str) -> None:
    make, size = PIPES[name]
    gc.disable()  # a look for cycles would empty the free lists; and a cycle that a pipeline leaves behind counts
    try:
        fill_free_lists()
        peak(make(size))  # imports and caches are filled
        small, large = peak(make(size)), peak(make(100 * size))
    finally:
        gc.enable()
    assert large < 1.3 * small + 60_000, (small, large)


@pytest.mark.parametrize("at", ["x", [1, 2, 3, 4, 5], {"a": 1}])
def test_a_malformed_place(at: Any) -> None:
    generated = data.from_generator(lambda: iter(range(5)), jax.ShapeDtypeStruct((), np.int32)).take(3).repeat(2)
    state = {**generated.iterate().state(), "at": at}
    with pytest.raises(DataError, match=r"the place in this state is malformed: given .*iterator.state\(\)"):
        generated.iterate(state)
