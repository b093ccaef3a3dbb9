"""A class's answers to one exercise, made of what the course knows: its solution, other accepted answers and wrong ones.

No two are the same text, nor the same combination of functions, nor use the same local names. About half of them are
right; the others have one or two tasks wrong or unfinished.
"""

from __future__ import annotations

import ast
import random
from collections.abc import Iterator

from aidl_jax.exercise.course import Course

NAME = "s02_graphs/linear_regression"
IMPORTS = "import jax\nimport jax.numpy as jnp"
Part = str  # one way to write a task: its function, and before it those of its own that it calls


def class_answers(course: Course, count: int, seed: int = 0) -> list[str]:
    """`count` modules, the same ones for the same seed.

    >>> from aidl_jax.exercise.course import open_course
    >>> len(set(class_answers(open_course(), 30)))
    30
    """
    chance = random.Random(seed)
    right, wrong = right_parts(course), wrong_parts(course)
    made: dict[tuple[Part, ...], None] = {}
    while len(made) < count:
        parts = {task: chance.choice(ways) for task, ways in right.items()}
        if chance.random() < 0.5:
            for task in chance.sample(sorted(parts), chance.choice([1, 1, 2])):
                parts[task] = chance.choice(wrong[task])
        made[tuple(parts.values())] = None
    return ["\n\n\n".join([IMPORTS, *functions(parts, number)]) + "\n" for number, parts in enumerate(made)]


def right_parts(course: Course) -> dict[str, list[Part]]:
    """Each task's accepted answers."""
    tasks = list(course.exercise(NAME).tasks)
    found: dict[str, list[Part]] = {task: [] for task in tasks}
    for path in (course.solution(NAME), *course.alternatives(NAME)):
        defined = {node.name: node for node in _functions(path.read_text(encoding="utf-8"))}
        for task in tasks:
            if task in defined:
                loads = {node.id for node in ast.walk(defined[task]) if isinstance(node, ast.Name)}
                helpers = [node for name, node in defined.items() if name in loads - set(tasks)]
                found[task].append("\n\n\n".join(map(ast.unparse, [*helpers, defined[task]])))
    return found


def wrong_parts(course: Course) -> dict[str, list[Part]]:
    """Each task's known wrong answers, and one that is still to be written."""
    return {name: [*_wrong(course, name), _unfinished(course, name)] for name in course.exercise(NAME).tasks}


def _wrong(course: Course, task: str) -> Iterator[Part]:
    for wrong in course.exercise(NAME).tasks[task].wrong_answers:
        node = next(node for node in _functions(wrong.source) if node.name == wrong.name)
        node.name = task
        for part in ast.walk(node):  # what annotations name is imported where the wrong answer stands, not here
            if isinstance(part, ast.FunctionDef):
                part.returns = None
            elif isinstance(part, ast.arg):
                part.annotation = None
        yield ast.unparse(node)


def _unfinished(course: Course, task: str) -> Part:
    node = next(node for node in _functions(course.solution(NAME).read_text(encoding="utf-8")) if node.name == task)
    node.body = ast.parse(f"raise NotImplementedError('{task} is still to be written')").body
    return ast.unparse(node)


def functions(parts: tuple[Part, ...], number: int) -> list[str]:
    """The functions of a module, each once; what students name themselves ends in `number`."""
    nodes = {ast.unparse(node): node for part in parts for node in _functions(part)}
    tasks = {_functions(part)[-1].name for part in parts}
    helpers = {node.name for node in nodes.values()} - tasks
    return [ast.unparse(_renamed(node, helpers, number)) for node in nodes.values()]


def _renamed(function: ast.FunctionDef, helpers: set[str], number: int) -> ast.FunctionDef:
    given = {argument.arg for argument in function.args.args}
    inside = list(ast.walk(function))[1:]
    own = helpers | {name for node in inside if (name := _bound(node)) and name not in given}
    for node in ast.walk(function):
        match node:
            case ast.Name() if node.id in own:
                node.id += f"_{number}"
            case ast.arg() if node.arg in own:
                node.arg += f"_{number}"
            case ast.FunctionDef() if node.name in own:
                node.name += f"_{number}"
    return function


def _bound(node: ast.AST) -> str | None:
    """The name that a node gives to something, if it does."""
    match node:
        case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name) | ast.FunctionDef(name=name):
            return name
    return None


def _functions(source: str) -> list[ast.FunctionDef]:
    return [node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)]
