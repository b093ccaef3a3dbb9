"""The digits model of `train.full_model`, exported: what makes a drawing look like the digits that it was trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from aidl_jax.scope import apply
from aidl_jax.serve.exporting import export
from aidl_jax.train.full_model import MODEL

__all__ = ["export_digits", "from_drawing"]

SIDE = 64
INK = 0.25  # a pixel with less is paper


def export_digits(path: Path, params: Any) -> str:
    """Writes the trained digits model into a file that takes drawings, uint8 [64, 64, 1], light ink on dark.

    Returns:
        The SHA-256 of its manifest.

    Raises:
        OSError: it cannot be written.
    """
    names = [str(digit) for digit in range(10)]
    return export(
        path, lambda params, x: apply(MODEL)(params, {}, x)[0], params, from_drawing, f"u8[{SIDE},{SIDE},1]",
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
    top, bottom = _extent((ink > INK).any(axis=1))
    left, right = _extent((ink > INK).any(axis=0))
    side = jnp.maximum(bottom - top, right - left)
    steps = (jnp.arange(32) + 0.5) / 32 - 0.5
    rows = (top + bottom) / 2 + steps * side - 0.5
    columns = (left + right) / 2 + steps * side - 0.5
    dots = jax.scipy.ndimage.map_coordinates(ink, jnp.meshgrid(rows, columns, indexing="ij"), order=1)
    return dots.reshape(8, 4, 8, 4).mean(axis=(1, 3))[..., None]


def _extent(there: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The first index and the one after the last; everything where there is none."""
    return jnp.argmax(there), len(there) - jnp.argmax(there[::-1])
