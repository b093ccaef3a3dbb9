"""Initial values: their range, their moments, their fans."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from aidl_jax import initializers
from aidl_jax.errors import OpError

KEY = jax.random.key(0)


@pytest.fixture(autouse=True)
def strict():
    with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
        yield


def check_moments(values, mean, variance):
    """Both within 5 standard deviations: a false alarm's chance is about 6e-7 each, once for a seed.

    The variance of a sample's variance is (fourth moment - variance**2) / n; the sample's own serves.
    """
    values = np.asarray(values, np.float64).ravel()
    assert abs(values.mean() - mean) < 5 * math.sqrt(variance / values.size)
    fourth = np.mean((values - mean) ** 4)
    assert abs(np.mean((values - mean) ** 2) - variance) < 5 * math.sqrt((fourth - variance**2) / values.size)


def draw(initializer, shape, dtype=jnp.float32):
    values = initializer(KEY, shape, dtype)
    assert values.shape == shape and values.dtype == dtype
    return np.asarray(values, np.float64)


@pytest.mark.oldest
def test_normal_is_normal():
    values = draw(initializers.normal(0.5, mean=3.0), (100, 200))
    check_moments(values, 3, 0.25)
    assert scipy.stats.kstest(values.ravel(), "norm", (3, 0.5)).pvalue > 1e-6
    check_moments(draw(initializers.normal(), (100, 200)), 0, 1)


@pytest.mark.oldest
def test_uniform_is_uniform_in_its_range():
    values = draw(initializers.uniform(-1, 1), (784, 100))
    check_moments(values, 0, 1 / 3)
    assert -1 <= values.min() < -0.999 and 0.999 < values.max() < 1
    assert scipy.stats.kstest(values.ravel(), "uniform", (-1, 2)).pvalue > 1e-6
    np.testing.assert_array_equal(values, draw(initializers.uniform(), (784, 100)))
    assert draw(initializers.uniform(2, 3), (50,)).min() >= 2


def test_constant_and_zeros():
    np.testing.assert_array_equal(draw(initializers.constant(5), (3, 2)), np.full((3, 2), 5))
    np.testing.assert_array_equal(draw(initializers.constant(5.0), (3,), jnp.int32), [5, 5, 5])
    np.testing.assert_array_equal(draw(initializers.zeros, (4,)), np.zeros(4))
    assert initializers.zeros is jax.nn.initializers.zeros


FANS = {  # shape: fan_in, fan_out, by hand
    (100, 200): (100, 200),
    (5, 5, 20, 30): (500, 750),
    (20000,): (20000, 20000),
}
GLOROT_AND_HE = {
    "glorot_uniform": (lambda inputs, outputs: 2 / (inputs + outputs), "uniform"),
    "glorot_normal": (lambda inputs, outputs: 2 / (inputs + outputs), "normal"),
    "he_uniform": (lambda inputs, outputs: 2 / inputs, "uniform"),
    "he_normal": (lambda inputs, outputs: 2 / inputs, "normal"),
}


@pytest.mark.oldest
@pytest.mark.parametrize("shape", FANS, ids=str)
@pytest.mark.parametrize("name", GLOROT_AND_HE)
def test_glorot_and_he_have_the_variance_and_the_range_of_their_fans(name, shape):
    of_fans, distribution = GLOROT_AND_HE[name]
    variance = of_fans(*FANS[shape])
    values = draw(getattr(initializers, name)(), shape)
    check_moments(values, 0, variance)
    # a normal cut at +-2 has this deviation, so after scaling the cut is at 2 / 0.8796 = 2.27 deviations
    end = 3**0.5 if distribution == "uniform" else 2 / scipy.stats.truncnorm(-2, 2).std()
    assert 0.99 * end < abs(values).max() / math.sqrt(variance) < end * (1 + 1e-5)
    assert (round(end, 2) == 2.27) == (distribution == "normal")


@pytest.mark.parametrize("name", GLOROT_AND_HE)
def test_small_shapes_and_scalars_have_a_fan(name):
    for shape in ((), (1,), (0,), (0, 3)):
        assert np.isfinite(draw(getattr(initializers, name)(), shape)).all()


MADE = [
    initializers.normal(2.0, mean=1.0),
    initializers.uniform(0.1, 0.3),
    initializers.constant(0.1),
    initializers.zeros,
    *(getattr(initializers, name)() for name in GLOROT_AND_HE),
]


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
def test_values_have_the_dtype_that_was_asked_for(dtype):
    for initializer in MADE:
        for shape in ((4, 3), (4,)):
            assert jax.eval_shape(lambda fn=initializer, s=shape: fn(KEY, s, dtype)).dtype == dtype
            assert jax.eval_shape(lambda fn=initializer, s=shape: fn(KEY, s)).dtype == jnp.float32


def test_the_same_key_gives_the_same_values_and_another_one_others():
    keys = [jax.random.key(1), jax.random.key(1), jax.random.key(2)]
    for initializer in (initializers.normal(), initializers.uniform(), initializers.he_normal()):
        first, again, other = (initializer(key, (5, 5)) for key in keys)
        np.testing.assert_array_equal(first, again)
        assert (first != other).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: initializers.normal(-1),
            "a standard deviation is not negative: given -1. Fix: normal(stddev=0.1)",
        ),
        (
            lambda: initializers.uniform(1, -1),
            "uniform is not a range: given low 1, high -1, expected low <= high. Fix: swap or widen it",
        ),
        (
            lambda: initializers.constant(0.5)(KEY, (2,), jnp.int32),
            "int32 cannot hold 0.5. Fix: dtype=jnp.float32, or a whole number",
        ),
    ],
)
def test_what_does_not_fit_says_so(call, message):
    with pytest.raises(OpError) as caught:
        call()
    assert str(caught.value) == message
