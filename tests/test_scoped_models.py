"""Models: their variables' names and first values, what they compute, their graphs, and that they learn."""

from __future__ import annotations

import runpy
from functools import partial
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.signal
from finite_differences import compiled
from sklearn.datasets import load_digits

from aidl_jax import losses, models, ops
from aidl_jax.errors import OpError, ScopeError
from aidl_jax.graph import trace
from aidl_jax.scope import AUTO, apply, init

RNG = np.random.default_rng(0)
KEY = jax.random.key(0)
EXAMPLES = Path(__file__).resolve().parents[1] / "examples" / "models.py"
INPUTS = {
    "linear_regression": (7, 3),
    "relu_layer": (2, 784),
    "mlp": (2, 784),
    "image_filter": (1, 6, 7, 32),
    "lenet": (2, 28, 28, 1),
    "residual_net": (2, 8, 8, 1),
}


@pytest.fixture(autouse=True)
def strict():
    with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
        yield


def normal(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def made(model, *shape, dtype=np.float32):
    """The shapes of params and model_state."""
    return jax.eval_shape(init(model), KEY, jax.ShapeDtypeStruct(shape, dtype))


def flat(tree):
    found = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {"/".join(part.key for part in path): leaf for path, leaf in found}


def filled(shapes):
    """Random values of these shapes, so that nothing is 0 or 1 by its initializer."""
    return jax.tree.map(lambda leaf: jnp.asarray(normal(*leaf.shape)), shapes)


DENSE = {"weights", "biases"}
NORMED = {"weights", "batch_norm/scale", "batch_norm/offset"}
NAMES = {
    "linear_regression": {"linear/weights": (3,), "linear/bias": ()},
    "relu_layer": {"layer1/W": (784, 100), "layer1/b": (100,)},
    "mlp": {"layer1/weights": (784, 128), "layer1/biases": (128,), "layer2/weights": (128, 10), "layer2/biases": (10,)},
    "image_filter": {
        "conv1/weights": (5, 5, 32, 32),
        "conv1/biases": (32,),
        "conv2/weights": (5, 5, 32, 32),
        "conv2/biases": (32,),
    },
    "lenet": {
        "conv1/weights": (5, 5, 1, 6),
        "conv1/biases": (6,),
        "conv2/weights": (5, 5, 6, 16),
        "conv2/biases": (16,),
        "dense1/weights": (784, 120),
        "dense1/biases": (120,),
        "dense2/weights": (120, 84),
        "dense2/biases": (84,),
        "logits/weights": (84, 10),
        "logits/biases": (10,),
    },
}


@pytest.mark.oldest
@pytest.mark.parametrize("name", NAMES)
def test_variables_have_these_names_and_shapes(name):
    params, model_state = made(getattr(models, name), *INPUTS[name])
    assert {path: leaf.shape for path, leaf in flat(params).items()} == NAMES[name]
    assert model_state == {}


def test_the_residual_net_keeps_its_averages_apart():
    params, model_state = made(models.residual_net, 2, 8, 8, 1)
    layers = {"stem", *(f"block{n}/conv{m}" for n in (1, 2) for m in (1, 2)), "block2/shortcut"}
    expected = {f"{layer}/{name}" for layer in layers for name in NORMED} | {f"logits/{name}" for name in DENSE}
    assert set(flat(params)) == expected
    assert set(flat(model_state)) == {f"{layer}/batch_norm/{name}" for layer in layers for name in ("mean", "variance")}


@pytest.mark.oldest
def test_the_first_values_of_the_relu_layer():
    params, _ = compiled(init(models.relu_layer))(KEY, jnp.ones((1, 784)))
    w, b = params["layer1"]["W"], params["layer1"]["b"]
    assert -1 <= w.min() < -0.999 and 0.999 < w.max() < 1 and not b.any()


def test_the_first_loss_of_a_classifier_is_about_that_of_guessing():
    x = jnp.asarray(load_digits().data[:256] / 16, jnp.float32)
    model = partial(models.mlp, units=(32, 10))
    logits, _ = compiled(lambda key, x: apply(model)(*init(model)(key, x), x))(KEY, x)
    labels = jnp.asarray(load_digits().target[:256])
    assert abs(losses.softmax_cross_entropy(logits, labels, reduction="mean") - np.log(10)) < 0.7


@pytest.mark.oldest
def test_linear_regression_is_a_vector_product():
    x, params = normal(7, 3), filled(made(models.linear_regression, 7, 3)[0])
    got, _ = apply(models.linear_regression)(params, {}, x)
    np.testing.assert_allclose(got, x @ params["linear"]["weights"] + params["linear"]["bias"], rtol=1e-5)
    assert got.shape == (7,)


def numpys(x, weights, biases):
    return np.float64(x) @ np.float64(weights) + np.asarray(biases, np.float64)[None]


@pytest.mark.oldest
def test_dense_models_are_numpys():
    x, params = normal(2, 784), filled(made(models.relu_layer, 2, 784)[0])
    got, _ = apply(models.relu_layer)(params, {}, x)
    expected = np.maximum(numpys(x, params["layer1"]["W"], params["layer1"]["b"]), 0)
    np.testing.assert_allclose(got, expected, atol=1e-3)
    mlp = partial(models.mlp, units=(5, 4, 3))
    x, params = normal(2, 8), filled(made(mlp, 2, 8)[0])
    got, _ = apply(mlp)(params, {}, x)
    for number in (1, 2, 3):
        x = numpys(x, **params[f"layer{number}"])
        x = np.maximum(x, 0) if number < 3 else x
    np.testing.assert_allclose(got, x, atol=1e-4)


def test_the_image_filter_is_scipys_correlation_twice():
    model = partial(models.image_filter, channels=2)
    x, params = normal(1, 6, 7, 2), filled(made(model, 1, 6, 7, 2)[0])
    got, _ = apply(model)(params, {}, x)
    x = x[0]
    for layer in ("conv1", "conv2"):
        kernel, biases = params[layer]["weights"], params[layer]["biases"]
        planes = [
            sum(scipy.signal.correlate2d(x[..., i], kernel[:, :, i, o], mode="same") for i in range(2)) + biases[o]
            for o in range(2)
        ]
        x = np.maximum(np.stack(planes, axis=-1), 0)
    np.testing.assert_allclose(got[0], x, rtol=1e-4, atol=1e-4)


def test_two_filters_of_one_scope_share_variables_and_add_their_gradients():
    def both(scope, first, second):
        with scope.variable_scope("filter", reuse=AUTO) as shared:
            return sum(models.image_filter(shared, images, channels=2).sum() for images in (first, second))

    one = lambda scope, images: both(scope, images, jnp.zeros_like(images))  # noqa: E731
    first, second = normal(1, 4, 4, 2), normal(1, 4, 4, 2)
    params = filled(jax.eval_shape(init(both), KEY, first, second)[0])
    assert set(flat(params)) == {f"filter/{name}" for name in NAMES["image_filter"]}
    gradient = compiled(lambda fn, *x: jax.grad(lambda p: apply(fn)(p, {}, *x)[0])(params), static_argnums=0)
    zero = np.zeros_like(first)
    parts = (gradient(one, first), gradient(one, second), gradient(both, zero, zero))
    summed = jax.tree.map(lambda a, b, c: a + b - c, *parts)  # each part has a zero image's gradient in it
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-2), gradient(both, first, second), summed)


GOLDEN = {
    "linear_regression": ["linear/dot_general", "linear/add"],
    "relu_layer": ["layer1/dot_general", "layer1/broadcast_in_dim", "layer1/add", "layer1/relu/max"],
    "mlp": [
        "layer1/dot_general",
        "layer1/broadcast_in_dim",
        "layer1/add",
        "layer1/relu/max",
        "layer2/dot_general",
        "layer2/broadcast_in_dim",
        "layer2/add",
    ],
    "image_filter": [
        f"{layer}/{name}"
        for layer in ("conv1", "conv2")
        for name in ("conv_general_dilated", "broadcast_in_dim", "add", "relu/max")
    ],
}


def graph_of(name):
    """The graph of a model for a batch of any size, and the names of its operations without the arguments'."""
    model = getattr(models, name)
    params, model_state = made(model, *INPUTS[name])
    spec = jax.ShapeDtypeStruct((None, *INPUTS[name][1:]), np.float32)

    def forward(params, model_state, x):
        return apply(model)(params, model_state, x, key=KEY)

    graph = trace(forward, params, model_state, spec)
    given = {"placeholder", "constant"}
    return graph, [operation.name for operation in graph.operations() if operation.type not in given]


@pytest.mark.oldest
@pytest.mark.parametrize("name", GOLDEN)
def test_the_graph_has_these_operations(name):
    graph, names = graph_of(name)
    assert names == GOLDEN[name]
    assert {one.operation for one in graph.placeholders} == {f"params/{path}" for path in NAMES[name]} | {"x"}


@pytest.mark.parametrize("name", INPUTS)
def test_every_variable_goes_into_an_operation_of_its_own_scope(name):
    graph, names = graph_of(name)
    for tensor in graph.placeholders:
        argument, _, path = tensor.operation.partition("/")
        if argument != "x":
            scope = path.rpartition("/")[0]
            assert tensor.consumers, path
            assert all(consumer.startswith(f"{scope}/") for consumer in tensor.consumers), path
    outside = {operation for operation in names if "/" not in operation}
    assert outside == ({"reshape"} if name == "lenet" else set())


def test_all_blocks_but_the_first_halve_height_and_width():
    graph, _ = graph_of("residual_net")
    shapes = [graph[f"{scope}/relu/max:0"].shape[1:] for scope in ("stem", "block1", "block2")]
    assert shapes == [(8, 8, 16), (8, 8, 16), (4, 4, 32)]


@pytest.mark.parametrize("name", INPUTS)
def test_the_examples_can_be_traced_for_any_batch(name):
    module = runpy.run_path(str(EXAMPLES))
    state = [module[f"{name}_state"]] if f"{name}_state" in module else []
    spec = jax.ShapeDtypeStruct((None, *INPUTS[name][1:]), np.float32)
    graph = trace(module[name], module[f"{name}_params"], *state, spec)
    assert str(graph.outputs.shape[0]) == "batch"


@pytest.mark.parametrize("name", INPUTS)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_a_model_computes_in_its_inputs_dtype(name, dtype):
    model = getattr(models, name)
    params, model_state = made(model, *INPUTS[name], dtype=dtype)
    spec = jax.ShapeDtypeStruct(INPUTS[name], dtype)
    output, new = jax.eval_shape(apply(model), params, model_state, spec)
    assert output.dtype == dtype and {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype(dtype)}
    assert {leaf.dtype for leaf in jax.tree.leaves(new)} <= {jnp.dtype(jnp.float32)}


def test_dropout_in_the_lenet_needs_a_key_and_changes_with_it():
    model = partial(models.lenet, classes=3, training=True)
    images, params = normal(2, 8, 8, 1), filled(made(models.lenet, 2, 8, 8, 1)[0])
    params["logits"] = {"weights": jnp.ones((84, 3)), "biases": jnp.zeros(3)}
    run = compiled(lambda key: apply(model)(params, {}, images, key=key)[0])
    assert (run(KEY) == run(KEY)).all() and (run(KEY) != run(jax.random.key(1))).any()
    with pytest.raises(ScopeError, match="'logits/dropout' needs a PRNG key: given key=None"):
        apply(model)(params, {}, images)


def flax_layer(module, params, x):
    """A Flax layer with our weights."""
    kernel = {"kernel": params["weights"]} | ({"bias": params["biases"]} if "biases" in params else {})
    return module.apply({"params": kernel}, x)


def flax_norm(params, averages, x):
    given = {"scale": params["scale"], "bias": params["offset"]}
    stats = {"mean": averages["mean"], "var": averages["variance"]}
    return nn.BatchNorm(use_running_average=True).apply({"params": given, "batch_stats": stats}, x)


def flax_lenet(params, x):
    for name in ("conv1", "conv2"):
        channels = params[name]["biases"].size
        x = nn.max_pool(nn.relu(flax_layer(nn.Conv(channels, (5, 5)), params[name], x)), (2, 2), strides=(2, 2))
    x = x.reshape(len(x), -1)
    for name in ("dense1", "dense2"):
        x = nn.relu(flax_layer(nn.Dense(params[name]["biases"].size), params[name], x))
    return flax_layer(nn.Dense(3), params["logits"], x)


def flax_residual_net(params, state, x):
    def conv_norm(params, state, x, size, strides):
        conv = nn.Conv(params["weights"].shape[-1], (size, size), strides=strides, use_bias=False)
        return flax_norm(params["batch_norm"], state["batch_norm"], flax_layer(conv, params, x))

    x = nn.relu(conv_norm(params["stem"], state["stem"], x, 3, 1))
    for name, strides in (("block1", 1), ("block2", 2)):
        block, kept = params[name], state[name]
        y = nn.relu(conv_norm(block["conv1"], kept["conv1"], x, 3, strides))
        y = conv_norm(block["conv2"], kept["conv2"], y, 3, 1)
        x = nn.relu((conv_norm(block["shortcut"], kept["shortcut"], x, 1, strides) if strides == 2 else x) + y)
    return flax_layer(nn.Dense(3), params["logits"], x.mean(axis=(1, 2)))


def test_the_convnets_are_flax_layers_with_the_same_weights():
    x = normal(2, 8, 8, 1)
    lenet, residual = partial(models.lenet, classes=3), partial(models.residual_net, classes=3, widths=(2, 3))
    small, (large, state) = filled(made(lenet, 2, 8, 8, 1)[0]), filled(made(residual, 2, 8, 8, 1))
    state = jax.tree.map(jnp.exp, state)  # variances are positive

    @compiled
    def both(small, large, state, x):
        with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
            expected = flax_lenet(small, x), flax_residual_net(large, state, x)
        return (apply(lenet)(small, {}, x)[0], apply(residual)(large, state, x)[0]), expected

    for got, expected in zip(*both(small, large, state, x), strict=True):
        assert got.shape == (2, 3)
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5 * float(abs(expected).max()))


def test_a_residual_block_whose_convolutions_are_zero_is_relu():
    model = partial(models.residual_block, channels=2, strides=1, training=False)
    x = normal(2, 4, 4, 2)
    params, model_state = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), made(model, 2, 4, 4, 2))
    got, _ = jax.jit(apply(model))(params, model_state, x)
    np.testing.assert_array_equal(got, np.maximum(x, 0))


def test_the_residual_net_learns_digits():
    digits = load_digits()
    images, labels = jnp.asarray(digits.images[:512, :, :, None] / 16, jnp.float32), jnp.asarray(digits.target[:512])
    model = partial(models.residual_net, widths=(8, 16))
    params, model_state = compiled(init(model))(KEY, images[:2])
    optimizer = optax.adam(0.01)

    def loss_fn(params, model_state, x, y):
        logits, model_state = apply(partial(model, training=True))(params, model_state, x)
        return losses.softmax_cross_entropy(logits, y, reduction="mean"), model_state

    @compiled
    def step(params, model_state, opt_state, x, y):
        (loss, model_state), gradient = jax.value_and_grad(loss_fn, has_aux=True)(params, model_state, x, y)
        with jax.numpy_dtype_promotion("standard"):  # optax mixes ints and floats
            updates, opt_state = optimizer.update(gradient, opt_state)
        return optax.apply_updates(params, updates), model_state, opt_state, loss

    state, before, found = (params, model_state, optimizer.init(params)), model_state, []
    for number in range(40):
        rows = slice(number % 8 * 64, number % 8 * 64 + 64)
        *state, loss = step(*state, images[rows], labels[rows])
        found.append(float(loss))
    assert np.mean(found[-8:]) < 0.5 < 2 < found[0]
    params, model_state, _ = state
    assert all((a != b).any() for a, b in zip(*map(jax.tree.leaves, (before, model_state)), strict=True))
    logits, same = compiled(apply(model))(params, model_state, images)
    jax.tree.map(np.testing.assert_array_equal, same, model_state)
    assert losses.accuracy(logits, labels) > 0.9


ERRORS = [
    (
        models.mlp,
        (2, 8, 8),
        np.float32,
        "this model takes [batch, features]: given float32[2,8,8]. Fix: ops.flatten(x) for images, x[None] for one example",
    ),
    (models.relu_layer, (784,), np.float32, "this model takes [batch, features]: given float32[784]"),
    (
        models.lenet,
        (28, 28, 1),
        np.float32,
        "this model takes [batch, height, width, channels]: given float32[28,28,1]. Fix: x[None] for one, x[..., None] for grey",
    ),
    (models.residual_net, (2, 8, 8, 1), np.uint8, "a model's images must be floats: given uint8[2,8,8,1]. Fix: "),
    (models.linear_regression, (2, 3), int, "a model's inputs must be floats: given int32[2,3]. Fix: "),
    (
        models.lenet,
        (2, 3, 3, 1),
        np.float32,
        "the window is larger than the image: given a window of 2 x 2 in float32[2,1,1,16]",
    ),
]


@pytest.mark.parametrize(("model", "shape", "dtype", "message"), ERRORS, ids=range(len(ERRORS)))
def test_what_does_not_fit_says_so(model, shape, dtype, message):
    with pytest.raises(OpError) as caught:
        jax.eval_shape(init(model), KEY, jnp.ones(shape, dtype))
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("units", [(), 3, (4, 0), (4, 2.5)])
def test_widths_are_whole_numbers(units):
    told = "units are not one number for each layer: given|each of units must be a whole number: given"
    with pytest.raises(OpError, match=told):
        jax.eval_shape(init(partial(models.mlp, units=units)), KEY, jnp.ones((2, 3)))


def test_layers_are_ops_and_nothing_is_left_out():
    assert models.__all__ == sorted(models.__all__) and set(INPUTS) < set(models.__all__)
    assert ops.relu is jax.nn.relu
