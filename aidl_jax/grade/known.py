"""What the course's own answers compile to, for a class: an equal function of a hand-in need not be compiled again.

Most functions of most hand-ins are, but for names, those of the solution or of another accepted answer. These are compiled once, in
processes that run the course's code alone, and handed to each runner that has found such a function in its hand-in: it loads them in a
tenth of the time.
"""

from __future__ import annotations

from pathlib import Path

from aidl_jax.exercise import Exercise
from aidl_jax.exercise.course import Course
from aidl_jax.grade.handin import read_document
from aidl_jax.grade.judge import judge
from aidl_jax.grade.process import Processes
from aidl_jax.grade.session import Session

SEED = 0  # of the draws: which functions are asked for does not depend on them


def own_answers(course: Course, name: str) -> list[Path]:
    """The solution and the other accepted answers; none where the course was installed without its solutions."""
    solution = course.solution(name)
    return [solution, *course.alternatives(name)] if solution.exists() else []


def known_functions(name: str, exercise: Exercise, path: Path, processes: Processes) -> dict[str, bytes]:
    """What the functions of one of the course's own answers were compiled to, by fingerprint.

    Args:
        name: the exercise's name.
        exercise: its tasks and checks.
        path: the answer.
        processes: those of the session with it.
    """
    with Session(read_document(path.name, path.read_bytes()).cells, exercise, processes) as session:
        judge(name, exercise, session, SEED, draws=1)
        return session.executables()
