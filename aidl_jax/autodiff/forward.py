"""Forward mode by dual numbers: every value goes with its tangent, how fast it changes.

A dual number x + x' e computes with e * e = 0. Then f(x + x' e) = f(x) + f'(x) x' e: one run gives the value and
the derivative along one direction, and nothing is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from aidl_jax.autodiff.arguments import check_like, flat_floats, traced
from aidl_jax.autodiff.evaluation import find_path, inputs_of, operands, run, start
from aidl_jax.autodiff.local import push
from aidl_jax.autodiff.loops import LOOPS, loop_push, zeros
from aidl_jax.graph import Graph, Operation, Tensor

__all__ = ["Dual", "jvp"]


class Dual(NamedTuple):
    """A value and its tangent; None for a tangent that is 0 for sure."""

    value: Any
    tangent: Any


def jvp(fn: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
    """The value of a function, and its derivative along a direction.

    Args:
        fn: a function of arrays of floats (or pytrees of them) that JAX can trace.
        primals: its arguments.
        tangents: the direction, of the same structure, shapes and dtypes.

    Returns:
        The value, and how fast it changes when the arguments move by `tangents`; both of the same structure.

    Raises:
        AutodiffError: an argument is not made of floats, a tangent does not fit, or an operation has no rule.

    >>> value, slope = jvp(lambda x: x * x, [3.0], [1.0])
    >>> float(value), float(slope)
    (9.0, 6.0)
    """
    check_like("tangents", tuple(tangents), tuple(primals))
    graph = traced(fn, primals)
    flat = flat_floats(graph, primals)
    outputs, slopes = forward(graph, flat, list(map(jnp.asarray, jax.tree.leaves(tuple(tangents)))))
    structure = jax.tree.structure(graph.outputs)
    return jax.tree.unflatten(structure, outputs), jax.tree.unflatten(structure, slopes)


def forward(graph: Graph, leaves: Sequence[Any], tangents: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    """Runs a graph on dual numbers; a tangent is None for what is no float, going in and coming out."""
    moving = {one.name: tangent for one, tangent in zip(inputs_of(graph), tangents, strict=True) if tangent is not None}
    path = {one.name for one in find_path(graph, [one for one in inputs_of(graph) if one.name in moving]).operations}
    duals = {name: Dual(value, moving.get(name)) for name, value in start(graph, leaves).items()}
    for operation in graph.operations():
        if operation.name in graph.steps:
            values = {one.name: duals[one.name].value for one in operation.inputs}
            outputs = run(graph, operation, operands(operation, values))
            values |= {one.name: value for one, value in zip(operation.outputs, outputs, strict=True)}
            slopes = _slopes(graph, operation, values, duals) if operation.name in path else [None] * len(outputs)
            duals |= {one.name: Dual(*dual) for one, *dual in zip(operation.outputs, outputs, slopes, strict=True)}
    results = jax.tree.leaves(graph.outputs)
    slopes = [zeros(one) if duals[one.name].tangent is None else duals[one.name].tangent for one in results]
    return [duals[one.name].value for one in results], slopes


def _slopes(graph: Graph, operation: Operation, values: dict[str, Any], duals: dict[str, Dual]) -> list[Any]:
    """The tangents of an operation's outputs: what each input's tangent brings, added up."""
    given = operands(operation, values)
    moving = [duals[one.name].tangent if isinstance(one, Tensor) else None for one in operation.operands]
    if operation.type in LOOPS:
        return list(loop_push(operation, given, moving, forward))
    brought = [
        push(operation, number, tangent, values, lambda given: run(graph, operation, given))
        for number, tangent in enumerate(moving)
        if tangent is not None
    ]
    return [sum(parts[1:], parts[0]) for parts in zip(*brought, strict=True)]
