"""Where a function has kinks and jumps, and on which side of them a point is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from aidl_jax.autodiff.evaluation import evaluate, operands
from aidl_jax.autodiff.windows import largest
from aidl_jax.graph import Graph, Operation

__all__ = ["sides"]

KINKS: dict[str, Callable[..., Any]] = {  # on which side of its kinks or jumps an operation is
    "max": lambda one, x, y: np.sign(x - y),
    "min": lambda one, x, y: np.sign(x - y),
    "abs": lambda one, x: np.sign(x),
    "sign": lambda one, x: np.sign(x),
    "floor": lambda one, x: np.floor(x),
    "ceil": lambda one, x: np.ceil(x),
    "round": lambda one, x: np.round(x),
    "clamp": lambda one, low, x, high: np.sign(x - low) + np.sign(x - high),
    "reduce_max": lambda one, x: x == np.max(x, one.attributes["axes"], keepdims=True),
    "reduce_min": lambda one, x: x == np.min(x, one.attributes["axes"], keepdims=True),
}


def sides(graph: Graph, args: Sequence[Any]) -> list[tuple[Operation, np.ndarray]]:
    """For each operation that has kinks or jumps, where it stands to them; those inside of loops are not looked at.

    >>> from aidl_jax.graph import trace
    >>> [(one.name, side.item()) for one, side in sides(trace(jnp.abs, 1.0), [-2.0])]
    [('abs', -1.0)]
    """
    values = evaluate(graph, jax.tree.leaves(args))
    found = []
    for operation in graph.operations():
        if operation.name in graph.steps:
            outputs = [values[out.name] for out in operation.outputs]
            found += [(operation, np.asarray(side)) for side in _of(operation, operands(operation, values), outputs)]
    return found


def _of(operation: Operation, given: Sequence[Any], outputs: Sequence[Any]) -> list[Any]:
    if operation.type in KINKS:
        return [KINKS[operation.type](operation, *map(np.asarray, given))]
    if operation.type == "reduce_window_max":
        return [jnp.stack([mask for _, mask in largest(given[0], outputs[0], operation.attributes)])]
    return [out for out in outputs if jnp.issubdtype(out.dtype, np.integer) or out.dtype == bool]
