from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from comparing import assert_near, check_derivatives
from jax import lax

from aidl_jax import autodiff
from aidl_jax.autodiff import AutodiffError

RNG = np.random.default_rng(0)
W, XS = RNG.normal(size=(3, 3)) / 2, RNG.normal(size=(4, 3))


def rnn(w, xs, reverse=False):
    """A carry of floats and integers, a matrix for all steps, rows, and what each step puts out."""

    def cell(carry, x):
        h, count = carry
        h = jnp.tanh(h @ w + x * count)
        return (h, count + 1), (h**2, count)

    (h, _), (squares, counts) = lax.scan(cell, (xs[0], 1), xs, reverse=reverse)
    return h, squares * counts[:, None]


def two_branches(x, y):
    return lax.cond(x[0] > 0, lambda x, y: x * jnp.sin(y), lambda x, y: x + y**2, x, y)


@pytest.mark.parametrize("reverse", [False, True])
def test_scan(reverse):
    check_derivatives(lambda w, xs: rnn(w, xs, reverse), W, XS, orders=1)


def test_the_gradient_of_a_gradient_through_a_scan():
    check_derivatives(lambda w: rnn(w, XS[:2])[0].sum(), W)


def test_a_loop_with_known_bounds_is_a_scan():
    check_derivatives(lambda x: lax.fori_loop(0, 3, lambda i, x: jnp.sin(x) * (i + 1.0), x), XS[0], orders=1)


@pytest.mark.parametrize("sign", [1, -1])
def test_cond_follows_the_branch_that_is_taken(sign):
    check_derivatives(two_branches, sign * np.abs(XS[0]), XS[1])


def test_switch():
    def fn(x, y):
        index = jnp.int32(1) + (x[0] > 9)
        return lax.switch(index, [lambda x, y: x, lambda x, y: x * y * x, lambda x, y: y], x, y)

    check_derivatives(fn, XS[0], XS[1], orders=1)


def newton(a):
    """The square root of a."""
    return lax.while_loop(
        lambda state: state[0] < 8, lambda state: (state[0] + 1, (state[1] + a / state[1]) / 2), (0, a)
    )[1]


def test_while_goes_forward_only():
    with jax.enable_x64(True):
        value, slope = autodiff.jvp(newton, [jnp.float64(2.0)], [jnp.float64(1.0)])
        assert_near(value, jnp.sqrt(jnp.float64(2.0)))
        assert_near(slope, jnp.float64(0.5 / np.sqrt(2.0)), roundings=1e8)


@pytest.mark.oldest
def test_while_has_no_way_back():
    with pytest.raises(AutodiffError) as told:
        autodiff.grad(newton)(2.0)
    assert str(told.value).startswith("test_loops_and_branches.py:")
    assert "a while loop cannot be gone through backwards: how often it runs is known only when it has run" in str(
        told.value
    )
    assert "given the operation 'while'" in str(told.value)
    assert "use jax.lax.scan, or a fori_loop with numbers as bounds, or forward mode" in str(told.value)


def test_an_operation_without_a_rule_inside_a_loop_is_named():
    with pytest.raises(AutodiffError, match=r"test_loops_and_branches.py:\d+ .*no rule for the derivative of 'sort'"):
        autodiff.grad(lambda x: lax.scan(lambda c, _: (jnp.sort(c), None), x, None, length=2)[0].sum())(jnp.ones(3))
