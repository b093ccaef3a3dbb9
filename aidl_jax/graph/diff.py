"""Where two functions begin to differ."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from aidl_jax._compat import Literal, holds_jaxpr
from aidl_jax.errors import GraphError
from aidl_jax.graph.feeding import slots_of
from aidl_jax.graph.flatten import Program
from aidl_jax.graph.gaps import as_numbers, gap
from aidl_jax.graph.nodes import Operation, Tensor, describe
from aidl_jax.graph.running import run

if TYPE_CHECKING:
    from aidl_jax.graph.graph import Graph

__all__ = ["Difference", "diff"]


@dataclass(frozen=True, eq=False)
class Difference:
    """The first operation at which two functions differ.

    Args:
        here: the operation of the first function that the other has not; None if it has them all.
        there: the first operation of the other function that this one has not; None if it has them all.
        what: how they differ, in words.
        values: what the two operations give for the feeds; None without feeds, or where there is only one of them.
        outputs: the largest difference between what the two functions return for the feeds; None without feeds, or
            where they return arrays of other shapes or dtypes.
    """

    here: Operation | None
    there: Operation | None
    what: str
    values: tuple[Any, Any] | None = None
    outputs: float | None = None

    def __str__(self) -> str:
        lines = [self.what]
        if self.here or self.there:
            lines += [f"  here:  {_told(self.here)}", f"  there: {_told(self.there)}"]
        if self.values:
            lines += [
                f"  {side + ':':<7}{as_numbers(value)}"
                for side, value in zip(("here", "there"), self.values, strict=True)
            ]
        if self.outputs is not None:
            lines.append(f"  what they return differs by at most {self.outputs:.6g}")
        return "\n".join(lines)


def diff(graph: Graph, other: Graph, feeds: Mapping[Any, Any] | None) -> Difference | None:
    """See `Graph.diff`."""
    ours, theirs = _fingerprints(graph), _fingerprints(other)
    here, there = _first_not_in(graph, ours, set(theirs.values())), _first_not_in(other, theirs, set(ours.values()))
    if here is None and there is None and _returned(graph, ours) == _returned(other, theirs):
        return None
    what = _what(here, there)
    if feeds is None:
        return Difference(here, there, what)
    return Difference(here, there, what, *_values(graph, other, feeds, here, there))


def _first_not_in(graph: Graph, marks: Mapping[str, str], known: set[str]) -> Operation | None:
    return next((graph.nodes[name] for name, mark in marks.items() if mark not in known), None)


def _what(here: Operation | None, there: Operation | None) -> str:
    if here is None and there is None:
        return "the operations are the same, what is returned is not"
    if here is None or there is None:
        return "one function does what the other does, and more"
    if here.type != there.type:
        return f"the first operations that differ are of different types: {here.type} and {there.type}"
    for name in here.bodies.keys() & there.bodies.keys():
        inner = diff(here.bodies[name], there.bodies[name], None)
        if inner:
            return f"both have a {here.type}; in its {name}, {inner}"
    if here.type == "constant":
        return "the first operations that differ are both constants, of different values"
    ours, theirs = _attributes(here), _attributes(there)
    other = [name for name in {**ours, **theirs} if ours.get(name) != theirs.get(name)]
    if other:
        told = ", ".join(f"{name} is {_shown(ours, name)} and {_shown(theirs, name)}" for name in other)
        return f"the first operations that differ are both {here.type}, set differently: {told}"
    if [out.shape for out in here.outputs] != [out.shape for out in there.outputs]:
        return f"the first operations that differ are both {here.type}, of different shapes"
    return f"the first operations that differ are both {here.type}, of different inputs"


def _values(
    graph: Graph, other: Graph, feeds: Mapping[Any, Any], here: Operation | None, there: Operation | None
) -> tuple[tuple[Any, Any] | None, float | None]:
    ours = _by_argument(graph, feeds)
    if [(one.shape, one.dtype) for one in _inputs(graph)] != [(one.shape, one.dtype) for one in _inputs(other)]:
        raise GraphError(
            "values can be compared only of functions that take the same arguments",
            given=", ".join(map(str, _inputs(other))) or "no argument",
            expected=", ".join(map(str, _inputs(graph))) or "no argument",
            fix="trace both with the same specs, or compare them without feeds",
        )
    theirs = dict(zip([one.name for one in _inputs(other)], ours.values(), strict=True))
    returned = _run(graph, graph.outputs, ours), _run(other, other.outputs, theirs)
    pair = None
    if here and there and here.outputs and there.outputs:
        pair = _run(graph, here.outputs[0], ours), _run(other, there.outputs[0], theirs)
    return pair, _largest(*map(jax.tree.leaves, returned))


def _run(graph: Graph, fetches: Any, feeds: Mapping[str, Any]) -> Any:
    return run(graph, fetches, feeds, None, at_highest=True)


def _largest(ours: Sequence[Any], theirs: Sequence[Any]) -> float | None:
    if [(one.shape, one.dtype) for one in ours] != [(one.shape, one.dtype) for one in theirs]:
        return None
    return max((gap(*pair) for pair in zip(ours, theirs, strict=True)), default=0.0)


def _by_argument(graph: Graph, feeds: Mapping[Any, Any]) -> dict[str, Any]:
    """The feeds, one for each array in the arguments, in the arguments' order."""
    given = {
        tensor.name: leaf
        for slot, value in zip(slots_of(graph, feeds), feeds.values(), strict=True)
        for tensor, leaf in zip(slot.tensors, slot.leaves(value), strict=True)
    }
    missing = [one.name for one in _inputs(graph) if one.name not in given]
    if missing or len(given) > len(_inputs(graph)):
        raise GraphError(
            "to compare values, every argument is fed and nothing else",
            given=", ".join(map(repr, given)) or "nothing",
            expected=", ".join(repr(one.name) for one in _inputs(graph)),
            fix="feed the arguments of the first function; the other gets the same in the same order",
        )
    return {one.name: given[one.name] for one in _inputs(graph)}


def _inputs(graph: Graph) -> list[Tensor]:
    return [tensor for _, tensors in graph.arguments.values() for tensor in tensors]


def _fingerprints(graph: Graph) -> dict[str, str]:
    """For each operation that the outputs need, a mark of what it computes: equal marks, equal values.

    Names, lines and the order of independent operations play no part in it; the order of the arguments does.
    """
    marks: dict[str, str] = {}
    for number, tensor in enumerate(_inputs(graph)):
        marks[tensor.operation] = _mark("input", number, describe(tensor.shape, tensor.dtype))
    needed = _needed(graph.program)
    for operation in graph.operations():
        if operation.type == "constant":
            marks[operation.name] = _mark(
                _constant(graph.program.constants[graph.variable_of[operation.outputs[0].name]])
            )
        elif operation.name not in marks and any(graph.variable_of[out.name] in needed for out in operation.outputs):
            operands = [_operand(one, marks) for one in operation.operands]
            shapes = [describe(out.shape, out.dtype) for out in operation.outputs]
            marks[operation.name] = _mark(operation.type, _attributes(operation), operands, shapes)
    return marks


def _needed(program: Program) -> set[Any]:
    """What the outputs depend on, calls with a rule of their own written out."""
    needed = set(program.outputs)
    for step in reversed(program.steps):
        if not needed.isdisjoint(step.equation.outvars):
            needed.update(one for one in step.equation.invars if not isinstance(one, Literal))
    return needed


def _operand(one: Any, marks: Mapping[str, str]) -> Any:
    return (
        (marks[one.operation], one.name.rpartition(":")[2]) if isinstance(one, Tensor) else (str(one.dtype), repr(one))
    )


def _constant(value: Any) -> Any:
    if jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        value = jax.random.key_data(value)
    array = np.asarray(value)
    return describe(array.shape, array.dtype), array.tobytes()


def _attributes(operation: Operation) -> dict[str, str]:
    """How the operation is set, in words that do not depend on where things lie in memory."""
    plain = {
        name: re.sub(r" at 0x[0-9a-f]+", "", repr(value))
        for name, value in operation.attributes.items()
        if not callable(value) and not holds_jaxpr(value)  # callbacks are told apart by `_called`
    }
    return (
        plain
        | _called(operation)
        | {name: _mark(_returned(body, _fingerprints(body))) for name, body in operation.bodies.items()}
    )


def _shown(attributes: Mapping[str, str], name: str) -> str:
    return attributes.get(name, "not set").partition("#")[0]


def _called(operation: Operation) -> dict[str, str]:
    """The Python function that a callback calls: the same object, or another one."""
    callback = operation.attributes.get("callback")
    function = getattr(callback, "callback_func", callback)
    return {} if function is None else {"callback": f"{getattr(function, '__qualname__', function)}#{id(function)}"}


def _mark(*parts: Any) -> str:
    return hashlib.blake2b(repr(parts).encode(), digest_size=8).hexdigest()


def _returned(graph: Graph, marks: Mapping[str, str]) -> tuple[Any, ...]:
    leaves, structure = jax.tree.flatten(graph.outputs)
    return str(structure), *((marks[leaf.operation], leaf.name.rpartition(":")[2]) for leaf in leaves)


def _told(operation: Operation | None) -> str:
    if operation is None:
        return "no such operation"
    return f"{operation} at {operation.source}" if operation.source else str(operation)
