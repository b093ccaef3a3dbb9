"""What an instructor gives and a student takes: whole trees of files, brought without losing anybody's edits.

A file that is still as it was given is replaced; one that was edited is left as it is. Which of the two holds is told by the
hashes in `.aidl/given.json`, which a release has too, so that whoever works in a copy of it has them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from aidl_jax.errors import CourseError, UsageError, close_matches
from aidl_jax.exercise.course import NAME, SESSION, Course
from aidl_jax.exercise.source import BEGIN, END, student_text
from aidl_jax.exercise.workspace import Workspace, digest
from aidl_jax.files import write_bytes

Kind = Literal["new", "changed", "edited", "dropped"]


@dataclass(frozen=True)
class Change:
    """What was done with one file.

    Args:
        kind: "new" and "changed" were written; "edited" was left as it is; "dropped" is given no longer, and left too.
        name: its path in the folder, `exercises/s02_graphs/dag.py`.
        beside: where the new version of an edited one was written.
    """

    kind: Kind
    name: str
    beside: str | None = None


def bring(files: Mapping[str, bytes], workspace: Workspace, *, beside: bool) -> list[Change]:
    """Brings files into a folder; the same files again change nothing.

    Args:
        files: by their path in the folder.
        workspace: the folder.
        beside: whether the new version of an edited file is written beside it, once.
    """
    given, changes = workspace.given(), []
    for name, data in files.items():
        path = workspace.root / name
        there = path.read_bytes() if path.exists() else None
        if there == data:
            continue
        if there is None or digest(there) == given.get(name):
            _write(path, data)
            changes.append(Change("new" if there is None else "changed", name))
        elif not beside:
            changes.append(Change("edited", name))
        elif given.get(name) != digest(data):  # a version that this student has not been given yet
            new = _free_name(path, data)
            _write(new, data)
            changes.append(Change("edited", name, new.name))
    folders = {name.partition("/")[0] for name in files}
    dropped = sorted(name for name in given.keys() - files.keys() if name.partition("/")[0] in folders)
    known = {name: data for name, data in files.items() if Change("edited", name) not in changes}
    workspace.note_given(known, forget=dropped)
    return changes + [Change("dropped", name) for name in dropped]


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, data)


def _free_name(path: Path, data: bytes) -> Path:
    """`dag.new.py`, or `dag.new2.py` where another file has that name."""
    number = 1
    while True:
        new = path.with_name(f"{path.stem}.new{number if number > 1 else ''}{path.suffix}")
        if not new.exists() or new.read_bytes() == data:
            return new
        number += 1


def release(course: Course, folder: Path, sessions: list[str], *, whole: bool) -> list[Change]:
    """Makes or renews the tree that students get.

    Args:
        course: what is released.
        folder: the tree.
        sessions: those whose solutions are released now; what was released before stays so.
        whole: whether the checks go with it: those of a course that is not the package's own.

    Raises:
        UsageError: no such session; the folder is the course's own.
        CourseError: made files are missing or stale, or there are no solutions to release.
    """
    if folder.resolve() == course.root.resolve():
        raise UsageError("a course cannot be released into itself", given=str(folder), fix="name another folder")
    if folder.exists() and not folder.is_dir():
        raise UsageError("this is a file, not a folder", given=str(folder), fix="name another one")
    workspace = Workspace(folder)
    _refuse_stale(course)
    before = {name.split("/")[1] for name in workspace.given() if name.startswith("solutions/")}
    solved = {_session(course, short) for short in sessions} | before & set(course.session_names())
    files = handed_out(course) | {
        name: data for session in sorted(solved) for name, data in _solutions(course, session)
    }
    return bring(files | (_checks(course) if whole else {}), workspace, beside=False)


def handed_out(course: Course) -> dict[str, bytes]:
    """A course's exercises and notebooks, by their path in a workspace.

    Raises:
        CourseError: they have not been made.
    """
    made = {f"exercises/{name}.py": course.student_file(name) for name in course.names()}
    made |= {f"notebooks/{session}.ipynb": course.notebook(session) for session in course.session_names()}
    missing = [path for path in made.values() if not path.is_file()]
    if missing:
        raise CourseError("the course's files have not been made", where=str(missing[0]), fix="aidl build")
    return {name: path.read_bytes() for name, path in made.items()}


def released(folder: Path, *, whole: bool) -> dict[str, bytes]:
    """What a released tree holds for students: exercises, notebooks, solutions, and the checks where `whole`.

    Raises:
        UsageError: the folder holds no exercises.
    """
    found = [p for kind in ("exercises", "solutions") for p in folder.glob(f"{kind}/*/*.py") if _is_exercise(p)]
    if not found:
        raise UsageError("this folder holds no exercises", given=str(folder), fix="name one that aidl release made")
    found += [path for path in folder.glob("notebooks/*.ipynb") if SESSION.fullmatch(path.stem)]
    found += _check_files(folder / "course") if whole else []
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(found)}


def _is_exercise(path: Path) -> bool:
    """Not `dag.new.py`, nor another course's alternatives."""
    return bool(NAME.fullmatch(path.stem) and SESSION.fullmatch(path.parent.name))


def _session(course: Course, short: str) -> str:
    names = course.session_names()
    found = [name for name in names if name == short] or [name for name in names if name.startswith(short)]
    if len(found) != 1:
        raise UsageError(f"there is no session {short!r}" if not found else f"{short!r} names more than one session",
                         fix=close_matches(short, found or names))  # fmt: skip
    return found[0]


def _solutions(course: Course, session: str) -> list[tuple[str, bytes]]:
    names = [name for name in course.names() if name.startswith(session + "/")]
    missing = [course.solution(name) for name in names if not course.solution(name).is_file()]
    if missing:
        raise CourseError("there is no solution to release", where=str(missing[0]),
                          fix="release from the checkout that has the solutions; the wheel has none")  # fmt: skip
    return [
        (f"solutions/{name}.py", _without_markers(course.solution(name).read_text(encoding="utf-8"))) for name in names
    ]


def _without_markers(text: str) -> bytes:
    return "".join(line for line in text.splitlines(True) if line.strip() not in (BEGIN, END)).encode()


def _checks(course: Course) -> dict[str, bytes]:
    return {f"course/{p.relative_to(course.checks).as_posix()}": p.read_bytes() for p in _check_files(course.checks)}


def _check_files(folder: Path) -> list[Path]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return sorted(path for path in files if "__pycache__" not in path.parts)


def _refuse_stale(course: Course) -> None:
    """Where there are sources, the exercises must be made of them; a notebook may install from elsewhere."""
    for name in course.names():
        source, made = course.solution(name), course.student_file(name)
        if source.is_file() and made.is_file():
            expected = student_text(source.read_text(encoding="utf-8"), name)
            if made.read_text(encoding="utf-8") != expected:
                raise CourseError("a made file is stale", where=str(made), fix="aidl build")
