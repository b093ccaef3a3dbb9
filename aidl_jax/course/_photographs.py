"""Made-up photographs that tell which one it is, and which part of it is seen; files in ImageNet's two layouts. NumPy and Pillow, no JAX.

Red grows from left to right, green from top to bottom, blue is the same everywhere and another one in each image. So the edges of
what is seen can be read off its colours, whatever way it was brought to another size.

TFRecord: https://www.tensorflow.org/tutorials/load_data/tfrecord. Example: `tensorflow/core/example/feature.proto`; protobuf's bytes:
https://protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

import functools
import io
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from PIL import Image

MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
RED, GREEN, BLUE = (30, 3), (30, 4), (20, 17)  # at 0, and how much is added per column, row, image
LEVELS = 6.0  # of 255, by which a colour may be off: compression, rounding, and what a resize does at the edges

Box = tuple[float, float, float, float]


def photograph(number: int, width: int = 64, height: int = 48) -> np.ndarray:
    """One of up to 14 images, uint8 [height, width, 3]; at most 75 wide and 56 high, so that no colour overflows."""
    rows, columns = np.mgrid[:height, :width]
    pixels = RED[0] + RED[1] * columns, GREEN[0] + GREEN[1] * rows, np.full_like(rows, BLUE[0] + BLUE[1] * number)
    return np.stack(pixels, axis=-1).astype(np.uint8)


def jpeg(pixels: np.ndarray) -> bytes:
    """The bytes of a JPEG file, hardly compressed; gray where the pixels have no colours."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=98, **({"subsampling": 0} if pixels.ndim == 3 else {}))
    return file.getvalue()


@functools.cache
def textured(count: int, width: int = 500, height: int = 375) -> tuple[bytes, ...]:
    """JPEG files about as large as ImageNet's photographs, always the same ones; they show nothing."""
    random, found = np.random.default_rng(0), []
    for _ in range(count):
        shapes = Image.fromarray(random.integers(0, 200, (height // 20, width // 20, 3), np.uint8))
        smooth = np.asarray(shapes.resize((width, height), Image.Resampling.BICUBIC))
        file = io.BytesIO()
        Image.fromarray(smooth + random.integers(0, 30, smooth.shape, np.uint8)).save(file, "JPEG", quality=88)
        found.append(file.getvalue())
    return tuple(found)


def normalised(colours: np.ndarray) -> np.ndarray:
    """Colours from 0 to 255 as a model gets them."""
    return (colours / 255 - MEAN) / STD


def part(number: int, box: Box, mirrored: bool, side: int) -> np.ndarray:
    """The colours of a part of photograph `number` at another size, float64 [side, side, 3]."""
    left, top, right, bottom = box
    steps = (np.arange(side) + 0.5) / side
    columns = left + steps * (right - left) - 0.5
    rows = top + steps * (bottom - top) - 0.5
    red = np.broadcast_to(RED[0] + RED[1] * (columns[::-1] if mirrored else columns), (side, side))
    green = np.broadcast_to((GREEN[0] + GREEN[1] * rows)[:, None], (side, side))
    return np.stack([red, green, np.full((side, side), float(BLUE[0] + BLUE[1] * number))], axis=-1)


@dataclass(frozen=True)
class Seen:
    """Which photograph an image shows, which part of it, whether mirrored, and by how many levels it differs from that."""

    number: int
    box: Box
    mirrored: bool
    error: float


def look(image: np.ndarray) -> Seen:
    """What a normalised image [side, side, 3] shows."""
    colours = (np.asarray(image, np.float64) * STD + MEAN) * 255
    side = len(colours)
    first, last = _edges(colours[..., 0].mean(axis=0), *RED)
    top, bottom = _edges(colours[..., 1].mean(axis=1), *GREEN)
    number = round((float(np.median(colours[..., 2])) - BLUE[0]) / BLUE[1])
    box = (min(first, last), top, max(first, last), bottom)
    error = np.abs(part(number, box, first > last, side) - colours).max()
    return Seen(number, box, first > last, float(error))


def _edges(line: np.ndarray, start: float, slope: float) -> tuple[float, float]:
    """Where a line of colours begins and ends in its photograph; its outer values are left out."""
    inner, places = line[1:-1], np.arange(1, len(line) - 1)
    grows = (places - places.mean()) @ inner / ((places - places.mean()) ** 2).sum()
    at = inner.mean() - grows * places.mean()
    return tuple(float((at + grows * end - start) / slope + 0.5) for end in (-0.5, len(line) - 0.5))  # type: ignore[return-value]


def example(features: Mapping[str, bytes | int]) -> bytes:
    """A `tf.train.Example` with a value in each feature."""
    entries = [_field(1, _field(1, name.encode()) + _field(2, _feature(value))) for name, value in features.items()]
    return _field(1, b"".join(entries))


def _feature(value: bytes | int) -> bytes:
    if isinstance(value, bytes):
        return _field(1, _field(1, value))
    return _field(3, _field(1, _varint(value)))


def _field(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    parts = []
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])


def tfrecord(records: Iterable[bytes]) -> bytes:
    """A TFRecord file."""
    return b"".join(_framed(record) for record in records)


def _framed(record: bytes) -> bytes:
    length = struct.pack("<Q", len(record))
    return length + _masked_crc(length) + record + _masked_crc(record)


def _masked_crc(data: bytes) -> bytes:
    import google_crc32c

    crc = google_crc32c.value(data)
    return struct.pack("<I", (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF)
