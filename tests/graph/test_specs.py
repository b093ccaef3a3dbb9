"""Shapes written shortly."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aidl_jax.graph import GraphError, trace
from aidl_jax.graph.specs import parse_spec

DTYPES = [
    "float32",
    "float16",
    "bfloat16",
    "int32",
    "int8",
    "int4",
    "uint8",
    "uint4",
    "bool",
    "complex64",
    "float8_e4m3fn",
]


@given(st.sampled_from(DTYPES), st.lists(st.integers(0, 9), max_size=4), st.booleans())
def test_it_is_read_as_jax_writes_it(dtype, shape, is_long):
    aval = jax.core.ShapedArray(tuple(shape), jnp.dtype(dtype))
    text = f"{dtype}[{', '.join(map(str, shape))}]" if is_long else aval.str_short(short_dtypes=True)
    spec = parse_spec(text)
    assert (spec.shape, spec.dtype) == (aval.shape, aval.dtype)


@pytest.mark.parametrize("impl", ["threefry2x32", "rbg", "unsafe_rbg"])
def test_keys(impl):
    key = jax.random.key(0, impl=impl)
    spec = parse_spec(key.aval.str_short(short_dtypes=True))
    assert (spec.shape, spec.dtype) == ((), key.dtype)


@pytest.mark.oldest
def test_the_batch():
    spec = parse_spec("f32[?,3]")
    assert spec.shape == (None, 3)
    graph = trace(lambda x: x.sum(axis=1), spec)
    assert [str(one) for one in graph.placeholders] == ["x:0 float32[batch,3]"]
    assert graph.run("reduce_sum", {"x": jnp.ones((5, 3))}).shape == (5,)


def test_pytrees():
    tree = parse_spec(' {"w": "f32[784,10]", "rest": ["i32[]", null, {"b": "f32[10]"}]} ')
    expected = {"w": jnp.zeros((784, 10)), "rest": [jnp.int32(0), None, {"b": jnp.zeros(10)}]}
    assert jax.tree.structure(tree) == jax.tree.structure(expected)
    assert jax.tree.map(lambda one: (one.shape, one.dtype), tree) == jax.tree.map(
        lambda one: (one.shape, one.dtype), expected
    )


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("f32", "this is not a shape: given 'f32'"),
        ("f32(2,3)", "this is not a shape"),
        ("", "this is not a shape: given ''"),
        ("f32[2", "this is not a shape"),
        ("f33[2]", "there is no dtype 'f33'"),
        ("float[2]", "there is no dtype 'float'"),
        ("object[2]", "there is no dtype 'object'"),
        ("key<x>[]", "there is no dtype 'key<x>'"),
        ("f32[-1]", "'-1' is not a size"),
        ("f32[2,]", "'' is not a size"),
        ("f32[batch,3]", "'batch' is not a size"),
        ("f32[3,?]", "only the first size can be ?, the batch"),
        ('{"w": f32[2]}', "this is not JSON (Expecting value: line 1 column 7"),
        ('{"w": 3}', "the leaf 3 is not a shape in quotes"),
        ('{"w": "f32"}', "this is not a shape: given 'f32'"),
    ],
)
def test_what_it_is_not(text, what):
    with pytest.raises(GraphError) as raised:
        parse_spec(text)
    assert str(raised.value).startswith(what)
    assert "Fix: write f32[32,784] for an array, f32[?,784] for a batch of any size" in str(raised.value)
