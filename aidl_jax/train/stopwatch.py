"""A stopwatch between the verbs of a pipeline: which of them has the time at each moment."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from functools import wraps
from typing import Any

import numpy as np

from aidl_jax.data import Dataset
from aidl_jax.data.elements import Element, Rows
from aidl_jax.data.examples import ParsedExamples
from aidl_jax.data.image_stage import DecodedImages
from aidl_jax.data.interleaving import Interleaved
from aidl_jax.data.mapping import Mapped
from aidl_jax.data.prefetching import Prefetched
from aidl_jax.data.python_maps import PythonMapped
from aidl_jax.data.sources import Counting, Slices
from aidl_jax.data.stage import At, Cursor, IndexedCursor, Run, Stage, State, Verb
from aidl_jax.data.streaming import Filtered
from aidl_jax.train.diagnosis import STAGES

__all__ = ["Clock", "Stopwatch", "watched"]

Clock = Callable[[], float]
NOBODY = ""


class Stopwatch:
    """Gives each moment to one stage."""

    def __init__(self, clock: Clock, cpu_clock: Clock) -> None:
        self._clock, self._cpu_clock = clock, cpu_clock
        self._stage, self._since = NOBODY, (clock(), cpu_clock())
        self._seconds = dict.fromkeys((*STAGES, "decode_waiting", "read_computing"), 0.0)

    def switch(self, stage: str) -> str:
        """From now on the time is this stage's; returns whose it was."""
        now = self._clock(), self._cpu_clock()
        passed, computed = now[0] - self._since[0], now[1] - self._since[1]
        if self._stage != NOBODY:
            self._seconds[self._stage] += passed
        if self._stage == "decode":
            self._seconds["decode_waiting"] += max(0.0, passed - computed)
        if self._stage == "read":
            self._seconds["read_computing"] += min(passed, computed)
        before, self._stage, self._since = self._stage, stage, now
        return before

    @contextmanager
    def on(self, stage: str) -> Iterator[None]:
        """The time inside is this stage's."""
        before = self.switch(stage)
        try:
            yield
        finally:
            self.switch(before)

    def lap(self) -> dict[str, float]:
        """Seconds by stage since the last lap, and what the CPU did in the two that may wait."""
        lap = self._seconds
        self._seconds = dict.fromkeys(lap, 0.0)
        return lap


def _stage_of(stage: Stage) -> str:
    """Which of the meter's stages a verb's own work belongs to."""
    if isinstance(stage, Interleaved) or not stage.inputs:
        is_in_memory = isinstance(stage, Counting) or (
            isinstance(stage, Slices) and not any(isinstance(leaf, np.memmap) for leaf in stage.leaves)
        )
        return "batch" if is_in_memory else "read"
    decodes = isinstance(stage, PythonMapped | DecodedImages | ParsedExamples)
    if decodes or (isinstance(stage, Filtered) and stage.python):
        return "decode"
    return "map" if isinstance(stage, Mapped | Filtered) else "batch"


def watched(stage: Stage, watch: Stopwatch) -> Stage:
    """The pipeline in one thread, with a stopwatch before each of its verbs."""
    if isinstance(stage, Prefetched):
        return watched(stage.input, watch)
    changed: dict[str, Any] = {}
    for field in fields(stage):
        value = getattr(stage, field.name)
        if isinstance(value, Stage):
            changed[field.name] = watched(value, watch)
        elif isinstance(value, list) and value and isinstance(value[0], Stage):
            changed[field.name] = [watched(one, watch) for one in value]
    if isinstance(stage, PythonMapped):
        changed |= {"threads": None, "deterministic": True}
    if isinstance(stage, DecodedImages):
        changed["threads"] = 1
    if isinstance(stage, Interleaved):
        changed["fn"] = _opening_watched(stage.fn, watch)
    return _Watched(replace(stage, **changed) if changed else stage, watch, _stage_of(stage))


def _opening_watched(fn: Callable[..., Any], watch: Stopwatch) -> Callable[..., Any]:
    @wraps(fn)
    def opened(*parts: Any) -> Any:
        made = fn(*parts)
        return Dataset(watched(made.stage, watch)) if isinstance(made, Dataset) else made

    return opened


@dataclass(frozen=True, eq=False)
class _Watched(Verb):
    """The same elements; the time that they take is one stage's."""

    watch: Stopwatch
    name: str

    @property
    def told(self) -> str:
        return self.input.told

    def rows(self, at: At, run: Run) -> Rows:
        with self.watch.on(self.name):
            return self.input.rows(at, run)

    def cursor(self, epoch: int, run: Run, state: State = None) -> Cursor:
        if self.indexed:
            return IndexedCursor(self, epoch, run, state)
        with self.watch.on(self.name):
            return _WatchedCursor(self.input.cursor(epoch, run, state), self.watch, self.name)


class _WatchedCursor:
    def __init__(self, inner: Cursor, watch: Stopwatch, name: str) -> None:
        self.inner, self.watch, self.name = inner, watch, name

    def __next__(self) -> Element:
        before = self.watch.switch(self.name)
        try:
            return next(self.inner)
        finally:
            self.watch.switch(before)

    def state(self) -> State:
        return self.inner.state()
