"""Models, each on one screen: functions `fn(scope, *inputs)` for `scope.init` and `scope.apply`.

What can be chosen is a keyword, fixed by `functools.partial`, as any function's:

>>> from functools import partial
>>> from aidl_jax.scope import apply, init
>>> model = partial(mlp, units=(16, 3))
>>> x = jax.numpy.ones((4, 8))
>>> params, model_state = init(model)(jax.random.key(0), x)
>>> logits, model_state = apply(model)(params, model_state, x)
>>> logits.shape
(4, 3)

Variables have the inputs' dtype, so a model computes in it: float32, or bfloat16. `training=True` is for the train step's `apply`;
make the variables without it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax

from aidl_jax import ops
from aidl_jax._checks import check, floats, whole
from aidl_jax.errors import OpError
from aidl_jax.initializers import glorot_uniform, he_normal, normal, uniform, zeros
from aidl_jax.scope import Scope

__all__ = [
    "batch_norm",
    "conv",
    "conv_relu",
    "dense",
    "image_filter",
    "lenet",
    "linear_regression",
    "mlp",
    "relu_layer",
    "residual_block",
    "residual_net",
]


def linear_regression(scope: Scope, x: jax.Array) -> jax.Array:
    """A weighted sum of the features: floats [batch, features] to [batch].

    Variables: `linear/weights` [features] and `linear/bias` [], both 0 at first, from where a convex loss always goes down.

    >>> from aidl_jax.scope import apply
    >>> params = {"linear": {"weights": jax.numpy.array([2.0, 1.0]), "bias": jax.numpy.float32(1)}}
    >>> apply(linear_regression)(params, {}, jax.numpy.array([[1.0, 3.0]]))[0].tolist()
    [6.0]
    """
    x = _batch(x, "features")
    with scope.variable_scope("linear") as linear:
        weights = linear.get_variable("weights", x.shape[1:], zeros, x.dtype)
        bias = linear.get_variable("bias", (), 0.0, x.dtype)
        return ops.matmul(x, weights) + bias


def relu_layer(scope: Scope, x: jax.Array, units: int = 100) -> jax.Array:
    """h = ReLU(xW + b): floats [batch, features] (784 for MNIST's digits) to [batch, units].

    Variables: `layer1/W`, uniform in [-1, 1), and `layer1/b`, 0.
    """
    x = _batch(x, "features")
    with scope.variable_scope("layer1") as layer:
        w = layer.get_variable("W", (x.shape[1], units), uniform(-1, 1), x.dtype)
        b = layer.get_variable("b", (units,), 0.0, x.dtype)
        return ops.relu(ops.bias_add(ops.matmul(x, w), b))


def mlp(scope: Scope, x: jax.Array, units: Sequence[int] = (128, 10)) -> jax.Array:
    """A multi-layer perceptron: floats [batch, features] to logits [batch, units[-1]].

    Variables: `layer1/weights` (He's), `layer1/biases` (0), `layer2/...`; the last layer is Glorot's and has no ReLU.
    """
    x, units = _batch(x, "features"), _widths("units", units)
    for number, width in enumerate(units[:-1], start=1):
        with scope.variable_scope(f"layer{number}") as layer:
            x = ops.relu(dense(layer, x, width, he_normal()))
    with scope.variable_scope(f"layer{len(units)}") as layer:
        return dense(layer, x, units[-1])


def image_filter(scope: Scope, images: jax.Array, channels: int = 32) -> jax.Array:
    """Two convolutions, 5 x 5, each with ReLU: floats [batch, height, width, inputs] to [batch, height, width, channels].

    Variables: `conv1/weights`, `conv1/biases`, `conv2/weights`, `conv2/biases`. To filter two images with the same ones, call
    it twice in a scope that is reused: `with scope.variable_scope("filter", reuse=AUTO) as shared: ...`
    """
    with scope.variable_scope("conv1") as conv1:
        x = conv_relu(conv1, images, channels)
    with scope.variable_scope("conv2") as conv2:
        return conv_relu(conv2, x, channels)


def conv_relu(scope: Scope, x: jax.Array, channels: int) -> jax.Array:
    """ReLU(convolution + biases), with `weights` [5, 5, inputs, channels] normal of deviation 1 and `biases` 0."""
    return ops.relu(conv(scope, x, channels, size=5, initializer=normal()))


def lenet(scope: Scope, images: jax.Array, classes: int = 10, rate: float = 0.5, training: bool = False) -> jax.Array:
    """A convnet like LeNet-5, with ReLU, max-pooling and dropout: floats [batch, height, width, channels] to logits.

    Variables: `conv1/...` (6 channels), `conv2/...` (16), `dense1/...` (120), `dense2/...` (84), `logits/...` (classes). With
    `training=True`, `apply` needs a key, for the dropout at `rate`. Images are 4 x 4 or larger; MNIST's are 28 x 28.

    Source: Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, Gradient-based learning applied to document recognition (1998).
    """
    x = images
    for name, channels in (("conv1", 6), ("conv2", 16)):
        with scope.variable_scope(name) as layer:
            x = ops.max_pool(ops.relu(conv(layer, x, channels, size=5)), 2)
    x = ops.flatten(x)
    for name, units in (("dense1", 120), ("dense2", 84)):
        with scope.variable_scope(name) as layer:
            x = ops.relu(dense(layer, x, units, he_normal()))
    with scope.variable_scope("logits") as layer:
        key = layer.make_key("dropout") if training else None
        return dense(layer, ops.dropout(key, x, rate, training), classes)


def residual_net(
    scope: Scope, images: jax.Array, classes: int = 10, widths: Sequence[int] = (16, 32), training: bool = False
) -> jax.Array:
    """A small residual network with batch norm: floats [batch, height, width, channels] to logits [batch, classes].

    A convolution, a block for each width (all but the first halve height and width), the mean over the image, a dense layer.
    Variables: `stem/...`, `block1/...`, ..., `logits/...`; the running averages of batch norm are in the model state.

    Source: K. He, X. Zhang, S. Ren, J. Sun, Deep residual learning for image recognition (2015).
    """
    widths = _widths("widths", widths)
    with scope.variable_scope("stem") as stem:
        x = ops.relu(_conv_norm(stem, images, widths[0], 3, 1, training))
    for number, width in enumerate(widths, start=1):
        with scope.variable_scope(f"block{number}") as block:
            x = residual_block(block, x, width, strides=1 if number == 1 else 2, training=training)
    with scope.variable_scope("logits") as layer:
        return dense(layer, x.mean(axis=(1, 2)), classes)


def residual_block(scope: Scope, x: jax.Array, channels: int, strides: int, training: bool) -> jax.Array:
    """ReLU(x + two convolutions of it); where the shape changes, x goes through a convolution 1 x 1."""
    with scope.variable_scope("conv1") as conv1:
        y = ops.relu(_conv_norm(conv1, x, channels, 3, strides, training))
    with scope.variable_scope("conv2") as conv2:
        y = _conv_norm(conv2, y, channels, 3, 1, training)
    if strides != 1 or channels != x.shape[-1]:
        with scope.variable_scope("shortcut") as shortcut:
            x = _conv_norm(shortcut, x, channels, 1, strides, training)
    return ops.relu(x + y)


def dense(scope: Scope, x: jax.Array, units: int, initializer: Any = None) -> jax.Array:
    """x times `weights` [features, units] (Glorot's unless given) plus `biases` [units] (0): [..., features] to [..., units]."""
    x = floats("a layer's inputs", x)
    weights = scope.get_variable("weights", (x.shape[-1], units), initializer or glorot_uniform(), x.dtype)
    return ops.bias_add(ops.matmul(x, weights), scope.get_variable("biases", (units,), 0.0, x.dtype))


def conv(scope: Scope, x: jax.Array, channels: int, size: int, initializer: Any = None) -> jax.Array:
    """A convolution with `weights` [size, size, inputs, channels] (He's unless given) plus `biases` [channels] (0)."""
    x = _images(x)
    weights = scope.get_variable("weights", (size, size, x.shape[-1], channels), initializer or he_normal(), x.dtype)
    return ops.bias_add(ops.conv2d(x, weights), scope.get_variable("biases", (channels,), 0.0, x.dtype))


def batch_norm(scope: Scope, x: jax.Array, training: bool) -> jax.Array:
    """`ops.batch_norm` with its `scale` (1) and `offset` (0); `mean` and `variance` are kept in the model state, as float32."""
    with scope.variable_scope("batch_norm") as norm:
        channels = x.shape[-1:]
        scale, offset = (
            norm.get_variable(name, channels, value, x.dtype) for name, value in (("scale", 1.0), ("offset", 0.0))
        )
        mean = norm.get_variable("mean", channels, 0.0, trainable=False)
        variance = norm.get_variable("variance", channels, 1.0, trainable=False)
        y, new = ops.batch_norm(x, ops.Averages(mean, variance), scale, offset, training)
        if training:
            norm.assign("mean", new.mean)
            norm.assign("variance", new.variance)
        return y


def _conv_norm(scope: Scope, x: jax.Array, channels: int, size: int, strides: int, training: bool) -> jax.Array:
    """A convolution without biases, which batch norm's offset makes needless, and batch norm."""
    x = _images(x)
    weights = scope.get_variable("weights", (size, size, x.shape[-1], channels), he_normal(), x.dtype)
    return batch_norm(scope, ops.conv2d(x, weights, strides), training)


def _widths(name: str, widths: Any) -> tuple[int, ...]:
    if not isinstance(widths, tuple | list) or not widths:
        raise OpError(
            f"{name} are not one number for each layer", given=repr(widths), expected="a tuple", fix="(128, 10), say"
        )
    return tuple(whole(f"each of {name}", width, 1) for width in widths)


def _batch(x: Any, of: str) -> jax.Array:
    x = floats("a model's inputs", x)
    check(x.ndim == 2, f"this model takes [batch, {of}]", x, fix="ops.flatten(x) for images, x[None] for one example")
    return x


def _images(x: Any) -> jax.Array:
    x = floats("a model's images", x)
    check(
        x.ndim == 4,
        "this model takes [batch, height, width, channels]",
        x,
        fix="x[None] for one, x[..., None] for grey",
    )
    return x
