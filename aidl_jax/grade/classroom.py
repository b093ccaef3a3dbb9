"""Grading a class: every hand-in through its own worker and runner, some in parallel, into records and a table."""

from __future__ import annotations

import csv
import hashlib
import io
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from aidl_jax.errors import UsageError
from aidl_jax.exercise import Exercise
from aidl_jax.exercise.course import Course
from aidl_jax.exercise.files import write_text
from aidl_jax.exercise.source import short_name
from aidl_jax.grade.handin import HandIn, assign, find_hand_ins, read_hand_in
from aidl_jax.grade.local import check_document
from aidl_jax.grade.process import Processes
from aidl_jax.grade.record import Record, to_json
from aidl_jax.grade.terminal import clean

UNSAFE = "UNSAFE: no sandbox; student code runs with the rights of whoever grades."
LONGEST_NAME = 180  # bytes; file systems allow 255, and a file that is being written has a longer name
MADE = ("grades.csv", "run.json", "timings.json", "records")
EARLIER = "earlier"  # the run that is being replaced, until the new one is complete


@dataclass(frozen=True)
class Graded:
    """One student's records, by exercise, and what could not be read."""

    student: str
    records: dict[str, Record]
    problems: dict[str, str]
    unused: list[str]
    seconds: float

    def points(self, name: str) -> int:
        """Points of one exercise, 0 where nothing was handed in."""
        return self.records[name].points if name in self.records else 0

    def unknown(self, name: str) -> bool:
        """Whether no points can be told: not which file counts, not what an unreadable one held, not by the grader."""
        unread = name not in self.records and any(where not in self.records for where in self.problems)
        return name in self.problems or unread or bool(self.ungraded(name))

    def ungraded(self, name: str) -> list[str]:
        """The tasks of an exercise that the grader could not grade: no zero may stand for them."""
        return (
            [task.name for task in self.records[name].tasks if task.verdict == "ungraded"]
            if name in self.records
            else []
        )


@dataclass
class ClassRun:
    """A run over a class.

    Args:
        course: whose exercises.
        exercises: those that are graded, by name.
        seed: of all draws, hidden from students.
        jobs: how many hand-ins at a time.
    """

    course: Course
    exercises: dict[str, Exercise]
    seed: int
    jobs: int
    stopped: threading.Event = field(default_factory=threading.Event)
    running: set[Processes] = field(default_factory=set)

    def grade(self, hand_ins: Sequence[HandIn], done: Callable[[Graded], None]) -> list[Graded]:
        """Grades all; `done` is told of each as it comes. Ctrl-C ends every process and is raised again."""
        finished: list[Graded] = []
        ready: SimpleQueue[Future[Graded | None]] = SimpleQueue()  # Ctrl-C in futures.wait can leave a lock held
        with ThreadPoolExecutor(self.jobs) as pool:
            try:
                for hand_in in hand_ins:
                    pool.submit(self._grade_one, hand_in).add_done_callback(ready.put)
                for _ in hand_ins:
                    graded = ready.get().result()
                    if graded is not None:
                        finished.append(graded)
                        done(graded)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                self.stop()
                raise
        return sorted(finished, key=lambda graded: (graded.student.casefold(), graded.student))

    def stop(self) -> None:
        """Ends what is running; nothing of it is recorded."""
        self.stopped.set()
        for processes in list(self.running):
            processes.close()

    def _grade_one(self, hand_in: HandIn) -> Graded | None:
        start = time.monotonic()
        records, problems = {}, dict(hand_in.problems)
        for name in self.exercises:
            if name in hand_in.answers and not self.stopped.is_set():
                processes = Processes()
                self.running.add(processes)
                if self.stopped.is_set():  # while they were started, so that `stop` did not know of them
                    processes.close()
                try:
                    records[name] = check_document(
                        name, self.exercises[name], hand_in.answers[name], seed=self.seed, processes=processes
                    )
                except Exception as error:  # a fault of the grader's own with this one must not stop the others
                    problems[name] = f"ungraded, by a fault of the grader's: {type(error).__name__}: {error}"
                finally:
                    processes.close()
                    self.running.discard(processes)
        if self.stopped.is_set():  # its processes were ended under it: what it says means nothing
            return None
        return Graded(hand_in.student, records, problems, hand_in.unused, time.monotonic() - start)


def read_class(folder: Path, course: Course, names: Sequence[str]) -> tuple[list[HandIn], dict[str, Exercise]]:
    """Reads all hand-ins; and the exercises to grade: those asked for, else those that were handed in.

    Raises:
        UsageError: no hand-in answers any of the exercises.
    """
    every = {name: course.exercise(name) for name in course.names()}
    asked = {name: every[name] for name in names} if names else every
    hand_ins = []
    for student, path in find_hand_ins(folder):
        documents, problems = read_hand_in(path)
        hand_ins.append(assign(student, documents, problems, asked, every))
    found = {n: e for n, e in asked.items() if any(n in h.answers or n in h.problems for h in hand_ins)}
    if not (names or found):
        unread = [f"{where}: {what}" for hand_in in hand_ins for where, what in hand_in.problems.items()]
        given = f"{folder} ({'; '.join(unread[:3])})" if unread else str(folder)
        raise UsageError("no hand-in answers an exercise of this course", given=given, fix="name one with --exercise")
    return hand_ins, asked if names else found


def prepare_output(folder: Path, replace: bool) -> None:
    """An output folder for a new run; with `replace`, a complete earlier one is kept aside until this one is.

    Raises:
        UsageError: there is something in it; with `replace`, something that no such run wrote.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError("the output is a file, not a folder", given=str(folder), fix="name another one")
    there = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    foreign = [name for name in there if name not in (*MADE, EARLIER)] or (there if "records" not in there else [])
    if there and (foreign or not replace):
        fix = "name an empty folder" if foreign else "name another folder, or pass --replace to grade anew"
        raise UsageError("the output folder is not empty", given=f"{folder} with {', '.join(there[:5])}", fix=fix)
    if "run.json" in there:  # it is written last
        shutil.rmtree(folder / EARLIER, ignore_errors=True)
        (folder / EARLIER).mkdir()
        for name in (name for name in MADE if name in there):
            (folder / name).rename(folder / EARLIER / name)
    else:  # a run that was stopped
        for path in (folder / name for name in MADE if name in there):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    (folder / "records").mkdir(parents=True, exist_ok=True)


def write_student(folder: Path, run: ClassRun, graded: Graded, unsafe: bool) -> None:
    """One student's record: `records/<student>.json`."""
    data = {
        "student": graded.student,
        "points": sum(record.points for record in graded.records.values()),
        "possible": sum(exercise.points for exercise in run.exercises.values()),
        "problems": graded.problems,
        "missing": missing(run, graded),
        "exercises": {name: record.to_dict() for name, record in graded.records.items()},
    }
    write_text(folder / "records" / f"{_file_stem(graded.student)}.json", _json(data, unsafe))


def _file_stem(student: str) -> str:
    """The student's name; a name too long for a file system is cut, with a hash of all of it."""
    encoded = student.encode("utf-8", "surrogateescape")
    if len(encoded) <= LONGEST_NAME:
        return student
    return encoded[:LONGEST_NAME].decode("utf-8", "ignore") + "-" + hashlib.blake2b(encoded, digest_size=6).hexdigest()


def write_class(folder: Path, run: ClassRun, graded: Sequence[Graded], unsafe: bool) -> None:
    """The table, the timings beside it, and what the run was; then an earlier one goes."""
    write_text(folder / "grades.csv", grades_csv(run, graded, unsafe))
    seconds = {g.student: round(g.seconds, 3) for g in graded}
    write_text(folder / "timings.json", _json({"seconds": seconds}, unsafe))
    about = {"course": run.course.title, "exercises": list(run.exercises), "seed": run.seed, "students": len(graded)}
    write_text(folder / "run.json", _json(about, unsafe))
    shutil.rmtree(folder / EARLIER, ignore_errors=True)


def grades_csv(run: ClassRun, graded: Sequence[Graded], unsafe: bool) -> str:
    """One row per student: points per exercise, the sum, what is possible, problems.

    Points are empty rather than 0 where a file could not be read, where it can't be told which file counts, and where
    a fault of the grader's own left a task ungraded.
    """
    possible = sum(exercise.points for exercise in run.exercises.values())
    file = io.StringIO()
    if unsafe:
        file.write(f"# {UNSAFE}\n")
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["student", *run.exercises, "points", "possible", "problems"])
    for one in graded:
        points = ["" if one.unknown(name) else one.points(name) for name in run.exercises]
        total = "" if "" in points else sum(map(int, points))
        problems = "; ".join(
            [*(f"{where}: {what}" for where, what in sorted(one.problems.items())), *missing(run, one)]
        )
        writer.writerow([formula_free(one.student), *points, total, possible, formula_free(problems)])
    return file.getvalue()


def missing(run: ClassRun, graded: Graded) -> list[str]:
    """Exercises that were not handed in, or could not be graded, in words."""
    absent = [
        f"{short_name(n)} not handed in" for n in run.exercises if n not in graded.records and not graded.unknown(n)
    ]
    if graded.unused and not graded.records:
        absent.insert(0, f"no task of these exercises in {', '.join(graded.unused)}")
    ungraded = [
        f"{short_name(n)} ungraded: {', '.join(graded.ungraded(n))}" for n in graded.records if graded.ungraded(n)
    ]
    return absent + ungraded


def formula_free(text: str) -> str:
    """Text on one line that no spreadsheet takes for a formula.

    >>> formula_free("=cmd()"), formula_free("ada")
    ("'=cmd()", 'ada')
    """
    line = clean(text).replace("\n", " ")  # `csv` leaves a lone "\r" unquoted, and it would begin a row
    return f"'{line}" if line.lstrip().startswith(("=", "+", "-", "@")) else line


def _json(data: dict[str, Any], unsafe: bool) -> str:
    """Canonical JSON; an unsafe run says so on the first line."""
    if not unsafe:
        return to_json(data)
    text = to_json({"UNSAFE": UNSAFE.removeprefix("UNSAFE: "), **data})  # capitals sort first
    return text.replace("{\n ", "{", 1)
