"""Event files, real and hostile: TensorBoard's own reader agrees on the first, and none of the others is taken for one."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
from tensorboard.compat.proto import event_pb2, graph_pb2
from tensorboardX import SummaryWriter

from aidl_jax.errors import ProtocolError
from aidl_jax.grade import event_file
from aidl_jax.grade.event_file import read_graph, records
from aidl_jax.grade.runner import Runner
from aidl_jax.graph import trace


def crc32c(data: bytes) -> int:
    """The checksum by its polynomial, bit by bit."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def masked(data: bytes) -> bytes:
    crc = crc32c(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def record(data: bytes) -> bytes:
    header = struct.pack("<Q", len(data))
    return header + masked(header) + data + masked(data)


def event(graph: bytes) -> bytes:
    return record(event_pb2.Event(graph_def=graph).SerializeToString())


def graph_of(*names: str) -> bytes:
    return graph_pb2.GraphDef(node=[{"name": name, "op": "add"} for name in names]).SerializeToString()


def model(w: jax.Array, x: jax.Array) -> jax.Array:
    with jax.named_scope("layer"):
        return jnp.tanh(x @ w)


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An event file with the graph of `model`."""
    folder = tmp_path_factory.mktemp("events")
    with SummaryWriter(str(folder)) as writer:
        trace(model, jnp.ones((3, 2)), jnp.ones((4, 3))).to_tensorboard(writer)
        writer.add_scalar("loss", 1.0)
    (file,) = folder.iterdir()
    return file


def test_a_real_file_is_read_as_tensorboard_reads_it(real: Path) -> None:
    loaded = list(RawEventFileLoader(str(real)).Load())
    assert list(records(real.read_bytes())) == loaded
    (graph,) = [one.graph_def for one in map(event_pb2.Event.FromString, loaded) if one.graph_def]
    nodes = [[node.name, node.op, list(node.input)] for node in graph_pb2.GraphDef.FromString(graph).node]
    assert read_graph(real.read_bytes()) == nodes
    assert nodes[-1] == ["layer/tanh", "tanh", ["layer/dot_general"]]


def test_a_file_by_hand_is_read() -> None:
    assert read_graph(event(graph_of("a", "b/c"))) == [["a", "add", []], ["b/c", "add", []]]


WRONG = record(b"abc")[:-1] + b"\x00"
HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "nothing": (lambda: b"", "the event file has 0 graphs where one was expected"),
    "no graph": (lambda: record(event_pb2.Event(step=1).SerializeToString()), "the event file has 0 graphs where one"),
    "two graphs": (lambda: event(graph_of("a")) * 2, "the event file has 2 graphs where one was expected"),
    "a cut header": (lambda: event(graph_of("a"))[:11], "the event file is cut off"),
    "a cut record": (lambda: event(graph_of("a"))[:-1], "the event file is cut off"),
    "an absurd length": (lambda: struct.pack("<QI", 2**63, 0) + b"a" * 20, "the event file is cut off"),
    "a wrong checksum": (lambda: WRONG, "a checksum in the event file is wrong"),
    "a wrong checksum of the length": (
        lambda: (lambda whole: whole[:8] + b"abcd" + whole[12:])(event(graph_of("a"))),
        "a checksum in the event file is wrong",
    ),
    "no event": (lambda: record(b"\xff\xff\xff"), "a record of the event file is no Event"),
    "no graph def": (lambda: event(b"\x0a\xff\xff"), "the graph in the event file is no GraphDef"),
    "text that is none": (lambda: event(graph_of("a").replace(b"a", b"\xff", 1)), "the graph in the event file is no GraphDef"),
    "deep attributes": (lambda: event(deep(500)), "the graph in the event file is no GraphDef"),
    "many nodes": (
        lambda: event(graph_of(*map(str, range(10_001)))),
        "the graph in the event file has more than 10,000 nodes",
    ),
    "many records": (
        lambda: record(b"") * (event_file.MAX_RECORDS + 1),
        "the event file has more than 100 records",
    ),
    "too large": (lambda: b"a" * (event_file.MAX_BYTES + 1), "the event file is larger than 4 MiB"),
}  # fmt: skip


def deep(levels: int) -> bytes:
    """A graph whose node has an attribute in an attribute in an attribute, as deep as that (`AttrValue.func.attr`)."""
    value = b""
    for _ in range(levels):
        entry = b"\x0a\x01a\x12" + varint(len(value)) + value
        named = b"\x12" + varint(len(entry)) + entry
        value = b"\x52" + varint(len(named)) + named
    entry = b"\x0a\x01a\x12" + varint(len(value)) + value
    node = b"\x0a\x01n\x2a" + varint(len(entry)) + entry
    return b"\x0a" + varint(len(node)) + node


def varint(number: int) -> bytes:
    return bytes([number]) if number < 128 else bytes([number & 127 | 128]) + varint(number >> 7)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused(name: str) -> None:
    make, message = HOSTILE[name]
    with pytest.raises(ProtocolError) as refused:
        read_graph(make())
    assert refused.value.what.startswith(message)
    assert Runner().answer({"do": "read", "events": make()}) == {"refused": refused.value.what}


def test_an_attribute_that_is_not_deep_is_passed_over() -> None:
    assert read_graph(event(deep(5))) == [["n", "", []]]


def test_any_changed_byte_is_told_or_changes_nothing(real: Path) -> None:
    whole, drawn = real.read_bytes(), random.Random(1)
    for _ in range(200):
        place, bit = drawn.randrange(len(whole)), 1 << drawn.randrange(8)
        changed = whole[:place] + bytes([whole[place] ^ bit]) + whole[place + 1 :]
        with pytest.raises(ProtocolError):
            read_graph(changed)


def test_random_graphs_behind_right_checksums_are_read_or_refused() -> None:
    drawn, whole = random.Random(2), graph_of("layer/add", "layer/mul", "x")
    read = 0
    for _ in range(200):
        changed = bytearray(whole)
        for _ in range(drawn.randrange(1, 4)):
            changed[drawn.randrange(len(whole))] = drawn.randrange(256)
        try:
            nodes = read_graph(event(bytes(changed)))
        except ProtocolError:
            continue
        read += 1
        assert all(isinstance(name, str) and isinstance(op, str) for name, op, _ in nodes)
    assert 0 < read < 200
