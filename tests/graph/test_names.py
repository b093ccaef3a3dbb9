"""Names: unique, clean, and those of the program."""

from __future__ import annotations

import functools
import operator
import re

import jax
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aidl_jax.graph.names import argument_names, clean, leaf_name, unique


def first_free(name, taken):
    """The definition, searched from the start."""
    candidates = [name, *(f"{name}_{count}" for count in range(1, len(taken) + 2))]
    return next(one for one in candidates if one not in taken)


@pytest.mark.oldest
@given(st.lists(st.sampled_from(["a", "a_1", "a_2", "a_1_1", "b/a", "b"]), max_size=12))
def test_a_name_is_the_first_that_is_free(asked):
    taken: dict[str, int] = {}
    given_out: list[str] = []
    for name in asked:
        expected = first_free(name, given_out)
        given_out.append(unique(name, taken))
        assert given_out[-1] == expected
    assert len(set(given_out)) == len(asked)


@pytest.mark.oldest
@given(st.text())
def test_clean_names_have_the_characters_of_a_name_and_no_empty_scope(name):
    cleaned = clean(name)
    assert re.fullmatch(r"[\w.\-]+(/[\w.\-]+)*", cleaned)
    assert clean(cleaned) == cleaned


@given(st.lists(st.text("aZ09_.-", min_size=1, max_size=3), min_size=1, max_size=4))
def test_a_clean_name_stays(parts):
    assert clean("/".join(parts)) == "/".join(parts)


@pytest.mark.oldest
def test_names_that_are_nothing_or_only_scopes():
    assert [clean(name) for name in ("", "/", "//a//b/", "/a", "a/", "ä b:0")] == ["_", "_", "a/b", "a", "a", "ä_b_0"]


def three(a, b=2, *rest, c=3, **more):
    return a


@pytest.mark.oldest
@pytest.mark.parametrize(
    ("fn", "count", "expected"),
    [
        (three, 0, []),
        (three, 1, ["a"]),
        (three, 4, ["a", "b", "rest/0", "rest/1"]),
        (lambda x, /, y: x, 2, ["x", "y"]),
        (lambda *, key: key, 1, ["argument/0"]),
        (lambda x: x, 2, ["x", "argument/0"]),
        (functools.partial(three, 1), 1, ["b"]),
        (jax.jit(three), 2, ["a", "b"]),
        (jax.grad(three), 2, ["a", "b"]),
        (jax.vmap(three), 3, ["a", "b", "rest/0"]),
        (operator.itemgetter(0), 2, ["argument_0", "argument_1"]),
    ],
)
def test_arguments_are_called_as_the_function_calls_them(fn, count, expected):
    assert argument_names(fn, count) == expected


def paths(tree):
    return [leaf_name("p", path) for path, _ in jax.tree_util.tree_flatten_with_path(tree)[0]]


@pytest.mark.oldest
def test_leaves_are_named_by_their_path():
    assert paths({"a": [1, {"b c": 2}], "value": 3}) == ["p/a/0", "p/a/1/b_c", "p/value"]
    assert paths(1) == ["p"]
    assert paths({"": 1}) == ["p/_"]
    assert paths({7: 1, 10: 2}) == ["p/7", "p/10"]
    assert leaf_name("my arg", ()) == "my_arg"


def test_only_an_attribute_called_value_is_left_out():
    key = jax.tree_util.GetAttrKey
    assert leaf_name("m", (key("kernel"), key("value"))) == "m/kernel"
    assert leaf_name("m", (jax.tree_util.DictKey("kernel"), key("value"))) == "m/kernel"
    assert leaf_name("m", (key("kernel"), jax.tree_util.DictKey("value"))) == "m/kernel/value"
    assert leaf_name("m", (key("value"),)) == "m/value"
    assert leaf_name("m", (key("value"), key("kernel"))) == "m/value/kernel"
