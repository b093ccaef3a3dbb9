"""`AUTOTUNE`: how many threads a Python function is worth, measured on the first elements, whose results are kept."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from aidl_jax.data.pools import Call, Pool

__all__ = ["AUTOTUNE", "CORES", "FIRST_CALLS", "MOST_THREADS", "Tuned", "tuned"]

AUTOTUNE = -1
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
MOST_THREADS = min(4 * CORES, 32)
FIRST_CALLS = 4 * MOST_THREADS  # one to warm up, then 2 for each thread with 1, 2, 4, ... threads
WORTH = 1.1  # more threads are taken only where they give this many times as much


@dataclass(frozen=True)
class Tuned:
    """What was measured.

    Attributes:
        rates: calls per second, by number of threads.
        wall: seconds of one call.
        cpu: seconds of it that its thread was on the CPU.
    """

    rates: dict[int, float]
    wall: float
    cpu: float

    @property
    def threads(self) -> int:
        """The fewest with which nearly as much is done as with any other number."""
        most = max(self.rates.values(), default=0.0)
        return min((threads for threads, rate in self.rates.items() if rate * WORTH >= most), default=1)

    def __str__(self) -> str:
        if not self.rates:
            return "1 thread; there were too few elements to measure"
        (first, slowest), *others = self.rates.items()
        rates = ", ".join([f"{first} gave {slowest:,.0f}/s", *(f"{threads} {rate:,.0f}/s" for threads, rate in others)])
        share = min(self.cpu / self.wall, 1.0) if self.wall else 1.0
        threads = f"{self.threads} thread{'' if self.threads == 1 else 's'}"
        return f"{threads}; {rates}; a call takes {self.wall * 1e3:.3g} ms, {share:.0%} of it on the CPU"


def tuned(calls: Sequence[Callable[[], Any]], pool: Pool) -> tuple[list[Call], Tuned]:
    """Makes the calls with 1, 2, 4, ... threads while more are worth it, the rest with the best number, which the pool keeps.

    Returns:
        The calls in order, and what was measured.
    """
    clocks: list[tuple[float, float]] = []
    rates: dict[int, float] = {}
    most = pool.limit
    made, threads = _made(pool, 1, calls[:1])[0], 1
    while threads <= most and len(made) + 2 * threads <= len(calls):
        some = calls[len(made) : len(made) + 2 * threads]
        some_made, rates[threads] = _made(pool, threads, [_timed(fn, clocks) for fn in some] if threads == 1 else some)
        made += some_made
        if rates[threads] < WORTH * rates.get(threads // 2, 0.0):
            break
        threads *= 2
    measured = (
        Tuned(rates, *(sum(clock) / len(clocks) for clock in zip(*clocks, strict=True))) if clocks else Tuned({}, 0, 0)
    )
    pool.resize(measured.threads)
    return made + [pool.start(fn) for fn in calls[len(made) :]], measured


def _made(pool: Pool, threads: int, calls: Sequence[Callable[[], Any]]) -> tuple[list[Call], float]:
    """Calls that have been made, and how many a second."""
    pool.resize(threads)
    start = time.perf_counter()
    made = [pool.start(fn) for fn in calls]
    for call in made:
        call.wait()
    return made, len(made) / max(time.perf_counter() - start, 1e-9)


def _timed(fn: Callable[[], Any], clocks: list[tuple[float, float]]) -> Callable[[], Any]:
    def timed() -> Any:
        wall, cpu = time.perf_counter(), time.thread_time()
        try:
            return fn()
        finally:
            clocks.append((time.perf_counter() - wall, time.thread_time() - cpu))

    return timed
