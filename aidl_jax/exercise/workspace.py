"""A student's workspace: the files they edit, what has passed, which hints were taken.

DIR/exercises/s02_graphs/linear_regression.py    edited by the student
DIR/notebooks/s02_graphs.ipynb                   the same exercises, as a notebook
DIR/.aidl/workspace.json                         which course this is
DIR/.aidl/progress.json                          passed tasks and hints taken, by exercise
DIR/.aidl/given.json                             a hash of each file's newest version that was given
DIR/.aidl/backups/                               files that `aidl reset` replaced
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aidl_jax.errors import CourseError, UsageError
from aidl_jax.exercise.course import Course
from aidl_jax.exercise.source import short_name
from aidl_jax.files import write_bytes, write_text

NO_PROGRESS: dict[str, Any] = {"passed": [], "points": 0, "hints": {}}


@dataclass(frozen=True)
class Workspace:
    """One student's folder."""

    root: Path

    def file(self, name: str) -> Path:
        """The file of an exercise."""
        return self.root / "exercises" / f"{name}.py"

    def notebook(self, name: str) -> Path:
        """The notebook of the session that an exercise belongs to."""
        return self.root / "notebooks" / f"{name.split('/')[0]}.ipynb"

    @property
    def course_path(self) -> Path | None:
        """The folder of the course it was laid out from, or that it is; None for the package's own."""
        if (self.root / "course" / "course.toml").is_file():
            return self.root
        file = self.root / ".aidl" / "workspace.json"
        found = _read_json(file).get("course")
        if not isinstance(found, str | None):
            raise _damaged(file, f'"course": {found!r}')
        return Path(found) if found else None

    def progress(self, name: str) -> dict[str, Any]:
        """`{"passed": [...], "points": n, "hints": {task: how many}}` of an exercise."""
        file = self.root / ".aidl" / "progress.json"
        known = _read_json(file).get(name, {})
        found = {**NO_PROGRESS, **known} if isinstance(known, dict) else {}
        if [type(found.get(part)) for part in NO_PROGRESS] != [type(given) for given in NO_PROGRESS.values()]:
            raise _damaged(file, f"{name}: {known!r}"[:200])
        return found

    def save_progress(self, name: str, **changed: Any) -> None:
        """Changes parts of an exercise's progress."""
        path = self.root / ".aidl" / "progress.json"
        known = _read_json(path)
        known[name] = {**self.progress(name), **changed}
        path.parent.mkdir(exist_ok=True)
        write_text(path, json.dumps(known, indent=2, sort_keys=True) + "\n")

    def given(self) -> dict[str, str]:
        """A hash of the newest version that was given, in place or beside it, of each file: `exercises/s02_graphs/dag.py`."""
        return _read_json(self.root / ".aidl" / "given.json")

    def note_given(self, files: Mapping[str, bytes], *, forget: Iterable[str] = ()) -> None:
        """Remembers what was given, so that it can be told from what was edited; forgets what is given no longer."""
        path = self.root / ".aidl" / "given.json"
        before = self.given()
        known = before | {name: digest(data) for name, data in files.items()}
        known = {name: known[name] for name in known.keys() - set(forget)}
        if known != before:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_text(path, json.dumps(known, indent=2, sort_keys=True) + "\n")


def digest(data: bytes) -> str:
    """A file's hash, as `given.json` has it."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def workspace_at(folder: Path) -> Workspace | None:
    """`find_workspace`, or None where a folder is in no workspace."""
    try:
        return find_workspace(folder)
    except UsageError:
        return None


def find_workspace(start: Path) -> Workspace:
    """The workspace that a folder is in: the nearest one above with `exercises/`.

    Raises:
        UsageError: there is none.
    """
    for folder in (start, *start.parents):
        if any(folder.glob("exercises/s[0-9][0-9]_*")):
            return Workspace(folder)
    raise UsageError("this folder is not in a workspace", given=str(start), fix="aidl start DIR, then cd DIR")


def start(course: Course, folder: Path, course_path: Path | None = None) -> list[Path]:
    """Lays out a course's exercises and notebooks in a folder; returns the paths that it wrote.

    Raises:
        UsageError: a file of that name is there with something else in it; nothing is written then.
        CourseError: the course's files have not been made.
    """
    workspace = Workspace(folder)
    files: dict[Path, Path] = {}
    for name in course.names():
        files[workspace.file(name)] = course.student_file(name)
        files[workspace.notebook(name)] = course.notebook(name.split("/")[0])
    if folder.exists() and not folder.is_dir():
        raise UsageError("this is a file, not a folder", given=str(folder), fix="name another one")
    texts = {path: _made(file) for path, file in files.items()}
    clash = [path for path, text in texts.items() if path.exists() and path.read_bytes() != text]
    if clash:
        raise UsageError(
            f"{clash[0].relative_to(folder)} is there with something else in it",
            where=str(folder),
            fix="name another folder, or use aidl reset for one exercise; nothing was changed",
        )
    written = [path for path in files if not path.exists()]
    for path in written:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, texts[path])
    settings = {"course": str(course_path.resolve()) if course_path else None}
    (folder / ".aidl").mkdir(parents=True, exist_ok=True)
    write_text(folder / ".aidl" / "workspace.json", json.dumps(settings) + "\n")
    workspace.note_given({path.relative_to(folder).as_posix(): text for path, text in texts.items()})
    return written


def reset(course: Course, workspace: Workspace, name: str) -> Path | None:
    """Puts an exercise's file back as it was given; returns where the old one is kept.

    None where the file was unchanged or missing, so that there was nothing to keep.
    """
    path, made = workspace.file(name), _made(course.student_file(name))
    backup = None
    if path.exists() and path.read_bytes() != made:
        folder = workspace.root / ".aidl" / "backups" / name
        folder.mkdir(parents=True, exist_ok=True)
        numbers = [int(kept.stem) for kept in folder.glob("*.py") if kept.stem.isdecimal()]
        backup = folder / f"{max(numbers, default=0) + 1}.py"
        write_bytes(backup, path.read_bytes())
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, made)
    workspace.note_given({path.relative_to(workspace.root).as_posix(): made})
    workspace.save_progress(name, passed=[], points=0)
    return backup


def next_exercise(course: Course, workspace: Workspace) -> str | None:
    """The first exercise that is not finished, or None."""
    return next(
        (n for n in course.names() if len(workspace.progress(n)["passed"]) < len(course.exercise(n).tasks)), None
    )


def next_hint(course: Course, workspace: Workspace, name: str, task: str | None = None) -> tuple[str, list[str]]:
    """One more hint for a task, remembered; returns the task and all its hints so far.

    Args:
        task: the task; the first one that has not passed where it is None.

    Raises:
        UsageError: no such task, or all tasks have passed.
    """
    exercise, known = course.exercise(name), workspace.progress(name)
    task = task or next((t for t in exercise.tasks if t not in known["passed"]), None)
    if task is None:
        raise UsageError("all tasks of this exercise have passed", given=short_name(name), fix="name one with --task")
    if task not in exercise.tasks:
        raise UsageError(f"there is no task {task!r}", where=short_name(name), expected=", ".join(exercise.tasks))
    levels = exercise.tasks[task].hints.levels()
    taken = min(known["hints"].get(task, 0) + 1, len(levels))
    workspace.save_progress(name, hints={**known["hints"], task: taken})
    return task, levels[:taken]


def _made(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise CourseError("the course's files have not been made", where=str(path), fix="aidl build") from None


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (ValueError, RecursionError) as error:
        raise _damaged(path, str(error)) from None
    if not isinstance(found, dict):
        raise _damaged(path, repr(found)[:200])
    return found


def _damaged(path: Path, given: str) -> UsageError:
    return UsageError("this file is damaged", where=str(path), given=given, fix="delete it; your answers are not in it")
