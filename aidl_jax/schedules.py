"""Schedules: the learning rate as a function of the step, `step -> rate`.

The first step is number 0. An optimizer takes a schedule wherever it takes a rate, and any optax schedule stands in these
functions' place. Where a formula below is in optax, optax computes it.

>>> rate = exponential_decay(0.003, 0.0001, steps=1000)
>>> [f"{float(rate(step)):.6f}" for step in (0, 500, 1000, 5000)]
['0.003000', '0.000548', '0.000100', '0.000100']
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import optax

from aidl_jax.errors import OptimizerError
from aidl_jax.optimizer_checks import check_number, check_steps, is_known

__all__ = ["constant", "cosine", "exponential_decay", "piecewise", "warm_up"]

Schedule = Callable[[Any], Any]


def constant(rate: float) -> Schedule:
    """The same rate at every step.

    >>> constant(0.5)(1000)
    0.5
    """
    return optax.constant_schedule(check_number("rate", rate))


def exponential_decay(start: float, floor: float, steps: int) -> Schedule:
    """Falls by the same factor at every step until it reaches the floor, and stays there.

    `rate(step) = max(floor, start * (floor / start) ** (step / steps))`

    Args:
        start: the rate at step 0.
        floor: the rate from step `steps` on; more than 0, since no factor leads to 0.
        steps: how many steps the way down takes.

    Raises:
        OptimizerError: the floor is not in (0, start], or there are no steps.
    """
    check_number("start", start)
    check_number("floor", floor)
    check_steps(steps)
    if not is_known(floor) or not is_known(start) or 0 < floor <= start:
        return optax.exponential_decay(start, steps, floor / start, end_value=floor)
    raise OptimizerError(
        "the floor of an exponential decay lies between 0 and its start",
        given=f"start={start}, floor={floor}",
        expected=f"0 < floor <= {start}",
        fix="exponential_decay(start=0.003, floor=0.0001, steps=2000); cosine(...) goes down to 0",
    )


def piecewise(boundaries: Sequence[int], rates: Sequence[float]) -> Schedule:
    """One rate up to each boundary, the next one from that step on.

    Args:
        boundaries: the first steps at which a new rate holds, rising.
        rates: one more than boundaries.

    Raises:
        OptimizerError: the boundaries do not rise, or the rates are not one more.

    >>> rate = piecewise([100, 200], [0.1, 0.01, 0.001])
    >>> [round(float(rate(step)), 4) for step in (0, 99, 100, 199, 200)]
    [0.1, 0.1, 0.01, 0.01, 0.001]
    """
    boundaries, rates = list(boundaries), list(rates)
    if len(rates) != len(boundaries) + 1:
        raise OptimizerError(
            "a piecewise schedule has one rate more than boundaries",
            given=f"{len(boundaries)} boundaries and {len(rates)} rates",
            expected=f"{len(boundaries) + 1} rates",
            fix="piecewise([1000], [0.1, 0.01]): 0.1 before step 1000, 0.01 from there on",
        )
    if any(later <= earlier for earlier, later in itertools.pairwise([0, *boundaries])):
        raise OptimizerError(
            "the boundaries of a piecewise schedule rise",
            given=repr(boundaries),
            expected="each after the one before, the first after step 0",
            fix=f"piecewise({sorted({one for one in boundaries if one > 0})}, ...), and order the rates like that",
        )
    return optax.join_schedules([constant(rate) for rate in rates], boundaries)


def cosine(start: float, steps: int, end: float = 0.0) -> Schedule:
    """Half a cosine wave from start to end: slow, then fast, then slow again; stays at the end.

    `rate(step) = end + (start - end) * (1 + cos(pi * step / steps)) / 2`

    Source: I. Loshchilov, F. Hutter, SGDR: Stochastic Gradient Descent with Warm Restarts (2017), without the restarts.

    Args:
        start: the rate at step 0, more than 0.
        steps: how many steps the way down takes.
        end: the rate from step `steps` on.

    >>> [round(float(cosine(0.2, steps=100)(step)), 6) for step in (0, 50, 100, 300)]
    [0.2, 0.1, 0.0, 0.0]
    """
    check_number("start", start)
    check_number("end", end)
    check_steps(steps)
    if is_known(start) and is_known(end) and not (start > 0 and end <= start):
        raise OptimizerError(
            "a cosine schedule goes down",
            given=f"start={start}, end={end}",
            expected="0 < start and end <= start",
            fix="cosine(start=0.1, steps=2000); to go up first, warm_up(cosine(...), steps=100)",
        )
    return optax.cosine_decay_schedule(start, steps, alpha=end / start)


def warm_up(then: float | Schedule, steps: int, start: float = 0.0) -> Schedule:
    """Rises on a line from `start` at step 0 to where `then` begins, at step `steps`; then goes on with `then`.

    Source: P. Goyal et al., Accurate, Large Minibatch SGD (2017).

    Args:
        then: what follows, a rate or a schedule; its own step 0 is step `steps` here.
        steps: how long the rise takes.
        start: the rate at step 0. With 0 the very first step changes no parameter.

    >>> rate = warm_up(cosine(0.2, steps=100), steps=10)
    >>> [round(float(rate(step)), 6) for step in (0, 5, 10, 60, 110)]
    [0.0, 0.1, 0.2, 0.1, 0.0]
    """
    check_number("start", start)
    check_steps(steps)
    follows = then if callable(then) else constant(then)
    return optax.join_schedules([optax.linear_schedule(start, follows(0), steps), follows], [steps])
