"""A graph of nodes in scopes: what stands where, and nothing malformed taken for one."""

from __future__ import annotations

from typing import Any

import pytest

from aidl_jax.errors import ProtocolError
from aidl_jax.exercise.summary import MAX_INPUTS, MAX_NAME, MAX_NODES, SummaryGraph, unpack_graph

PACKED = [
    ["placeholders/x", "placeholder", []],
    ["variables/params/conv1/w", "variable", []],
    ["constants/c", "constant", []],
    ["conv1/mul", "mul", ["placeholders/x", "variables/params/conv1/w"]],
    ["conv1/relu/max", "max", ["conv1/mul"]],
    ["conv10/add", "add", ["conv1/relu/max", "conv1/relu/max:1"]],
    ["gradients/conv1/mul", "mul", []],
    ["sub", "sub", ["conv10/add"]],
]


@pytest.fixture
def graph() -> SummaryGraph:
    return unpack_graph(PACKED)


def test_nodes_come_in_order_with_their_inputs(graph: SummaryGraph) -> None:
    assert [[node.name, node.op, list(node.inputs)] for node in graph.nodes] == PACKED


def test_what_a_function_is_given_is_no_operation(graph: SummaryGraph) -> None:
    assert [node.name for node in graph.operations] == [name for name, _, _ in PACKED[3:]]


def test_inside_is_by_whole_names(graph: SummaryGraph) -> None:
    assert [node.name for node in graph.inside("conv1")] == ["conv1/mul", "conv1/relu/max"]
    assert [node.name for node in graph.inside("conv1/relu")] == ["conv1/relu/max"]
    assert not graph.inside("conv1/mul") and not graph.inside("conv")


def test_scopes_are_those_of_operations_with_all_around_them(graph: SummaryGraph) -> None:
    assert graph.scopes == {"conv1", "conv1/relu", "conv10", "gradients", "gradients/conv1"}


def test_the_outline_is_indented_and_ends_at_a_depth(graph: SummaryGraph) -> None:
    assert graph.outline() == "conv1/\n  relu/\nconv10/\ngradients/\n  conv1/\nin no scope: 1 operation"
    assert graph.outline(depth=1) == "conv1/\nconv10/\ngradients/\nin no scope: 1 operation"
    assert SummaryGraph.of_scopes(["model/conv1", "loss"]).outline() == "loss/\nmodel/\n  conv1/"
    assert SummaryGraph(()).outline() == ""


def test_in_the_outline_a_scope_is_followed_by_what_is_in_it() -> None:
    graph = unpack_graph([["a/x", "x", []], ["a-b/x", "x", []], ["a/b/x", "x", []]])
    assert graph.outline() == "a/\n  b/\na-b/"


MALFORMED: dict[str, tuple[Any, str]] = {
    "nothing": (None, "a graph is not a list of nodes"),
    "a dict": ({}, "a graph is not a list of nodes"),
    "too many": ([[str(n), "add", []] for n in range(MAX_NODES + 1)], "a graph is not a list of nodes"),
    "a short node": ([["a", "add"]], "a node of a graph is malformed"),
    "a number": ([[1, "add", []]], "a node of a graph is malformed"),
    "an input that is no text": ([["a", "add", [b"a"]]], "a node of a graph is malformed"),
    "no name": ([["", "add", []]], "a node of a graph is malformed"),
    "a long name": ([["a" * (MAX_NAME + 1), "add", []]], "a node of a graph is malformed"),
    "an escape": ([["a\x1b[31m", "add", []]], "a node of a graph is malformed"),
    "a line": ([["a", "add\nadd", []]], "a node of a graph is malformed"),
    "one name twice": ([["a", "add", []], ["a", "mul", []]], "a graph has two nodes of one name"),
    "an unknown input": ([["a", "add", ["b"]]], "a node's input is no node of the graph: given 'b' of 'a'"),
    "many inputs": ([["a", "add", ["a"] * (MAX_INPUTS + 1)]], "a graph has too many inputs"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_graph_is_refused(name: str) -> None:
    packed, message = MALFORMED[name]
    with pytest.raises(ProtocolError) as refused:
        unpack_graph(packed)
    assert str(refused.value).startswith(message)
