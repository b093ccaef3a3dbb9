"""Seeded draws: the hidden inputs of a check, and simpler ones for a failing case.

Floating-point draws are float64 arrays whose values float32 can hold exactly: NumPy computes the
expected value from them in float64, and the student's function gets the very same numbers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from aidl_jax.errors import CourseError
from aidl_jax.exercise.expressions import Key

Simplify = Callable[[np.ndarray], Iterator[np.ndarray]]


def float32_grid(array: Any) -> np.ndarray:
    """The nearest values that float32 can hold, as float64.

    >>> float(float32_grid(0.1)) == float(np.float32(0.1))
    True
    """
    return np.asarray(array, np.float64).astype(np.float32).astype(np.float64)


@dataclass(frozen=True)
class Drawn:
    """One drawn array and how it may be made simpler (nothing, where it may not)."""

    array: np.ndarray
    simpler: Simplify | None


class Draw:
    """Draws arrays from a seed and a label; the same pair always draws the same arrays.

    Args:
        seed: the run's seed, hidden while grading.
        label: what the draw is for (exercise, task, check, number), so that checks are independent.
        replaced: arrays to hand out in place of the n-th draw, for shrinking.

    >>> Draw(7, "a").normal(3).shape, bool(Draw(7, "a").normal() == Draw(7, "a").normal())
    ((3,), True)
    """

    def __init__(self, seed: int, label: str, replaced: Mapping[int, np.ndarray] | None = None) -> None:
        digest = hashlib.blake2b(f"{seed}/{label}".encode(), digest_size=16).digest()
        self._generator = np.random.Generator(np.random.Philox(int.from_bytes(digest, "little")))
        self._replaced = dict(replaced or {})
        self.log: list[Drawn] = []

    def normal(self, *shape: int) -> np.ndarray:
        """Standard normal values, float64 [*shape] on the float32 grid."""
        return self._take(float32_grid(self._generator.standard_normal(shape)), _simpler_floats)

    def uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> np.ndarray:
        """Values between `low` and `high`, float64 [*shape] on the float32 grid."""
        drawn = float32_grid(self._generator.uniform(low, high, shape))
        return self._take(drawn, lambda array: _within(_simpler_floats(array), low, high))

    def integers(self, low: int, high: int, *shape: int) -> np.ndarray:
        """Integers from `low` up to, not including, `high`, int32 [*shape].

        Raises:
            CourseError: a bound that int32 cannot hold.
        """
        if low < -(2**31) or high > 2**31:
            raise CourseError(
                "integers are drawn as int32", given=f"low {low} and high {high}", expected="-2**31 to 2**31"
            )
        drawn = np.asarray(self._generator.integers(low, high, shape), np.int32)
        return self._take(drawn, lambda array: _simpler_integers(array, low))

    def permutation(self, length: int) -> np.ndarray:
        """The integers below `length` in a random order, int32 [length]."""
        return self._take(self._generator.permutation(length).astype(np.int32), None)

    def seed(self) -> int:
        """A number for `static(...)`, where the student's function takes a seed."""
        return int(self._generator.integers(0, 2**31))

    def key(self) -> Key:
        """A hidden JAX PRNG key."""
        return Key(self._take(self._generator.integers(0, 2**32, 2, dtype=np.uint32), None))

    def _take(self, array: np.ndarray, simpler: Simplify | None) -> np.ndarray:
        array = self._replaced.get(len(self.log), array)
        self.log.append(Drawn(array, simpler))
        return array.copy()  # a check may write into it


def _simpler_floats(array: np.ndarray) -> Iterator[np.ndarray]:
    """Simpler arrays of the same shape, the simplest first."""
    yield np.zeros_like(array)
    yield np.ones_like(array)
    yield np.round(array)
    yield np.where(np.arange(array.size).reshape(array.shape) == 0, np.round(array), 0.0)
    yield float32_grid(np.round(array, 1))
    if array.size > 1:  # keep one half, then the other
        first = np.arange(array.size).reshape(array.shape) < array.size // 2
        yield np.where(first, array, 0.0)
        yield np.where(first, 0.0, array)
    yield float32_grid(array / 2)


def _simpler_integers(array: np.ndarray, low: int) -> Iterator[np.ndarray]:
    yield np.full_like(array, low)
    yield ((array.astype(np.int64) - low) // 2 + low).astype(np.int32)


def _within(candidates: Iterator[np.ndarray], low: float, high: float) -> Iterator[np.ndarray]:
    return (array for array in candidates if np.all((array >= low) & (array <= high)))


def shrink(log: list[Drawn], fails: Callable[[dict[int, np.ndarray]], bool], budget: int = 48) -> dict[int, np.ndarray]:
    """Replacements that make a failing case as simple as `budget` tries allow; shapes stay.

    Args:
        log: what the failing case drew.
        fails: whether the case still fails in the same way with these replacements.

    Returns:
        The replacements, by the number of the draw; empty where nothing simpler fails.
    """
    best: dict[int, np.ndarray] = {}
    for number, drawn in enumerate(log):
        if drawn.simpler is None:
            continue
        for candidate in drawn.simpler(drawn.array):
            if budget == 0:
                return best
            if np.array_equal(candidate, drawn.array):
                continue
            budget -= 1
            if fails({**best, number: candidate}):
                best[number] = candidate
                break
    return best
