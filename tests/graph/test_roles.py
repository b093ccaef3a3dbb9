"""Forward or gradient: the forward operations of a loss are those of its gradient's graph, by name and number."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import lax
from oracles import forward_names, names

from aidl_jax.graph import trace

X = (np.arange(12, dtype=np.float32).reshape(4, 3) - 5) / 7
LABELS = np.int32([0, 2, 1, 1])

FUNCTIONS = {
    "relu": jax.nn.relu,
    "sigmoid": jax.nn.sigmoid,
    "softplus": jax.nn.softplus,
    "silu": jax.nn.silu,
    "gelu": jax.nn.gelu,
    "elu": jax.nn.elu,
    "softmax": jax.nn.softmax,
    "log_softmax": jax.nn.log_softmax,
    "standardize": jax.nn.standardize,
    "sine": jnp.sin,
    "power": lambda x: (x**2 + 1) ** 1.5,
    "quotient": lambda x: x / (x**2 + 1),
    "where": lambda x: jnp.where(x > 0, x, jnp.where(x > -1, 0.1 * x, 0)),
    "clip": lambda x: jnp.clip(jnp.clip(x, -0.5, 0.5) * 2, 0, 1),
    "max": lambda x: jnp.max(x, axis=0),
    "std": lambda x: jnp.std(x, axis=0),
    "norm": jnp.linalg.norm,
    "indexing": lambda x: x[1:] * x[:-1] + x.at[0].set(0.0)[1:],
    "matmul": lambda x: x @ x.T,
    "inverse": lambda x: jnp.linalg.inv(x[:3] + 3 * jnp.eye(3)),
    "stop_gradient": lambda x: x * lax.stop_gradient(jnp.sin(x)),
    "checkpoint": jax.checkpoint(lambda x: jnp.sin(jnp.cos(x))),
    "cond": lambda x: lax.cond(x[0, 0] > 0, jnp.sin, jnp.cos, x),
    "fori": lambda x: lax.fori_loop(0, 3, lambda i, c: jnp.sin(c), x),
    "map": lambda x: lax.map(jnp.tanh, x),
    "vmap": lambda x: jax.vmap(jnp.dot)(x, x),
    "dropout": lambda x: x * jax.random.bernoulli(jax.random.key(0), 0.5, x.shape),
    "cross-entropy": lambda x: -jax.nn.log_softmax(x)[jnp.arange(4), LABELS],
    "one-hot cross-entropy": lambda x: optax.softmax_cross_entropy(x, jax.nn.one_hot(LABELS, 3)),
    "huber": lambda x: optax.huber_loss(x, jnp.ones_like(x)),
    "callback": lambda x: (jax.debug.print("{}", jnp.abs(x).max()), x * 2)[1],
}


def dense(name, params, x):
    with jax.named_scope(name):
        return x @ params["w"] + params["b"]


def layer_norm(params, x):
    with jax.named_scope("norm"):
        centred = x - x.mean(-1, keepdims=True)
        return params["scale"] * centred / jnp.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)


def residual(params, x):
    with jax.named_scope("block"):
        x = x + jax.nn.relu(dense("inner", params["inner"], layer_norm(params, x)))
    return dense("head", params["head"], x)


def rnn(params, x):
    def cell(state, row):
        state = jnp.tanh(row @ params["inner"]["w"] + state)
        return state, dense("head", params["head"], state)

    with jax.named_scope("rnn"):
        return lax.scan(cell, jnp.zeros(3), x)[1]


def conv(params, x):
    with jax.named_scope("conv"):
        x = lax.conv_general_dilated(x[None, :, :, None], params["kernel"], (1, 1), "SAME", dimension_numbers=LAYOUT)
    return dense("head", params["head"], jax.nn.relu(x[0, :, :, 0]))


LAYOUT = ("NHWC", "HWIO", "NHWC")
PARAMS = {
    "scale": np.ones(3, np.float32),
    "inner": {"w": np.eye(3, dtype=np.float32), "b": np.ones(3, np.float32)},
    "head": {"w": np.ones((3, 2), np.float32), "b": np.ones(2, np.float32)},
    "kernel": np.ones((2, 2, 1, 1), np.float32),
}
MODELS = {"residual": residual, "rnn": rnn, "conv": conv}


def loss_of(model):
    def loss(params, x):
        out = model(params, x)
        with jax.named_scope("loss"):
            return -jax.nn.log_softmax(out)[jnp.arange(4), LABELS % 2].mean()

    return loss


@pytest.mark.parametrize("axis", [None, -1])
def test_what_nothing_uses_counts_as_a_local_derivative(axis):
    """`logsumexp` computes a sign that it does not return, and its maximum's derivative that it stops."""

    def loss(x):
        rows = jax.nn.logsumexp(x, axis=axis)
        return rows if axis is None else jnp.sum(rows)

    for transform in (jax.value_and_grad, jax.grad):
        graph = trace(transform(loss), X)
        assert forward_names(graph) == [one for one in names(trace(loss, X)) if one != "sign"]
        assert graph["gradients/sign"].outputs[0].consumers == ()


def check_roles(graph):
    for one in graph.operations():
        assert one.is_gradient == one.name.startswith("gradients/"), one.name
        if not one.is_gradient:
            assert not any(graph[given.operation].is_gradient for given in one.inputs) or "optimizer/" in one.name


@pytest.mark.oldest
@pytest.mark.parametrize("transform", [jax.value_and_grad, jax.grad])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_forward_operations_of_a_gradient_are_those_of_the_function(name, transform):
    def loss(x):
        with jax.named_scope("model"):
            out = FUNCTIONS[name](x)
        return jnp.sum(out)

    graph = trace(transform(loss), X)
    assert forward_names(graph) == names(trace(loss, X))
    check_roles(graph)


@pytest.mark.oldest
@pytest.mark.parametrize("model", MODELS)
def test_forward_operations_of_a_models_gradient_are_those_of_the_model(model):
    loss = loss_of(MODELS[model])
    expected = names(trace(loss, PARAMS, X))
    for transform in (jax.value_and_grad, jax.grad):
        graph = trace(transform(loss), PARAMS, X)
        assert forward_names(graph) == expected
        check_roles(graph)


@pytest.mark.parametrize("wrapped", [jax.jit, jax.checkpoint])
def test_a_wrapped_model_keeps_its_forward_operations(wrapped):
    def model(params, x):
        return wrapped(residual)(params, x)

    loss = loss_of(model)
    graph = trace(jax.value_and_grad(loss), PARAMS, X)
    assert forward_names(graph) == names(trace(loss, PARAMS, X))
    check_roles(graph)


def test_gradients_stand_in_the_scopes_of_what_they_are_gradients_of():
    graph = trace(jax.value_and_grad(loss_of(residual)), PARAMS, X)
    for out in jax.tree.leaves(graph.outputs[1]):
        assert graph[out.operation].is_gradient or graph[out.operation].type == "placeholder"
    scopes = {one.scope for one in graph.operations() if one.is_gradient}
    assert {"gradients/block", "gradients/block/norm", "gradients/block/inner", "gradients/head"} <= scopes
    assert {one.removeprefix("gradients/").removeprefix("gradients") for one in scopes} <= {
        one.scope for one in trace(loss_of(residual), PARAMS, X).operations()
    }


def test_the_loss_of_a_gradient_is_forward_though_nothing_uses_it():
    graph = trace(jax.grad(lambda x: jnp.sum(jnp.sin(x))), X)
    assert forward_names(graph) == ["x", "sin", "reduce_sum"]
    assert graph["reduce_sum"].outputs[0].consumers == ()


def test_a_loss_carried_through_a_scan_is_forward_though_nothing_uses_it():
    def loss(w, rows):
        def cell(carry, row):
            return (carry[0] * w + row, carry[1] + carry[0] ** 2), None

        return lax.scan(cell, (0.0, 0.0), rows)[0][1]

    for transform in (jax.value_and_grad, jax.grad):
        assert forward_names(trace(transform(loss), 0.5, X[:, 0])) == names(trace(loss, 0.5, X[:, 0]))


@pytest.mark.oldest
def test_zeros_for_what_nothing_depends_on_are_gradients():
    graph = trace(jax.grad(lambda p: jnp.sum(p["used"] ** 3)), {"used": X, "unused": X})
    zeros = graph[graph.outputs["unused"].operation]
    assert (zeros.name, zeros.is_gradient, zeros.source) == ("gradients/broadcast_in_dim_1", True, None)


def test_rows_of_gradients_have_forward_operations():
    def loss(x):
        return jnp.sum(jnp.tanh(x) ** 2)

    graph = trace(jax.vmap(jax.grad(loss)), X)
    assert forward_names(graph) == names(trace(jax.vmap(loss), X)) == ["x", "tanh", "integer_pow", "reduce_sum"]


def test_two_losses_in_one_function():
    def one(x):
        return jnp.sum(jnp.sin(x))

    def two(x):
        return jnp.sum(jnp.cos(x))

    graph = trace(lambda x: (jax.grad(one)(x), jax.grad(two)(x)), X)
    assert forward_names(graph) == ["x", "sin", "reduce_sum", "cos", "reduce_sum_1"]


def test_a_loss_that_is_used_again_is_the_loss():
    def step(x):
        value, gradient = jax.value_and_grad(jax.nn.logsumexp)(x)
        return value, value * 2, gradient

    expected = [one for one in names(trace(lambda x: jax.nn.logsumexp(x), X)) if one != "sign"]
    assert forward_names(trace(step, X)) == [*expected, "mul"]


def test_a_sum_of_losses_is_forward_though_its_way_back_starts_in_its_parts():
    def loss(x):
        value = jnp.sum(jnp.sin(x)) + jnp.sum(jnp.cos(x))
        return value, {"largest": jnp.abs(x).max()}

    for transform in (jax.value_and_grad, jax.grad):
        assert set(names(trace(loss, X))) <= set(forward_names(trace(transform(loss, has_aux=True), X)))


def test_metrics_beside_the_loss_are_forward():
    def loss(x):
        return jnp.sum(x**3), {"accuracy": (x > 0).mean(), "size": jnp.abs(x).max()}

    for transform in (jax.value_and_grad, jax.grad):
        graph = trace(transform(loss, has_aux=True), X)
        assert forward_names(graph) == names(trace(loss, X))


@pytest.mark.parametrize(
    "optimizer",
    [
        optax.sgd(0.1),
        optax.adam(1e-2),
        optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(optax.cosine_decay_schedule(0.1, 10))),
    ],
)
@pytest.mark.parametrize("wrap", [lambda step: step, jax.jit])
def test_what_optax_does_stands_under_optimizer(optimizer, wrap):
    loss = loss_of(residual)

    @wrap
    def step(params, state, x):
        gradients = jax.grad(loss)(params, x)
        updates, state = optimizer.update(gradients, state, params)
        return optax.apply_updates(params, updates), state

    state = optimizer.init(PARAMS)
    graph = trace(step, PARAMS, state, X)
    rest = [one for one in forward_names(graph) if not one.startswith(("optimizer/", "state/"))]
    assert rest == names(trace(loss, PARAMS, X))
    assert not any(one.is_gradient for one in graph.operations() if one.name.startswith("optimizer/"))
    assert {one.source.file for one in graph.operations() if one.name.startswith("optimizer/")} == {__file__}
    params, state = graph.outputs
    assert all(out.name.startswith(("optimizer/", "params/kernel")) for out in jax.tree.leaves(params))
    assert all(out.name.startswith("optimizer/") for out in jax.tree.leaves(state))


def test_functions_that_optax_calls_open_scopes_under_optimizer():
    optimizer = optax.adam(1e-2)
    graph = trace(lambda x, state: optimizer.update(x, state), X, optimizer.init(X))
    assert "optimizer/where" in {one.scope for one in graph.operations()}


def test_a_loss_of_optax_is_no_update():
    assert not any("optimizer" in one for one in names(trace(lambda x: optax.huber_loss(x, x + 1), X)))


def test_an_update_in_a_scope_of_its_own_stays_there():
    def step(params, x):
        with jax.named_scope("momentum"):
            return optax.sgd(0.1).update(x, optax.sgd(0.1).init(params))[0]

    assert names(trace(step, X, X))[-1] == "momentum/mul"
