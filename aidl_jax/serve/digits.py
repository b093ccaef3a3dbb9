"""The digits model of `train.full_model`, exported: what makes a drawing look like the digits that it was trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from aidl_jax.scope import apply
from aidl_jax.serve.exporting import export
from aidl_jax.train.full_model import MODEL

__all__ = ["export_digits", "from_drawing", "mnist_from_drawing"]

SIDE = 64
INK = 0.25  # a pixel with less is paper


def export_digits(path: Path, params: Any, data: str = "digits") -> str:
    """Writes the trained digits model into a file that takes drawings, uint8 [64, 64, 1], light ink on dark.

    Args:
        path: of the file.
        params: of `train.full_model.MODEL`.
        data: what it was trained on: "digits", else MNIST or a part of it.

    Returns:
        The SHA-256 of its manifest.

    Raises:
        OSError: it cannot be written.
    """
    names = [str(digit) for digit in range(10)]
    preprocess = from_drawing if data == "digits" else mnist_from_drawing
    return export(
        path, lambda params, x: apply(MODEL)(params, {}, x)[0], params, preprocess, f"u8[{SIDE},{SIDE},1]",
        class_names=names,
    )  # fmt: skip


def from_drawing(image: jax.Array) -> jax.Array:
    """A drawing as the training digits were made: cut to its ink, on 32 x 32 dots, of which each 4 x 4 give one pixel.

    Args:
        image: uint8 [height, width, 1], light ink on dark.

    Returns:
        float32 [8, 8, 1] in [0, 1].

    Source: E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits, UCI (1998).

    >>> from_drawing(jnp.full((64, 64, 1), 255, jnp.uint8)).mean().item()
    1.0
    """
    ink = image[..., 0].astype(jnp.float32) / 255
    middle, side = _box(ink)
    return _pixels(ink, middle, side, size=8, fine=4)


def mnist_from_drawing(image: jax.Array) -> jax.Array:
    """A drawing as MNIST's digits were made: its ink fills 20 x 20 pixels, and its centre of mass is the middle of 28 x 28.

    Args:
        image: uint8 [height, width, 1], light ink on dark.

    Returns:
        float32 [28, 28, 1] in [0, 1].

    Source: Y. LeCun, C. Cortes, C. Burges, The MNIST database of handwritten digits (1998).

    >>> mnist_from_drawing(jnp.full((64, 64, 1), 255, jnp.uint8))[:, 14, 0].sum().item()
    20.0
    """
    ink = image[..., 0].astype(jnp.float32) / 255
    _, side = _box(ink)
    mass = jnp.maximum(ink.sum(), 1.0)
    middle = jnp.stack(
        [((jnp.arange(n) + 0.5) * ink.sum(axis)).sum() / mass for axis, n in ((1, len(ink)), (0, ink.shape[1]))]
    )
    return _pixels(ink, middle, side * 28 / 20, size=28, fine=3)


def _box(ink: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The middle of what is drawn, in dots from above and from the left, and the longer of its sides."""
    top, bottom = _extent((ink > INK).any(axis=1))
    left, right = _extent((ink > INK).any(axis=0))
    return jnp.stack([top + bottom, left + right]) / 2, jnp.maximum(bottom - top, right - left)


def _pixels(ink: jax.Array, middle: jax.Array, side: jax.Array, size: int, fine: int) -> jax.Array:
    """A square part of a drawing as `size` x `size` pixels, each the mean of `fine` x `fine` dots; beside the drawing is paper."""
    steps = ((jnp.arange(size * fine) + 0.5) / (size * fine) - 0.5) * side - 0.5
    dots = jax.scipy.ndimage.map_coordinates(
        ink, jnp.meshgrid(middle[0] + steps, middle[1] + steps, indexing="ij"), order=1
    )
    return dots.reshape(size, fine, size, fine).mean(axis=(1, 3))[..., None]


def _extent(there: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The first index and the one after the last; everything where there is none."""
    return jnp.argmax(there), len(there) - jnp.argmax(there[::-1])
