"""What an exercise is: tasks with points, hints, checks and known wrong answers.

    exercise = Exercise("Linear regression by hand", forbidden=["jax.grad"])
    mse = exercise.task("mean_squared_error", points=2, needs=["predict"], hints=Hints(...))

    @mse.check
    def averages_over_examples(student, draw):
        '''The loss is the mean over examples of the squared difference.'''
        p, t = draw.normal(5), draw.normal(5)
        compare(student.mean_squared_error(p, t), np.mean((p - t) ** 2))

    @mse.wrong("You summed over the examples; divide by how many there are.")
    def summed(predictions, labels):
        return ((predictions - labels) ** 2).sum()

A wrong answer is never called here. Its source takes the task's name in a copy of the student's
module, in the process where student code runs. There it has whatever the module defines, and what the
check file imports. A check file itself runs without JAX: what its wrong answers need of it is
imported under `if TYPE_CHECKING:`.
"""

from __future__ import annotations

import ast
import functools
import inspect
import textwrap
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, overload

from aidl_jax.errors import CourseError, close_matches
from aidl_jax.exercise.draws import Draw
from aidl_jax.exercise.expressions import Expression, Student

CheckFunction = Callable[[Student, Draw], None]


@dataclass(frozen=True)
class Hints:
    """Three hints that differ in kind, asked for one at a time.

    Attributes:
        concept: the idea, in words.
        where: where to look: a deck's item, a docstring, a function of JAX.
        almost_code: nearly the line to write.
    """

    concept: str
    where: str
    almost_code: str

    def levels(self) -> list[str]:
        """The hints in the order they are given."""
        return [self.concept, self.where, self.almost_code]


@dataclass(frozen=True)
class Check:
    """A seeded check: its docstring is its description."""

    name: str
    description: str
    run: CheckFunction
    draws: int


@dataclass(frozen=True)
class WrongAnswer:
    """A misconception: its one true sentence, and the complete function that has it."""

    name: str
    sentence: str
    source: str


@dataclass(frozen=True)
class Measure:
    """How fast an answer is beside the course's own: shown and ranked, never scored.

    Attributes:
        description: what one run does.
        unit: what is counted, in the plural: "images".
        amount: how many of them come out of one run.
        ask: makes the expression of one run, a generator.
        reference: the course's own answer, as the texts of a hand-in's cells.
    """

    description: str
    unit: str
    amount: int
    ask: Callable[[Student], Expression]
    reference: tuple[str, ...]


@dataclass
class Task:
    """One graded function. Made by `Exercise.task`."""

    name: str
    points: int
    needs: tuple[str, ...]
    hints: Hints
    checks: list[Check] = field(default_factory=list)
    wrong_answers: list[WrongAnswer] = field(default_factory=list)

    @overload
    def check(self, run: CheckFunction) -> CheckFunction: ...
    @overload
    def check(self, *, draws: int = ...) -> Callable[[CheckFunction], CheckFunction]: ...
    def check(self, run: CheckFunction | None = None, *, draws: int = 3) -> Any:
        """Adds a check; it is run on `draws` different draws.

        Raises:
            CourseError: the check has no docstring, or no draws.
        """

        def add(run: CheckFunction) -> CheckFunction:
            if draws < 1:
                raise CourseError(f"the check {run.__name__!r} of {self.name!r} is never run", given=f"draws={draws}")
            if not (run.__doc__ or "").strip():
                raise CourseError(
                    f"the check {run.__name__!r} of {self.name!r} has no docstring",
                    fix="say in one sentence what it checks; students read it",
                )
            if any(check.name == run.__name__ for check in self.checks):  # they would draw the same inputs
                raise CourseError(f"the check {run.__name__!r} of {self.name!r} is there twice", fix="rename one")
            self.checks.append(Check(run.__name__, inspect.cleandoc(run.__doc__ or "").strip(), run, draws))
            return run

        return add if run is None else add(run)

    def wrong(self, sentence: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Adds a wrong answer with the one sentence that explains it."""

        def add(function: Callable[..., Any]) -> Callable[..., Any]:
            self.wrong_answers.append(WrongAnswer(function.__name__, sentence, _source(function)))
            return function

        return add


@dataclass
class Exercise:
    """A lesson's graded part.

    Args:
        title: what students see.
        forbidden: modules and dotted names that answers may not use ("optax", "jax.grad").
        time_limit: seconds that one call of the student's code may take.
    """

    title: str
    forbidden: Iterable[str] = ()
    time_limit: float = 10.0
    tasks: dict[str, Task] = field(default_factory=dict, init=False)
    measure: Measure | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        if isinstance(self.forbidden, str):
            raise CourseError("forbidden is a list of names", where=self.title, given=repr(self.forbidden))
        self.forbidden = tuple(self.forbidden)

    def task(self, name: str, *, points: int, hints: Hints, needs: Iterable[str] = ()) -> Task:
        """Adds a task: a function that the student writes.

        Args:
            name: the function's name.
            points: what it is worth.
            hints: three of them.
            needs: tasks that must have passed before this one is checked.

        Raises:
            CourseError: a name used twice, or a need that is no earlier task.
        """
        needs = tuple(needs)
        if name in self.tasks:
            raise CourseError(f"the task {name!r} is there twice", where=self.title)
        for need in needs:
            if need not in self.tasks:
                raise CourseError(
                    f"task {name!r} needs {need!r}, which is no earlier task",
                    where=self.title,
                    fix=close_matches(need, self.tasks),
                )
        self.tasks[name] = Task(name, points, needs, hints)
        return self.tasks[name]

    def speed(
        self, unit: str, amount: int, *, reference: Mapping[str, Callable[..., Any]]
    ) -> Callable[[Callable[[Student], Expression]], Callable[[Student], Expression]]:
        """Makes the decorated function the one that is timed once every task has passed; its docstring says what one run does.

        Args:
            unit: what is counted, in the plural: "images".
            amount: how many of them come out of one run, which should take some tenths of a second.
            reference: the course's own answers, complete functions, by the tasks that the run uses.
        """

        def add(ask: Callable[[Student], Expression]) -> Callable[[Student], Expression]:
            texts = tuple(f"{_source(made)}{task} = {made.__name__}\n" for task, made in reference.items())
            self.measure = Measure(inspect.cleandoc(ask.__doc__ or ""), unit, amount, ask, texts)
            return ask

        return add

    @property
    def points(self) -> int:
        """The sum over its tasks."""
        return sum(task.points for task in self.tasks.values())


def _source(function: Callable[..., Any]) -> str:
    """The imports of its file (this package's apart), then the function without its decorators."""
    file = Path(inspect.getsourcefile(function) or "")
    text = file.read_text(encoding="utf-8")
    tree = _parse(text)
    first = inspect.unwrap(function).__code__.co_firstlineno  # a name may be there more than once
    node = next((n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and _first_line(n) == first), None)
    if node is None:
        raise CourseError("a wrong answer is written with def", where=f"{file}:{first}", given=function.__name__)
    lines = text.splitlines()[node.lineno - 1 : node.end_lineno]
    return "\n".join([*_imports(tree.body), *textwrap.dedent("\n".join(lines)).splitlines()]) + "\n"


@functools.lru_cache(maxsize=8)  # a check file has dozens of wrong answers
def _parse(text: str) -> ast.Module:
    return ast.parse(text)


def _first_line(node: ast.FunctionDef) -> int:
    return min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])


def _imports(body: list[ast.stmt]) -> list[str]:
    """Import statements at the top level and under `if TYPE_CHECKING:`."""
    found: list[str] = []
    for node in body:
        if isinstance(node, ast.If):
            found += _imports(node.body)
        elif isinstance(node, ast.Import | ast.ImportFrom) and "aidl_jax" not in ast.unparse(node):
            found.append(ast.unparse(node))
    return found
