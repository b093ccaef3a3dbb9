"""Maps with a traced function: what they compute, the keys they are given, and the traps that they refuse."""

from __future__ import annotations

import random
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import aidl_jax.data as data
from aidl_jax.errors import DataError

X = np.random.default_rng(0).normal(size=(11, 6)).astype(np.float32)


def deep(row: Any) -> Any:
    """Sums and products whose last bits depend on how many rows are computed together."""
    return jnp.tanh(jnp.outer(row, row) @ jnp.sin(row * 3)) / jnp.sum(jnp.exp(row))


def test_a_tuples_parts_are_the_arguments_and_other_trees_are_one() -> None:
    pairs = data.from_tensor_slices((np.arange(3, dtype=np.int32), np.ones(3, np.float32)))
    assert [float(element) for element in pairs.map(lambda a, b: a + b)] == [1, 2, 3]
    named = pairs.map(lambda a, b: {"a": a, "b": (b,)})
    assert [int(element["c"]) for element in named.map(lambda one: {"c": one["a"] * 2})] == [0, 2, 4]


def test_a_map_is_traced_not_called_for_each_element() -> None:
    calls = []

    def counting(number: Any) -> Any:
        calls.append(number)
        return number + 1

    dataset = data.range(100).map(counting)
    assert [int(number) for number in dataset] == list(range(1, 101))
    assert 0 < len(calls) < 10 and not any(isinstance(number, np.ndarray) for number in calls)


def test_the_spec_of_what_is_made() -> None:
    dataset = data.from_tensor_slices(X).map(lambda row: (row > 0, jnp.sum(row)))
    assert dataset.element_spec == (jax.ShapeDtypeStruct((6,), bool), jax.ShapeDtypeStruct((), np.float32))


def test_a_size_that_differs_stays_open() -> None:
    ragged = data.from_tensor_slices(X).batch(4).map(lambda batch: (batch.sum(axis=1), batch.sum()))
    assert ragged.element_spec == (jax.ShapeDtypeStruct((None,), np.float32), jax.ShapeDtypeStruct((), np.float32))
    assert [element[0].shape for element in ragged] == [(4,), (4,), (3,)]


def test_a_row_has_the_same_bits_wherever_it_stands() -> None:
    mapped = data.from_tensor_slices(X).map(deep)
    alone = [mapped.element(place) for place in range(11)]
    for got, expected in zip(mapped, alone, strict=True):
        assert got.tobytes() == expected.tobytes()
    iterator = mapped.iterate()
    state = [next(iterator) for _ in range(7)] and iterator.state()
    assert [one.tobytes() for one in mapped.iterate(state)] == [one.tobytes() for one in alone[7:]]
    batches = data.from_tensor_slices(X).map(deep).repeat(3).batch(4)
    rows = np.concatenate([np.asarray(batch) for batch in batches])
    assert len({rows[epoch * 11 : epoch * 11 + 11].tobytes() for epoch in range(3)}) == 1
    for step in range(9):
        expected = rows[4 * step : 4 * step + 4]
        assert batches.element(step).tobytes() == expected.tobytes()


def draw(key: Any, *element: Any) -> Any:
    return jax.random.bits(key)


def drawn(dataset: data.Dataset) -> list[int]:
    return [int(bits) for batch in dataset for bits in np.atleast_1d(batch)]


def test_a_key_depends_on_seed_epoch_and_position_alone() -> None:
    keyed = data.range(6).map(draw, keyed=True, seed=3)
    expected = [
        int(jax.random.bits(jax.random.fold_in(jax.random.fold_in(jax.random.key(3), epoch), position)))
        for epoch in range(2)
        for position in range(6)
    ]
    assert drawn(keyed.repeat(2)) == drawn(keyed.repeat(2).batch(5)) == expected
    assert (
        drawn(data.range(6).batch(4).map(lambda key, row: draw(key) + row * 0, keyed=True).unbatch().take(4))[1:3]
        != expected[1:3]
    )
    assert drawn(keyed.skip(4)) == expected[4:6]
    assert drawn(data.range(6).map(draw, keyed=True, seed=4)) != expected[:6]


def test_a_position_beyond_32_bits_is_no_key() -> None:
    dataset = data.range(2).repeat().map(draw, keyed=True)
    with pytest.raises(
        DataError, match="a key is folded from 32 bits of the position: given 4294967296, expected less than"
    ):
        dataset.element(2**32)


@pytest.mark.parametrize(("dtype", "kept"), [(np.float64, "float32"), (np.int64, "int32"), (np.uint64, "uint32")])
def test_64_bits_are_not_narrowed(dtype: Any, kept: str) -> None:
    dataset = data.from_tensor_slices({"x": np.zeros(3, dtype), "y": np.zeros(3, np.int8)})
    text = rf"a leaf has 64 bits, which JAX would narrow to {kept} at \['x'\].*x.astype\(np.{kept}\)"
    for verb in (dataset.map, dataset.filter):
        with pytest.raises(DataError, match=text):
            list(verb(lambda row: row["y"] > 0))


def test_64_bits_are_not_asked_for_in_vain() -> None:
    with pytest.raises(
        DataError, match=r"the function asks for a 64-bit dtype, which JAX would narrow.*ask for a 32-bit dtype"
    ):
        list(data.range(3).map(lambda number: number.astype(jnp.int64)))


generator = np.random.default_rng(0)


@pytest.mark.parametrize(
    "frozen",
    [
        lambda number: number + np.random.normal(),
        lambda number: number + generator.integers(1000, size=5),
        lambda number: number + random.random(),
        lambda number: number + time.perf_counter_ns() % 2**20,
    ],
    ids=["np.random", "Generator", "random", "clock"],
)
def test_what_would_be_frozen_at_its_first_value_is_refused(frozen: Any) -> None:
    with pytest.raises(
        DataError, match=r"the function is another one each time it is traced.*keyed=True and jax.random"
    ):
        list(data.range(3, dtype=np.float32).map(frozen))


def test_a_place_out_of_range_is_clamped_as_jax_does() -> None:
    """Documented, not refused: indexing an array beyond its end gives its last element in traced code."""
    table = jnp.array([10, 20, 30])
    assert [int(number) for number in data.range(5).map(lambda place: table[place])] == [10, 20, 30, 30, 30]


def test_what_needs_a_value_cannot_be_traced() -> None:
    with pytest.raises(DataError, match=r"is traced, and this one needs a value.*jnp.where.*map\(fn, python=True\)"):
        list(data.range(3).map(lambda number: 1 if number > 1 else 0))


def test_what_raises_while_it_is_traced() -> None:
    with pytest.raises(
        DataError, match=r"range\(3\).map\(.*: the function of a map could not be traced: given KeyError: 'x'"
    ):
        list(data.range(3).map(lambda number: {}["x"]))


def test_text_is_not_computed_with() -> None:
    texts = data.from_tensor_slices(np.array(["a", "b"]))
    with pytest.raises(DataError, match="a leaf is text, which JAX does not compute with"):
        list(texts.map(lambda text: text))


@pytest.mark.parametrize("attempt", range(20))
def test_a_coin_that_is_tossed_while_tracing_is_refused_even_if_it_falls_alike(attempt: int) -> None:
    own = np.random.default_rng(attempt)
    tosses = [lambda: np.random.rand() < 0.5, lambda: random.random() < 0.5, lambda: own.integers(2) == 0]
    for toss in tosses:
        with pytest.raises(DataError, match="the function is another one each time it is traced"):
            data.range(3).map(lambda n, toss=toss, own=own: n + 1 if toss() else n - 1).element_spec  # noqa: B018


def test_jax_random_with_a_key_is_no_trap() -> None:
    own = np.random.default_rng(0)
    dataset = data.range(3).map(
        lambda key, n: n + jax.random.randint(key, (), 0, 9) + own.bit_generator.state["has_uint32"], keyed=True
    )
    assert dataset.element_spec.dtype == np.int32


WIDE = np.array([2**40])


def test_a_wide_integer_that_the_function_finds_outside_is_refused() -> None:
    inside = np.int64(2**33)
    for fn in (lambda n: n + WIDE, lambda n: n + inside):
        with pytest.raises(
            DataError, match="the function uses integers that need 64 bits, which JAX would cut off: given "
        ):
            data.range(3).map(fn).element_spec  # noqa: B018
    small = np.int64(7)
    assert [int(n) for n in data.range(3).map(lambda n: n + small)] == [7, 8, 9]


def test_a_wide_integer_written_inside_is_cut_off_as_the_docs_say() -> None:
    assert [int(n) for n in data.range(3).map(lambda n: n + np.int64(2**40))] == [0, 1, 2]


def test_a_function_that_returns_nothing() -> None:
    with pytest.raises(DataError, match="the function of a map returned None, as one without a return statement does"):
        data.range(3).map(lambda n: None).element_spec  # noqa: B018


def test_a_function_of_other_arguments() -> None:
    with pytest.raises(
        DataError, match=r"takes other arguments than it is given.*it is given a key first, then the element"
    ):
        data.range(3).map(lambda n: n, keyed=True).element_spec  # noqa: B018
    listed = data.from_tensor_slices([np.zeros(3, np.float32)] * 2)
    with pytest.raises(
        DataError, match="a tuple's parts are arguments of their own, a list, a dict or a named tuple is one"
    ):
        listed.map(lambda a, b: a).element_spec  # noqa: B018
