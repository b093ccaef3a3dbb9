"""What each stage costs on the way from a Python function to a program that has run: the records."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from aidl_jax.graph.optimised import Counts

__all__ = ["Calls", "Compiled", "Lowered", "Memory", "Stages", "Traced", "told_time"]


@dataclass(frozen=True)
class Calls:
    """Wall-clock time of calling, until the results are there.

    Args:
        first: seconds of the first call.
        later: seconds of a later call, the median.
    """

    first: float
    later: float


@dataclass(frozen=True)
class Traced:
    """The function as a graph of operations, put down without a value.

    Args:
        seconds: wall-clock time.
        operations: how many there are, those inside loops and branches included, calls of functions not.
    """

    seconds: float
    operations: int


@dataclass(frozen=True)
class Lowered:
    """The graph in the compiler's language, as it was written; numbers are XLA's, None where it gives none.

    Args:
        seconds: wall-clock time.
        flops: floating-point operations of one run; one iteration of a loop, nothing of a library's routine.
        bytes_accessed: bytes read and written by one run, each operation for itself; likewise.
    """

    seconds: float
    flops: int | None
    bytes_accessed: int | None


@dataclass(frozen=True)
class Memory:
    """What one run needs, in bytes, known before it: XLA's numbers.

    Args:
        arguments: what goes in.
        outputs: what comes out.
        temporaries: what is needed in between.
        shared: outputs that take the place of arguments, counted in both.
        code: the program itself; the CPU's compiler says 0.
    """

    arguments: int
    outputs: int
    temporaries: int
    shared: int
    code: int

    @property
    def total(self) -> int:
        """Bytes of arguments, outputs and temporaries together."""
        return self.arguments + self.outputs + self.temporaries - self.shared


@dataclass(frozen=True)
class Compiled:
    """The optimised program; numbers are XLA's, None where it gives none.

    Args:
        seconds: wall-clock time.
        counts: how much there is in it.
        flops: as for `Lowered`.
        bytes_accessed: as for `Lowered`, with what stays inside a fusion not counted.
        memory: what one run needs.
    """

    seconds: float
    counts: Counts | None
    flops: int | None
    bytes_accessed: int | None
    memory: Memory | None


@dataclass(frozen=True, repr=False)
class Stages:
    """What one function costs as Python and as a graph; `print` it. `stages` makes one.

    Args:
        name: the function's.
        backend: what it ran on, with JAX's version.
        eager: one operation at a time, as Python comes to them.
        traced, lowered, compiled: what is done once for all runs at these shapes; None if it cannot be traced.
        run: the compiled function.
        difference: the largest absolute difference between what the two return; NaN where only one has a NaN.
        error: why it cannot be traced, in a sentence; None if it can.
    """

    name: str
    backend: str
    eager: Calls
    traced: Traced | None = None
    lowered: Lowered | None = None
    compiled: Compiled | None = None
    run: Calls | None = None
    difference: float | None = None
    error: str | None = None

    @property
    def once(self) -> float | None:
        """Seconds that are spent before the first run: tracing, lowering and compiling."""
        parts = (self.traced, self.lowered, self.compiled)
        return sum(part.seconds for part in parts if part) if self.compiled else None

    @property
    def break_even(self) -> int | None:
        """From how many calls on compiling has saved time; None where it never does."""
        if self.once is None or self.run is None or self.eager.later <= self.run.later:
            return None
        return math.ceil(self.once / (self.eager.later - self.run.later))

    def __str__(self) -> str:
        rows = [("stage", "once", "each call", ""), *_rows(self)]
        widths = [max(map(len, column)) for column in list(zip(*rows, strict=True))[:3]]
        lines = [
            f"{row[0]:<{widths[0]}}  {row[1]:>{widths[1]}}  {row[2]:>{widths[2]}}  {row[3]}".rstrip() for row in rows
        ]
        return "\n".join([f"{self.name} on {self.backend}", *lines])

    __repr__ = __str__


def _rows(stages: Stages) -> Iterator[tuple[str, str, str, str]]:
    yield "eager", "", told_time(stages.eager.later), f"first call {told_time(stages.eager.first)}"
    if stages.error is not None:
        yield "traced", "", "", stages.error
    if stages.traced:
        yield "traced", told_time(stages.traced.seconds), "", _told(stages.traced.operations, "operation")
    if stages.lowered:
        yield "lowered", told_time(stages.lowered.seconds), "", _work(stages.lowered)
    if stages.compiled:
        yield "compiled", told_time(stages.compiled.seconds), "", _work(stages.compiled)
        yield from (("", "", "", line) for line in _program(stages.compiled))
    if stages.run:
        yield "run", "", told_time(stages.run.later), f"largest difference from eager {stages.difference:.3g}"
        saved = stages.break_even
        pays = f"from {saved:,} calls on" if saved else "never: a call takes no less time than an eager one"
        yield "", "", "", f"compiling pays {pays}"


def told_time(seconds: float) -> str:
    """Seconds with three digits and a unit.

    >>> told_time(0.00123), told_time(2.5e-5), told_time(123.4)
    ('1.23 ms', '25.0 us', '123 s')
    """
    scale, unit = next((pair for pair in ((1.0, "s"), (1e-3, "ms"), (1e-6, "us")) if seconds >= pair[0]), (1e-9, "ns"))
    value = seconds / scale
    return f"{value:.{0 if value >= 100 else 1 if value >= 10 else 2}f} {unit}"


def _told(count: int | None, noun: str) -> str:
    return f"{noun}s not reported" if count is None else f"{count:,} {noun}{'s' if count != 1 else ''}"


def _work(stage: Lowered | Compiled) -> str:
    return f"{_told(stage.flops, 'FLOP')}, memory traffic {_told(stage.bytes_accessed, 'byte')}"


def _program(compiled: Compiled) -> Iterator[str]:
    counts = compiled.counts
    if counts is None:
        yield "kernels not reported"
    else:
        yield f"{_told(counts.kernels, 'kernel')}, {counts.fusions} of more than one operation"
        if counts.loops:
            yield f"of {_told(counts.loops, 'loop')} the work of one iteration is counted"
        if counts.library_calls:
            yield f"of {_told(counts.library_calls, 'library call')} the work is not counted"
    yield f"memory: {_memory(compiled.memory)}"


def _memory(memory: Memory | None) -> str:
    if memory is None:
        return "not reported"
    parts = (
        ("arguments", memory.arguments),
        ("outputs", memory.outputs),
        ("temporaries", memory.temporaries),
        ("shared", memory.shared),
        ("code", memory.code),
    )
    return f"{memory.total:,} bytes ({', '.join(f'{name} {size:,}' for name, size in parts)})"
