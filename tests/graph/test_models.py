"""Whole models and train steps: flax, optax, and real data."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import lax
from oracles import assert_close, assert_same, check_trace, forward_names, names
from sklearn.datasets import load_digits

from aidl_jax.graph import trace

RNG = np.random.default_rng(0)
X = RNG.normal(size=(4, 3)).astype(np.float32)


def normal(*shape):
    return (RNG.normal(size=shape) / np.sqrt(shape[0])).astype(np.float32)


@pytest.fixture(scope="module")
def linen():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import flax.linen as nn

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x, train):
            x = nn.Dense(4)(x)
            x = nn.relu(nn.BatchNorm(use_running_average=not train)(x))
            x = nn.Dropout(0.5, deterministic=not train)(x)
            return nn.Dense(2, name="head")(x)

    net = Net()
    return net, net.init(jax.random.key(0), X, train=False)


@pytest.fixture(scope="module")
def nnx():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from flax import nnx
    return nnx


@pytest.fixture(scope="module")
def nnx_model(nnx):
    rngs = nnx.Rngs(0)
    return nnx.Sequential(
        nnx.Linear(3, 4, rngs=rngs), nnx.BatchNorm(4, rngs=rngs), nnx.relu, nnx.Linear(4, 2, rngs=rngs)
    )


def test_linen_apply(linen):
    net, variables = linen
    graph = check_trace(lambda variables, x: net.apply(variables, x, train=False), variables, X)
    assert {one.scope for one in graph.operations() if one.inputs} >= {"Net/Dense_0", "Net/BatchNorm_0", "Net/head"}
    assert "variables/params/head/kernel:0" in [one.name for one in graph.placeholders]
    sources = {str(one.source) for one in graph.operations() if one.inputs}
    assert all(one.startswith("test_models.py:") and "Net.__call__" in one for one in sources)


def test_linen_apply_that_updates_batch_statistics(linen):
    net, variables = linen

    def apply(variables, x, key):
        return net.apply(variables, x, train=True, mutable=["batch_stats"], rngs={"dropout": key})

    graph = check_trace(apply, variables, X, jax.random.key(1))
    assert graph.outputs[1]["batch_stats"]["BatchNorm_0"]["mean"].operation.startswith("Net/BatchNorm_0/")


def test_linen_gradients(linen):
    net, variables = linen

    def loss(params, x):
        return net.apply({**variables, "params": params}, x, train=False).sum()

    graph = check_trace(jax.value_and_grad(loss), variables["params"], X)
    assert forward_names(graph) == names(trace(loss, variables["params"], X))
    assert "gradients/Net/Dense_0/dot_general" in graph.nodes


def test_nnx_model_as_an_argument(nnx_model):
    graph = trace(lambda model, x: model(x), nnx_model, X)
    assert "model/layers/0/kernel:0" in [one.name for one in graph.placeholders]
    got = graph.run(graph.outputs, {"model": nnx_model, "x": X})
    assert_same(got, jax.jit(lambda model, x: model(x))(nnx_model, X))


def test_nnx_split_and_merge(nnx, nnx_model):
    description, state = nnx.split(nnx_model)

    def apply(state, x):
        model = nnx.merge(description, state)
        model.train()
        return model(x), nnx.state(model)

    graph = check_trace(apply, state, X)
    assert "state/layers/1/mean:0" in [one.name for one in graph.placeholders]


class Batch(NamedTuple):
    images: Any
    labels: Any


@pytest.fixture(scope="module")
def digits():
    data = load_digits()
    return Batch((data.data[:6] / 16).astype(np.float32), data.target[:6].astype(np.int32))


PARAMS = {
    "hidden": {"w": normal(64, 5), "b": np.zeros(5, np.float32)},
    "logits": {"w": normal(5, 10), "b": np.zeros(10, np.float32)},
}


def loss(params, batch):
    with jax.named_scope("hidden"):
        hidden = jax.nn.relu(batch.images @ params["hidden"]["w"] + params["hidden"]["b"])
    with jax.named_scope("logits"):
        logits = hidden @ params["logits"]["w"] + params["logits"]["b"]
    with jax.named_scope("loss"):
        chosen = jax.nn.log_softmax(logits)[jnp.arange(len(batch.labels)), batch.labels]
        return -chosen.mean(), {"accuracy": (logits.argmax(-1) == batch.labels).mean()}


def make_step(optimizer):
    def step(params, state, batch):
        (value, metrics), gradients = jax.value_and_grad(loss, has_aux=True)(params, batch)
        updates, state = optimizer.update(gradients, state, params)
        return optax.apply_updates(params, updates), state, {"loss": value} | metrics

    return step


OPTIMIZERS = {
    "momentum on a schedule": optax.sgd(optax.exponential_decay(0.1, 2, 0.5), momentum=0.9),
    "adam": optax.adam(1e-2),
    "clipped adamw": optax.chain(optax.clip_by_global_norm(0.1), optax.adamw(1e-2)),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_train_step_on_digits(digits, optimizer):
    step = make_step(OPTIMIZERS[optimizer])
    state = OPTIMIZERS[optimizer].init(PARAMS)
    graph = check_trace(step, PARAMS, state, digits)
    top = {one.name.partition("/")[0] for one in graph.operations()}
    assert top <= {"params", "state", "batch", "hidden", "logits", "loss", "gradients", "optimizer"}
    model = {one for one in forward_names(graph) if one.startswith(("hidden/", "logits/", "loss/"))}
    assert model == {one for one in names(trace(loss, PARAMS, digits)) if not one.startswith(("params/", "batch/"))}


def test_training_through_the_graph_is_training(digits):
    optimizer = OPTIMIZERS["adam"]
    step, params, state = make_step(optimizer), PARAMS, optimizer.init(PARAMS)
    graph = trace(step, params, state, digits, variables=["params", "state"])
    same, same_state, losses = params, state, []
    for _ in range(5):
        params, state, metrics = graph.run(graph.outputs, {"params": params, "state": state, "batch": digits})
        same, same_state, expected = jax.jit(step)(same, same_state, digits)
        losses.append(float(metrics["loss"]))
        assert_close((params, state, metrics), (same, same_state, expected), operations=256)
    assert losses == sorted(losses, reverse=True)


def test_conv_net():
    def conv_net(params, x):
        with jax.named_scope("conv"):
            x = lax.conv_general_dilated(x, params["k"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        x = lax.reduce_window(jax.nn.relu(x), -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
        return x.reshape(x.shape[0], -1) @ params["w"]

    params = {"k": RNG.normal(size=(3, 3, 1, 2)).astype(np.float32), "w": normal(32, 3)}
    x = RNG.normal(size=(2, 8, 8, 1)).astype(np.float32)
    check_trace(jax.value_and_grad(lambda params, x: conv_net(params, x).sum()), params, x)


def test_recurrent_net():
    def rnn(params, rows):
        def cell(state, row):
            state = jnp.tanh(row @ params["w"] + state @ params["u"])
            return state, state.sum()

        return lax.scan(cell, jnp.zeros(4), rows)[1]

    params = {"w": normal(3, 4), "u": normal(4, 4)}
    graph = check_trace(jax.value_and_grad(lambda params, rows: rnn(params, rows).sum()), params, X)
    assert [one.name for one in graph.operations() if one.type == "scan"] == ["scan", "gradients/scan"]
