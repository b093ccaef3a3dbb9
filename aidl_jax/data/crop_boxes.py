"""Which part of an image is taken: at random, as Inception's training did, or the middle.

Random crops are as in C. Szegedy et al., "Going Deeper with Convolutions" (2015), section 6: an area between 8 % and 100 % of the image,
a width to height between 3/4 and 4/3, anywhere. Up to ten are drawn until one is inside of the image.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import jax
import numpy as np

from aidl_jax.data.keys import AT_ONCE, key_data
from aidl_jax.data.photographs import Box
from aidl_jax.data.stage import At

__all__ = ["DRAWS", "middle_box", "random_box", "uniforms"]

TRIES = 10
DRAWS = 2 * TRIES + 3  # an area and a shape for each try, two places, and whether it is flipped
LEAST_RATIO, MOST_RATIO = 3 / 4, 4 / 3


def _drawn(data: jax.Array) -> jax.Array:
    return jax.vmap(lambda one: jax.random.uniform(jax.random.wrap_key_data(one), (DRAWS,)))(data)


_uniforms = jax.jit(_drawn)


def uniforms(seed: int, at: At) -> np.ndarray:
    """Numbers from 0 to 1, of the keys at these places: float32 [places, DRAWS].

    They are those of `jax.random.uniform(key, (DRAWS,))`, with the key that `map(fn, keyed=True)` would be given.
    """
    data = key_data(seed, at, "decode_images")
    parts = [data[first : first + AT_ONCE] for first in range(0, len(data), AT_ONCE)]
    found = [np.asarray(_uniforms(np.resize(part, (AT_ONCE, *part.shape[1:]))))[: len(part)] for part in parts]
    return np.concatenate(found) if found else np.zeros((0, DRAWS), np.float32)


def random_box(height: int, width: int, draws: Sequence[float], least_area: float = 0.08) -> Box:
    """A random part of an image.

    Args:
        height: of the image, in pixels.
        width: the same.
        draws: at least DRAWS - 1 numbers from 0 to 1.
        least_area: of the part, as a share of the image's.
    """
    for number in range(TRIES):
        area = (least_area + (1 - least_area) * draws[2 * number]) * height * width
        ratio = LEAST_RATIO * (MOST_RATIO / LEAST_RATIO) ** draws[2 * number + 1]
        h, w = round(math.sqrt(area / ratio)), round(math.sqrt(area * ratio))
        if 0 < h <= height and 0 < w <= width:
            return Box(_placed(draws[2 * TRIES], height - h), _placed(draws[2 * TRIES + 1], width - w), h, w)
    h, w = min(height, round(width / LEAST_RATIO)), min(width, round(height * MOST_RATIO))
    return Box((height - h) // 2, (width - w) // 2, h, w)


def _placed(draw: float, room: int) -> int:
    """A whole number from 0 to `room`."""
    return min(int(draw * (room + 1)), room)


def middle_box(height: int, width: int, share: float = 0.875) -> Box:
    """The square in the middle, whose side is a share of the image's shorter one: 224 of 256 pixels, as is usual for validation."""
    side = max(1, round(share * min(height, width)))
    return Box((height - side) // 2, (width - side) // 2, side, side)
