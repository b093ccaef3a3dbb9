"""Checking while an answer is being written: each save's verdict as soon as can be.

Three things make it quick. The worker of the next save has started before it comes. The runner stays, with all that it has
compiled. And a task that has passed is not checked again before a function that its checks ask for has changed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import queue
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from aidl_jax.exercise import Exercise
from aidl_jax.exercise.requests import Request
from aidl_jax.grade.children import GraderFault, Start
from aidl_jax.grade.extract import extract
from aidl_jax.grade.handin import Document
from aidl_jax.grade.judge import NOT_EXPLAINED, judge
from aidl_jax.grade.local import HOME_SEED
from aidl_jax.grade.process import Process, Processes
from aidl_jax.grade.record import Record, TaskRecord
from aidl_jax.grade.session import Session

PATIENCE = 0.3  # seconds for an abandoned check to let go of the runner before that is killed too


@dataclass(frozen=True)
class Told:
    """What is known of a save.

    Args:
        record: of the whole exercise.
        seconds: from the save to its verdict.
        final: whether no better explanation of the same verdict will come.
    """

    record: Record
    seconds: float
    final: bool


@dataclass(frozen=True)
class Known:
    """A task that has passed, and the text of each function that its checks asked for, with all that it uses."""

    record: TaskRecord
    texts: dict[str, str | None]


class Kept(Processes):
    """A worker for one check, and a runner that outlives it."""

    def __init__(self, worker: Process, runner: Process, start: Start) -> None:
        self.closed, self.start = False, start
        self.worker, self.runner = worker, runner
        self.earlier = -worker.waited - runner.waited  # what an earlier check waited for is not this one's

    def close(self) -> None:
        """Ends the worker; the check comes to nothing from then on."""
        self.closed = True
        self.worker.close()


@dataclass
class NotingSession(Session):
    """A session that notes which functions were asked for, by task, and asks no more once it is closed."""

    asked: dict[str, set[str]] = field(default_factory=dict)
    task: str = ""

    def at(self, task: str) -> None:
        """The task that is checked next."""
        self.task = task

    @contextlib.contextmanager
    def _logging(self, request: Request) -> Iterator[None]:
        if self.processes.closed:
            raise GraderFault("the check was abandoned")
        self.asked.setdefault(self.task, set()).update(request.functions)
        with super()._logging(request):
            yield


class Check:
    """One save's check, in a thread: first the verdict, then the verdict explained.

    Args:
        known: by task, what passed when it was last checked.
    """

    def __init__(
        self, name: str, exercise: Exercise, document: Document, processes: Kept, known: Mapping[str, Known]
    ) -> None:
        self.name, self.exercise, self.document, self.processes = name, exercise, document, processes
        self.known = known
        self.began = time.monotonic()
        self.told: queue.SimpleQueue[Told | Exception] = queue.SimpleQueue()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            session = NotingSession(self.document.cells, self.exercise, self.processes)
            with contextlib.closing(session):
                self._check(session)
        except Exception as error:  # it is raised where it can be seen
            self.told.put(error)

    def _check(self, session: NotingSession) -> None:
        texts = needed_texts(self.document, self.exercise)
        same = {task: one.record for task, one in self.known.items() if _same(one, texts)}
        record = judge(self.name, self.exercise, session, HOME_SEED, explained=False, known=same, progress=session.at)
        self.known = {**self.known, **self._passed(record, session, texts)}  # what is kept holds again after an undo
        seconds, settled = time.monotonic() - self.began, {t.name: t for t in record.tasks if not _explainable(t)}
        self._tell(record, seconds, final=len(settled) == len(record.tasks))
        if len(settled) < len(record.tasks):
            record = judge(self.name, self.exercise, session, HOME_SEED, known=settled, progress=session.at)
            self._tell(record, seconds, final=True)

    def _tell(self, record: Record, seconds: float, final: bool) -> None:
        self.told.put(Told(dataclasses.replace(record, source=self.document.name), seconds, final))

    @staticmethod
    def _passed(record: Record, session: NotingSession, texts: Mapping[str, str]) -> dict[str, Known]:
        checked = (task for task in record.tasks if task.verdict == "passed" and task.name in session.asked)
        return {task.name: Known(task, {f: texts.get(f) for f in session.asked[task.name]}) for task in checked}

    def abandon(self) -> None:
        """Ends it; what it had still to say is lost. The runner stays where it can."""
        self.processes.close()
        self.thread.join(PATIENCE)
        if self.thread.is_alive():
            self.processes.runner.close()
            self.thread.join()


class Watch:
    """Checks one save at a time; a new one takes the place of one that is being checked.

    Args:
        start: makes workers and runners.
    """

    def __init__(self, start: Start) -> None:
        self.start = start
        self.worker, self.runner = Process("worker", start), Process("runner", start)
        self.known: dict[str, dict[str, Known]] = {}
        self.check: Check | None = None

    def begin(self, name: str, exercise: Exercise, document: Document) -> None:
        """Starts to check a document as an answer to an exercise; a check under way is abandoned."""
        self._let_go()
        processes = Kept(self.worker, self.runner, self.start)
        self.check = Check(name, exercise, document, processes, self.known.get(name, {}))
        self.worker = Process("worker", self.start)

    def told(self) -> Told | None:
        """What has become known since the last time; None where nothing has.

        Raises:
            Exception: what went wrong in the check.
        """
        if self.check is None:
            return None
        try:
            told = self.check.told.get_nowait()
        except queue.Empty:
            return None
        if isinstance(told, Exception):
            self._let_go()
            raise told
        self.known[self.check.name] = dict(self.check.known)
        if told.final:
            self._let_go()
        return told

    def _let_go(self) -> None:
        if self.check is None:
            return
        self.check.abandon()
        self.runner, self.check = self.check.processes.runner, None
        if self.runner.closed.is_set():
            self.runner = Process("runner", self.start)

    def close(self) -> None:
        """Ends everything."""
        if self.check is not None:
            self.check.abandon()
            self.check.processes.runner.close()
        self.worker.close()
        self.runner.close()


def needed_texts(document: Document, exercise: Exercise) -> dict[str, str]:
    """Each task's function with all that it uses, as text; a task that is not defined is left out."""
    found = extract(document.cells, exercise.tasks)
    return {
        task: "\n\n".join(found.statements[number].text for number in sorted(numbers))
        for task, numbers in found.needed.items()
    }


def _same(one: Known, texts: Mapping[str, str]) -> bool:
    return all(texts.get(function) == text for function, text in one.texts.items())


def _explainable(task: TaskRecord) -> bool:
    return task.failure is not None and task.failure.kind not in NOT_EXPLAINED
