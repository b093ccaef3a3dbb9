"""Making the student's files and notebooks from the sources, telling when they are stale, scaffolding new ones."""

from __future__ import annotations

import difflib
import keyword
import string
from pathlib import Path

from aidl_jax.errors import CourseError, UsageError
from aidl_jax.exercise.course import NAME, SESSION, Course
from aidl_jax.exercise.notebook import notebook_text, resource
from aidl_jax.exercise.source import solved_tasks, student_text
from aidl_jax.files import write_text


def made_files(course: Course, install: str | None = None) -> dict[Path, str]:
    """Every made file's path and its text, from the sources.

    Raises:
        CourseError: a source is missing or malformed, or its marked functions are not the exercise's tasks.
    """
    made: dict[Path, str] = {}
    for name in course.names():
        path = course.solution(name)
        if not path.is_file():
            raise CourseError("an exercise has checks but no source", where=name, expected=str(path))
        text = path.read_text(encoding="utf-8")
        solved, tasks = solved_tasks(text), list(course.exercise(name).tasks)
        if solved != tasks:
            raise CourseError(
                "the functions with a marked solution are not the exercise's tasks, in order",
                where=str(path),
                given=", ".join(solved) or "none",
                expected=", ".join(tasks),
            )
        made[course.student_file(name)] = student_text(text, name)
    for session in course.session_names():
        made[course.notebook(session)] = notebook_text(course, session, install)
    return made


def build(course: Course, install: str | None = None) -> list[Path]:
    """Writes what has changed; returns those paths."""
    changed = []
    for path, text in made_files(course, install).items():
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_text(path, text)
            changed.append(path)
    return changed


def stale(course: Course, install: str | None = None) -> str:
    """A unified diff from the made files that are there to what they should be; "" where all is fresh."""
    parts: list[str] = []
    for path, text in made_files(course, install).items():
        there = path.read_text(encoding="utf-8") if path.is_file() else ""
        name = path.relative_to(course.root).as_posix()
        parts += difflib.unified_diff(
            there.splitlines(True), text.splitlines(True), f"{name} (there)", f"{name} (made from its source)"
        )
    return "".join(parts)


def scaffold(course: Course, name: str) -> list[Path]:
    """Writes the two files of a new exercise; returns their paths.

    Raises:
        UsageError: the name is not of the form `sNN_topic/name`, is a word of Python's, or one of the files is there.
    """
    session, _, stem = name.partition("/")
    if not (SESSION.fullmatch(session) and NAME.fullmatch(stem)):
        raise UsageError(
            "this is not an exercise's name", given=repr(name), expected="sNN_topic/name, as s03_autodiff/duals"
        )
    if keyword.iskeyword(stem):
        raise UsageError(f"{stem!r} is a word of Python's and no function can be named so", fix="choose another name")
    words = {"title": stem.replace("_", " ").capitalize(), "task": f"{stem}_task" if stem == "exercise" else stem}
    files = {
        course.solution(name): resource("new_solution.py.txt"),
        course.checks / f"{name}.py": resource("new_check.py.txt"),
    }
    there = [path for path in files if path.exists()]
    if there:
        raise UsageError("the exercise is there already", given=", ".join(map(str, there)), fix="choose another name")
    texts = {path: string.Template(template).substitute(words) for path, template in files.items()}
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, text)
    return list(files)
