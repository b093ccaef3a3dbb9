"""Random pipelines, each of which must give what plain Python gives, from any state, in both classes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st
from pipeline_oracle import (
    Epoch,
    buffered,
    interleaved,
    repeated,
    same,
    sharded,
    shuffled,
    unbatched,
    windowed,
)

import aidl_jax.data as data
from aidl_jax.data import UNKNOWN, Dataset, EndOfDataError
from aidl_jax.data.elements import is_fixed, spec_of
from aidl_jax.errors import DataError

INT32 = jax.ShapeDtypeStruct((), np.int32)
ROWS = {"x": np.arange(22, dtype=np.int32).reshape(11, 2), "y": np.arange(11, dtype=np.float32) / 2}


@dataclass
class Pair:
    """A pipeline, and a function from an epoch to the elements that it must give."""

    dataset: Dataset
    epoch: Epoch


def affine(*arguments: Any) -> Any:
    """Exact in int32 and float32, so that its bits do not depend on how it is compiled."""
    element = arguments if len(arguments) > 1 else arguments[0]
    return jax.tree.map(lambda leaf: leaf * 2 + 1, element)


def draws(key: Any, *arguments: Any) -> Any:
    return jax.random.bits(key) >> 16, *arguments


def keyed(element: Any, epoch: int, position: int) -> Any:
    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(7), epoch), position)
    return (np.asarray(jax.random.bits(key) >> 16), *(element if isinstance(element, tuple) else (element,)))


def total(element: Any) -> int:
    return int(sum(np.sum(np.asarray(leaf).astype(np.int64)) for leaf in jax.tree.leaves(element)))


def odd(*arguments: Any) -> Any:
    return sum(jnp.sum(leaf.astype(jnp.int32)) for leaf in jax.tree.leaves(arguments)) % 3 != 0


def counted_from(*arguments: Any) -> Dataset:
    few = abs(total(arguments)) % 4
    return data.range(few, few + few)


def counted(element: Any) -> list[Any]:
    few = abs(total(element)) % 4
    return [np.int32(number) for number in range(few, few + few)]


def numbered(elements: list[Any], start: int) -> list[Any]:
    return [(np.int32(number), element) for number, element in enumerate(elements, start)]


class Flaky:
    """Goes through elements, and fails once before one of them; who asks again gets it."""

    def __init__(self, elements: list[Any], where: int) -> None:
        self.elements, self.where, self.next = elements, where, 0

    def __iter__(self) -> Flaky:
        return self

    def __next__(self) -> Any:
        if self.next == self.where:
            self.where = -1
            raise OSError("the disk is away")
        if self.next >= len(self.elements):
            raise StopIteration
        self.next += 1
        return self.elements[self.next - 1]


def source(kind: str, size: int, sequential: bool) -> Pair:
    if kind == "range":
        rows: list[Any] = [np.int32(3 * number - 2) for number in range(size)]
        dataset = data.range(-2, 3 * size - 2, 3)
    else:
        rows = [{"x": ROWS["x"][row], "y": ROWS["y"][row]} for row in range(size)]
        dataset = data.from_tensor_slices({name: leaf[:size] for name, leaf in ROWS.items()})
    if kind == "flaky":
        dataset = data.from_generator(lambda: Flaky(rows, size // 2), dataset.element_spec, size)
    elif kind == "generator" or sequential:
        dataset = data.from_generator(lambda: iter(rows), dataset.element_spec, cardinality=size)
    return Pair(dataset, lambda epoch: rows)


def taken_of_endless(inner: Epoch, count: int) -> Epoch:
    def epoch(_: int) -> list[Any]:
        elements: list[Any] = []
        for number in range(count):
            if len(elements) >= count or not inner(number):
                break
            elements += inner(number)
        return elements[:count]

    return epoch


def step(pair: Pair, verb: str, a: int, b: int, c: bool) -> Pair:
    """One verb more, in both; `a` in 0..6 and `b` in 1..4 and `c` say how."""
    ds, inner = pair.dataset, pair.epoch
    fixed = is_fixed(ds.element_spec)
    if verb == "take":
        return Pair(ds.take(a), lambda e: inner(e)[:a])
    if verb == "skip":
        return Pair(ds.skip(a), lambda e: inner(e)[a:])
    if verb == "shard":
        return Pair(ds.shard(b, a % b), lambda e: sharded(inner(e), b, a % b))
    if verb == "repeat":
        return Pair(ds.repeat(b - 1), repeated(inner, b - 1))
    if verb == "endless":
        return Pair(ds.repeat().take(3 * a), taken_of_endless(inner, 3 * a))
    if verb == "endless buffer":
        fewer = lambda e: buffered(taken_of_endless(inner, 4 * a + 1)(e), a + 1, b, e)[: 3 * a]  # noqa: E731
        return Pair(ds.repeat().shuffle(a + 1, seed=b).take(3 * a), fewer)
    if verb == "buffer":
        return Pair(
            ds.shuffle(a + 1, seed=b, reshuffle_each_iteration=c), lambda e: buffered(inner(e), a + 1, b, c * e)
        )
    if verb == "shuffle":
        whole = ds.shuffle(seed=b) if ds.stage.indexed else ds.shuffle(1000, seed=b)
        return Pair(whole, lambda e: shuffled(inner(e), b, e))
    if verb == "map":
        mapped = lambda one: jax.tree.map(lambda leaf: (leaf * 2 + 1).astype(leaf.dtype), one)  # noqa: E731
        return Pair(ds.map(affine), lambda e: [mapped(element) for element in inner(e)])
    if verb == "keyed":
        return Pair(ds.map(draws, keyed=True, seed=7), lambda e: [keyed(x, e, p) for p, x in enumerate(inner(e))])
    if verb == "enumerate":
        return Pair(ds.enumerate(a), lambda e: numbered(inner(e), a))
    if verb == "concatenate":
        return Pair(ds.concatenate(ds.take(b)), lambda e: inner(e) + inner(e)[:b])
    if verb == "zip":
        other = data.range(b + 3)
        both = lambda e: list(zip(inner(e), map(np.int32, range(b + 3)), strict=False))  # noqa: E731
        return Pair(data.zip((ds, other)), both)
    if verb == "filter":
        return Pair(ds.filter(odd, python=c), lambda e: [element for element in inner(e) if total(element) % 3 != 0])
    if verb == "take_while":
        return Pair(ds.take_while(odd, python=c), lambda e: list(takewhile(lambda one: total(one) % 3 != 0, inner(e))))
    if verb == "flat_map":
        flat = ds.flat_map(counted_from, spec=INT32)
        return Pair(flat, lambda e: [number for element in inner(e) for number in counted(element)])
    if verb == "interleave":
        turns = ds.interleave(counted_from, cycle_length=b, block_length=1 + a % 3, spec=INT32)
        return Pair(turns, lambda e: interleaved([counted(element) for element in inner(e)], b, 1 + a % 3))
    if verb == "batch" and fixed:
        return Pair(ds.batch(b, drop_remainder=c), lambda e: windowed(inner(e), b, b, 1, c))
    if verb == "window" and fixed:
        return Pair(ds.window(b, 1 + a % 4, 1 + a % 2, c), lambda e: windowed(inner(e), b, 1 + a % 4, 1 + a % 2, c))
    leaves = jax.tree.leaves(ds.element_spec)
    if verb == "unbatch" and all(leaf.shape and leaf.shape[0] == leaves[0].shape[0] for leaf in leaves):
        return Pair(ds.unbatch(), lambda e: unbatched(inner(e)))
    return pair


VERBS = [
    "take", "skip", "shard", "repeat", "endless", "endless buffer", "buffer", "shuffle", "map", "keyed", "enumerate", "concatenate", "zip", "filter", "take_while",
    "flat_map", "interleave", "batch", "window", "unbatch", "batch",
]  # fmt: skip
STEPS = st.lists(
    st.tuples(st.sampled_from(VERBS), st.integers(0, 6), st.integers(1, 4), st.booleans()), min_size=1, max_size=5
)
PLANS = st.tuples(st.sampled_from(["range", "rows", "generator"]), st.integers(0, 11), STEPS)
few = settings(max_examples=50, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


def built(plan: Any, sequential: bool = False) -> Pair:
    kind, size, steps = plan
    pair = source(kind, size, sequential)
    for verb, a, b, c in steps:
        pair = step(pair, verb, a, b, c)
        if len(pair.epoch(0)) > 60:
            reject()
    return pair


def all_same(got: list[Any], expected: list[Any]) -> bool:
    return len(got) == len(expected) and all(map(same, got, expected))


@few
@given(PLANS)
def test_a_pipeline_gives_what_plain_python_gives(plan: Any) -> None:
    pair = built(plan)
    expected = pair.epoch(0)
    got = list(pair.dataset)
    assert all_same(got, expected), (str(pair.dataset), got, expected)
    assert pair.dataset.cardinality() in (UNKNOWN, len(expected))
    assert all(fits(spec_of(element), pair.dataset.element_spec) for element in got)
    assert all(not leaf.flags.writeable for element in got for leaf in jax.tree.leaves(element))
    if pair.dataset.stage.indexed:
        assert pair.dataset.cardinality() == len(expected)
        for position in {0, 1, len(expected) // 2, len(expected) - 1} & set(range(len(expected))):
            assert same(pair.dataset.element(position), expected[position])


def fits(spec: Any, wide: Any) -> bool:
    if jax.tree.structure(spec) != jax.tree.structure(wide):
        return False
    pairs = zip(jax.tree.leaves(spec), jax.tree.leaves(wide), strict=True)
    return all(
        a.dtype == b.dtype and len(a.shape) == len(b.shape) and all(n in (None, m) for m, n in zip(a.shape, b.shape, strict=True))
        for a, b in pairs
    )  # fmt: skip


@few
@given(PLANS)
def test_every_state_restores_into_a_fresh_iterator(plan: Any) -> None:
    dataset = built(plan).dataset
    elements, states = [], []
    iterator = dataset.iterate()
    states.append(iterator.state())
    for element in iterator:
        elements.append(element)
        states.append(iterator.state())
    states.append(iterator.state())
    for number, state in enumerate(states):
        text = json.dumps(state)
        assert len(text) < 1024
        fresh = dataset.iterate(json.loads(text))
        rest = elements[number : number + 2] if number % 7 else elements[number:]
        for expected in rest:
            assert same(fresh.get_next(), expected), (str(dataset), number)
        if number + len(rest) >= len(elements):
            with pytest.raises(EndOfDataError):
                fresh.get_next()


@few
@given(PLANS)
def test_indexed_and_sequential_are_the_same(plan: Any) -> None:
    indexed, sequential = built(plan).dataset, built(plan, sequential=True).dataset
    assert not sequential.stage.indexed
    got, expected = list(sequential), list(indexed)
    assert all_same(got, expected), (str(indexed), got, expected)
    fixed = is_fixed(indexed.element_spec)
    assert not fixed or sequential.element_spec == indexed.element_spec


@few
@given(st.integers(1, 9), STEPS)
def test_an_error_on_the_way_loses_nothing(size: int, steps: Any) -> None:
    """Who goes on after it, and who starts from a state that was saved then, gets every element."""
    steady, flaky = built(("generator", size, steps)), built(("flaky", size, steps)).dataset
    expected, got = steady.epoch(0), []
    try:
        iterator = flaky.iterate()
    except DataError:  # a skip goes through its elements as it is opened: there is no iterator yet to ask again
        reject()
    while True:
        try:
            got += [next(iterator)]
        except EndOfDataError:
            break
        except DataError:
            assert_goes_on(steady.dataset, iterator.state(), expected[len(got) :])
    assert all_same(got, expected), (str(flaky), got, expected)


def assert_goes_on(dataset: Dataset, state: Any, rest: list[Any]) -> None:
    """The same pipeline over a source that does not fail goes on from a state of the one that does."""
    told = dataset.iterate().state() | {"at": state["at"]}
    assert all_same(list(dataset.iterate(told)), rest)
