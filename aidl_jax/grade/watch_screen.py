"""What `aidl watch` shows, and what follows from a key and from a save."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping

from aidl_jax.errors import AidlError
from aidl_jax.exercise import Exercise
from aidl_jax.exercise.course import Course
from aidl_jax.exercise.source import short_name
from aidl_jax.exercise.workspace import Workspace
from aidl_jax.grade.handin import Document, read_document
from aidl_jax.grade.keys import Keys
from aidl_jax.grade.record import Record
from aidl_jax.grade.saves import Saved, Saves
from aidl_jax.grade.screens import show_map
from aidl_jax.grade.submit import answer
from aidl_jax.grade.terminal import clean, first_failure, make_console, show_record
from aidl_jax.grade.watching import Told, Watch, needed_texts

LOOK = 0.05  # seconds between two looks at the files
LOOK_CHECKING = 0.02  # and at what a check has come to
KEYS = "h hint   n next   l list   q quit"


class WatchScreen:
    """The screen of one watched workspace.

    Args:
        course, workspace: what is watched.
        watched: checks one save at a time.
        hint: shows one more hint for a task of an exercise.
        remember: keeps a record as progress.

    Attributes:
        notes: lines that stand under each record.
    """

    def __init__(
        self,
        course: Course,
        workspace: Workspace,
        watched: Watch,
        hint: Callable[[str, str | None], None],
        remember: Callable[[Record], None],
    ) -> None:
        self.course, self.workspace, self.watched = course, workspace, watched
        self.hint, self.remember = hint, remember
        self.console = make_console()
        self.notes: list[str] = []
        self.answers = {workspace.file(name): [name] for name in course.names()}
        for name in course.names():
            self.answers.setdefault(workspace.notebook(name), []).append(name)
        self.saves = Saves(self.answers)
        self.name = ""
        self.record: Record | None = None

    def run(self, name: str, keys: Keys) -> None:
        """Checks an exercise, then whatever is saved, until the key q.

        Raises:
            EOFError: the terminal is gone.
        """
        self.notes = [*self.notes, *([KEYS] if keys.there else [])]
        self._go_to(name)
        while (key := keys.pressed(LOOK_CHECKING if self.watched.check else LOOK)) != "q":
            with self._telling():
                self._do(key)
            for saved in self.saves.changed():
                with self._telling():
                    self._check_saved(saved)
            self._tell_missing()
            told = self.watched.told()
            if told is not None:
                self._show(told)

    def _do(self, key: str) -> None:
        if key == "h":
            failed = first_failure(self.record) if self.record else None
            self.hint(self.name, failed.name if failed else None)
        elif key == "n":
            self._go_on()
        elif key == "l":
            self._clear()
            show_map(self.course, self.workspace)
            self._say(*self.notes)

    def _go_on(self) -> None:
        """To the next unfinished exercise after this one, or the first one there is."""
        names = self.course.names()
        here = names.index(self.name)
        for name in names[here + 1 :] + names[:here]:
            if len(self.workspace.progress(name)["passed"]) < len(self.course.exercise(name).tasks):
                self._go_to(name)
                return
        self._say("There is no other unfinished exercise.")

    def _go_to(self, name: str) -> None:
        self.name = name
        with self._telling():
            self._check(name, answer(self.course, self.workspace, name))

    def _check_saved(self, saved: Saved) -> None:
        document = read_document(saved.path.relative_to(self.workspace.root).as_posix(), saved.content)
        names = self.answers[saved.path]
        if saved.path.suffix == ".ipynb":
            names = changed_answers(saved, document, {name: self.course.exercise(name) for name in names})
        if names:
            self._check(self.name if self.name in names else names[0], document)

    def _check(self, name: str, document: Document) -> None:
        self.name, self.record = name, None
        self._say(f"checking {short_name(name)} ...")
        self.watched.begin(name, self.course.exercise(name), document)

    def _show(self, told: Told) -> None:
        if told.record == self.record:  # there was nothing more to explain
            return
        self.record = told.record
        self.remember(told.record)
        self._clear()
        show_record(told.record, self.console)
        self._say("", f"{told.record.source}: checked in {told.seconds:.2f} s.", *self.notes)

    def _tell_missing(self) -> None:
        file = self.workspace.file(self.name)
        if self.saves.missing(file):
            self._say(f"{file} is gone. Fix: aidl reset {short_name(self.name)}")

    @contextlib.contextmanager
    def _telling(self) -> Iterator[None]:
        """A mistake that the next save may heal is told."""
        try:
            yield
        except AidlError as error:
            self._say(clean(str(error)))

    def _clear(self) -> None:
        if self.console.is_terminal:
            self.console.clear()

    def _say(self, *lines: str) -> None:
        for line in lines:
            self.console.print(line, markup=False, soft_wrap=True)


def changed_answers(saved: Saved, document: Document, exercises: Mapping[str, Exercise]) -> list[str]:
    """The exercises of a notebook whose graded part is another than before its save."""
    try:
        before = None if saved.before is None else read_document(document.name, saved.before)
    except AidlError:  # it could not be read then
        before = None
    if before is None:
        return list(exercises)
    return [name for name, one in exercises.items() if needed_texts(before, one) != needed_texts(document, one)]
