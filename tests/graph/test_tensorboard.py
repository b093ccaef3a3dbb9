"""What TensorBoard itself makes of a graph: its server gives every node and edge back, its page draws the groups."""

from __future__ import annotations

import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from google.protobuf import text_format
from samples import loops, train_step
from screenshot import Page, browser, find_chromium
from tensorboard.compat.proto import types_pb2
from tensorboard.compat.proto.graph_pb2 import GraphDef
from tensorboardX import SummaryWriter

from aidl_jax.graph import GraphError, Operation, trace
from aidl_jax.graph.tensorboard import TYPES, graph_def

GROUPS = {"placeholder": "placeholders/", "variable": "variables/", "constant": "constants/"}
QUERY = "limit_attr_size=1024&large_attrs_key=_too_large_attrs"


def constants():
    table = np.arange(6.0, dtype=np.float32).reshape(2, 3)
    return trace(lambda x: (x @ table).astype(jnp.int4), jax.ShapeDtypeStruct((None, 2), jnp.float32))


RUNS = {"constants": constants, "loops": loops, "train_step": train_step}


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A TensorBoard that serves one run for each graph."""
    folder = tmp_path_factory.mktemp("runs")
    for name, sample in RUNS.items():
        with SummaryWriter(str(folder / name)) as writer:
            sample().to_tensorboard(writer)
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(folder), "--port", "0", "--host", "localhost"]
    command += ["--load_fast", "false", "--reload_interval", "0", "--reload_task", "blocking"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line)
            if " at http://" in line:
                yield line.split(" at ")[1].split()[0].rstrip("/")
                process.kill()
                return
        pytest.fail("TensorBoard did not start: " + "".join(said))


def served(board: str, run: str) -> dict[str, Any]:
    """The nodes that TensorBoard serves, by name."""
    with urllib.request.urlopen(f"{board}/data/plugin/graphs/graph?run={run}&{QUERY}") as answer:
        graph = text_format.Parse(answer.read().decode(), GraphDef())
    found = {node.name: node for node in graph.node}
    assert len(found) == len(graph.node)
    assert graph.versions.producer > 0
    return found


def name_of(operation: Operation) -> str:
    return GROUPS.get(operation.type, "") + operation.name


def shapes(node: Any) -> list[list[int]]:
    return [[dim.size for dim in shape.dim] for shape in node.attr["_output_shapes"].list.shape]


@pytest.mark.parametrize("run", ["train_step", "constants"])
def test_the_server_gives_every_node_and_every_edge(board, run):
    graph, nodes = RUNS[run](), served(board, run)
    assert nodes.keys() == set(map(name_of, graph.operations()))
    for operation in graph.operations():
        node = nodes[name_of(operation)]
        assert node.op == operation.type
        assert list(node.input) == [name_of(graph[one.operation]) for one in operation.inputs]
        expected = [[size if isinstance(size, int) else -1 for size in out.shape] for out in operation.outputs]
        assert shapes(node) == expected
        assert node.attr["operation"].s.decode() == str(operation)
        if operation.source:
            assert node.attr["source"].s.decode() == str(operation.source)


def test_what_is_given_is_grouped(board):
    nodes = served(board, "train_step")
    assert {name for name in nodes if name.startswith("placeholders/")} == {
        "placeholders/images",
        "placeholders/labels",
    }
    variables = {name for name in nodes if name.startswith("variables/")}
    assert "variables/params/layer1/w" in variables and "variables/opt_state/0/nu/layer2/b" in variables
    assert len(variables) == 13
    assert shapes(nodes["placeholders/images"]) == [[-1, 784]]
    assert set(served(board, "constants")) == {
        "placeholders/x",
        "constants/constant",
        "dot_general",
        "convert_element_type",
    }
    tops = {name.split("/")[0] for name in nodes}
    assert tops == {"placeholders", "variables", "layer1", "layer2", "loss", "gradients", "optimizer"}


def test_what_flows_into_a_loop_flows_through_its_body(board):
    nodes = served(board, "loops")
    inputs = {name: list(node.input) for name, node in nodes.items()}
    assert inputs["rnn/scan/body/const_0"] == ["placeholders/w"]
    assert inputs["rnn/scan/body/carry_0"] == ["rnn/broadcast_in_dim"]
    assert inputs["rnn/scan/body/x_0"] == ["placeholders/xs"]
    assert inputs["rnn/scan/body/cell/dot_general"] == ["rnn/scan/body/x_0", "rnn/scan/body/const_0"]
    assert inputs["rnn/scan"] == ["rnn/scan/body/cell/tanh", "rnn/scan/body/mul"]
    assert inputs["reduce_sum"] == ["rnn/scan:1"]
    # The condition's constant is the limit; the body has none; the first number carried is written into the program.
    assert inputs["while/cond/const_0"] == ["reduce_sum"]
    assert inputs["while/cond/carry_0"] == inputs["while/body/carry_0"] == []
    assert inputs["while/cond/carry_1"] == inputs["while/body/carry_1"] == ["rnn/scan"]
    assert inputs["while"] == ["while/cond/lt", "while/body/add", "while/body/mul"]
    assert inputs["cond/branch_0/operand_0"] == inputs["cond/branch_1/operand_0"] == ["placeholders/w"]
    assert inputs["cond/branch_0/operand_1"] == inputs["cond/branch_1/operand_1"] == ["while:1"]
    assert inputs["cond"] == ["convert_element_type", "cond/branch_0/mul", "cond/branch_1/add"]
    assert shapes(nodes["rnn/scan"]) == [[3], [7, 3]]
    assert all(one.split(":")[0] in nodes for given in inputs.values() for one in given)


@pytest.mark.oldest
@pytest.mark.parametrize("name", sorted(TYPES))
def test_dtypes_have_tensorflows_numbers(name):
    if not hasattr(jnp, name):
        pytest.skip(f"this JAX has no {name}")
    with jax.enable_x64(True):
        graph = trace(lambda x: x.reshape(2, 1), jax.ShapeDtypeStruct((2,), getattr(jnp, name)))
    special = {"float16": "DT_HALF", "float32": "DT_FLOAT", "float64": "DT_DOUBLE"}
    assert types_pb2.DataType.Value(special.get(name, f"DT_{name.upper()}")) == TYPES[name]
    given, made = graph_def(graph).node
    assert given.attr["dtype"].type == made.attr["T"].type == TYPES[name]


def test_keys_scalars_and_sizes_that_are_not_known():
    def fn(key, x, scale):
        return x * scale + jax.random.normal(key, (3,))

    batch = jax.ShapeDtypeStruct((None, 3), jnp.float32)
    nodes = {one.name: one for one in graph_def(trace(fn, jax.random.key(0), batch, 2.0)).node}
    assert shapes(nodes["placeholders/key"]) == [[]] and "dtype" not in nodes["placeholders/key"].attr
    assert "key<fry>[]" in nodes["placeholders/key"].attr["operation"].s.decode()
    assert shapes(nodes["placeholders/scale"]) == [[]]
    assert shapes(nodes["mul"]) == [[-1, 3]]


def test_names_are_never_shared():
    def fn(add, x):
        with jax.named_scope("placeholders"):
            y = add + x
        with jax.named_scope("scan"), jax.named_scope("body"):
            y = y * 2
        return jax.lax.scan(lambda c, _: (c * 2, None), y, None, length=3)[0]

    names = [node.name for node in graph_def(trace(fn, 1.0, 2.0)).node]
    assert len(set(names)) == len(names)
    assert {"placeholders/add", "placeholders/add_1", "scan/body/mul", "scan/body/mul_1"} <= set(names)
    (last,) = (node for node in graph_def(trace(fn, 1.0, 2.0)).node if node.name == "scan")
    assert list(last.input) == ["scan/body/mul_1"]


def test_attributes_can_be_read():
    nodes = {one.name: one for one in graph_def(train_step()).node}
    attributes = {name: value.s.decode() for name, value in nodes["layer1/dot_general"].attr.items() if value.s}
    assert attributes["dimension_numbers"] == "(((1,), (0,)), ((), ()))"
    assert attributes["source"].startswith("two_layers.py:")
    assert nodes["layer1/relu/max"].attr["custom"].s.decode().startswith("part of relu")
    scan = {one.name: one for one in graph_def(loops()).node}["rnn/scan"]
    assert scan.attr["length"].s == b"7" and "jaxpr" not in scan.attr


@pytest.mark.oldest
def test_what_is_no_writer_is_refused(tmp_path):
    closed = SummaryWriter(str(tmp_path))
    closed.close()
    with pytest.raises(GraphError, match=r"the writer is closed: given SummaryWriter\(.*Fix: write the graph before"):
        train_step().to_tensorboard(closed)
    torchs = type("SummaryWriter", (SimpleNamespace,), {"__module__": "torch.utils.tensorboard.writer"})
    for other in (torchs(file_writer=None), "runs", None):
        with pytest.raises(GraphError, match=r"expected a tensorboardX.SummaryWriter. Fix: from tensorboardX import"):
            train_step().to_tensorboard(other)
    with pytest.raises(GraphError, match=r"given torch.utils.tensorboard.writer.SummaryWriter"):
        train_step().to_tensorboard(torchs(file_writer=None))


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    if find_chromium() is None:
        pytest.skip("no Chromium is installed here (apt-get install chromium)")
    with browser() as page:
        yield page


def test_the_page_draws_nested_groups(board, page, tmp_path):
    groups = ["layer1", "gradients", "gradients/layer1", "variables", "variables/params"]
    drawn = page.show(board, "train_step", groups)
    page.picture(tmp_path / "train_step.png")
    labels = {node["name"]: node["label"] for node in drawn}
    tops = {name for name in labels if "/" not in name and "~" not in name}
    assert tops == {"placeholders", "variables", "layer1", "layer2", "loss", "gradients", "optimizer"}
    assert {labels[name] for name in tops} == tops
    inside = {
        "layer1/dot_general": "dot_general",
        "layer1/relu": "relu",
        "gradients/layer1": "layer1",
        "gradients/layer2": "layer2",
        "gradients/loss": "loss",
        "gradients/layer1/transpose": "transpose",
        "variables/params/layer1": "layer1",
        "variables/opt_state": "opt_state",
    }
    assert {name: labels.get(name) for name in inside} == inside
    boxes = {node["name"]: node["box"] for node in drawn}
    for name in inside:
        assert within(boxes[name], boxes[name.rpartition("/")[0]])
    assert not any(node["aside"] for node in drawn if node["name"] in tops | inside.keys())
    assert not [(a, b) for a in tops for b in tops if a < b and overlap(boxes[a], boxes[b])]
    edges = set(page.run("board.edges()"))
    assert {
        "layer1--layer2",
        "layer2--loss",
        "loss--gradients",
        "gradients--optimizer",
        "variables--optimizer",
    } <= edges
    assert (tmp_path / "train_step.png").read_bytes().startswith(b"\x89PNG")


def test_the_page_opens_a_scan(board, page, tmp_path):
    drawn = page.show(board, "loops", ["rnn", "rnn/scan", "rnn/scan/body", "rnn/scan/body/cell"])
    page.picture(tmp_path / "loops.png")
    names = {node["name"]: node["label"] for node in drawn}
    assert names["rnn/scan/(scan)"] == "(scan)"
    assert names["rnn/scan/body"] == "body"
    assert {f"rnn/scan/body/{one}" for one in ("const_0", "carry_0", "x_0", "cell/tanh")} <= names.keys()
    edges = set(page.run("board.edges()"))
    assert {"rnn/broadcast_in_dim--rnn/scan", "rnn--while", "rnn/scan/body--rnn/scan/(scan)"} <= edges


def within(inner: list[float], outer: list[float]) -> bool:
    return all(a >= b - 1 for a, b in zip(inner[:2], outer[:2], strict=True)) and all(
        a <= b + 1 for a, b in zip(inner[2:], outer[2:], strict=True)
    )


def overlap(one: list[float], other: list[float]) -> bool:
    return max(one[0], other[0]) < min(one[2], other[2]) and max(one[1], other[1]) < min(one[3], other[3])
