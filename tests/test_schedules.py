"""Schedules against their formulas, worked out by hand."""

from __future__ import annotations

import math

import jax
import numpy as np
import pytest

from aidl_jax import schedules
from aidl_jax.errors import OptimizerError
from aidl_jax.optimizer_checks import check_number
from aidl_jax.schedules import constant, cosine, exponential_decay, piecewise, warm_up


def values(schedule: object, steps: list[int]) -> list[float]:
    """The rates at some steps, the same plain and compiled over an array of steps."""
    plain = [float(schedule(step)) for step in steps]
    compiled = jax.jit(lambda at: jax.vmap(lambda one: np.float32(1) * schedule(one))(at))(np.array(steps))
    np.testing.assert_allclose(compiled, plain, rtol=2e-6, atol=1e-9)
    return plain


def test_the_public_names() -> None:
    assert sorted(schedules.__all__) == ["constant", "cosine", "exponential_decay", "piecewise", "warm_up"]


@pytest.mark.oldest
def test_constant() -> None:
    assert [constant(0.3)(step) for step in (0, 10, 10**6)] == [0.3] * 3


@pytest.mark.oldest
def test_exponential_decay_of_the_deck() -> None:
    found = values(exponential_decay(0.003, 0.0001, steps=1000), [0, 250, 500, 1000, 1001, 10**6])
    quarter = 0.003 * math.exp(math.log(0.0001 / 0.003) / 4)
    expected = [0.003, quarter, math.sqrt(0.003 * 0.0001), 0.0001, 0.0001, 0.0001]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_exponential_decay_is_never_below_its_floor_and_falls_by_one_factor() -> None:
    rates = np.array(values(exponential_decay(1.0, 0.5, steps=7), list(range(12))))
    np.testing.assert_allclose(rates[1:8] / rates[:7], 0.5 ** (1 / 7), rtol=1e-5)
    assert (rates >= 0.5).all()
    assert values(exponential_decay(0.2, 0.2, steps=5), [0, 3, 9]) == pytest.approx([0.2] * 3)


def test_piecewise() -> None:
    found = values(piecewise([3, 5], [1.0, 0.25, 0.0]), [0, 2, 3, 4, 5, 99])
    assert found == [1.0, 1.0, 0.25, 0.25, 0.0, 0.0]
    assert values(piecewise([], [0.5]), [0, 7]) == [0.5, 0.5]


@pytest.mark.oldest
def test_cosine() -> None:
    found = values(cosine(0.8, steps=90, end=0.2), [0, 30, 45, 60, 90, 91, 1000])
    expected = [0.8, 0.2 + 0.6 * 0.75, 0.5, 0.2 + 0.6 * 0.25, 0.2, 0.2, 0.2]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_warm_up_into_a_rate_and_into_a_schedule() -> None:
    np.testing.assert_allclose(values(warm_up(0.4, steps=4), [0, 1, 2, 4, 50]), [0, 0.1, 0.2, 0.4, 0.4], rtol=1e-6)
    found = values(warm_up(piecewise([10], [0.4, 0.04]), steps=4, start=0.2), [0, 2, 4, 13, 14])
    np.testing.assert_allclose(found, [0.2, 0.3, 0.4, 0.4, 0.04], rtol=1e-6)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: constant(-0.1), "rate is not one that can be used: given rate=-0.1, expected a number of at least 0. Fix: an optimizer steps against the gradient by itself: leave out the minus"),
        (lambda: constant("fast"), "rate is not one that can be used: given rate='fast', expected a number of at least 0"),
        (lambda: constant(True), "given rate=True"),
        (lambda: constant(float("inf")), "given rate=inf"),
        (lambda: exponential_decay(0.001, 0.003, 10), "lies between 0 and its start: given start=0.001, floor=0.003, expected 0 < floor <= 0.001. Fix: exponential_decay(start=0.003"),
        (lambda: exponential_decay(0.1, 0.0, 10), "lies between 0 and its start"),
        (lambda: exponential_decay(0.1, 0.01, 0), "a schedule takes a whole number of steps: given steps=0, expected an int of at least 1"),
        (lambda: cosine(0.1, 2.5), "given steps=2.5"),
        (lambda: cosine(0.1, 10, end=0.2), "a cosine schedule goes down: given start=0.1, end=0.2, expected 0 < start and end <= start"),
        (lambda: piecewise([10, 5], [1, 2, 3]), "the boundaries of a piecewise schedule rise: given [10, 5], expected each after the one before, the first after step 0. Fix: piecewise([5, 10], ...)"),
        (lambda: piecewise([0], [1, 2]), "the boundaries of a piecewise schedule rise"),
        (lambda: piecewise([5, 5], [1, 2, 3]), "the boundaries of a piecewise schedule rise"),
        (lambda: piecewise([5], [0.1]), "one rate more than boundaries: given 1 boundaries and 1 rates, expected 2 rates"),
        (lambda: piecewise([5], [0.1, -0.1]), "given rate=-0.1"),
        (lambda: warm_up(0.1, steps=-3), "given steps=-3"),
        (lambda: check_number("momentum", 1.0, below=1), "momentum is not one that can be used: given momentum=1.0, expected a number of at least 0 and below 1"),
    ],
)  # fmt: skip
def test_errors_say_what_and_how(make: object, told: str) -> None:
    with pytest.raises(OptimizerError) as caught:
        make()
    assert told in str(caught.value)
