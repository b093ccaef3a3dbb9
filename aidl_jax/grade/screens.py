"""Two screens that are not one record: the course map, and the table of a class."""

from __future__ import annotations

import os

from rich.console import Console
from rich.table import Table
from rich.text import Text

from aidl_jax.exercise import Exercise
from aidl_jax.exercise.course import Course
from aidl_jax.exercise.source import short_name
from aidl_jax.exercise.workspace import NO_PROGRESS, Workspace, next_exercise
from aidl_jax.grade.findings import first_failure_of
from aidl_jax.grade.results import ClassResult, StudentResult
from aidl_jax.grade.terminal import clean, make_console, mark


def show_map(course: Course, workspace: Workspace | None) -> None:
    """The course, what is done, and the next step."""
    console = make_console()
    console.print(Text(course.title, "bold"))
    for session in course.session_names():
        console.print()
        console.print(Text(course.sessions.get(session, session)))
        table = Table.grid(padding=(0, 2))
        for name in (n for n in course.names() if n.startswith(session + "/")):
            exercise = course.exercise(name)
            known = workspace.progress(name) if workspace else NO_PROGRESS
            sign = mark("passed" if len(known["passed"]) == len(exercise.tasks) else "waiting", console)
            points = f"{known['points']}/{exercise.points}"
            table.add_row(" ", sign, short_name(name), Text(exercise.title, "dim"), points)
        console.print(table)
    console.print()
    console.print(_next_step(course, workspace), markup=False, soft_wrap=True)


def _next_step(course: Course, workspace: Workspace | None) -> str:
    if workspace is None:
        return "Next: aidl start DIR, then cd DIR"
    following = next_exercise(course, workspace)
    if following is None:
        return "Everything passes. Hand in: aidl submit"
    return f"Next: edit {os.path.relpath(workspace.file(following))}, then aidl check"


def show_grades(console: Console, result: ClassResult) -> None:
    """A row per student: points per exercise ("-" not handed in, "?" not known), and what to look at first."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("student", overflow="fold")
    for name in result.exercises:
        table.add_column(short_name(name).replace("/", "/\n"), justify="right")
    table.add_column("first thing to look at", overflow="fold")
    for student in result.students:
        cells = [_points(student, name, exercise) for name, exercise in result.exercises.items()]
        table.add_row(Text(clean(student.student)), *cells, Text(clean(_note(student))))
    console.print(table)


def _points(student: StudentResult, name: str, exercise: Exercise) -> str:
    points = student.exercise_points(name)
    return "?" if points is None else f"{points}/{exercise.points}" if name in student.records else "-"


def _note(student: StudentResult) -> str:
    """The first failure, else all that is missing."""
    return first_failure_of(student) or "; ".join([*student.problems.values(), *student.missing])
