"""Where the time of an iteration goes, which of four bottlenecks holds, and what a change would bring: numbers in, numbers out.

An iteration is ingestion (compose a batch and send it to the device) and a train step. Where nothing overlaps it takes their sum; where
batches are made while the device computes, it comes near the longer of both.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace

from aidl_jax.errors import TrainError

__all__ = ["BOTTLENECKS", "STAGES", "Change", "Diagnosis", "Timings", "diagnose"]

STAGES = {
    "read": "sources on disk, generators, datasets that flat_map and interleave open",
    "decode": "Python functions: map(fn, python=True)",
    "map": "compiled functions: map(fn)",
    "batch": "shuffling, gathering, stacking, caching",
    "copy": "from the host's memory to the device's",
    "step": "forward, backward, the optimizer's update",
}
BOTTLENECKS = {
    1: "the model's computing",
    2: "the copy to the device",
    3: "preprocessing on the CPU",
    4: "reading from disk",
}
WORTH_TELLING = 1.05  # times as fast as now


@dataclass(frozen=True)
class Timings:
    """Seconds of one iteration.

    Attributes:
        read, decode, map, batch, copy, step: of each stage, one after the other in one thread.
        pipeline: until the next batch is there when nothing else happens, by the dataset as it is, its threads included.
        iteration: of the loop as it is.
        decode_waiting: the part of `decode` in which the CPU did nothing.
        read_computing: the part of `read` in which the CPU computed, as a generator may.
        copy_latency: of copying one row.
        float_share: the part of a batch's bytes that are float32, 0 to 1.
        examples: rows of a batch.
    """

    read: float
    decode: float
    map: float
    batch: float
    copy: float
    step: float
    pipeline: float
    iteration: float
    decode_waiting: float = 0.0
    read_computing: float = 0.0
    copy_latency: float = 0.0
    float_share: float = 0.0
    examples: int = 1

    def __post_init__(self) -> None:
        for field in fields(self):
            number = getattr(self, field.name)
            if not (math.isfinite(number) and number >= 0):
                raise TrainError(
                    "a time is a number of seconds",
                    given=f"{field.name}={number}",
                    expected="a finite number of at least 0",
                    fix="Timings is what measure(step, state, dataset) returns",
                )

    @property
    def composing(self) -> float:
        """Seconds to make a batch, one stage after the other."""
        return self.read + self.decode + self.map + self.batch

    @property
    def ingestion(self) -> float:
        """Seconds to make a batch and to copy it to the device, one stage after the other."""
        return self.composing + self.copy

    @property
    def sum(self) -> float:
        """Seconds of an iteration if nothing overlaps: ingestion + train step."""
        return self.ingestion + self.step

    @property
    def maximum(self) -> float:
        """Seconds of an iteration if the dataset as it is works wholly beside the step."""
        return max(self.pipeline + self.copy, self.step)

    @property
    def overlap(self) -> float:
        """How much of the shorter of both is hidden behind the longer in the loop as it is: 0 nothing, 1 all of it."""
        hideable = min(self.pipeline + self.copy, self.step)
        hidden = self.pipeline + self.copy + self.step - self.iteration
        return min(1.0, max(0.0, hidden / hideable)) if hideable else 0.0

    @property
    def gain_of_threads(self) -> float:
        """How many times as fast the dataset as it is makes batches as its stages one after the other would."""
        return self.composing / self.pipeline if self.pipeline and self.composing else 1.0

    def __str__(self) -> str:
        longest = max(getattr(self, stage) for stage in STAGES) or 1.0
        lines = ["stage        ms  share"]
        for stage in STAGES:
            seconds = getattr(self, stage)
            bar = "█" * round(30 * seconds / longest)
            lines.append(
                f"{stage:<7}{1e3 * seconds:>8.3f}  {seconds / self.sum if self.sum else 0:>5.0%}  {bar}".rstrip()
            )
        return "\n".join([*lines, "", *self._iterations()])

    def _iterations(self) -> list[str]:
        return [
            f"ingestion + step, one after the other     {1e3 * self.sum:>9.3f} ms",
            f"the longer of both, the dataset as it is  {1e3 * self.maximum:>9.3f} ms",
            f"measured                                  {1e3 * self.iteration:>9.3f} ms, {_rate(1, self.iteration)} iterations/s, "
            f"{_rate(self.examples, self.iteration)} examples/s",
        ]

    def plot(self) -> object:
        """The stages, the sum, the longer of both, and what was measured, as a matplotlib figure."""
        from aidl_jax.train.meter_plots import plot_timings

        return plot_timings(self)


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:,.4g} ms"


def _rate(count: float, seconds: float) -> str:
    return (
        f"{count / seconds:,.4g}"
        if seconds and count / seconds < 1e4
        else f"{count / seconds:,.0f}"
        if seconds
        else "inf"
    )


@dataclass(frozen=True)
class Change:
    """Something to change, and the iterations per second that it would bring, counted in batches of the present size."""

    what: str
    iterations_per_second: float


@dataclass(frozen=True)
class Diagnosis:
    """Which bottleneck holds.

    Attributes:
        bottleneck: its number, a key of `BOTTLENECKS`.
        name: in words.
        evidence: the numbers that say so.
        changes: what to change, the one that brings most first; nothing where no change that is known would bring 5 %.
        iterations_per_second: as measured.
    """

    bottleneck: int
    name: str
    evidence: str
    changes: tuple[Change, ...]
    iterations_per_second: float

    @property
    def predicted(self) -> float:
        """Iterations per second after the first change."""
        return self.changes[0].iterations_per_second if self.changes else self.iterations_per_second

    def __str__(self) -> str:
        width = max((len(f"{one.iterations_per_second:,.4g}") for one in self.changes), default=0)
        lines = [f"Bottleneck {self.bottleneck}: {self.name}", self.evidence]
        lines += (
            [f"Now {self.iterations_per_second:,.4g} iterations/s. Predicted, for one change alone:"]
            if self.changes
            else []
        )
        lines += [f"  {one.iterations_per_second:>{width},.4g}  {one.what}" for one in self.changes]
        return "\n".join(lines)

    def plot(self) -> object:
        """Iterations per second now and after each change, as a matplotlib figure."""
        from aidl_jax.train.meter_plots import plot_diagnosis

        return plot_diagnosis(self)


def diagnose(timings: Timings) -> Diagnosis:
    """Names the bottleneck, and predicts what changes would bring.

    Loads are the stages' times; those of making a batch are divided by what the dataset's threads gain. Where less than half of
    what can overlap does, the bottleneck is the largest load, else the largest on the longer side, since what is hidden costs
    nothing. A source's computing counts as the CPU's, its waiting as the disk's. The four are those of a training pipeline's usual picture: 1 the model, 2 host to device, 3 CPU, 4 disk.

    Args:
        timings: what `measure` returned, or numbers of your own.

    Raises:
        TrainError: an iteration that takes no time.

    >>> told = diagnose(Timings(read=0.1, decode=0, map=0.01, batch=0, copy=0, step=0.02, pipeline=0.11, iteration=0.13))
    >>> told.bottleneck, round(told.iterations_per_second, 1), round(told.predicted, 1)
    (4, 7.7, 33.3)
    """
    if not timings.iteration:
        raise TrainError(
            "an iteration takes time",
            given="iteration=0.0",
            fix="Timings is what measure(step, state, dataset) returns",
        )
    loads = {number: sum(shares.values()) for number, shares in _shares(timings).items()}
    is_longer = timings.step >= timings.pipeline + timings.copy
    hidden: set[int] = set() if timings.overlap < 0.5 else {2, 3, 4} if is_longer else {1}
    worst = max(loads.keys() - hidden, key=loads.__getitem__)
    now = 1 / timings.iteration
    worth = [one for one in CHANGES[worst](timings) if one.iterations_per_second >= WORTH_TELLING * now]
    worth.sort(key=lambda one: -one.iterations_per_second)
    return Diagnosis(worst, BOTTLENECKS[worst], _evidence(timings, worst, loads), tuple(worth), now)


def _shares(timings: Timings) -> dict[int, dict[str, float]]:
    """What each bottleneck is made of, in seconds of the loop as it is."""
    gain = timings.gain_of_threads
    on_cpu = {
        "decode": timings.decode,
        "map": timings.map,
        "batch": timings.batch,
        "a source's computing": timings.read_computing,
    }
    return {
        1: {"step": timings.step},
        2: {"copy": timings.copy},
        3: {name: seconds / gain for name, seconds in on_cpu.items()},
        4: {"read": (timings.read - timings.read_computing) / gain},
    }


def _evidence(timings: Timings, worst: int, loads: dict[int, float]) -> str:
    stages = [f"{name} {_ms(seconds)}" for name, seconds in _shares(timings)[worst].items() if seconds]
    total = sum(loads.values())
    told = (
        f"{_ms(loads[worst])} of {_ms(total)} of work ({loads[worst] / total if total else 0:.0%}): {', '.join(stages)}. "
        f"Ingestion takes {_ms(timings.pipeline + timings.copy)}, the step {_ms(timings.step)}, the loop {_ms(timings.iteration)}: "
        f"{timings.overlap:.0%} of what could overlap does."
    )
    if worst == 3 and timings.decode_waiting > timings.decode / 2:
        waiting = timings.decode_waiting / timings.decode
        told += (
            f" For {waiting:.0%} of the Python functions' time the CPU waits: if they open files, this is the disk (4)."
        )
    return told


def _after(timings: Timings, what: str, overlap: float | None = None, **changed: float) -> Change:
    """What it would bring to give some stages other times, all else as it is."""
    after = replace(timings, **changed)  # type: ignore[arg-type]
    hidden = timings.overlap if overlap is None else overlap
    ratio = _modelled(after, timings.gain_of_threads, hidden) / _modelled(
        timings, timings.gain_of_threads, timings.overlap
    )
    return Change(what, 1 / (timings.iteration * ratio) if ratio else math.inf)


def _modelled(timings: Timings, gain: float, overlap: float) -> float:
    """Ingestion and step, less what is hidden of the shorter."""
    ingestion = timings.composing / gain + timings.copy
    return ingestion + timings.step - overlap * min(ingestion, timings.step)


def _for_the_model(timings: Timings) -> list[Change]:
    return [
        _after(timings, "make batches beside the step: prefetch(2)", overlap=1.0),
        _after(
            timings,
            "a step half as long: a smaller model, bfloat16, a faster device or a second one",
            step=timings.step / 2,
        ),
    ]


def _for_the_copy(timings: Timings) -> list[Change]:
    narrow = timings.copy * (1 - 0.75 * timings.float_share)
    fewer = max(0.0, timings.copy - timings.copy_latency / 2)
    return [
        _after(timings, "send batches ahead: prefetch(2, device=jax.devices()[0])", overlap=1.0),
        _after(timings, "send uint8, and convert it to float32 in the loss function", copy=narrow),
        _after(timings, "a batch twice as large: half as many copies", copy=fewer),
    ]


def _for_the_cpu(timings: Timings) -> list[Change]:
    at_once = timings.decode - timings.decode_waiting * 7 / 8
    return [
        _after(timings, "make batches beside the step: prefetch(2)", overlap=1.0),
        _after(timings, "eight times as many calls at once: map(fn, python=True, num_parallel_calls=8)", decode=at_once),
        _after(timings, "keep what maps make without drawing at random: cache() after them, from the second epoch on",
               read=0.0, decode=0.0, map=0.0),
        _after(timings, "at best, a source that only reads, and its computing in compiled maps: map(fn)",
               read=timings.read - timings.read_computing),
        _after(timings, "at best, the Python function as a compiled one, in jax.numpy: map(fn)", decode=0.0),
        _after(timings, "at best, the compiled map as a part of the loss function, on the device", map=0.0),
        _after(timings, "at best, rows that need no gathering: shuffle the source once, and read it in order", batch=0.0),
    ]  # fmt: skip


def _for_the_disk(timings: Timings) -> list[Change]:
    return [
        _after(timings, "make batches beside the step: prefetch(2)", overlap=1.0),
        _after(timings, "keep what was read: cache() after it, from the second epoch on", read=0.0),
        _after(timings, "at best, eight files at once: map(read, python=True, num_parallel_calls=8)", read=timings.read / 8),
        _after(timings, "at best, one large file in place of many small ones, read in order", read=0.0),
    ]  # fmt: skip


CHANGES: dict[int, Callable[[Timings], list[Change]]] = {
    1: _for_the_model,
    2: _for_the_copy,
    3: _for_the_cpu,
    4: _for_the_disk,
}
