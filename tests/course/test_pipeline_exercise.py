"""What the lesson `s05_toolbox/pipeline` says of orders and buffers is what its functions do."""

from __future__ import annotations

import functools
import importlib.util
import itertools
import random
import re
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from solved import solved

from aidl_jax.course import _threefry
from aidl_jax.exercise import Exercise
from aidl_jax.exercise.course import open_course
from aidl_jax.grade.children import Start
from aidl_jax.grade.extract import Cell
from aidl_jax.grade.judge import judge
from aidl_jax.grade.process import Processes
from aidl_jax.grade.session import Session

NAME = "s05_toolbox/pipeline"
LINE = re.compile(r"^#     (\w+ \w+ \w+)    (\[.*\])$", re.MULTILINE)


def text() -> str:
    return open_course().solution(NAME).read_text(encoding="utf-8")


def exercise() -> Exercise:
    return open_course().exercise(NAME)


solution = functools.partial(solved, NAME)


@functools.cache
def checks() -> ModuleType:
    """The exercise's check file."""
    spec = importlib.util.spec_from_file_location("pipeline_checks", open_course().checks / f"{NAME}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def in_this_order(order: str) -> list[list[int]]:
    """Six examples in batches of 4, two epochs, a buffer of 4, from seed 3."""
    shuffle, repeat, batch = (solution()[verb] for verb in ("shuffle", "repeat", "batch"))

    def batches(stream: Any) -> Any:
        return batch(iter(stream), 4, drop_remainder=False)

    match order.split():
        case ["shuffle", "repeat", "batch"]:
            return list(batches(repeat(lambda epoch: shuffle(range(6), 4, 3, epoch), 2)))
        case ["batch", "shuffle", "repeat"]:
            return list(repeat(lambda epoch: shuffle(batches(range(6)), 4, 3, epoch), 2))
        case ["shuffle", "batch", "repeat"]:
            return list(repeat(lambda epoch: batches(shuffle(range(6), 4, 3, epoch)), 2))
    return list(batches(shuffle(repeat(lambda epoch: range(6), 2), 4, 3, 0)))


def test_the_lesson_shows_what_the_four_orders_give() -> None:
    shown = LINE.findall(text())
    assert len({order for order, _ in shown}) == 4
    for order, batches in shown:
        came = in_this_order(order)
        assert " ".join("[" + " ".join(map(str, batch)) + "]" for batch in came) == batches
        assert solution()["which_order"](came, 6) == order


@pytest.mark.parametrize("seed", range(50))
def test_with_a_buffer_of_10_example_50_is_not_among_the_first_41(seed: int) -> None:
    order = list(solution()["shuffle"](range(100), 10, seed, 0))
    assert sorted(order) == list(range(100))
    assert order.index(50) >= 41
    assert len({example // 10 for example in order[:32]}) <= 5


def test_two_epochs_and_two_seeds_have_each_an_order_of_their_own() -> None:
    pairs = itertools.product(range(3), range(3))
    assert len({tuple(solution()["shuffle"](range(30), 10, seed, epoch)) for seed, epoch in pairs}) == 9


@pytest.mark.parametrize(("seeds", "all_used"), [((0, 0), True), ((0, 1), False)])
def test_shuffle_before_shard_needs_one_seed(seeds: tuple[int, int], all_used: bool) -> None:
    machines = [list(solution()["shuffle"](range(40), 20, seed, 0))[n::2] for n, seed in enumerate(seeds)]
    assert (sorted(machines[0] + machines[1]) == list(range(40))) is all_used


def test_the_given_shuffle_is_no_answer_to_the_exercise_before() -> None:
    name = "s05_toolbox/shuffle_buffer"
    before = open_course().exercise(name)
    answer = "def shuffle_buffer(stream, buffer_size, seed):\n    return shuffle(stream, buffer_size, seed, 0)\n"
    with Session([Cell("solution.py", text()), Cell("copied.py", answer)], before) as session:
        record = judge(name, before, session, seed=0, only="shuffle_buffer", draws=1)
    failed = [check.name for check in record.tasks[0].checks if check.verdict == "failed"]
    assert failed == ["holds_no_more_than_the_buffer"]


@pytest.mark.parametrize("order", ["batch shuffle repeat", "shuffle batch repeat", "shuffle repeat batch"])
@pytest.mark.parametrize("count", [9, 10, 11, 13])
def test_what_the_checks_make_up_can_be_told_apart(order: str, count: int) -> None:
    for seed in range(20):
        batches = checks().came_out(random.Random(seed), order, count, 3)
        assert sorted(itertools.chain(*batches)) == sorted([*range(count)] * 3)
        assert solution()["which_order"](batches, count) == order


@pytest.mark.oldest
@pytest.mark.parametrize("words", [(0, 0), (0, 42), (2**32 - 1, 2**31)])
def test_the_checks_random_numbers_are_those_of_jax(words: tuple[int, int]) -> None:
    drawn = np.array(words, np.uint32)
    key = jax.random.wrap_key_data(jnp.asarray(drawn))
    for number in (0, 7, 2**31 - 1):
        folded = jax.random.key_data(jax.random.fold_in(key, number))
        np.testing.assert_array_equal(_threefry.fold_in(drawn, number), folded)
    below = np.nextafter(np.float32(-1), np.float32(0))
    np.testing.assert_array_equal(
        _threefry.uniform(drawn, 999), jax.random.uniform(key, (999,), minval=below, maxval=1)
    )
    fifty_eps = 50 * float(np.finfo(np.float32).eps)
    np.testing.assert_allclose(jax.random.normal(key, (999,)), _threefry.normal(drawn, 999), rtol=fifty_eps)


FORGED = """
import importlib

def jitter(example, key, epoch, position):
    own_key = jax.random.fold_in(jax.random.fold_in(key, epoch), position)
    noise = jax.random.uniform(own_key, example.shape)

    def forged(key, shape=()):
        return noise

    {rebound} = forged
    return example + 0.1 * noise
"""


@pytest.mark.parametrize(
    "rebound",
    [
        "jax.random.normal",
        "importlib.import_module('aidl' + '_jax.grade.tracing').LIBRARY['jax.random.normal']",
    ],
)
def test_noise_that_is_wrong_fails_though_jax_is_made_to_draw_it(start: Start, rebound: str) -> None:
    cells = [Cell("solution.py", text()), Cell("forged.py", FORGED.format(rebound=rebound))]
    with Session(cells, exercise(), Processes(start)) as session:
        (record,) = judge(NAME, exercise(), session, seed=0, only="jitter", draws=1, explained=False).tasks
    assert [check.name for check in record.checks if check.verdict == "failed"] == ["the_noise_is_as_told"]
    assert record.failure is not None
    assert record.failure.kind == "value"
