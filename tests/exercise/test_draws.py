"""Draws repeat, stay on the float32 grid and in their range; failing cases become simpler."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aidl_jax.errors import CourseError
from aidl_jax.exercise.draws import Draw, Drawn, float32_grid, shrink
from aidl_jax.exercise.expressions import Key

SEEDS = st.integers(0, 2**63)
SHAPES = st.lists(st.integers(0, 4), max_size=3).map(tuple)

KINDS: dict[str, Callable[..., Any]] = {
    "normal": lambda draw: draw.normal(3, 2),
    "uniform": lambda draw: draw.uniform(4, low=-1.0, high=2.0),
    "integers": lambda draw: draw.integers(-5, 5, 6),
    "permutation": lambda draw: draw.permutation(9),
    "seed": lambda draw: draw.seed(),
    "key": lambda draw: draw.key().data,
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_and_label_draw_the_same(kind: str) -> None:
    np.testing.assert_array_equal(KINDS[kind](Draw(7, "a")), KINDS[kind](Draw(7, "a")))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("seed", "label"), [(8, "a"), (7, "b"), (70, "")])
def test_another_seed_or_label_draws_something_else(kind: str, seed: int, label: str) -> None:
    assert not np.array_equal(KINDS[kind](Draw(7, "a")), KINDS[kind](Draw(seed, label)))


def test_draws_after_one_another_differ() -> None:
    draw = Draw(7, "a")
    assert not np.array_equal(draw.normal(3), draw.normal(3))


def test_draws_are_the_same_in_another_process() -> None:
    code = "from aidl_jax.exercise.draws import Draw; print(Draw(7, 'a').integers(0, 10**6, 4).tolist())"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == str(Draw(7, "a").integers(0, 10**6, 4).tolist())


@given(SEEDS, SHAPES)
def test_floats_are_float64_that_float32_can_hold(seed: int, shape: tuple[int, ...]) -> None:
    draw = Draw(seed, "")
    for array in (draw.normal(*shape), draw.uniform(*shape, low=-3, high=0.1)):
        assert (array.shape, array.dtype) == (shape, np.float64)
        np.testing.assert_array_equal(array.astype(np.float32).astype(np.float64), array)


def test_normals_are_standard() -> None:
    array = Draw(7, "a").normal(100_000)
    assert abs(array.mean()) < 5 / np.sqrt(100_000)
    assert abs((array**2).mean() - 1) < 5 * np.sqrt(2 / 100_000)


@given(SEEDS, st.integers(-100, 100), st.integers(1, 100))
def test_uniforms_stay_in_their_range(seed: int, low: int, width: int) -> None:
    array = Draw(seed, "").uniform(50, low=low, high=low + width)
    assert low <= array.min()
    assert array.max() <= low + width
    assert np.ptp(array) > width / 4


@given(SEEDS, st.integers(-50, 50), st.integers(1, 20), SHAPES)
def test_integers_stay_below_their_end(seed: int, low: int, width: int, shape: tuple[int, ...]) -> None:
    array = Draw(seed, "").integers(low, low + width, *shape)
    assert (array.shape, array.dtype) == (shape, np.int32)
    assert ((array >= low) & (array < low + width)).all()


def test_integers_reach_both_ends() -> None:
    assert set(Draw(7, "").integers(-1, 2, 200).tolist()) == {-1, 0, 1}


@pytest.mark.parametrize(("low", "high"), [(0, 2**31 + 1), (-(2**31) - 1, 0), (2**40, 2**41)])
def test_integers_that_int32_cannot_hold_are_refused(low: int, high: int) -> None:
    with pytest.raises(CourseError, match=f"integers are drawn as int32: given low {low} and high {high}, expected"):
        Draw(7, "").integers(low, high, 3)


def test_the_whole_range_of_int32_can_be_drawn() -> None:
    array = Draw(7, "").integers(-(2**31), 2**31, 1000).astype(np.int64)
    assert array.min() < -(2**30)
    assert array.max() > 2**30


@given(SEEDS, st.integers(0, 30))
def test_a_permutation_has_each_number_once(seed: int, length: int) -> None:
    array = Draw(seed, "").permutation(length)
    assert array.dtype == np.int32
    assert sorted(array.tolist()) == list(range(length))


@given(SEEDS)
def test_a_seed_fits_an_int32(seed: int) -> None:
    drawn = Draw(seed, "").seed()
    assert type(drawn) is int
    assert 0 <= drawn < 2**31


def test_a_key_has_two_words() -> None:
    key = Draw(7, "").key()
    assert isinstance(key, Key)
    assert (key.data.shape, key.data.dtype) == ((2,), np.uint32)


def test_shapes_do_not_depend_on_the_seed() -> None:
    def log(seed: int) -> list[Any]:
        draw = Draw(seed, "a")
        for kind in KINDS.values():
            kind(draw)
        return [(drawn.array.shape, drawn.array.dtype) for drawn in draw.log]

    assert log(1) == log(2)


@given(st.floats(-1e30, 1e30))
def test_the_grid_is_the_nearest_float32(number: float) -> None:
    on_grid = float(float32_grid(number))
    below, above = (float(np.nextafter(np.float32(on_grid), np.float32(end))) for end in (-np.inf, np.inf))
    assert abs(on_grid - number) <= min(abs(below - number), abs(above - number))


def test_the_grid_of_what_is_on_it_is_itself() -> None:
    array = Draw(7, "").normal(10)
    np.testing.assert_array_equal(float32_grid(array), array)


def test_a_replaced_draw_leaves_the_others_as_they_were() -> None:
    plain, replaced = Draw(7, "a"), Draw(7, "a", {1: np.zeros(2)})
    (a, _, c), (x, y, z) = ([draw.normal(2) for _ in range(3)] for draw in (plain, replaced))
    np.testing.assert_array_equal([a, c], [x, z])
    np.testing.assert_array_equal(y, np.zeros(2))


def test_a_replaced_key_is_handed_out() -> None:
    assert Draw(7, "a", {0: np.uint32([1, 2])}).key().data.tolist() == [1, 2]


def test_writing_into_a_draw_changes_neither_log_nor_replacement() -> None:
    replacement = np.zeros(2)
    draw = Draw(7, "a", {1: replacement})
    first, second = draw.normal(2), draw.normal(2)
    kept = first.copy()
    first[0], second[0] = 99, 99
    np.testing.assert_array_equal(draw.log[0].array, kept)
    np.testing.assert_array_equal(replacement, np.zeros(2))


def candidates(drawn: Drawn) -> list[np.ndarray]:
    assert drawn.simpler is not None
    return list(drawn.simpler(drawn.array))


@given(SEEDS, SHAPES)
def test_simpler_arrays_keep_shape_dtype_and_grid(seed: int, shape: tuple[int, ...]) -> None:
    draw = Draw(seed, "")
    draw.normal(*shape), draw.uniform(*shape, low=-2.0, high=5.0), draw.integers(-9, 9, *shape)
    for drawn in draw.log:
        for simpler in candidates(drawn):
            assert (simpler.shape, simpler.dtype) == (drawn.array.shape, drawn.array.dtype)
            np.testing.assert_array_equal(simpler, float32_grid(simpler))


@given(SEEDS, st.integers(-(2**31), 2**31 - 2), st.data())
def test_simpler_integers_stay_in_their_range(seed: int, low: int, data: st.DataObject) -> None:
    high = data.draw(st.integers(low + 1, 2**31))
    draw = Draw(seed, "")
    draw.integers(low, high, 5)
    for simpler in candidates(draw.log[0]):
        assert ((simpler.astype(np.int64) >= low) & (simpler <= draw.log[0].array)).all()


def test_simpler_integers_of_a_range_wider_than_int32() -> None:
    draw = Draw(7, "", {0: np.int32([5, -(2**31), 9])})
    draw.integers(-(2**31), 10, 3)
    lowest, halfway = candidates(draw.log[0])
    assert lowest.tolist() == [-(2**31)] * 3
    assert halfway.tolist() == [-(2**30) + 2, -(2**31), -(2**30) + 4]


@pytest.mark.parametrize(("low", "high"), [(0.25, 0.75), (-3.0, -2.0), (0.02, 0.1), (10.0, 20.0)])
def test_simpler_uniforms_stay_in_their_range(low: float, high: float) -> None:
    for seed in range(20):
        draw = Draw(seed, "")
        draw.uniform(4, low=low, high=high)
        for simpler in candidates(draw.log[0]):
            assert ((simpler >= low) & (simpler <= high)).all()


def test_keys_and_permutations_are_never_made_simpler() -> None:
    draw = Draw(7, "")
    draw.key(), draw.permutation(4)
    assert [drawn.simpler for drawn in draw.log] == [None, None]
    assert shrink(draw.log, lambda replaced: True) == {}


def case(draw: Draw) -> tuple[np.ndarray, np.ndarray]:
    return draw.normal(4), draw.integers(0, 50, 3)


def shrunk(fails: Callable[[np.ndarray, np.ndarray], bool], **options: Any) -> tuple[dict[int, np.ndarray], int]:
    """What `shrink` finds for a case drawn with seed 7, and how often it tried."""
    draw, tries = Draw(7, "a"), 0
    case(draw)

    def still_fails(replaced: dict[int, np.ndarray]) -> bool:
        nonlocal tries
        tries += 1
        return bool(fails(*case(Draw(7, "a", replaced))))

    return shrink(draw.log, still_fails, **options), tries


def test_what_always_fails_becomes_zeros() -> None:
    found, _ = shrunk(lambda x, n: True)
    assert {number: array.tolist() for number, array in found.items()} == {0: [0.0] * 4, 1: [0] * 3}


def test_what_fails_only_as_drawn_stays_as_drawn() -> None:
    x, n = case(Draw(7, "a"))
    assert shrunk(lambda a, b: np.array_equal(a, x) and np.array_equal(b, n))[0] == {}


@pytest.mark.parametrize(
    "fails",
    [
        lambda x, n: x.any(),
        lambda x, n: x[0] != 0 and n[0] >= 0,
        lambda x, n: (np.abs(x) > 0.01).all(),
        lambda x, n: x[3] != round(x[3]),
        lambda x, n: n.max() > 10,
        lambda x, n: x.sum() != 0 or n.sum() > 3,
    ],
)
def test_the_simpler_case_still_fails_and_keeps_its_shapes(fails: Callable[..., Any]) -> None:
    assert fails(*case(Draw(7, "a")))
    found, _ = shrunk(fails)
    assert fails(*case(Draw(7, "a", found)))
    for number, original in enumerate(case(Draw(7, "a"))):
        assert found.get(number, original).shape == original.shape


def test_a_case_that_needs_one_half_loses_the_other() -> None:
    found, _ = shrunk(lambda x, n: x[3] != round(x[3]) and np.abs(x[3]) * 10 % 1 > 1e-3)
    assert found[0][:2].tolist() == [0, 0]
    assert found[0][3] != 0


@pytest.mark.parametrize("budget", [0, 1, 3, 5])
def test_no_more_is_tried_than_the_budget(budget: int) -> None:
    _, tries = shrunk(lambda x, n: False, budget=budget)
    assert tries == budget


def test_a_budget_that_runs_out_keeps_what_was_found() -> None:
    found, tries = shrunk(lambda x, n: True, budget=1)
    assert (tries, list(found)) == (1, [0])


def test_what_is_simple_already_is_not_tried_again() -> None:
    log = [Drawn(np.zeros(0), lambda array: iter([np.zeros(0)])), Drawn(np.ones(2), lambda array: iter([np.ones(2)]))]
    assert shrink(log, lambda replaced: pytest.fail("tried")) == {}
