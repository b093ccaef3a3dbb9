"""What is said of a graph and of its operations, in a table, in a notebook and in TensorBoard."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from aidl_jax.graph.nodes import Operation, Tensor, describe
from aidl_jax.graph.tree import GIVEN

if TYPE_CHECKING:
    from aidl_jax.graph.graph import Graph

__all__ = ["count", "counts", "headline", "label", "line", "note", "readable", "results"]

LONGEST = 300


def headline(graph: Graph) -> str:
    """The function's name and how many operations of each kind it has.

    >>> import jax.numpy as jnp
    >>> from aidl_jax.graph import trace
    >>> headline(trace(jnp.sqrt, 4.0))
    'sqrt: 2 operations (1 forward, 0 gradients, 1 placeholder, 0 variables, 0 constants)'
    """
    told = counts(graph)
    total, inside = told.pop("operations"), told.pop("inside")
    kinds = [count(number, kind) for kind, number in told.items() if number or kind != "optimizer"]
    bodies = f", and {inside} in loops and branches" if inside else ""
    return f"{graph.name}: {count(total, 'operations')} ({', '.join(kinds)}){bodies}"


def count(number: int, things: str) -> str:
    """A number of things.

    >>> count(1, "operations"), count(2, "operations")
    ('1 operation', '2 operations')
    """
    return f"{number} {things.removesuffix('s') if number == 1 and things != 'gradients' else things}"


def counts(graph: Graph) -> dict[str, int]:
    """How many operations of each kind there are; `operations` is the sum of all but `inside`, those in bodies."""
    kinds = Counter(map(_kind, graph.nodes.values()))
    told = {kind: kinds[kind] for kind in ("forward", "gradients", "optimizer", *GIVEN.values())}
    return {"operations": sum(told.values()), **told, "inside": _inside(graph)}


def _kind(operation: Operation) -> str:
    if operation.type in GIVEN:
        return GIVEN[operation.type]
    if operation.is_gradient:
        return "gradients"
    return "optimizer" if operation.name.startswith("optimizer/") else "forward"


def _inside(graph: Graph) -> int:
    return sum(len(body.nodes) + _inside(body) for body in _bodies(graph))


def _bodies(graph: Graph) -> Iterator[Graph]:
    for operation in graph.nodes.values():
        yield from operation.bodies.values()


def label(operand: Any, graph: Graph) -> str:
    """What goes into an operation, as one fetches it: `layer1/add`, `scan:1` of several outputs, a number as itself."""
    if not isinstance(operand, Tensor):
        return str(operand)
    return operand.operation if len(graph.nodes[operand.operation].outputs) == 1 else operand.name


def results(operation: Operation) -> list[str]:
    """What comes out: `float32[batch,10]`."""
    return [describe(out.shape, out.dtype) for out in operation.outputs]


def line(operation: Operation) -> str:
    """The file and line it came from, `model.py:12`; empty where that is not known."""
    return str(operation.source).partition(" (")[0] if operation.source else ""


def readable(operation: Operation) -> dict[str, str]:
    """How the primitive is set, as text; what is not set and functions are left out, long text is cut with a mark.

    >>> import jax.numpy as jnp
    >>> from aidl_jax.graph import trace
    >>> readable(trace(lambda x: x.T, jnp.ones((2, 3)))["transpose"])
    {'permutation': '(1, 0)'}
    """
    told = {name: str(given) for name, given in operation.attributes.items() if _is_plain(given)}
    return {name: text if len(text) <= LONGEST else f"{text[:LONGEST]}…" for name, text in told.items()}


def _is_plain(given: Any) -> bool:
    """Whether it is set, and neither a function nor something that has no text but its address."""
    parts = given if isinstance(given, tuple | list) else (given,)
    functions = (hasattr(part, "eqns") or (callable(part) and not isinstance(part, type)) for part in parts)
    return given is not None and not any(functions) and " at 0x" not in str(given)


def note(graph: Graph) -> str:
    """What the mark of an operation inside a function with a derivative rule of its own means; empty without any."""
    found = dict.fromkeys(_customs(graph))
    if not found:
        return ""
    return (
        f"part of {', '.join(found)}, written out here, with a derivative rule of its own in JAX: a derivative taken "
        "through a cut made inside follows the primitives (relu at 0: 0 by JAX's rule for it, 1/2 by max alone)"
    )


def _customs(graph: Graph) -> Iterator[str]:
    yield from (operation.custom for operation in graph.nodes.values() if operation.custom)
    for body in _bodies(graph):
        yield from _customs(body)
