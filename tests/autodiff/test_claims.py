"""What the decks claim of automatic differentiation, measured: any order, working precision, a small constant factor."""

from __future__ import annotations

from functools import partial, reduce

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aidl_jax import autodiff, models
from aidl_jax.losses import mean_squared_error, softmax_cross_entropy
from aidl_jax.scope import apply, init


@pytest.mark.oldest
def test_any_order():
    """The sixth derivative of sin is -sin: reverse mode of reverse mode, six times."""
    with jax.enable_x64(True):
        sixth = reduce(lambda fn, _: autodiff.grad(fn), range(6), jnp.sin)
        assert float(sixth(1.0)) == pytest.approx(-np.sin(1.0), rel=1e-15)


def test_modes_can_be_mixed():
    """The third derivative of x⁴, forward over reverse over forward, is 24 x."""
    fn = reduce(lambda fn, turn: turn(fn), [_slope, autodiff.grad, _slope], lambda x: x**4)
    assert float(fn(2.0)) == 48.0


def _slope(fn):
    return lambda x: autodiff.jvp(fn, [x], [1.0])[1]


def test_working_precision():
    """AD errs by some roundings; the best central difference by about eps to the power of 2/3."""
    with jax.enable_x64(True):
        fn = lambda x: jnp.exp(jnp.sin(x)) / (1.0 + x * x)  # noqa: E731
        x = 0.7
        exact = np.exp(np.sin(x)) * (np.cos(x) / (1 + x * x) - 2 * x / (1 + x * x) ** 2)
        eps = np.finfo(np.float64).eps
        ad_error = abs(float(autodiff.grad(fn)(x)) - exact) / abs(exact)
        errors = [abs(autodiff.central_difference(fn, x, h) - exact) / abs(exact) for h in 10.0 ** np.arange(-11, -1)]
        assert ad_error <= 4 * eps
        assert min(errors) > 1e3 * max(ad_error, eps)


def digits(model, batch=8, size=12):
    x, labels = jnp.zeros((batch, size, size, 1)), jnp.zeros(batch, jnp.int32)
    x = x.reshape(batch, -1) if model in (models.mlp, models.relu_layer) else x
    params, state = init(model)(jax.random.key(0), x)

    def loss(params, x, labels):
        logits, _ = apply(model)(params, state, x)
        return softmax_cross_entropy(logits, labels, reduction="mean")

    return loss, params, x, labels


def regression():
    x, y = jnp.zeros((8, 20)), jnp.zeros(8)
    params, state = init(models.linear_regression)(jax.random.key(0), x)
    return lambda p, x, y: mean_squared_error(apply(models.linear_regression)(p, state, x)[0], y), params, x, y


@pytest.mark.parametrize("model", ["linear_regression", "mlp", "lenet", "residual_net"])
def test_a_gradient_costs_a_small_constant_times_the_value(model):
    """By XLA's count, however many parameters there are; and not more than JAX's own."""
    fn, *args = regression() if model == "linear_regression" else digits(getattr(models, model))
    value = autodiff.flops(fn, *args)
    ours, jaxs = (autodiff.flops(module.value_and_grad(fn), *args) / value for module in (autodiff, jax))
    assert 1.5 < ours < 4.0
    assert ours < 1.1 * jaxs


def layer(w, x):
    return jnp.tanh(w @ x)


@pytest.mark.parametrize("size", [8, 32])
def test_a_full_jacobian_costs_as_many_passes_as_it_has_rows(size):
    """The constant factor is for one number. With n outputs reverse mode goes back n times: the factor grows with n."""
    w, x = jnp.ones((size, size)), jnp.ones(size)
    fn = partial(layer, w)

    def jacobian(x):
        _, pull = autodiff.vjp(fn, x)
        return jax.vmap(pull)(jnp.eye(size))[0]

    np.testing.assert_allclose(jacobian(x), jax.jacrev(fn)(x), rtol=1e-5)
    one, full = autodiff.flops(autodiff.grad(lambda x: fn(x).sum()), x), autodiff.flops(jacobian, x)
    value = autodiff.flops(fn, x)
    assert one < 4 * value
    assert full > 0.9 * size * value


def test_forward_mode_is_cheaper_for_one_input_and_many_outputs():
    fn = lambda t: jnp.sin(t * jnp.arange(1.0, 101.0))  # noqa: E731
    slope = autodiff.jvp(fn, [jnp.float32(0.5)], [jnp.float32(1.0)])[1]
    steps = jnp.arange(1.0, 101.0)
    np.testing.assert_allclose(slope, steps * jnp.cos(0.5 * steps), atol=1e-3)
    forward = autodiff.flops(lambda t: autodiff.jvp(fn, [t], [1.0])[1], 0.5)
    rows = autodiff.flops(lambda t: jax.vmap(autodiff.vjp(fn, t)[1])(jnp.eye(100))[0], 0.5)
    assert rows > 20 * forward


@pytest.mark.parametrize("model", ["mlp", "lenet"])
def test_the_courses_models_have_jaxs_gradient(model):
    fn, params, x, labels = digits(getattr(models, model))
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=x.shape), x.dtype)
    ours, theirs = (jax.jit(module.grad(fn))(params, x, labels) for module in (autodiff, jax))
    for one, other in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5 * max(1.0, float(np.abs(other).max())))
