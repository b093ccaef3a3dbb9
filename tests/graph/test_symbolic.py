"""A batch of any size: one graph for all, and what it cannot do."""

from __future__ import annotations

import jax
import jax.experimental
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export, lax
from oracles import assert_close, assert_same, check_structure, names

from aidl_jax.graph import GraphError, trace

RNG = np.random.default_rng(3)
SIZES = (1, 2, 7, 8)
PARAMS = {"w": RNG.normal(size=(3, 4)).astype(np.float32), "v": RNG.normal(size=(4, 2)).astype(np.float32)}


def free(*rest, dtype=jnp.float32):
    return jax.ShapeDtypeStruct((None, *rest), dtype)


def rows(size):
    return RNG.normal(size=(size, 3)).astype(np.float32)


def labels(size):
    return RNG.integers(0, 2, size).astype(np.int32)


def loss(params, x, y):
    with jax.named_scope("hidden"):
        hidden = jax.nn.relu(x @ params["w"])
    with jax.named_scope("out"):
        logits = hidden @ params["v"]
    with jax.named_scope("loss"):
        chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), y[:, None], 1)
        return -chosen.sum() / x.shape[0]


@pytest.fixture(scope="module")
def graph():
    return trace(jax.value_and_grad(loss), PARAMS, free(3), free(dtype=jnp.int32))


@pytest.mark.oldest
@pytest.mark.parametrize("size", SIZES)
def test_one_graph_serves_every_size(graph, size):
    x, y = rows(size), labels(size)
    with jax.default_matmul_precision("highest"):
        got = graph.run(graph.outputs, {"params": PARAMS, "x": x, "y": y})
        assert_same(got, jax.jit(jax.value_and_grad(loss))(PARAMS, x, y))
        hidden = graph.run("hidden/relu/max", {"params/w": PARAMS["w"], "x": x})
        assert_close(hidden, jnp.asarray(np.maximum(x @ PARAMS["w"], 0)))
        logits = graph.run("out/dot_general", {"params/v": PARAMS["v"], "hidden/relu/max": hidden})
        assert_close(logits, jnp.asarray(np.asarray(hidden) @ PARAMS["v"]))


@pytest.mark.oldest
def test_names_are_those_of_a_trace_at_a_size_but_for_the_size_itself(graph):
    check_structure(graph)
    extra = {"loss/dim_as_value", "loss/convert_element_type"}
    assert extra <= set(names(graph))
    for size in SIZES[1:]:
        fixed = trace(jax.value_and_grad(loss), PARAMS, rows(size), labels(size))
        assert [one for one in names(graph) if one not in extra] == names(fixed)
    assert [str(one) for one in graph.placeholders[2:]] == ["x:0 float32[batch,3]", "y:0 int32[batch]"]
    assert str(graph["hidden/relu/max:0"]) == "hidden/relu/max:0 float32[batch,4]"
    assert str(graph["gradients/hidden/transpose:0"]) == "gradients/hidden/transpose:0 float32[3,4]"


def test_a_graph_of_open_size_is_compiled_once_for_each_size():
    graph = trace(lambda x: jnp.tanh(x) * 2, free(3))
    for size in (2, 5, 2, 5):
        assert graph.run("mul", {"x": rows(size)}).shape == (size, 3)
    assert len(graph.compiled) == 1


FUNCTIONS = {
    "mean": lambda x: x.mean(0),
    "standard deviation": lambda x: x.std(0),
    "first rows": lambda x: x[:5],
    "last row": lambda x: x[-1],
    "every second": lambda x: x[::2],
    "reversed": lambda x: x[::-1],
    "sorted": lambda x: jnp.sort(x, axis=0),
    "argmax": lambda x: x.argmax(0),
    "cumulated": lambda x: jnp.cumsum(x, axis=0),
    "flat": lambda x: x.reshape(-1) * 2,
    "products": lambda x: x @ x.T,
    "twice": lambda x: jnp.concatenate([x, x]),
    "random": lambda x: x * jax.random.normal(jax.random.key(0), x.shape),
    "mapped": lambda x: jax.vmap(lambda row: row / jnp.linalg.norm(row))(x),
    "row by row": lambda x: lax.map(jnp.tanh, x),
    "identity matrix": lambda x: jnp.eye(x.shape[0]) @ x,
    "positions": lambda x: x * jnp.arange(x.shape[0])[:, None],
    "size inside a loop": lambda x: lax.fori_loop(0, 3, lambda i, c: c + jnp.ones(x.shape[0]).sum(), 0.0),
    "size inside a branch": lambda x: lax.cond(x[0, 0] > 0, lambda: jnp.ones(x.shape[0]).sum(), lambda: 0.0),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_values_are_those_of_the_function_at_the_size(name):
    fn = FUNCTIONS[name]
    graph = trace(fn, free(3))
    check_structure(graph)
    for size in (1, 6):
        x = rows(size)
        assert_close(graph.run(graph.outputs, {"x": x}), jax.jit(fn)(x), operations=8)


@pytest.mark.oldest
def test_sizes_of_the_users_own_naming():
    b, t = export.symbolic_shape("b, t")

    def rnn(w, x):
        def cell(state, row):
            state = jnp.tanh(row @ w + state)
            return state, state.sum(-1)

        return lax.scan(cell, jnp.zeros((x.shape[1], 4)), x)

    graph = trace(
        jax.value_and_grad(lambda w, x: rnn(w, x)[1].sum()), PARAMS["w"], jax.ShapeDtypeStruct((t, b, 3), jnp.float32)
    )
    check_structure(graph)
    assert str(graph["scan"].bodies["body"].placeholders[-1]) == "x_0:0 float32[b,3]"
    for length, size in ((1, 1), (4, 2), (2, 5)):
        x = RNG.normal(size=(length, size, 3)).astype(np.float32)
        expected = jax.jit(jax.value_and_grad(lambda w, x: rnn(w, x)[1].sum()))(PARAMS["w"], x)
        assert_close(graph.run(graph.outputs, {"w": PARAMS["w"], "x": x}), expected)


@pytest.mark.oldest
def test_a_loop_over_time_with_a_batch_of_any_size():
    def rnn(w, x):
        def cell(state, row):
            return jnp.tanh(row @ w + state), None

        return lax.scan(cell, jnp.zeros((x.shape[0], 4)), jnp.moveaxis(x, 1, 0))[0]

    graph = trace(rnn, PARAMS["w"], free(5, 3))
    for size in (1, 3):
        x = RNG.normal(size=(size, 5, 3)).astype(np.float32)
        assert_close(graph.run(graph.outputs, {"w": PARAMS["w"], "x": x}), jax.jit(rnn)(PARAMS["w"], x))


@pytest.mark.oldest
def test_an_intermediate_value_with_a_batch_can_be_fed(graph):
    for size in (1, 4):
        hidden = RNG.normal(size=(size, 4)).astype(np.float32)
        fed = {"params": PARAMS, "hidden/dot_general": hidden, "y": labels(size)}
        expected = jax.jit(lambda h, y: loss({"w": np.eye(4, dtype=np.float32), "v": PARAMS["v"]}, h, y))
        assert_close(graph.run(graph.outputs[0], fed), expected(hidden, fed["y"]))
        graph.run("gradients/hidden/transpose", fed | {"x": rows(size)})


def test_a_derived_size_can_be_fed():
    graph = trace(lambda x: jnp.concatenate([x, x]) * 2, free(3))
    assert str(graph["concatenate:0"]) == "concatenate:0 float32[2*batch,3]"
    assert_same(graph.run("mul", {"concatenate": np.ones((6, 3), np.float32)}), jnp.full((6, 3), 2.0))
    shorter = trace(lambda x: x[1:] * 2, free(3))
    rest = shorter.operations()[-1].inputs[0]
    assert str(rest.shape[0]) == "batch - 1"
    assert shorter.run("mul", {rest: np.ones((0, 3), np.float32)}).shape == (0, 3)


@pytest.mark.oldest
def test_functions_of_open_size_have_gradients_and_the_rules_of_the_whole():
    def fn(x):
        return (jax.nn.relu(x) * 2).sum()

    graph = trace(fn, free(3))
    function = graph.function(graph.outputs, ["x"])
    x = np.float32([[0, -1, 2], [1, 0, 0]])
    assert_same(jax.grad(function)(x), jax.grad(fn)(x))
    assert_same(jax.jit(function)(x), jnp.float32(6))
    assert function.lower(x)
    again = trace(function, free(3))
    assert_same(again.run(again.outputs, {next(iter(again.arguments)): x}), jnp.float32(6))


def test_a_print_is_no_obstacle_where_it_is_not_fetched():
    def fn(x):
        y = jnp.tanh(x)
        jax.debug.print("{}", y)
        return y * 2

    graph = trace(fn, free(3))
    assert graph.run("mul", {"x": rows(4)}).shape == (4, 3)
    rule = jax.custom_jvp(fn)
    rule.defjvps(lambda tangent, answer, x: tangent * 7)
    graph = trace(lambda x: rule(x) + 1, free(3))
    assert graph.run("add", {"x": rows(4)}).shape == (4, 3)


def refused(call, *args):
    with pytest.raises(GraphError) as caught:
        call(*args)
    return str(caught.value)


def branching(x):
    return x * 2 if x.shape[0] > 5 else x


def looping(x):
    return sum(x[i] for i in range(x.shape[0]))


NEEDS_SIZE = {
    "a branch": branching,
    "a loop": looping,
    "rows": lambda x: sum(row for row in x),
    "a permutation": lambda x: jax.random.permutation(jax.random.key(0), x),
    "a whole number": lambda x: x / int(x.shape[0]),
    "a float": lambda x: x / float(x.shape[0]),
    "NumPy's root": lambda x: x / np.sqrt(x.shape[0]),
    "NumPy's zeros": lambda x: x + np.zeros(x.shape, np.float32),
    "NumPy's positions": lambda x: x + np.arange(x.shape[0], dtype=np.float32)[:, None],
    "halves": lambda x: x.reshape(2, -1),
    "a split": lambda x: jnp.split(x, 3),
}


@pytest.mark.oldest
@pytest.mark.parametrize("name", NEEDS_SIZE)
def test_error_a_function_that_needs_the_size(name):
    fn = NEEDS_SIZE[name]
    told = refused(trace, fn, free(3))
    assert "needs to know the size of the batch" in told
    assert told.startswith("test_symbolic.py:") and f"({fn.__name__})" in told.replace("<genexpr>", fn.__name__)
    assert "trace it with a number in place of None" in told
    trace(fn, rows(24))


def test_error_two_batches_of_different_names():
    (b,) = export.symbolic_shape("b")
    told = refused(trace, lambda x, y: x + y, free(3), jax.ShapeDtypeStruct((b, 3), jnp.float32))
    assert "sizes that were made apart cannot be used together: given b, batch" in told


@pytest.mark.oldest
def test_error_an_empty_batch(graph):
    told = refused(graph.run, graph.outputs, {"params": PARAMS, "x": rows(0), "y": labels(0)})
    assert "the feed for 'x:0' is empty: given size 0 for batch, expected at least 1" in told
    assert "skip an empty batch" in told


@pytest.mark.oldest
def test_error_two_sizes_in_one_run(graph):
    told = refused(graph.run, graph.outputs, {"params": PARAMS, "x": rows(3), "y": labels(2)})
    assert "two feeds have batches of different sizes: given batch is 3 in 'x:0' and 2 in 'y:0'" in told
    assert "feed the same number of rows" in told
    told = refused(graph.function(graph.outputs, ["params", "x", "y"]), PARAMS, rows(3), labels(2))
    assert "different sizes" in told


@pytest.mark.oldest
def test_error_another_shape_beside_the_batch(graph):
    for x in (np.ones((3, 4), np.float32), np.ones(3, np.float32), np.ones((1, 2, 3), np.float32)):
        told = refused(graph.run, "hidden/dot_general", {"params": PARAMS, "x": x})
        assert "the feed for 'x:0' has another shape" in told and "expected float32[batch,3]" in told


@pytest.mark.oldest
def test_error_feeds_that_do_not_carry_the_size(graph):
    told = refused(graph.run, graph.outputs[0], {"loss/reduce_sum": 1.0})
    assert "the size of batch is not in what is fed: given loss/reduce_sum:0 float32[]" in told
    assert "x:0 float32[batch,3], y:0 int32[batch]" in told
    inside = trace(FUNCTIONS["size inside a loop"], free(3))
    assert "the size of batch is not in what is fed: given no feed" in refused(inside.run, inside.outputs)
    assert_same(inside.run(inside.outputs, {"x": rows(4)}), jnp.float32(12))


def test_error_sizes_that_do_not_fit_together():
    graph = trace(lambda x: (jnp.concatenate([x, x]) * 2, x + 1), free(3))
    odd = np.ones((5, 3), np.float32)
    told = refused(graph.run, "mul", {"concatenate": odd})
    assert "do not fit together: given float32[5,3], expected concatenate:0 float32[2*batch,3]" in told
    told = refused(graph.run, graph.outputs, {"concatenate": odd[:4], "x": odd[:3]})
    assert "given float32[4,3], float32[3,3]" in told


def test_error_sizes_that_cannot_be_told_apart():
    b, t = export.symbolic_shape("b, t")
    half = trace(lambda x: x[::2] * 2.0, free(3))
    told = refused(half.run, half.outputs, {half.operations()[-1].inputs[0]: rows(2)})
    assert "cannot be told from what is fed" in told and "floordiv(batch + 1, 2)" in told
    graph = trace(lambda x: x.reshape(-1) * 2, jax.ShapeDtypeStruct((b, t), jnp.float32))
    told = refused(graph.run, "mul", {"reshape": np.ones(6, np.float32)})
    assert "cannot be told from what is fed" in told and "b*t" in told
    assert graph.run("mul", {"x": np.ones((2, 3), np.float32)}).shape == (6,)


@pytest.mark.oldest
@pytest.mark.oldest
def test_error_vmapping_and_forward_mode():
    graph = trace(lambda x: jnp.sin(x).sum(axis=1), free(3))
    function, x = graph.function(graph.outputs, ["x"]), jnp.ones((2, 3))
    told = "a graph with a batch of any size cannot be {}. Fix: trace it with a number in place of None, or {}"
    for run in (function, lambda x: graph.run(graph.outputs, {"x": x})):
        with pytest.raises(GraphError, match=told.format("vmapped", "feed the whole batch at once")):
            jax.vmap(run)(x[None])
        with pytest.raises(
            GraphError, match=told.format("differentiated in forward mode", "differentiate in reverse mode")
        ):
            jax.jvp(run, (x,), (x,))
    fixed = trace(lambda x: jnp.sin(x).sum(axis=1), x)
    assert_same(jax.vmap(fixed.function(fixed.outputs, ["x"]))(x[None]), function(x)[None])


def test_error_a_callback_in_a_graph_of_open_size():
    def fn(x):
        y = jnp.tanh(x)
        with jax.named_scope("host"):
            z = jax.pure_callback(np.negative, jax.ShapeDtypeStruct((3,), y.dtype), y.sum(0))
            jax.debug.print("{}", y)
        return y * 2, z

    graph = trace(fn, free(3))
    assert graph.run(graph.outputs[0], {"x": rows(2)}).shape == (2, 3)
    told = refused(graph.run, graph.outputs, {"x": rows(2)})
    assert "'host/pure_callback' calls a Python function" in told and "a number in place of None" in told
    looped = trace(lambda x: lax.map(lambda row: (jax.debug.print("{}", row), row * 2)[1], x), free(3))
    assert "'scan' calls a Python function" in refused(looped.run, looped.outputs, {"x": rows(2)})
    (act,) = [one for one in graph.operations() if not one.outputs]
    assert f"{act.name!r} calls a Python function" in refused(graph.run, act, {"x": rows(2)})
