"""Cuts: the same values as the whole, and the derivatives of the rules that are kept whole."""

from __future__ import annotations

from functools import partial

import jax
import jax.experimental
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import assert_close, assert_same, check_structure, evaluate

from aidl_jax._compat import jaxpr_as_fun
from aidl_jax.graph import trace
from aidl_jax.graph.slicing import cut, reached

X = np.float32([-1.0, 0.0, 2.0])


def own_jvp(fn):
    """The function with a derivative of 3 in each direction, which is no other rule's."""
    fn = jax.custom_jvp(fn)
    fn.defjvp(lambda primals, tangents: (fn(*primals), jax.tree.map(lambda _: 3 * sum(tangents), fn(*primals))))
    return fn


def own_vjp(fn):
    fn = jax.custom_vjp(fn)
    fn.defvjp(
        lambda *given: (fn(*given), given), lambda kept, back: tuple(5 * sum(jax.tree.leaves(back)) for _ in kept)
    )
    return fn


WRAPPERS = {
    "plain": lambda fn: fn,
    "jit": jax.jit,
    "custom_jvp": own_jvp,
    "custom_vjp": own_vjp,
    "checkpoint": jax.checkpoint,
    "jit of custom_jvp": lambda fn: jax.jit(own_jvp(fn)),
    "custom_jvp of jit": lambda fn: own_jvp(jax.jit(fn)),
    "custom_vjp of custom_jvp": lambda fn: own_vjp(own_jvp(fn)),
    "checkpoint of custom_vjp": lambda fn: jax.checkpoint(own_vjp(fn)),
}
OPERATIONS = [jnp.add, jnp.subtract, jnp.multiply, jnp.maximum, lambda a, b: jnp.sin(a), lambda a, b: jnp.tanh(b)]


@st.composite
def programs(draw):
    """A function of two numbers as a list of blocks: how each is wrapped, what it does, and which values it returns."""
    blocks = []
    count = 2
    for _ in range(draw(st.integers(1, 4))):
        wrapper = draw(st.sampled_from(sorted(WRAPPERS)))
        size = draw(st.integers(0, 4))
        numbers = st.integers(0, 99)
        steps = [(draw(st.integers(0, len(OPERATIONS) - 1)), draw(numbers), draw(numbers)) for _ in range(size)]
        returned = draw(st.lists(numbers, min_size=1, max_size=3))
        blocks.append((wrapper, (draw(numbers), draw(numbers)), steps, returned))
        count += len(returned)
    return blocks


def function_of(blocks):
    def block(steps, returned, a, b):
        values = [a, b]
        for operation, one, two in steps:
            values.append(OPERATIONS[operation](values[one % len(values)], values[two % len(values)]))
        return tuple(values[number % len(values)] for number in returned)

    def fn(x, y):
        values = [x, y]
        for wrapper, (one, two), steps, returned in blocks:
            wrapped = WRAPPERS[wrapper](partial(block, steps, returned))
            values += wrapped(values[one % len(values)], values[two % len(values)])
        return tuple(values[2:])

    return fn


def near(got, expected):
    np.testing.assert_allclose(np.asarray(got), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.oldest
@settings(max_examples=40, deadline=None)
@given(programs(), st.data())
def test_any_cut_of_any_program_gives_the_values_of_the_whole(blocks, data):
    fn = function_of(blocks)
    x, y = np.float32(0.7), np.float32(-0.4)
    graph = trace(fn, x, y)
    check_structure(graph)
    tensors = [out for one in graph.operations() for out in one.outputs]
    values = evaluate(graph, {"x:0": x, "y:0": y})
    for out, expected in zip(jax.tree.leaves(graph.outputs), fn(x, y), strict=True):
        near(values[out.name], np.asarray(expected))

    fetched = data.draw(st.lists(st.sampled_from(tensors), min_size=1, max_size=4, unique=True))
    changed = data.draw(st.lists(st.sampled_from(tensors), max_size=2, unique=True))
    fed = {one.name: np.float32(values[one.name] + 0.25) for one in changed}
    fed |= {name: value for name, value in (("x:0", x), ("y:0", y)) if name not in fed}
    expected = evaluate(graph, fed)
    variables = [graph.variable_of[one.name] for one in fetched]
    closed = cut(graph.program, variables, [graph.variable_of[name] for name in fed])
    for got, tensor in zip(jaxpr_as_fun(closed)(*fed.values()), fetched, strict=True):
        near(got, expected[tensor.name])


@pytest.mark.oldest
@settings(max_examples=20, deadline=None)
@given(programs())
def test_a_cut_has_the_derivatives_of_the_whole(blocks):
    fn = function_of(blocks)
    x, y = np.float32(0.7), np.float32(-0.4)
    graph = trace(fn, x, y)
    inputs = [graph.variable_of["x:0"], graph.variable_of["y:0"]]
    whole = jaxpr_as_fun(cut(graph.program, list(graph.program.outputs), inputs))
    values, back = jax.vjp(lambda *given: tuple(whole(*given)), x, y)
    expected, expected_back = jax.vjp(fn, x, y)
    for number, (got, one) in enumerate(zip(values, expected, strict=True)):
        near(got, np.asarray(one))
        seed = tuple(np.float32(place == number) for place in range(len(values)))
        near(jnp.stack(back(seed)), np.asarray(jnp.stack(expected_back(seed))))


@pytest.mark.oldest
@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_the_outermost_rule_is_the_one_that_counts(wrapper):
    fn = WRAPPERS[wrapper](lambda a, b: (a * b, jnp.sin(a)))
    graph = trace(lambda a, b: fn(a, b), np.float32(0.7), np.float32(-0.4))
    with jax.disable_jit():
        got = jax.jacobian(graph.function(graph.outputs, ["a", "b"]), (0, 1))(0.7, -0.4)
        assert_close(got, jax.jacobian(fn, (0, 1))(0.7, -0.4))


def gradient(graph, *feeds):
    return jax.grad(lambda *given: jnp.sum(graph.function(graph.outputs, feeds)(*given)))


@pytest.mark.oldest
@pytest.mark.parametrize("fn", [jax.nn.relu, jax.nn.relu6, jax.nn.elu, jax.nn.softplus, jnp.abs])
def test_a_gradient_through_the_graph_is_jaxs_at_ties_too(fn):
    def whole(x):
        return jnp.sum(fn(x) * 2 + jax.jit(fn)(x))

    graph = trace(whole, X)
    expected = jax.grad(whole)(X)
    for got in (gradient(graph, "x")(X), jax.grad(lambda x: graph.run(graph.outputs, {"x": x}))(X)):
        assert_close(got, expected)
        assert got[1] == expected[1]


@pytest.mark.oldest
def test_relu_at_zero_is_flat_and_half_where_its_inside_is_fed():
    def fn(x):
        @jax.custom_jvp
        def gate(x):
            return jnp.maximum(x * 1.0, 0.0) * 1.0

        gate.defjvps(lambda tangent, answer, x: jnp.where(x > 0, tangent, 0))
        return gate(x) * 4

    graph = trace(fn, np.float32(0))
    assert [one.name for one in graph.operations() if one.custom] == ["mul", "max", "mul_1"]
    assert gradient(graph, "x")(0.0) == 0
    assert jax.grad(graph.function("mul_1", ["x"]))(0.0) == 0
    assert jax.grad(graph.function("max", ["x"]))(0.0) == 0.5
    assert jax.grad(graph.function("mul_2", ["mul"]))(0.0) == 2.0
    assert jax.grad(graph.function("mul_2", ["mul_1"]))(0.0) == 4.0


def test_fetching_an_inside_value_beside_leaves_the_rule_in_force():
    graph = trace(lambda x: jnp.sum(own_jvp(lambda x: jnp.sin(x) * x)(x)), X)
    function = graph.function([graph.outputs, "sin"], ["x"])
    assert_same(jax.grad(lambda x: function(x)[0])(X), jnp.full(3, 3.0))
    assert_same(jax.grad(lambda x: jnp.sum(function(x)[1]))(X), jnp.cos(X))


@pytest.mark.oldest
def test_a_gradient_clipping_identity_keeps_its_rule():
    @jax.custom_vjp
    def clipped(x):
        return x

    clipped.defvjp(lambda x: (x, None), lambda _, back: (jnp.clip(back, -1, 1),))
    graph = trace(lambda x: jnp.sum(clipped(x * 1.0) * jnp.float32([-5, 0.5, 5])), X)
    expected = jnp.float32([-1, 0.5, 1])
    assert_same(gradient(graph, "x")(X), expected)
    assert_same(gradient(graph, "mul")(X), expected)
    (call,) = [one for one in graph.operations() if one.type == "custom_vjp_call"]
    assert list(call.bodies) == ["body"]
    assert_same(gradient(graph, call.name)(X), jnp.float32([-5, 0.5, 5]))


@pytest.mark.parametrize(
    "fn",
    [lambda x: (x * 2,) * 2, lambda x: (x, x * 2), lambda x: (x * 2, 1.0), lambda x: (x, x), lambda x: (x * 2, x * 3)],
    ids=["one value twice", "an input", "a number", "only inputs", "two values"],
)
def test_a_rule_weighs_each_of_its_outputs(fn):
    rule = jax.custom_vjp(fn)
    rule.defvjp(lambda x: (fn(x), None), lambda _, back: (100 * back[0] + 10 * back[1],))
    graph = trace(lambda x: rule(x), X)
    values, back = jax.vjp(graph.function(graph.outputs, ["x"]), X)
    expected, expected_back = jax.vjp(rule, X)
    assert_same(jax.tree.map(jnp.asarray, values), jax.tree.map(jnp.asarray, expected))
    seed = jax.tree.map(lambda one: jnp.ones_like(one) * 7, expected)
    assert_same(back((seed[0], seed[1] * 2)), jax.tree.map(jnp.asarray, expected_back((seed[0], seed[1] * 2))))


def test_rules_with_static_arguments_and_closed_over_values():
    @partial(jax.custom_vjp, nondiff_argnums=(1,))
    def scaled(x, times):
        return x * times

    scaled.defvjp(lambda x, times: (x * times, None), lambda times, _, back: (back * times * 10,))
    graph = trace(lambda x: own_vjp(lambda x: x * jnp.asarray(X))(scaled(x, 3.0)), X)
    assert_same(gradient(graph, "x")(X), jnp.full(3, 150.0))


def test_mapped_rules_stay_rules():
    graph = trace(jax.vmap(own_jvp(lambda x: jnp.sin(x) * 2)), X)
    assert_same(gradient(graph, "x")(X), jnp.full(3, 3.0))
    graph = trace(lambda x: own_vjp(lambda x: jnp.sin(x))(x), X[0])
    assert_same(jax.vmap(jax.grad(graph.function(graph.outputs, ["x"])))(X), jnp.full(3, 5.0))


def test_second_derivatives_through_the_graph():
    def fn(x):
        return jnp.sum(jax.nn.softplus(x) * jnp.tanh(x))

    graph = trace(fn, X)
    assert_close(jax.hessian(graph.function(graph.outputs, ["x"]))(X), jax.hessian(fn)(X))


@pytest.mark.oldest
@pytest.mark.parametrize("wrap", [own_jvp, own_vjp])
def test_a_print_inside_does_not_cost_the_rule_and_is_pruned(wrap):
    seen = []

    def inner(x):
        jax.debug.callback(lambda value: seen.append(float(value)), x)
        return jnp.sin(x)

    graph = trace(lambda x: wrap(lambda x: jax.jit(inner)(x) * 2)(x) + 1, np.float32(2))
    (act,) = [one for one in graph.operations() if not one.outputs]
    assert float(graph.run(graph.outputs, {"x": 2.0})) == pytest.approx(np.sin(2.0) * 2 + 1)
    jax.effects_barrier()
    assert seen == []
    assert float(gradient(graph, "x")(2.0)) == {own_jvp: 3, own_vjp: 5}[wrap]
    jax.effects_barrier()
    seen.clear()
    graph.run([act, graph.outputs], {"x": 2.0})
    jax.effects_barrier()
    assert seen == [2.0]


def test_a_callback_inside_runs_once_however_much_is_fetched():
    seen = []

    def inner(x):
        def act(value):
            seen.append(float(value))
            return value

        return jax.experimental.io_callback(act, jax.ShapeDtypeStruct((), jnp.float32), x) * 2

    graph = trace(lambda x: own_jvp(inner)(x) + 1, np.float32(2))
    assert_same(graph.run([graph.outputs, "io_callback", "mul"], {"x": 2.0}), [jnp.float32(one) for one in (5, 2, 4)])
    jax.effects_barrier()
    assert seen == [2.0]


def test_only_what_is_needed_is_in_a_cut():
    def fn(x, y):
        a = jnp.sin(x) * 2
        b = own_jvp(lambda y: jnp.cos(y) * 3)(y)
        return a, b, a + b

    graph = trace(fn, X, X)
    variable = graph.variable_of

    def primitives(fetches, feeds):
        closed = cut(graph.program, [variable[one] for one in fetches], [variable[one] for one in feeds])
        return [one.primitive.name for one in closed.jaxpr.eqns]

    assert primitives(["mul:0"], ["x:0"]) == ["sin", "mul"]
    assert primitives(["mul:0"], ["sin:0"]) == ["mul"]
    assert primitives(["sin:0"], ["sin:0"]) == []
    assert primitives(["mul_1:0"], ["y:0"]) == ["custom_jvp_call"]
    assert primitives(["cos:0"], ["y:0"]) == ["cos"]
    assert primitives(["mul_1:0", "cos:0"], ["y:0"]) == ["custom_jvp_call", "cos"]
    assert primitives(["mul_1:0"], ["cos:0"]) == ["mul"]
    assert primitives(["add:0"], ["mul:0", "mul_1:0"]) == ["add"]
    seen, units = reached(graph.program, [variable["mul:0"]], [variable["x:0"]])
    assert seen == {variable[one] for one in ("mul:0", "sin:0", "x:0")}
    assert len(units) == 2


@pytest.mark.oldest
def test_a_checkpoint_is_kept_whole():
    graph = trace(lambda x: jax.checkpoint(lambda x: jnp.sin(jnp.sin(x)))(x) * 2, X)
    closed = cut(graph.program, list(graph.program.outputs), list(graph.program.inputs))
    assert [one.primitive.name for one in closed.jaxpr.eqns] in (["checkpoint", "mul"], ["remat2", "mul"])
    inside = [graph.variable_of["sin:0"]]
    assert [one.primitive.name for one in cut(graph.program, inside, list(graph.program.inputs)).jaxpr.eqns] == ["sin"]


def test_constants_that_a_cut_does_not_need_are_left_out():
    a, b = jnp.asarray(X), jnp.asarray(2 * X)
    graph = trace(lambda x: (x * a, x * b), X)
    closed = cut(graph.program, [graph.program.outputs[1]], list(graph.program.inputs))
    assert [np.asarray(one).tolist() for one in closed.consts] == [[-2, 0, 4]]
