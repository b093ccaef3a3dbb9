"""pytest runs an exercise's checks: `pytest exercises/s02_graphs/linear_regression.py`, one test per task."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from aidl_jax.errors import AidlError

if TYPE_CHECKING:
    from aidl_jax.grade.record import Record, TaskRecord

PATH = re.compile(r"exercises/(s\d\d_\w+/\w+)\.py$")


@pytest.hookimpl(wrapper=True)
def pytest_collect_file(
    file_path: Path, parent: pytest.Collector
) -> Generator[None, list[pytest.Collector], list[pytest.Collector]]:
    """An exercise is checked, never imported: its collector takes the place of a module's and of its doctests'."""
    found = yield
    own = _collector(file_path, parent)
    return found if own is None else [own]


def _collector(path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    named = PATH.search(path.as_posix())
    if not named:
        return None
    from aidl_jax.exercise.course import open_course
    from aidl_jax.exercise.workspace import find_workspace

    try:
        course = open_course(find_workspace(path.parent).course_path)
    except AidlError as error:
        raise pytest.UsageError(str(error)) from None
    if named[1] not in course.names():
        return None
    file = ExerciseFile.from_parent(parent, path=path)
    file.course, file.exercise_name = course, named[1]
    return file


class ExerciseFile(pytest.File):
    """A student's file: its tasks are the tests, its record is made once."""

    course: Any
    exercise_name: str
    _record: Record | None = None

    def collect(self) -> Iterator[pytest.Item]:
        """One item per task."""
        for task in self.course.exercise(self.exercise_name).tasks:
            yield TaskItem.from_parent(self, name=task)

    def record(self) -> Record:
        """The checked record."""
        if self._record is None:
            from aidl_jax.grade.handin import read_document
            from aidl_jax.grade.local import check_document

            document = read_document(self.path.name, self.path.read_bytes())
            self._record = check_document(self.exercise_name, self.course.exercise(self.exercise_name), document)
        return self._record


class TaskFailed(Exception):
    """A task's check did not hold, or its file cannot be read; `args[0]` is the text to show."""


class TaskItem(pytest.Item):
    """One task of an exercise."""

    parent: ExerciseFile

    def runtest(self) -> None:
        """Fails, or skips where the task waits for another, as the record says."""
        from aidl_jax.grade.terminal import task_text

        try:
            record = self.parent.record()
        except AidlError as error:  # the file cannot be read
            raise TaskFailed(str(error)) from None
        task: TaskRecord = next(task for task in record.tasks if task.name == self.name)
        if task.verdict == "waiting":
            pytest.skip(f"waits for {', '.join(task.waits_for)}")
        if task.verdict != "passed":
            raise TaskFailed(task_text(task))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> str:
        """What `aidl check` shows of the failure."""
        if isinstance(excinfo.value, TaskFailed):
            return str(excinfo.value)
        return str(super().repr_failure(excinfo, style))

    def reportinfo(self) -> tuple[Path, int, str]:
        """Where it is."""
        return self.path, 0, self.name
