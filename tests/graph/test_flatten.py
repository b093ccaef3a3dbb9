"""Nested calls written out: scopes, source lines, and the calls that have a rule."""

from __future__ import annotations

import inspect
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from oracles import check_structure, check_trace, names

from aidl_jax.graph import trace
from aidl_jax.graph.flatten import flatten

X = np.float32([-1.0, 0.5, 2.0])


def line_of(fn, text):
    lines, start = inspect.getsourcelines(fn)
    (number,) = [start + offset for offset, line in enumerate(lines) if text in line]
    return number


@pytest.mark.oldest
def test_scopes_nest():
    def fn(x):
        with jax.named_scope("outer"):
            x = x * 2
            with jax.named_scope("inner"):
                x = x * 3
            x = x * 4
        with jax.named_scope("outer"):
            return x * 5

    assert names(trace(fn, X)) == ["x", "outer/mul", "outer/inner/mul", "outer/mul_1", "outer/mul_2"]
    assert trace(fn, X)["outer/inner/mul"].scope == "outer/inner"


@pytest.mark.oldest
def test_calls_open_scopes_and_keep_the_ones_around():
    @jax.jit
    def layer(x):
        with jax.named_scope("dense"):
            x = x * 2
        return jnp.where(x > 0, x, 0.0)

    def fn(x):
        with jax.named_scope("model"):
            x = layer(x)
            x = layer(x)
        return layer(x)

    graph = check_trace(fn, X)
    parts = ["dense/mul", "gt", "where/convert_element_type", "where/broadcast_in_dim", "where/select_n"]
    assert names(graph)[1:] == [
        f"{scope}/{part}" for scope in ("model/layer", "model/layer_1", "layer") for part in parts
    ]
    gradients = {one.scope for one in trace(jax.grad(lambda x: fn(x).sum()), X).operations() if one.is_gradient}
    assert {"gradients/model/layer/dense", "gradients/model/layer_1/dense", "gradients/layer/dense"} <= gradients


def test_a_call_inside_a_scope_inside_a_call():
    @jax.jit
    def inner(x):
        return x * 2

    @jax.jit
    def outer(x):
        with jax.named_scope("scope"):
            return inner(x) + inner(x)

    assert names(trace(lambda x: outer(x) * 1.5, X)) == [
        "x",
        "outer/scope/inner/mul",
        "outer/scope/inner_1/mul",
        "outer/scope/add",
        "mul",
    ]


@pytest.mark.parametrize(
    ("scope", "expected"),
    [("a b", "a_b/mul"), ("a/b", "a/b/mul"), ("", "mul"), ("/a//b/", "a/b/mul"), ("x:0", "x_0/mul")],
)
def test_scopes_that_are_no_names(scope, expected):
    def fn(x):
        with jax.named_scope(scope):
            return x * 2

    graph = trace(fn, X)
    check_structure(graph)
    assert names(graph) == ["x", expected]
    np.testing.assert_array_equal(graph.run(expected, {"x": X}), 2 * X)


@pytest.mark.oldest
def test_scopes_of_calls_are_named_without_brackets_and_underscores():
    def _hidden(x):
        return x + 1

    assert names(trace(lambda x: jax.jit(_hidden)(jax.jit(lambda x: x * 2)(x)), X)) == ["x", "lambda/mul", "hidden/add"]


@jax.jit
def helper(x):
    y = jnp.sin(x)  # here: sin
    return jax.jit(jnp.tanh)(y)  # here: tanh


@jax.jit
def jitted_helper(x):
    x = jax.nn.silu(x)  # here: silu
    return helper(x) * 2  # here: twice


def program(x):
    a = jitted_helper(x)
    b = jitted_helper(a) + 1  # here: add
    return jnp.where(b > 0, b, 0.0) + jnp.clip(a, 0, 1)  # here: where


@pytest.mark.oldest
def test_operations_know_the_line_they_came_from():
    graph = trace(program, X)
    expected = {
        "sin": (helper.__wrapped__, "here: sin"),
        "tanh": (helper.__wrapped__, "here: tanh"),
        "logistic": (jitted_helper.__wrapped__, "here: silu"),
        "add": (program, "here: add"),
        "select_n": (program, "here: where"),
        "min": (program, "here: where"),
    }
    seen = set()
    for one in graph.operations():
        if one.type not in expected or one.name == graph.outputs.operation:
            continue
        fn, text = expected[one.type]
        seen.add(one.type)
        assert one.source is not None
        assert (one.source.file, one.source.line) == (__file__, line_of(fn, text)), one.name
        assert one.source.function == fn.__qualname__
        assert str(one.source) == f"test_flatten.py:{one.source.line} ({fn.__qualname__})"
    assert seen == set(expected)
    assert graph["x"].source is None


@pytest.mark.oldest
def test_gradients_have_the_lines_of_what_they_are_gradients_of():
    graph = trace(jax.grad(lambda x: program(x).sum()), X)
    lines = {one.source.line for one in graph.operations() if one.is_gradient and one.source.function == "program"}
    assert line_of(program, "here: where") in lines
    assert {one.source.file for one in graph.operations() if one.type != "placeholder"} == {__file__}


def test_what_was_traced_before_elsewhere_has_the_line_of_its_own_call():
    def one(x):
        return jnp.clip(x, 0, 1)  # here: one

    def two(x):
        return jnp.clip(x, 0, 1)  # here: two

    for fn, text in ((one, "here: one"), (two, "here: two"), (one, "here: one")):
        sources = {operation.source for operation in trace(fn, X).operations()[1:]}
        assert {source.line for source in sources} == {line_of(fn, text)}


def test_code_without_a_file_has_a_line_too():
    known: dict = {"jnp": jnp}
    exec(compile(textwrap.dedent("def fn(x):\n\n    return jnp.sin(x)\n"), "<cell 3>", "exec"), known)
    assert str(trace(known["fn"], X)["sin"].source) == "<cell 3>:3 (fn)"


@pytest.mark.oldest
def test_custom_rules_are_written_out_and_named():
    @jax.custom_jvp
    def gate(x):
        return jnp.maximum(jnp.sin(x), 0.0)

    gate.defjvps(lambda tangent, answer, x: tangent)
    graph = trace(lambda x: gate(x) + jax.checkpoint(jnp.cos)(x), X)
    assert {one.name: one.custom for one in graph.operations()} == {
        "x": None,
        "sin": "gate",
        "max": "gate",
        "cos": None,
        "add": None,
    }


@pytest.mark.oldest
def test_a_call_that_is_kept_closed_leaves_nothing_behind():
    @jax.jit
    def part(x):
        return x * 2

    def fn(x):
        y = part(x)
        return (y, y, x)

    rule = jax.custom_vjp(fn)
    rule.defvjp(lambda x: (fn(x), None), lambda _, back: (back[0],))
    graph = trace(lambda x: (part(rule(x)[0]), jax.nn.relu(x)), X)
    assert names(graph) == ["x", "custom_vjp_call", "part/mul", "relu/max"]
    assert names(graph["custom_vjp_call"].bodies["body"]) == ["operand_0", "part/mul"]


def test_the_outermost_rule_is_named():
    @jax.custom_vjp
    def outer(x):
        return jax.nn.relu(x) * 2

    outer.defvjp(lambda x: (outer(x), x), lambda x, back: (back,))
    graph = trace(lambda x: outer(x) + 1, X)
    assert [one.custom for one in graph.operations()] == [None, "outer", "outer", None]
    step = graph.steps["relu/max"]
    assert [call.custom for call in step.calls] == ["outer", "relu"]


def test_loops_are_one_operation_with_what_they_repeat_inside():
    def fn(x):
        with jax.named_scope("loop"):
            return lax.scan(lambda c, a: (jax.nn.relu(c) + a, c), x, jnp.stack([x, x]))

    graph = check_trace(fn, X)
    scan = graph["loop/scan"]
    assert scan.type == "scan"
    assert [one.type for one in scan.bodies["body"].operations()] == ["placeholder", "placeholder", "max", "add"]
    assert scan.bodies["body"]["relu/max"].custom == "relu"
    assert scan.attributes["length"] == 2


@pytest.mark.oldest
def test_every_variable_of_a_program_is_made_once():
    def fn(x):
        y = jax.jit(lambda x: (x, x * 2))(x)
        return y, jax.jit(lambda x: x)(x), jax.nn.relu(x)

    program = flatten(jax.make_jaxpr(fn)(X))
    made = [out for step in program.steps for out in step.equation.outvars]
    known = {*program.inputs, *program.constants, *made}
    assert len(known) == len(program.inputs) + len(program.constants) + len(made)
    for step in program.steps:
        assert all(hasattr(one, "val") or one in known for one in step.equation.invars)
    assert set(program.outputs) <= known


@pytest.mark.oldest
def test_a_number_that_is_returned_is_a_constant_with_its_dtype():
    graph = trace(lambda x: {"n": jnp.bfloat16(3), "x": x, "i": 7}, X)
    assert [str(one) for one in graph.constants] == ["constant:0 int32[]", "constant_1:0 bfloat16[]"]
    got = graph.run(graph.outputs, {"x": X})
    assert (float(got["n"]), int(got["i"])) == (3, 7)
