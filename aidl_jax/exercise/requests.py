"""Asking: an expression becomes a `Request`, nested lists of plain data and the hidden inputs, and is answered.

There are four ways to ask, by what the student's function is:

* `value(expression)`: a function of arrays. It is traced where student code runs and run elsewhere, so its inputs
  stay hidden; the answer is a tree of NumPy arrays. `operations(expression)` tells how large what was traced is;
* `summary_graph(expression)`: how such a function looks in TensorBoard: its graph, by way of an event file;
* `iterate(expression)`: a generator. It runs where student code runs, and its streams are served from outside;
* `call(expression)`: any other function of Python's. It runs where student code runs, with the values of its
  inputs, and answers with plain data.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from aidl_jax.errors import CourseError
from aidl_jax.exercise.expressions import Expression, describe
from aidl_jax.exercise.summary import SummaryGraph


def value(expression: Expression) -> Any:
    """Asks now: the answer as a tree of NumPy arrays, for checks of properties."""
    return _answerer(expression).evaluate(lower(expression))


def operations(expression: Expression) -> int:
    """How many operations the traced function has, those in the body of a loop of JAX's counted once.

    A Python loop is written out while it is traced, so with it the number grows with the number of rounds.
    """
    return _answerer(expression).operations(lower(expression))


def summary_graph(expression: Expression) -> SummaryGraph:
    """The graph of a function as TensorBoard would draw it: nodes with the scopes they stand in.

    The function that the expression calls is traced where student code runs, and written as an event file, which is read
    where no student code runs.

    Args:
        expression: a call of a function with arrays, or trees of them: `student.f(params, x)`,
            `function(lambda p, x: apply(student.model)(p, {}, x)[0])(params, x)`.

    Raises:
        CourseError: it is no call, or an argument is something else.
    """
    request = lower(expression)
    match request.body:
        case ["call", _, args, named] if not named and all(map(_is_array_tree, args)):
            return _answerer(expression).summary_graph(request)
    raise CourseError(
        "only a call of a function with arrays can be drawn",
        given=str(expression),
        fix="summary_graph(function(lambda x: student.f(x, static(3)))(x))",
    )


def _is_array_tree(node: list[Any]) -> bool:
    return node[0] == "input" or (node[0] == "tree" and all(map(_is_array_tree, node[2])))


def iterate(expression: Expression, limit: int = 10_000) -> Transcript:
    """Runs the generator that the expression makes, feeding its streams; stops after `limit` outputs."""
    return _answerer(expression).iterate(lower(expression), limit)


def call(expression: Expression) -> Any:
    """Calls a function of Python's with values, for answers that are no arrays: graphs, names, counts.

    All that it is given is public to it and new for each call. A function that answers otherwise when it
    has been called before fails.

    Returns:
        The answer as plain data: None, numbers, strings, bytes, NumPy arrays, and lists, tuples, sets and dicts of them.
    """
    return _answerer(expression).call(lower(expression))


@dataclass(frozen=True)
class Request:
    """An expression ready to travel.

    Attributes:
        body: nested lists of plain data; `["input", 0]` stands for the first hidden input.
        inputs: the hidden inputs (float32, int32, uint32 or bool).
        text: the expression as an author would write it, for messages.
        streams: what `stream(...)` serves, never sent as a whole.
    """

    body: list[Any]
    inputs: tuple[np.ndarray, ...]
    text: str
    streams: tuple[Iterable[Any], ...] = ()

    @property
    def specs(self) -> list[list[Any]]:
        """Shape and dtype of each hidden input: all that student code may know of them."""
        return [[list(array.shape), array.dtype.name] for array in self.inputs]

    @property
    def functions(self) -> list[str]:
        """The student's functions it names, each once."""
        found: dict[str, None] = {}

        def visit(node: Any) -> None:
            match node:
                case ["student", name]:
                    found[name] = None
                case ["static", _]:  # a public value may hold any words, as may the keys of a tree
                    pass
                case ["tree", _, leaves]:
                    visit(leaves)
                case list() | dict():
                    for part in node.values() if isinstance(node, dict) else node:
                        visit(part)

        visit(self.body)
        return list(found)


@dataclass
class Transcript:
    """What a generator did, as the process that fed it saw it.

    Attributes:
        events: in order, `("pull", element)` when it asked for an element and got one,
            `("empty",)` when it asked and there was none, `("yield", value)`, and `("end",)`.
    """

    events: list[tuple[Any, ...]] = field(default_factory=list)

    @property
    def outputs(self) -> list[Any]:
        """What it yielded."""
        return [event[1] for event in self.events if event[0] == "yield"]

    @property
    def held(self) -> int:
        """The most elements it had pulled and not yet yielded, at any one time."""
        held = most = 0
        for event in self.events:
            held += {"pull": 1, "yield": -1}.get(event[0], 0)
            most = max(most, held)
        return most

    @property
    def ended(self) -> bool:
        """Whether it came to its end, rather than being stopped after `limit` outputs."""
        return bool(self.events) and self.events[-1] == ("end",)


class Answerer(Protocol):
    """Whoever answers requests for one student's code."""

    def evaluate(self, request: Request) -> Any:
        """The answer: a tree of NumPy arrays."""

    def operations(self, request: Request) -> int:
        """How many operations the traced function has."""

    def summary_graph(self, request: Request) -> SummaryGraph:
        """The traced function's graph, as an event file tells it."""

    def iterate(self, request: Request, limit: int) -> Transcript:
        """Runs the generator that the request makes until its end or `limit` outputs."""

    def call(self, request: Request) -> Any:
        """The answer of a function of Python's, as plain data."""


def lower(expression: Expression) -> Request:
    """The request an expression stands for."""
    inputs: list[np.ndarray] = []
    positions: dict[int, int] = {}
    streams: list[Iterable[Any]] = []
    variables: dict[int, int] = {}

    def visit(node: Expression) -> list[Any]:
        match node.op, node.parts:
            case (("input" | "key"), (array,)):
                if id(array) not in positions:
                    positions[id(array)] = len(inputs)
                    inputs.append(array)
                return [node.op, positions[id(array)]]
            case "student", (name, _):
                return ["student", name]
            case "library", (name,):
                return ["library", name]
            case "static", (packed,):
                return ["static", packed]
            case "variable", ():
                return ["variable", variables.setdefault(id(node), len(variables))]
            case "tree", (structure, leaves):
                return ["tree", structure, [visit(leaf) for leaf in leaves]]
            case "call", (callee, args, kwargs):  # arguments are numbered before what the callee closes over
                visited = [visit(a) for a in args], {k: visit(a) for k, a in kwargs.items()}
                return ["call", visit(callee), *visited]
            case "function", (parameters, body):
                return ["function", [visit(p)[1] for p in parameters], visit(body)]
            case "transform", (name, of, options):
                return ["transform", name, visit(of), _plain_options(options)]
            case "attribute" | "item", (of, key):
                return [node.op, visit(of), key]
            case "stream", (items,):
                streams.append(items)
                return ["stream", len(streams) - 1]
        raise CourseError("an expression is malformed", given=repr(node)[:80])

    body = visit(expression)
    return Request(body, tuple(inputs), describe(expression), tuple(streams))


def _plain_options(options: dict[str, Any]) -> dict[str, Any]:
    return {k: list(v) if isinstance(v, tuple) else v for k, v in options.items()}


def _answerer(expression: Expression) -> Answerer:
    found = _find_answerer(expression)
    if found is None:
        raise CourseError("nothing in this expression is the student's", given=str(expression))
    return found


def _find_answerer(part: Any) -> Answerer | None:
    if isinstance(part, Expression):
        if part.op == "student":
            return part.parts[1]
        part = part.parts
    if isinstance(part, dict):
        part = tuple(part.values())
    if not isinstance(part, list | tuple):
        return None
    return next((found for found in map(_find_answerer, part) if found is not None), None)
