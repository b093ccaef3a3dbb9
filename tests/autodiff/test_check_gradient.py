from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aidl_jax.autodiff import AutodiffError, central_difference, check_gradient

PARAMS = {"w": jnp.arange(12.0).reshape(4, 3) / 10, "b": jnp.ones(3)}
X = jnp.asarray(np.random.default_rng(0).normal(size=(5, 4)), jnp.float32)


def loss(params, x):
    return (jnp.tanh(x @ params["w"] + params["b"]) ** 2).mean()


@pytest.mark.oldest
def test_a_right_gradient_path_by_path():
    seen = check_gradient(loss, PARAMS, X)
    assert seen.ok
    assert [(leaf.path, leaf.checked, leaf.size) for leaf in seen.leaves] == [("params/b", 3, 3), ("params/w", 12, 12)]
    for leaf in seen.leaves:
        assert leaf.error < 1e-8 and leaf.expected < 1e-8 and leaf.kinks == ()
        assert leaf.step == pytest.approx(np.finfo(np.float64).eps ** (1 / 3), rel=0.2)
    assert str(seen).startswith("The gradient of loss agrees with central differences.")


def test_a_wrong_gradient_and_its_worst_element():
    def wrong(params, x):
        right = jax.grad(loss)(params, x)
        return right | {"w": right["w"].at[2, 1].multiply(1.01)}

    seen = check_gradient(loss, PARAMS, X, gradient=wrong)
    b, w = seen.leaves
    assert not seen.ok and b.ok and not w.ok
    assert w.worst == (2, 1) and w.kinks == ()
    assert w.gradient / w.difference == pytest.approx(1.01)
    assert "params/w[2, 1]: no kink is near, so the gradient is wrong there." in str(seen)
    assert "WRONG" in str(seen)


@pytest.mark.parametrize(
    ("fn", "name"),
    [
        (lambda x: jax.nn.relu(x).sum(), "relu"),
        (lambda x: jnp.where(x > 0, x, 2 * x).sum(), "gt"),
        (lambda x: jnp.floor(x).sum() + x.sum(), "floor"),
        (lambda x: jnp.max(x * jnp.array([0.0, 0.5, 2.0]) + jnp.array([0.75, 0.0, 0.0])), "reduce_max"),
    ],
)
def test_a_kink_is_found_and_named_with_its_line(fn, name):
    seen = check_gradient(fn, jnp.array([0.0, 1.5, 0.375]))
    (leaf,) = seen.leaves
    assert not seen.ok and leaf.worst == ((0,) if name != "reduce_max" else leaf.worst)
    assert len(leaf.kinks) == 1 and leaf.kinks[0].startswith(f"{name} (test_check_gradient.py:")
    assert "there is a kink or a jump in" in str(seen) and "WRONG" not in str(seen)


def test_a_step_that_tells_nothing():
    seen = check_gradient(lambda x: jnp.sin(1e3 * x), 0.3, step=1e-3)
    assert not seen.ok and "this step tells nothing; leave step out" in str(seen)


def test_a_gradient_of_zeros_is_right():
    assert check_gradient(lambda p: jnp.exp(p["x"]) + (p["y"] - p["y"]).sum(), {"x": 1.0, "y": jnp.ones(2) / 3}).ok


def test_away_from_the_kink_all_is_well():
    assert check_gradient(lambda x: jax.nn.relu(x).sum(), jnp.array([-1.0, 0.1, 2.0])).ok


def test_no_number_is_not_taken_for_right():
    seen = check_gradient(loss, PARAMS, X, gradient=lambda p, x: jax.tree.map(lambda leaf: leaf * jnp.nan, p))
    assert not any(leaf.ok for leaf in seen.leaves)


def test_the_expected_error_is_that_of_the_step():
    """sin at 1: h²/6 cos 1 for a large step; eps sin(1) / h for a small one. What is measured is of that size."""
    fn, x = (lambda x: jnp.sin(x)), 1.0
    for step, expected in [(1e-2, 1e-4 / 6 * np.cos(1) / np.cos(1)), (1e-3, 1e-6 / 6)]:
        (leaf,) = check_gradient(fn, x, step=step).leaves
        assert leaf.step == step and leaf.ok
        assert leaf.expected == pytest.approx(expected, rel=0.01)
        assert leaf.error == pytest.approx(expected, rel=0.01)
    (leaf,) = check_gradient(fn, x, step=1e-9).leaves
    assert leaf.expected > 1e-8 and leaf.ok


def test_a_cast_to_float32_on_the_way_is_allowed_for():
    (leaf,) = check_gradient(lambda x: (x.astype(jnp.float32) ** 2).sum(), jnp.array([1.0, 2.0])).leaves
    assert leaf.ok and leaf.step == pytest.approx(2 * np.finfo(np.float32).eps ** (1 / 3), rel=0.6)


def test_large_arrays_are_sampled_and_it_is_said():
    (leaf,) = check_gradient(lambda x: (x**2).sum(), jnp.ones((20, 20)), limit=7).leaves
    assert (leaf.checked, leaf.size) == (7, 400)


def test_a_central_difference_is_exact_for_a_parabola():
    assert central_difference(lambda x: x * x, 3.0, 0.5) == 6.0


@pytest.mark.parametrize("step", [0.0, -1e-3, float("nan")])
def test_a_step_that_is_none(step):
    with pytest.raises(AutodiffError, match=r"a step has to be positive: given step=.*leave it out, or pass 1e-5"):
        check_gradient(jnp.sin, 1.0, step=step)


def test_a_gradient_of_another_shape():
    with pytest.raises(AutodiffError, match="one of the gradients has another shape or dtype"):
        check_gradient(lambda x: (x**2).sum(), jnp.ones(3), gradient=lambda x: 2 * x[:2])
