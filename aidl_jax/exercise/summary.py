"""A graph as a TensorBoard event file tells it: nodes in scopes. What a check looks at when it asks for `summary_graph`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from aidl_jax.errors import ProtocolError

MAX_NODES = 10_000
MAX_INPUTS = 50_000  # in all
MAX_NAME = 500  # characters
GIVEN = ("placeholders", "variables", "constants")  # the groups of what a function is given


@dataclass(frozen=True)
class Node:
    """One box of the graph.

    Attributes:
        name: unique, with the scopes it stands in: `model/conv1/add`.
        op: what it does, by JAX's name of the primitive: `add`.
        inputs: the nodes whose outputs go in, in order; `name:1` is a second output.
    """

    name: str
    op: str
    inputs: tuple[str, ...] = ()

    @property
    def scope(self) -> str:
        """The scopes it stands in, `model/conv1`; empty outside of all."""
        return self.name.rpartition("/")[0]

    def is_inside(self, scope: str) -> bool:
        """Whether it stands in a scope, or in one inside of that."""
        return self.name.startswith(f"{scope}/")


@dataclass(frozen=True)
class SummaryGraph:
    """The nodes of a graph, in the order in which the event file has them.

    >>> graph = SummaryGraph((Node("placeholders/x", "placeholder"), Node("wave/sin", "sin", ("placeholders/x",))))
    >>> [node.name for node in graph.operations], [node.op for node in graph.inside("wave")]
    (['wave/sin'], ['sin'])
    >>> print(graph.outline())
    wave/
    """

    nodes: tuple[Node, ...]

    @classmethod
    def of_scopes(cls, scopes: Iterable[str]) -> SummaryGraph:
        """A graph with one operation in each scope, to show what was expected."""
        return cls(tuple(Node(f"{scope}/operation", "operation") for scope in scopes))

    @property
    def operations(self) -> tuple[Node, ...]:
        """The nodes that compute something, as opposed to what the function is given."""
        return tuple(node for node in self.nodes if not any(node.is_inside(group) for group in GIVEN))

    @property
    def scopes(self) -> frozenset[str]:
        """Every scope that an operation stands in, with those around it."""
        return frozenset(scope for node in self.operations for scope in _around(node))

    def inside(self, scope: str) -> tuple[Node, ...]:
        """The nodes in a scope and in those inside of it."""
        return tuple(node for node in self.nodes if node.is_inside(scope))

    def outline(self, depth: int = 3) -> str:
        """The scopes as an indented list, and how many operations stand outside of all."""
        alone = sum(not node.scope for node in self.operations)
        shown = sorted((scope for scope in self.scopes if scope.count("/") < depth), key=lambda scope: scope.split("/"))
        lines = ["  " * scope.count("/") + scope.rpartition("/")[2] + "/" for scope in shown]
        return "\n".join([*lines, *([f"in no scope: {alone} operation{'s' * (alone != 1)}"] if alone else [])])


def _around(node: Node) -> Iterator[str]:
    parts = node.name.split("/")
    return ("/".join(parts[:count]) for count in range(1, len(parts)))


def unpack_graph(packed: Any) -> SummaryGraph:
    """A graph out of nested lists, `[[name, op, [input, ...]], ...]`, checked strictly.

    Raises:
        ProtocolError: the lists are of another form, too large, or a name is there twice, or an input is no node.
    """
    if not isinstance(packed, list) or len(packed) > MAX_NODES:
        raise ProtocolError("a graph is not a list of nodes", expected=f"at most {MAX_NODES:,}")
    nodes = tuple(map(_node, packed))
    names = {node.name for node in nodes}
    if len(names) < len(nodes):
        raise ProtocolError("a graph has two nodes of one name")
    if sum(len(node.inputs) for node in nodes) > MAX_INPUTS:
        raise ProtocolError("a graph has too many inputs", expected=f"at most {MAX_INPUTS:,}")
    for node in nodes:
        for given in node.inputs:
            if given.partition(":")[0] not in names:
                raise ProtocolError("a node's input is no node of the graph", given=f"{given!r} of {node.name!r}")
    return SummaryGraph(nodes)


def _node(packed: Any) -> Node:
    match packed:
        case [str(name), str(op), list(inputs)] if all(isinstance(given, str) for given in inputs):
            if all(0 < len(text) <= MAX_NAME and text.isprintable() for text in (name, op, *inputs)):
                return Node(name, op, tuple(inputs))
    raise ProtocolError("a node of a graph is malformed", given=repr(packed)[:80])
