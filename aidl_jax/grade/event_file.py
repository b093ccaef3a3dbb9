"""A TensorBoard event file of unknown origin, read within limits. Runs in the runner.

An event file is a series of records: a length of 8 bytes, its checksum of 4, the record, its checksum of 4; all little
endian, each checksum a masked CRC-32C. A record is an `Event`; one of them holds a `GraphDef`.
Source: tensorflow/core/lib/io/record_writer.h, tensorflow/core/util/event.proto, tensorflow/core/framework/graph.proto.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from google.protobuf.message import DecodeError
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.proto.graph_pb2 import GraphDef
from tensorboardX.record_writer import masked_crc32c

from aidl_jax.errors import ProtocolError
from aidl_jax.exercise.summary import MAX_NODES

__all__ = ["read_graph"]

MAX_BYTES = 4 * 1024 * 1024
MAX_RECORDS = 100
HEADER, CHECKSUM = struct.Struct("<QI"), struct.Struct("<I")


def read_graph(events: bytes) -> list[list[object]]:
    """The one graph of an event file as nested lists, `[[name, op, [input, ...]], ...]`.

    Raises:
        ProtocolError: the bytes are no event file, it is too large, or it has no graph or several.
    """
    if not isinstance(events, bytes) or len(events) > MAX_BYTES:
        raise ProtocolError(f"the event file is larger than {MAX_BYTES >> 20} MiB")
    found = [event.graph_def for event in map(_event, records(events)) if event.WhichOneof("what") == "graph_def"]
    if len(found) != 1:
        raise ProtocolError(f"the event file has {len(found)} graphs where one was expected")
    try:
        graph = GraphDef.FromString(found[0])
    except DecodeError:
        raise ProtocolError("the graph in the event file is no GraphDef") from None
    if len(graph.node) > MAX_NODES:
        raise ProtocolError(f"the graph in the event file has more than {MAX_NODES:,} nodes")
    return [[node.name, node.op, list(node.input)] for node in graph.node]


def records(events: bytes) -> Iterator[bytes]:
    """The records of an event file, each with the right checksums.

    Raises:
        ProtocolError: it is cut off, a checksum is wrong, or there are more than 100 records.
    """
    start, count = 0, 0
    while start < len(events):
        count += 1
        if count > MAX_RECORDS:
            raise ProtocolError(f"the event file has more than {MAX_RECORDS} records")
        header = events[start : start + HEADER.size]
        if len(header) < HEADER.size:
            raise ProtocolError("the event file is cut off")
        length, checksum = HEADER.unpack(header)
        start += HEADER.size
        if length > len(events) - start - CHECKSUM.size:
            raise ProtocolError("the event file is cut off")
        record = events[start : start + length]
        start += length + CHECKSUM.size
        if checksum != masked_crc32c(header[:8]) or CHECKSUM.unpack_from(events, start - 4)[0] != masked_crc32c(record):
            raise ProtocolError("a checksum in the event file is wrong")
        yield record


def _event(record: bytes) -> Event:
    try:
        return Event.FromString(record)
    except DecodeError:
        raise ProtocolError("a record of the event file is no Event") from None
