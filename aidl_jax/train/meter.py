"""The meter: how long each stage of an iteration takes, and how long an iteration takes as it is.

The stages are taken apart by going through the dataset in one thread with a stopwatch between each two of its verbs: at every moment
exactly one stage has it. What threads and prefetching hide shows in two more runs, of the dataset as it is: alone, and in the loop.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from aidl_jax.data import Dataset
from aidl_jax.data.ahead import plan_of
from aidl_jax.data.iterator import block_of
from aidl_jax.data.selecting import next_in_list
from aidl_jax.data.stage import Run, Stage
from aidl_jax.errors import TrainError
from aidl_jax.train.diagnosis import Timings
from aidl_jax.train.state import TrainState
from aidl_jax.train.steps import TrainStep
from aidl_jax.train.stopwatch import Clock, Stopwatch, watched

__all__ = ["measure"]

ROUNDS = 3  # of which the median counts
MOST_STEPS = (
    64  # of a round; blocks of more batches are of so small ones that what making them costs is nothing beside a step
)


def measure(
    step: TrainStep,
    state: TrainState,
    dataset: Dataset,
    iterations: int = 50,
    *,
    warm_up: int = 0,
    put: Callable[[Any], Any] | None = None,
    clock: Clock = time.perf_counter,
    cpu_clock: Clock = time.process_time,
) -> Timings:
    """Times the stages of an iteration one after the other, then the dataset alone as it is, then the loop as it is.

    Files are read three times, so that the operating system may have them in memory the second time. For a dataset with `cache()`,
    choose `warm_up` as many batches as an epoch has and one more, to measure what comes after it.

    Args:
        step: what `make_train_step` returned.
        state: where to begin; it is copied, and stays as it is.
        dataset: of batches. Where it ends it is begun anew.
        iterations: of each run; more where batches are made in larger blocks.
        warm_up: batches that each run goes through before the clock starts, besides those of a first round.
        put: what copies a batch to the device; if it is not given, `jax.device_put` where the copy is timed, and the step itself in the
            loop, as in `fit`.
        clock: the time in seconds.
        cpu_clock: the seconds that the process has computed.

    Returns:
        The median of three rounds, for each stage.

    Raises:
        TrainError: there is no batch, or fewer than one iteration to measure.
    """
    if iterations < 1:
        raise TrainError(
            "there is nothing to measure", given=f"iterations={iterations}", expected="at least 1", fix="iterations=50"
        )
    copy = put or jax.device_put
    batch = _first_batch(dataset)
    block = int(min(plan_of(dataset.stage, block_of(dataset.stage)).step, dataset.cardinality() or math.inf))
    per_round = -(-iterations // ROUNDS)
    blocks = block * -(-per_round // block)  # a block is made at once, so that a round without steps is whole blocks
    times = _stages(
        _Stepping(step, state, copy), dataset.stage, blocks, iterations, warm_up, Stopwatch(clock, cpu_clock)
    )
    times["pipeline"] = _as_it_is(lambda batch: None, lambda: None, dataset, blocks, warm_up, clock)
    loop = _Stepping(step, state, put or (lambda batch: batch))
    times["iteration"] = _as_it_is(loop, loop.wait, dataset, min(blocks, max(per_round, MOST_STEPS)), warm_up, clock)
    return Timings(**times, **_about(batch, copy, clock))


class _Stepping:
    """Steps from a copy of a state."""

    def __init__(self, step: TrainStep, state: TrainState, put: Callable[[Any], Any]) -> None:
        self.step, self.put = step, put
        self.state = jax.tree.map(jnp.copy, state)

    def __call__(self, batch: Any) -> None:
        self.state, _ = self.step(self.state, self.put(batch))

    def timed(self, batch: Any, watch: Stopwatch) -> None:
        """The copy, then the step, each waited for."""
        with watch.on("copy"):
            batch = jax.block_until_ready(self.put(batch))
        with watch.on("step"):
            self.state, _ = self.step(self.state, batch)
            self.wait()

    def wait(self) -> None:
        jax.block_until_ready(self.state)


def _stages(
    stepping: _Stepping, stage: Stage, count: int, iterations: int, warm_up: int, watch: Stopwatch
) -> dict[str, Any]:
    """Seconds of each stage for one batch, nothing beside it: first those of making batches, then copies and steps."""
    serial = watched(stage, watch)
    made, done = [], []
    with ExitStack() as closing:
        batches = _endless(lambda: _through(serial, closing))
        for _ in range(warm_up):
            next(batches)
        for _ in range(1 + ROUNDS):
            for _ in range(count):
                next(batches)
            made.append(watch.lap())
        for _ in range(1 + iterations):
            stepping.timed(next(batches), watch)
            done.append(watch.lap())
    # the first of each compiled functions and opened files
    times = {name: statistics.median(lap[name] for lap in made[1:]) / count for name in made[0]}
    return times | {name: statistics.median(lap[name] for lap in done[1:]) for name in ("copy", "step")}


def _as_it_is(
    act: Callable[[Any], None], wait: Callable[[], None], dataset: Dataset, count: int, warm_up: int, clock: Clock
) -> float:
    """Seconds from one batch to the next, where each is acted on; the median of rounds of so many.

    The clock starts when an iterator has given its first batch and has nothing in store.
    """
    for _, batch in zip(range(1 + warm_up), _endless(dataset.iterate), strict=False):
        act(batch)
    wait()
    batches = _endless(dataset.iterate)
    batch, times = next(batches), [clock()]
    for _ in range(ROUNDS):
        for _ in range(count):
            act(batch)
            batch = next(batches)
        wait()
        times.append(clock())
    return statistics.median(np.diff(times).tolist()) / count


def _through(stage: Stage, closing: ExitStack) -> Iterator[Any]:
    """An epoch of a stage."""
    cursor = stage.cursor(0, Run(block_of(stage), closing))
    while more := next_in_list(cursor):
        yield more[0]


def _endless(begin: Callable[[], Iterator[Any]]) -> Iterator[Any]:
    """Epoch after epoch."""
    while True:
        yield from begin()


def _first_batch(dataset: Dataset) -> Any:
    with dataset.iterate() as batches:
        for batch in batches:
            if all(np.ndim(leaf) for leaf in jax.tree.leaves(batch)):
                return batch
            raise TrainError("the elements are no batches", given=repr(dataset), fix="measure dataset.batch(32)")
    raise TrainError("there is nothing to measure", given=str(dataset), fix="the dataset has no batch")


def _about(batch: Any, put: Callable[[Any], Any], clock: Clock) -> dict[str, Any]:
    """What a batch is like, and how long its first row takes to the device."""
    leaves = jax.tree.leaves(batch)
    row = jax.tree.map(lambda leaf: leaf[:1], batch)
    times = []
    for _ in range(1 + ROUNDS):
        start = clock()
        jax.block_until_ready(put(row))
        times.append(clock() - start)
    floats = sum(leaf.nbytes for leaf in leaves if leaf.dtype == np.float32)
    return {
        "copy_latency": statistics.median(times[1:]),
        "float_share": floats / max(1, sum(leaf.nbytes for leaf in leaves)),
        "examples": len(leaves[0]),
    }
