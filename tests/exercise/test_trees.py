"""Trees travel as leaves and plain structure, and come back as they were."""

from __future__ import annotations

import copy
import json
from collections import namedtuple
from typing import Any, NamedTuple

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aidl_jax.errors import ProtocolError
from aidl_jax.exercise.trees import NamedTree, describe, flatten, is_named, leaf_paths, unflatten


class Layer(NamedTuple):
    w: Any
    b: Any


class Pair(NamedTuple):
    first: Any
    second: Any


LEAVES = st.integers() | st.text(max_size=3) | st.floats(allow_nan=False) | st.booleans()
KEYS = st.text(max_size=3) | st.integers()
TREES = st.recursive(
    st.none() | LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(KEYS, inner, max_size=3)
        | st.builds(Layer, inner, inner)
    ),
    max_leaves=12,
)


def plain(tree: Any) -> Any:
    """The tree with NamedTuples of either kind as ("named", name, fields), so that == compares them."""
    if is_named(tree):
        name = tree._name if isinstance(tree, NamedTree) else type(tree).__name__
        return ("named", name, {field: plain(getattr(tree, field)) for field in tree._fields})
    if isinstance(tree, dict):
        return {key: plain(child) for key, child in tree.items()}
    if isinstance(tree, list | tuple):
        return type(tree)(map(plain, tree))
    return tree


def follow(tree: Any, path: str) -> Any:
    """What Python finds when the path is written behind the tree."""
    return eval("tree" + path, {"tree": tree})


def nested(levels: int, inside: Any) -> Any:
    for _ in range(levels):
        inside = [inside]
    return inside


@given(TREES)
def test_a_tree_comes_back_as_it_was(tree: Any) -> None:
    leaves, structure = flatten(tree)
    assert plain(unflatten(structure, leaves)) == plain(tree)


@given(TREES)
def test_the_structure_survives_json_and_msgpack(tree: Any) -> None:
    leaves, structure = flatten(tree)
    if all(-(2**63) <= key < 2**63 for key in _integer_keys(structure)):
        assert msgpack.unpackb(msgpack.packb(structure)) == structure
    assert plain(unflatten(json.loads(json.dumps(structure)), leaves)) == plain(tree)


def _integer_keys(structure: Any) -> list[int]:
    if structure[0] == "dict":
        own = [key for key in structure[1] if isinstance(key, int)]
        return own + [key for child in structure[2] for key in _integer_keys(child)]
    children = structure[-1] if isinstance(structure[-1], list) else []
    return [key for child in children for key in _integer_keys(child)]


@given(TREES)
def test_a_tree_that_came_back_flattens_the_same_again(tree: Any) -> None:
    leaves, structure = flatten(tree)
    assert flatten(unflatten(structure, leaves)) == (leaves, structure)


@given(TREES)
def test_every_path_leads_to_its_leaf(tree: Any) -> None:
    leaves, structure = flatten(tree)
    paths = leaf_paths(structure)
    assert len(set(paths)) == len(paths) == len(leaves)
    assert [follow(tree, path) for path in paths] == leaves


@given(TREES)
def test_the_description_is_what_python_would_print(tree: Any) -> None:
    leaves, structure = flatten(tree)
    sorted_tree = unflatten(structure, leaves)
    assert describe(structure, lambda index: repr(leaves[index])) == repr(sorted_tree)


def test_dict_order_does_not_matter() -> None:
    assert flatten({"b": 1, "a": 2}) == flatten({"a": 2, "b": 1})


def test_integer_and_string_keys_may_stand_together() -> None:
    leaves, structure = flatten({"b": 0, 2: 1, "a": 2, 10: 3})
    assert leaves == [1, 3, 2, 0]
    assert unflatten(structure, leaves) == {"b": 0, 2: 1, "a": 2, 10: 3}


def test_a_subclass_of_list_is_a_leaf() -> None:
    class Special(list):
        pass

    special = Special([1, 2])
    assert flatten(special) == ([special], ["leaf", 0])


def test_a_named_tuple_keeps_its_name_and_fields() -> None:
    back = unflatten(*reversed(flatten(Layer(1.0, (2.0, None)))))
    assert isinstance(back, NamedTree)
    assert (back.w, back.b) == (1.0, (2.0, None))
    assert (back[0], len(back), list(back)) == (1.0, 2, [1.0, (2.0, None)])
    assert repr(back) == "Layer(w=1.0, b=(2.0, None))"


def test_named_tuples_of_other_classes_differ_in_structure() -> None:
    assert flatten(Layer(1, 2))[1] != flatten(Pair(1, 2))[1] != flatten((1, 2))[1]


def test_a_missing_field_is_answered_with_those_there_are() -> None:
    back = unflatten(*reversed(flatten(Layer(1, 2))))
    with pytest.raises(AttributeError, match=r"^Layer has the fields \['w', 'b'\], not 'bias'$"):
        _ = back.bias


def test_a_travelled_named_tuple_can_be_copied() -> None:
    back = copy.deepcopy(unflatten(*reversed(flatten(Layer([1], 2)))))
    assert repr(back) == "Layer(w=[1], b=2)"


def test_fields_that_are_keywords_travel() -> None:
    renamed = namedtuple("Odd", ["class", "ok"], rename=True)(1, 2)
    assert repr(unflatten(*reversed(flatten(renamed)))) == "Odd(_0=1, ok=2)"


@pytest.mark.parametrize("key", [1.5, None, True, (1, 2), b"w"])
def test_other_dict_keys_are_refused(key: Any) -> None:
    with pytest.raises(TypeError, match="dict keys must be strings or integers, not "):
        flatten({key: 1})


@pytest.mark.parametrize("inside", [0, None, [], {}, (), Layer(1, 2)])
@pytest.mark.parametrize("levels", [63, 64])
def test_what_can_be_flattened_can_be_built_again(levels: int, inside: Any) -> None:
    tree = nested(levels, inside)
    try:
        leaves, structure = flatten(tree)
    except TypeError:
        assert levels == 64
        assert isinstance(inside, Layer)
        return
    assert plain(unflatten(structure, leaves)) == plain(tree)


def test_too_deep_a_tree_is_refused() -> None:
    with pytest.raises(TypeError, match="the value is nested deeper than 64 levels"):
        flatten(nested(65, 0))


def test_too_deep_a_structure_is_refused() -> None:
    structure: Any = ["leaf", 0]
    for _ in range(5_000):
        structure = ["list", [structure]]
    with pytest.raises(ProtocolError, match="a tree's structure is malformed"):
        unflatten(structure, [1])


@pytest.mark.parametrize(
    "structure",
    [
        None,
        [],
        "none",
        ["none", 1],
        ["leaf"],
        ["leaf", -1],
        ["leaf", 2],
        ["leaf", "0"],
        ["leaf", 0.0],
        ["list", ["leaf", 0]],
        ["list", "ab"],
        ["tuple"],
        ["set", [["leaf", 0]]],
        ["dict", ["a"], []],
        ["dict", ["a", "a"], [["leaf", 0], ["leaf", 1]]],
        ["dict", [1.5], [["leaf", 0]]],
        ["dict", [["a"]], [["leaf", 0]]],
        ["dict", [True], [["leaf", 0]]],
        ["namedtuple", "P", ["x"], []],
        ["namedtuple", "P", ["x", "x"], [["leaf", 0], ["leaf", 1]]],
        ["namedtuple", "P", ["x y"], [["leaf", 0]]],
        ["namedtuple", "P()", ["x"], [["leaf", 0]]],
        ["namedtuple", 5, ["x"], [["leaf", 0]]],
        ["namedtuple", "P", [3], [["leaf", 0]]],
        ["list", [["leaf", 0], ["leaf", 0]]],
    ],
)
def test_a_malformed_structure_is_refused(structure: Any) -> None:
    with pytest.raises(ProtocolError, match="a tree's structure is malformed: given "):
        unflatten(structure, [1, 2])


def test_a_leaf_that_no_place_is_for_is_refused() -> None:
    with pytest.raises(ProtocolError, match="does not use every leaf: given 2 leaves"):
        unflatten(["list", [["leaf", 0]]], [1, 2])


def test_a_long_malformed_structure_is_not_shown_whole() -> None:
    with pytest.raises(ProtocolError) as refused:
        unflatten(["leaf", "x" * 10_000], [1])
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        (1, "*"),
        (None, "None"),
        ((), "()"),
        ((1,), "(*,)"),
        ([(1, 2), {}], "[(*, *), {}]"),
        ({"w": 1, 0: None}, "{0: None, 'w': *}"),
        (Layer(1, [2]), "Layer(w=*, b=[*])"),
    ],
)
def test_describe_is_read_by_students(tree: Any, words: str) -> None:
    assert describe(flatten(tree)[1]) == words


def test_describe_refuses_what_is_no_structure() -> None:
    with pytest.raises(ProtocolError, match="malformed"):
        describe(["what"])


def test_paths_of_a_named_tuple_in_a_dict() -> None:
    assert leaf_paths(flatten({"l": Layer([1, 2], None), 3: 4})[1]) == ["[3]", "['l'].w[0]", "['l'].w[1]"]
