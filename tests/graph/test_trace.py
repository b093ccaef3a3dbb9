"""A function's graph: what it does, for every kind of function that JAX can trace."""

from __future__ import annotations

import functools
import operator
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.experimental
import jax.numpy as jnp
import jax.scipy.sparse.linalg
import numpy as np
import pytest
from jax import lax
from oracles import assert_same, check_structure, check_trace, names

from aidl_jax.graph import GraphError, trace

X = np.float32([-1.0, 0.5, 2.0])
M = (np.arange(6, dtype=np.float32).reshape(2, 3) - 2) / 7
S = np.float32([[4, 1, 0], [1, 3, 1], [0, 1, 2]])


class Pair(NamedTuple):
    first: Any
    second: Any


@functools.partial(jax.tree_util.register_dataclass, data_fields=["w", "b"], meta_fields=["times"])
@dataclass
class Layer:
    w: Any
    b: Any
    times: int = 3


@jax.custom_jvp
def squared(x):
    return x * x


squared.defjvps(lambda tangent, answer, x: tangent * 3)


@jax.custom_vjp
def clipped(x):
    return x


clipped.defvjp(lambda x: (x, None), lambda _, given: (jnp.clip(given, -1, 1),))


def scaled_by(scale):
    @jax.custom_vjp
    def scaled(x):
        return x * scale

    scaled.defvjp(lambda x: (x * scale, None), lambda _, given: (given * 7 * scale,))
    return scaled


@jax.jit
def halved(x):
    return jnp.where(x > 0, x, 0) / 2


def total(x):
    return jnp.sum(jnp.sin(x) * x**2)


def cumulated(x):
    return lax.scan(lambda carry, row: (jnp.tanh(carry + row), carry * row), jnp.zeros(x.shape[1:]), x)


CASES = {
    "plain": (lambda x: jnp.sin(x) + 1, X),
    "two outputs": (lambda x: (x, x * 2), X),
    "one output twice": (lambda x: (x * 2,) * 2, X),
    "a number returned": (lambda x: (1.0, x), X),
    "nothing returned": (lambda x: None, X),
    "None returned": (lambda x: {"a": None, "b": x}, X),
    "no arguments": (lambda: jnp.arange(3.0),),
    "dict and list": (lambda p: p["a"] * p["b"][0] - p["b"][1], {"a": X, "b": [X, X]}),
    "namedtuple": (lambda p: Pair(p.second, p.first * 2), Pair(X, 2 * X)),
    "dataclass": (lambda p: Layer(p.w * p.times, p.b), Layer(X, X)),
    "None argument": (lambda p, nothing: p["a"], {"a": X, "none": None}, None),
    "empty trees": (lambda p, q, x: (p, x, q), {}, (), X),
    "star arguments": (lambda x, *rest: x - sum(rest), X, X, 2 * X, X),
    "python numbers": (lambda a, b, c, d: (a + b, c, d), 1, 2.0, True, 1j),
    "jitted": (jax.jit(lambda x: jnp.tanh(x) @ x), X),
    "nested jit": (lambda x: halved(halved(x) * 2), X),
    "jit of jit": (jax.jit(lambda x: halved(x) + 1), X),
    "custom_jvp": (lambda x: squared(x) + 1, X),
    "grad of custom_jvp": (jax.grad(lambda x: squared(x).sum()), X),
    "custom_vjp over a number": (lambda x: scaled_by(2.0)(x) + 1, X),
    "custom_vjp over an array": (lambda x: scaled_by(jnp.asarray(X))(x) + 1, X),
    "custom_vjp over an argument": (lambda x: scaled_by(x * 2)(x) + 1, X),
    "custom_vjp identity": (lambda x: clipped(x) * 3, X),
    "grad of custom_vjp identity": (jax.grad(lambda x: (clipped(x * 2) * 3).sum()), X),
    "checkpoint": (jax.checkpoint(total), X),
    "grad of checkpoint": (jax.grad(jax.checkpoint(total)), X),
    "scan": (cumulated, M),
    "grad of scan": (jax.grad(lambda x: cumulated(x)[1].sum()), M),
    "while": (lambda x: lax.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, c[1] * 2), (0, x)), X),
    "fori": (lambda x: lax.fori_loop(0, 5, lambda i, c: c + i, x), X),
    "cond": (lambda p, x: lax.cond(p, jnp.sin, jnp.cos, x), np.bool_(True), X),
    "grad of cond": (jax.grad(lambda x: lax.cond(x[0] > 0, jnp.sin, jnp.cos, x).sum()), X),
    "switch": (lambda i, x: lax.switch(i, [jnp.sin, jnp.cos, jnp.tanh], x), np.int32(1), X),
    "vmap of grad": (jax.vmap(jax.grad(total)), M),
    "vmap of scan": (jax.vmap(cumulated), np.stack([M, 2 * M])),
    "value_and_grad": (jax.value_and_grad(total), X),
    "has_aux": (jax.value_and_grad(lambda x: (total(x), {"half": x / 2}), has_aux=True), X),
    "integer gradient": (jax.grad(lambda i, x: (x * i).sum(), allow_int=True), np.int32(3), X),
    "jvp": (lambda x, t: jax.jvp(total, (x,), (t,)), X, X),
    "hessian-vector product": (lambda x, v: jax.jvp(jax.grad(total), (x,), (v,))[1], X, X),
    "reverse over reverse": (lambda x, v: jax.grad(lambda x: jax.grad(total)(x) @ v)(x), X, X),
    "closed-over arrays": (lambda x: x @ jnp.asarray(S) + X, X),
    "typed key": (lambda key: (jax.random.normal(key, (3,)), jax.random.split(key)), jax.random.key(7)),
    "raw key": (lambda key: (jax.random.normal(key, (3,)), jax.random.split(key)), jax.random.PRNGKey(7)),
    "key inside": (lambda x: x + jax.random.normal(jax.random.key(1), (3,)), X),
    "bfloat16": (lambda x: (x @ x, x.sum(), x * 1.5), S.astype(jnp.bfloat16)),
    "bool": (lambda x: (~x, x.any(), x & True), np.array([True, False])),
    "integers": (lambda x: (x // 2, x << 1, x.sum(), x / 2), np.arange(4, dtype=np.int32)),
    "unsigned bytes": (lambda x: x + 250, np.arange(9, dtype=np.uint8)),
    "complex": (lambda x: jnp.fft.fft(x * 1j), X),
    "no rows": (lambda x: (x * 2, x.sum()), np.ones((0, 3), np.float32)),
    "linear algebra": (lambda a: (jnp.linalg.inv(a), jnp.linalg.eigh(a), jnp.linalg.cholesky(a), jnp.linalg.qr(a)), S),
    "conjugate gradients": (lambda a, b: jax.scipy.sparse.linalg.cg(lambda v: a @ v, b)[0], S, X),
    "debug.print": (lambda x: (jax.debug.print("{}", x), x * 2)[1], X),
    "pure_callback": (lambda x: jax.pure_callback(np.negative, jax.ShapeDtypeStruct((3,), x.dtype), x) * 2, X),
    "io_callback": (
        lambda x: jax.experimental.io_callback(np.negative, jax.ShapeDtypeStruct((3,), x.dtype), x, ordered=True) * 2,
        X,
    ),
}

OLDEST = ["dict and list", "nested jit", "custom_jvp", "custom_vjp identity", "grad of checkpoint", "scan", "while"]
OLDEST += ["cond", "value_and_grad", "hessian-vector product", "typed key", "bfloat16", "pure_callback"]


@pytest.mark.parametrize(
    "case", [pytest.param(name, marks=pytest.mark.oldest) if name in OLDEST else name for name in CASES]
)
def test_graph_has_the_functions_shapes_and_values(case):
    check_trace(*CASES[case])


@pytest.mark.oldest
def test_golden_list_of_a_layer():
    graph = trace(lambda W, b, x: jax.nn.relu(W @ x + b), jnp.ones((2, 3)), jnp.ones(2), jnp.ones(3))
    assert [(one.name, one.type) for one in graph.operations()] == [
        ("W", "placeholder"),
        ("b", "placeholder"),
        ("x", "placeholder"),
        ("dot_general", "dot_general"),
        ("add", "add"),
        ("relu/max", "max"),
    ]
    assert [str(one) for one in graph.placeholders] == ["W:0 float32[2,3]", "b:0 float32[2]", "x:0 float32[3]"]
    assert str(graph["relu/max"]) == "relu/max: max(add:0, 0.0) -> float32[2]"
    assert graph["dot_general"].attributes["dimension_numbers"] == (((1,), (0,)), ((), ()))
    assert (graph["relu/max"].custom, graph["add"].custom) == ("relu", None)
    assert graph.outputs is graph["relu/max:0"]
    assert graph["add:0"].consumers == ("relu/max",)


@pytest.mark.oldest
@pytest.mark.parametrize(
    "case", ["plain", "two outputs", "one output twice", "a number returned", "nested jit", "scan"]
)
def test_jitted_function_has_the_same_graph(case):
    fn, *args = CASES[case]
    expected = trace(fn, *args)
    for jitted in (jax.jit(fn), jax.jit(jax.jit(fn))):
        assert list(map(str, trace(jitted, *args).operations())) == list(map(str, expected.operations()))


def test_jitted_step_that_passes_state_through_is_unwrapped():
    def step(state, x):
        return {"count": state["count"] + 1, "kept": state["kept"]}, x

    args = ({"count": 0, "kept": X}, X)
    assert names(trace(jax.jit(step), *args)) == names(trace(step, *args)) == ["state/count", "state/kept", "x", "add"]


@pytest.mark.oldest
def test_tracing_computes_nothing():
    calls = []

    def act(x):
        calls.append(float(x))
        return x

    def fn(x):
        jax.debug.callback(act, x)
        return jax.pure_callback(act, jax.ShapeDtypeStruct((), jnp.float32), x)

    trace(fn, np.float32(3))
    jax.effects_barrier()
    assert calls == []


def test_specs_arrays_and_numbers_give_the_same_graph():
    def fn(p, n):
        return p["w"] * 2 + n

    spec = jax.ShapeDtypeStruct((3,), jnp.float32)
    graphs = [trace(fn, {"w": w}, np.float32(1)) for w in (spec, X, jnp.asarray(X))]
    assert len({tuple(map(str, graph.operations())) for graph in graphs}) == 1


def test_arguments_are_named_by_their_path():
    def fn(params, pair, layer, *rest):
        return params, pair, layer, rest

    graph = trace(fn, {"l1": {"w": X, "b b": X}, "list": [X, (X,)]}, Pair(X, X), Layer(X, X), X, {"z": X})
    assert [one.operation for one in graph.placeholders] == [
        "params/l1/b_b",
        "params/l1/w",
        "params/list/0",
        "params/list/1/0",
        "pair/first",
        "pair/second",
        "layer/w",
        "layer/b",
        "rest/0",
        "rest/1/z",
    ]


@pytest.mark.oldest
def test_a_key_named_value_stays_and_an_nnx_value_goes():
    graph = trace(lambda p: p, {"w": {"value": X, "scale": X}, "value": X})
    assert [one.operation for one in graph.placeholders] == ["p/value", "p/w/scale", "p/w/value"]


def test_paths_that_read_the_same_get_names_of_their_own():
    graph = trace(lambda p: p, {"a": {"b": X}, "a/b": 2 * X, "a b": 3 * X, "a_b": 4 * X})
    assert [one.operation for one in graph.placeholders] == ["p/a/b", "p/a_b", "p/a/b_1", "p/a_b_1"]
    assert_same(
        graph.run(graph.outputs, {"p": {"a": {"b": X}, "a/b": X, "a b": X, "a_b": 4 * X}})["a_b"], jnp.asarray(4 * X)
    )


def test_arguments_without_a_signature_have_numbers():
    assert [one.operation for one in trace(operator.methodcaller("sum"), X).placeholders] == ["argument_0"]


def test_objects_methods_and_partials_are_functions():
    class Model:
        def __call__(self, x, y=None):
            return x

        def twice(self, x):
            return x * 2

    assert (trace(Model(), X).name, trace(Model().twice, X).name) == ("Model", "twice")
    graph = trace(functools.partial(lambda a, b: a - b, X), X)
    assert [one.name for one in (*graph.placeholders, *graph.constants)] == ["b:0", "constant:0"]


@pytest.mark.oldest
def test_variables_are_the_arguments_that_hold_state():
    graph = trace(lambda params, x: params["w"] * x, {"w": X}, X, variables=["params"])
    assert [one.name for one in graph.variables] == ["params/w:0"]
    assert [one.name for one in graph.placeholders] == ["x:0"]
    assert graph["params/w"].type == "variable"
    assert_same(graph.run(graph.outputs, {"params": {"w": X}, "x": X}), jnp.asarray(X * X))


@pytest.mark.oldest
def test_closed_over_arrays_are_constants_each_once():
    a, b = jnp.asarray(X), jnp.asarray(2 * X)
    graph = trace(lambda x: (x * a + b, jax.jit(lambda y: y * a)(x)), X)
    assert [one.name for one in graph.constants] == ["constant:0", "constant_1:0"]
    assert_same(graph.run([*graph.constants], {}), [a, b])
    assert len(graph["constant:0"].consumers) == 2
    assert_same(graph.run(graph.outputs[0], {"x": X, "constant": b}), jnp.asarray(X * b + b))


def test_bodies_are_graphs_of_their_own():
    fn, x = CASES["scan"]
    scan = trace(fn, x)["scan"]
    (body,) = scan.bodies.values()
    assert list(scan.bodies) == ["body"]
    assert [one.name for one in body.placeholders] == ["carry_0:0", "x_0:0"]
    assert_same(body.run(body.outputs, {"carry_0": X, "x_0": 2 * X}), [jnp.tanh(3 * X), jnp.asarray(2 * X * X)])


def test_a_loop_has_a_condition_and_a_body_and_a_cond_its_branches():
    fn, *args = CASES["while"]
    loop = trace(fn, *args)["while"]
    assert list(loop.bodies) == ["cond", "body"]
    assert bool(loop.bodies["cond"].run(loop.bodies["cond"].outputs[0], {"carry_0": 2})) is True
    assert bool(loop.bodies["cond"].run(loop.bodies["cond"].outputs[0], {"carry_0": 3})) is False
    fn, *args = CASES["switch"]
    branches = trace(fn, *args)["cond"].bodies
    assert list(branches) == ["branch_0", "branch_1", "branch_2"]
    for body, expected in zip(branches.values(), (jnp.sin, jnp.cos, jnp.tanh), strict=True):
        assert_same(body.run(body.outputs, {"operand_0": X}), [expected(X)])


def test_consts_of_a_while_loop_go_to_the_function_that_uses_them():
    def fn(limit, step, times):
        return lax.while_loop(lambda c: c < limit, lambda c: c * times + step, 0.0)

    loop = check_trace(fn, jnp.float32(10), jnp.float32(4), jnp.float32(2))["while"]
    assert [one.name for one in loop.bodies["cond"].placeholders] == ["const_0:0", "carry_0:0"]
    body = loop.bodies["body"]
    assert [one.name for one in body.placeholders] == ["const_0:0", "const_1:0", "carry_0:0"]
    assert float(body.run(body.outputs[0], {"const_0": 2.0, "const_1": 4.0, "carry_0": 1.0})) == 6


def test_an_update_of_an_array_is_one_operation_without_a_body():
    graph = check_trace(lambda x: x.at[0].add(1.0), X)
    assert [one.bodies for one in graph.operations()] == [{}] * len(graph.nodes)
    assert graph.operations()[-1].type == "scatter-add"


def test_operations_that_only_act_have_no_output():
    graph = trace(CASES["debug.print"][0], X)
    (act,) = [one for one in graph.operations() if not one.outputs]
    assert act.type in ("debug_print", "debug_callback")
    assert [one.name for one in act.inputs] == ["x:0"]
    assert str(act).endswith("-> nothing")


def test_operations_of_one_name_are_numbered():
    def fn(x):
        for _ in range(70):
            x = x + 1.0
        return x

    graph = trace(fn, 1.0)
    check_structure(graph)
    assert names(graph)[-1] == "add_69"


def refused(fn, *specs, **options):
    with pytest.raises(GraphError) as caught:
        trace(fn, *specs, **options)
    return str(caught.value)


@pytest.mark.oldest
def test_error_not_a_function():
    told = refused(3, X)
    assert "this is not a function: given 3" in told and "trace(function, spec, ...)" in told


@pytest.mark.parametrize(("specs", "given"), [((), "0 specs"), ((X,), "1 spec"), ((X, X, X), "3 specs")])
def test_error_another_number_of_specs(specs, given):
    def predict(x, w):
        return x @ w

    for fn in (predict, jax.jit(predict)):
        told = refused(fn, *specs)
        assert f"predict takes other arguments than it was given specs: given {given}, expected one" in told
        assert "expected one for each argument of (x, w). Fix: trace(fn, spec, ...), in the arguments' order" in told
    assert "functools.partial(fn, name=value)" in refused(lambda x, *, scale: x * scale, X)


def test_a_type_error_of_the_function_itself_is_its_own():
    with pytest.raises(TypeError, match="unsupported operand"):
        trace(lambda x: x + None, X)


@pytest.mark.oldest
def test_error_no_such_argument():
    assert "variables are a list of names: given 'params'" in refused(lambda params: params, X, variables="params")
    told = refused(lambda params, x: x, X, X, variables=["param"])
    assert "variables='param'" in told and "did you mean 'params'?" in told


@pytest.mark.oldest
@pytest.mark.parametrize("spec", ["text", object(), {1, 2}])
def test_error_spec_without_shape(spec):
    told = refused(lambda p: p, {"a": [X, spec]})
    assert "for p/a/1" in told and "jax.ShapeDtypeStruct(shape, dtype)" in told


@pytest.mark.oldest
@pytest.mark.parametrize("shape", [(3, None), (None, None), (2, 3, None)])
def test_error_only_the_first_dimension_is_free(shape):
    told = refused(lambda p: p, {"a": jax.ShapeDtypeStruct(shape, jnp.float32)})
    assert f"p/a of shape {shape}" in told and "symbolic_shape" in told


@pytest.mark.oldest
@pytest.mark.parametrize(
    ("dtype", "narrow"),
    [("float64", "float32"), ("int64", "int32"), ("uint64", "uint32"), ("complex128", "complex64")],
)
def test_error_dtype_that_jax_would_narrow(dtype, narrow):
    for spec in (np.ones(3, dtype), jax.ShapeDtypeStruct((None, 3), np.dtype(dtype))):
        told = refused(lambda p: p, {"w": spec})
        assert f"{dtype} for p/w" in told and f"give it as {narrow}" in told


def test_wide_dtypes_where_they_are_allowed():
    with jax.enable_x64(True):
        graph = trace(lambda x: x * 2, np.ones(3))
        assert str(graph.outputs) == "mul:0 float64[3]"
        assert_same(graph.run("mul", {"x": np.full(3, 0.1)}), jnp.full(3, 0.2))


@pytest.mark.parametrize("given", [np.array(["a"]), np.array([None]), np.array([1], "datetime64[s]")])
def test_error_dtype_that_jax_has_not(given):
    told = refused(lambda x: x, given)
    assert "JAX has no such dtype" in told and f"{given.dtype} for x" in told


def test_error_array_that_is_changed_in_place():
    def fn(x):
        cell = jax.new_ref(x)
        cell[...] += 1
        return cell[...] * 2

    told = refused(fn, X)
    assert "'new_ref'" in told or "'ref'" in told
    assert "changed in place" in told and "test_trace.py" in told and "old.at[...].set(part)" in told


def test_an_error_of_the_function_is_the_functions():
    def fn(x):
        raise NotImplementedError("mine")

    for spec in (X, jax.ShapeDtypeStruct((None, 3), jnp.float32)):
        with pytest.raises(NotImplementedError, match="mine"):
            trace(fn, spec)
    with pytest.raises(TypeError, match="incompatible shapes"):
        trace(lambda x: x + jnp.ones((4, 5)), jax.ShapeDtypeStruct((None, 3), jnp.float32))


def test_a_function_that_is_one_call_keeps_the_calls_scope_and_line():
    def length(x):
        return jnp.linalg.norm(x)

    names = {operation.name: operation for operation in trace(length, jnp.ones(3)).operations() if operation.inputs}
    assert set(names) == {"norm/mul", "norm/reduce_sum", "norm/sqrt"}
    assert all(operation.source.function.endswith("length") for operation in names.values())
    for jitted in (jax.jit(length), jax.jit(jax.jit(length))):
        assert {one.name for one in trace(jitted, jnp.ones(3)).operations() if one.inputs} == set(names)


def test_greek_names_stay():
    graph = trace(lambda θ, σ: θ * σ, 1.0, 2.0)
    assert [tensor.name for tensor in graph.placeholders] == ["θ:0", "σ:0"]
    assert float(graph.run("mul", {"θ": 2.0, "σ": 3.0})) == 6
