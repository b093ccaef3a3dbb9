"""What forward and reverse mode share: running a graph operation by operation, and the path a derivative takes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from aidl_jax import _compat
from aidl_jax.autodiff.loops import LOOPS
from aidl_jax.autodiff.rules import RULES
from aidl_jax.errors import AutodiffError
from aidl_jax.graph import Graph, Operation, Tensor

__all__ = ["Path", "evaluate", "find_path", "inputs_of", "is_float", "operands", "run", "start"]

CUTS = ("stop_gradient",)


class Path(NamedTuple):
    """The part of a graph that leads from what is differentiated to what is returned.

    Args:
        operations: those that a derivative goes through, in topological order.
        active: the names of the tensors that it goes through: floats that depend on what is differentiated.
    """

    operations: list[Operation]
    active: set[str]


def inputs_of(graph: Graph) -> list[Tensor]:
    """The tensors that a function is given, in the order of its arguments' leaves."""
    return [tensor for _, tensors in graph.arguments.values() for tensor in tensors]


def is_float(tensor: Any) -> bool:
    """Whether something with a dtype is made of real numbers: only those have derivatives here."""
    return bool(jnp.issubdtype(tensor.dtype, np.floating))


def start(graph: Graph, leaves: Sequence[Any]) -> dict[str, Any]:
    """The values that are there before anything runs: arguments and constants, by tensor name."""
    pairs = zip(inputs_of(graph), leaves, strict=True)
    given = {tensor.name: jnp.asarray(value) for tensor, value in pairs}
    constants = graph.program.constants
    return given | {one.name: constants[graph.variable_of[one.name]] for one in graph.constants}


def operands(operation: Operation, values: dict[str, Any]) -> list[Any]:
    """What goes into an operation: values of tensors, and numbers that are written into the program."""
    return [values[one.name] if isinstance(one, Tensor) else one for one in operation.operands]


def run(graph: Graph, operation: Operation, given: Sequence[Any]) -> list[Any]:
    """The outputs of one operation for its operands."""
    if operation.custom == "relu":
        return [jax.nn.relu(given[0])]  # so that it is known as relu when this is differentiated again
    return _compat.applied(graph.steps[operation.name].equation, graph.program.jaxpr, given)


def evaluate(graph: Graph, leaves: Sequence[Any]) -> dict[str, Any]:
    """Runs a graph, operation by operation, and returns the value of every tensor by name."""
    values = start(graph, leaves)
    for operation in graph.operations():
        if operation.name in graph.steps:
            outputs = run(graph, operation, operands(operation, values))
            values |= {out.name: value for out, value in zip(operation.outputs, outputs, strict=True)}
    return values


def find_path(graph: Graph, sources: Iterable[Tensor]) -> Path:
    """The operations through which some inputs reach the outputs as floats.

    Raises:
        AutodiffError: one of them has no rule, or a rule of its own that would be passed over.
    """
    needed = {out.name for out in jax.tree.leaves(graph.outputs)}
    for operation in reversed(graph.operations()):
        if operation.type not in CUTS and any(is_float(out) and out.name in needed for out in operation.outputs):
            needed |= {given.name for given in operation.inputs}
    active = {tensor.name for tensor in sources}
    path = []
    for operation in graph.operations():
        reached = any(given.name in active for given in operation.inputs) and operation.type not in CUTS
        floats = [out.name for out in operation.outputs if is_float(out)]
        if reached and not needed.isdisjoint(floats):
            _check_rule(graph, operation)
            active |= set(floats)
            path.append(operation)
    return Path(path, active)


def _check_rule(graph: Graph, operation: Operation) -> None:
    where = str(operation.source) if operation.source else None
    own = [call for call in graph.steps[operation.name].calls if _compat.rule_written_outside_jax(call.equation)]
    if own or operation.type.startswith("custom_"):
        name = own[0].custom if own else operation.attributes.get("name", operation.type)
        raise AutodiffError(
            f"{name} has a derivative rule of its own, which is not looked at here",
            given=f"the operation {operation.name!r}",
            where=where,
            fix="leave the decorator (jax.custom_vjp, jax.custom_jvp) off, or use jax.grad",
        )
    if operation.type not in RULES and operation.type not in LOOPS:
        raise AutodiffError(
            f"there is no rule for the derivative of {operation.type!r}",
            given=f"the operation {operation.name!r}",
            where=where,
            fix="write it with operations that have one (see aidl_jax.autodiff.RULES), put it in "
            "jax.lax.stop_gradient if its derivative is not wanted, or use jax.grad",
        )
