"""What is refused, and what the error says."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aidl_jax.autodiff import AutodiffError, grad, jvp, value_and_grad, vjp

X = jnp.ones((2, 3))


@jax.custom_vjp
def clipped(x):
    return jnp.tanh(x) * 2


clipped.defvjp(lambda x: (clipped(x), None), lambda _, g: (jnp.clip(g, -1, 1),))


@pytest.mark.parametrize(
    ("call", "parts"),
    [
        (
            lambda: grad(lambda x: x * 2.0)(3),
            [
                "x: an integer cannot move by a little, so there is no derivative by it: given x: int32, expected floats",
                "write 3.0 in place of 3, or x.astype(jnp.float32)",
            ],
        ),
        (lambda: grad(lambda p: p["n"] * 2.0)({"n": jnp.ones(2, int)}), ["given p/n: int32", "such as labels"]),
        (lambda: grad(lambda x: abs(x))(1j), ["by a complex number", "given x: complex64", "real and imaginary parts"]),
        (lambda: jvp(jnp.sin, [2], [1]), ["an integer cannot move by a little"]),
        (lambda: vjp(lambda x, n: x * n, 1.0, 2), ["an integer cannot move by a little", "given n: int32"]),
        (
            lambda: grad(lambda x: jnp.tanh(x))(X),
            [
                "test_autodiff_errors.py:",
                "the gradient is that of one number, and _lambda_ returns something else: given float32[2,3], "
                "expected a float of shape ()",
                "return one number: the mean or the sum, losses.mean(); for a vector use vjp or jvp",
            ],
        ),
        (lambda: grad(lambda x: (x.sum(), x))(X), ["given float32[], float32[2,3]", "return the loss alone"]),
        (
            lambda: grad(lambda x: (x > 0).sum())(X),
            ["the loss is no real number", "given int32[]", "a cross-entropy in place of a count of mistakes"],
        ),
        (
            lambda: grad(lambda x: (jnp.argmax(x, 1) == 0).astype(jnp.float32).mean())(X),
            [
                "test_autodiff_errors.py:",
                "the loss depends on x only through whole numbers or truth values, which do not change when it moves by a "
                "little: the gradient would be 0 everywhere: given the operation 'argmax', argmax",
                "probabilities in place of an argmax",
            ],
        ),
        (
            lambda: grad(lambda x: jnp.sort(x).sum())(jnp.ones(3)),
            [
                "test_autodiff_errors.py:",
                "there is no rule for the derivative of 'sort': given the operation 'sort/sort'",
                "write it with operations that have one (see aidl_jax.autodiff.RULES)",
            ],
        ),
        (
            lambda: grad(lambda x: clipped(x).sum())(X),
            [
                "clipped has a derivative rule of its own, which is not looked at here",
                "leave the decorator",
                "use jax.grad",
            ],
        ),
        (
            lambda: grad(
                lambda x, k: jax.lax.conv_general_dilated(x, k, (1,), "SAME", feature_group_count=2).sum(), argnums=1
            )(jnp.ones((1, 2, 5)), jnp.ones((2, 1, 3))),
            [
                "a convolution in groups has no way back here",
                "feature_group_count=2, batch_group_count=1",
                "use one group",
            ],
        ),
        (
            lambda: grad(jnp.sin, argnums=1)(1.0),
            ["there is no such argument: given argnums=1, expected a number from 0 to 0"],
        ),
        (
            lambda: jvp(jnp.sin, [X], [jnp.ones((3, 2))]),
            [
                "tangents[0]: one of the tangents has another shape or dtype than what it belongs to: given float32[3, 2], "
                "expected float32[2, 3]"
            ],
        ),
        (
            lambda: jvp(jnp.sin, [X], [{"x": X}]),
            ["the tangents are not built like what they belong to", "jnp.ones_like"],
        ),
        (lambda: vjp(jnp.sin, X)[1](jnp.ones(2)), ["gradients: one of the gradients has another shape", "float32[2]"]),
        (lambda: vjp(jnp.sin, X)[1](np.ones((2, 3))), ["given float64[2, 3], expected float32[2, 3]"]),
    ],
)
@pytest.mark.oldest
def test_what_is_refused(call, parts):
    with pytest.raises(AutodiffError) as told:
        call()
    for part in parts:
        assert part in str(told.value)


@pytest.mark.oldest
def test_what_does_not_lead_to_the_loss_needs_no_rule():
    def loss(x):
        jnp.sort(x)
        return (x * jax.lax.stop_gradient(jnp.sort(x))).sum()

    assert grad(loss)(jnp.array([3.0, 1.0])).tolist() == [1.0, 3.0]
    assert grad(lambda x: (x * jnp.argsort(x)).sum())(jnp.array([3.0, 1.0])).tolist() == [1.0, 0.0]


def test_what_the_loss_does_not_depend_on_gets_zeros():
    value, (by_x, by_y) = value_and_grad(lambda x, y: y["b"] * 2.0, argnums=(0, 1))(X, {"a": X, "b": 3.0})
    assert float(value) == 6.0 and by_x.tolist() == [[0.0] * 3] * 2
    assert by_y["a"].tolist() == [[0.0] * 3] * 2 and float(by_y["b"]) == 2.0


def test_stop_gradient_stops_it_without_an_error():
    assert grad(lambda x: jax.lax.stop_gradient(x * x))(2.0) == 0.0


def test_data_of_integers_is_no_obstacle():
    labels = jnp.array([0, 2])
    found = grad(lambda x, labels: x[jnp.arange(2), labels].sum())(X, labels)
    assert found.tolist() == [[1, 0, 0], [0, 0, 1]]


def test_a_value_of_an_outer_function_counts_in_the_outer_derivative():
    """d/dx of x * d/dy (x y) is d/dx x² = 2 x: the two derivatives are not mixed up."""
    assert grad(lambda x: x * grad(lambda y: x * y)(1.0))(3.0) == 6.0
    assert jvp(lambda x: x * jvp(lambda y: x + y, [1.0], [1.0])[1], [3.0], [1.0])[1] == 1.0


def test_the_gradients_operations_are_named_after_the_layer():
    from aidl_jax.graph import trace

    def loss(w):
        with jax.named_scope("layer1"):
            return jnp.tanh(w).sum()

    names = [one.name for one in trace(grad(loss), X[0]).operations()]
    assert "layer1/tanh" in names and any(name.startswith("gradients/layer1/mul") for name in names)


def test_keys_and_prints_on_the_way(capsys):
    def loss(w, key):
        jax.debug.print("here")
        scan = jax.lax.scan(lambda carry, _: ((carry[0], carry[1] * w), carry[1]), (key, w), None, length=3)
        return scan[1].sum()

    assert grad(loss)(0.5, jax.random.key(0)) == 1 + 2 * 0.5 + 3 * 0.5**2
    jax.effects_barrier()
    assert capsys.readouterr().out.count("here") == 1
