"""A graph for TensorBoard's Graphs tab: TensorFlow's `GraphDef`, written through tensorboardX.

TensorBoard draws a node for each name and a group for each scope in it; `rnn/scan`, which is an operation and has its
body inside, becomes a group with the operation `(scan)` in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax
from tensorboardX import SummaryWriter
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.proto.graph_pb2 import GraphDef
from tensorboardX.proto.node_def_pb2 import NodeDef
from tensorboardX.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboardX.proto.versions_pb2 import VersionDef

from aidl_jax.errors import GraphError
from aidl_jax.graph.names import unique
from aidl_jax.graph.nodes import Operation, Tensor
from aidl_jax.graph.telling import readable
from aidl_jax.graph.tree import GIVEN

if TYPE_CHECKING:
    from aidl_jax.graph.graph import Graph

__all__ = ["graph_def", "write"]

PRODUCER = 22
TYPES = {  # tensorflow/core/framework/types.proto, whose newer numbers tensorboardX has no names for
    "float32": 1, "float64": 2, "int32": 3, "uint8": 4, "int16": 5, "int8": 6, "complex64": 8, "int64": 9, "bool": 10,
    "bfloat16": 14, "uint16": 17, "complex128": 18, "float16": 19, "uint32": 22, "uint64": 23, "float8_e5m2": 24,
    "float8_e4m3fn": 25, "float8_e4m3fnuz": 26, "float8_e4m3b11fnuz": 27, "float8_e5m2fnuz": 28, "int4": 29,
    "uint4": 30, "int2": 31, "uint2": 32, "float4_e2m1fn": 33,
}  # fmt: skip


def write(graph: Graph, writer: Any) -> None:
    """See `Graph.to_tensorboard`."""
    if not isinstance(writer, SummaryWriter):
        raise GraphError(
            "this is not a writer that a graph can be written with",
            given=f"{type(writer).__module__}.{type(writer).__qualname__}",
            expected="a tensorboardX.SummaryWriter",
            fix="from tensorboardX import SummaryWriter; graph.to_tensorboard(SummaryWriter('runs/graph'))",
        )
    if writer.file_writer is None:
        raise GraphError(
            "the writer is closed",
            given=f"SummaryWriter({str(writer.logdir)!r})",
            fix="write the graph before writer.close(), or make a new writer",
        )
    writer.file_writer.add_event(Event(graph_def=graph_def(graph).SerializeToString()))
    writer.flush()


def graph_def(graph: Graph) -> GraphDef:
    """The graph as TensorFlow's `GraphDef`: a node for each operation, those inside loops and branches, too.

    Source: tensorflow/core/framework/graph.proto; shapes stand in the attribute `_output_shapes`.

    >>> import jax
    >>> from aidl_jax.graph import trace
    >>> [(node.name, list(node.input)) for node in graph_def(trace(jax.numpy.sin, 1.0)).node]
    [('placeholders/x', []), ('sin', ['placeholders/x'])]
    """
    nodes, _ = _nodes(graph, {})
    return GraphDef(node=nodes, versions=VersionDef(producer=PRODUCER))


def _nodes(
    graph: Graph, taken: dict[str, int], around: str = "", fed: Mapping[str, str] | None = None
) -> tuple[list[NodeDef], dict[str, str]]:
    """The nodes of a graph and of the bodies in it.

    Args:
        graph: whose operations they are for.
        taken: names of nodes that are there already.
        around: for a body, what its names begin with, `rnn/scan/body/`.
        fed: for a body, by placeholder, what it gets from outside: a tensor's name; none for a number.

    Returns:
        The nodes, and for each operation of this graph its node's name.
    """
    nodes: list[NodeDef] = []
    names = {one.name: unique(around + _grouped(one, bool(around)), taken) for one in graph.nodes.values()}
    for operation in graph.nodes.values():
        inputs = [_reference(tensor, names) for tensor in operation.inputs]
        if operation.bodies:
            inside, inputs = _bodies(operation, names, taken)
            nodes += inside
        elif fed and operation.name in fed:
            inputs = [fed[operation.name]]
        nodes.append(_node(operation, names[operation.name], inputs))
    return nodes, names


def _grouped(operation: Operation, is_inside: bool) -> str:
    group = None if is_inside else GIVEN.get(operation.type)
    return f"{group}/{operation.name}" if group else operation.name


def _reference(tensor: Tensor, names: Mapping[str, str]) -> str:
    """A tensor as a node's input names it: the first output of a node by the node's name."""
    index = tensor.name.rpartition(":")[2]
    return names[tensor.operation] + (f":{index}" if index != "0" else "")


def _bodies(operation: Operation, names: Mapping[str, str], taken: dict[str, int]) -> tuple[list[NodeDef], list[str]]:
    """The nodes inside an operation, and its own inputs: what no body gets, and what the bodies deliver."""
    nodes: list[NodeDef] = []
    delivered: list[str] = []
    handed: list[Any] = []
    for body_name, body in operation.bodies.items():
        given = _operands(operation, body_name, len(body.placeholders))
        handed += given
        fed = {
            placeholder.operation: _reference(operand, names)
            for placeholder, operand in zip(body.placeholders, given, strict=bool(given))
            if isinstance(operand, Tensor)
        }
        inside, inner = _nodes(body, taken, f"{names[operation.name]}/{body_name}/", fed)
        nodes += inside
        delivered += [_reference(leaf, inner) for leaf in jax.tree.leaves(body.outputs)]
    own = [_reference(tensor, names) for tensor in operation.inputs if not any(tensor is one for one in handed)]
    return nodes, list(dict.fromkeys([*own, *delivered]))


def _operands(operation: Operation, body: str, count: int) -> tuple[Any, ...]:
    """What a body's placeholders get, in their order; nothing where JAX's way of calling it is not known."""
    operands, set_to = operation.operands, operation.attributes
    if operation.type == "while":
        conditions, bodies = set_to["cond_nconsts"], set_to["body_nconsts"]
        own = operands[:conditions] if body == "cond" else operands[conditions : conditions + bodies]
        operands = (*own, *operands[conditions + bodies :])
    elif operation.type == "cond":
        operands = operands[1:]
    return operands if len(operands) == count else ()


def _node(operation: Operation, name: str, inputs: Sequence[str]) -> NodeDef:
    node = NodeDef(name=name, op=operation.type, input=inputs)
    for key, text in _told(operation):
        node.attr[key].s = text.encode()
    node.attr["_output_shapes"].list.shape.extend(_shape(out) for out in operation.outputs)
    kind = TYPES.get(operation.outputs[0].dtype.name) if operation.outputs else None
    if kind is not None:  # a PRNG key has none
        node.attr["dtype" if operation.type in GIVEN else "T"].type = kind
    return node


def _told(operation: Operation) -> Iterator[tuple[str, str]]:
    """What TensorBoard shows beside a node: its whole self, where it came from, how it is set."""
    yield "operation", str(operation)
    if operation.source:
        yield "source", str(operation.source)
    if operation.custom:
        yield "custom", f"part of {operation.custom}, which has a derivative rule of its own"
    yield from readable(operation).items()


def _shape(tensor: Tensor) -> TensorShapeProto:
    """A tensor's shape; -1 for a size that is chosen when the graph runs."""
    sizes = [size if isinstance(size, int) else -1 for size in tensor.shape]
    return TensorShapeProto(dim=[TensorShapeProto.Dim(size=size) for size in sizes])
