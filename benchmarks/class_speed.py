"""A class's hand-ins of s02/linear_regression: what they cost with `aidl grade`, and with what others grade notebooks with.

Run: .venv/bin/python benchmarks/class_speed.py [--hand-ins 100] [--rounds 3] [--sample 8] [--only aidl one fresh nbgrader otter]
     [--most 1000] [--peers PYTHON] > benchmarks/results/class_speed.md
PYTHON is the interpreter of an environment with `nbgrader`, `otter-grader` and this project installed, the versions of
constraints/newest.txt where they fit. In every round each way grades the same --sample hand-ins, others in each round.
Nothing of the package may be edited meanwhile: the second run would grade anew what another version has graded.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from class_answers import NAME, class_answers
from class_peers import PEERS, Answers, Points

from aidl_jax.exercise.course import open_course
from aidl_jax.grade.extract import Cell
from aidl_jax.grade.judge import judge, versions
from aidl_jax.grade.known import known_functions, own_answers
from aidl_jax.grade.nursery import Nursery
from aidl_jax.grade.process import Processes
from aidl_jax.grade.session import Session

AIDL = [sys.executable, "-m", "aidl_jax"]
SEED = 7
WAYS = ["aidl", "one", "fresh", *PEERS]
POINTS = re.compile(r"^ +\S +\w+ +(\d+)/\d+", re.MULTILINE)  # a line of the screen of `aidl check`


def main() -> None:
    """Prints the tables as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hand-ins", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sample", type=int, default=8)
    parser.add_argument("--only", nargs="+", choices=WAYS, default=WAYS)
    parser.add_argument("--most", type=int, default=1000, help="of hand-ins in one class")
    parser.add_argument("--peers", type=Path, default=Path(sys.executable), help="the Python that has the peers")
    given = parser.parse_args()
    answers = named(class_answers(open_course(), given.hand_ins))
    about = ", ".join(f"{name} {version}" for name, version in versions().items())
    print(f"# The speed of grading a class\n\n{about}; {platform.machine()}, {os.cpu_count()} cores.\n")
    with tempfile.TemporaryDirectory() as folder:
        beside_others(given, answers, Path(folder))
        if "aidl" in given.only:
            sizes = {size for size in (10, given.hand_ins, 10 * given.hand_ins) if size <= given.most}
            by_size(answers, sorted(sizes), Path(folder))
            in_detail(answers)


def named(modules: Sequence[str]) -> Answers:
    """Modules by the names of their students."""
    return {f"student{number:04}": module for number, module in enumerate(modules)}


def beside_others(given: argparse.Namespace, answers: Answers, folder: Path) -> None:
    """In every round: all ways on the same few hand-ins, then `aidl grade` on the whole class, where starting hardly counts."""
    ways = dict(all_ways(given, folder))
    seconds: dict[str, list[float]] = {name: [] for name in [*ways, "class"]}
    agreed: Counter[str] = Counter()
    whole = AidlGrade(folder / "class")
    for sample in itertools.islice(samples(answers, given.sample), given.rounds):
        points = {}
        for name, way in ways.items():
            way.prepare(sample)
            seconds[name].append(timed(way.grade) / len(sample))
            points[name] = way.points(sample)
        whole.prepare(answers)
        seconds["class"].append(timed(whole.grade) / len(answers))
        for name in ways:
            agreed[name] += sum(points[name][student] == points[next(iter(ways))][student] for student in sample)
    print(f"## The same hand-ins: {given.rounds} rounds of {given.sample}, others in each round\n")
    print(f"| way | seconds a hand-in | hand-ins a minute | times one of a class of {len(answers)} | same points |")
    print("|---|---:|---:|---:|---:|")
    for name, each in seconds.items():
        title = ways[name].title if name in ways else f"{whole.title}, all {len(answers)} of them"
        same = f"{agreed[name]} of {given.rounds * given.sample}" if name in ways else ""
        times = statistics.median(one / other for one, other in zip(each, seconds["class"], strict=True))
        median = statistics.median(each)
        print(f"| {title} | {median:.2f} | {60 / median:.0f} | {times:.1f} | {same} |", flush=True)
    print(
        "\nMedians; starting counts. Peers grade one hand-in after another, as they do; only `aidl grade` has a sandbox.\n"
    )


def all_ways(given: argparse.Namespace, folder: Path) -> Iterator[tuple[str, Any]]:
    """What is asked for, by name; of what is not installed here it is said."""
    ours = {
        "aidl": lambda: AidlGrade(folder / "aidl"),
        "one": lambda: AidlGrade(folder / "one", "--jobs", "1"),
        "fresh": lambda: AidlCheck(folder / "fresh"),
    }
    for name in given.only:
        if name in ours:
            yield name, ours[name]()
            continue
        package = PEERS[name].package
        version = f"import importlib.metadata as m; print(m.version({package!r}))"
        found = subprocess.run([given.peers, "-c", version], capture_output=True, text=True)
        if found.returncode:
            print(f"{package} is not installed for the Python that --peers names, so it is not in the table.\n")
            continue
        (folder / name).mkdir()
        peer = PEERS[name](given.peers, folder / name, NAME, SEED)
        peer.title = f"{peer.title}, {package} {found.stdout.strip()}"
        yield name, peer


def samples(answers: Answers, size: int) -> Iterator[Answers]:
    """The hand-ins, `size` at a time, from the first again after the last."""
    around = itertools.cycle(answers.items())
    while True:
        yield dict(itertools.islice(around, size))


class AidlGrade:
    """`aidl grade`, through the sandbox."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder, self.options = folder, options
        self.title = " ".join(["`aidl grade", *options]) + "`"

    def prepare(self, answers: Answers) -> None:
        """Puts the hand-ins into a folder of their own; nothing is graded there yet."""
        shutil.rmtree(self.folder, ignore_errors=True)
        for student, module in answers.items():
            path = self.folder / "class" / student / "linear_regression.py"
            path.parent.mkdir(parents=True)
            path.write_text(module)

    def grade(self) -> None:
        """Grades what was prepared, or grades it again: this is what is timed."""
        options = ["--out", str(self.folder / "out"), "--exercise", NAME, "--seed", str(SEED)]
        subprocess.run(
            [*AIDL, "grade", str(self.folder / "class"), *options, *self.options], check=True, stdout=subprocess.DEVNULL
        )

    def points(self, answers: Answers) -> Points:
        """What it gave to each student."""
        with open(self.folder / "out" / "grades.csv", newline="") as file:
            found = {row["student"]: float(row["points"]) for row in csv.DictReader(file)}
        return {student: found[student] for student in answers}

    def seconds(self) -> list[float]:
        """How long each hand-in took."""
        found = json.loads((self.folder / "out" / "timings.json").read_text())["seconds"]
        return sorted(found.values())


class AidlCheck:
    """`aidl check` of each hand-in: a fresh process, which starts two more."""

    title = "`aidl check` of each"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.given: Answers = {}
        self.found: dict[str, str] = {}
        folder.mkdir()

    def prepare(self, answers: Answers) -> None:
        """Keeps the hand-ins."""
        self.given, self.found = answers, {}

    def grade(self) -> None:
        """Checks one after another: this is what is timed."""
        path = self.folder / "linear_regression.py"
        for student, module in self.given.items():
            path.write_text(module)
            done = subprocess.run(
                [*AIDL, "check", str(path), "--seed", str(SEED)], cwd=self.folder, capture_output=True, text=True
            )
            self.found[student] = done.stdout

    def points(self, answers: Answers) -> Points:
        """What it gave to each student, as its screen has it."""
        return {student: float(sum(map(int, POINTS.findall(self.found[student])))) for student in answers}


def by_size(answers: Answers, sizes: Sequence[int], folder: Path) -> None:
    """Classes of several sizes, each graded twice. Beyond all distinct hand-ins they come again."""
    possible = sum(task.points for task in open_course().exercise(NAME).tasks.values())
    print("## The size of a class: `aidl grade`, so many at a time as it chooses\n")
    print("| hand-ins | distinct | full marks | seconds | a hand-in | a minute | p50 s | p99 s | second run, s |")
    print("|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
    for size in sizes:
        some = named(list(itertools.islice(itertools.cycle(answers.values()), size)))
        way = AidlGrade(folder / "size")
        way.prepare(some)
        first, each, again = timed(way.grade), way.seconds(), timed(way.grade)
        p50, p99 = each[len(each) // 2], each[min(len(each) * 99 // 100, len(each) - 1)]
        full = list(way.points(some).values()).count(possible)
        print(f"| {size:,} | {len(set(some.values()))} | {full} | {first:.1f} | {first / size:.3f} | {60 * size / first:.0f} | "
              f"{p50:.2f} | {p99:.2f} | {again:.1f} |", flush=True)  # fmt: skip
    print(
        "\nThe second run takes every verdict from the journal; the first too, where an answer equals an earlier one.\n"
    )


def timed(run: Callable[[], object]) -> float:
    """Seconds."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


class Counted(Session):
    """A session that counts what it asks, and how long it waits for each kind of answer."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.counts: Counter[str] = Counter()
        self.waited: Counter[str] = Counter()

    def evaluate(self, request: Any, variant: Any = None) -> Any:
        """Counts a question of a check."""
        self.counts["asked"] += 1
        return super().evaluate(request, variant)

    def load(self) -> Any:
        """Times the greeting and the reading of the hand-in."""
        return self._counting("start", super().load)

    def _ask_worker(self, do: Any, *given: Any) -> Any:
        return self._counting(do, super()._ask_worker, do, *given)

    def _ask_runner(self, message: Any, *given: Any) -> Any:
        return self._counting(message["do"], super()._ask_runner, message, *given)

    def _counting(self, what: str, ask: Callable[..., Any], *given: Any) -> Any:
        start = time.perf_counter()
        try:
            return ask(*given)
        finally:
            self.counts[what] += 1
            self.waited[what] += time.perf_counter() - start


def in_detail(answers: Answers) -> None:
    """How many functions were traced, compiled and run for what was asked; where the time goes."""
    course = open_course()
    exercise = course.exercise(NAME)
    counts, waited = Counter[str](), Counter[str]()
    different: set[str] = set()
    with Nursery() as nursery:
        Processes(nursery.start).close()  # the first waits until all is imported
        start = time.perf_counter()
        known: dict[str, bytes] = {}
        for path in own_answers(course, NAME):
            known |= known_functions(NAME, exercise, path, Processes(nursery.start))
        print(
            f"\nCompiling {len(known)} functions of the course's own answers before: {time.perf_counter() - start:.1f} s.\n"
        )
        start = time.perf_counter()
        for module in answers.values():
            before = time.perf_counter()
            with Counted([Cell("linear_regression.py", module)], exercise, Processes(nursery.start), known) as session:
                waited["forks"] += time.perf_counter() - before
                judge(NAME, exercise, session, SEED)
                different |= set(session.evidence)
                counts += session.counts + Counter(known=len(session.evidence.keys() & known.keys()))
                waited += session.waited
        total = time.perf_counter() - start
    print_detail(counts, waited, total, len(answers))
    print(f"\nAll that was looked at: {counts['compile']:,} functions, {len(different):,} different ones; {counts['known']:,} of them were the "
          "course's own, which are loaded. Every hand-in has a runner of its own, so another function that two hand-ins share is compiled twice.")  # fmt: skip


def print_detail(counts: Mapping[str, int], waited: Mapping[str, float], total: float, hand_ins: int) -> None:
    """What was asked for, what had to be done for it, how long that took."""
    print(f"## What equal functions saved, and where the time goes: {hand_ins} hand-ins, one at a time\n")
    print("| what | times a hand-in | of what was asked | seconds a hand-in | of all |\n|---|---:|---:|---:|---:|")
    rows = [("two forks", "", "forks"), ("their greeting, reading the answer", "", "start"),
            ("a check or an explanation asks", "asked", ""), ("the worker traces and exports", "trace", "trace"),
            ("the runner parses, gates and compares", "load", "load"),
            ("the runner compiles, or loads what is known", "compile", "compile"),
            ("the runner runs", "run", "run")]  # fmt: skip
    for what, count, wait in rows:
        often = f"{counts[count] / hand_ins:.1f} | {counts[count] / counts['asked']:.0%}" if count else " | "
        long = f"{waited[wait] / hand_ins:.3f} | {waited[wait] / total:.0%}" if wait else " | "
        print(f"| {what} | {often} | {long} |")
    rest = total - sum(waited.values())
    print(f"| the judge, and ending both | | | {rest / hand_ins:.3f} | {rest / total:.0%} |")
    print(f"| all | | | {total / hand_ins:.3f} | |")


if __name__ == "__main__":
    main()
