"""Asking: who is asked for what, what a request tells of itself, and what a generator's transcript says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from aidl_jax.errors import CourseError
from aidl_jax.exercise.draws import Draw
from aidl_jax.exercise.expressions import Student, apply, function, grad, library, static, stream
from aidl_jax.exercise.requests import Request, Transcript, call, iterate, lower, operations, summary_graph, value
from aidl_jax.exercise.summary import SummaryGraph

X = np.arange(6.0).reshape(2, 3)
W = np.ones(3, np.float32)


class Recorder:
    """Answers every request with a fixed answer, and remembers what was asked."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def evaluate(self, request: Request) -> Any:
        self.asked.append(request)
        return np.float32(7)

    def operations(self, request: Request) -> int:
        self.asked.append(request)
        return 12

    def summary_graph(self, request: Request) -> SummaryGraph:
        self.asked.append(request)
        return SummaryGraph(())

    def iterate(self, request: Request, limit: int) -> Transcript:
        self.asked.append((request, limit))
        return Transcript([("end",)])

    def call(self, request: Request) -> Any:
        self.asked.append(request)
        return ["a", None]


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def student(recorder: Recorder) -> Student:
    return Student(["predict", "loss", "update"], recorder)


def test_functions_are_named_once_wherever_they_stand(student: Student) -> None:
    composed = function(lambda p: student.loss(student.predict(p, X), W, key=student.loss))
    assert lower(student.update(W, g=grad(composed)(W))).functions == ["update", "loss", "predict"]


def test_a_student_string_in_a_static_value_is_no_function(student: Student) -> None:
    assert lower(student.predict(static(("student", "loss")))).functions == ["predict"]
    assert lower(student.predict(static({"a": ["student", "loss"]}))).functions == ["predict"]
    assert lower(student.predict({"student": W, "w": W})).functions == ["predict"]


def test_value_asks_whoever_answers_for_the_student(student: Student, recorder: Recorder) -> None:
    assert value(grad(function(lambda p: library("jax.numpy.sum")(student.loss(p))))(W)) == 7
    assert [request.functions for request in recorder.asked] == [["loss"]]


def test_nothing_is_asked_before_value(student: Student, recorder: Recorder) -> None:
    student.loss(student.predict(X), X)
    assert recorder.asked == []


def test_a_student_function_in_a_keyword_or_a_tree_is_found(student: Student, recorder: Recorder) -> None:
    value(library("jax.lax.map")(f=[student.loss], x=X))
    assert len(recorder.asked) == 1


def test_what_is_asked_for_decides_who_answers(student: Student) -> None:
    expression = student.predict(static(("a", "b")))
    assert value(expression) == np.float32(7)
    assert operations(expression) == 12
    assert call(expression) == ["a", None]


def test_a_call_with_arrays_can_be_drawn(student: Student, recorder: Recorder) -> None:
    drawn = [
        student.loss({"w": (W, X)}, X),
        function(lambda p: apply(student.predict)(p, {}, static(3)))([W]),
        grad(student.loss)(W),
    ]
    for expression in drawn:
        assert summary_graph(expression) == SummaryGraph(())
    assert [request.functions for request in recorder.asked] == [["loss"], ["predict"], ["loss"]]


def test_what_is_no_call_with_arrays_cannot_be_drawn(student: Student) -> None:
    key = Draw(0, "key").key()
    expressions = [
        student.loss, student.loss(W)[0], student.loss(static(3)), student.loss(x=W), student.loss(key),
        student.loss([W, static(1)]), student.loss(student.predict(W)),
    ]  # fmt: skip
    for expression in expressions:
        with pytest.raises(
            CourseError,
            match=r"only a call of a function with arrays can be drawn: given \w+.* Fix: summary_graph\(function",
        ):
            summary_graph(expression)


def test_iterate_passes_its_limit(student: Student, recorder: Recorder) -> None:
    assert iterate(student.predict(stream(range(3))), limit=5).ended
    ((request, limit),) = recorder.asked
    assert (request.functions, limit) == (["predict"], 5)


def test_an_expression_without_the_student_cannot_be_asked() -> None:
    with pytest.raises(
        CourseError, match=r"nothing in this expression is the student's: given jnp\.sum\(float32\[3\]\)"
    ):
        value(library("jax.numpy.sum")(W))


PULL, YIELD = ("pull", 0), ("yield", 0)


@pytest.mark.parametrize(
    ("events", "held"),
    [
        ([], 0),
        ([PULL, YIELD, PULL, YIELD], 1),
        ([PULL, PULL, PULL, YIELD, PULL, YIELD, YIELD, YIELD], 3),
        ([PULL, PULL, YIELD, PULL, PULL, ("empty",), YIELD], 3),
        ([("empty",), ("empty",), ("end",)], 0),
    ],
)
def test_held_is_the_most_at_any_one_time(events: list[Any], held: int) -> None:
    assert Transcript(events).held == held


def test_a_transcript_tells_outputs_in_order_and_how_it_stopped() -> None:
    events = [("pull", 3), ("yield", 3), ("pull", 1), ("yield", [1, 2])]
    assert Transcript(events).outputs == [3, [1, 2]]
    assert not Transcript(events).ended
    assert Transcript([*events, ("end",)]).ended
    assert not Transcript().ended
