"""A request becomes an exported function: trace twice, compare, serialize flat. Runs in the worker.

The student's functions see abstract arrays only: shapes and dtypes, never a hidden value.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from aidl_jax import _compat
from aidl_jax.errors import ProtocolError
from aidl_jax.exercise import plain, trees
from aidl_jax.grade.drivers import DRIVERS
from aidl_jax.grade.explain import AnswerError, Impure
from aidl_jax.grade.printed import Printed

# Looked up here, before a hand-in is loaded, so that one which rebinds `jax.grad` or `jax.random.normal` does not change what
# a request asks for. That alone guarantees nothing, since student code shares this process and can reach this table too:
# what is expected is always computed by the judge.
LIBRARY = {
    f"{module.__name__}.{name}": function
    for module in (jnp, jax.nn, jax.lax, jax.random)
    for name, function in vars(module).items()
    if callable(function) and not name.startswith("_")
}
TRANSFORMS = {"grad": jax.grad, "value_and_grad": jax.value_and_grad, "vmap": jax.vmap, "jit": jax.jit}
VJP, JVP = jax.vjp, jax.jvp

jax.tree_util.register_pytree_node(
    trees.NamedTree,
    lambda tree: (tuple(tree), (tree._name, tree._fields)),
    lambda named, children: trees.NamedTree(named[0], named[1], children),
)


IMPURE_FIX = (
    "Let it depend on its arguments alone: no global that changes, no np.random, no time; randomness comes from a key."
)


def export_request(
    body: Any, specs: Sequence[Any], functions: Mapping[str, Any], *, twice: bool = True
) -> tuple[bytes, trees.Structure]:
    """Traces a request's expression at its shapes and serializes it.

    Args:
        body: the expression, as `aidl_jax.exercise.expressions.lower` wrote it.
        specs: `[shape, dtype]` of each hidden input.
        functions: the student's functions by name.
        twice: whether it is traced a second time, to tell whether it is pure.

    Returns:
        The function from flat inputs to flat outputs, serialized by `jax.export` without
        derivatives, and the tree structure of the answer.

    Raises:
        Impure: two traces gave two different computations.
        AnswerError: the answer is not a tree of arrays and numbers.
        Exception: whatever the student's code raises while it is traced.
    """
    structures: list[trees.Structure] = []

    def flat(*inputs: jax.Array) -> list[jax.Array]:
        answer = interpret(body, functions, inputs)
        if answer is None:
            raise AnswerError("Your function returned None; it may have forgotten its `return`.")
        leaves, structure = trees.flatten(answer)
        structures.append(structure)
        return [_array(leaf) for leaf in leaves]

    arguments = [jax.ShapeDtypeStruct(tuple(shape), np.dtype(dtype)) for shape, dtype in specs]
    if twice:
        first = _trace_unheard(flat, arguments)
        jax.clear_caches()  # so that nothing is reused of the first trace, nor of an earlier request's
    fresh = _fresh(flat)
    traced = _trace(fresh, arguments)
    if twice and (structures[0] != structures[1] or not _same(first, traced)):
        raise Impure(IMPURE_FIX)
    _compat.check_key_reuse(traced)
    _refuse_callbacks(traced)
    exported = jax.export.export(jax.jit(fresh, keep_unused=True), platforms=["cpu"])(*arguments)
    if len(structures) != 1 + twice:  # JAX knows what it has just traced, unless the function has made it forget
        raise Impure(IMPURE_FIX)
    return bytes(exported.serialize(vjp_order=0)), structures[0]


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """What is printed meanwhile goes nowhere."""
    with (
        open(os.devnull, "w", encoding="utf-8", errors="replace") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        yield


def _trace_unheard(flat: Callable[..., Any], arguments: Sequence[jax.ShapeDtypeStruct]) -> _compat.ClosedJaxpr:
    """A trace whose prints are heard only if it ends in an error: the next one prints all of them again."""
    held = Printed()
    try:
        with contextlib.redirect_stdout(held), contextlib.redirect_stderr(held):
            return _trace(_fresh(flat), arguments)
    except BaseException:
        print(held.text(), end="")
        raise


def _fresh(flat: Callable[..., Any]) -> Callable[..., Any]:
    """The same function as one that JAX cannot know yet."""

    def fresh(*inputs: jax.Array) -> Any:
        return flat(*inputs)

    return fresh


def _trace(fresh: Callable[..., Any], arguments: Sequence[jax.ShapeDtypeStruct]) -> _compat.ClosedJaxpr:
    traced = jax.make_jaxpr(fresh)(*arguments)
    _compat.check_leaks(traced)
    return traced


def _refuse_callbacks(traced: _compat.ClosedJaxpr) -> None:
    """Before `jax.export` does, which no longer knows the line."""
    for equation in _compat.equations(traced.jaxpr):
        if "callback" in equation.primitive.name:
            raise _compat.traced_at(NotImplementedError(equation.primitive.name), equation.source_info)


def _same(one: _compat.ClosedJaxpr, other: _compat.ClosedJaxpr) -> bool:
    texts = [re.sub(r"0x[0-9a-f]+", "", str(closed.jaxpr)) for closed in (one, other)]
    constants = [list(map(_plain, _compat.constants(closed))) for closed in (one, other)]
    return (
        texts[0] == texts[1]
        and len(constants[0]) == len(constants[1])
        and all(np.array_equal(a, b, equal_nan=a.dtype.kind in "fc") for a, b in zip(*constants, strict=True))
    )


def _plain(constant: Any) -> np.ndarray:
    is_key = jnp.issubdtype(getattr(constant, "dtype", None), jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(constant) if is_key else constant)


def _array(leaf: Any) -> jax.Array:
    """A leaf of an answer as a strong array: a Python float is float32, a PRNG key its data."""
    if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return jax.random.key_data(leaf)
    if isinstance(leaf, jax.Array | np.ndarray | np.generic) or type(leaf) in (bool, int, float):
        array = jnp.asarray(leaf)
        return jax.lax.convert_element_type(array, array.dtype)
    if callable(leaf):
        name = getattr(leaf, "__name__", type(leaf).__name__)
        raise AnswerError(f"Your function returned the function {name} where an array was expected: it was not called.")
    raise AnswerError(f"Your function returned a value of type {type(leaf).__name__} where an array was expected.")


def interpret(
    body: Any,
    functions: Mapping[str, Any],
    inputs: Sequence[Any],
    streams: Sequence[Iterator[Any]] = (),
) -> Any:
    """The value of an expression, given the values of its inputs."""

    def visit(node: Any, variables: Mapping[int, Any]) -> Any:
        here = functools.partial(visit, variables=variables)
        match node:
            case ["input", index]:
                return inputs[index]
            case ["key", index]:
                return jax.random.wrap_key_data(jnp.asarray(inputs[index]))
            case ["student", name]:
                return functions[name]
            case ["library", name]:
                return _library(name)
            case ["static", packed]:
                return plain.unpack(packed)
            case ["variable", number]:
                return variables[number]
            case ["tree", structure, leaves]:
                return trees.unflatten(structure, [here(leaf) for leaf in leaves])
            case ["call", callee, args, kwargs]:
                return here(callee)(*map(here, args), **{name: here(a) for name, a in kwargs.items()})
            case ["function", parameters, inner]:
                return lambda *args: visit(inner, {**variables, **dict(zip(parameters, args, strict=True))})
            case ["transform", name, of, options]:
                return _transform(name, here(of), options)
            case ["attribute", of, name]:
                return getattr(here(of), name)
            case ["item", of, key]:
                return here(of)[key]
            case ["stream", index]:
                return streams[index]
        raise ProtocolError("an expression is malformed", given=repr(node)[:80])

    return visit(body, {})


def _library(name: str) -> Any:
    if name not in LIBRARY:
        raise ProtocolError("this is not a function of JAX that a request may name", given=name)
    return LIBRARY[name]


def _transform(name: str, of: Callable[..., Any], options: Mapping[str, Any]) -> Any:
    given = {key: tuple(v) if isinstance(v, list) else v for key, v in options.items()}
    if name in DRIVERS:
        return DRIVERS[name](of)
    if name in TRANSFORMS:
        return TRANSFORMS[name](of, **given)
    match name:
        case "vjp":
            return lambda primals, cotangents: VJP(of, *primals)[1](cotangents)
        case "jvp":
            return lambda primals, tangents: JVP(of, tuple(primals), tuple(tangents))
    raise ProtocolError("this is not a transformation that a request may name", given=name)
