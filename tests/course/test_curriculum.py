"""The curriculum lints itself: what is asked is told whole, right answers pass, wrong ones are explained.

Every test here holds for any course; it runs on this one and on the tiny one in `examples/mini_course`.
"""

from __future__ import annotations

import ast
import functools
import importlib.util
import math
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aidl_jax.exercise import Draw, Exercise, Failure, Student, Task, WrongAnswer
from aidl_jax.exercise.course import open_course
from aidl_jax.exercise.source import BEGIN, END, student_text
from aidl_jax.grade.children import Start
from aidl_jax.grade.extract import Cell, extract
from aidl_jax.grade.judge import judge
from aidl_jax.grade.process import Processes
from aidl_jax.grade.record import TaskRecord
from aidl_jax.grade.session import Session, Variant
from aidl_jax.grade.variants import VariantSession

SEEDS = range(200)
SOME_SEEDS = SEEDS[:1]  # the slow tests take all of them
EXPLAINED_SEEDS = SEEDS[:1]
ROOT = Path(__file__).parents[2]
COURSES = {"aidl_jax": open_course(), "mini_course": open_course(ROOT / "examples" / "mini_course")}
EXERCISES = [(course, name) for course in COURSES for name in COURSES[course].names()]


@functools.cache
def load(course: str, name: str) -> Exercise:
    """An exercise's checks; none of the tests changes them."""
    return COURSES[course].exercise(name)


TASKS = [(course, name, task) for course, name in EXERCISES for task in load(course, name).tasks]
ALTERNATIVES = [(c, name, path) for c, name in EXERCISES for path in COURSES[c].alternatives(name)]
EACH_EXERCISE = pytest.mark.parametrize(("course", "name"), EXERCISES, ids=[":".join(e) for e in EXERCISES])
EACH_TASK = pytest.mark.parametrize(("course", "name", "task"), TASKS, ids=[":".join(t) for t in TASKS])
FIRST_ALTERNATIVES = [*{one[:2]: one for one in reversed(ALTERNATIVES)}.values()]
FIRST_TASKS = {task[:2]: task for task in reversed(TASKS)}.values()
ONE_TASK_OF_EACH_OR_ALL = pytest.mark.parametrize(
    ("course", "name", "task"),
    [pytest.param(*task, id=":".join(task), marks=() if task in FIRST_TASKS else pytest.mark.slow) for task in TASKS],
)


def text_of(course: str, name: str) -> str:
    return COURSES[course].solution(name).read_text(encoding="utf-8")


def functions_of(text: str) -> dict[str, ast.FunctionDef]:
    return {node.name: node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)}


class InPlace(VariantSession):
    """The solution's session with a variant in one task's place, in the form that `judge` takes."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.session, name)

    def evaluate(self, request: Any, variant: Variant | None = None) -> Any:
        return self.session.evaluate(request, variant or self.variant)

    def operations(self, request: Any, variant: Variant | None = None) -> Any:
        return self.session.operations(request, variant or self.variant)

    def summary_graph(self, request: Any, variant: Variant | None = None) -> Any:
        return self.session.summary_graph(request, variant or self.variant)

    def iterate(self, request: Any, limit: int, variant: Variant | None = None) -> Any:
        return self.session.iterate(request, limit, variant or self.variant)

    def call(self, request: Any, variant: Variant | None = None) -> Any:
        return self.session.call(request, variant or self.variant)


@pytest.fixture
def solved(course: str, name: str, start: Start, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    """A session with the solution handed in, which may be asked what thousands of hand-ins would be."""
    monkeypatch.setattr("aidl_jax.grade.session.MOST_WAITING", math.inf)
    with Session([Cell("solution.py", text_of(course, name))], load(course, name), Processes(start)) as session:
        yield session


# What is told


@pytest.mark.parametrize("course", COURSES)
def test_every_session_has_a_title(course: str) -> None:
    assert set(COURSES[course].sessions) >= set(COURSES[course].session_names())


SHAPE = r"(float32|int32|bool) \[[a-z., ]*\]"
PYTHON = r"\b(dict|list|set|tuple|pair|str|int|float|bool)\b"


def kind_of(course: str, name: str, task: str) -> str:
    """What a task's function is, as its docstring tells: "arrays", "stream", or "plain" data in and out."""
    sections = sections_of(ast.get_docstring(functions_of(text_of(course, name))[task]) or "")
    return "stream" if "Yields" in sections else "arrays" if re.search(SHAPE, sections["Returns"]) else "plain"


def sections_of(doc: str) -> dict[str, str]:
    return dict(re.findall(r"^(\w+):\n((?:(?:    .*)?(?:\n|$))+)", doc, re.MULTILINE))


@EACH_TASK
def test_the_docstring_tells_arguments_and_result_with_shapes(course: str, name: str, task: str) -> None:
    function = functions_of(text_of(course, name))[task]
    doc = ast.get_docstring(function) or ""
    sections, kind = sections_of(doc), kind_of(course, name, task)
    assert doc.splitlines()[0].endswith(".")
    for argument in function.args.args:
        assert re.search(rf"^    {argument.arg}: ", sections["Args"], re.MULTILINE), f"{argument.arg} is not told of"
    if kind != "stream":
        wanted = {"arrays": SHAPE, "plain": PYTHON}[kind]
        assert re.search(wanted, sections["Args"])
        assert re.search(wanted, sections["Returns"])


@EACH_TASK
def test_points_and_checks(course: str, name: str, task: str) -> None:
    found = load(course, name).tasks[task]
    assert found.points > 0
    assert found.checks
    assert all(check.description.strip().endswith(".") for check in found.checks)
    assert len({check.name for check in found.checks}) == len(found.checks)


@EACH_TASK
def test_hints_go_from_an_idea_to_almost_the_code(course: str, name: str, task: str) -> None:
    levels = load(course, name).tasks[task].hints.levels()
    assert len({level.strip() for level in levels} - {""}) == 3
    concept, _, almost_code = levels
    assert not re.search(r"`|\w\(|=", concept), "the concept is told in words"
    ast.parse("def body():\n" + textwrap.indent(almost_code, "    "))
    assert "..." in almost_code, "something is left to write"


@EACH_TASK
def test_wrong_answers_have_each_a_sentence_of_its_own(course: str, name: str, task: str) -> None:
    wrong = load(course, name).tasks[task].wrong_answers
    assert len(wrong) >= 2
    for what in ("name", "sentence", "source"):
        assert len({getattr(answer, what) for answer in wrong}) == len(wrong)
    assert all(answer.sentence.endswith(".") for answer in wrong)


@EACH_EXERCISE
def test_solutions_are_marked_inside_their_functions(course: str, name: str) -> None:
    text = text_of(course, name)
    lines = [line.strip() for line in text.splitlines()]
    functions = functions_of(text)
    tasks = load(course, name).tasks
    for task in tasks:
        node = functions[task]
        body = lines[node.lineno - 1 : (node.end_lineno or 0) + 1]  # END is a comment: it may follow the last statement
        assert [line for line in body if line in (BEGIN, END)] == [BEGIN, END], task
    assert lines.count(BEGIN) == lines.count(END) == len(tasks)


@pytest.mark.parametrize(("course", "session"), [(c, s) for c in COURSES for s in COURSES[c].session_names()])
def test_a_session_notebook_can_share_one_namespace(course: str, session: str) -> None:
    names = [name for name in COURSES[course].names() if name.startswith(f"{session}/")]
    tasks = [task for name in names for task in load(course, name).tasks]
    assert len(tasks) == len(set(tasks))
    found = extract([Cell(name, text_of(course, name)) for name in names], tasks)
    for task in tasks:
        definitions = [s for s in found.statements if task in s.defines]
        assert [type(s.node) for s in definitions] == [ast.FunctionDef], f"{task} is defined once"
        for used in {name for number in found.needed[task] for name in found.statements[number].defines}:
            meanings = {meaning(s, used) for s in found.statements if used in s.defines}
            assert len(meanings) == 1, f"{task} uses {used}, which means more than one thing in this session"


def meaning(statement: Any, name: str) -> str:
    """What a statement makes of a name: of an import of many names its part, else all of it."""
    if not isinstance(statement.node, ast.ImportFrom):
        return statement.text
    (alias,) = (one for one in statement.node.names if name == (one.asname or one.name))
    return f"from {statement.node.module} import {ast.unparse(alias)}"


# What is handed in


@pytest.mark.oldest
@EACH_EXERCISE
def test_the_unsolved_file_says_what_is_to_be_written(course: str, name: str, start: Start) -> None:
    exercise = load(course, name)
    cells = [Cell("answer.py", student_text(text_of(course, name), name))]
    with Session(cells, exercise, Processes(start)) as session:
        record = judge(name, exercise, session, seed=0)
    assert record.points == 0
    for task in record.tasks:
        if task.waits_for:
            assert task.verdict == "waiting"
            assert set(task.waits_for) <= {t.name for t in record.tasks if t.verdict != "passed"}
        else:
            assert task.verdict == "failed"
            assert task.failure is not None
            assert task.failure.kind == "NotImplementedError"
            assert task.name in task.failure.message


def passes(name: str, exercise: Exercise, session: Session, seeds: Iterable[int]) -> None:
    traced = 0
    for seed in seeds:
        record = judge(name, exercise, session, seed, draws=1, explained=False)
        assert record.points == exercise.points, (seed, [task.failure for task in record.tasks if task.failure])
        traced = traced or len(session._traced)
        assert len(session._traced) == traced, f"seed {seed} asked for shapes that seed 0 did not"


SOME_OR_ALL = pytest.mark.parametrize(
    "seeds", [SOME_SEEDS, pytest.param(SEEDS, marks=pytest.mark.slow)], ids=lambda seeds: f"{len(seeds)}"
)


@pytest.mark.oldest
@SOME_OR_ALL
@EACH_EXERCISE
def test_the_solution_passes_on_every_seed(course: str, name: str, solved: Session, seeds: Iterable[int]) -> None:
    passes(name, load(course, name), solved, seeds)


@pytest.mark.parametrize(
    ("course", "name", "path"),
    [
        pytest.param(*one, id=f"{one[1]}:{one[2].stem}", marks=() if one in FIRST_ALTERNATIVES else pytest.mark.slow)
        for one in ALTERNATIVES
    ],
)
@SOME_OR_ALL
def test_every_alternative_passes_on_every_seed(
    course: str, name: str, path: Path, seeds: Iterable[int], start: Start
) -> None:
    exercise = load(course, name)
    text = path.read_text(encoding="utf-8")
    assert functions_of(text).keys() & exercise.tasks.keys(), "it takes the place of nothing"
    cells = [Cell("solution.py", text_of(course, name)), Cell(path.name, text)]
    with Session(cells, exercise, Processes(start)) as session:
        passes(name, exercise, session, seeds)


def verdict(name: str, exercise: Exercise, session: Any, seed: int, task: str, explained: bool) -> TaskRecord:
    return judge(name, exercise, session, seed, only=task, draws=1, explained=explained).tasks[0]


def sentences(record: TaskRecord) -> list[str]:
    """What a student reads about it: the sentences of known wrong answers, or a message that says the same."""
    assert record.failure is not None
    return record.failure.misconceptions or [record.failure.message]


@EACH_TASK
def test_wrong_answers_are_rejected_and_explained(course: str, name: str, task: str, solved: Session) -> None:
    exercise = load(course, name)
    for wrong in exercise.tasks[task].wrong_answers:
        session = InPlace(solved, (task, wrong))
        for seed in SOME_SEEDS:
            record = verdict(name, exercise, session, seed, task, explained=seed in EXPLAINED_SEEDS)
            assert record.verdict == "failed", (wrong.name, seed, record.failure)
            if seed in EXPLAINED_SEEDS:
                assert sentences(record) == [wrong.sentence], (wrong.name, seed, record.failure)


@pytest.mark.slow
@EACH_TASK
def test_wrong_answers_are_rejected_and_explained_on_every_seed(
    course: str, name: str, task: str, solved: Session
) -> None:
    exercise = load(course, name)
    for wrong in exercise.tasks[task].wrong_answers:
        for seed in SEEDS:
            record = verdict(name, exercise, InPlace(solved, (task, wrong)), seed, task, explained=True)
            assert record.verdict == "failed", (wrong.name, seed)
            assert sentences(record) == [wrong.sentence], (wrong.name, seed, record.failure)


@pytest.mark.slow
@EACH_TASK
def test_wrong_answers_are_explained_when_they_are_handed_in(course: str, name: str, task: str, start: Start) -> None:
    exercise = load(course, name)
    for wrong in exercise.tasks[task].wrong_answers:
        cells = [
            Cell("solution.py", text_of(course, name)),
            Cell("wrong.py", f"{wrong.source}\n{task} = {wrong.name}\n"),
        ]
        with Session(cells, exercise, Processes(start)) as session:
            record = verdict(name, exercise, session, 0, task, explained=True)
            assert sentences(record) == [wrong.sentence], (wrong.name, record.failure)


# Answers that no one thought of: a check must fail them, and never stumble itself

ODD_ARRAYS = [
    "None",
    "{}",
    "[]",
    "1",
    "1.5",
    "True",
    "(1.0, 2.0)",
    "{'w': 1.0}",
    "{'w': jnp.zeros(3), 'b': {'b': None}}",
    "jnp.zeros(0)",
    "jnp.zeros((2, 3, 4))",
    "jnp.complex64(1 + 2j)",
    "jnp.bfloat16(1)",
    "jnp.nan",
    "jnp.full(5, -jnp.inf)",
    "jax.tree.map(lambda a: a / 0 * 0, args[0])",
    "jax.tree.map(lambda a: a.astype(bool), args[0])",
    "args",
    "args[0]",
    "args[0], ()",
    "args[0], jnp.zeros(0)",
    "args[0], jnp.ones(10_000, bool)",
    "args[0], jnp.ones(10_000, complex)",
    "args[0], [jnp.zeros(2), jnp.zeros(3)]",
    "[][0]",
    "next(iter([]))",
]
ODD_ELEMENTS = ["None", "'a'", "1.5", "float('nan')", "True", "-1", "2**60", "(1, 2)", "[]", "{'a': 1}", "np.arange(3)",
                "np.int32(1)", "[][0]", "next(iter([]))"]  # fmt: skip
ODD_PLAIN = [
    *ODD_ELEMENTS,
    "0",
    "''",
    "()",
    "{}",
    "set()",
    "{'a', 1}",
    "['a', 'b']",
    "['a', ['b']]",
    "[None, None]",
    "[[]]",
    "list(args[0])",
    "[*args[0], *args[0]]",
    "sorted(args[0], key=str)",
    "set(map(str, args[0]))",
    "args",
    "args[0]",
    "dict.fromkeys(map(str, args[0]))",
    "[{'a': {1, (2, None)}}]",
    "[0] * 1_000",
    "len(args[0])",
    "float(len(args[0]))",
    "np.int64(len(args[0]))",
    "(name for name in 'ab')",
    "object()",
    "print",
    "2**70",
    "jnp.zeros(3)",
]
ODD_STREAMS = [
    *(f"({element} for _ in range(7))" for element in ODD_ELEMENTS),
    "(np.zeros(2) if i % 2 else e for i, e in enumerate(args[0]))",
    "itertools.chain(args[0], [0, 0])",
    "None",
    "'abc'",
    "()",
]


def odd_answers(course: str, name: str, task: str) -> list[WrongAnswer]:
    answers = {"arrays": ODD_ARRAYS, "stream": ODD_STREAMS, "plain": ODD_PLAIN}[kind_of(course, name, task)]
    head = "import itertools\nimport jax\nimport jax.numpy as jnp\nimport numpy as np\n"
    sources = {
        f"odd_{n}": f"{head}def odd_{n}(*args, **kwargs):\n    return {answer}\n" for n, answer in enumerate(answers)
    }
    return [WrongAnswer(odd, source.splitlines()[-1].strip(), source) for odd, source in sources.items()]


def holds(check: Any, student: Student, draw: Draw, tells: str) -> bool:
    try:
        check.run(student, draw)
    except Failure:
        return False
    except Exception as error:
        pytest.fail(f"{check.name} raised {type(error).__name__} ({error}) on {tells!r}")
    return True


@ONE_TASK_OF_EACH_OR_ALL
def test_no_check_stumbles_over_an_odd_answer(course: str, name: str, task: str, solved: Session) -> None:
    exercise = load(course, name)
    found: Task = exercise.tasks[task]
    assert solved.load() == {}
    for odd in odd_answers(course, name, task):
        student = Student(exercise.tasks, InPlace(solved, (task, odd)))
        held = [holds(check, student, Draw(0, check.name), odd.sentence) for check in found.checks]
        assert not all(held), f"{odd.sentence!r} passes"


# The lessons


@pytest.mark.parametrize(
    ("course", "name"),
    [pytest.param(*one, id=":".join(one), marks=() if one[1] < "s03" else pytest.mark.slow) for one in EXERCISES],
)
def test_the_lesson_runs_from_top_to_bottom(course: str, name: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the lessons plot")
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-W", "ignore:FigureCanvasAgg is non-interactive", COURSES[course].solution(name)],
        env={**os.environ, "MPLBACKEND": "Agg", "MPLCONFIGDIR": str(tmp_path), "JAX_PLATFORMS": "cpu"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr


def test_the_diabetes_set_is_that_of_scikit_learn() -> None:
    from sklearn.datasets import load_diabetes

    spec = importlib.util.spec_from_file_location(
        "checks", COURSES["aidl_jax"].checks / "s02_graphs/linear_regression.py"
    )
    assert spec is not None
    assert spec.loader is not None
    checks = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(checks)
    for ours, theirs in zip(checks.diabetes(), load_diabetes(return_X_y=True, scaled=False), strict=True):
        standardised = (theirs - theirs.mean(axis=0)) / theirs.std(axis=0)
        assert ours.shape == theirs.shape
        np.testing.assert_array_equal(ours, standardised.astype(np.float32))
