"""Grading a class: every answer through its own worker and runner, some in parallel, each verdict into the journal."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from queue import SimpleQueue

from aidl_jax.errors import UsageError
from aidl_jax.exercise import Exercise
from aidl_jax.exercise.course import Course
from aidl_jax.grade.children import Start
from aidl_jax.grade.handin import HandIn, assign, read_hand_in
from aidl_jax.grade.inbox import Arrival
from aidl_jax.grade.journal import Basis, Entry, Journal, JournalError, answer_seed, basis
from aidl_jax.grade.local import check_document
from aidl_jax.grade.process import Processes
from aidl_jax.grade.record import Record
from aidl_jax.grade.results import graders_fault


@dataclass(frozen=True)
class Graded:
    """One student's records, by exercise; what they rest on; what could not be read; how long each took, once."""

    student: str
    records: Mapping[str, Record]
    problems: Mapping[str, str] = field(default_factory=dict)
    bases: Mapping[str, Basis] = field(default_factory=dict)
    seconds: float = 0.0


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
    """

    course: Course
    exercises: Mapping[str, Exercise]
    seed: int
    jobs: int
    start: Start
    journal: Journal
    stopped: threading.Event = field(default_factory=threading.Event)
    running: set[Processes] = field(default_factory=set)

    def grade(self, hand_ins: Sequence[HandIn], done: Callable[[Graded], None] = lambda graded: None) -> list[Graded]:
        """Grades all, in the order given; `done` is told of each as it comes. Ctrl-C ends every process and is raised again."""
        finished: dict[str, Graded] = {}
        ready: SimpleQueue[Future[Graded | None]] = SimpleQueue()  # Ctrl-C in futures.wait can leave a lock held
        with ThreadPoolExecutor(self.jobs) as pool:
            try:
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

    def stop(self) -> None:
        """Ends what is running; nothing of it is recorded."""
        self.stopped.set()
        for processes in list(self.running):
            processes.close()

    def _grade_one(self, hand_in: HandIn) -> Graded | None:
        records, problems, bases, seconds = {}, dict(hand_in.problems), {}, 0.0
        for name in self.exercises:
            if name in hand_in.answers and not self.stopped.is_set():
                try:
                    bases[name] = basis(self.course, name, hand_in.answers[name], self.seed)
                    entry = self._verdict(name, hand_in, bases[name])
                    records[name], seconds = entry.record, seconds + entry.seconds
                except JournalError:
                    raise
                except Exception as error:  # a fault of the grader's own with this one must not stop the others
                    problems[name] = graders_fault(error)
        if self.stopped.is_set():  # its processes were ended under it: what it says means nothing
            return None
        return Graded(hand_in.student, records, problems, bases, seconds)

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
        entry = Entry(name, hand_in.student, basis, record, round(time.monotonic() - begin, 3))
        if not self.stopped.is_set() and all(task.verdict != "ungraded" for task in record.tasks):
            self.journal.add(entry)
        return entry

    def _grade_exercise(self, name: str, hand_in: HandIn) -> Record:
        processes = Processes(self.start)
        self.running.add(processes)
        if self.stopped.is_set():  # while they were started, so that `stop` did not know of them
            processes.close()
        try:
            answer = hand_in.answers[name]
            seed = answer_seed(self.seed, answer)
            return check_document(name, self.exercises[name], answer, seed=seed, processes=processes)
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
        documents, problems, manifest = read_hand_in(*arrival.parts)
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
