"""`aidl_jax.check(...)` in a notebook: the notebook's own cells are checked, the record shown as HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from aidl_jax.errors import UsageError, close_matches
from aidl_jax.exercise.course import open_course
from aidl_jax.exercise.workspace import workspace_at
from aidl_jax.grade.extract import Cell
from aidl_jax.grade.handin import Document
from aidl_jax.grade.local import check_document
from aidl_jax.grade.page import record_html
from aidl_jax.grade.record import Record
from aidl_jax.grade.terminal import record_text


@dataclass(frozen=True)
class Checked:
    """A record that shows itself, and the hints of its tasks."""

    record: Record
    hints: Mapping[str, Sequence[str]] = field(default_factory=dict, repr=False)

    def _repr_html_(self) -> str:
        return record_html(self.record, self.hints)

    def __repr__(self) -> str:
        return record_text(self.record)


def check_cells(short: str, task: str | None, course_path: str | None) -> Checked:
    """Checks the code cells that were run in this notebook; see `aidl_jax.check`."""
    workspace = workspace_at(Path.cwd())
    known = workspace.course_path if workspace else None
    course = open_course(Path(course_path) if course_path else known)
    name = course.resolve(short)
    exercise = course.exercise(name)
    if task is not None and task not in exercise.tasks:
        raise UsageError(f"there is no task {task!r} in {name}", fix=close_matches(task, exercise.tasks))
    cells = tuple(Cell(f"cell [{n}]", text) for n, text in enumerate(_executed_cells(), start=1) if text.strip())
    record = check_document(name, exercise, Document("notebook", cells), only=task)
    return Checked(record, {one.name: one.hints.levels() for one in exercise.tasks.values()})


def _executed_cells() -> Sequence[str]:
    """The code cells that were run, in the order they were run; the last definition counts."""
    try:
        from IPython import get_ipython
    except ImportError:
        get_ipython = None
    shell = get_ipython() if get_ipython is not None else None
    if shell is None:
        raise UsageError("aidl_jax.check(...) looks at a notebook's cells, and this is no notebook",
                         fix="run `aidl check` in a terminal")  # fmt: skip
    return [str(text) for text in shell.history_manager.input_hist_parsed[1:]]  # the name `In` may have been taken
