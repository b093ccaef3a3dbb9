import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from aidl_jax.graph import GraphError, trace

X, W = jnp.ones((4, 3)), jnp.ones((3, 2))


def dense(x, w):
    return jnp.tanh(x @ w)


def softmax_of_logs(x):
    return jnp.log(jax.nn.softmax(x))


@pytest.mark.oldest
@pytest.mark.parametrize(
    "same",
    [
        lambda x, w: jnp.tanh(x @ w),
        jax.jit(dense),
        lambda a, b: jax.jit(jnp.tanh)(jnp.matmul(a, b)),
        lambda x, w: (jnp.sin(x), jnp.tanh(x @ w))[1],
    ],
)
def test_names_nesting_and_dead_code_do_not_count(same):
    assert trace(dense, X, W).diff(trace(same, X, W)) is None


def test_the_order_of_independent_operations_does_not_count():
    def one(x):
        a, b = jnp.sin(x), jnp.cos(x)
        return a * b

    def two(x):
        b, a = jnp.cos(x), jnp.sin(x)
        return a * b

    assert trace(one, X).diff(trace(two, X)) is None


def test_the_first_operation_that_differs_is_named_on_both_sides():
    found = trace(lambda x, w: jnp.exp(jnp.sin(x @ w)), X, W).diff(trace(lambda x, w: jnp.exp(jnp.cos(x @ w)), X, W))
    assert (found.here.type, found.there.type) == ("sin", "cos")
    assert found.what == "the first operations that differ are of different types: sin and cos"
    assert "sin(dot_general:0) -> float32[4,2] at test_diff.py:" in str(found)
    assert found.values is None and found.outputs is None


@pytest.mark.parametrize(
    ("one", "two", "what"),
    [
        (lambda x, w: x.sum(axis=0), lambda x, w: x.sum(axis=1), "both reduce_sum, set differently: axes is (0,) and (1,)"),
        (lambda x, w: jnp.cumsum(x, 1), lambda x, w: jnp.cumsum(x, 1)[::-1], "one function does what the other does, and more"),
        (lambda x, w: lax.cumsum(x, 1), lambda x, w: lax.cumsum(x, 1, reverse=True), "set differently: reverse is False and True"),
        (lambda x, w: x * 2, lambda x, w: x * 3, "both mul, of different inputs"),
        (lambda x, w: x - w.sum(), lambda x, w: w.sum() - x, "both sub, of different inputs"),
        (lambda x, w: (x + 1, x * 2), lambda x, w: (x * 2, x + 1), "the operations are the same, what is returned is not"),
        (lambda x, w: [x + 1], lambda x, w: (x + 1,), "the operations are the same, what is returned is not"),
        (lambda x, w: lax.scan(lambda c, v: (c + v, c), w[0], x), lambda x, w: lax.scan(lambda c, v: (c - v, c), w[0], x), "both have a scan; in its body, the first operations that differ are of different types: add and sub"),
    ],
)  # fmt: skip
def test_how_they_differ_is_said(one, two, what):
    x, w = jnp.ones((2, 2)), jnp.ones((3, 2))
    assert what in trace(one, x, w).diff(trace(two, x, w)).what


def test_constants_differ_by_value():
    one, same, other = (jnp.float32(values) for values in ([1, 2], [1, 2], [1, 3]))
    graph = trace(lambda x: x * one, one)
    assert graph.diff(trace(lambda x: x * same, one)) is None
    assert graph.diff(trace(lambda x: x * other, one)).here.type == "constant"


def test_other_arguments_are_a_difference():
    assert trace(dense, X, W).diff(trace(dense, jnp.ones((5, 3)), W)).here.name == "x"


def test_values_are_shown_where_they_are_asked_for():
    x = np.float32([[1, 2, 4]])
    one, two = trace(jax.nn.log_softmax, x), trace(softmax_of_logs, x)
    found = one.diff(two, {one.placeholders[0].name: x})
    here, there = found.values
    np.testing.assert_allclose(here, one.run(found.here.outputs[0], {one.placeholders[0]: x}))
    np.testing.assert_allclose(there, two.run(found.there.outputs[0], {two.placeholders[0]: x}))
    assert found.outputs < 1e-6 and "what they return differs by at most" in str(found)
    far = one.diff(two, {one.placeholders[0].name: np.float32([[0, 0, 200]])})
    assert far.outputs == np.inf


def test_values_need_every_argument():
    one, two = trace(dense, X, W), trace(lambda x, w: x @ w, X, W)
    with pytest.raises(GraphError, match="every argument is fed and nothing else: given 'x:0', expected 'x:0', 'w:0'"):
        one.diff(two, {"x": X})


def test_values_with_trees_are_fed_by_position():
    def predict(params, x):
        return x @ params["w"] + params["b"]

    def forgot(p, inputs):
        return inputs @ p["w"]

    params = {"w": W, "b": jnp.float32([3, 4])}
    one, two = trace(predict, params, X), trace(forgot, params, X)
    found = one.diff(two, {"params": params, "x": X})
    assert found.there is None and found.here is not None and found.outputs == 4.0


@pytest.mark.parametrize("fn", [jax.nn.softplus, jnp.sinc, jax.checkpoint(lambda x: jnp.sin(jnp.sin(x)))])
def test_calls_with_a_rule_of_their_own_are_compared_inside(fn):
    x = jnp.ones(3)
    assert trace(fn, x).diff(trace(fn, x)) is None
    assert trace(lambda x: fn(x) * 2, x).diff(trace(lambda x: fn(x) * 3, x)).here.type == "mul"


def test_callbacks_of_other_functions_differ():
    def with_callback(function):
        return trace(lambda x: jax.pure_callback(function, jax.ShapeDtypeStruct((3,), jnp.float32), x), jnp.ones(3))

    assert with_callback(np.sin).diff(with_callback(np.sin)) is None
    assert with_callback(np.sin).diff(with_callback(np.cos)).what.endswith("set differently: callback is sin and cos")


def test_values_that_are_complex_infinite_or_keys():
    x, key = jnp.ones(3), jax.random.key(0)
    assert trace(lambda x: x * 1j, x).diff(trace(lambda x: x * 2j, x), {"x": x}).outputs == 1
    assert trace(lambda x: -x / 0, x).diff(trace(lambda x: -2 * x / 0, x), {"x": x}).outputs == 0
    folded = [trace(lambda k, n=n: jax.random.fold_in(k, n), key) for n in (1, 2)]
    assert folded[0].diff(folded[1], {"k": key}).outputs > 0


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda g: g.diff(jnp.sin), "a graph is compared with a graph: given"),
        (lambda g: g.diff(g, X), "feeds are not values by name: given"),
        (lambda g: g.diff(trace(jnp.sin, X), {"x": X, "w": W}), "functions that take the same arguments: given x:0"),
        (lambda g: g.diff(trace(lambda x, w: x @ w, X, W), {}), "given nothing, expected 'x:0', 'w:0'"),
    ],
)  # fmt: skip
def test_what_cannot_be_compared_says_why(ask, message):
    with pytest.raises(GraphError) as error:
        ask(trace(dense, X, W))
    assert message in str(error.value)
