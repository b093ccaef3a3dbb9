"""What the exercise `state` says of retracing is what `jax.jit` does."""

from __future__ import annotations

import collections
import importlib.util
from collections.abc import Callable
from types import ModuleType
from typing import Any

import jax
import numpy as np
import pytest

from aidl_jax.exercise import Draw
from aidl_jax.exercise.course import open_course

pytestmark = pytest.mark.oldest


def checks() -> ModuleType:
    """The exercise's check file."""
    path = open_course().checks / "s02_graphs/state.py"
    spec = importlib.util.spec_from_file_location("state_checks", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


STATE = checks()


def given(x: Any) -> Any:
    """An argument as the exercise writes it, as a value."""
    if isinstance(x, tuple):
        return np.zeros(x[1], x[0])
    if isinstance(x, dict):
        return {key: given(part) for key, part in x.items()}
    return [given(part) for part in x] if isinstance(x, list) else x


def traces(calls: Any, run: Callable[[Callable[[], None]], Any]) -> int:
    """How often a function notices that it is traced while these calls are made."""
    noticed = []

    def f(x: Any, mode: Any) -> None:
        noticed.append(mode)

    jitted = jax.jit(f, static_argnames="mode")

    def program() -> None:
        for x, mode in calls:
            jitted(given(x), mode)

    run(program)
    return len(noticed)


def traced(program: Callable[[], None]) -> None:
    """Makes the calls while a program is traced: nothing is compiled, which takes nearly all of the time."""
    jax.make_jaxpr(program)()


@pytest.mark.parametrize("seed", range(300))
def test_the_expected_number_is_that_of_jit(seed: int) -> None:
    calls = STATE.random_calls(Draw(seed, "traces"), 5 + seed % 30)
    assert STATE.traces_of(calls) == traces(calls, traced)


@pytest.mark.parametrize("seed", range(12))
def test_the_expected_number_is_that_of_jit_when_the_calls_are_run(seed: int) -> None:
    calls = STATE.random_calls(Draw(seed, "runs"), 20)
    assert STATE.traces_of(calls) == traces(calls, lambda program: program())


def test_the_drawn_calls_differ_in_everything_that_counts_and_in_what_does_not() -> None:
    seen = collections.Counter[str]()
    for seed in range(300):
        calls = STATE.random_calls(Draw(seed, "traces"), 5 + seed % 30)
        count = STATE.traces_of(calls)
        seen["repeated"] += count < len(calls)
        seen["mode"] += count != STATE.traces_of([(x, "") for x, _ in calls])
        for what, change in CHANGES.items():
            seen[what] += count != len({repr((change(x), mode)) for x, mode in calls})
    assert min(seen[what] for what in ("repeated", "mode", *CHANGES)) > 100, seen


CHANGES: dict[str, Callable[[Any], Any]] = {  # each notes too much, or too little
    "value": lambda x: x,
    "shape": lambda x: x[0] if isinstance(x, tuple) else type(x),
    "structure": lambda x: len(x) if isinstance(x, list | dict) else x,
}


@pytest.mark.parametrize(
    ("calls", "count"),
    [
        ([], 0),
        ([(("float32", (3,)), "a")] * 5, 1),
        ([(1, "a"), (2, "a"), (2.0, "a"), (True, "a"), (("int32", ()), "a")], 4),
        ([(("float64", ()), "a"), (("float32", ()), "a"), (0.5, "a")], 2),
        ([({"w": 1, "b": 2.0}, "a"), ({"b": 3.0, "w": 2}, "a"), ({"w": 1}, "a"), ([1], "a"), ([[1]], "a")], 4),
        ([(1, 2), (1, 3), (1, "a"), (5, 3)], 3),
    ],
)
def test_the_lessons_rules_one_by_one(calls: Any, count: int) -> None:
    assert STATE.traces_of(calls) == traces(calls, traced) == traces(calls, lambda program: program()) == count
