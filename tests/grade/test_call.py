"""Functions of Python's, called in the worker with values; and how many operations a traced function has."""

from __future__ import annotations

import io
import math
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aidl_jax.exercise import (
    Draw,
    Exercise,
    Failure,
    Hints,
    Student,
    call,
    expect_error,
    folder,
    function,
    operations,
    require,
    static,
    value,
)
from aidl_jax.grade.children import Start
from aidl_jax.grade.extract import Cell
from aidl_jax.grade.failures import ENDLESS, WHILE
from aidl_jax.grade.judge import judge
from aidl_jax.grade.process import Died, Process, Processes, TimedOut
from aidl_jax.grade.record import TaskRecord, to_json
from aidl_jax.grade.session import Session
from aidl_jax.grade.variants import VariantSession
from aidl_jax.grade.worker import Worker

GRAPH = {"y": ["x", "w"], "x": [], "w": []}


def make_exercise(time_limit: float = 10.0) -> Exercise:
    """One task: the names of a graph's nodes that feed others."""
    exercise = Exercise("Feeding", time_limit=time_limit)
    task = exercise.task("feeders", points=2, hints=Hints("idea", "where", "code"))

    @task.check
    def every_input_once(student: Student, draw: Draw) -> None:
        """Every node that feeds another is named."""
        graph = {"y": ["x", "w"], "x": ["a", "a"], "w": [f"n{draw.integers(0, 9)}"]}
        got = call(student.feeders(static(graph)))
        require(isinstance(got, set), "The answer is a set.", got=got)
        expected = {name for inputs in graph.values() for name in inputs}
        require(got == expected, "These are not the feeders.", got=got, expected=expected)

    @task.check
    def leaves_the_graph_alone(student: Student, draw: Draw) -> None:
        """The graph is as it was."""
        after = call(function(lambda graph: (student.feeders(graph), graph))(static(GRAPH)))[1]
        require(after == GRAPH, "You changed the graph.", got=after, expected=GRAPH)

    @task.wrong("You changed the graph.")
    def clears(graph: Any) -> Any:
        found = {name for inputs in graph.values() for name in inputs}
        graph.clear()
        return found

    @task.wrong("You left out the nodes that feed the last one.")
    def not_the_last(graph: Any) -> Any:
        return {name for inputs in list(graph.values())[1:] for name in inputs}

    @task.wrong("You took the names of the nodes, not of what feeds them.")
    def keys(graph: Any) -> Any:
        return set(graph)

    return exercise


RIGHT = "def feeders(graph):\n    return {name for inputs in graph.values() for name in inputs}\n"


@pytest.fixture(scope="module")
def pool(start: Start) -> Iterator[Callable[..., Session]]:
    """Sessions whose two processes are shared."""
    processes = Processes(start)

    def open_session(text: str, time_limit: float = 10.0) -> Session:
        return Session([Cell("answer.py", text)], make_exercise(time_limit), processes)

    yield open_session
    processes.close()


@pytest.fixture
def ask(pool: Callable[..., Session]) -> Callable[..., Any]:
    """Calls `feeders` of a file with one body."""

    def asked(body: str, *arguments: Any, head: str = "", how: Any = call) -> Any:
        session = pool(f"{head}\ndef feeders(graph):\n    {body}\n")
        return how(Student(session.exercise.tasks, session).feeders(*arguments or [static(GRAPH)]))

    return asked


@pytest.fixture
def check(pool: Callable[..., Session]) -> Callable[..., TaskRecord]:
    """Grades a file."""

    def graded(text: str, **options: Any) -> TaskRecord:
        session = pool(text)
        return judge("s00/feeding", session.exercise, session, 1, **options).tasks[0]

    return graded


@pytest.mark.oldest
def test_a_right_answer_passes_and_two_runs_give_the_same_bytes(check: Any) -> None:
    assert check(RIGHT).verdict == "passed"
    wrong = "def feeders(graph):\n    return set(graph) | {'q', 'r', 's'}\n"
    records = []
    for _ in range(2):
        with Session([Cell("answer.py", wrong)], make_exercise()) as session:
            records.append(to_json(judge("s00/feeding", session.exercise, session, 1).to_dict()))
    assert records[0] == records[1]
    assert "{'q', 'r', 's', 'w', 'x', 'y'}" in records[0]


def test_a_time_out_is_not_told_once_the_answer_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be taken for the answer to the next question."""
    sink, looked = io.BytesIO(), threading.Event()
    worker = Worker(io.BytesIO(), sink)

    def answered_meanwhile(main: int) -> None:
        worker.deadline = math.inf
        looked.set()

    monkeypatch.setattr(worker, "_running_line", answered_meanwhile)
    worker.deadline = 0.0
    threading.Thread(target=worker._watch, args=(0,), daemon=True).start()
    assert looked.wait(10)
    with worker.sending:
        assert sink.getvalue() == b""


def test_a_hand_in_that_goes_elsewhere_loses_nothing_there(plain: Start, tmp_path: Path) -> None:
    """Its second call would begin there, and files are written into a folder that is emptied before."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "thesis.txt").write_text("years of work")
    go = f"os.chdir({str(tmp_path)!r})"
    text = f"import os\n{go}\ndef feeders(path):\n    found = os.listdir(path)\n    {go}\n    return found\n"
    with Session([Cell("answer.py", text)], make_exercise(), Processes(plain)) as session:
        for _ in range(2):
            assert call(Student(session.exercise.tasks, session).feeders(folder({"a.txt": b"a"}))) == ["a.txt"]
    assert (tmp_path / "folder" / "thesis.txt").read_text() == "years of work"


@pytest.mark.oldest
def test_any_plain_data_comes_back_as_it_is(ask: Any) -> None:
    got = ask(
        "return [None, True, 1, 0.5, 'ü', (1,), {'b': {2, 3}, 1: []}, frozenset(), np.int8([1])]",
        head="import numpy as np",
    )
    assert repr(got) == "[None, True, 1, 0.5, 'ü', (1,), {'b': {2, 3}, 1: []}, set(), array([1], dtype=int8)]"


def test_values_arrive_in_order_and_with_their_types(ask: Any) -> None:
    given = {"z": (1, [2.0, None]), "a": {True}}
    assert ask("return repr(graph)", static(given)) == repr(given)
    assert ask("return [graph.dtype.name, graph.tolist()]", np.array([0.5])) == ["float32", [0.5]]


def test_what_it_is_given_is_new_for_every_call(ask: Any) -> None:
    body = "graph['x'].append('again'); graph['q'] = []; return graph"
    changed = {"y": ["x", "w"], "x": ["again"], "w": [], "q": []}
    assert ask(body) == changed
    assert ask(body) == changed


def test_a_check_sees_that_its_graph_was_changed(check: Any) -> None:
    text = "def feeders(graph):\n    graph['q'] = []\n    return {n for inputs in graph.values() for n in inputs}\n"
    failure = check(text).failure
    assert failure is not None and failure.message == "You changed the graph."
    assert failure.got == "{'y': ['x', 'w'], 'x': [], 'w': [], 'q': []}"


REMEMBERING = {
    "a global": ("seen.update(*graph.values()); return set(seen)", "seen = set()"),
    "a default": ("return keep(graph)", "def keep(graph, seen=[]):\n    seen += graph\n    return list(seen)"),
    "an attribute": ("feeders.count = getattr(feeders, 'count', 0) + 1; return feeders.count", ""),
    "chance": ("return random.random()", "import random"),
    "an error": ("seen.append(1); return [1][len(seen) - 1]", "seen = []"),
    "the end": ("seen.append(1); return sys.exit() if len(seen) > 1 else 0", "import sys\nseen = []"),
}


@pytest.mark.parametrize("name", REMEMBERING)
def test_an_answer_that_depends_on_earlier_calls_is_refused(ask: Any, pool: Any, name: str) -> None:
    body, head = REMEMBERING[name]
    session = pool(f"{head}\ndef feeders(graph):\n    {body}\n")
    student = Student(session.exercise.tasks, session)

    def call_twice() -> None:
        for graph in ({"a": ["b"]}, {"c": ["d"]}):
            call(student.feeders(static(graph)))

    with pytest.raises(Failure) as refused:
        call_twice()
    assert refused.value.kind == "Impure"
    assert refused.value.message.startswith("Your function computed two different things when it was called twice")
    assert "in a default value such as `seen=[]`" in str(refused.value.fix)


def test_what_is_kept_and_changes_no_answer_is_no_fault(ask: Any) -> None:
    head = "import functools\n@functools.cache\ndef slow(name): return name * 2\ncalls = []"
    body = "calls.append(1); return sorted(map(slow, graph))"
    assert ask(body, head=head) == ["ww", "xx", "yy"]
    assert ask(body, static({"b": [], "a": []}), head=head) == ["aa", "bb"]


NOT_ANSWERS = {
    "object()": "Your function returned a value of type object.",
    "[graph, feeders]": "Your function returned a function, which was not called at [1].",
    "(name for name in graph)": "Your function returned a generator, which has not run yet.",
    "graph.keys()": "Your function returned a value of type dict_keys.",
    "{'a': {'b': 2 ** 64}}": "Your function returned an integer of more than 64 bits at ['a']['b'].",
    "np.array([object()])": "Your function returned something that cannot be sent: ndarray object.",
    "np.zeros(70_000_000, 'int8')": "Your function returned 70,000,023 bytes at once; at most 67,108,864 can be sent.",
    "[0] * 200_000": "Your function returned more than 100,000 values.",
    "jnp.zeros(3)": "Your function returned a JAX array.",
}


@pytest.mark.parametrize("answer", NOT_ANSWERS)
def test_what_is_no_plain_data_is_told(ask: Any, answer: str) -> None:
    with pytest.raises(Failure) as failed:
        ask(f"return {answer}", head="import numpy as np\nimport jax.numpy as jnp")
    assert (failed.value.kind, failed.value.message) == ("AnswerError", NOT_ANSWERS[answer])
    assert failed.value.traceback is None


ERRORS = {
    "raise KeyError('w')": ("KeyError", "Your code raised KeyError: 'w'", "line 3, in feeders: raise KeyError('w')"),
    "raise SystemExit": ("SystemExit", "Your code tried to end the program.", "line 3, in feeders: raise SystemExit"),
    "return feeders(graph)": ("RecursionError", "A function calls itself without an end.", "line 3, in feeders: return feeders(graph)"),
    "raise NotImplementedError": ("NotImplementedError", "This is still to be written.", "line 3, in feeders: raise NotImplementedError"),
}  # fmt: skip


@pytest.mark.parametrize("body", ERRORS)
def test_an_exception_is_told_with_its_line(ask: Any, body: str) -> None:
    with pytest.raises(Failure) as failed:
        ask(body)
    assert (failed.value.kind, failed.value.message, failed.value.line) == ERRORS[body]


def test_an_exception_can_be_expected_and_its_words_looked_at(ask: Any) -> None:
    failure = expect_error(lambda: ask("raise ValueError('y is not there')"), "ValueError", "an error is due")
    assert "y is not there" in failure.message
    with pytest.raises(Failure, match="an error is due"):
        expect_error(lambda: ask("return 1"), "ValueError", "an error is due")


def test_a_misconception_is_named(check: Any) -> None:
    failure = check("def feeders(graph):\n    return {name for name in graph}\n").failure
    assert failure is not None
    assert failure.misconceptions == ["You took the names of the nodes, not of what feeds them."]
    assert failure.call == "feeders(graph)"
    assert failure.inputs[0][0] == "graph" and failure.inputs[0][1].startswith("{'y': ['x', 'w'], 'x': ['a', 'a'], 'w'")


def test_a_sentence_that_the_check_says_itself_is_not_said_twice(check: Any) -> None:
    text = "def feeders(graph):\n    fed = {n for inputs in graph.values() for n in inputs}\n    graph.clear()\n    return fed\n"
    failure = check(text).failure
    assert failure is not None
    assert (failure.message, failure.misconceptions) == ("You changed the graph.", [])


def test_a_wrong_answer_runs_in_its_place_and_is_called_anew_too(pool: Any) -> None:
    session = pool(RIGHT)
    wrong = session.exercise.tasks["feeders"].wrong_answers[2]
    student = Student(session.exercise.tasks, VariantSession(session, ("feeders", wrong)))
    assert call(student.feeders(static({"a": ["b"]}))) == {"a"}
    assert call(student.feeders(static({"c": ["d"]}))) == {"c"}
    assert call(Student(session.exercise.tasks, session).feeders(static({"a": ["b"]}))) == {"b"}


def test_a_long_graph_is_shown_a_node_a_line(check: Any, pool: Any) -> None:
    exercise = Exercise("Long")
    task = exercise.task("feeders", points=1, hints=Hints("a", "b", "c"))
    graph = {f"node{n}": ("add", ["x", "y"]) for n in range(40)}

    @task.check(draws=1)
    def fails(student: Student, draw: Draw) -> None:
        """It fails."""
        require(call(student.feeders(static(graph))) == 0, "It failed.")

    with Session([Cell("a.py", "def feeders(graph):\n    print('seen')\n    return 1")], exercise) as session:
        failure = judge("s00/long", exercise, session, 1).tasks[0].failure
    assert failure is not None
    lines = failure.inputs[0][1].splitlines()
    assert lines[:2] == ["{", " 'node0': ('add', ['x', 'y']),"]
    assert lines[-2:] == [" ... and 16 more", "}"] and len(lines) == 27
    assert failure.printed == "seen\n"


@pytest.mark.oldest
def test_endless_code_is_stopped_and_its_loop_named() -> None:
    bodies = {
        "while graph: pass": ("line 2, in feeders: while graph: pass", WHILE),
        "for name in itertools.count(): pass": (
            "line 2, in feeders: for name in itertools.count(): pass",
            ENDLESS["call"],
        ),
    }
    for body, (line, fix) in bodies.items():
        text = f"def feeders(graph):\n    {body}\nimport itertools\n"
        with Session([Cell("answer.py", text)], make_exercise(time_limit=1.0)) as session:
            failure = judge("s00/feeding", session.exercise, session, 1).tasks[0].failure
        assert failure is not None
        assert (failure.kind, failure.line, failure.fix) == ("timeout", line, fix)
        assert failure.message == "`feeders` did not come to an end within 1 seconds."


def test_a_process_that_ends_itself_costs_its_own_question(pool: Any) -> None:
    session = pool("import os\ndef feeders(graph):\n    return os._exit(0) if 'die' in graph else 1\n")
    student = Student(session.exercise.tasks, session)
    with pytest.raises(Failure, match="The process that ran `feeders` ended without an answer"):
        call(student.feeders(static({"die": []})))
    assert call(student.feeders(static({}))) == 1


FORGED: list[Any] = [{}, {"answer": 3}, {"answer": b"\xc1"}, {"answer": b""}, {"error": None}, {"answer": ["list", []]}]


@pytest.mark.parametrize("answer", FORGED, ids=repr)
def test_a_forged_answer_fails(monkeypatch: pytest.MonkeyPatch, pool: Any, answer: Any) -> None:
    session = pool(RIGHT)
    session.load()
    monkeypatch.setattr(Session, "_tell", lambda self, worker, message, request: None)
    monkeypatch.setattr(Process, "receive", lambda self, seconds: answer)
    with pytest.raises(Failure):
        call(Student(session.exercise.tasks, session).feeders(static(GRAPH)))


@pytest.mark.parametrize(
    ("error", "kind"), [(TimedOut("late"), "timeout"), (Died("it ended", given="", last_words=""), "died")]
)
def test_no_answer_is_a_failure(monkeypatch: pytest.MonkeyPatch, error: Exception, kind: str) -> None:
    with Session([Cell("answer.py", RIGHT)], make_exercise()) as session:
        session.load()

        def silent(self: Process, seconds: float) -> Any:
            raise error

        monkeypatch.setattr(Process, "receive", silent)
        with pytest.raises(Failure) as failed:
            call(Student(session.exercise.tasks, session).feeders(static(GRAPH)))
    assert failed.value.kind == kind
    assert failed.value.request is not None


# How many operations


def count(ask: Any, body: str, length: int) -> int:
    return ask(body, np.zeros(length, np.float32), head="import jax\nimport jax.numpy as jnp", how=operations)


@pytest.mark.oldest
def test_a_loop_of_python_is_written_out_and_one_of_jax_is_not(ask: Any) -> None:
    python = "total = 0.0\n    for i in range(len(graph)): total = total * graph[i] + 1\n    return total"
    scan = "return jax.lax.scan(lambda c, e: (c * e + 1, None), 0.0, graph)[0]"
    assert count(ask, python, 20) - count(ask, python, 10) >= 20
    assert count(ask, scan, 20) == count(ask, scan, 10)


def test_operations_are_logged_and_their_failures_too(pool: Any) -> None:
    session = pool("import jax.numpy as jnp\ndef feeders(x):\n    print('here')\n    return x if x > 0 else -x\n")
    with pytest.raises(Failure, match="Python needed a plain True or False"):
        operations(Student(session.exercise.tasks, session).feeders(np.float32(1)))
    assert isinstance(session.log[-1].outcome, Failure)
    session = pool("def feeders(x):\n    print('here')\n    return x * 2 + 1\n")
    student = Student(session.exercise.tasks, session)
    assert operations(student.feeders(np.float32(1))) == session.log[-1].outcome > 3
    assert session.log[-1].printed == "here\n"
    assert value(student.feeders(np.float32(1))) == 3
