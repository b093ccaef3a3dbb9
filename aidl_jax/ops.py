"""The operations of a network, as pure functions: arrays in, arrays out, randomness from an explicit key.

What JAX has under a good name is its own function here (`matmul`, `relu`, `softmax`, `fft`, ...). Images are `[batch, height,
width, channels]`. What works on single images and their colours lives in `aidl_jax.images`, and is here too.

Floats keep their dtype: bfloat16 in, bfloat16 out. Where shapes do not fit, an error says so; nothing is broadcast but
what `add` and `multiply` are asked to.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax.nn import log_softmax, one_hot, relu, sigmoid, softmax
from jax.numpy import add, concat, exp, log, matmul, multiply, split, sum, tanh
from jax.numpy.fft import fft, ifft

from aidl_jax._checks import check, check_key, check_training, floats, pair, told, wide
from aidl_jax.errors import OpError
from aidl_jax.images import (
    adjust_brightness,
    adjust_contrast,
    adjust_saturation,
    crop,
    hsv_to_rgb,
    random_brightness,
    random_contrast,
    random_crop,
    random_flip,
    random_saturation,
    resize_bilinear,
    rgb_to_hsv,
)

__all__ = [
    "Averages", "add", "adjust_brightness", "adjust_contrast", "adjust_saturation", "avg_pool", "batch_norm",
    "bias_add", "concat", "conv2d", "crop", "dropout", "exp", "fft", "flatten", "hsv_to_rgb", "ifft", "log",
    "log_softmax", "matmul", "max_pool", "multiply", "one_hot", "random_brightness", "random_contrast",
    "random_crop", "random_flip", "random_saturation", "relu", "resize_bilinear", "rgb_to_hsv", "sigmoid",
    "softmax", "split", "sum", "tanh",
]  # fmt: skip

Padding = Literal["SAME", "VALID"]


def bias_add(x: jax.Array, bias: jax.Array) -> jax.Array:
    """Adds one number per channel.

    Args:
        x: [..., channels].
        bias: [channels], of the same dtype.

    Raises:
        OpError: the bias has another shape or dtype; a bias [n, 1] would make [n, n] of a vector [n].

    >>> bias_add(jnp.zeros((2, 3)), jnp.array([1.0, 2.0, 3.0])).tolist()
    [[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]]
    """
    x, bias = jnp.asarray(x), jnp.asarray(bias)
    fits = x.ndim > 0 and bias.shape == x.shape[-1:] and bias.dtype == x.dtype
    check(fits, "the bias does not fit the channels", x, bias, fix="one number per channel, shape x.shape[-1:]")
    return x + jnp.broadcast_to(bias, x.shape)


def conv2d(x: jax.Array, kernel: jax.Array, strides: int | tuple[int, int] = 1, padding: Padding = "SAME") -> jax.Array:
    """Two-dimensional convolution (in fact correlation, as everywhere in deep learning).

    Args:
        x: images, floats [batch, height, width, inputs].
        kernel: floats of the same dtype, [kernel height, kernel width, inputs, outputs].
        strides: how far the kernel moves, down and to the right; 1 or more.
        padding: `"SAME"`: zeros around, so that each side comes out as ceil(size / stride); where an odd number of them is
            needed, the extra one is at the bottom and on the right. `"VALID"`: none, ceil((size - kernel + 1) / stride).

    Returns:
        [batch, new height, new width, outputs].

    Raises:
        OpError: shapes or dtypes do not fit, or the kernel does not fit into the image.

    Source: TensorFlow's tf.nn.convolution, "SAME" and "VALID".

    >>> conv2d(jnp.ones((1, 5, 5, 3)), jnp.ones((3, 3, 3, 8)), strides=2).shape
    (1, 3, 3, 8)
    """
    x, kernel = floats("images", x), floats("the kernel", kernel)
    fix = "images are [batch, height, width, channels], a kernel is [height, width, inputs, outputs]"
    check(x.ndim == 4 and kernel.ndim == 4, "conv2d takes two arrays of rank 4", x, kernel, fix=fix)
    check(x.shape[3] == kernel.shape[2], "the images' channels are not the kernel's inputs", x, kernel, fix=fix)
    check(
        x.dtype == kernel.dtype,
        "images and kernel differ in dtype",
        x,
        kernel,
        fix="convert one: x.astype(kernel.dtype)",
    )
    _check_window(x, kernel.shape[:2], padding)
    return jax.lax.conv_general_dilated(
        x, kernel, pair("strides", strides), padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def max_pool(x: jax.Array, size: int | tuple[int, int], strides: Any = None, padding: Padding = "VALID") -> jax.Array:
    """The largest value of each window.

    Args:
        x: floats [batch, height, width, channels].
        size: the window's, one number or (down, right).
        strides: how far the window moves; its own size unless given.
        padding: as in `conv2d`; what is around never is the largest.

    >>> max_pool(jnp.arange(16.0).reshape(1, 4, 4, 1), 2)[0, :, :, 0].tolist()
    [[5.0, 7.0], [13.0, 15.0]]
    """
    x, window, moves = _pooling(x, size, strides, padding)
    return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, window, moves, padding)


def avg_pool(x: jax.Array, size: int | tuple[int, int], strides: Any = None, padding: Padding = "VALID") -> jax.Array:
    """The mean of each window, of what lies in the image only, as in TF; arguments as in `max_pool`.

    >>> avg_pool(jnp.arange(9.0).reshape(1, 3, 3, 1), 2, padding="SAME")[0, :, :, 0].tolist()
    [[2.0, 3.5], [6.5, 8.0]]
    """
    x, window, moves = _pooling(x, size, strides, padding)
    values, inside = x.astype(wide(x.dtype)), jnp.ones((1, *x.shape[1:3], 1), wide(x.dtype))
    sums, counts = (jax.lax.reduce_window(one, 0.0, jax.lax.add, window, moves, padding) for one in (values, inside))
    return (sums / counts).astype(x.dtype)


def flatten(x: jax.Array) -> jax.Array:
    """Each example as one vector: [batch, ...] to [batch, size].

    >>> flatten(jnp.ones((2, 3, 4))).shape
    (2, 12)
    """
    check(x.ndim > 0, "flatten takes a batch", x, fix="the first dimension is the batch's: x[None] for one example")
    return x.reshape(x.shape[0], -1)


def dropout(key: Any, x: jax.Array, rate: float, training: bool) -> jax.Array:
    """Sets values to zero at random and scales up the others, so that the mean stays; nothing outside of training.

    Args:
        key: a PRNG key; not used (None will do) where `training` is False.
        x: floats of any shape.
        rate: the share that is dropped, in [0, 1). TF1's `keep_prob` is 1 - rate.
        training: a Python bool.

    Source: N. Srivastava et al., Dropout (2014), with the scaling in training, as is usual now.

    >>> sorted(set(dropout(jax.random.key(0), jnp.ones(100), 0.5, training=True).tolist()))
    [0.0, 2.0]
    """
    check_training(training)
    if not 0 <= rate < 1:
        raise OpError("the dropout rate is out of range", given=str(rate), expected="0 <= rate < 1", fix="0.5, say")
    x = floats("dropout's inputs", x)
    if not training or rate == 0:
        return x
    check_key("dropout", key)
    keep = jax.random.bernoulli(key, 1 - rate, x.shape)
    return jnp.where(keep, x / (1 - rate), jnp.zeros_like(x))


class Averages(NamedTuple):
    """Batch normalization's running averages, each [channels]."""

    mean: jax.Array
    variance: jax.Array


def batch_norm(
    x: jax.Array,
    averages: Averages,
    scale: jax.Array,
    offset: jax.Array,
    training: bool,
    momentum: float = 0.9,
    epsilon: float = 1e-5,
) -> tuple[jax.Array, Averages]:
    """Normalizes each channel: by the batch's own mean and variance in training, by the running averages otherwise.

    Args:
        x: floats [batch, ..., channels]. Means are taken in float32 at least.
        averages: the running averages, [channels] each; they stay as they are.
        scale: [channels].
        offset: [channels].
        training: a Python bool.
        momentum: how much of the old averages is kept.
        epsilon: what is added to the variance.

    Returns:
        What is normalized, in x's dtype, and the new averages (the old ones, unless training). Both variances divide by
        n, not by n - 1.

    Raises:
        OpError: a vector is not [channels], or there is one value per channel only, which is its own mean.

    Source: S. Ioffe, C. Szegedy, Batch normalization (2015).

    >>> zero, one = jnp.zeros(1), jnp.ones(1)
    >>> y, new = batch_norm(jnp.array([[4.0], [6.0]]), Averages(zero, one), scale=one, offset=zero, training=True)
    >>> y.round(3).ravel().tolist(), round(float(new.mean[0]), 3)
    ([-1.0, 1.0], 0.5)
    """
    check_training(training)
    x = floats("batch_norm's inputs", x)
    check(x.ndim > 1, "batch_norm takes [batch, ..., channels]", x, fix="one example is x[None]")
    for vector in (*averages, scale, offset):
        check(vector.shape == x.shape[-1:], "batch_norm wants one number per channel", x, vector, fix="x.shape[-1:]")
    values = x.astype(wide(x.dtype))
    if not training:
        return _normalize(values, averages, scale, offset, epsilon).astype(x.dtype), averages
    if not 0 <= momentum <= 1:
        raise OpError("batch_norm's momentum is out of range", given=str(momentum), expected="0 to 1", fix="0.9, say")
    alone = all(size == 1 for size in x.shape[:-1])
    check(not alone, "one value per channel is its own mean", x, fix="train on batches of two or more")
    axes = tuple(range(x.ndim - 1))
    batch = Averages(values.mean(axes), values.var(axes))
    new = Averages(*(_mix(old, now, momentum) for old, now in zip(averages, batch, strict=True)))
    return _normalize(values, batch, scale, offset, epsilon).astype(x.dtype), new


def _mix(old: jax.Array, now: jax.Array, momentum: float) -> jax.Array:
    return momentum * old + (1 - momentum) * now.astype(old.dtype)


def _normalize(x: jax.Array, by: Averages, scale: jax.Array, offset: jax.Array, epsilon: float) -> jax.Array:
    mean, variance, scale, offset = (jnp.broadcast_to(one.astype(x.dtype), x.shape) for one in (*by, scale, offset))
    return jax.nn.standardize(x, mean=mean, variance=variance, epsilon=epsilon) * scale + offset


def _pooling(x: Any, size: Any, strides: Any, padding: str) -> tuple[jax.Array, tuple[int, ...], tuple[int, ...]]:
    x, window = floats("images", x), pair("the window's size", size)
    check(x.ndim == 4, "pooling takes [batch, height, width, channels]", x, fix="one image is x[None]")
    _check_window(x, window, padding)
    moves = window if strides is None else pair("strides", strides)
    return x, (1, *window, 1), (1, *moves, 1)


def _check_window(x: jax.Array, window: tuple[int, ...], padding: str) -> None:
    if padding not in ("SAME", "VALID"):
        raise OpError("there is no such padding", given=repr(padding), expected="'SAME' or 'VALID'", fix="in capitals")
    sizes = zip(window, x.shape[1:3], strict=True)
    if padding == "VALID" and any(isinstance(size, int) and wanted > size for wanted, size in sizes):
        given = f"a window of {window[0]} x {window[1]} in {told(x)}"
        raise OpError("the window is larger than the image", given=given, fix='padding="SAME", or a smaller window')
