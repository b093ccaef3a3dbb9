"""What an author writes becomes tasks, checks and wrong answers; mistakes are refused where they are made."""

from __future__ import annotations

import functools
import importlib.util
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from aidl_jax.errors import CourseError
from aidl_jax.exercise.definition import Exercise, Hints, Task

if TYPE_CHECKING:
    import math as maths

HINTS = Hints("the idea", "the place", "the line")


@pytest.fixture
def exercise() -> Exercise:
    return Exercise("Lines", forbidden=["jax.grad"])


@pytest.fixture
def task(exercise: Exercise) -> Task:
    return exercise.task("predict", points=2, hints=HINTS)


def load(path: Path, text: str) -> Any:
    """A check file, executed."""
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_tasks_keep_their_order_and_points(exercise: Exercise) -> None:
    exercise.task("predict", points=2, hints=HINTS)
    exercise.task("fit", points=3, hints=HINTS, needs=["predict"])
    assert list(exercise.tasks) == ["predict", "fit"]
    assert exercise.points == 5
    assert exercise.tasks["fit"].needs == ("predict",)


def test_needs_and_forbidden_may_be_any_iterable() -> None:
    exercise = Exercise("Lines", forbidden=(name for name in ["optax", "jax.grad"]))
    assert [list(exercise.forbidden), list(exercise.forbidden)] == [["optax", "jax.grad"]] * 2
    exercise.task("a", points=1, hints=HINTS)
    assert exercise.task("b", points=1, hints=HINTS, needs=iter(["a"])).needs == ("a",)


def test_exercises_share_nothing() -> None:
    one, other = Exercise("One"), Exercise("Other")
    one.task("predict", points=1, hints=HINTS)
    assert other.tasks == {}


def test_hints_come_in_their_order() -> None:
    assert HINTS.levels() == ["the idea", "the place", "the line"]


def test_a_task_twice_is_refused(exercise: Exercise, task: Task) -> None:
    with pytest.raises(CourseError, match=r"^Lines: the task 'predict' is there twice$"):
        exercise.task("predict", points=1, hints=HINTS)


def test_a_need_that_is_no_task_is_refused(exercise: Exercise, task: Task) -> None:
    with pytest.raises(CourseError) as refused:
        exercise.task("fit", points=1, hints=HINTS, needs=["predikt"])
    assert str(refused.value) == (
        "Lines: task 'fit' needs 'predikt', which is no earlier task. Fix: did you mean 'predict'?"
    )
    assert list(exercise.tasks) == ["predict"]


def test_a_task_cannot_need_itself(exercise: Exercise) -> None:
    with pytest.raises(CourseError, match=r"task 'fit' needs 'fit', .* Fix: there are none yet"):
        exercise.task("fit", points=1, hints=HINTS, needs=["fit"])


def test_one_forbidden_string_is_refused() -> None:
    with pytest.raises(CourseError, match=r"^Lines: forbidden is a list of names: given 'optax'$"):
        Exercise("Lines", forbidden="optax")


def test_a_check_is_described_by_its_docstring(task: Task) -> None:
    @task.check
    def averages(student: Any, draw: Any) -> None:
        """The loss is the mean.

        Over all examples.
        """

    (check,) = task.checks
    assert (check.name, check.description) == ("averages", "The loss is the mean.\n\nOver all examples.")
    assert check.run is averages
    assert check.draws == 3


def test_a_check_may_say_how_often_it_is_drawn(task: Task) -> None:
    @task.check(draws=1)
    def averages(student: Any, draw: Any) -> None:
        """Once is enough."""

    assert [check.draws for check in task.checks] == [1]
    assert callable(averages)


def silent(student: Any, draw: Any) -> None: ...


def blank(student: Any, draw: Any) -> None:
    """ """


def described(student: Any, draw: Any) -> None:
    """It holds."""


@pytest.mark.parametrize("check", [silent, blank])
def test_a_check_without_a_description_is_refused(task: Task, check: Callable[..., None]) -> None:
    with pytest.raises(CourseError) as refused:
        task.check(check)
    assert str(refused.value) == (
        f"the check {check.__name__!r} of 'predict' has no docstring. "
        "Fix: say in one sentence what it checks; students read it"
    )
    assert task.checks == []


@pytest.mark.parametrize("draws", [0, -1])
def test_a_check_that_never_runs_is_refused(task: Task, draws: int) -> None:
    with pytest.raises(CourseError, match=f"the check 'described' of 'predict' is never run: given draws={draws}"):
        task.check(draws=draws)(described)


def test_a_wrong_answer_is_its_source_and_is_not_run(task: Task) -> None:
    @task.wrong("You forgot the bias.")
    def without_bias(params: Any, x: Any) -> Any:
        raise AssertionError("never called")  # not here

    (wrong,) = task.wrong_answers
    assert (wrong.name, wrong.sentence) == ("without_bias", "You forgot the bias.")
    assert wrong.source.endswith(
        'def without_bias(params: Any, x: Any) -> Any:\n    raise AssertionError("never called")  # not here\n'
    )
    assert callable(without_bias)


def test_a_wrong_answer_has_the_imports_of_its_file(task: Task) -> None:
    @task.wrong("You took the root.")
    def root(x: float) -> float:
        return maths.sqrt(x)

    names: dict[str, Any] = {}
    exec(compile(task.wrong_answers[0].source, "wrong", "exec", dont_inherit=True), names)
    assert names["root"](49.0) == 7.0
    assert "aidl_jax" not in task.wrong_answers[0].source
    assert task.wrong_answers[0].source.startswith("from __future__ import annotations\n")
    assert callable(root)


def test_two_wrong_answers_of_one_name_keep_their_own_source(tmp_path: Path) -> None:
    module = load(
        tmp_path / "twice.py",
        """
        from aidl_jax.exercise.definition import Exercise, Hints
        exercise = Exercise("Twice")
        a = exercise.task("a", points=1, hints=Hints("", "", ""))
        b = exercise.task("b", points=1, hints=Hints("", "", ""))

        @a.wrong("of a")
        def summed(x):
            return "the first"

        @b.wrong(
            "of b"
        )
        def summed(x):
            return "the second"
        """,
    )
    for task, answer in (("a", "the first"), ("b", "the second")):
        names: dict[str, Any] = {}
        exec(module.exercise.tasks[task].wrong_answers[0].source, names)
        assert names["summed"](0) == answer


def test_a_wrong_answer_in_a_block_is_dedented(tmp_path: Path) -> None:
    module = load(
        tmp_path / "block.py",
        """
        from aidl_jax.exercise.definition import Exercise, Hints
        exercise = Exercise("Block")
        task = exercise.task("a", points=1, hints=Hints("", "", ""))
        if True:
            @task.wrong("é: not ASCII")
            def one(x):
                if x:
                    return "one"
        """,
    )
    (wrong,) = module.exercise.tasks["a"].wrong_answers
    assert wrong.source == 'def one(x):\n    if x:\n        return "one"\n'


def test_a_wrong_answer_under_another_decorator(task: Task) -> None:
    def twice(function: Callable[[int], int]) -> Callable[[int], int]:
        @functools.wraps(function)
        def wrapped(x: int) -> int:
            return 2 * function(x)

        return wrapped

    @task.wrong("It is doubled.")
    @twice
    def plain(x: int) -> int:
        return x

    assert task.wrong_answers[0].source.endswith("def plain(x: int) -> int:\n    return x\n")
    assert plain(2) == 4


def test_a_lambda_is_no_wrong_answer(task: Task) -> None:
    with pytest.raises(
        CourseError, match=r"test_definition\.py:\d+: a wrong answer is written with def: given <lambda>"
    ):
        task.wrong("It is short.")(lambda x: x)
