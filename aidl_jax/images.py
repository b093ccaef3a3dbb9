"""Images as pure functions: size, place, brightness, contrast, colour.

Images are floats `[..., height, width, channels]`, in [0, 1] where colours are changed. What is random takes a key and **one**
image; a batch gets a key for each:

>>> images = jnp.ones((4, 8, 8, 3))
>>> keys = jax.random.split(jax.random.key(0), len(images))
>>> jax.vmap(lambda key, image: random_crop(key, image, 6, 6))(keys, images).shape
(4, 6, 6, 3)
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from aidl_jax._checks import check, check_key, check_range, floats, told, whole
from aidl_jax.errors import OpError

__all__ = [
    "adjust_brightness",
    "adjust_contrast",
    "adjust_saturation",
    "crop",
    "hsv_to_rgb",
    "random_brightness",
    "random_contrast",
    "random_crop",
    "random_flip",
    "random_saturation",
    "resize_bilinear",
    "rgb_to_hsv",
]


def resize_bilinear(images: jax.Array, size: tuple[int, int]) -> jax.Array:
    """Images at another size, linear between the centres of pixels, without smoothing, as `tf.image.resize` of TF2.

    Args:
        images: floats [..., height, width, channels].
        size: (new height, new width).

    >>> resize_bilinear(jnp.array([0.0, 1.0]).reshape(1, 2, 1), (1, 4)).ravel().tolist()
    [0.0, 0.25, 0.75, 1.0]
    """
    images = _images(images)
    if not isinstance(size, tuple | list) or len(size) != 2:
        raise OpError("the new size is not two numbers", given=repr(size), expected="(height, width)", fix="(28, 28)")
    height, width = whole("the new height", size[0], 1), whole("the new width", size[1], 1)
    shape = (*images.shape[:-3], height, width, images.shape[-1])
    return jax.image.resize(images, shape, "bilinear", antialias=False)


def crop(images: jax.Array, top: int, left: int, height: int, width: int) -> jax.Array:
    """A rectangle of images [..., height, width, channels] of any dtype; numbers are Python ints, in pixels.

    Raises:
        OpError: the rectangle is not inside the image.

    >>> crop(jnp.arange(9).reshape(3, 3, 1), 1, 0, 2, 2)[..., 0].tolist()
    [[3, 4], [6, 7]]
    """
    check(images.ndim > 2, "an image is [height, width, channels]", images, fix="x[..., None] for one channel")
    rows, columns = images.shape[-3:-1]
    top, left = whole("top", top, 0), whole("left", left, 0)
    height, width = whole("the height", height, 1), whole("the width", width, 1)
    if top + height > rows or left + width > columns:
        raise OpError(
            "the rectangle is not inside the image",
            given=f"rows {top} to {top + height}, columns {left} to {left + width} of {told(images)}",
            fix="crop what is there, or resize first",
        )
    return images[..., top : top + height, left : left + width, :]


def random_crop(key: Any, image: jax.Array, height: int, width: int) -> jax.Array:
    """A rectangle of one image [height, width, channels] of any dtype, at a random place, all equally likely."""
    _check_one(key, image, "random_crop")
    rows, columns, channels = image.shape
    crop(image, 0, 0, height, width)
    down, right = jax.random.split(key)
    top = jax.random.randint(down, (), 0, rows - height + 1)
    left = jax.random.randint(right, (), 0, columns - width + 1)
    return jax.lax.dynamic_slice(image, (top, left, 0), (height, width, channels))


def random_flip(key: Any, image: jax.Array) -> jax.Array:
    """One image [height, width, channels] of any dtype, left and right swapped or not, with equal chances."""
    _check_one(key, image, "random_flip")
    return jnp.where(jax.random.bernoulli(key), image[:, ::-1], image)


def adjust_brightness(images: jax.Array, delta: Any) -> jax.Array:
    """Adds one number to every value; what leaves [0, 1] stays outside, as in TF.

    >>> adjust_brightness(jnp.array([0.25, 1.0]).reshape(1, 2, 1), 0.5).ravel().tolist()
    [0.75, 1.5]
    """
    images = _images(images)
    return images + _number("delta", delta, images)


def adjust_contrast(images: jax.Array, factor: Any) -> jax.Array:
    """Scales each channel's distance to its mean over the image; what leaves [0, 1] stays outside, as in TF.

    >>> adjust_contrast(jnp.array([0.25, 0.75]).reshape(1, 2, 1), 3).ravel().tolist()
    [-0.25, 1.25]
    """
    images = _images(images)
    mean = images.mean(axis=(-3, -2), keepdims=True)
    return (images - mean) * _number("factor", factor, images) + mean


def adjust_saturation(images: jax.Array, factor: Any) -> jax.Array:
    """Scales the saturation of colours, [..., 3] in [0, 1].

    The saturation itself ends at 1, where a colour is pure, as in TF; a factor of 0 makes grey.

    >>> adjust_saturation(jnp.array([1.0, 0.5, 0.5]).reshape(1, 1, 3), 0.0).ravel().tolist()
    [1.0, 1.0, 1.0]
    """
    hue, saturation, value = jnp.moveaxis(rgb_to_hsv(images), -1, 0)
    saturation = jnp.clip(saturation * _number("factor", factor, saturation), 0, 1)
    return hsv_to_rgb(jnp.stack([hue, saturation, value], axis=-1))


def random_brightness(key: Any, image: jax.Array, most: float) -> jax.Array:
    """One image, with a number in [-most, most), all equally likely, added to it."""
    check_range("random_brightness", -most, most)
    _check_one(key, image, "random_brightness")
    return adjust_brightness(image, jax.random.uniform(key, (), image.dtype, -most, most))


def random_contrast(key: Any, image: jax.Array, low: float, high: float) -> jax.Array:
    """One image, its contrast scaled by a factor in [low, high), all equally likely; low is 0 or more."""
    check_range("random_contrast", low, high, least=0)
    _check_one(key, image, "random_contrast")
    return adjust_contrast(image, jax.random.uniform(key, (), image.dtype, low, high))


def random_saturation(key: Any, image: jax.Array, low: float, high: float) -> jax.Array:
    """One image in colours, its saturation scaled by a factor in [low, high), all equally likely; low is 0 or more."""
    check_range("random_saturation", low, high, least=0)
    _check_one(key, image, "random_saturation")
    return adjust_saturation(image, jax.random.uniform(key, (), image.dtype, low, high))


def rgb_to_hsv(colours: jax.Array) -> jax.Array:
    """Red, green, blue as hue, saturation, value: [..., 3] in [0, 1], all of them. Grey has hue 0, black saturation 0.

    Source: A. R. Smith, Color gamut transform pairs (1978).

    >>> rgb_to_hsv(jnp.array([0.0, 0.5, 0.0])).round(3).tolist()
    [0.3330000042915344, 1.0, 0.5]
    """
    red, green, blue = jnp.moveaxis(_colours(colours), -1, 0)
    value = jnp.maximum(jnp.maximum(red, green), blue)
    spread = value - jnp.minimum(jnp.minimum(red, green), blue)
    over = jnp.where(spread == 0, 1, spread)
    sector = jnp.where(value == green, 2 + (blue - red) / over, 4 + (red - green) / over)
    sector = jnp.where(value == red, (green - blue) / over, sector)
    saturation = spread / jnp.where(value == 0, 1, value)
    return jnp.stack([jnp.where(spread == 0, 0, (sector / 6) % 1), saturation, value], axis=-1)


def hsv_to_rgb(colours: jax.Array) -> jax.Array:
    """The inverse of `rgb_to_hsv`."""
    hue, saturation, value = jnp.moveaxis(_colours(colours), -1, 0)
    places = [(start + hue * 6) % 6 for start in (5, 3, 1)]
    parts = [value - value * saturation * jnp.clip(jnp.minimum(place, 4 - place), 0, 1) for place in places]
    return jnp.stack(parts, axis=-1)


def _images(x: Any) -> jax.Array:
    images = floats("images", x)
    check(images.ndim > 2, "an image is [height, width, channels]", images, fix="x[..., None] for one channel")
    return images


def _colours(x: Any) -> jax.Array:
    colours = floats("colours", x)
    check(colours.shape[-1:] == (3,), "colours are three numbers", colours, fix="red, green, blue last: [..., 3]")
    return colours


def _number(name: str, value: Any, images: jax.Array) -> jax.Array:
    """One number in the images' dtype, so that bfloat16 stays what it is."""
    number = jnp.asarray(value)
    check(number.shape == (), f"{name} is one number", number, fix="jax.vmap it for one per image")
    return number.astype(images.dtype)


def _check_one(key: Any, image: jax.Array, op: str) -> None:
    check_key(op, key)
    fix = f"jax.vmap({op}) over keys of jax.random.split(key, batch), so that each image has its own"
    check(image.ndim == 3, f"{op} takes one image [height, width, channels]", image, fix=fix)
