"""Request expressions: what a check asks of the student's functions, written down, not run.

`student.predict(params, x)` runs nothing. It builds an expression, which `aidl_jax.exercise.requests` asks:

* an array is a **hidden input**: only its shape and dtype travel to where student code is traced;
* `static(5)` is public and travels as a value; a bare number is refused, so nobody shows one by accident;
* `function(lambda p: student.loss(p, x))` composes, and `grad`, `vjp`, `jvp`, `vmap`, `jit` apply to it;
* `init(student.model)` and `apply(student.model)` make array functions of a model `fn(scope, *inputs)`;
* `library("jax.nn.relu")` is a function of JAX's own;
* `stream(items)` is served to a generator one element at a time;
* `folder(files)` is the path of a folder with files in it, `drain(student.batches)` a generator that runs another one.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from aidl_jax.errors import CourseError, close_matches
from aidl_jax.exercise import plain, trees

if TYPE_CHECKING:
    from aidl_jax.exercise.requests import Answerer

INPUT_DTYPES = ("bool", "int32", "uint32", "float32")
SHOWN = 200  # characters of a public value in an expression's text


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
    """A public value: plain data without arrays. Student code can see it."""
    try:
        return Expression("static", (plain.pack(value, arrays=False),))
    except plain.NotPlainError as error:
        raise CourseError(
            "static(...) takes None, numbers, strings, bytes, and lists, tuples, sets and dicts of them",
            given=str(error),
        ) from None


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


def init(of: Expression) -> Expression:
    """`aidl_jax.scope.init` of a model `fn(scope, *inputs)`: `(key, *inputs) -> (params, model_state)`."""
    return Expression("transform", ("init", of, {}))


def apply(of: Expression) -> Expression:
    """`aidl_jax.scope.apply` of a model: `(params, model_state, *inputs, key=None) -> (outputs, model_state)`."""
    return Expression("transform", ("apply", of, {}))


def shapes(of: Expression) -> Expression:
    """What `init` of a model makes, all zeros: `(*inputs) -> (params, model_state)`, cheap where values do not matter."""
    return Expression("transform", ("shapes", of, {}))


def folder(files: Mapping[str, bytes]) -> Expression:
    """The path of a folder with these public files in it, by their names such as `n01/1.JPEG`; there is one at a time."""
    return Expression("transform", ("folder", static(dict(files)), {}))


def drain(of: Expression) -> Expression:
    """A generator `(count, *args)` that takes so many elements from the student's `of(*args)` and yields how many there were."""
    return Expression("transform", ("drain", of, {}))


def stream(items: Iterable[Any]) -> Expression:
    """An iterator that a generator is fed from, one element at a time, by the judge."""
    return Expression("stream", (items,))


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
            case "static", (packed,):
                return plain.text(plain.unpack(packed), SHOWN)
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
            case "transform", ("folder", of, _):
                files = list(plain.unpack(of.parts[0]))
                return f"folder({', '.join([*files[:2], *['...'] * (len(files) > 2)])})"
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
