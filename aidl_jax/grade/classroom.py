"""Grading a class: every answer through its own worker and runner, some in parallel, each verdict into the journal."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue

from aidl_jax.errors import UsageError
from aidl_jax.exercise import Exercise
from aidl_jax.exercise.course import Course
from aidl_jax.grade.assigning import assign
from aidl_jax.grade.children import Start
from aidl_jax.grade.handin import HandIn, read_hand_in
from aidl_jax.grade.inbox import Arrival
from aidl_jax.grade.journal import Basis, Entry, Journal, JournalError, answer_seed, basis
from aidl_jax.grade.known import known_functions, own_answers
from aidl_jax.grade.local import check_document
from aidl_jax.grade.process import Processes
from aidl_jax.grade.record import Record
from aidl_jax.grade.results import graders_fault
from aidl_jax.grade.speed import Speed, is_measured, measured, not_measured

WORTH_KNOWING = 20  # hand-ins to an exercise from which on it pays to compile the course's own functions before


@dataclass(frozen=True)
class Graded:
    """One student's records, by exercise; what they rest on; what could not be read; how long each took, once; how fast answers are."""

    student: str
    records: Mapping[str, Record]
    problems: Mapping[str, str] = field(default_factory=dict)
    bases: Mapping[str, Basis] = field(default_factory=dict)
    seconds: float = 0.0
    speeds: Mapping[str, Speed] = field(default_factory=dict)


@dataclass
class ClassRun:
    """A run over a class.

    Args:
        course: whose exercises.
        exercises: those that are graded, by name.
        seed: of all draws, hidden from students.
        jobs: how many hand-ins at a time.
        start: makes the processes, in the sandbox or without.
        journal: where verdicts are kept; what is in it is not graded again.
        speed: whether answers are measured where the exercise asks for it.
        stopped: whether it was told to end.
        running: the processes at work.
        measuring: held while an answer's speed is measured: one at a time.
        known: by exercise, what the course's own functions were compiled to.
    """

    course: Course
    exercises: Mapping[str, Exercise]
    seed: int
    jobs: int
    start: Start
    journal: Journal
    speed: bool = True
    stopped: threading.Event = field(default_factory=threading.Event)
    running: set[Processes] = field(default_factory=set)
    measuring: threading.Lock = field(default_factory=threading.Lock)
    known: dict[str, dict[str, bytes]] = field(default_factory=dict)

    def grade(self, hand_ins: Sequence[HandIn], done: Callable[[Graded], None] = lambda graded: None) -> list[Graded]:
        """Grades all, in the order given; `done` is told of each as it comes. Ctrl-C ends every process and is raised again."""
        finished: dict[str, Graded] = {}
        ready: SimpleQueue[Future[Graded | None]] = SimpleQueue()  # Ctrl-C in futures.wait can leave a lock held
        with ThreadPoolExecutor(self.jobs) as pool:
            try:
                self._prepare(pool, hand_ins)
                for hand_in in hand_ins:
                    pool.submit(self._grade_one, hand_in).add_done_callback(ready.put)
                for _ in hand_ins:
                    graded = ready.get().result()
                    if graded is not None:
                        finished[graded.student] = graded
                        done(graded)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                self.stop()
                raise
        return [finished[hand_in.student] for hand_in in hand_ins if hand_in.student in finished]

    def _prepare(self, pool: Executor, hand_ins: Sequence[HandIn]) -> None:
        """Compiles what many hand-ins will have in common with the course's own answers."""
        answers = [(name, path) for name in self._shared(hand_ins) for path in own_answers(self.course, name)]
        for (name, _), found in zip(answers, pool.map(self._known, answers), strict=True):
            self.known.setdefault(name, {}).update(found)

    def _shared(self, hand_ins: Sequence[HandIn]) -> Iterator[str]:
        """The exercises that so many have answered that it pays, and not all of them were graded before."""
        for name in self.exercises:
            bases = [self._basis(name, hand_in) for hand_in in hand_ins if name in hand_in.answers]
            if len(bases) >= WORTH_KNOWING and not all(self.journal.find(basis) for basis in bases):
                yield name

    def _known(self, answer: tuple[str, Path]) -> dict[str, bytes]:
        name, path = answer
        try:
            with self._processes() as processes:
                return known_functions(name, self.exercises[name], path, processes)
        except Exception:  # it only saves time; what is wrong will show where hand-ins are graded
            return {}

    def stop(self) -> None:
        """Ends what is running; nothing of it is recorded."""
        self.stopped.set()
        for processes in list(self.running):
            processes.close()

    def _grade_one(self, hand_in: HandIn) -> Graded | None:
        records, problems, bases, seconds, speeds = {}, dict(hand_in.problems), {}, 0.0, {}
        for name in self.exercises:
            if name in hand_in.answers and not self.stopped.is_set():
                try:
                    bases[name] = self._basis(name, hand_in)
                    entry = self._verdict(name, hand_in, bases[name])
                    records[name], seconds = entry.record, seconds + entry.seconds
                    if entry.speed is not None:
                        speeds[name] = entry.speed
                except JournalError:
                    raise
                except Exception as error:  # a fault of the grader's own with this one must not stop the others
                    problems[name] = graders_fault(error)
        if self.stopped.is_set():  # its processes were ended under it: what it says means nothing
            return None
        return Graded(hand_in.student, records, problems, bases, seconds, speeds)

    def _basis(self, name: str, hand_in: HandIn) -> Basis:
        return basis(self.course, name, hand_in.answers[name], self.seed)

    def _verdict(self, name: str, hand_in: HandIn, basis: Basis) -> Entry:
        """A verdict from the journal, of this student or of an equal answer; else a new one, which is kept there.

        What could not be graded is not kept: the next run tries it again.
        """
        own, equal = self.journal.earlier(hand_in.student, name), self.journal.find(basis)
        if own is not None and own.basis == basis:
            return own
        begin = time.monotonic()
        record = equal.record if equal is not None else self._grade_exercise(name, hand_in)
        record = dataclasses.replace(record, source=hand_in.answers[name].name)
        seconds = round(time.monotonic() - begin, 3)
        speed = equal.speed if equal is not None else self._speed(name, hand_in, record)
        entry = Entry(name, hand_in.student, basis, record, seconds, speed)
        if not self.stopped.is_set() and all(task.verdict != "ungraded" for task in record.tasks):
            self.journal.add(entry)
        return entry

    def _grade_exercise(self, name: str, hand_in: HandIn) -> Record:
        answer = hand_in.answers[name]
        seed = answer_seed(self.seed, answer)
        with self._processes() as processes:
            known = self.known.get(name, {})
            return check_document(name, self.exercises[name], answer, seed=seed, processes=processes, known=known)

    def _speed(self, name: str, hand_in: HandIn, record: Record) -> Speed | None:
        exercise = self.exercises[name]
        if self.stopped.is_set() or not self.speed or not is_measured(exercise, record):
            return None
        try:
            with self.measuring, self._processes() as own, self._processes() as reference:
                return measured(exercise, hand_in.answers[name], own, reference)
        except Exception as error:  # it must not cost the verdict
            return not_measured(exercise, error)

    @contextlib.contextmanager
    def _processes(self) -> Iterator[Processes]:
        """A worker and a runner, which `stop` ends too."""
        processes = Processes(self.start)
        self.running.add(processes)
        if self.stopped.is_set():  # while they were started, so that `stop` did not know of them
            processes.close()
        try:
            yield processes
        finally:
            processes.close()
            self.running.discard(processes)


def read_class(
    arrivals: Iterable[Arrival], course: Course, names: Sequence[str]
) -> tuple[list[HandIn], dict[str, Exercise]]:
    """Reads all hand-ins; and the exercises to grade: those asked for, else those that were handed in.

    Raises:
        UsageError: no hand-in answers any of the exercises.
    """
    every = {name: course.exercise(name) for name in course.names()}
    asked = {name: every[name] for name in names} if names else every
    hand_ins = []
    for arrival in arrivals:
        documents, problems, manifest = read_hand_in(*arrival.parts, in_order=arrival.in_order)
        hand_in = assign(arrival.student, documents, problems, asked, every)
        hand_ins.append(dataclasses.replace(hand_in, manifest=manifest))
    found = {n: e for n, e in asked.items() if any(n in h.answers or n in h.problems for h in hand_ins)}
    if not (names or found):
        unread = [f"{where}: {what}" for hand_in in hand_ins for where, what in hand_in.problems.items()]
        students = [hand_in.student for hand_in in hand_ins]
        given = (
            "; ".join(unread[:3]) or f"what {', '.join(students[:3])}{' and others' * (len(students) > 3)} handed in"
        )
        raise UsageError("no hand-in answers an exercise of this course", given=given, fix="name one with --exercise")
    return hand_ins, asked if names else found
