"""What one hand-in costs, with the pre-imported process and with fresh ones, at 10, 100 and 1,000 hand-ins.

Run: .venv/bin/python benchmarks/sandbox_cost.py [--counts 10 100 1000] > benchmarks/results/sandbox_cost.md
The hand-in answers the one-line exercise of examples/mini_course, so that processes are most of the cost. One at a time,
as many as there are in a count; where fresh processes would take longer than --patience seconds, only the first of them are
timed and the line says how many.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from pathlib import Path

from aidl_jax.exercise.course import open_course
from aidl_jax.grade.children import PlainChild, Start
from aidl_jax.grade.extract import Cell
from aidl_jax.grade.judge import judge, versions
from aidl_jax.grade.nursery import Nursery
from aidl_jax.grade.process import Processes
from aidl_jax.grade.session import Session

ROOT = Path(__file__).resolve().parents[1]
NAME = "s01_first/temperature"


def main() -> None:
    """Prints the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--counts", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--patience", type=float, default=600.0)
    given = parser.parse_args()
    about = ", ".join(f"{name} {version}" for name, version in versions().items())
    print(f"# The cost of a hand-in\n\n{about}; {platform.machine()}, {os.cpu_count()} cores; one hand-in at a time.\n")
    print("| hand-ins | how | seconds in all | milliseconds each, median | slowest |\n|---:|---|---:|---:|---:|")
    for count in given.counts:
        start = time.perf_counter()
        with Nursery() as nursery:
            sandboxed = timed(count, nursery.start, float("inf"))
            line(count, "in the sandbox, forked from a pre-imported process", sandboxed, time.perf_counter() - start)
        start = time.perf_counter()
        line(
            count,
            "no sandbox, two fresh processes",
            timed(count, PlainChild, given.patience),
            time.perf_counter() - start,
        )


def timed(count: int, start: Start, patience: float) -> list[float]:
    """Seconds that each hand-in took."""
    course = open_course(ROOT / "examples" / "mini_course")
    text = course.solution(NAME).read_text(encoding="utf-8")
    exercise, seconds, end = course.exercise(NAME), [], time.monotonic() + patience
    for number in range(count):
        begin = time.perf_counter()
        with Session([Cell("answer.py", text)], exercise, Processes(start)) as session:
            record = judge(NAME, exercise, session, number)
        assert record.points == record.possible
        seconds.append(time.perf_counter() - begin)
        if time.monotonic() > end:
            break
    return seconds


def line(count: int, how: str, seconds: list[float], total: float) -> None:
    """One line of the table."""
    timed_only = "" if len(seconds) == count else f" (the first {len(seconds)})"
    median, slowest = statistics.median(seconds) * 1e3, max(seconds) * 1e3
    print(f"| {count:,} | {how}{timed_only} | {total:,.1f} | {median:,.0f} | {slowest:,.0f} |", flush=True)


if __name__ == "__main__":
    main()
