"""What a function is differentiated at, and along: traced, and checked before anything runs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from aidl_jax.autodiff.evaluation import is_float
from aidl_jax.errors import AutodiffError
from aidl_jax.graph import Graph, Tensor, trace

__all__ = ["check_like", "check_scalar", "check_values", "chosen", "flat_floats", "traced"]


def traced(fn: Callable[..., Any], args: Sequence[Any]) -> Graph:
    """The graph of a function at some arguments.

    Raises:
        AutodiffError: it is no function, or takes another number of arguments.
    """
    if not callable(fn):
        raise AutodiffError(
            "this is not a function", given=repr(fn), fix="pass the function without calling it: grad(loss)"
        )
    try:
        signature = inspect.signature(fn)
        signature.bind(*args)
    except TypeError as error:
        raise AutodiffError(
            f"{getattr(fn, '__name__', 'the function')} cannot be called with these arguments",
            given=f"{len(args)} of them",
            expected=f"{signature}",
            fix="give what it is differentiated at, one value for each argument",
        ) from error
    except ValueError:
        pass  # a function of C code that does not say what it takes
    return trace(fn, *args)


def check_values(name: str, args: Sequence[Any]) -> None:
    """Raises `AutodiffError` where there are no values, but only shapes."""
    if any(isinstance(leaf, jax.core.Tracer | jax.ShapeDtypeStruct) for leaf in jax.tree.leaves(args)):
        raise AutodiffError(
            f"{name} looks at values, and here are only shapes",
            fix=f"call {name} with arrays, outside of jax.jit, jax.vmap and jax.grad",
        )


def chosen(graph: Graph, argnums: Sequence[int]) -> list[Tensor]:
    """The tensors of some arguments, which have to be floats.

    Raises:
        AutodiffError: there is no such argument, or something in it is not made of floats.
    """
    arguments = list(graph.arguments.values())
    for number in argnums:
        if not 0 <= number < len(arguments):
            raise AutodiffError(
                "there is no such argument",
                given=f"argnums={number}",
                expected=f"a number from 0 to {len(arguments) - 1}",
                fix="count from 0",
            )
    tensors = [tensor for number in argnums for tensor in arguments[number][1]]
    for tensor in tensors:
        _check_float(tensor)
    return tensors


def flat_floats(graph: Graph, args: Sequence[Any]) -> list[Any]:
    """The arguments' leaves, all of which have to be floats."""
    chosen(graph, range(len(args)))
    return jax.tree.leaves(tuple(args))


def _check_float(tensor: Tensor) -> None:
    if is_float(tensor):
        return
    name, dtype = tensor.name.partition(":")[0], getattr(tensor.dtype, "name", str(tensor.dtype))
    if jnp.issubdtype(tensor.dtype, np.complexfloating):
        raise AutodiffError(
            "the derivative by a complex number is not defined here",
            given=f"{name}: {dtype}",
            fix="differentiate by its real and imaginary parts, as two arguments",
        )
    raise AutodiffError(
        "an integer cannot move by a little, so there is no derivative by it",
        given=f"{name}: {dtype}",
        expected="floats",
        where=name,
        fix="write 3.0 in place of 3, or x.astype(jnp.float32); if it is data, such as labels, name the argument to "
        "differentiate by, argnums=0, or close over it",
    )


def check_scalar(graph: Graph) -> Tensor:
    """The loss: the one float that a function returns.

    Raises:
        AutodiffError: it returns something else.
    """
    outputs = jax.tree.leaves(graph.outputs)
    told = ", ".join(str(one).partition(" ")[2] for one in outputs) or "nothing"
    if len(outputs) != 1 or outputs[0].shape != ():
        fix = "return one number: the mean or the sum, losses.mean()"
        if len(outputs) > 1:
            fix = "return the loss alone"
        raise AutodiffError(
            f"the gradient is that of one number, and {graph.name} returns something else",
            given=told,
            expected="a float of shape ()",
            where=_source(graph, outputs[0]) if outputs else None,
            fix=f"{fix}; for a vector use vjp or jvp, which take a direction",
        )
    if not is_float(outputs[0]):
        raise AutodiffError(
            "the loss is no real number, so it cannot change by a little",
            given=told,
            expected="a float of shape ()",
            where=_source(graph, outputs[0]),
            fix="compute the loss from floats: a cross-entropy in place of a count of mistakes",
        )
    return outputs[0]


def _source(graph: Graph, tensor: Tensor) -> str | None:
    source = graph.nodes[tensor.operation].source
    return str(source) if source else None


def check_like(name: str, given: Any, expected: Any) -> None:
    """Raises `AutodiffError` where two pytrees differ in structure, shapes or dtypes."""
    if jax.tree.structure(given) != jax.tree.structure(expected):
        raise AutodiffError(
            f"the {name} are not built like what they belong to",
            given=str(jax.tree.structure(given)),
            expected=str(jax.tree.structure(expected)),
            fix="jax.tree.map(jnp.ones_like, ...) makes something of the same structure",
        )
    pairs = zip(jax.tree_util.tree_leaves_with_path(given), jax.tree.leaves(expected), strict=True)
    for (path, one), other in pairs:
        if _described(one) != _described(other):
            raise AutodiffError(
                f"one of the {name} has another shape or dtype than what it belongs to",
                given=_described(one),
                expected=_described(other),
                where=name + jax.tree_util.keystr(path),
                fix="make it of the same shape and dtype: one number for each number",
            )


def _described(value: Any) -> str:
    dtype = value.dtype if hasattr(value, "dtype") else jnp.result_type(value)
    return f"{dtype}{list(np.shape(value))}"
