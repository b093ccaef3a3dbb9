"""What a pipeline says of itself: class, plan, costs, warnings."""

from __future__ import annotations

import tracemalloc

import jax
import numpy as np
import pytest

from aidl_jax import data
from aidl_jax.data import shuffling
from aidl_jax.data.explaining import warnings_of
from aidl_jax.data.permutation import bijection

NUMBERS = data.range(100)
GENERATED = data.from_generator(lambda: iter(range(10)), jax.ShapeDtypeStruct((), np.int32))


def test_the_plan_of_an_indexed_pipeline():
    told = NUMBERS.skip(3).shuffle(seed=5).batch(10).explain()
    assert told.startswith("Indexed: 10 elements of int32[?]\n")
    assert [line.split()[0] for line in told.splitlines()[2:6]] == [
        "range(100)",
        "skip(3)",
        "shuffle(seed=5)",
        "batch(10)",
    ]
    assert "position + 3" in told and "a state   a position" in told
    assert "seeds     shuffle: 5" in told


def test_the_first_sequential_verb_is_marked():
    told = GENERATED.map(lambda n: n + 1).batch(2).explain()
    assert told.startswith("Sequential: an unknown number of elements")
    assert told.count("[Sequential from here on]") == 1
    assert "from_generator" in next(line for line in told.splitlines() if "[Sequential" in line)


def test_a_jump_costs_what_it_says(monkeypatch):
    """What is computed is counted where it is computed."""
    computed = []

    def counted(positions, *more):
        computed.append(len(positions))
        return bijection(positions, *more)

    monkeypatch.setattr(shuffling, "bijection", counted)
    for size, told in (
        (100, "100 integers, the order of one epoch"),
        (70_000, "65,536 integers for each stretch of the shuffle's order that it touches"),
    ):
        pipeline = data.range(size).skip(0).shuffle()
        assert f"a jump    costs {told}\n" in pipeline.explain()
        pipeline.element(size // 2)
        assert computed.pop() == min(size, 65_536) and not computed
    assert "a jump    costs nothing" in NUMBERS.skip(3).batch(10).explain()
    both = NUMBERS.shuffle(50).shuffle().explain()
    assert (
        "a jump    costs 100 integers, the order of one epoch's buffer; 100 integers, the order of one epoch\n" in both
    )


def test_a_whole_set_shuffle_keeps_what_it_says():
    shuffle = data.range(16 * 65_536).shuffle()
    assert "of its order 262,144 integers are kept, 2,098 kB" in shuffle.explain()
    tracemalloc.start()
    for first in range(0, 16 * 65_536, 65_536):
        shuffle.element(first)
    kept = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert 2_000_000 < kept < 2_200_000


def test_elements_without_end():
    assert NUMBERS.repeat().explain().startswith("Indexed: elements without end of int32[]")


@pytest.mark.parametrize(
    ("dataset", "warning"),
    [
        (NUMBERS.batch(4).shuffle(), "shuffle after batch"),
        (NUMBERS.repeat(2).shuffle(), "shuffle after repeat"),
        (NUMBERS.shuffle().shard(2, 0), "shard after shuffle"),
        (NUMBERS.shuffle().take(50).repeat(2), "take after a shuffle"),
        (NUMBERS.shuffle(5), "a buffer of 5 for 100 elements"),
        (NUMBERS.repeat(2).batch(30), "batch after repeat"),
    ],
)
def test_orders_of_verbs_that_are_often_mistakes(dataset, warning):
    assert [one for one in warnings_of(dataset.stage) if one.startswith(warning)]
    assert f"look out  {warning}" in dataset.explain()


@pytest.mark.parametrize(
    "dataset",
    [
        NUMBERS.shard(2, 0).shuffle().batch(5).repeat(2),
        NUMBERS.shuffle(reshuffle_each_iteration=False).take(50).shuffle().repeat(2),
        NUMBERS.shuffle(50),
        NUMBERS.batch(4).unbatch().shuffle(),
        NUMBERS.repeat(2).batch(50),
        NUMBERS.shuffle().take(50),
    ],
    ids=str,
)
def test_orders_of_verbs_that_are_right(dataset):
    assert warnings_of(dataset.stage) == []
