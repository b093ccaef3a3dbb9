"""Each rule of the table against JAX's own derivative: forward, reverse, and applied to itself."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from comparing import check_derivatives
from jax import lax
from jax.ad_checkpoint import checkpoint_name

from aidl_jax import autodiff
from aidl_jax.autodiff.rules import RULES
from aidl_jax.graph import trace

RNG = np.random.default_rng(0)
A, B = RNG.normal(size=(3, 4)), RNG.normal(size=(3, 4))
POSITIVE = np.abs(A) + 0.5
ROW = RNG.normal(size=(1, 4))
V = RNG.normal(size=5)
IMAGES = RNG.normal(size=(2, 6, 7, 3))
KERNEL = RNG.normal(size=(3, 2, 3, 4))
POOLED = RNG.normal(size=(1, 5, 6, 2))


def conv(x, k, **settings):
    return lax.conv_general_dilated(x, k, dimension_numbers=("NHWC", "HWIO", "NHWC"), **settings)


def pool(kind, start, x, window=(1, 2, 3, 1), strides=(1, 2, 1, 1), padding="SAME", **settings):
    return lax.reduce_window(x, start, kind, window, strides, padding, **settings)


CASES = {
    "add": (lambda x, y: x + y, A, ROW),
    "add_a_number": (lambda x: x + 3.0, A),
    "sub": (lambda x, y: x - y, ROW, A),
    "mul": (lambda x, y: x * y, A, ROW),
    "mul_by_itself": (lambda x: x * x, A),
    "div": (lambda x, y: x / y, A, POSITIVE),
    "neg": (lambda x: -x, A),
    "square": (jnp.square, A),
    "integer_pow": (lambda x: x**3 + x**-2 + x**2, A),
    "pow": (lambda x, y: x**y, POSITIVE, A),
    "pow_of_whole_numbers": (lambda x: lax.pow(x, jnp.array([[0], [1], [3]]).repeat(4, 1)), A),
    "sqrt": (jnp.sqrt, POSITIVE),
    "rsqrt": (lax.rsqrt, POSITIVE),
    "exp": (jnp.exp, A),
    "expm1": (jnp.expm1, A),
    "log": (jnp.log, POSITIVE),
    "log1p": (jnp.log1p, POSITIVE),
    "sin": (jnp.sin, A),
    "cos": (jnp.cos, A),
    "tan": (jnp.tan, A / 4),
    "sinh": (lambda x: jnp.sinh(x) + 2 * jnp.cosh(x) + jnp.arctan(x), A),
    "tanh": (jnp.tanh, A),
    "logistic": (jax.nn.sigmoid, A),
    "erf": (lax.erf, A),
    "max": (jnp.maximum, A, B),
    "min": (jnp.minimum, A, ROW),
    "relu": (jax.nn.relu, A),
    "abs": (jnp.abs, A),
    "clamp": (lambda x, low, high: lax.clamp(low, x, high), A, A - 0.1 * np.sign(B), A + 0.2),
    "sign": (lambda x: jnp.sign(x) * x, A),
    "floor": (lambda x: jnp.floor(x) * x + jnp.ceil(x) + jnp.round(x) * x, A),
    "select": (lambda x, y: jnp.where(x > 0, x, y * y), A, B),
    "select_n": (lambda x, y: lax.select_n(jnp.array([0, 2, 1, 0, 1]), x, y, x * y), V, V**2),
    "reduce_sum": (lambda x: (jnp.sum(x, 0), jnp.sum(x)), A),
    "reduce_max": (lambda x: jnp.max(x, 1), A),
    "reduce_min": (lambda x: jnp.min(x, (0, 1)), A),
    "cumsum": (lambda x: (lax.cumsum(x, 1), lax.cumsum(x, 0, reverse=True)), A),
    "dot": (jnp.dot, V, V[::-1].copy()),
    "matmul": (lambda x, y: x @ y.T, A, B),
    "batched_product": (
        lambda x, y: jnp.einsum("bij,bkj->ibk", x, y),
        RNG.normal(size=(2, 3, 4)),
        RNG.normal(size=(2, 5, 4)),
    ),
    "product_over_two_axes": (
        lambda x, y: lax.dot_general(x, y, (((1, 3), (2, 0)), ((0,), (1,)))),
        RNG.normal(size=(2, 3, 5, 4)),
        RNG.normal(size=(4, 2, 3)),
    ),
    "conv": (partial(conv, window_strides=(1, 1), padding="SAME"), IMAGES, KERNEL),
    "conv_strides": (partial(conv, window_strides=(2, 3), padding="VALID"), IMAGES, KERNEL),
    "conv_dilated": (
        partial(conv, window_strides=(2, 1), padding=((2, 1), (-1, 3)), lhs_dilation=(2, 1), rhs_dilation=(1, 2)),
        IMAGES,
        KERNEL,
    ),
    "conv_other_axes": (
        lambda x, k: lax.conv_general_dilated(x, k, (2,), "SAME", dimension_numbers=("NCH", "OIH", "HNC")),
        RNG.normal(size=(2, 3, 7)),
        RNG.normal(size=(4, 3, 3)),
    ),
    "max_pool": (partial(pool, lax.max, -np.inf), POOLED),
    "sum_pool": (partial(pool, lax.add, 0.0), POOLED),
    "dilated_pool": (partial(pool, lax.add, 0.0, padding="VALID", window_dilation=(1, 2, 2, 1)), POOLED),
    "broadcast_in_dim": (lambda x: lax.broadcast_in_dim(x, (2, 5, 3), (1,)), V),
    "stretched": (lambda x: jnp.broadcast_to(x, (3, 4)), ROW),
    "reshape": (lambda x: x.reshape(2, 6), A),
    "squeeze": (lambda x: jnp.squeeze(x, 0), ROW),
    "transpose": (lambda x: jnp.transpose(x, (2, 0, 1)), RNG.normal(size=(2, 3, 4))),
    "rev": (lambda x: x[::-1], A),
    "concatenate": (lambda x, y: jnp.concatenate([x, y, x], axis=1), A, V[:3, None]),
    "split": (lambda x: [part**2 for part in jnp.split(x, [1, 3], axis=1)][::2], A),
    "stack": (lambda x, y: jnp.stack([x, y, x * y], 1), A, B),
    "unstack": (lambda x: [part**2 for part in jnp.unstack(x, axis=1)][1:], A),
    "tile": (lambda x: jnp.tile(x, (2, 3)), A),
    "slice": (lambda x: lax.slice(x, (0, 1), (3, 4), (2, 2)), A),
    "pad": (lambda x, v: lax.pad(x, v, ((1, -1, 2), (-1, 2, 0))), A, np.float64(0.7)),
    "dynamic_slice": (lambda x: lax.dynamic_slice(x, (1, jnp.argmax(x[0]) - 1), (2, 2)), A),
    "dynamic_update_slice": (lambda x, y: lax.dynamic_update_slice(x, y, (1, 2)), A, B[:2, :2]),
    "take": (lambda x: x[jnp.array([0, 2, 2, -1])], A),
    "labels": (lambda x: jnp.take_along_axis(x, jnp.array([[1], [3], [0]]), axis=1), A),
    "outside": (lambda x: x.at[jnp.array([1, 9])].get(mode="fill", fill_value=0.0), A),
    "scatter_add": (lambda x, y: x.at[jnp.array([0, 2, 0]), 1:3].add(y), A, B[:, :2]),
    "convert": (lambda x: x.astype(jnp.float32).astype(jnp.float64) * x, np.round(A * 8) / 8),
    "reduce_precision": (lambda x: lax.reduce_precision(x, 11, 52), A),
    "copy": (lambda x: jnp.array(x, copy=True), A),
    "checkpoint_name": (lambda x: checkpoint_name(jnp.sin(x), "wave"), A),
    "stop_gradient": (lambda x: x * lax.stop_gradient(x), A),
    "softplus": (jax.nn.softplus, A),
    "logsumexp": (lambda x: jax.nn.logsumexp(x, 1), A),
    "log_softmax": (jax.nn.log_softmax, A),
    "gelu": (jax.nn.gelu, A),
    "std": (jnp.std, A),
    "jit": (jax.jit(lambda x: jax.jit(jnp.tanh)(x) * x), A),
}
# Their gradients are made of operations that have cases of their own; compiling those again takes long.
FIRST_ORDER = {
    "conv_strides", "conv_dilated", "conv_other_axes", "max_pool", "dilated_pool", "batched_product", "gelu", "std",
    "product_over_two_axes", "logsumexp", "log_softmax", "softplus", "select_n", "reduce_min", "min", "clamp", "convert",
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_rule(name):
    fn, *args = CASES[name]
    through_float32 = {"roundings": 1e9} if name == "convert" else {}
    check_derivatives(fn, *args, orders=1 if name in FIRST_ORDER else 2, **through_float32)


def test_every_rule_of_the_table_is_tested():
    met = {"add_any"} | ({"stack", "unstack", "tile"} if not hasattr(lax, "stack_p") else set())  # JAX 0.8 has none
    with jax.enable_x64(True):
        for fn, *args in CASES.values():
            for one in trace(fn, *args).operations():
                met.add("relu" if one.custom == "relu" else one.type)
    assert set(RULES) <= met


def test_a_gradient_of_jaxs_own_gradient():
    fn = jax.grad(lambda x: (jnp.sin(x) * x + jnp.exp(x)).sum())
    check_derivatives(fn, A)


@pytest.mark.parametrize(
    ("fn", "ours", "jaxs"),
    [
        (lambda x: jnp.maximum(x, 0.0), 0.5, 0.5),
        (lambda x: jnp.minimum(0.0, x), 0.5, 0.5),
        (lambda x: jnp.max(jnp.stack([x, 0.0, x * 0])), 1 / 3, 1 / 3),
        (jax.nn.relu, 0.0, 0.0),
        (jnp.abs, 0.0, 1.0),
        (lambda x: lax.clamp(0.0, x, 1.0), 0.0, 0.0),
        (jnp.floor, 0.0, 0.0),
        (lambda x: jnp.where(x > 0, x, 0.0), 0.0, 0.0),
        (jax.nn.softplus, 0.5, 0.5),
    ],
)
def test_at_ties_and_kinks(fn, ours, jaxs):
    """The list in the documentation."""
    assert float(autodiff.grad(fn)(0.0)) == pytest.approx(ours)
    assert float(jax.grad(fn)(0.0)) == pytest.approx(jaxs)


def test_max_pool_of_equal_elements():
    """All to the first of a window, as in JAX."""
    fn = lambda x: (partial(pool, lax.max, -np.inf)(x) * jnp.arange(9.0).reshape(1, 3, 3, 1)).sum()  # noqa: E731
    x = jnp.zeros((1, 6, 3, 1))
    np.testing.assert_array_equal(autodiff.grad(fn)(x), jax.grad(fn)(x))


def test_where_does_not_pass_on_what_was_not_chosen():
    """0 times infinity is no number: a factor of 0 in place of a choice would give NaN."""
    fn = lambda x: jnp.where(x > 0, 1.0 / x, 0.0)  # noqa: E731
    upstream = autodiff.vjp(lambda x: jnp.where(x > 0, x, 0.0), jnp.zeros(1))[1](jnp.full(1, jnp.inf))[0]
    assert upstream.tolist() == [0.0]
    assert autodiff.grad(fn)(2.0) == -0.25


def test_values_are_those_of_the_function():
    x = jnp.asarray(A, jnp.float32)
    value, gradient = autodiff.value_and_grad(lambda x: (jnp.tanh(x) ** 2).mean())(x)
    assert (value.dtype, gradient.dtype) == (jnp.float32, jnp.float32)
    np.testing.assert_allclose(value, np.mean(np.tanh(A) ** 2), rtol=1e-6)


def test_bfloat16_stays_bfloat16():
    x, w = jnp.ones((2, 3), jnp.bfloat16), jnp.ones((3, 2), jnp.bfloat16)
    found = autodiff.grad(lambda w: (x @ w).sum().astype(jnp.float32))(w)
    assert found.dtype == jnp.bfloat16 and found.tolist() == [[2.0, 2.0]] * 3
