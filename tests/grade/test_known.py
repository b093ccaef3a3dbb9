"""What the course's own answers compile to is used for equal functions of others, and changes no verdict."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from aidl_jax.exercise.course import Course, open_course
from aidl_jax.grade.children import Start
from aidl_jax.grade.extract import Cell
from aidl_jax.grade.judge import judge
from aidl_jax.grade.known import known_functions, own_answers
from aidl_jax.grade.process import Processes
from aidl_jax.grade.record import Record
from aidl_jax.grade.session import Session

LINES = "s02_graphs/linear_regression"
UPHILL = """

def update(params, grads, rate):
    return {k: params[k] + rate * grads[k] for k in params}
"""


@pytest.fixture(scope="module")
def course() -> Course:
    return open_course()


def test_the_solution_comes_first_and_none_where_there_is_no_solution(course: Course, tmp_path: Path) -> None:
    assert own_answers(course, LINES)[0] == course.solution(LINES)
    assert own_answers(course, LINES)[1:] == course.alternatives(LINES) != []
    assert own_answers(dataclasses.replace(course, root=tmp_path), LINES) == []


def test_an_equal_answer_needs_nothing_compiled_and_gets_the_same_record(course: Course, start: Start) -> None:
    exercise, path = course.exercise(LINES), course.solution(LINES)
    del exercise.tasks["fit"]  # its ten thousand steps show nothing new
    for task in exercise.tasks.values():
        task.wrong_answers.clear()
    known = known_functions(LINES, exercise, path, Processes(start))
    text = path.read_text(encoding="utf-8") + UPHILL

    def graded(known: dict[str, bytes]) -> tuple[Record, dict[str, bytes]]:
        with Session([Cell(path.name, text)], exercise, Processes(start), known) as session:
            return judge(LINES, exercise, session, 5), session.executables()

    (record, compiled), (again, compiled_again) = graded(known), graded({})
    assert [task.verdict for task in record.tasks] == ["passed"] * 3 + ["failed"]
    assert record == again
    assert len(compiled) == 1, "the wrong function alone"
    assert compiled.keys() < compiled_again.keys() and len(compiled_again) > 8
