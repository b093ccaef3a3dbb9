"""Operations against NumPy, SciPy and flax, by gradient check, and in what they refuse."""

from __future__ import annotations

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal
import scipy.special
from finite_differences import check_function, compiled
from hypothesis import given, settings
from hypothesis import strategies as st

from aidl_jax import ops
from aidl_jax.errors import OpError

RNG = np.random.default_rng(0)
KEY = jax.random.key(0)


@pytest.fixture(autouse=True)
def strict():
    with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
        yield


def normal(*shape, dtype=np.float32):
    return RNG.normal(size=shape).astype(dtype)


def assert_close(got, expected, places=1e-5):
    np.testing.assert_allclose(np.asarray(got, np.float64), expected, rtol=places, atol=places)


ALIASES = {
    "add": (jnp.add, np.add, (normal(2, 3), normal(2, 3))),
    "multiply": (jnp.multiply, np.multiply, (normal(2, 3), normal(2, 3))),
    "matmul": (jnp.matmul, np.matmul, (normal(2, 3), normal(3, 4))),
    "log": (jnp.log, np.log, (np.exp(normal(5)),)),
    "exp": (jnp.exp, np.exp, (normal(5),)),
    "tanh": (jnp.tanh, np.tanh, (normal(5),)),
    "sum": (jnp.sum, np.sum, (normal(2, 3),)),
    "relu": (jax.nn.relu, lambda x: np.maximum(x, 0), (normal(9),)),
    "sigmoid": (jax.nn.sigmoid, scipy.special.expit, (normal(9),)),
    "softmax": (jax.nn.softmax, lambda x: scipy.special.softmax(x, axis=-1), (normal(2, 5),)),
    "log_softmax": (jax.nn.log_softmax, lambda x: scipy.special.log_softmax(x, axis=-1), (normal(2, 5),)),
    "concat": (jnp.concat, np.concatenate, ((normal(2, 3), normal(4, 3)),)),
}


@pytest.mark.oldest
@pytest.mark.parametrize("name", ALIASES)
def test_a_mere_alias_is_jax_own_function_and_numpys_values(name):
    own, oracle, arguments = ALIASES[name]
    assert getattr(ops, name) is own
    assert_close(own(*arguments), oracle(*arguments))


@pytest.mark.parametrize("name", ALIASES)
def test_an_alias_has_the_gradient_of_finite_differences(name):
    own, _, arguments = ALIASES[name]
    check_function(own, *arguments)


def test_fft_and_its_inverse():
    x = normal(3, 8)
    assert ops.fft is jnp.fft.fft and ops.ifft is jnp.fft.ifft
    np.testing.assert_allclose(ops.fft(x), np.fft.fft(x), atol=1e-5)
    np.testing.assert_allclose(ops.ifft(ops.fft(x)), x, atol=1e-6)
    power = lambda x: jnp.sum(jnp.abs(ops.fft(x)) ** 2)  # noqa: E731
    assert_close(jax.grad(power)(x), 2 * 8 * x, 1e-4)  # Parseval: power is 8 * sum(x**2)


def test_split_and_one_hot():
    x = normal(6, 2)
    assert ops.split is jnp.split and ops.one_hot is jax.nn.one_hot
    for got, expected in zip(ops.split(x, 3), np.split(x, 3), strict=True):
        np.testing.assert_array_equal(got, expected)
    np.testing.assert_array_equal(ops.one_hot(jnp.array([2, 0]), 3), np.eye(3)[[2, 0]])


def tf_padding(size, window, stride, padding):
    """TensorFlow's documented formulas: (output size, zeros before, zeros after)."""
    if padding == "VALID":
        return math.ceil((size - window + 1) / stride), 0, 0
    out = math.ceil(size / stride)
    total = max(window - stride, 0) if size % stride == 0 else max(window - size % stride, 0)
    return out, total // 2, total - total // 2


def pad(image, window, strides, padding, value):
    """One image [height, width] with its padding, and the output's shape."""
    (rows, top, bottom), (columns, left, right) = (
        tf_padding(*each, padding) for each in zip(image.shape, window, strides, strict=True)
    )
    return np.pad(image, ((top, bottom), (left, right)), constant_values=value), (rows, columns)


GRID = [
    (size, window, stride, padding)
    for size, window, stride, padding in itertools.product((5, 6), (2, 3), (1, 2, 3), ("SAME", "VALID"))
]


@pytest.mark.oldest
@pytest.mark.parametrize(("size", "window", "stride", "padding"), GRID)
def test_conv2d_is_scipys_correlation_with_tensorflows_padding(size, window, stride, padding):
    x, kernel = normal(2, size, size + 1, 2), normal(window, window + 1, 2, 3)
    strides = (stride, 1 + stride % 3)
    got = ops.conv2d(x, kernel, strides, padding)
    for example, out in itertools.product(range(2), range(3)):
        expected = 0
        for channel in range(2):
            padded, shape = pad(x[example, :, :, channel], (window, window + 1), strides, padding, 0)
            whole = scipy.signal.correlate2d(padded, kernel[:, :, channel, out], mode="valid")
            expected = expected + whole[:: strides[0], :: strides[1]]
        assert expected.shape == shape
        assert_close(got[example, :, :, out], expected)


@pytest.mark.oldest
@pytest.mark.parametrize(("size", "window", "stride", "padding"), GRID)
def test_pools_are_the_largest_and_the_mean_of_what_lies_in_the_image(size, window, stride, padding):
    x = normal(1, size, size + 1, 1) - 3  # all negative, so that a zero of the padding would show
    strides = (stride, 1 + stride % 3)
    padded, (rows, columns) = pad(x[0, :, :, 0], (window, 2), strides, padding, np.nan)
    starts = [(row * strides[0], column * strides[1]) for row in range(rows) for column in range(columns)]
    parts = [padded[row : row + window, column : column + 2] for row, column in starts]
    largest, mean = (np.reshape([fn(part) for part in parts], (rows, columns)) for fn in (np.nanmax, np.nanmean))
    assert_close(ops.max_pool(x, (window, 2), strides, padding)[0, :, :, 0], largest)
    assert_close(ops.avg_pool(x, (window, 2), strides, padding)[0, :, :, 0], mean)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 12), st.integers(1, 5), st.integers(1, 4), st.sampled_from(["SAME", "VALID"]))
def test_output_sizes_are_tensorflows(size, window, stride, padding):
    if padding == "VALID" and window > size:
        return
    expected = (1, tf_padding(size, window, stride, padding)[0], 1, 1)
    x, kernel = jax.ShapeDtypeStruct((1, size, 1, 1), np.float32), jax.ShapeDtypeStruct((window, 1, 1, 1), np.float32)
    assert jax.eval_shape(lambda x, k: ops.conv2d(x, k, (stride, 1), padding), x, kernel).shape == expected
    assert jax.eval_shape(lambda x: ops.max_pool(x, (window, 1), (stride, 1), padding), x).shape == expected


def test_a_pool_moves_by_its_own_size_unless_told():
    x = normal(1, 6, 6, 1)
    np.testing.assert_array_equal(ops.max_pool(x, (2, 3)), ops.max_pool(x, (2, 3), strides=(2, 3)))


def test_bias_add_and_flatten():
    x, bias = normal(2, 3, 4), normal(4)
    assert_close(ops.bias_add(x, bias), x + bias)
    np.testing.assert_array_equal(ops.flatten(x), x.reshape(2, 12))
    assert ops.flatten(normal(5)).shape == (5, 1)


def test_dropout_drops_its_share_and_keeps_the_mean():
    x, rate = np.full((100, 1000), 2, np.float32), 0.3
    got = np.asarray(ops.dropout(KEY, x, rate, training=True))
    dropped = np.mean(got == 0)
    assert_close(got[got != 0], 2 / 0.7)
    # 5 standard deviations of a binomial share: chance of a false alarm 6e-7, once for this seed
    assert abs(dropped - rate) < 5 * math.sqrt(rate * (1 - rate) / got.size)
    assert abs(got.mean() - 2) < 5 * 2 / 0.7 * math.sqrt(rate * (1 - rate) / got.size)


def test_dropout_is_a_function_of_its_key():
    x = np.ones(100, np.float32)
    first, again = (ops.dropout(KEY, x, 0.5, training=True) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert (first != ops.dropout(jax.random.key(1), x, 0.5, training=True)).any()
    np.testing.assert_array_equal(ops.dropout(None, x, 0.5, training=False), x)
    np.testing.assert_array_equal(ops.dropout(None, x, 0.0, training=True), x)
    gradient = jax.grad(lambda x: ops.dropout(KEY, x, 0.5, training=True).sum())(x)
    np.testing.assert_array_equal(gradient, first)


def norm_arguments(channels=3):
    averages = ops.Averages(normal(channels), np.exp(normal(channels)))
    return averages, normal(channels), normal(channels)


def test_batch_norm_in_training_is_numpys():
    x, (averages, scale, offset) = normal(4, 2, 3, 3) * 5 + 7, norm_arguments()
    got, new = ops.batch_norm(x, averages, scale, offset, training=True)
    mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
    assert_close(got, (x - mean) / np.sqrt(variance + 1e-5) * scale + offset)
    assert_close(new.mean, 0.9 * averages.mean + 0.1 * mean)
    assert_close(new.variance, 0.9 * averages.variance + 0.1 * variance)


def test_batch_norm_outside_of_training_uses_the_averages_and_keeps_them():
    x, (averages, scale, offset) = normal(4, 3), norm_arguments()
    got, new = ops.batch_norm(x, averages, scale, offset, training=False)
    assert_close(got, (x - averages.mean) / np.sqrt(averages.variance + 1e-5) * scale + offset)
    assert new is averages


@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_is_flax_batch_norm(training):
    import flax.linen as nn

    x, (averages, scale, offset) = normal(6, 5, 3), norm_arguments()
    variables = {
        "params": {"scale": scale, "bias": offset},
        "batch_stats": {"mean": averages.mean, "var": averages.variance},
    }
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        layer = nn.BatchNorm(use_running_average=not training, momentum=0.9)
        expected, state = layer.apply(variables, x, mutable=["batch_stats"])
    got, new = ops.batch_norm(x, averages, scale, offset, training=training)
    assert_close(got, expected)
    assert_close(new.mean, state["batch_stats"]["mean"])
    assert_close(new.variance, state["batch_stats"]["var"])


def test_batch_norm_of_bfloat16_takes_its_means_in_float32():
    x = (normal(512, 1) * 0.1 + 100).astype(jnp.bfloat16)
    averages = ops.Averages(np.zeros(1, np.float32), np.ones(1, np.float32))
    got, new = compiled(lambda x: ops.batch_norm(x, averages, *averages[::-1], training=True, momentum=0.0))(x)
    wide = np.asarray(x, np.float64)
    assert got.dtype == jnp.bfloat16 and new.mean.dtype == jnp.float32
    assert_close(new.mean, wide.mean(0), 1e-6)
    assert_close(new.variance, wide.var(0), 1e-3)


X = normal(2, 5, 4, 2)
GRADIENTS = {
    "bias_add": (ops.bias_add, (X, normal(2))),
    "conv2d": (lambda x, k: ops.conv2d(x, k, 2), (X, normal(3, 3, 2, 2))),
    "max_pool": (lambda x: ops.max_pool(x, 2, padding="SAME"), (X,)),
    "avg_pool": (lambda x: ops.avg_pool(x, 2, 1, "SAME"), (X,)),
    "flatten": (ops.flatten, (X,)),
    "dropout": (lambda x: ops.dropout(KEY, x, 0.4, training=True), (X,)),
    "batch_norm": (lambda x, a, s, o: ops.batch_norm(x, a, s, o, training=True)[0], (X, *norm_arguments(2))),
    "batch_norm, averages": (lambda x, a, s, o: ops.batch_norm(x, a, s, o, training=False)[0], (X, *norm_arguments(2))),
}


@pytest.mark.parametrize("name", GRADIENTS)
def test_batched_it_is_the_same_function_and_gradients_are_those_of_finite_differences(name):
    fn, arguments = GRADIENTS[name]
    check_function(fn, *arguments)


@pytest.mark.oldest
@pytest.mark.parametrize("name", GRADIENTS)
def test_floats_keep_their_dtype(name):
    fn, arguments = GRADIENTS[name]
    half = jax.tree.map(lambda x: jnp.asarray(x, jnp.bfloat16), arguments)
    wide = jax.tree.map(lambda x: x.astype(jnp.float32), half)
    got, expected = compiled(lambda half, wide: (fn(*half), fn(*wide)))(half, wide)
    assert got.dtype == jnp.bfloat16 and expected.dtype == jnp.float32
    assert_close(got, expected, 4 * float(jnp.finfo(jnp.bfloat16).eps) * max(1, float(abs(expected).max())))


def ones(*shape, dtype=np.float32):
    return np.ones(shape, dtype)


ERRORS = [
    (
        lambda: ops.bias_add(ones(3), ones(3, 1)),
        "the bias does not fit the channels: given float32[3] and float32[3,1]. Fix: one number per channel, shape x.shape[-1:]",
    ),
    (
        lambda: ops.bias_add(ones(2, 3), ones(3, dtype=jnp.bfloat16)),
        "the bias does not fit the channels: given float32[2,3] and bfloat16[3]. Fix: one number per channel",
    ),
    (
        lambda: ops.conv2d(ones(5, 5, 3), ones(3, 3, 3, 8)),
        "conv2d takes two arrays of rank 4: given float32[5,5,3] and float32[3,3,3,8]. "
        "Fix: images are [batch, height, width, channels], a kernel is [height, width, inputs, outputs]",
    ),
    (
        lambda: ops.conv2d(ones(1, 5, 5, 3), ones(3, 3, 1, 8)),
        "the images' channels are not the kernel's inputs: given float32[1,5,5,3] and float32[3,3,1,8]. Fix: images are",
    ),
    (
        lambda: ops.conv2d(ones(1, 5, 5, 3), ones(3, 3, 3, 8, dtype=jnp.bfloat16)),
        "images and kernel differ in dtype: given float32[1,5,5,3] and bfloat16[3,3,3,8]. Fix: convert one",
    ),
    (
        lambda: ops.conv2d(ones(1, 5, 5, 1, dtype=int), ones(3, 3, 1, 1)),
        "images must be floats: given int32[1,5,5,1]. Fix: convert first: x.astype(jnp.float32), pixels / 255",
    ),
    (
        lambda: ops.conv2d(ones(1, 5, 5, 1), ones(3, 3, 1, 1), padding="same"),
        "there is no such padding: given 'same', expected 'SAME' or 'VALID'. Fix: in capitals",
    ),
    (
        lambda: ops.conv2d(ones(1, 5, 2, 1), ones(3, 3, 1, 1), padding="VALID"),
        'the window is larger than the image: given a window of 3 x 3 in float32[1,5,2,1]. Fix: padding="SAME", or a smaller window',
    ),
    (
        lambda: ops.conv2d(ones(1, 5, 5, 1), ones(3, 3, 1, 1), strides=0),
        "strides must be a whole number: given 0, expected an int from 1 on, known before tracing. Fix: pass a Python int",
    ),
    (
        lambda: ops.conv2d(ones(1, 5, 5, 1), ones(3, 3, 1, 1), strides=(1, 2, 2, 1)),
        "strides must be one number or two: given (1, 2, 2, 1), expected a number, or (down, right). "
        "Fix: leave batch and channels out: (2, 2) for TF1's [1, 2, 2, 1]",
    ),
    (
        lambda: ops.max_pool(ones(5, 5, 1), 2),
        "pooling takes [batch, height, width, channels]: given float32[5,5,1]. Fix: one image is x[None]",
    ),
    (
        lambda: ops.avg_pool(ones(1, 5, 5, 1), 2.0),
        "the window's size must be a whole number: given 2.0, expected an int from 1 on",
    ),
    (lambda: ops.max_pool(ones(1, 5, 5, 1), 2, strides=0), "strides must be a whole number: given 0"),
    (
        lambda: ops.flatten(jnp.float32(1)),
        "flatten takes a batch: given float32[]. Fix: the first dimension is the batch's",
    ),
    (
        lambda: ops.dropout(KEY, ones(3), 1.0, training=True),
        "the dropout rate is out of range: given 1.0, expected 0 <= rate < 1. Fix: 0.5, say",
    ),
    (
        lambda: ops.dropout(None, ones(3), 0.5, training=True),
        "dropout needs a PRNG key: given key=None. Fix: pass one: jax.random.key(0), or one of a split",
    ),
    (
        lambda: ops.dropout(KEY, ones(3), 0.5, training="yes"),
        "training must be a Python bool: given 'yes'. Fix: fix it before jit: functools.partial(model, training=True)",
    ),
    (
        lambda: ops.dropout(KEY, ones(3, dtype=int), 0.5, training=True),
        "dropout's inputs must be floats: given int32[3]",
    ),
    (
        lambda: jax.jit(lambda training: ops.dropout(KEY, ones(3), 0.5, training))(True),
        "training must be a Python bool: given ",
    ),
    (
        lambda: ops.batch_norm(ones(4, 3), ops.Averages(ones(3), ones(3)), ones(1), ones(3), training=True),
        "batch_norm wants one number per channel: given float32[4,3] and float32[1]. Fix: x.shape[-1:]",
    ),
    (
        lambda: ops.batch_norm(ones(1, 3), ops.Averages(ones(3), ones(3)), ones(3), ones(3), training=True),
        "one value per channel is its own mean: given float32[1,3]. Fix: train on batches of two or more",
    ),
    (
        lambda: ops.batch_norm(ones(2, 3), ops.Averages(ones(3), ones(3)), ones(3), ones(3), training=True, momentum=2),
        "batch_norm's momentum is out of range: given 2, expected 0 to 1. Fix: 0.9, say",
    ),
    (
        lambda: ops.dropout(0, ones(3), 0.5, training=True),
        "dropout needs a PRNG key: given key=0. Fix: pass one: jax.random.key(0), or one of a split",
    ),
    (
        lambda: ops.batch_norm(ones(3), ops.Averages(ones(3), ones(3)), ones(3), ones(3), training=True),
        "batch_norm takes [batch, ..., channels]: given float32[3]. Fix: one example is x[None]",
    ),
]


@pytest.mark.parametrize(("call", "message"), ERRORS, ids=[message[:40] for _, message in ERRORS])
def test_what_does_not_fit_says_so(call, message):
    with pytest.raises(OpError) as caught:
        call()
    assert str(caught.value).startswith(message)


def test_all_that_is_promised_is_there():
    from aidl_jax import images

    deck = "log matmul conv2d fft sum relu sigmoid dropout concat split resize_bilinear crop random_saturation batch_norm softmax add"
    assert set(deck.split()) < set(ops.__all__)
    assert set(images.__all__) < set(ops.__all__)
    assert all(callable(getattr(ops, name)) for name in ops.__all__) and sorted(ops.__all__) == ops.__all__
