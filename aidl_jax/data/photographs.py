"""Photographs: compressed bytes to pixels, and a part of them to another size.

libjpeg-turbo (in simplejpeg) decodes and OpenCV resizes, both without Python's lock, so that threads work side by side. What they do not
take (PNG, CMYK, rare kinds of JPEG) Pillow decodes, more slowly.
"""

from __future__ import annotations

import importlib
import io
from typing import Any, NamedTuple

import numpy as np

from aidl_jax.errors import DataError, tell_error

__all__ = ["Box", "check_decoders", "decode", "resized"]

PLAIN = {"YCbCr", "RGB", "Gray"}


class Box(NamedTuple):
    """A part of an image, in pixels."""

    top: int
    left: int
    height: int
    width: int


def check_decoders() -> None:
    """Raises where the decoders are not installed.

    Raises:
        DataError: with the command that installs them.
    """
    for module in ("simplejpeg", "cv2", "PIL"):
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise DataError(
                "images cannot be decoded here",
                given=tell_error(error),
                where="decode_images",
                fix="python -m pip install 'aidl-jax[images]'",
            ) from None


def decode(data: bytes) -> np.ndarray:
    """The pixels of a JPEG or PNG file, uint8 [height, width, 3], red, green and blue; its orientation tag is not looked at.

    Raises:
        DataError: the bytes are no whole image.
    """
    import simplejpeg

    try:
        kind = simplejpeg.decode_jpeg_header(data)[2] if data[:2] == b"\xff\xd8" else "other"
    except ValueError:
        kind = "other"
    try:
        return simplejpeg.decode_jpeg(data, "RGB") if kind in PLAIN else _by_pillow(data)
    except Exception as error:  # Pillow's decoders raise nearly everything
        raise DataError(
            "the image cannot be decoded",
            given=f"{tell_error(error)}; {len(data):,} bytes that begin with {data[:4].hex(' ') or 'nothing'}",
            expected="a whole JPEG or PNG file",
            fix="fetch the file again, or leave it out",
        ) from None


def _by_pillow(data: bytes) -> np.ndarray:
    from PIL import Image

    with Image.open(io.BytesIO(data), formats=("JPEG", "PNG")) as image:
        return np.asarray(image.convert("RGB"))


def resized(image: np.ndarray, box: Box, size: tuple[int, int]) -> np.ndarray:
    """A part of an image [height, width, 3] at another size, linear between the centres of pixels, without smoothing."""
    import cv2

    part: Any = image[box.top : box.top + box.height, box.left : box.left + box.width]
    return cv2.resize(part, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
