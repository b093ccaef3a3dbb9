"""Graphs of which a size is open until they run: compiled through `jax.export`, and what cannot be done with them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import jax

from aidl_jax._compat import calls_python, equations, export_platform, jaxpr_as_fun, symbols
from aidl_jax.errors import GraphError
from aidl_jax.graph.nodes import Tensor, describe

if TYPE_CHECKING:
    from aidl_jax.graph.graph import Graph

__all__ = ["check_callbacks", "compiled", "exported", "open_sizes"]


def open_sizes(jaxpr: Any) -> set[str]:
    """The names of the sizes that are open in what a program computes."""
    return {name for equation in equations(jaxpr) for name in _symbols(equation)}


def exported(closed: Any, fed: Sequence[Tensor], device: Any) -> Callable[..., Any]:
    """Compiled through `jax.export` with its symbolic dimensions left open, so that it serves every size."""
    specs = [jax.ShapeDtypeStruct(one.shape, one.dtype) for one in fed]
    told = ", ".join(map(str, fed))
    try:
        found = jax.export.export(jax.jit(jaxpr_as_fun(closed)), platforms=[export_platform(device)])(*specs)
    except ValueError as error:
        raise GraphError(
            "the sizes that are left open cannot be told from what is fed",
            given=told,
            fix="feed a tensor that has each of them as a dimension of its own",
        ) from error

    def call(*values: Any) -> Any:
        try:
            return found.call(*values)
        except ValueError as error:
            raise GraphError(
                "the sizes of what is fed do not fit together",
                given=", ".join(describe(value.shape, value.dtype) for value in values),
                expected=told,
                fix="feed values of one batch",
            ) from error

    return call


def check_callbacks(graph: Graph, units: set[Any]) -> None:
    """What is compiled for every size cannot call back into Python."""
    for name, step in graph.steps.items():
        around = units.intersection((step, *step.calls))
        if calls_python(step.equation) and any(calls_python(unit.equation) for unit in around):
            raise GraphError(
                f"{name!r} calls a Python function, which a graph of an open size cannot do",
                fix="trace it with a number in place of None, or fetch what does not need it",
            )


def compiled(fn: Callable[..., Any], fed: Sequence[Tensor]) -> Callable[..., Any]:
    """The function compiled; where a size is open, what JAX cannot do with it is said in its place."""
    jitted = jax.jit(fn)
    if not any(symbols(tensor.shape) for tensor in fed):
        return jitted

    @functools.wraps(fn)
    def call(*values: Any) -> Any:
        try:
            return jitted(*values)
        except (NotImplementedError, TypeError) as error:
            told = _refused(error)
            if told is None:
                raise
            raise told from error

    vars(call).update(lower=jitted.lower, trace=jitted.trace, eval_shape=jitted.eval_shape)  # as a jitted function's
    return call


def _refused(error: Exception) -> GraphError | None:
    """What JAX cannot do with an exported function, told by the words of its error."""
    text = str(error)
    if isinstance(error, NotImplementedError) and "call_exported" in text:
        what, fix = "vmapped", "feed the whole batch at once"
    elif isinstance(error, TypeError) and "jvp" in text and "custom_vjp" in text:
        what, fix = "differentiated in forward mode", "differentiate in reverse mode, jax.grad or jax.vjp"
    else:
        return None
    return GraphError(
        f"a graph with a batch of any size cannot be {what}", fix=f"trace it with a number in place of None, or {fix}"
    )


def _symbols(equation: Any) -> Iterable[str]:
    for variable in equation.outvars:
        yield from symbols(variable.aval.shape)
    for given in equation.params.values():
        yield from symbols(given)
