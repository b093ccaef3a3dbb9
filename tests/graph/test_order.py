"""Topological order against the standard library's, on graphs that hypothesis draws."""

from __future__ import annotations

import graphlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aidl_jax.graph import GraphError, check_order, topological_order

NAMES = [f"n{number}" for number in range(8)]


@st.composite
def acyclic(draw):
    """Nodes in any order, edges only from earlier to later in a hidden one, some of them twice."""
    hidden = draw(st.permutations(NAMES[: draw(st.integers(0, len(NAMES)))]))
    inputs = {
        name: draw(st.lists(st.sampled_from(hidden[:place]), max_size=4)) if place else []
        for place, name in enumerate(hidden)
    }
    return {name: inputs[name] for name in draw(st.permutations(hidden))}


graphs = st.dictionaries(
    st.sampled_from(NAMES), st.lists(st.sampled_from(NAMES), max_size=3), min_size=1, max_size=len(NAMES)
)


def is_order(order, inputs):
    place = {name: number for number, name in enumerate(order)}
    return sorted(order) == sorted(inputs) and all(place[one] < place[name] for name in inputs for one in inputs[name])


@pytest.mark.oldest
@given(acyclic())
def test_every_node_comes_once_and_after_what_it_depends_on(inputs):
    order = topological_order(inputs)
    assert is_order(order, inputs)
    check_order(order, inputs)


@pytest.mark.oldest
@given(graphs)
def test_an_order_is_found_where_the_standard_library_finds_one(inputs):
    known = {name: [one for one in given if one in inputs] for name, given in inputs.items()}
    try:
        list(graphlib.TopologicalSorter(known).static_order())
    except graphlib.CycleError:
        with pytest.raises(GraphError, match="has a cycle"):
            topological_order(known)
    else:
        assert is_order(topological_order(known), known)


@given(acyclic(), st.data())
def test_what_is_ready_comes_in_the_order_in_which_it_was_given(inputs, data):
    """Kahn's queue: first what depends on nothing, as given; then what each one that comes out makes ready."""
    order = topological_order(inputs)
    place = {name: number for number, name in enumerate(order)}
    given_first = {name: number for number, name in enumerate(inputs)}
    keys = [(max((place[one] for one in inputs[name]), default=-1), given_first[name]) for name in order]
    assert keys == sorted(keys)


@pytest.mark.oldest
@given(acyclic(), st.permutations(NAMES))
def test_a_check_agrees_with_the_definition(inputs, shuffled):
    order = [name for name in shuffled if name in inputs]
    if is_order(order, inputs):
        check_order(order, inputs)
    else:
        with pytest.raises(GraphError):
            check_order(order, inputs)


@pytest.mark.oldest
@given(graphs)
def test_the_cycle_that_is_told_is_one(inputs):
    known = {name: [one for one in given if one in inputs] for name, given in inputs.items()}
    try:
        topological_order(known)
    except GraphError as error:
        cycle = [part.strip("'") for part in error.given.split(" -> ")]
        assert cycle[0] == cycle[-1] and len(cycle) >= 2
        assert len(set(cycle[1:])) == len(cycle) - 1
        for before, after in pairwise(cycle):
            assert before in known[after]


@pytest.mark.oldest
def test_edges_may_be_any_iterable_and_twice():
    assert topological_order({"c": iter(["a", "b", "a"]), "b": ("a",), "a": ()}) == ["a", "b", "c"]
    assert topological_order({}) == []
    check_order([], {})
    check_order(iter(["a", "b"]), {"b": {"a": None}, "a": []})


def refused(call, *args):
    with pytest.raises(GraphError) as caught:
        call(*args)
    return str(caught.value)


@pytest.mark.oldest
def test_error_unknown_node():
    told = refused(topological_order, {"loss": ["predict"], "predic": []})
    assert "'loss' depends on a node that is not in the graph: given 'predict'" in told
    assert "did you mean 'predic'?" in told


@pytest.mark.oldest
def test_error_cycles():
    told = refused(topological_order, {"a": ["a"]})
    assert "the graph has a cycle" in told and "given 'a' -> 'a'" in told and "take one of these edges away" in told
    told = refused(topological_order, {"x": [], "a": ["x", "c"], "b": ["a"], "c": ["b"], "d": ["c"]})
    assert "given 'a' -> 'b' -> 'c' -> 'a'" in told


@pytest.mark.oldest
def test_errors_of_an_order():
    inputs = {"x": [], "y": ["x"], "z": ["y", "x"]}
    assert "'y' before 'x'" in refused(check_order, ["y", "x", "z"], inputs)
    assert "move 'x' before 'y'" in refused(check_order, ["y", "x", "z"], inputs)
    assert "a node twice: given 'x'" in refused(check_order, ["x", "x", "y", "z"], inputs)
    assert "leaves a node out: given 'y', 'z'" in refused(check_order, ["x"], inputs)
    told = refused(check_order, ["x", "why", "z"], inputs)
    assert "a node that the graph has not: given 'why'" in told and "'y'" in told
    assert "'z' before 'y'" in refused(check_order, ["x", "z", "y"], inputs)
