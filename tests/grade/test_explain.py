"""Real mistakes, run through the real JAX, and what a student is told about them."""

from __future__ import annotations

import linecache
import re
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aidl_jax.exercise.draws import Draw
from aidl_jax.exercise.expressions import Student
from aidl_jax.exercise.requests import lower
from aidl_jax.grade import explain, words
from aidl_jax.grade.tracing import export_request

LABEL = "answer.py"
V3, V4, M23 = np.zeros(3, np.float32), np.zeros(4, np.float32), np.zeros((2, 3), np.float32)
KEY = Draw(1, "explain").key()


class Nobody:
    """An answerer that nothing is asked of."""

    def evaluate(self, request: Any) -> Any:
        raise AssertionError

    def iterate(self, request: Any, limit: int) -> Any:
        raise AssertionError


def explained(source: str, *inputs: Any) -> Mapping[str, Any]:
    """What `f` of a small file is told when it is traced as the worker would."""
    linecache.cache[LABEL] = (len(source), None, source.splitlines(True), LABEL)
    names = {"jax": jax, "jnp": jnp, "np": np}
    exec(compile(source, LABEL, "exec"), names)
    request = lower(Student(["f"], Nobody()).f(*inputs))
    try:
        export_request(request.body, request.specs, {"f": names["f"]})
    except BaseException as error:
        return explain.explain(error, {LABEL})
    raise AssertionError("nothing was raised")


TRUE_OR_FALSE = "Python needed a plain True or False here"
NUMBER = "Python needed a plain number here"
INTEGER = "Python needed a plain integer here"
NUMPY = "NumPy was called on a JAX array"
MASK = "An array was indexed with a boolean array"
SIZE = "The size of the result would depend on values"
KEPT = "An array that was kept from an earlier call"
KEY_TWICE = "The same random key is used twice"
SHAPES = "Two arrays have shapes that do not fit together: "
PRODUCT = "A matrix product multiplies along axes of different length: "
PRODUCT_SHAPES = "A matrix product was given arrays whose shapes do not fit."
IN_PLACE = "JAX arrays cannot be changed in place."
NOT_SCALAR = "jax.grad was given a function that returns more than one number."
CARRY = "The carry that your loop's step returns has another structure, shape or dtype than the carry it was given."
ONE_CONDITION = "The condition of jax.lax.while_loop must return one True or False."
PAIR = "The step given to jax.lax.scan must return a pair."
BRANCHES = "The branches of a jax.lax.cond or jax.lax.switch return different"
ARGUMENTS = "A function was called with the wrong arguments: "
CALLS_BACK = "Your function calls back into Python while it runs"

# The line with the mistake ends in "# here"; it is the line that the student is shown.
MISTAKES: dict[str, tuple[str, str, tuple[Any, ...]]] = {
    "if": (TRUE_OR_FALSE, "def f(x):\n    if x.sum() > 0:  # here\n        return x\n    return -x", (V3,)),
    "while": (TRUE_OR_FALSE, "def f(x):\n    while x[0] < 3:  # here\n        x = x + 1\n    return x", (V3,)),
    "assert": (TRUE_OR_FALSE, "def f(x):\n    assert x[0] > 0  # here\n    return x", (V3,)),
    "max of Python": (TRUE_OR_FALSE, "def f(x):\n    return max(x[0], x[1])  # here", (V3,)),
    "if in a scan": (TRUE_OR_FALSE, "def f(x):\n    def step(c, e):\n        if e > 0:  # here\n            c = c + e\n"
                     "        return c, None\n    return jax.lax.scan(step, 0.0, x)", (V3,)),
    "and on arrays": ("Python needed one True or False here", "def f(x):\n    return (x > 0) and (x < 1)  # here", (V3,)),
    "float": (NUMBER, "def f(x):\n    return float(x[0]) * x  # here", (V3,)),
    "int": (NUMBER, "def f(x):\n    return int(x[0]) * x  # here", (V3,)),
    "item": (NUMBER, "def f(x):\n    return x.sum().item() * x  # here", (V3,)),
    "math.exp": (NUMBER, "import math\ndef f(x):\n    return math.exp(x[0])  # here", (V3,)),
    "arange": (NUMBER, "def f(x):\n    return jnp.arange(x[0])  # here", (V3,)),
    "zeros": ("A shape must be made of plain integers", "def f(x):\n    return jnp.zeros(x.sum().astype(int))  # here", (V3,)),
    "nonzero": (SIZE, "def f(x):\n    return jnp.nonzero(x)  # here", (V3,)),
    "where with one argument": (SIZE, "def f(x):\n    return jnp.where(x > 0)  # here", (V3,)),
    "unique": (SIZE, "def f(x):\n    return jnp.unique(x)  # here", (V3,)),
    "range": (INTEGER, "def f(x):\n    for i in range(x[0].astype(int)):  # here\n        x = x + i\n    return x", (V3,)),
    "range of a float": (INTEGER, "def f(x):\n    for i in range(x[0]):  # here\n        x = x + i\n    return x", (V3,)),
    "index of a list": (INTEGER, "def f(x):\n    return [x, x][jnp.argmax(x)]  # here", (V3,)),
    "np.array": (NUMPY, "def f(x):\n    return np.sum(np.array(x))  # here", (V3,)),
    "np.exp": (NUMPY, "def f(x):\n    return np.exp(x)  # here", (V3,)),
    "np.dot": (NUMPY, "def f(x):\n    return np.dot(x, x)  # here", (V3,)),
    "item of a NumPy array": ("A NumPy array was given a JAX array to keep",
                              "def f(x):\n    z = np.zeros(3)\n    z[0] = x[0]  # here\n    return z", (V3,)),
    "boolean mask": (MASK, "def f(x):\n    return x[x > 0].sum()  # here", (V3,)),
    "kept argument": (KEPT, "kept = []\ndef f(x):\n    kept.append(x)\n    return kept[0] + x  # here", (V3,)),
    "kept in a jit": (KEPT, "kept = []\n@jax.jit\ndef g(x):\n    kept.append(x * 2)\n    return x\ndef f(x):\n    g(x)\n"
                      "    return kept[-1] + x  # here", (V3,)),
    "kept in a scan": (KEPT, "kept = []\ndef f(x):\n    def step(c, e):\n        kept.append(c)\n        return c + e, None\n"
                       "    jax.lax.scan(step, 0.0, x)\n    return kept[-1] + 1  # here", (V3,)),
    "kept in a grad": (KEPT, "kept = []\ndef f(x):\n    jax.grad(lambda y: kept.append(y) or y.sum())(x)\n"
                       "    return kept[-1] * 2  # here", (V3,)),
    "kept in a vmap": (KEPT, "kept = []\ndef f(x):\n    jax.vmap(lambda y: kept.append(y) or y)(x)\n"
                       "    return kept[-1] * 2  # here", (V3,)),
    "kept as a global": (KEPT, "last = 0.0\ndef f(x):\n    global last\n    y = last + x  # here\n    last = x\n    return y", (V3,)),
    "key reuse": (KEY_TWICE, "def f(key):\n    a = jax.random.normal(key, (3,))\n"
                  "    b = jax.random.uniform(key, (3,))  # here\n    return a + b", (KEY,)),
    "key used after its split": (KEY_TWICE, "def f(key):\n    first, _ = jax.random.split(key)\n"
                                 "    return jax.random.normal(first) + jax.random.normal(key)  # here", (KEY,)),
    "key used in a loop": (KEY_TWICE, "def f(key):\n    return [jax.random.normal(key) for _ in range(3)]  # here", (KEY,)),
    "key used in a scan": (KEY_TWICE, "def f(key):\n    def step(c, _):\n        return c + jax.random.normal(key), None\n"
                           "    return jax.lax.scan(step, 0.0, None, length=3)[0]  # here", (KEY,)),
    "key of its own": (KEY_TWICE, "def f(x):\n    key = jax.random.key(0)\n    x = x + jax.random.normal(key, (3,))\n"
                       "    return x + jax.random.normal(key, (3,))  # here", (V3,)),
    "add": (SHAPES + "(3,), (4,).", "def f(x, y):\n    return x + y  # here", (V3, V4)),
    "subtract with other ranks": (SHAPES + "(4,), (2, 3).", "def f(x, y):\n    z = x - y  # here\n    return z", (V4, M23)),
    "where": (SHAPES + "(3,), (3,), (4,).", "def f(x, y):\n    return jnp.where(x > 0, x, y)  # here", (V3, V4)),
    "add in NumPy": (SHAPES + "(3,) (4,).", "def f(x):\n    return x + (np.ones(3) + np.ones(4))  # here", (V3,)),
    "matmul of vectors": (PRODUCT + "3 and 4.", "def f(x, y):\n    return x @ y  # here", (V3, V4)),
    "matmul": (PRODUCT + "3 and 2.", "def f(x):\n    return x @ x  # here", (M23,)),
    "dot": (PRODUCT + "3 and 2.", "def f(x):\n    return jnp.dot(x, x)  # here", (M23,)),
    "tensordot": (PRODUCT + "3 and 2.", "def f(x):\n    return jnp.tensordot(x, x, 1)  # here", (M23,)),
    "matmul with a number": (PRODUCT_SHAPES, "def f(x):\n    return x.sum() @ x  # here", (M23,)),
    "matmul of batches": (PRODUCT_SHAPES, "def f(x):\n    return jnp.zeros((2, 3, 4)) @ jnp.zeros((3, 4, 5))  # here", (V3,)),
    "dot_general": (PRODUCT_SHAPES, "def f(x):\n    dims = (((1,), (1,)), ((0,), (0,)))\n"
                    "    return jax.lax.dot_general(x, jnp.ones((4, 3)), dims)  # here", (M23,)),
    "matmul in NumPy": (PRODUCT_SHAPES, "def f(x):\n    return x @ (np.ones((2, 3)) @ np.ones((2, 3)))  # here", (M23,)),
    "dot in NumPy": (PRODUCT_SHAPES, "def f(x):\n    return x + np.ones((2, 3)).dot(np.ones((2, 3)))  # here", (M23,)),
    "scan without a length": (
        "jax.lax.scan was not told how often", "def f(x):\n    return jax.lax.scan(lambda c, _: (c, None), x, None)  # here", (V3,),
    ),
    "scan over a number": (
        "jax.lax.scan was given something to walk along",
        "def f(x):\n    return jax.lax.scan(lambda c, _: (c, None), x, 5)  # here",
        (V3,),
    ),
    "jax.scan": ("There is no jax.scan.", "def f(x):\n    return jax.scan(lambda c, _: (c, None), x, None, 3)  # here", (V3,)),
    "a dict's attribute": ("A dict's values are reached by their keys.", "def f(x):\n    return {'w': x}.w  # here", (V3,)),
    "a step with one argument": (
        "Your inner function step was called with another number of arguments",
        "def f(x):\n    def step(c):\n        return c, None\n    return jax.lax.scan(step, x, None, 3)  # here",
        (V3,),
    ),
    "a lambda with one argument": (
        "A lambda of yours was called with another number of arguments than it takes.",
        "def f(x):\n    return jax.lax.cond(x[0] > 0, lambda x: x, lambda x: -x)  # here",
        (V3,),
    ),
    "cond on many": ("The condition of jax.lax.cond is an array of many",
                     "def f(x):\n    return jax.lax.cond(x > 0, lambda: x, lambda: -x)  # here", (V3,)),
    "cond of values": ("jax.lax.cond was given a value where it takes a function.",
                       "def f(x):\n    return jax.lax.cond(x[0] > 0, x, -x)  # here", (V3,)),
    "while_loop on many": (ONE_CONDITION,
                           "def f(x):\n    return jax.lax.while_loop(lambda c: c > 0, lambda c: c - 1, x)  # here", (V3,)),
    "while_loop without return": (ONE_CONDITION, "def f(x):\n    def small(c):\n        c[0] < 1\n"
                                  "    return jax.lax.while_loop(small, lambda c: c + 1, x)  # here", (V3,)),
    "while_loop of a value": ("jax.lax.while_loop was given a value where it takes a function.",
                              "def f(x):\n    return jax.lax.while_loop(x[0] > 0, lambda c: c - 1, x)  # here", (V3,)),
    "a set that grows": ("A set was changed while a `for` loop was going through it.",
                         "def f(x):\n    s = {0}\n    for n in s:  # here\n        s.add(n + 1)\n    return x", (V3,)),
    "a dict that grows": ("A dict was changed while a `for` loop was going through it.",
                          "def f(x):\n    d = {0: x}\n    for n in d:  # here\n        d[n + 1] = x\n    return x", (V3,)),
    "next at the end of a stream": (
        "The stream came to its end in the middle of your generator",
        "def g():\n    yield next(iter([]))  # here\ndef f(x):\n    return list(g())[0]",
        (V3,),
    ),
    "item assignment": (IN_PLACE, "def f(x):\n    x[0] = 1.0  # here\n    return x", (V3,)),
    "item assignment of one's own": (IN_PLACE, "def f(x):\n    z = jnp.zeros(3)\n    z[0] += 1.0  # here\n    return z", (V3,)),
    "grad of a vector": (NOT_SCALAR, "def f(x):\n    return jax.grad(lambda p: p * 2)(x)  # here", (V3,)),
    "value_and_grad of a vector": (NOT_SCALAR, "def f(x):\n    return jax.value_and_grad(lambda p: p * 2)(x)  # here", (V3,)),
    "grad of a pair": (NOT_SCALAR, "def f(x):\n    return jax.grad(lambda p: (p.sum(), p))(x)  # here", (V3,)),
    "grad of nothing": ("The function that was given to jax.grad returns None.",
                        "def f(x):\n    def loss(p):\n        p.sum()\n    return jax.grad(loss)(x)  # here", (V3,)),
    "grad of a while_loop": ("JAX cannot differentiate backwards through a loop",
                             "def f(x):\n    def loss(p):\n        return jax.lax.while_loop(lambda c: c < 3, lambda c: c * p, 1.0)\n"
                             "    return jax.grad(loss)(x[0])  # here", (V3,)),
    "scan carry shape": (CARRY, "def f(x):\n    return jax.lax.scan(lambda c, e: (c + x, None), 0.0, x)  # here", (V3,)),
    "scan carry dtype": (CARRY, "def f(x):\n    start = jnp.int32(0)\n"
                         "    return jax.lax.scan(lambda c, e: (c + e, None), start, x)  # here", (V3,)),
    "scan carry structure": (CARRY, "def f(x):\n    return jax.lax.scan(lambda c, e: ((c, e), None), 0.0, x)  # here", (V3,)),
    "fori_loop carry": (CARRY, "def f(x):\n    return jax.lax.fori_loop(0, 3, lambda i, c: c + x, 0.0)  # here", (V3,)),
    "while_loop carry": (CARRY, "def f(x):\n    return jax.lax.while_loop(lambda c: True, lambda c: (c, c), 0.0)  # here", (V3,)),
    "while_loop carry dtype": (CARRY, "def f(x):\n    small = lambda c: c.sum() < 3\n"
                               "    return jax.lax.while_loop(small, lambda c: c.astype(int), x)  # here", (V3,)),
    "scan step that is no pair": (PAIR, "def f(x):\n    return jax.lax.scan(lambda c, e: c + e, 0.0, x)  # here", (V3,)),
    "scan step without return": (PAIR, "def f(x):\n    def step(c, e):\n        c + e\n    return jax.lax.scan(step, 0.0, x)  # here", (V3,)),
    "cond shapes": (BRANCHES, "def f(x):\n    return jax.lax.cond(x[0] > 0, lambda: x, lambda: 0.0)  # here", (V3,)),
    "cond structures": (BRANCHES, "def f(x):\n    return jax.lax.cond(x[0] > 0, lambda: (x, x), lambda: x)  # here", (V3,)),
    "switch shapes": (BRANCHES, "def f(x):\n    return jax.lax.switch(1, [lambda: x, lambda: x[0]])  # here", (V3,)),
    "argument missing": (ARGUMENTS + "g() missing 1 required positional argument: 'b'.",
                         "def g(a, b):\n    return a\ndef f(x):\n    return g(x)  # here", (V3,)),
    "keyword argument missing": (ARGUMENTS + "g() missing 1 required keyword-only argument: 'b'.",
                                 "def g(a, *, b):\n    return a\ndef f(x):\n    return g(x)  # here", (V3,)),
    "argument too many": (ARGUMENTS + "g() takes 1 positional argument but 2 were given.",
                          "def g(a):\n    return a\ndef f(x):\n    return g(x, x)  # here", (V3,)),
    "argument too many, with a default": (ARGUMENTS + "g() takes from 1 to 2 positional arguments but 3 were given.",
                                          "def g(a, b=1):\n    return a\ndef f(x):\n    return g(x, x, x)  # here", (V3,)),
    "argument twice": (ARGUMENTS + "g() got multiple values for argument 'a'.",
                       "def g(a):\n    return a\ndef f(x):\n    return g(x, a=x)  # here", (V3,)),
    "argument unknown": (ARGUMENTS + "sum() got an unexpected keyword argument 'axes'.",
                         "def f(x):\n    return jnp.sum(x, axes=0)  # here", (V3,)),
    "to be written": ("This is still to be written.", "def f(x):\n    raise NotImplementedError  # here", (V3,)),
    "to be written, said": ("the loss.",
                            "def f(x):\n    raise NotImplementedError('the loss')  # here", (V3,)),
    "missing module": ("The module 'no_such_module' cannot be imported here.",
                       "def f(x):\n    import no_such_module  # here\n    return x", (V3,)),
    "missing name in a module": ("There is no 'matmult' in 'jax.numpy' to import.",
                                 "def f(x):\n    from jax.numpy import matmult  # here\n    return x", (V3,)),
    "import error": ("An import failed (no display).", "def f(x):\n    raise ImportError('no display')  # here", (V3,)),
    "unknown name": ("Name 'xs' is not defined.", "def f(x):\n    return xs  # here", (V3,)),
    "variable without a value": ("The variable 'y' is used before it has a value.",
                                 "def f(x):\n    if x.ndim == 7:\n        y = x\n    return y  # here", (V3,)),
    "recursion": ("A function calls itself without an end.", "def f(x):\n    return f(x)  # here", (V3,)),
    "a variable twice": ("Variable 'w' is there already.", "from aidl_jax.scope import init\ndef model(scope, x):\n"
                         "    scope.get_variable('w', (3,))\n    return scope.get_variable('w', (3,))  # here\n"
                         "def f(x):\n    return init(model)(jax.random.key(0), x)", (V3,)),
    "memory": ("Your code asked for more memory than there is.", "def f(x):\n    return x + np.ones(1 << 45).sum()  # here", (V3,)),
    "sys.exit": ("Your code tried to end the program.", "def f(x):\n    import sys; sys.exit(0)  # here", (V3,)),
    "exit": ("Your code tried to end the program.", "def f(x):\n    raise SystemExit('bye')  # here", (V3,)),
    "pure_callback": (CALLS_BACK, "def f(x):\n    return jax.pure_callback(np.sin, x, x)  # here", (V3,)),
    "io_callback in a jit": (CALLS_BACK, "from jax.experimental import io_callback\n@jax.jit\ndef g(x):\n"
                             "    return io_callback(np.sin, x, x)  # here\ndef f(x):\n    return g(x)", (V3,)),
    "callback in a scan": (CALLS_BACK, "def f(x):\n    def step(c, e):\n"
                           "        return c, jax.pure_callback(np.sin, e, e)  # here\n    return jax.lax.scan(step, 0.0, x)", (V3,)),
    "something else": ("Your code raised KeyError: 'b'", "def f(x):\n    return {'w': x}['b']  # here", (V3,)),
    "something without words": ("Your code raised RuntimeError.", "def f(x):\n    raise RuntimeError  # here", (V3,)),
    "adding None": ("Your code raised TypeError: unsupported operand type(s) for +: 'JAX array' and 'NoneType'",
                    "def f(x):\n    return x + None  # here", (V3,)),
    "calling an array": ("Your code raised TypeError: 'JAX array' object is not callable", "def f(x):\n    return x(1)  # here", (V3,)),
    "too many indices": ("Your code raised IndexError: Too many indices", "def f(x):\n    return x[0, 0]  # here", (V3,)),
}  # fmt: skip


@pytest.mark.oldest
@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_told_with_the_students_own_line(name: str) -> None:
    message, source, inputs = MISTAKES[name]
    said = explained(source, *inputs)
    assert said["message"].startswith(message)
    lines = source.splitlines()
    number = next(n for n, line in enumerate(lines) if line.endswith("# here"))
    assert re.fullmatch(
        rf"line {number + 1}, in \S+: {re.escape(lines[number].strip())}", said["line"].splitlines()[-1]
    )


@pytest.mark.oldest
def test_every_row_is_made_by_one_of_these_mistakes(monkeypatch: pytest.MonkeyPatch) -> None:
    used: set[str] = set()

    def noting(name: str, said: Any) -> Any:
        def note(given: Any) -> Any:
            used.add(name)
            return said(given)

        return note

    names, texts = dict(words.BY_NAME), list(words.BY_TEXT)
    monkeypatch.setattr(words, "BY_NAME", {name: noting(name, said) for name, said in names.items()})
    monkeypatch.setattr(words, "BY_TEXT", [(pattern, noting(pattern, said)) for pattern, said in texts])
    for _, source, inputs in MISTAKES.values():
        explained(source, *inputs)
    assert used == {*names, *(pattern for pattern, _ in texts)}


@pytest.mark.parametrize("name", [name for name in MISTAKES if "raised" not in MISTAKES[name][0]])
def test_there_is_something_to_try(name: str) -> None:
    _, source, inputs = MISTAKES[name]
    said = explained(source, *inputs)
    if said["kind"] == "NotImplementedError":
        assert said["fix"] is None
    elif name != "import error":
        assert said["fix"].endswith((".", ")."))
        assert "Tracer" not in said["message"] + said["fix"]
        assert said["message"].endswith(".")


def test_a_carry_is_explained_for_the_loop_that_it_is_in() -> None:
    fixes = {name: explained(*[MISTAKES[name][1]], *MISTAKES[name][2])["fix"] for name in MISTAKES if "carry" in name}
    assert all(("jax.lax.scan" in fix) == name.startswith("scan") for name, fix in fixes.items())


def test_what_jax_cannot_do_is_not_called_unwritten() -> None:
    said = explained(
        "def f(x):\n    loss = lambda p: jnp.linalg.eig(jnp.outer(p, p))[1].real.sum()\n    return jax.grad(loss)(x)",
        V3,
    )
    assert said["kind"] == "unsupported"
    assert said["message"].startswith("Your code raised NotImplementedError: ")
    assert said["line"].splitlines()[1].startswith("line 2, in <lambda>")


def test_a_callback_is_not_called_unwritten() -> None:
    assert explained(MISTAKES["pure_callback"][1], V3)["kind"] == "unsupported"


@pytest.mark.parametrize(
    ("inputs", "said"), [((V3,), "f() missing 1 required"), ((V3, V3, V3), "f() takes 2 positional")]
)
def test_a_task_with_another_signature(inputs: Any, said: str) -> None:
    got = explained("def f(x, y):\n    return x", *inputs)
    assert said in got["message"]
    assert "a task's signature must stay as it was given" in got["fix"]


def test_the_call_and_the_innermost_own_line_are_shown() -> None:
    got = explained("def inner(x):\n    return x.no_such\n\ndef f(x):\n    return inner(x)", V3)
    assert got["line"] == "line 5, in f: return inner(x)\nline 2, in inner: return x.no_such"


def test_no_own_line_where_none_took_part() -> None:
    try:
        raise ValueError("elsewhere")
    except ValueError as error:
        got = explain.explain(error, {LABEL})
    assert got["line"] is None
    assert got["message"] == "Your code raised ValueError: elsewhere"


def test_a_notebooks_cell_is_named_and_the_top_level_is_not() -> None:
    frames = [("cell 3", "<module>"), ("cell 3", "f"), ("answer.py", "<module>"), ("answer.py", "f")]
    import traceback

    places = [explain.place(traceback.FrameSummary(file, 7, name, line="  x = 1 ")) for file, name in frames]
    assert places == ["cell 3, line 7: x = 1", "cell 3, line 7, in f: x = 1", "line 7: x = 1", "line 7, in f: x = 1"]


def test_addresses_do_not_make_two_runs_differ() -> None:
    source = "def f(x):\n    raise ValueError(object())"
    assert "0x..." in explained(source, V3)["message"]
    assert explained(source, V3) == explained(source, V3)


def test_long_and_odd_texts_are_cut_and_can_be_sent() -> None:
    got = explained("def f(x):\n    raise ValueError('\\ud800' + 'z' * 100_000)", V3)
    assert len(got["message"]) == len(got["traceback"]) == 4_000
    got["message"].encode()
    got["traceback"].encode()


def test_an_error_whose_text_cannot_be_made_is_still_told() -> None:
    source = "class Odd(Exception):\n    def __str__(self):\n        raise KeyError('w')\ndef f(x):\n    raise Odd"
    got = explained(source, V3)
    assert got["kind"] == "Odd"
    assert got["line"] == "line 5, in f: raise Odd"
