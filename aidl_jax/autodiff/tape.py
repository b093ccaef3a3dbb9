"""The way forward leaves a tape, the way back reads it from its end: what reverse mode and its explanation share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax

from aidl_jax.autodiff.evaluation import Path, evaluate, find_path, inputs_of, is_float
from aidl_jax.autodiff.local import held, pull
from aidl_jax.autodiff.loops import LOOPS, check_way_back, loop_pull, zeros
from aidl_jax.graph import Graph, Operation, Tensor

__all__ = ["BackwardStep", "Tape", "add", "backward_steps", "go_back", "record", "residuals_of", "way_back"]


class Tape(NamedTuple):
    """What the way forward leaves for the way back.

    Args:
        path: the operations to go back through, in the order in which they ran.
        held: the values that they need, by tensor name.
    """

    path: Path
    held: dict[str, Any]


class BackwardStep(NamedTuple):
    """A gradient passed on from an operation's outputs to one of its inputs.

    Args:
        operation: which one.
        number: which of its inputs.
        upstream: the gradients of its outputs.
        result: upstream times local derivative: what comes this way.
        total: the input's gradient so far, with what came other ways before.
    """

    operation: Operation
    number: int
    upstream: list[Any]
    result: Any
    total: Any

    @property
    def input(self) -> Tensor:
        """The tensor that the gradient is passed on to."""
        return self.operation.operands[self.number]


def record(graph: Graph, leaves: Sequence[Any], sources: Sequence[Tensor]) -> tuple[list[Any], Tape]:
    """Runs a graph and keeps what the way back needs, and no more.

    Args:
        graph: a function's.
        leaves: its arguments' leaves.
        sources: the tensors to differentiate by.

    Returns:
        What the function returns, flat; and the tape.
    """
    path = way_back(graph, sources)
    values = evaluate(graph, leaves)
    kept = {one.name: values[one.name] for operation in path.operations for one in residuals_of(operation, path)}
    return [values[out.name] for out in jax.tree.leaves(graph.outputs)], Tape(path, kept)


def way_back(graph: Graph, sources: Sequence[Tensor]) -> Path:
    """The operations that gradients go through.

    Raises:
        AutodiffError: one of them has no rule, or is a while loop; known before anything runs.
    """
    path = find_path(graph, sources)
    for operation in path.operations:
        check_way_back(operation)
    return path


def residuals_of(operation: Operation, path: Path) -> list[Tensor]:
    """The tensors whose values one operation needs on the way back."""
    if operation.type in LOOPS:
        return list(operation.inputs)
    return [one for number in _active(operation, path) for one in held(operation, number)]


def _active(operation: Operation, path: Path) -> list[int]:
    """The inputs that a gradient goes to."""
    return [
        number for number, one in enumerate(operation.operands) if isinstance(one, Tensor) and one.name in path.active
    ]


def go_back(tape: Tape, sources: Sequence[Tensor], gradients: dict[str, Any]) -> list[Any]:
    """The gradients of the sources, from gradients of the outputs."""
    for _ in backward_steps(tape, gradients):
        pass
    return [gradients[one.name] if one.name in gradients else zeros(one) for one in sources]


def backward_steps(tape: Tape, gradients: dict[str, Any]) -> Iterator[BackwardStep]:
    """Goes back through the operations, last one first.

    Args:
        tape: what the way forward left.
        gradients: by tensor name; at first those of the outputs. What has been passed on is taken out.
    """
    for operation in reversed(tape.path.operations):
        known = [gradients.pop(out.name, None) for out in operation.outputs]
        if any(one is not None for one in known):
            upstream = [zeros(out) if one is None else one for out, one in zip(operation.outputs, known, strict=True)]
            scope = "/".join(filter(None, ("gradients", operation.scope)))
            with jax.named_scope(scope):
                results = _results(operation, tape, upstream)
                for number in _active(operation, tape.path):
                    total = add(gradients, operation.operands[number].name, results[number])
                    yield BackwardStep(operation, number, upstream, results[number], total)


def _results(operation: Operation, tape: Tape, upstream: list[Any]) -> Any:
    """What goes to each input that a gradient goes to, by its number."""
    if operation.type in LOOPS:
        given = [tape.held[one.name] if isinstance(one, Tensor) else one for one in operation.operands]
        return loop_pull(operation, given, upstream, _backward)
    return {number: pull(operation, number, upstream, tape.held) for number in _active(operation, tape.path)}


def add(gradients: dict[str, Any], name: str, more: Any) -> Any:
    """Adds to a tensor's gradient, and returns it."""
    gradients[name] = gradients[name] + more if name in gradients else more
    return gradients[name]


def _backward(body: Graph, leaves: Sequence[Any], upstream: Sequence[Any]) -> list[Any]:
    """Reverse mode on the body of a loop."""
    sources = [one for one in inputs_of(body) if is_float(one)]
    _, tape = record(body, leaves, sources)
    gradients: dict[str, Any] = {}
    for out, gradient in zip(jax.tree.leaves(body.outputs), upstream, strict=True):
        if gradient is not None:
            add(gradients, out.name, gradient)
    found = iter(go_back(tape, sources, gradients))
    return [next(found) if is_float(one) else None for one in inputs_of(body)]
