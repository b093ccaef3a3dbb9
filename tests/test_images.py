"""Images against colorsys, SciPy and NumPy; what is random, by its distribution."""

from __future__ import annotations

import colorsys
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
import scipy.stats
from finite_differences import check_function
from hypothesis import given, settings
from hypothesis import strategies as st

from aidl_jax import images
from aidl_jax.errors import OpError

RNG = np.random.default_rng(0)
KEY = jax.random.key(0)
IMAGE = RNG.uniform(size=(5, 6, 3)).astype(np.float32)


@functools.cache
def many_keys():
    return jax.random.split(KEY, 2000)


@pytest.fixture(autouse=True)
def strict():
    with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
        yield


@pytest.mark.oldest
@pytest.mark.parametrize("size", [(5, 6), (10, 12), (7, 9), (3, 4), (2, 6), (1, 1)])
def test_resizing_is_linear_interpolation_between_centres(size):
    places = [(np.arange(new) + 0.5) * old / new - 0.5 for new, old in zip(size, IMAGE.shape, strict=False)]
    grid = np.meshgrid(*places, indexing="ij")
    got = images.resize_bilinear(IMAGE, size)
    for channel in range(3):
        expected = scipy.ndimage.map_coordinates(IMAGE[..., channel], grid, order=1, mode="nearest")
        np.testing.assert_allclose(got[..., channel], expected, atol=1e-6)


def test_a_crop_is_a_slice_and_a_batch_stays_one():
    np.testing.assert_array_equal(images.crop(IMAGE, 1, 2, 3, 4), IMAGE[1:4, 2:6])
    batch = np.stack([IMAGE, 1 - IMAGE])
    np.testing.assert_array_equal(images.crop(batch, 0, 0, 5, 2), batch[:, :, :2])
    assert images.resize_bilinear(batch, (2, 2)).shape == (2, 2, 2, 3)


def test_a_random_crop_is_a_part_and_all_places_are_equally_likely():
    numbers = np.arange(20).reshape(4, 5, 1)
    keys = many_keys()
    got = np.asarray(jax.jit(jax.vmap(lambda key: images.random_crop(key, numbers, 2, 3)))(keys))[..., 0]
    corner = got[:, :1, :1]
    assert (got - corner == np.array([[0, 1, 2], [5, 6, 7]])).all()
    seen, counts = np.unique(corner, return_counts=True)
    np.testing.assert_array_equal(seen, [0, 1, 2, 5, 6, 7, 10, 11, 12])
    assert scipy.stats.chisquare(counts).pvalue > 1e-6  # the chance of a false alarm, once for this seed


def test_a_random_flip_flips_half():
    keys = many_keys()
    got = np.asarray(jax.jit(jax.vmap(lambda key: images.random_flip(key, IMAGE)))(keys))
    same, flipped = ((got == one).all((1, 2, 3)) for one in (IMAGE, IMAGE[:, ::-1]))
    assert (same ^ flipped).all()
    assert scipy.stats.binomtest(int(flipped.sum()), 2000, 0.5).pvalue > 1e-6


COLOURS = [(r / 4, g / 4, b / 4) for r in range(5) for g in range(5) for b in range(5)]


@pytest.mark.oldest
def test_hsv_is_colorsys():
    colours = np.concatenate([COLOURS, RNG.uniform(size=(200, 3))]).astype(np.float32)
    hsv = np.array([colorsys.rgb_to_hsv(*map(float, colour)) for colour in colours])
    got = np.asarray(images.rgb_to_hsv(colours))
    np.testing.assert_allclose(got[:, 1:], hsv[:, 1:], atol=1e-6)
    distance = abs(got[:, 0] - hsv[:, 0])
    assert np.minimum(distance, 1 - distance).max() < 1e-5  # hue 0 is hue 1
    rgb = np.array([colorsys.hsv_to_rgb(*map(float, colour)) for colour in colours])
    np.testing.assert_allclose(images.hsv_to_rgb(colours), rgb, atol=2e-6)


there_and_back = jax.jit(lambda colour: images.hsv_to_rgb(images.rgb_to_hsv(colour)))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 1, width=32), min_size=3, max_size=3))
def test_hsv_and_back_is_the_same_colour(colour):
    colour = np.float32(colour)
    back = there_and_back(colour)
    np.testing.assert_allclose(back, colour, atol=1e-5)


@pytest.mark.parametrize("factor", [0.0, 0.5, 1.0, 1.7, 50.0])
def test_saturation_is_colorsys_and_ends_at_one(factor):
    got = images.adjust_saturation(IMAGE, factor)
    for place in np.ndindex(5, 6):
        hue, saturation, value = colorsys.rgb_to_hsv(*map(float, IMAGE[place]))
        expected = colorsys.hsv_to_rgb(hue, min(saturation * factor, 1), value)
        np.testing.assert_allclose(got[place], expected, atol=1e-5)


def test_brightness_and_contrast_are_numpys_and_not_cut_off():
    np.testing.assert_allclose(images.adjust_brightness(IMAGE, 0.9), IMAGE + np.float32(0.9))
    mean = IMAGE.mean((0, 1))
    got = images.adjust_contrast(np.stack([IMAGE, 2 * IMAGE]), 3)
    np.testing.assert_allclose(got[0], (IMAGE - mean) * 3 + mean, atol=1e-5)
    np.testing.assert_allclose(got[1], 2 * got[0], atol=1e-5)
    assert got.max() > 1 and got.min() < 0


def spread(values, low, high):
    """The chance that values are uniform between low and high (Kolmogorov-Smirnov)."""
    assert (low <= values).all() and (values <= high).all()
    return scipy.stats.kstest(values, "uniform", (low, high - low)).pvalue


def test_random_amounts_are_uniform_in_their_range():
    keys = many_keys()
    brighter = jax.jit(jax.vmap(lambda key: images.random_brightness(key, IMAGE, 0.3)))(keys)
    assert spread((np.asarray(brighter, np.float64)[:, 0, 0, 0] - IMAGE[0, 0, 0]).clip(-0.3, 0.3), -0.3, 0.3) > 1e-6
    contrast = np.asarray(jax.jit(jax.vmap(lambda key: images.random_contrast(key, IMAGE, 0.5, 1.5)))(keys))
    ratio = contrast.std((1, 2))[:, 0] / IMAGE.std((0, 1))[0]
    assert spread(ratio.clip(0.5, 1.5), 0.5, 1.5) > 1e-6
    assert abs(ratio.min() - 0.5) < 1e-2 and abs(ratio.max() - 1.5) < 1e-2
    dull = np.full((1, 1, 3), [0.5, 0.4, 0.4], np.float32)
    coloured = jax.jit(jax.vmap(lambda key: images.random_saturation(key, dull, 0.5, 2.0)))(keys)
    coloured = np.asarray(coloured, np.float64)[:, 0, 0]
    factor = (1 - coloured.min(-1) / coloured.max(-1)) / 0.2  # the saturation over what it was
    assert spread(factor.clip(0.5, 2), 0.5, 2.0) > 1e-6


RANDOM = {
    "random_crop": lambda key, image: images.random_crop(key, image, 2, 2),
    "random_flip": images.random_flip,
    "random_brightness": lambda key, image: images.random_brightness(key, image, 0.2),
    "random_contrast": lambda key, image: images.random_contrast(key, image, 0.5, 1.5),
    "random_saturation": lambda key, image: images.random_saturation(key, image, 0.5, 1.5),
}


@pytest.mark.parametrize("name", RANDOM)
def test_what_is_random_depends_on_its_key_alone(name):
    fn = jax.jit(jax.vmap(RANDOM[name], (0, None)))
    keys = jax.random.split(KEY, 20)
    got = np.asarray(fn(keys, IMAGE))
    np.testing.assert_array_equal(got[::-1], fn(keys[::-1], IMAGE))
    assert (got != got[:1]).any()


PURE = {
    "resize_bilinear": lambda x: images.resize_bilinear(x, (3, 8)),
    "crop": lambda x: images.crop(x, 1, 1, 2, 2),
    "adjust_brightness": lambda x: images.adjust_brightness(x, 0.1),
    "adjust_contrast": lambda x: images.adjust_contrast(x, 1.5),
    "adjust_saturation": lambda x: images.adjust_saturation(x, 0.7),
    "rgb_to_hsv": images.rgb_to_hsv,
    "hsv_to_rgb": images.hsv_to_rgb,
} | {name: lambda x, fn=fn: fn(KEY, x) for name, fn in RANDOM.items()}


@pytest.mark.parametrize("name", PURE)
def test_batched_it_is_the_same_function_and_gradients_are_those_of_finite_differences(name):
    check_function(PURE[name], IMAGE)


@pytest.mark.oldest
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("name", PURE)
def test_floats_keep_their_dtype(name, dtype):
    assert jax.eval_shape(PURE[name], jax.ShapeDtypeStruct(IMAGE.shape, dtype)).dtype == dtype


def test_factors_of_another_dtype_do_not_change_the_images():
    image = jnp.asarray(IMAGE, jnp.bfloat16)
    for adjust in (images.adjust_brightness, images.adjust_contrast, images.adjust_saturation):
        assert jax.eval_shape(adjust, image, jnp.float32(0.5)).dtype == jnp.bfloat16


def test_no_nan_where_colours_meet():
    colours = jnp.array([(0, 0, 0), (1, 1, 1), (0.5, 0.5, 0.5), (1, 0, 0), (1, 1, 0)], jnp.float32)
    gradients = jax.jit(jax.vmap(jax.jacobian(images.rgb_to_hsv)))(colours)
    assert jnp.isfinite(gradients).all()


ERRORS = [
    (
        lambda: images.crop(IMAGE, 3, 0, 3, 6),
        "the rectangle is not inside the image: given rows 3 to 6, columns 0 to 6 of float32[5,6,3]. Fix: crop what is there, or resize first",
    ),
    (
        lambda: images.crop(IMAGE, 0, 4, 5, 3),
        "the rectangle is not inside the image: given rows 0 to 5, columns 4 to 7",
    ),
    (lambda: images.crop(IMAGE, -1, 0, 2, 2), "top must be a whole number: given -1, expected an int from 0 on"),
    (lambda: images.crop(IMAGE, 0, 0.0, 2, 2), "left must be a whole number: given 0.0"),
    (lambda: images.crop(IMAGE, 0, 0, 0, 2), "the height must be a whole number: given 0, expected an int from 1 on"),
    (
        lambda: images.crop(IMAGE[..., 0], 0, 0, 2, 2),
        "an image is [height, width, channels]: given float32[5,6]. Fix: x[..., None] for one channel",
    ),
    (
        lambda: images.resize_bilinear(IMAGE, 4),
        "the new size is not two numbers: given 4, expected (height, width). Fix: (28, 28)",
    ),
    (lambda: images.resize_bilinear(IMAGE, (0, 3)), "the new height must be a whole number: given 0"),
    (
        lambda: images.resize_bilinear((IMAGE * 255).astype(np.uint8), (2, 2)),
        "images must be floats: given uint8[5,6,3]. Fix: convert first: x.astype(jnp.float32), pixels / 255",
    ),
    (lambda: images.random_crop(KEY, IMAGE, 6, 2), "the rectangle is not inside the image: given rows 0 to 6"),
    (
        lambda: images.random_flip(KEY, IMAGE[None]),
        "random_flip takes one image [height, width, channels]: given float32[1,5,6,3]. "
        "Fix: jax.vmap(random_flip) over keys of jax.random.split(key, batch), so that each image has its own",
    ),
    (lambda: images.random_crop(KEY, IMAGE[None], 2, 2), "random_crop takes one image"),
    (lambda: images.random_flip(None, IMAGE), "random_flip needs a PRNG key: given key=None. Fix: pass one"),
    (
        lambda: images.adjust_brightness(IMAGE, jnp.ones(3)),
        "delta is one number: given float32[3]. Fix: jax.vmap it for one per image",
    ),
    (
        lambda: images.adjust_saturation(IMAGE[..., :1], 0.5),
        "colours are three numbers: given float32[5,6,1]. Fix: red, green, blue last: [..., 3]",
    ),
    (
        lambda: images.random_saturation(KEY, IMAGE, 1.5, 0.5),
        "random_saturation is not a range: given low 1.5, high 0.5, expected 0 <= low <= high. Fix: swap or widen it",
    ),
    (lambda: images.random_contrast(KEY, IMAGE, -0.5, 0.5), "random_contrast is not a range: given low -0.5, high 0.5"),
    (
        lambda: images.random_brightness(KEY, IMAGE, -0.5),
        "random_brightness is not a range: given low 0.5, high -0.5, expected low <= high. Fix: swap or widen it",
    ),
]


@pytest.mark.parametrize(("call", "message"), ERRORS, ids=[message[:40] for _, message in ERRORS])
def test_what_does_not_fit_says_so(call, message):
    with pytest.raises(OpError) as caught:
        call()
    assert str(caught.value).startswith(message)


def test_a_key_per_image_makes_a_batch():
    batch = np.stack([IMAGE] * 2000)
    got = np.asarray(jax.jit(jax.vmap(images.random_flip))(many_keys(), batch))
    flipped = int((got == batch[:, :, ::-1]).all((1, 2, 3)).sum())
    assert abs(flipped - 1000) < 5 * math.sqrt(2000 / 4)
    same = (got == batch).all((1, 2, 3)).sum()
    assert same + flipped == 2000
