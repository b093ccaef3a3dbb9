"""Request expressions: what a check asks of the student's functions, written down, not run.

`student.predict(params, x)` runs nothing. It builds an expression, which one process traces with
the student's code and another runs on the inputs:

* an array is a **hidden input**: only its shape and dtype travel to where student code runs;
* `static(5)` is public and travels as a value; a bare number is refused, so nobody shows one by accident;
* `function(lambda p: student.loss(p, x))` composes, and `grad`, `vjp`, `jvp`, `vmap`, `jit` apply to it;
* `library("jax.nn.relu")` is a function of JAX's own;
* `stream(items)` is served to a generator one element at a time;
* `value(expression)` asks now and gives NumPy arrays; `iterate(expression)` runs a generator.

`lower` turns an expression into a `Request`: nested lists of plain data, and the hidden inputs.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NoReturn, Protocol

import numpy as np

from aidl_jax.errors import CourseError, close_matches
from aidl_jax.exercise import trees

TRANSFORMS = ("grad", "value_and_grad", "vmap", "jit", "vjp", "jvp")
INPUT_DTYPES = ("bool", "int32", "uint32", "float32")


@dataclass(frozen=True, eq=False)
class Expression:
    """One node: an operation and its parts. Use the functions of this module to make one."""

    op: str
    parts: tuple[Any, ...]

    __array_ufunc__ = None  # so that `array @ expression` comes to `__rmatmul__` below

    def __call__(self, *args: Any, **kwargs: Any) -> Expression:
        return Expression("call", (self, tuple(map(wrap, args)), {k: wrap(v) for k, v in kwargs.items()}))

    def __getattr__(self, name: str) -> Expression:
        if name.startswith("_"):
            raise AttributeError(name)
        return Expression("attribute", (self, name))

    def __getitem__(self, index: int | str) -> Expression:
        if not isinstance(index, int | str):
            raise CourseError("an expression is indexed by a number or a string", given=repr(index)[:60])
        return Expression("item", (self, index))

    def __iter__(self) -> NoReturn:
        raise CourseError(
            "an expression cannot be unpacked, since nothing has run yet",
            given=str(self),
            fix="index it: pair = student.make_optimizer(...); init, update = pair[0], pair[1]",
        )

    def __bool__(self) -> NoReturn:
        raise CourseError("an expression has no truth value, since nothing has run yet", fix="use value(...)")

    def __add__(self, other: Any) -> Expression:
        return library("jax.numpy.add")(self, other)

    def __radd__(self, other: Any) -> Expression:
        return library("jax.numpy.add")(other, self)

    def __sub__(self, other: Any) -> Expression:
        return library("jax.numpy.subtract")(self, other)

    def __rsub__(self, other: Any) -> Expression:
        return library("jax.numpy.subtract")(other, self)

    def __mul__(self, other: Any) -> Expression:
        return library("jax.numpy.multiply")(self, other)

    def __rmul__(self, other: Any) -> Expression:
        return library("jax.numpy.multiply")(other, self)

    def __truediv__(self, other: Any) -> Expression:
        return library("jax.numpy.divide")(self, other)

    def __matmul__(self, other: Any) -> Expression:
        return library("jax.numpy.matmul")(self, other)

    def __rmatmul__(self, other: Any) -> Expression:
        return library("jax.numpy.matmul")(other, self)

    def __rtruediv__(self, other: Any) -> Expression:
        return library("jax.numpy.divide")(other, self)

    def __pow__(self, other: Any) -> Expression:
        return library("jax.numpy.power")(self, other)

    def __neg__(self) -> Expression:
        return library("jax.numpy.negative")(self)

    def __eq__(self, other: object) -> NoReturn:
        raise CourseError(
            "expressions cannot be compared with ==, since nothing has run yet", fix="compare(a, b), or value(a) == ..."
        )

    __hash__ = object.__hash__

    def __str__(self) -> str:
        return describe(self)


@dataclass(frozen=True)
class Key:
    """A hidden JAX PRNG key: its two words, from a seeded draw."""

    data: np.ndarray


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
            if isinstance(node, list):
                if node[:1] == ["student"]:
                    found[node[1]] = None
                for part in node:
                    visit(part)
            elif isinstance(node, dict):
                visit(list(node.values()))

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

    def iterate(self, request: Request, limit: int) -> Transcript:
        """Runs the generator that the request makes until its end or `limit` outputs."""


class Student:
    """The student's functions, by name; each one is an expression."""

    def __init__(self, names: Iterable[str], answerer: Answerer) -> None:
        self._names, self._answerer = tuple(names), answerer

    def __getattr__(self, name: str) -> Expression:
        if name.startswith("_"):
            raise AttributeError(name)
        if name not in self._names:
            raise CourseError(f"the exercise has no task {name!r}", fix=close_matches(name, self._names))
        return Expression("student", (name, self._answerer))


def static(value: Any) -> Expression:
    """A public value: numbers, strings, None and tuples of them. Student code can see it."""

    def plain(part: Any) -> Any:
        if type(part) in (list, tuple):
            return [type(part).__name__, [plain(p) for p in part]]
        if part is None or type(part) in (bool, int, float, str):
            return ["plain", part]
        raise CourseError("static(...) takes numbers, strings, None and tuples of them", given=repr(part)[:60])

    return Expression("static", (value, plain(value)))


def library(name: str) -> Expression:
    """A function of JAX's own by its full name: `library("jax.nn.relu")`."""
    if not name.startswith(("jax.numpy.", "jax.nn.", "jax.lax.", "jax.random.")):
        raise CourseError("only jax.numpy, jax.nn, jax.lax and jax.random may be used in a request", given=repr(name))
    return Expression("library", (name,))


def function(build: Callable[..., Any]) -> Expression:
    """A function made of expressions: `function(lambda p: student.loss(p, x))`."""
    variables = [Expression("variable", ()) for _ in inspect.signature(build).parameters]
    return Expression("function", (tuple(variables), wrap(build(*variables))))


def grad(of: Expression, argnums: int | tuple[int, ...] = 0) -> Expression:
    """`jax.grad` of a composed function."""
    return Expression("transform", ("grad", of, {"argnums": argnums}))


def value_and_grad(of: Expression, argnums: int | tuple[int, ...] = 0) -> Expression:
    """`jax.value_and_grad` of a composed function."""
    return Expression("transform", ("value_and_grad", of, {"argnums": argnums}))


def vmap(of: Expression, in_axes: int | tuple[int | None, ...] = 0) -> Expression:
    """`jax.vmap` of a composed function."""
    return Expression("transform", ("vmap", of, {"in_axes": in_axes}))


def jit(of: Expression) -> Expression:
    """`jax.jit` of a composed function."""
    return Expression("transform", ("jit", of, {}))


def vjp(of: Expression) -> Expression:
    """A function `(primals, cotangents) -> gradients`, both `primals` and the answer tuples."""
    return Expression("transform", ("vjp", of, {}))


def jvp(of: Expression) -> Expression:
    """A function `(primals, tangents) -> (outputs, output tangents)`."""
    return Expression("transform", ("jvp", of, {}))


def stream(items: Iterable[Any]) -> Expression:
    """An iterator that a generator is fed from, one element at a time, by the judge."""
    return Expression("stream", (items,))


def value(expression: Expression) -> Any:
    """Asks now: the answer as a tree of NumPy arrays, for checks of properties."""
    return _answerer(expression).evaluate(lower(expression))


def iterate(expression: Expression, limit: int = 10_000) -> Transcript:
    """Runs the generator that the expression makes, feeding its streams; stops after `limit` outputs."""
    return _answerer(expression).iterate(lower(expression), limit)


def wrap(argument: Any) -> Expression:
    """An argument as an expression: arrays become hidden inputs, containers are walked.

    Raises:
        CourseError: a bare number, a function that is not wrapped, a dtype that cannot be sent.
    """
    if isinstance(argument, Expression):
        return argument
    if isinstance(argument, Key):
        return Expression("key", (argument.data,))
    if isinstance(argument, np.ndarray | np.generic):
        return Expression("input", (hidden(np.asarray(argument)),))
    if argument is None or isinstance(argument, dict | list | tuple | trees.NamedTree):
        leaves, structure = trees.flatten(argument)
        return Expression("tree", (structure, tuple(map(wrap, leaves))))
    if callable(argument):
        raise CourseError("a function in a request must be made of expressions", fix="function(lambda x: ...)")
    raise CourseError(
        "a bare value in a request is neither hidden nor public",
        given=repr(argument)[:60],
        fix=f"static({argument!r}) shows it to the student's code; an array hides it",
    )


def hidden(array: np.ndarray) -> np.ndarray:
    """The array in a dtype that JAX has without 64-bit types; no value is changed.

    Raises:
        CourseError: a value that float32 or int32 cannot hold exactly, or another kind of dtype.
    """
    narrow = {"float64": "float32", "int64": "int32"}.get(array.dtype.name, array.dtype.name)
    if narrow not in INPUT_DTYPES:
        raise CourseError(
            "this dtype cannot be a hidden input", given=array.dtype.name, expected=", ".join(INPUT_DTYPES)
        )
    with np.errstate(over="ignore"):  # what overflows is refused below
        sent = array.astype(narrow)
    if not np.array_equal(sent, array, equal_nan=narrow == "float32"):
        raise CourseError(
            f"a hidden input has values that {narrow} cannot hold exactly",
            given=f"{array.dtype.name} array of shape {array.shape}",
            fix="draw it, or round it first with aidl_jax.exercise.float32_grid(array)",
        )
    return sent


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
            case "static", (_, plain):
                return ["static", plain]
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


def describe(expression: Expression) -> str:
    """The expression as an author would write it, arrays as their dtype and shape."""
    names: dict[int, str] = {}

    def visit(node: Expression) -> str:
        match node.op, node.parts:
            case "input", (array,):
                return f"{array.dtype.name}[{', '.join(map(str, array.shape))}]"
            case "key", _:
                return "key"
            case "student", (name, _):
                return name
            case "library", (name,):
                return name.replace("jax.numpy.", "jnp.")
            case "static", (given, _):
                return repr(given)
            case "variable", ():
                return names.get(id(node), "_")
            case "tree", (structure, leaves):
                return trees.describe(structure, lambda index: visit(leaves[index]))
            case "call", (callee, args, kwargs):
                inside = [visit(a) for a in args] + [f"{k}={visit(a)}" for k, a in kwargs.items()]
                called = f"({visit(callee)})" if callee.op == "function" else visit(callee)
                return f"{called}({', '.join(inside)})"
            case "function", (parameters, body):
                for parameter in parameters:
                    names.setdefault(id(parameter), "pqrstuvw"[len(names) % 8])
                return f"lambda {', '.join(names[id(p)] for p in parameters)}: {visit(body)}"
            case "transform", (name, of, options):
                given = [f"{key}={value}" for key, value in options.items() if value != 0]
                return f"{name}({', '.join([visit(of), *given])})"
            case "attribute", (of, key):
                return f"{visit(of)}.{key}"
            case "item", (of, key):
                return f"{visit(of)}[{key!r}]"
            case "stream", _:
                return "stream"
        return node.op

    return visit(expression)
