"""What the tests of single exercises share."""

from __future__ import annotations

import functools
from typing import Any

from aidl_jax.exercise.course import open_course
from aidl_jax.grade.extract import Cell, extract


@functools.cache
def solved(name: str, *more: str) -> dict[str, Any]:
    """The functions that an exercise's solution defines, and what else is asked for of its file, without its training, measurements, plots."""
    course = open_course()
    cell = Cell("solution.py", course.solution(name).read_text(encoding="utf-8"))
    found: dict[str, Any] = {}
    exec(extract([cell], [*course.exercise(name).tasks, *more]).text(), found)
    return found
