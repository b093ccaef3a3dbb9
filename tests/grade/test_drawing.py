"""Graphs asked for through real processes: the worker writes an event file, the runner reads it, the judge has plain data."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from aidl_jax.errors import ProtocolError
from aidl_jax.exercise import (
    Draw,
    Exercise,
    Failure,
    Hints,
    Node,
    Student,
    apply,
    function,
    grad,
    require,
    static,
    summary_graph,
    value,
)
from aidl_jax.grade import drawing
from aidl_jax.grade.children import Start
from aidl_jax.grade.extract import Cell
from aidl_jax.grade.judge import judge
from aidl_jax.grade.process import Died, Process, Processes, TimedOut
from aidl_jax.grade.session import Session

X, W = np.ones((2, 3), np.float32), np.ones((3, 2), np.float32)
HEAD = "import jax\nimport jax.numpy as jnp\nfrom aidl_jax.scope import apply\n"
RIGHT = f"""{HEAD}
def model(params, x):
    print("traced")
    with jax.named_scope("layer"):
        return jnp.tanh(x @ params["w"])
"""


def make_exercise() -> Exercise:
    """One task whose graph must have a scope `layer`."""
    exercise = Exercise("Drawn", time_limit=10.0)
    task = exercise.task("model", points=1, hints=Hints("a", "b", "c"))

    @task.check(draws=1)
    def in_its_scope(student: Student, draw: Draw) -> None:
        """The layer stands in its scope."""
        graph = summary_graph(student.model({"w": draw.normal(3, 2)}, draw.normal(2, 3)))
        require(graph.inside("layer"), "There is no layer.", got=graph.outline(), kind="graph")

    @task.wrong("You opened no scope.")
    def flat(params: Any, x: Any) -> Any:
        import jax.numpy as jnp

        return jnp.tanh(x @ params["w"])

    @task.wrong("You opened a scope of another name.")
    def other(params: Any, x: Any) -> Any:
        import jax

        with jax.named_scope("stratum"):
            return jax.numpy.tanh(x @ params["w"])

    return exercise


@pytest.fixture(scope="module")
def pool(start: Start) -> Iterator[Callable[[str], Session]]:
    """Sessions whose two processes are shared."""
    processes = Processes(start)
    yield lambda text: Session([Cell("answer.py", text)], make_exercise(), processes)
    processes.close()


@pytest.fixture
def student(pool: Callable[[str], Session]) -> Callable[[str], Student]:
    def opened(text: str) -> Student:
        session = pool(text)
        return Student(session.exercise.tasks, session)

    return opened


@pytest.mark.oldest
def test_the_nodes_are_those_of_the_traced_function(student: Callable[[str], Student]) -> None:
    graph = summary_graph(student(RIGHT).model({"w": W}, X))
    assert graph.nodes == (
        Node("placeholders/params/w", "placeholder"),
        Node("placeholders/x", "placeholder"),
        Node("layer/dot_general", "dot_general", ("placeholders/x", "placeholders/params/w")),
        Node("layer/tanh", "tanh", ("layer/dot_general",)),
    )


def test_composed_functions_are_drawn_too(student: Callable[[str], Student]) -> None:
    model = student(RIGHT).model
    graph = summary_graph(grad(function(lambda p, x: model(p, x)[0][0]))({"w": W}, X))
    assert {"layer", "gradients/layer"} <= graph.scopes
    scoped = student(
        f"{HEAD}def model(scope, x):\n    with scope.name_scope('a'):\n        return x * scope.get_variable('w', (3,))"
    ).model
    graph = summary_graph(function(lambda p, x: apply(scoped)(p, {}, x)[0])({"w": W[:, 0]}, X))
    assert [node.scope for node in graph.operations] == ["a", "a"]


def test_a_graph_is_drawn_once_and_logged_with_what_was_printed(
    pool: Callable[[str], Session], monkeypatch: Any
) -> None:
    session = pool(RIGHT)
    model = Student(session.exercise.tasks, session).model
    first = summary_graph(model({"w": W}, X))
    assert session.log[-1].printed == "traced\n"
    monkeypatch.setattr(Process, "receive", lambda *args: pytest.fail("asked again"))
    assert summary_graph(model({"w": 2 * W}, 3 * X)) is first


def test_a_wrong_graph_is_told_with_its_scopes_and_by_its_sentence(pool: Callable[[str], Session]) -> None:
    session = pool(f"{HEAD}def model(params, x):\n    return jnp.tanh(jnp.matmul(x, params['w']))\n")
    failure = judge("s00/drawn", session.exercise, session, 1).tasks[0].failure
    assert failure is not None
    assert (failure.kind, failure.message, failure.got) == ("graph", "There is no layer.", "in no scope: 2 operations")
    assert failure.misconceptions == ["You opened no scope."]
    assert failure.inputs == [["params['w']", "float32 of shape (3, 2)"], ["x", "float32 of shape (2, 3)"]]


ERRORS = {
    "return params['v']": ("KeyError", "Your code raised KeyError: 'v'"),
    "return jnp.tanh(x) if x.sum() > 0 else x": ("TracerBoolConversionError", "Python needed a plain True or False here"),
    "seen.append(1); return x * len(seen)": ("Impure", "Your function computed two different things"),
    "for _ in range(6_000): x = jnp.sin(x) * 2\n    return x": ("AnswerError", "The graph of your function is too large to be drawn: 12,002 operations."),
    "import os; os._exit(0)": ("died", "The process that ran `model` ended without an answer."),
}  # fmt: skip


@pytest.mark.parametrize("body", ERRORS)
def test_what_cannot_be_drawn_is_told(student: Callable[[str], Student], body: str) -> None:
    model = student(f"{HEAD}seen = []\ndef model(params, x):\n    {body}\n").model
    with pytest.raises(Failure) as failed:
        summary_graph(model({"w": W}, X))
    assert failed.value.kind == ERRORS[body][0]
    assert failed.value.message.startswith(ERRORS[body][1])
    assert failed.value.request is not None


FORGED: dict[str, tuple[Any, str]] = {
    "no bytes": ({"events": "abc"}, "It failed without saying why."),
    "an error": ({"error": {"kind": "KeyError", "message": "said"}}, "said"),
    "no event file": ({"events": b"abc"}, "The event file was refused: the event file is cut off."),
    "an empty one": (
        {"events": b""},
        "The event file was refused: the event file has 0 graphs where one was expected.",
    ),
}


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_event_file_fails(pool: Callable[[str], Session], monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    answer, message = FORGED[name]
    session = pool(RIGHT)
    session.load()
    monkeypatch.setattr(Session, "_ask_worker", lambda *args: answer)
    with pytest.raises(Failure) as failed:
        summary_graph(Student(session.exercise.tasks, session).model({"w": W}, X))
    assert failed.value.message == message


READ: dict[str, tuple[Any, str, str]] = {
    "nothing": ({}, "malformed", "The graph in the event file is malformed: a graph is not a list of nodes."),
    "an unknown input": ({"nodes": [["a", "b", ["c"]]]}, "malformed", "The graph in the event file is malformed: a node's input is no"),
    "no text": ({"refused": 3}, "refused", "The event file was refused: ."),
    "late": (TimedOut("late"), "timeout", "The event file with the graph of `model` is too large to be read."),
    "dead": (Died("it ended", given="", last_words="crash"), "malformed", "The event file is malformed: reading it ended the process."),
    "babble": (ProtocolError("noise"), "malformed", "The event file is malformed: reading it ended the process."),
}  # fmt: skip


@pytest.mark.parametrize("name", READ)
def test_a_runner_that_was_taken_over_by_a_file_decides_nothing(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    answer, kind, message = READ[name]

    class Runner:
        role, waited = "runner", 0.0

        def greet(self, seconds: float) -> None: ...

        def ask(self, asked: Any, seconds: float) -> Any:
            if asked["do"] == "read" and isinstance(answer, Exception):
                raise answer
            return answer if asked["do"] == "read" else {}

    class Fake(Processes):
        def __init__(self) -> None:
            self.closed, self.worker, self.runner = False, Runner(), Runner()  # type: ignore[assignment]
            self.earlier = 0.0

        def restart(self, role: Any) -> None:
            pass

    session = Session([], make_exercise(), Fake(), _worker_ready=True)
    monkeypatch.setattr(Session, "_ask_worker", lambda *args: {"events": b""})
    with pytest.raises(Failure) as failed:
        summary_graph(Student(session.exercise.tasks, session).model({"w": W}, X))
    assert failed.value.kind == kind
    assert failed.value.message.startswith(message)


def test_a_value_is_asked_beside_a_graph(student: Callable[[str], Student]) -> None:
    model = student(f"{HEAD}def model(params, x, power):\n    return (x @ params['w']) ** power\n").model
    with_static = function(lambda p, x: model(p, x, static(2)))
    assert [node.op for node in summary_graph(with_static({"w": W}, X)).operations] == ["dot_general", "integer_pow"]
    np.testing.assert_array_equal(value(with_static({"w": W}, X)), np.full((2, 2), 9.0))


def test_only_calls_are_drawn() -> None:
    with pytest.raises(ProtocolError, match="only a call can be drawn"):
        drawing.event_file(["student", "model"], [], {"model": len})
