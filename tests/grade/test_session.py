"""Hand-ins graded through real processes: a worker, a runner and the judge."""

from __future__ import annotations

import itertools
import json
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from ended import gone

from aidl_jax.exercise import (
    Draw,
    Exercise,
    Failure,
    Hints,
    Student,
    compare,
    expect_error,
    iterate,
    require,
    static,
    stream,
    value,
)
from aidl_jax.grade import children
from aidl_jax.grade.children import GraderFault, Start
from aidl_jax.grade.extract import Cell
from aidl_jax.grade.failures import MAX_TEXT
from aidl_jax.grade.judge import judge
from aidl_jax.grade.process import Deadline, Died, Process, Processes, TimedOut
from aidl_jax.grade.protocol import encode
from aidl_jax.grade.record import Record, TaskRecord, to_json
from aidl_jax.grade.session import Session

HINTS = Hints("the idea", "where to look", "nearly the line")
RIGHT = """
import jax.numpy as jnp

def scale(x, factor):
    return x * factor

def total(x):
    return jnp.sum(scale(x, 2.0))

def firsts(stream, count):
    for _ in range(count):
        try:
            element = next(stream)
        except StopIteration:
            return
        yield element
"""


def make_exercise(time_limit: float = 10.0) -> Exercise:
    """Two array functions, the second needing the first, and a generator."""
    exercise = Exercise("Three small functions", forbidden=["jax.grad", "scipy"], time_limit=time_limit)
    scale_task = exercise.task("scale", points=2, hints=HINTS)
    total_task = exercise.task("total", points=3, hints=HINTS, needs=["scale"])
    firsts_task = exercise.task("firsts", points=1, hints=HINTS)

    @scale_task.check
    def multiplies(student: Student, draw: Draw) -> None:
        """Every element is multiplied by the factor."""
        x, factor = draw.normal(4), draw.normal()
        compare(student.scale(x, factor), x * factor)

    @scale_task.check
    def keeps_zero(student: Student, draw: Draw) -> None:
        """Zero stays zero."""
        compare(student.scale(np.zeros(3), draw.normal()), np.zeros(3))

    @scale_task.wrong("You added the factor; multiply by it.")
    def added(x: Any, factor: Any) -> Any:
        return x + factor

    @scale_task.wrong("You divided by the factor; multiply by it.")
    def divided(x: Any, factor: Any) -> Any:
        return x / factor

    @total_task.check
    def sums_what_was_scaled(student: Student, draw: Draw) -> None:
        """The total is the sum of the doubled elements."""
        x = draw.normal(5)
        compare(student.total(x), 2 * x.sum(), length=5, magnitude=2 * np.abs(x).sum())

    @total_task.wrong("You summed without doubling.")
    def undoubled(x: Any) -> Any:
        return x.sum()

    @firsts_task.check
    def yields_the_first(student: Student, draw: Draw) -> None:
        """It yields the first three elements and asks for no more."""
        got = iterate(student.firsts(stream(itertools.count(5)), static(3)))
        require(got.outputs == [5, 6, 7], "These are not the first three.", got=got.outputs, expected=[5, 6, 7])
        require(
            got.events == [(k, v) for v in (5, 6, 7) for k in ("pull", "yield")] + [("end",)], "It pulled too much."
        )

    @firsts_task.check(draws=1)
    def ends_with_the_stream(student: Student, draw: Draw) -> None:
        """A stream that ends early is no error."""
        got = iterate(student.firsts(stream([1]), static(3)))
        require(got.outputs == [1] and got.events[-2:] == [("empty",), ("end",)], "It should have ended.")

    @firsts_task.wrong("You read the whole stream first.")
    def reads_everything(stream: Any, count: int) -> Iterator[Any]:
        yield from list(stream)[:count]

    return exercise


def grade(text: str, *, time_limit: float = 10.0, seed: int = 1, label: str = "answer.py", **options: Any) -> Record:
    exercise = make_exercise(time_limit)
    with Session([Cell(label, text)], exercise) as session:
        return judge("small", exercise, session, seed, **options)


def by_name(record: Record) -> dict[str, TaskRecord]:
    return {task.name: task for task in record.tasks}


def verdicts(record: Record) -> list[str]:
    return [task.verdict for task in record.tasks]


def replaced(name: str, body: str) -> str:
    """The right answer with another last definition of one function."""
    return f"{RIGHT}\n\n{body}\n"


@pytest.fixture(scope="module")
def pool(start: Start) -> Iterator[Callable[[str, float], Session]]:
    """Sessions whose two processes are shared by many hand-ins, as `load` reads a new one each time."""
    processes = Processes(start)

    def open_session(text: str, time_limit: float = 10.0) -> Session:
        return Session([Cell("answer.py", text)], make_exercise(time_limit), processes)

    yield open_session
    processes.close()


@pytest.fixture
def check(pool: Callable[[str, float], Session]) -> Callable[..., dict[str, TaskRecord]]:
    """Grades a hand-in in shared processes."""

    def run(text: str, time_limit: float = 10.0, **options: Any) -> dict[str, TaskRecord]:
        session = pool(text, time_limit)
        return by_name(judge("small", session.exercise, session, 1, **options))

    return run


@pytest.mark.oldest
def test_a_right_answer_gets_all_points_and_two_runs_give_the_same_bytes() -> None:
    first, second = grade(RIGHT), grade(RIGHT)
    assert verdicts(first) == ["passed"] * 3
    assert (first.points, first.possible) == (6, 6)
    assert to_json(first.to_dict()) == to_json(second.to_dict())


@pytest.mark.oldest
def test_a_wrong_record_is_the_same_twice_and_has_no_timing_in_it() -> None:
    wrong = (
        RIGHT.replace("x * factor", "x + factor") + "\n\ndef firsts(stream, count):\n    raise ValueError(object())\n"
    )
    first, second = (to_json(grade(wrong).to_dict()) for _ in range(2))
    assert first == second
    words = {key for key in _keys(json.loads(first))}
    assert not {word for word in words if "time" in word or "second" in word or "duration" in word}


def _keys(data: Any) -> Iterator[str]:
    if isinstance(data, dict):
        yield from data
        data = list(data.values())
    if isinstance(data, list):
        for part in data:
            yield from _keys(part)


@pytest.mark.oldest
def test_a_wrong_answer_is_named_by_its_sentence_and_what_needs_it_waits(check: Any) -> None:
    tasks = check(replaced("scale", "def scale(x, factor):\n    return x + factor"))
    failure = tasks["scale"].failure
    assert failure.misconceptions == ["You added the factor; multiply by it."]
    assert failure.kind == "value" and failure.call == "scale(x, factor)"
    assert [check.verdict for check in tasks["scale"].checks] == ["failed", "waiting"]
    assert (tasks["total"].verdict, tasks["total"].waits_for, tasks["total"].points) == ("waiting", ["scale"], 0)
    assert tasks["firsts"].verdict == "passed"


def test_a_failing_input_is_shrunk(check: Any) -> None:
    tasks = check(replaced("scale", "def scale(x, factor):\n    return x * factor + 1"))
    assert tasks["scale"].failure.inputs == [["x", "[0, 0, 0, 0]"], ["factor", "0"]]
    assert (tasks["scale"].failure.got, tasks["scale"].failure.expected) == ("[1, 1, 1, 1]", "[0, 0, 0, 0]")


def test_an_unexplained_failure_is_neither_shrunk_nor_matched(check: Any) -> None:
    body = "def scale(x, factor):\n    return x + factor"
    tasks = check(replaced("scale", body), explained=False)
    assert tasks["scale"].failure.misconceptions == []
    assert tasks["scale"].failure.inputs[1][1] not in ("0", "1")


def test_a_generators_wrong_answer_is_named_too(check: Any) -> None:
    body = "def firsts(stream, count):\n    kept = list(stream)\n    yield from kept[:count]"
    failure = check(replaced("firsts", body))["firsts"].failure
    assert failure.kind == "timeout" and "more than 5,000 elements" in failure.message
    assert "never list(stream)" in failure.fix


def test_only_one_task_does_not_wait(check: Any) -> None:
    tasks = check(RIGHT.replace("x * factor", "x + factor"), only="total", draws=1)
    assert list(tasks) == ["total"]
    assert tasks["total"].verdict == "failed"


ERRORS = {
    "not written": ("raise NotImplementedError", "NotImplementedError", "This is still to be written."),
    "exit": ("import sys; sys.exit(0)", "SystemExit", "Your code tried to end the program."),
    "base exception": ("raise BaseException('out')", "BaseException", "Your code raised BaseException: out"),
    "keyboard interrupt": ("raise KeyboardInterrupt", "KeyboardInterrupt", "Your code raised KeyboardInterrupt."),
    "missing module": ("import no_such_module", "ModuleNotFoundError", "The module 'no_such_module' cannot be imported here."),
    "wrong name": ("return xs", "NameError", "Name 'xs' is not defined."),
    "string": ("return 'x'", "AnswerError", "Your function returned a value of type str where an array was expected."),
    "function": ("return scale", "AnswerError", "Your function returned the function scale where an array was expected: it was not called."),
    "nothing": ("x * factor", "AnswerError", "Your function returned None; it may have forgotten its `return`."),
    "impure": ("import numpy; return x * factor + numpy.random.normal()", "Impure", "Your function computed two different things"),
    "list": ("return [x]", "structure", "You returned a list where one array was asked for"),
    "shape": ("return (x * factor)[None]", "shape", "The shape is wrong."),
    "dtype": ("return (x * factor).astype('float16')", "dtype", "The dtype is wrong."),
    "nan": ("return x * factor / 0 * 0", "not finite", "There is a nan where a number was expected."),
    "half a character": ("raise ValueError('\\ud800')", "ValueError", "Your code raised ValueError: \\ud800"),
    "course": ("import importlib; importlib.import_module('aidl_jax.course')", "ModuleNotFoundError",
               "The module 'aidl_jax.course' cannot be imported here."),
}  # fmt: skip


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_costs_its_own_task_only(check: Any, name: str) -> None:
    body, kind, message = ERRORS[name]
    tasks = check(replaced("scale", f"def scale(x, factor):\n    {body}"))
    failure = tasks["scale"].failure
    assert failure.kind == kind
    assert failure.message.startswith(message)
    assert [tasks[name].verdict for name in ("scale", "total", "firsts")] == ["failed", "waiting", "passed"]


@pytest.mark.parametrize("name", ["not written", "exit", "wrong name", "missing module", "course"])
def test_the_line_is_the_students_own(check: Any, name: str) -> None:
    body = ERRORS[name][0]
    failure = check(f"def scale(x, factor):\n    y = x\n    {body}\n")["scale"].failure
    assert failure.line == f"line 3, in scale: {body}"


GENERATORS = {
    "not a generator": ("return 3", "AnswerError", "Your function returned a finished int, not a generator."),
    "yields an object": ("yield object()", "AnswerError", "Your function yielded a value of type object."),
    "yields a function": ("yield firsts", "AnswerError", "Your function yielded a function, which was not called."),
    "yields an array of objects": ("import numpy; yield numpy.array([object()])", "AnswerError",
                                   "Your function yielded something that cannot be sent: ndarray object."),
    "yields a huge integer": ("yield 2 ** 70", "AnswerError", "yielded an integer of more than 64 bits."),
    "yields half a character": ("yield '\\ud800'", "AnswerError", "yielded a string with half a character in it."),
    "yields a deep list": ("x = []\n    for _ in range(99): x = [x]\n    yield x", "AnswerError", "nested deeper than 64"),
    "yields too much": ("import numpy; yield numpy.zeros(70_000_000, 'int8')", "AnswerError",
                        "Your function yielded 70,000,023 bytes at once; at most 67,108,864 can be sent."),
    "stops with an error": ("yield 5\n    raise KeyError('w')", "KeyError", "Your code raised KeyError: 'w'"),
    "exits": ("yield 5\n    raise SystemExit", "SystemExit", "Your code tried to end the program."),
    "wrong elements": ("for i in range(count): yield i", "property", "These are not the first three."),
}  # fmt: skip


@pytest.mark.parametrize("name", GENERATORS)
def test_a_generators_error_costs_its_own_task_only(check: Any, name: str) -> None:
    body, kind, message = GENERATORS[name]
    tasks = check(replaced("firsts", f"def firsts(stream, count):\n    {body}"))
    assert tasks["firsts"].failure.kind == kind
    assert message in tasks["firsts"].failure.message
    assert tasks["scale"].verdict == tasks["total"].verdict == "passed"


def test_big_endian_and_nested_values_are_yielded_unchanged(pool: Any) -> None:
    text = (
        "import numpy as np\n"
        "def firsts(stream, count):\n"
        "    yield np.frombuffer(b'\\0\\0\\1\\0', '>i4')\n"
        "    yield {'a': (1.5, None), 3: ['text', True]}\n"
    )
    session = pool(text)
    got = iterate(Student(session.exercise.tasks, session).firsts(stream([]), static(1)))
    assert got.outputs[0].tolist() == [256]
    assert got.outputs[1] == {"a": (1.5, None), 3: ["text", True]}


def test_hidden_inputs_of_a_generator_arrive_and_a_limit_stops_it(pool: Any) -> None:
    text = "def firsts(stream, count):\n    while True:\n        yield count + next(stream)\n"
    session = pool(text)
    got = iterate(Student(session.exercise.tasks, session).firsts(stream([1.0, 2.0, 3.0]), np.float32([10])), limit=2)
    assert [output.tolist() for output in got.outputs] == [[11.0], [12.0]]
    assert not got.ended


def test_a_callers_exception_kind_can_be_expected(pool: Any) -> None:
    text = "def firsts(stream, count):\n    if count < 1:\n        raise ValueError('count')\n    yield next(stream)\n"
    session = pool(text)
    student = Student(session.exercise.tasks, session)
    expect_error(lambda: iterate(student.firsts(stream([1]), static(0))), "ValueError", "0 must be refused")
    with pytest.raises(Failure, match="1 must be refused"):
        expect_error(lambda: iterate(student.firsts(stream([1]), static(1))), "ValueError", "1 must be refused")


def test_prints_are_kept_up_to_a_limit_and_reach_no_pipe(check: Any) -> None:
    body = (
        "def scale(x, factor):\n"
        "    import os, sys\n"
        "    print('seen', x.shape)\n"
        "    os.write(1, b'\\x05\\0\\0\\0forged')\n"
        "    os.write(2, b'noise')\n"
        "    sys.__stdout__.write('more')\n"
        "    sys.stderr.write('z' * 2_000_000)\n"
        "    return x"
    )
    failure = check(replaced("scale", body))["scale"].failure
    assert failure.kind == "value"
    assert failure.printed.startswith("seen (4,)\nzzz")
    assert len(failure.printed) < 4_100
    assert failure.printed.endswith("more characters")


def test_a_print_is_heard_once_even_where_an_error_follows(check: Any) -> None:
    body = "def scale(x, factor):\n    print('shape', x.shape)\n    {}"
    assert check(replaced("scale", body.format("return x")))["scale"].failure.printed == "shape (4,)\n"
    assert check(replaced("scale", body.format("return x @ x.T[None] @ x")))["scale"].failure.printed == "shape (4,)\n"


LOADS = {
    "syntax error": ("def scale(x, factor)\n    return x", "SyntaxError", "expected ':'", "line 1: def scale(x, factor)"),
    "null byte": ("def scale(x, factor):\n    return x\0", "SyntaxError", "Python cannot read this file", None),
    "nothing": ("", "missing", "There is no function named scale.", None),
    "another name": ("def Scale(x, factor): return x", "missing", "There is no function named scale.", None),
    "forbidden": ("import jax\ndef scale(x, factor):\n    return jax.grad(lambda f: f * x)(factor)", "forbidden",
                  "This uses jax.grad", "line 3: return jax.grad(lambda f: f * x)(factor)"),
    "forbidden import": ("from jax import grad as g\ndef scale(x, factor):\n    return g(x)", "forbidden",
                         "This uses jax.grad", "line 1: from jax import grad as g"),
    "course": ("from aidl_jax.course import s02_graphs as s\ndef scale(x, factor):\n    return s", "forbidden",
               "This uses aidl_jax.course", "line 1: from aidl_jax.course import s02_graphs as s"),
    "exit": ("import sys\nlimit = sys.exit(0)\ndef scale(x, factor):\n    return x * limit", "SystemExit",
             "Your code tried to end the program.", "line 2: limit = sys.exit(0)"),
    "missing module": ("import no_such_module as m\ndef scale(x, factor):\n    return m.f(x)", "ModuleNotFoundError",
                       "The module 'no_such_module' cannot be imported here.", "line 1: import no_such_module as m"),
    "course by importlib": ("import importlib\nhelper = importlib.import_module('aidl_jax.course')\n"
                            "def scale(x, factor):\n    return helper.f(x)", "ModuleNotFoundError",
                            "The module 'aidl_jax.course' cannot be imported here.",
                            "line 2: helper = importlib.import_module('aidl_jax.course')"),
}  # fmt: skip


@pytest.mark.parametrize("name", LOADS)
def test_what_cannot_be_loaded_fails_with_its_reason(check: Any, name: str) -> None:
    text, kind, message, line = LOADS[name]
    failure = check(text)["scale"].failure
    assert failure.kind == kind
    assert message in failure.message
    assert failure.line == line or line is None


@pytest.mark.oldest
def test_a_missing_module_breaks_only_the_tasks_that_need_it(check: Any) -> None:
    tasks = check(RIGHT + "\n\nimport no_such_module\ndef total(x):\n    return no_such_module.sum(x)\n")
    assert [tasks[name].verdict for name in ("scale", "total", "firsts")] == ["passed", "failed", "passed"]
    assert tasks["total"].failure.kind == "ModuleNotFoundError"


def test_experiments_at_the_top_level_are_not_run(check: Any) -> None:
    tasks = check(
        RIGHT + "\nimport sys\nsys.exit(1)\nwhile_true = [0]\nprint(undefined)\nif __name__ == '__main__':\n    1/0\n"
    )
    assert {task.verdict for task in tasks.values()} == {"passed"}


def test_patched_libraries_do_not_reach_the_judge(check: Any) -> None:
    text = (
        RIGHT + "\n\nimport numpy as np\nimport jax\n"
        "def cheat(*args, **kwargs):\n    return True\n"
        "np.testing.assert_allclose = np.array_equal = np.allclose = jnp.allclose = cheat\n"
        "def scale(x, factor):\n"
        "    import aidl_jax.exercise.compare as c, aidl_jax.errors\n"
        "    c.compare = c.compare_trees = c.tolerance = cheat\n"
        "    np.isfinite = jax.make_jaxpr.__class__ if False else np.isfinite\n"
        "    return x * 0\n"
    )
    assert check(text)["scale"].verdict == "failed"


def test_equal_functions_run_once(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[str, str]] = []
    send = Process.send

    def counted(self: Process, message: dict[str, Any]) -> None:
        sent.append((self.role, message["do"]))
        send(self, message)

    monkeypatch.setattr(Process, "send", counted)
    x = np.float32([1, 2, 3, 4])
    text = "def scale(x, factor):\n    return x + x\ndef total(y):\n    z = y + y\n    return z\n"
    exercise = make_exercise()
    with Session([Cell("answer.py", text)], exercise) as session:
        student = Student(exercise.tasks, session)
        answers = [value(student.total(x)), value(student.total(x)), value(student.scale(x, static(1))),
                   value(student.total(x + 1))]  # fmt: skip
    assert [answer.tolist() for answer in answers] == [[2, 4, 6, 8]] * 3 + [[4, 6, 8, 10]]
    assert sent.count(("worker", "trace")) == 2
    assert sent.count(("runner", "load")) == 2
    assert sent.count(("runner", "compile")) == 1
    assert sent.count(("runner", "run")) == 2


def test_what_is_known_and_cannot_be_loaded_is_no_fault_of_the_answer() -> None:
    exercise, text = make_exercise(), "def total(y):\n    return y * 2\n"
    with Session([Cell("answer.py", text)], exercise) as session:
        value(Student(exercise.tasks, session).total(np.float32([1, 2])))
        (name,) = session.evidence
    with (
        Session([Cell("answer.py", text)], exercise, known={name: b"no executable"}) as session,
        pytest.raises(GraderFault, match="what an equal function was compiled to cannot be loaded"),
    ):
        value(Student(exercise.tasks, session).total(np.float32([1, 2])))


def test_prints_are_heard_in_every_question() -> None:
    exercise = make_exercise()
    text = "import jax\n@jax.jit\ndef inner(y):\n    print('seen', y.shape)\n    return y\n"
    text += "def total(y):\n    return inner(y)\ndef scale(x, factor):\n    return inner(x)\n"
    with Session([Cell("answer.py", text)], exercise) as session:
        student, x = Student(exercise.tasks, session), np.float32([1, 2])
        value(student.total(x)), value(student.scale(x, static(1)))
        assert [one.printed for one in session.log] == ["seen (2,)\n"] * 2


def test_what_is_known_is_not_compiled_again() -> None:
    exercise, x = make_exercise(), np.float32([1, 2, 3, 4])

    def asked(text: str, known: dict[str, bytes]) -> tuple[list[float], dict[str, bytes]]:
        with Session([Cell("answer.py", text)], exercise, known=known) as session:
            answer = value(Student(exercise.tasks, session).total(x))
            return answer.tolist(), session.executables()

    doubled, threefold = "def total(y):\n    return y * 2\n", "def total(y):\n    return y * 3\n"
    (name, executable), *others = asked(doubled, {})[1].items()
    assert not others
    assert asked(doubled.replace("y", "x"), {name: executable}) == ([2, 4, 6, 8], {})
    other = asked(threefold, {name: executable})[1]
    assert set(other) != {name}
    assert asked(doubled, {name: other.popitem()[1]}) == ([3, 6, 9, 12], {}), "what is known was not used"


def test_an_equal_function_is_evidence(pool: Any) -> None:
    exercise = Exercise("Derivatives")
    task = exercise.task("double", points=1, hints=HINTS)
    exercise.task("square", points=1, hints=HINTS)

    @task.check
    def doubles(student: Student, draw: Draw) -> None:
        """It doubles."""
        x = draw.normal(2)
        compare(student.double(x), student.square(x))

    shared = pool("").processes
    text = "def double(x): return x + x\ndef square(x): return x + x\n"
    session = Session([Cell("answer.py", text)], exercise, shared)
    record = judge("d", exercise, session, 1, only="double")
    assert record.tasks[0].evidence["equal_to"] == "square(float32[2])"
    assert record.tasks[0].evidence["matrix_products"] == 0


KILLERS = """
import os

def scale(x, factor):
    {scale}

def total(x):
    return x.sum() * 2

def firsts(stream, count):
    {firsts}
"""
FIRSTS = "for element in (next(stream, None) for _ in range(count)):\n        if element is None: return\n        yield element"


@pytest.mark.oldest
def test_an_endless_python_loop_is_named_with_its_line_and_the_rest_is_graded() -> None:
    body = "\n    ".join(["while True:", "    x = x + 1"])
    tasks = by_name(grade(KILLERS.format(scale=body, firsts="while True: pass\n    yield 1"), time_limit=1.0))
    assert tasks["scale"].failure.kind == "timeout"
    assert tasks["scale"].failure.message == "`scale` did not come to an end within 1 seconds."
    assert tasks["scale"].failure.line in ("line 5, in scale: while True:", "line 6, in scale: x = x + 1")
    assert tasks["firsts"].failure.kind == "timeout"
    assert tasks["firsts"].failure.line == "line 12, in firsts: while True: pass"
    assert tasks["total"].verdict == "waiting"


@pytest.mark.oldest
def test_an_endless_compiled_loop_is_stopped_and_the_rest_is_graded() -> None:
    loop = "import jax; return jax.lax.while_loop(lambda c: c[0] == c[0], lambda c: c + 0 * factor, x * 0)"
    text = KILLERS.format(scale=loop, firsts=FIRSTS)
    exercise = make_exercise(time_limit=2.0)
    with Session([Cell("answer.py", text)], exercise) as session:
        first = by_name(judge("small", exercise, session, 1))
        second = by_name(judge("small", exercise, session, 1, only="total"))
    assert first["scale"].failure.kind == "timeout"
    assert first["scale"].failure.message == "`scale` did not come to an end within 2 seconds."
    assert second["total"].verdict == "passed"


@pytest.mark.oldest
def test_a_process_that_ends_itself_costs_its_own_question() -> None:
    tasks = by_name(grade(KILLERS.format(scale="os._exit(0)", firsts="yield 5\n    os._exit(0)")))
    for name in ("scale", "firsts"):
        assert tasks[name].failure.kind == "died"
        assert tasks[name].failure.message == f"The process that ran `{name}` ended without an answer."
        assert tasks[name].points == 0


def test_a_process_that_ends_between_questions_costs_its_own_task() -> None:
    text = KILLERS.format(scale="return x * factor", firsts=FIRSTS)
    exercise = make_exercise()
    with Session([Cell("answer.py", text)], exercise) as session:
        session.load()
        session.processes.worker.child.kill()  # as a thread that student code has started could
        record = by_name(judge("small", exercise, session, 1))
    assert record["scale"].failure is not None and record["scale"].failure.kind == "died"
    assert record["firsts"].verdict == "passed"


@pytest.mark.parametrize(
    ("first_line", "kind", "message"),
    [
        ("import os\nlimit = os._exit(0)", "died", "Running the file's top level ended the process."),
        (
            "limit = 0\nwhile limit == 0: limit = 0",
            "timeout",
            "The file's top level did not come to an end within 1 seconds.",
        ),
    ],
)
def test_a_top_level_that_never_returns_fails_every_task(first_line: str, kind: str, message: str) -> None:
    record = grade(f"{first_line}\ndef scale(x, factor):\n    return x * limit\n", time_limit=1.0)
    assert verdicts(record) == ["failed"] * 3
    assert {(task.failure.kind, task.failure.message) for task in record.tasks if task.failure} == {(kind, message)}


def test_a_swallowed_exception_does_not_hold_the_time_limit_up() -> None:
    body = "while True:\n        try:\n            import signal; signal.alarm(0)\n        except BaseException:\n            pass"
    tasks = by_name(grade(KILLERS.format(scale=body, firsts=FIRSTS), time_limit=1.0))
    assert tasks["scale"].failure.kind == "timeout"


def test_a_check_that_raises_leaves_its_task_ungraded(check: Any, pool: Any) -> None:
    session = pool(RIGHT)
    task = session.exercise.tasks["scale"]

    @task.check
    def broken(student: Student, draw: Draw) -> None:
        """This check has a mistake."""
        raise ZeroDivisionError("in the check")

    tasks = by_name(judge("small", session.exercise, session, 1))
    assert (tasks["scale"].verdict, tasks["scale"].points) == ("ungraded", 0)
    assert "ZeroDivisionError: in the check" in tasks["scale"].failure.message
    assert "no fault of the answer" in tasks["scale"].failure.message
    assert tasks["total"].verdict == "waiting"
    assert tasks["firsts"].verdict == "passed"


def test_a_check_that_only_simpler_inputs_break_still_fails_the_answer(pool: Any) -> None:
    session = pool("def scale(x, factor):\n    return x * factor + 1\n")
    exercise = Exercise("One")
    task = exercise.task("scale", points=1, hints=HINTS)

    @task.check
    def fragile(student: Student, draw: Draw) -> None:
        """It cannot deal with zeros."""
        x = draw.normal(3)
        if not x.all():
            raise ZeroDivisionError("the check divides by x")
        compare(student.scale(x, np.float32(1)), x)

    @task.wrong("It is a pair.")
    def pair(x: Any, factor: Any) -> Any:
        return x, x

    one = Session(session.cells, exercise, session.processes)
    record = judge("one", exercise, one, 1)
    assert record.tasks[0].verdict == "failed"
    assert record.tasks[0].failure is not None and record.tasks[0].failure.inputs[0] == ["x", "[1, 1, 1]"]


@pytest.mark.parametrize("role", ["worker", "runner"])
def test_a_process_that_cannot_start_is_the_graders_fault(
    monkeypatch: pytest.MonkeyPatch, role: str, plain: Start
) -> None:
    start = children.BOOT.replace("{role}", "{{role}}").replace("{{role}}", "{role}")
    broken = f"import sys; '{{role}}' == '{role}' and sys.exit('no such library'); {start}"
    monkeypatch.setattr(children, "BOOT", broken)
    record = by_name(grade(RIGHT, draws=1))
    assert record["scale"].verdict == "ungraded"
    assert record["scale"].points == 0
    assert f"not be graded: the {role} did not start (no such library)" in record["scale"].failure.message


class Scripted(Process):
    """A worker or runner that answers as told."""

    def __init__(self, role: Any, answers: dict[str, Any]) -> None:
        self.role, self.answers, self.waited = role, answers, 0.0  # type: ignore[assignment]
        self.asked: list[str] = []

    def send(self, message: dict[str, Any]) -> None:
        self.asked += [message["do"]] if "do" in message else []

    def receive(self, seconds: float) -> dict[str, Any]:
        answer = self.answers[self.asked[-1]]  # type: ignore[index]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def ask(self, message: dict[str, Any], seconds: float) -> dict[str, Any]:
        self.send(message)
        return self.receive(seconds)

    def close(self) -> None:
        pass


class ScriptedProcesses(Processes):
    def __init__(self, worker: dict[str, Any], runner: dict[str, Any]) -> None:
        self.closed, self.start, self.earlier = False, children.PlainChild, 0.0
        self.worker, self.runner = Scripted("worker", worker), Scripted("runner", runner)


LOADED: dict[str, Any] = {"errors": {}, "signatures": {"scale": ["x", "factor"]}}
RUNNER: dict[str, Any] = {
    "hello": {},
    "load": {"function": "f", "evidence": {}},
    "compile": {},
    "run": {"outputs": [np.zeros(4, "float32")]},
}


def scripted(monkeypatch: pytest.MonkeyPatch, worker: dict[str, Any], runner: dict[str, Any]) -> dict[str, TaskRecord]:
    exercise = make_exercise()
    monkeypatch.setattr(
        "aidl_jax.grade.process.Process", lambda role, start: Scripted(role, worker if role == "worker" else runner)
    )
    session = Session([], exercise, ScriptedProcesses(worker, runner))
    return by_name(judge("small", exercise, session, 1))


FORGED_TRACES: list[Any] = [
    {},
    {"exported": 3, "structure": ["leaf", 0]},
    {"exported": None, "structure": ["leaf", 0]},
    {"error": None},
    {"error": 7},
    {"error": {"kind": 3, "message": ["passed"], "line": {}}},
    {"error": {"kind": "timeout", "line": 5}},
    {"exported": b"x"},
    {"exported": b"x", "structure": ["leaf", 1]},
    {"exported": b"x", "structure": ["tuple", [["leaf", 0], ["leaf", 0]]]},
    {"exported": b"x", "structure": {"verdict": "passed"}},
    {"verdict": "passed", "points": 100},
    {"event": "pull", "stream": 0},
]


@pytest.mark.parametrize("answer", FORGED_TRACES, ids=repr)
def test_a_forged_answer_fails_and_never_passes(monkeypatch: pytest.MonkeyPatch, answer: Any) -> None:
    worker = {"hello": {}, "load": LOADED, "trace": answer, "iterate": answer}
    tasks = scripted(monkeypatch, worker, RUNNER)
    assert [tasks[name].verdict for name in ("scale", "total", "firsts")] == ["failed", "waiting", "failed"]


FORGED_EVENTS: list[Any] = [
    {"event": "pull"},
    {"event": "pull", "stream": 1},
    {"event": "pull", "stream": -1},
    {"event": "pull", "stream": "0"},
    {"event": "pull", "stream": [0]},
    {"event": "yield"},
    {"event": "yield", "output": 3},
    {"event": "yield", "output": b""},
    {"event": "yield", "output": b"\xc1"},
    {"event": "yield", "output": encode(["code", "x"])},
    {"event": "yield", "output": encode(5)},
    {"event": ["yield"]},
]


@pytest.mark.parametrize("event", FORGED_EVENTS, ids=repr)
def test_a_forged_event_fails_and_never_passes(monkeypatch: pytest.MonkeyPatch, event: Any) -> None:
    worker = {"hello": {}, "load": LOADED, "trace": {}, "iterate": event}
    assert scripted(monkeypatch, worker, RUNNER)["firsts"].verdict == "failed"


FORGED_LOADS: list[Any] = [
    {},
    {"errors": []},
    {"errors": None},
    {"error": "passed"},
    {"error": {"kind": "timeout"}},
    {"errors": {"scale": "x"}, "signatures": 3},
    {"errors": {3: {}}, "signatures": {"scale": [1, None, {}]}},
    {"errors": {}, "signatures": {"scale": "x"}},
]


@pytest.mark.parametrize("answer", FORGED_LOADS, ids=repr)
def test_a_forged_load_fails_and_never_passes(monkeypatch: pytest.MonkeyPatch, answer: Any) -> None:
    trace = {"exported": b"x", "structure": ["leaf", 0]}
    worker = {"hello": {}, "load": answer, "trace": trace, "iterate": {}}
    tasks = scripted(monkeypatch, worker, RUNNER)
    assert tasks["scale"].verdict == "failed"


@pytest.mark.parametrize(
    ("runner", "kind", "message"),
    [
        ({"load": {"refused": "it is too large"}}, "refused", "The traced function was refused: it is too large."),
        (
            {"load": Died("the runner ended", given="x", last_words="segmentation fault")},
            "malformed",
            "reading it ended",
        ),
        (
            {"run": Died("the runner ended", given="x", last_words="killed")},
            "died",
            "The process that ran `scale` ended",
        ),
        ({"compile": TimedOut("late")}, "timeout", "`scale` takes longer than 10 seconds to compile."),
        ({"compile": Died("x", given="x", last_words="")}, "malformed", "compiling it ended"),
        ({"run": TimedOut("late")}, "timeout", "`scale` did not come to an end within 10 seconds."),
    ],
)
def test_what_happens_in_the_runner_is_told_apart(
    monkeypatch: pytest.MonkeyPatch, runner: dict[str, Any], kind: str, message: str
) -> None:
    trace = {"exported": b"x", "structure": ["leaf", 0]}
    worker = {"hello": {}, "load": LOADED, "trace": trace, "iterate": {"event": "end"}}
    failure = scripted(monkeypatch, worker, RUNNER | runner)["scale"].failure
    assert failure is not None and (failure.kind, message in failure.message) == (kind, True)


def test_texts_from_the_worker_are_cut_to_a_length(monkeypatch: pytest.MonkeyPatch) -> None:
    error = {
        "kind": "x" * 9_000,
        "message": "m" * 9_000,
        "line": "l" * 9_000,
        "fix": "f" * 9_000,
        "traceback": "t" * 9_000,
    }
    worker = {
        "hello": {},
        "load": LOADED,
        "trace": {"error": error, "printed": "p" * 9_000},
        "iterate": {"event": "end"},
    }
    failure = scripted(monkeypatch, worker, RUNNER)["scale"].failure
    assert failure is not None
    assert (
        max(len(text or "") for text in (failure.kind, failure.message, failure.line, failure.fix, failure.printed))
        == MAX_TEXT
        < 5_000
    )


def test_a_started_process_is_asked_and_ends_with_its_folder(plain: Start) -> None:
    one: Any = Process("runner", plain)
    folder = one.child.scratch.parent
    assert one.ask({"do": "hello", "seconds": 60}, 60) == {}
    one.close()
    one.close()
    assert one.child.process.returncode is not None
    assert not folder.exists()
    with pytest.raises(Died):
        one.ask({"do": "hello", "seconds": 1}, 1)


def test_a_process_sees_no_variable_and_no_folder_of_ours(monkeypatch: pytest.MonkeyPatch, check: Any) -> None:
    monkeypatch.setenv("AIDL_SECRET_SEED", "7")
    text = (
        "import os, sys\n"
        "def scale(x, factor):\n"
        "    raise ValueError([name for name in os.environ if 'SECRET' in name], os.getcwd() in sys.path, os.listdir())\n"
    )
    with Session([Cell("answer.py", text)], make_exercise()) as session:
        record = by_name(judge("small", session.exercise, session, 1, only="scale"))
    assert record["scale"].failure.message == "Your code raised ValueError: ([], False, [])"


def test_a_module_beside_the_hand_in_is_not_imported(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    (tmp_path / "no_such_helper.py").write_text("value = 1\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert str(tmp_path) not in children.module_path()


def test_answers_that_are_slow_together_end_with_a_time_out(monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session([], make_exercise(), ScriptedProcesses({"hello": {}, "load": LOADED}, RUNNER))
    session.processes.restart = lambda role: None  # type: ignore[method-assign]
    session.processes.worker.waited = 301.0
    with pytest.raises(Failure, match="All questions together have taken more than the 300 seconds") as failed:
        value(Student(session.exercise.tasks, session).scale(np.zeros(3), np.float32(1)))
    assert failed.value.kind == "timeout"


def test_a_deadline_never_waits_for_less_than_a_millisecond() -> None:
    assert Deadline(0).left() == 0.001
    assert 5 < Deadline(10).left() <= 10


def test_the_order_of_a_set_is_the_same_in_every_run() -> None:
    exercise = Exercise("Sets")
    task = exercise.task("f", points=1, hints=Hints("a", "b", "c"))
    seen = []

    @task.check(draws=1)
    def order(student: Student, draw: Draw) -> None:
        """It shows the order."""
        seen.append(iterate(student.f(stream([]))).outputs)

    for _ in range(2):
        with Session([Cell("a.py", "def f(stream):\n    yield from {str(n) for n in range(50)}")], exercise) as session:
            judge("s00/sets", exercise, session, seed=1)
    assert len(seen[0]) == 50
    assert seen[0] == seen[1]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_child_that_a_task_leaves_behind_ends_with_its_worker() -> None:
    exercise = Exercise("Forks")
    exercise.task("f", points=1, hints=Hints("a", "b", "c"))
    found: list[Any] = []

    @exercise.tasks["f"].check(draws=1)
    def child(student: Student, draw: Draw) -> None:
        """It says which process it left behind."""
        found.extend(iterate(student.f(stream([]))).outputs)

    text = "import os, time\ndef f(stream):\n    child = os.fork()\n    if not child:\n        time.sleep(600)\n    yield child"
    with Session([Cell("a.py", text)], exercise) as session:
        judge("s00/forks", exercise, session, seed=1)
    deadline = time.monotonic() + 10
    while not gone(found[0]):
        assert time.monotonic() < deadline
