"""From a save to its verdict on the screen: `aidl watch` in a terminal, beside a fresh `aidl check` of the same file.

Run: .venv/bin/python benchmarks/watch_speed.py [--rounds 3] [EXERCISE ...] > benchmarks/results/watch_speed.md
Each exercise is written as a student would: task by task, first with its first known wrong answer, then with the solution. A
time is from just before the file is written until the verdict stands in the terminal, looks at the file included. `aidl
check` is run on the same saves. Medians over all saves of all rounds; one command at a time.
"""

from __future__ import annotations

import argparse
import os
import platform
import pty
import re
import select
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from aidl_jax.exercise import Exercise
from aidl_jax.exercise.course import Course, open_course
from aidl_jax.exercise.source import short_name
from aidl_jax.exercise.workspace import Workspace
from aidl_jax.grade.extract import Cell, extract
from aidl_jax.grade.judge import versions

AIDL = [sys.executable, "-m", "aidl_jax"]
VERDICT = ": checked in"
FUTURE = "from __future__ import annotations\n"  # for the annotations of wrong answers, whose imports are left out
PATIENCE = 120.0


def main() -> None:
    """Prints the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("exercises", nargs="*")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    course = open_course()
    names = [course.resolve(name) for name in given.exercises] or course.names()
    about = ", ".join(f"{name} {version}" for name, version in versions().items())
    print(
        f"# From a save to its verdict\n\n{about}; {platform.machine()}, {os.cpu_count()} cores; {given.rounds} rounds.\n"
    )
    print("| exercise | saves | `aidl watch`, median s | slowest | within 0.5 s | `aidl check`, median s | ratio |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    every: tuple[list[float], list[float]] = ([], [])
    for name in names:
        found = timed(course, name, given.rounds)
        line(short_name(name), *found)
        for times, more in zip(every, found, strict=True):
            times += more
    line("all", *every)


def line(name: str, watched: list[float], fresh: list[float]) -> None:
    """One line of the table."""
    ours, theirs = statistics.median(watched), statistics.median(fresh)
    within = sum(seconds <= 0.5 for seconds in watched) / len(watched)
    print(
        f"| {name} | {len(watched)} | {ours:.2f} | {max(watched):.2f} | {within:.0%} | {theirs:.2f} | {theirs / ours:.1f} |",
        flush=True,
    )


def timed(course: Course, name: str, rounds: int) -> tuple[list[float], list[float]]:
    """Seconds of each save: watched, and checked by a fresh command."""
    watched, fresh = [], []
    saves = list(written(course, name))
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run([*AIDL, "start", folder], check=True, stdout=subprocess.DEVNULL)
            file = Workspace(Path(folder)).file(name)
            watched += in_terminal(Path(folder), name, file, saves)
            for text in saves:
                file.write_text(text)
                begin = time.perf_counter()
                subprocess.run([*AIDL, "check", name], cwd=folder, stdout=subprocess.DEVNULL)
                fresh.append(time.perf_counter() - begin)
    return watched, fresh


def written(course: Course, name: str) -> Iterator[str]:
    """The file of an exercise as it is saved: each task with a wrong answer, then as it should be."""
    exercise, solution = course.exercise(name), FUTURE + course.solution(name).read_text()
    given, solved = definitions(course.student_file(name).read_text(), exercise), definitions(solution, exercise)
    left = dict(given)
    for task in exercise.tasks.values():
        if task.wrong_answers:
            wrong = task.wrong_answers[0]
            source = wrong.source[wrong.source.index(f"def {wrong.name}(") :].replace(wrong.name, task.name)
            yield replaced(solution, solved, left | {task.name: source})
        del left[task.name]
        yield replaced(solution, solved, left)


def definitions(text: str, exercise: Exercise) -> dict[str, str]:
    """The text of each task's function."""
    found = extract([Cell("file", text)], exercise.tasks)
    return {task: definition.text for task in exercise.tasks if (definition := found.definition(task))}


def replaced(text: str, solved: dict[str, str], left: dict[str, str]) -> str:
    """A solution with other functions in some places."""
    for task, other in left.items():
        text = text.replace(solved[task], other)
    return text


def in_terminal(folder: Path, name: str, file: Path, saves: list[str]) -> list[float]:
    """Seconds from each save to its verdict on the screen of `aidl watch`."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen([*AIDL, "watch", name], cwd=folder, stdin=theirs, stdout=theirs, stderr=theirs)
    try:
        times = []
        read_until_verdict(ours)
        read_until_quiet(ours)
        for text in saves:
            begin = time.perf_counter()
            file.write_text(text)
            times.append(read_until_verdict(ours) - begin)
            read_until_quiet(ours)
        os.write(ours, b"q")
        process.wait(PATIENCE)
        return times
    finally:
        process.kill()
        process.wait()
        os.close(ours)
        os.close(theirs)


def read_until_verdict(terminal: int) -> float:
    """When a verdict stood on the screen."""
    text = ""
    while VERDICT not in re.sub(r"\s+", " ", text):
        if not select.select([terminal], [], [], PATIENCE)[0]:
            raise SystemExit(f"no verdict within {PATIENCE:g} seconds: {text}")
        text += os.read(terminal, 65536).decode("utf-8", "replace")
    return time.perf_counter()


def read_until_quiet(terminal: int, seconds: float = 2.0) -> None:
    """What else comes, an explanation say: as a student reads it before the next save."""
    while select.select([terminal], [], [], seconds)[0]:
        os.read(terminal, 65536)


if __name__ == "__main__":
    main()
