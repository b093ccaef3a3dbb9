"""Running a part of a graph: what is fetched, what is fed, and nothing that is not needed."""

from __future__ import annotations

import subprocess
import sys
from functools import partial

import jax
import jax.experimental
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from oracles import assert_close, assert_same, names

from aidl_jax.graph import GraphError, trace

X = np.float32([[1.0, -2.0, 0.5], [0.0, 1.0, 3.0]])
PARAMS = {
    "w": np.float32([[0.5, -1.0], [0.25, 2.0], [-0.5, 1.5]]),
    "b": np.float32([0.1, -0.2]),
    "v": np.float32([1.5, -0.5]),
}


def loss(params, x):
    with jax.named_scope("hidden"):
        h = jnp.tanh(x @ params["w"] + params["b"])
    with jax.named_scope("out"):
        y = h @ params["v"]
    return jnp.mean(y * y), h


@pytest.fixture(scope="module")
def graph():
    return trace(jax.value_and_grad(loss, has_aux=True), PARAMS, X)


FEEDS = {"params": PARAMS, "x": X}


def by_hand(**fed):
    """The forward operations in NumPy, float64, any of them replaced by a value."""
    values = {}

    def put(name, make):
        values[name] = fed[name] if name in fed else make()
        return values[name]

    w, b, v = (np.float64(PARAMS[one]) for one in ("w", "b", "v"))
    dot = put("hidden/dot_general", lambda: np.float64(X) @ w)
    bias = put("hidden/broadcast_in_dim", lambda: b[None])
    sums = put("hidden/add", lambda: dot + bias)
    h = put("hidden/tanh", lambda: np.tanh(sums))
    y = put("out/dot_general", lambda: h @ v)
    squares = put("mul", lambda: y * y)
    total = put("reduce_sum", lambda: squares.sum())
    put("div", lambda: total / 2)
    return values


@pytest.mark.oldest
def test_every_forward_tensor_is_what_it_is_by_hand(graph):
    expected = by_hand()
    assert set(expected) == {one for one in names(graph) if one in expected}
    got = graph.run({name: name for name in expected}, FEEDS)
    for name, value in expected.items():
        np.testing.assert_allclose(got[name], value, rtol=0, atol=16 * 1.2e-7 * max(1, np.abs(value).max()))


@pytest.mark.parametrize("changed", [name for name in by_hand() if name != "div"])
def test_a_changed_value_changes_what_depends_on_it_and_nothing_else(graph, changed):
    before = by_hand()
    value = np.float32(before[changed] + 1)
    expected = by_hand(**{changed: np.float64(value)})
    got = graph.run({name: name for name in expected}, FEEDS | {changed: value})
    for name, after in expected.items():
        np.testing.assert_allclose(got[name], after, rtol=0, atol=16 * 1.2e-7 * max(1, np.abs(after).max()))
    assert {name for name in before if not np.array_equal(before[name], expected[name])} >= {changed, "div"}


def test_any_tensor_can_be_fetched_and_fed_with_its_own_value(graph):
    returned = jax.tree.leaves(graph.outputs)
    tensors = [out for one in graph.operations() for out in one.outputs if out.consumers or out in returned]
    values = graph.run(tensors, FEEDS)
    outputs = graph.run(graph.outputs, FEEDS)
    fed = dict(zip(["params/b", "params/v", "params/w"], jax.tree.leaves(PARAMS), strict=True)) | {"x": X}
    assert len(tensors) == 28
    with jax.disable_jit():
        for tensor, value in zip(tensors, values, strict=True):
            feeds = {key: fed[key] for key in fed if key != tensor.operation} | {tensor: value}
            assert_close(graph.run(graph.outputs, feeds), outputs)
            assert_close(graph.run(tensor, fed), value)


@pytest.mark.oldest
def test_fetches_by_name_tensor_operation_and_tree(graph):
    operation = graph["hidden/tanh"]
    expected = np.asarray(graph.run("hidden/tanh", FEEDS))
    assert expected.shape == (2, 2)
    for fetch in ("hidden/tanh:0", operation, operation.outputs[0]):
        np.testing.assert_array_equal(graph.run(fetch, FEEDS), expected)
    tree = graph.run({"a": [operation, None], "b": ("hidden/tanh", "x")}, FEEDS)
    assert jax.tree.structure(tree) == jax.tree.structure({"a": [0, None], "b": (0, 0)})
    for leaf in (tree["a"][0], tree["b"][0]):
        assert isinstance(leaf, jax.Array)
        np.testing.assert_array_equal(leaf, expected)
    np.testing.assert_array_equal(tree["b"][1], X)


def test_the_same_fetches_in_another_tree_come_in_that_tree(graph):
    for tree in (["mul", "div"], ("mul", "div"), {"a": "mul", "b": "div"}, [["mul"], None, "div"]):
        got = graph.run(tree, FEEDS)
        assert jax.tree.structure(got) == jax.tree.structure(tree)
        assert [one.shape for one in jax.tree.leaves(got)] == [(2,), ()]


def test_a_fetch_of_what_is_fed_is_the_value(graph):
    value = np.full((2, 2), 7, np.float32)
    assert_same(graph.run("hidden/tanh", {"hidden/tanh": value}), jnp.asarray(value))
    assert_same(graph.run(["x", "x:0"], {"x": X}), [jnp.asarray(X)] * 2)


@pytest.mark.oldest
def test_feeds_by_argument_leaf_and_tensor(graph):
    expected = graph.run("div", FEEDS)
    leaves = {f"params/{name}": value for name, value in PARAMS.items()}
    for feeds in (
        leaves | {"x": X},
        {f"{name}:0": value for name, value in leaves.items()} | {graph["x:0"]: X},
        {"x:0": X, graph["params/w"].outputs[0]: PARAMS["w"], "params/b": PARAMS["b"], "params/v:0": PARAMS["v"]},
        {"x": jnp.asarray(X), "params": jax.tree.map(jnp.asarray, PARAMS)},
    ):
        assert_same(graph.run("div", feeds), expected)


def test_an_output_of_many_is_fetched_by_its_number():
    graph = trace(lambda x: lax.top_k(x, 2), X)
    assert_same(graph.run(["top_k:1", "top_k:0"], {"x": X}), list(lax.top_k(jnp.asarray(X), 2))[::-1])


@pytest.fixture
def counted():
    calls = []

    def counting(tag):
        def act(value):
            calls.append(tag)
            return np.asarray(value)

        return act

    def fail(value):
        raise RuntimeError("must not run")

    def fn(x):
        spec = jax.ShapeDtypeStruct(x.shape, x.dtype)
        pure = jax.pure_callback(counting("pure"), spec, x)
        effect = jax.experimental.io_callback(counting("io"), spec, x)
        ordered = jax.experimental.io_callback(counting("ordered"), spec, x, ordered=True)
        failing = jax.experimental.io_callback(fail, spec, x + 1)
        jax.debug.callback(counting("debug"), x)
        return {"pure": pure * 2, "io": effect * 2, "ordered": ordered * 2, "failing": failing * 2, "none": x * 2}

    def run(fetches):
        calls.clear()
        graph.run(fetches, {"x": X})
        jax.effects_barrier()
        return sorted(calls)

    graph = trace(fn, X)
    return graph, run


@pytest.mark.oldest
def test_callbacks_run_where_a_fetch_needs_them_and_not_elsewhere(counted):
    graph, run = counted
    assert run(graph.outputs["none"]) == []
    for name in ("pure", "io", "ordered"):
        assert run(graph.outputs[name]) == [name]
    assert run([graph.outputs[name] for name in ("none", "pure", "ordered", "io")]) == ["io", "ordered", "pure"]


@pytest.mark.oldest
def test_an_operation_that_fails_fails_only_where_it_is_needed(counted):
    graph, run = counted
    assert run([graph.outputs["none"], "add"]) == []
    with pytest.raises(jax.errors.JaxRuntimeError, match="must not run"):
        jax.block_until_ready(graph.run(graph.outputs["failing"], {"x": X}))
    failing = graph[graph.outputs["failing"].operation].inputs[0]
    assert_same(graph.run(graph.outputs["failing"], {failing: X}), jnp.asarray(2 * X))


@pytest.mark.oldest
def test_an_operation_without_outputs_runs_where_it_is_fetched(counted):
    graph, run = counted
    (act,) = [one for one in graph.operations() if not one.outputs]
    for fetch in (act, act.name):
        assert run(fetch) == ["debug"]
    assert run({"act": act, "io": graph.outputs["io"]}) == ["debug", "io"]
    assert graph.run({"act": act, "x": "x"}, {"x": X})["act"] is None


def test_a_print_prints_what_is_fed(capsys):
    def fn(x):
        y = x + 1
        jax.debug.print("seen {}", y)
        return y

    graph = trace(fn, np.float32(1))
    (act,) = [one for one in graph.operations() if not one.outputs]
    graph.run(graph.outputs, {"x": 1.0})
    jax.effects_barrier()
    assert capsys.readouterr().out == ""
    graph.run(act, {"add": 5.0})
    jax.effects_barrier()
    assert capsys.readouterr().out == "seen 5.0\n"


@pytest.mark.oldest
def test_a_run_can_be_jitted_mapped_and_differentiated(graph):
    expected = graph.run("div", FEEDS)
    assert_same(jax.jit(lambda x: graph.run("div", {"params": PARAMS, "x": x}))(X), expected)
    rows = jax.vmap(lambda x: graph.run("div", {"params": PARAMS, "x": x}))(np.stack([X, X]))
    assert_close(rows, jnp.stack([expected, expected]))
    gradient = jax.grad(lambda x: graph.run("div", {"params": PARAMS, "x": x}))(X)
    assert_close(gradient, jax.grad(lambda x: loss(PARAMS, x)[0])(X))
    inner = jax.grad(lambda h: graph.run("div", {"params/v": PARAMS["v"], "hidden/tanh": h}))(
        np.ones((2, 2), np.float32)
    )
    assert_close(inner, jax.grad(lambda h: jnp.mean((h @ PARAMS["v"]) ** 2))(np.ones((2, 2), np.float32)))


def test_gradients_of_the_graph_are_its_gradient_operations(graph):
    got = graph.run(graph.outputs[1], FEEDS)
    assert_close(jax.grad(lambda p: graph.run("div", {"params": p, "x": X}))(PARAMS), got)


@pytest.fixture
def compilations(caplog):
    """How often XLA compiled the graph of `loss` in a call."""

    def count(call):
        caplog.clear()
        with jax.log_compiles(), caplog.at_level("WARNING"):
            call()
        return sum("Finished XLA compilation of jit(loss)" in one.getMessage() for one in caplog.records)

    return count


@pytest.mark.oldest
def test_a_run_compiles_once_for_its_fetches_and_fed_names(compilations):
    graph = trace(loss, PARAMS, X)
    ones = np.ones((2, 2), np.float32)
    asked = [
        ("mul", FEEDS),
        (["mul"], FEEDS),
        (graph["mul"], FEEDS),
        (graph["mul:0"], FEEDS),
        ({"a": "mul", "b": "div"}, FEEDS),
        ("mul", {"params": PARAMS, "hidden/tanh": ones}),
        ("mul", {"params/v": PARAMS["v"], "hidden/tanh": ones}),
    ]
    for number, (fetches, feeds) in enumerate(asked):
        assert compilations(partial(graph.run, fetches, feeds)) == 1, (fetches, list(feeds))
        assert len(graph.compiled) == number + 1
    for fetches, feeds in asked:
        for _ in range(2):
            again = {name: jax.tree.map(lambda leaf: jnp.asarray(leaf) + 1, feeds[name]) for name in reversed(feeds)}
            assert compilations(partial(graph.run, fetches, again)) == 0
    assert len(graph.compiled) == len(asked)


def test_a_function_compiles_once(compilations):
    function = trace(loss, PARAMS, X).function("div", ["params", "x"])
    assert compilations(lambda: function(PARAMS, X)) == 1
    assert compilations(lambda: function(PARAMS, X + 1)) == 0


@pytest.mark.oldest
def test_a_function_is_jaxs_own_compiled_callable(graph):
    function = graph.function(["div", "hidden/tanh"], ["params", "x"])
    assert_same(function(PARAMS, X), graph.run(["div", "hidden/tanh"], FEEDS))
    assert function.lower(PARAMS, X).compile().cost_analysis()
    assert function.__name__ == graph.name
    other = graph.function({"y": "out/dot_general"}, ["hidden/tanh", "params/v"])
    assert_close(other(np.ones((2, 2), np.float32), PARAMS["v"])["y"], jnp.ones(2))


def test_a_function_of_nothing_is_a_constant():
    graph = trace(lambda x: x + jnp.asarray(X), X)
    assert_same(graph.function("constant")(), jnp.asarray(X))


def test_platforms_and_devices_by_name():
    graph = trace(lambda x: x * 2, X)
    (cpu, *_) = jax.devices("cpu")
    for device in ("cpu", cpu, None):
        assert_same(graph.run("mul", {"x": X}, device=device), jnp.asarray(2 * X))
    assert graph.run("mul", {"x": X}, device="cpu").devices() == {cpu}


TWO_DEVICES = """
import jax, numpy as np
jax.config.update("jax_num_cpu_devices", 2)
from aidl_jax.graph import trace
x = np.ones((2, 3), np.float32)
first, second = jax.devices()
pinned = jax.device_put(np.ones(3, np.float32), first)
graph = trace(lambda x: (x.mean(0) * pinned, pinned + 1), jax.ShapeDtypeStruct((None, 3), np.float32))
for fetches, feeds in ((graph.outputs, {"x": x}), (graph.outputs[1], {}), (graph.outputs, {"x": jax.device_put(x, first)})):
    for device in (second, first):
        assert {d for out in jax.tree.leaves(graph.run(fetches, feeds, device=device)) for d in out.devices()} == {device}
print("both")
"""


@pytest.mark.slow
def test_values_are_on_the_device_that_is_asked_for():
    done = subprocess.run([sys.executable, "-c", TWO_DEVICES], capture_output=True, text=True, check=False)
    assert done.stdout == "both\n", done.stderr


def refused(call, *args, **options):
    with pytest.raises(GraphError) as caught:
        call(*args, **options)
    return str(caught.value)


@pytest.mark.oldest
def test_error_unknown_names_say_what_is_close(graph):
    assert "did you mean 'hidden/tanh'?" in refused(graph.run, "tanh", FEEDS)
    assert "did you mean 'hidden/tanh'" in refused(graph.run, "hidden/tan", FEEDS)
    assert "did you mean 'params/w'" in refused(graph.run, "div", {"w": PARAMS["w"]})
    told = refused(graph.run, "nowhere_near", FEEDS)
    assert "given 'nowhere_near'" in told and f"choose one of the {len(graph.nodes)}" in told
    assert "it has none" in refused(trace(lambda: None).run, "x")


@pytest.mark.oldest
def test_error_no_such_output(graph):
    for name in ("hidden/tanh:1", "hidden/tanh:", "hidden/tanh:x", "hidden/tanh:-1", "hidden/tanh:0:0"):
        told = refused(graph.run, name, FEEDS)
        assert "'hidden/tanh' has no such output" in told and "expected hidden/tanh:0" in told


def test_error_output_of_what_only_acts():
    graph = trace(lambda x: jax.debug.print("{}", x), X)
    (act,) = [one for one in graph.operations() if not one.outputs]
    assert "an operation that has outputs" in refused(graph.run, f"{act.name}:0", {"x": X})
    told = refused(graph.run, act.name, {"x": X, act.name: X})
    assert f"{act.name!r} has no output, so it cannot be fed" in told


@pytest.mark.oldest
def test_error_inside_a_loop():
    def fn(x):
        with jax.named_scope("rnn"):
            return lax.scan(lambda c, a: (jnp.tanh(c + a), c), jnp.zeros(3), x)

    graph = trace(fn, X)
    for name in ("rnn/scan/body/tanh", "rnn/scan/tanh", "rnn/scan/body/tanh:0"):
        told = refused(graph.run, name, {"x": X})
        assert "is inside a scan" in told and "graph['rnn/scan'].bodies['body']" in told
    loop = trace(lambda x: lax.while_loop(lambda c: c < 9, lambda c: c * 2, x), 1.0)
    assert "bodies['cond']" in refused(loop.run, "while/cond/lt")
    assert "bodies['body']" in refused(loop.run, "while/body/mul")


@pytest.mark.oldest
@pytest.mark.parametrize("fetch", [5, X, [X], {"a": object()}, jnp.ones(2)])
def test_error_fetch_that_is_no_name(graph, fetch):
    told = refused(graph.run, fetch, FEEDS)
    assert "a fetch is not a name" in told and "a tensor's name, a Tensor or an Operation" in told


def test_error_several_outputs():
    graph = trace(lambda x: lax.top_k(x, 2), X)
    told = refused(graph.run, "top_k", {"x": X})
    assert "'top_k' has several outputs" in told and "choose one: 'top_k:0', 'top_k:1'" in told
    assert "several outputs" in refused(graph.run, "x", {"top_k": X})


@pytest.mark.oldest
def test_error_part_of_another_graph(graph):
    other = trace(jax.value_and_grad(loss, has_aux=True), PARAMS, X)
    graph.run(graph["div:0"], FEEDS)
    for fetch in (other["div"], other["div:0"], [other["div:0"]], other.outputs):
        assert "is a part of another graph" in refused(graph.run, fetch, FEEDS)
    told = refused(graph.run, "div", {"params": PARAMS, other["x:0"]: X})
    assert "'x:0' is a part of another graph" in told and "use its name" in told


@pytest.mark.oldest
def test_error_missing_feeds(graph):
    told = refused(graph.run, "div", {"x": X})
    assert told.startswith("div:0 cannot be computed without a value for params/b:0 float32[2], params/v:0")
    assert "feed {'params/b': ..., 'params/v': ..., 'params/w': ...}" in told
    assert graph.run("hidden/dot_general", {"x": X, "params/w": PARAMS["w"]}).shape == (2, 2)
    assert "x:0 float32[2,3]" in refused(graph.run, "hidden/dot_general", {"params/w": PARAMS["w"]})


def test_error_missing_variables_are_told_too():
    graph = trace(loss, PARAMS, X, variables=["params"])
    assert "without a value for x:0 float32[2,3], params/b:0" in refused(graph.run, "div")


@pytest.mark.oldest
def test_error_a_feed_that_changes_nothing(graph):
    told = refused(graph.run, "hidden/dot_general", FEEDS | {"hidden/add": np.ones((2, 2), np.float32)})
    assert "nothing that is fetched depends on the feed for 'hidden/add:0'" in told and "leave it out" in told
    told = refused(graph.run, "div", FEEDS | {"hidden/add": X[:, :2], "hidden/tanh": X[:, :2]})
    assert "'hidden/add:0'" in told
    assert graph.run("params/w", FEEDS).shape == (3, 2)


@pytest.mark.oldest
def test_error_fed_twice(graph):
    told = refused(graph.run, "div", FEEDS | {"params/w": PARAMS["w"]})
    assert "params/w:0 is fed twice: given 'params' and 'params/w'" in told and "feed it once" in told
    assert "fed twice" in refused(graph.run, "div", FEEDS | {graph["x:0"]: X})


@pytest.mark.oldest
@pytest.mark.parametrize("key", [0, None, ("x",)])
def test_error_key_that_is_no_name(graph, key):
    told = refused(graph.run, "div", {"params": PARAMS, key: X})
    assert f"a feed's key is not a name: given {key!r}" in told and "feed {'x': ...}" in told


@pytest.mark.oldest
def test_error_feeds_and_names_of_another_kind(graph):
    for feeds in ([X], X, "x", {"x"}):
        told = refused(graph.run, "div", feeds)
        assert "feeds are not values by name" in told and "feed {'params': ...}" in told
    assert "the feeds of a function are a list of names" in refused(graph.function, "div", "x")
    assert "a graph is asked by name: given 0" in refused(graph.__getitem__, 0)


@pytest.mark.oldest
def test_error_another_tree(graph):
    for tree in ({"w": PARAMS["w"]}, PARAMS["w"], [1, 2, 3], PARAMS | {"w": None}):
        told = refused(graph.run, "div", {"params": tree, "x": X})
        assert "the feed for 'params' is not the tree that was traced" in told
        assert "expected PyTreeDef({'b': *, 'v': *, 'w': *})" in told


@pytest.mark.oldest
def test_error_not_an_array(graph):
    for value in ([[1, 2, 3]], None, "text", {"a": X}):
        told = refused(graph.run, "div", {"params": PARAMS, "x": value})
        assert "the feed for 'x:0' is not an array" in told
        assert "expected float32[2,3]" in told and "jnp.asarray(value, 'float32')" in told


@pytest.mark.oldest
def test_error_another_shape(graph):
    for value in (X[:1], X[0], X[None], X.T, 1.0):
        told = refused(graph.run, "div", {"params": PARAMS, "x": value})
        assert "the feed for 'x:0' has another shape" in told and "expected float32[2,3]" in told
    told = refused(graph.run, "div", {"params": PARAMS | {"b": np.ones(3, np.float32)}, "x": X})
    assert "'params/b:0' has another shape: given float32[3], expected float32[2]" in told


@pytest.mark.oldest
@pytest.mark.parametrize("dtype", ["float64", "float16", "int32", "int64", "bool", "complex64"])
def test_error_another_dtype(graph, dtype):
    told = refused(graph.run, "div", {"params": PARAMS, "x": X.astype(dtype)})
    assert f"the feed for 'x:0' has another dtype: given {dtype}[2,3], expected float32[2,3]" in told
    assert "np.asarray(value).astype('float32')" in told
    assert "'hidden/tanh:0' has another dtype" in refused(
        graph.run, "div", {"params": PARAMS, "hidden/tanh": X[:, :2].astype(dtype)}
    )


def test_error_a_raw_key_for_a_typed_one():
    graph = trace(lambda key: jax.random.bits(key), jax.random.key(0))
    assert "has another shape" in refused(graph.run, graph.outputs, {"key": jax.random.PRNGKey(0)})
    told = refused(graph.run, graph.outputs, {"key": np.uint32(7)})
    assert "has another dtype: given uint32[]" in told and "jax.random.wrap_key_data(old_key)" in told
    assert "jax.random.key(seed)" in refused(graph.run, graph.outputs, {"key": 7})
    assert_same(graph.run(graph.outputs, {"key": jax.random.key(3)}), jax.random.bits(jax.random.key(3)))


FITTING = [
    ("float32", 3),
    ("float32", -1),
    ("float32", 2**40),
    ("float32", 0.1),
    ("float32", float("inf")),
    ("float16", 65504),
    ("bfloat16", 256),
    ("bfloat16", 0.1),
    ("int8", -128),
    ("uint8", 255),
    ("int32", 2**31 - 1),
    ("bool", True),
    ("complex64", 3),
    ("complex64", 0.5),
    ("complex64", 2j),
]
NOT_FITTING = [
    ("float32", True),
    ("float32", 2**24 + 1),
    ("float32", 1e39),
    ("float32", -1e39),
    ("float32", 10**400),
    ("float32", 1j),
    ("float16", 65520),
    ("float16", 1e5),
    ("bfloat16", 257),
    ("bfloat16", 1e39),
    ("bfloat16", 10**400),
    ("int8", 128),
    ("uint8", -1),
    ("uint8", 256),
    ("int32", 2**31),
    ("int32", 1.0),
    ("int32", True),
    ("bool", 1),
    ("complex64", 2**24 + 1),
    ("complex64", 1e39),
]


@pytest.fixture(scope="module")
def identities():
    dtypes = {dtype for dtype, _ in FITTING}
    return {dtype: trace(lambda x: x, jax.ShapeDtypeStruct((), jnp.dtype(dtype))) for dtype in dtypes}


@pytest.mark.oldest
@pytest.mark.parametrize(("dtype", "number"), FITTING)
def test_python_numbers_that_fit_are_taken(identities, dtype, number):
    got = identities[dtype].run("x", {"x": number})
    assert got.dtype == jnp.dtype(dtype)
    assert np.asarray(got) == number or (number == 0.1 and abs(got - number) < 0.001)


@pytest.mark.oldest
@pytest.mark.parametrize(("dtype", "number"), NOT_FITTING)
def test_error_python_numbers_that_do_not_fit(identities, dtype, number):
    told = refused(identities[dtype].run, "x", {"x": number})
    assert "the feed for 'x:0' does not fit its dtype" in told
    assert f"expected {dtype}[]" in told and "hold exactly" in told


@pytest.mark.oldest
@pytest.mark.parametrize("device", ["tpu", "abacus", 5])
def test_error_no_such_device(graph, device):
    told = refused(graph.run, "div", FEEDS, device=device)
    assert f"there is no such device here: given device={device!r}, expected one of:" in told
    assert "cpu" in told and "leave device out" in told


@pytest.mark.oldest
def test_error_a_functions_arguments(graph):
    function = graph.function("div", ["params", "x"])
    for args in ((PARAMS,), (PARAMS, X, X), ()):
        told = refused(function, *args)
        assert f"given {len(args)} arguments, expected params, x" in told
    assert "has another shape" in refused(function, PARAMS, X[0])
    assert "is not the tree" in refused(function, {"w": X}, X)
    assert "cannot be computed without" in refused(graph.function, "div", ["x"])
    assert "depends on" in refused(graph.function, "x", ["x", "hidden/add"])
    assert "expected none" in refused(trace(lambda: 1.0).function([]), 1)
