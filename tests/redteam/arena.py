"""Where hostile hand-ins are graded: a small exercise, a neighbour who is graded meanwhile, and what must come of both."""

from __future__ import annotations

import contextlib
import itertools
import re
import textwrap
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from aidl_jax.exercise import Draw, Exercise, Hints, Student, call, compare, iterate, require, static, stream
from aidl_jax.grade.extract import Cell
from aidl_jax.grade.judge import judge
from aidl_jax.grade.nursery import Nursery
from aidl_jax.grade.process import Processes
from aidl_jax.grade.record import Record, to_json
from aidl_jax.grade.sandbox import Limits
from aidl_jax.grade.session import Session

SMALL = Limits(cpu=20, memory=1280 << 20, files=64, file_size=1 << 20, scratch=4 << 20)
SECRET = "mangold-4711"  # nowhere but in the grader: its environment, its checks, a neighbour's hand-in
SPELLED = "''.join(['man', 'gold', '-47', '11'])"  # how an attack names it without holding it
HINTS = Hints("the idea", "where to look", "nearly the line")
RIGHT = {
    "scale": "return x * factor",
    "firsts": "for _ in range(count):\n    yield next(stream)",
    "middle": "return sorted(numbers)[len(numbers) // 2]",
}
IMPORTS = """import ctypes, gc, importlib, os, signal, socket, struct, sys, threading, time
import jax, jax.numpy as jnp, numpy as np

def inside(name):
    return importlib.import_module("aidl" + "_jax." + name)  # spelled so that reading the hand-in does not show it
"""
SIGNATURES = {"scale": "x, factor", "firsts": "stream, count", "middle": "numbers"}


def make_exercise(time_limit: float) -> Exercise:
    """A function that is traced, a generator, and a function that is called."""
    exercise = Exercise("Three small functions", time_limit=time_limit)
    tasks = {name: exercise.task(name, points=1, hints=HINTS) for name in RIGHT}

    @tasks["scale"].check(draws=2)
    def multiplies(student: Student, draw: Draw, secret: str = SECRET) -> None:
        """Every element is multiplied by the factor."""
        x, factor = draw.normal(4), draw.normal()
        compare(student.scale(x, factor), x * factor)

    @tasks["firsts"].check(draws=1)
    def yields_the_first(student: Student, draw: Draw, secret: str = SECRET) -> None:
        """It yields the first three elements."""
        got = iterate(student.firsts(stream(itertools.count(5)), static(3)))
        require(got.outputs == [5, 6, 7], "These are not the first three.", got=got.outputs, expected=[5, 6, 7])

    @tasks["middle"].check(draws=2)
    def finds_the_middle(student: Student, draw: Draw, secret: str = SECRET) -> None:
        """It is the number in the middle."""
        numbers = [int(number) for number in draw.integers(0, 1_000, 5)]
        got, expected = call(student.middle(static(numbers))), sorted(numbers)[2]
        require(type(got) is int and got == expected, "This is not the middle.", got=got, expected=expected)

    return exercise


def hand_in(top: str = "", **bodies: str) -> str:
    """A hand-in: the right answer, with what stands above it and other bodies for some functions."""
    written = {
        name: textwrap.indent(textwrap.dedent(body).strip(), "    ") for name, body in {**RIGHT, **bodies}.items()
    }
    functions = [f"def {name}({SIGNATURES[name]}):\n{body}" for name, body in written.items()]
    return "\n\n".join([IMPORTS, textwrap.dedent(top).strip(), *functions]) + "\n"


@dataclass(frozen=True)
class Attack:
    """A hostile hand-in, and what must come of it.

    Args:
        name: what is tried.
        fails: by task, a pattern that must be found in its failure ("kind: message fix"); all other tasks must pass.
        top: what stands above the functions; its names count if a function uses them.
        scale, firsts, middle: bodies in place of the right ones.
    """

    name: str
    fails: dict[str, str]
    top: str = ""
    scale: str = RIGHT["scale"]
    firsts: str = RIGHT["firsts"]
    middle: str = RIGHT["middle"]

    @property
    def source(self) -> str:
        """The hand-in."""
        return hand_in(self.top, scale=self.scale, firsts=self.firsts, middle=self.middle)


def grade(source: str, nursery: Nursery, *, time_limit: float = 10.0, seed: int = 1) -> Record:
    """A hand-in's record, from the real sandbox."""
    exercise = make_exercise(time_limit)
    with Session([Cell("answer.py", source)], exercise, Processes(nursery.start)) as session:
        return judge("small", exercise, session, seed)


def said(record: Record) -> dict[str, str]:
    """By task, why it failed; "" where it passed."""
    failures = {task.name: task.failure for task in record.tasks}
    assert all(
        failure or task.verdict == "passed" for task, failure in zip(record.tasks, failures.values(), strict=True)
    )
    return {name: f"{f.kind}: {f.message} {f.fix or ''}" if f else "" for name, f in failures.items()}


def processes_of(nursery: Nursery) -> set[int]:
    """All processes in the nursery's sandbox, seen from outside."""
    parents: dict[int, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
            if state != "Z":
                parents[int(folder.name)] = int(parent)
    found, new = set(), {nursery.outer.pid}
    while new:
        found |= new
        new = {process for process, parent in parents.items() if parent in found} - found
    return found


@dataclass
class Neighbour:
    """An honest hand-in in the same nursery, graded again and again: its record must not change by a byte."""

    nursery: Nursery
    session: Session = field(init=False)
    alone: str = field(init=False)

    def __post_init__(self) -> None:
        source = hand_in(f"# {SECRET}") + f'kept = "{SECRET}"\n'
        self.session = Session([Cell("answer.py", source)], make_exercise(20), Processes(self.nursery.start))
        first = self._judged()
        assert [task.verdict for task in first.tasks] == ["passed"] * 3
        self.alone = to_json(first.to_dict())

    def record(self) -> str:
        """Its record as JSON."""
        return to_json(self._judged().to_dict())

    def _judged(self) -> Record:
        for remembered in (self.session._results, self.session._traced, self.session.log):
            remembered.clear()
        return judge("small", self.session.exercise, self.session, 1)


@dataclass
class Arena:
    """A nursery, a neighbour in it, and the processes that are there when nobody attacks."""

    nursery: Nursery
    neighbour: Neighbour = field(init=False)
    quiet: set[int] = field(init=False)

    def __post_init__(self) -> None:
        self.neighbour = Neighbour(self.nursery)
        self.quiet = processes_of(self.nursery)

    def withstands(self, attack: Attack, time_limit: float = 10.0) -> dict[str, str]:
        """Grades an attack beside the neighbour and asserts all that must hold for each; what was said of it."""
        with self._undisturbed(), ThreadPoolExecutor(1) as pool:
            grading = pool.submit(grade, attack.source, self.nursery, time_limit=time_limit)
            while not grading.done():
                assert self.neighbour.record() == self.neighbour.alone
                wait([grading], timeout=0.5)
        texts = said(grading.result())
        assert {name for name, text in texts.items() if text} == set(attack.fails), texts
        for name, pattern in attack.fails.items():
            assert re.search(pattern, texts[name]), texts[name]
        assert SECRET not in str(texts)
        return texts

    @contextlib.contextmanager
    def _undisturbed(self) -> Iterator[None]:
        """Afterwards the neighbour is as it was, and no process is left."""
        yield
        assert self.neighbour.record() == self.neighbour.alone
        deadline = time.monotonic() + 10
        while processes_of(self.nursery) != self.quiet:
            assert time.monotonic() < deadline, "a process has outlived its fork"

    def close(self) -> None:
        """Ends all."""
        self.neighbour.session.close()
        self.nursery.close()


def parametrized(attacks: list[Attack]) -> pytest.MarkDecorator:
    """One test for each attack, called by its name; every other one of a table is slow."""
    assert len({attack.name for attack in attacks}) == len(attacks)
    marked = [
        pytest.param(attack, id=attack.name, marks=pytest.mark.slow if place % 2 else ())
        for place, attack in enumerate(attacks)
    ]
    return pytest.mark.parametrize("attack", marked)
