"""From bytes to the raw examples that a model takes: pictures, `.npy`, `.csv`. What does not fit is refused, never cast.

A picture of another size is scaled to fit, with a margin in the colour of its top left corner; its pixels are whole numbers from 0 to 255,
so only a model of uint8 [height, width, 1 or 3] takes pictures.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np

from aidl_jax.errors import ServeError
from aidl_jax.serve.artifact import Manifest

__all__ = ["PICTURES", "picture", "read_examples", "takes_pictures"]

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp")
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP")
MOST_PIXELS = 25_000_000
MODES = {1: "L", 3: "RGB"}


def read_examples(path: Path, manifest: Manifest) -> np.ndarray:
    """The examples in one file.

    Args:
        path: a picture, which is one example; `.npy` with one or [n, ...]; `.csv` with one example in each row, its numbers in the order
            of the array's memory.
        manifest: of the model: it tells shape and dtype.

    Returns:
        [n, ...] of the model's shape and dtype; an `.npy` of another one as it is, for `Model.check` to refuse.

    Raises:
        ServeError: what is in the file is not what the model takes.
        OSError: it cannot be read.
    """
    suffix = path.suffix.lower()
    if suffix in PICTURES:
        return picture(path.read_bytes(), manifest)[None]
    if suffix == ".npy":
        return _array(path, manifest)
    if suffix == ".csv":
        return _table(path, manifest)
    raise ServeError(
        "files of this kind are not read",
        given=suffix or "a name without a suffix",
        expected=", ".join((*PICTURES, ".npy", ".csv")),
        fix="save it as one of these",
    )


def takes_pictures(manifest: Manifest) -> bool:
    """Whether a model takes uint8 [height, width, 1 or 3]."""
    return len(manifest.shape) == 3 and manifest.shape[2] in MODES and manifest.dtype == "uint8"


def picture(data: bytes, manifest: Manifest) -> np.ndarray:
    """A picture's file as the model takes it.

    Args:
        data: PNG, JPEG, BMP, GIF or WebP.
        manifest: of a model that takes pictures.

    Returns:
        uint8 [height, width, channels].

    Raises:
        ServeError: the model takes no pictures, or this is none, or it is too large, moves, or is transparent in places.
    """
    if not takes_pictures(manifest):
        raise ServeError(
            "the model takes no pictures",
            given="a picture",
            expected=f"{manifest.dtype}{list(manifest.shape)}",
            fix="give its examples as .npy, .csv or JSON; a model for pictures is exported with u8[height,width,1 or 3]",
        )
    return _pixels(data, manifest)


def _pixels(data: bytes, manifest: Manifest) -> np.ndarray:
    from PIL import Image, ImageOps

    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as opened:
            _refuse_unclear(opened)
            upright = ImageOps.exif_transpose(opened)
            grey_or_colour = _opaque(upright).convert(MODES[manifest.shape[2]])
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise ServeError(
            "this is no picture that can be read",
            given=f"{len(data):,} bytes, {type(error).__name__}",
            expected="a whole PNG, JPEG, BMP, GIF or WebP",
            fix="open it in a viewer, and save it again as PNG",
        ) from error
    height, width, channels = manifest.shape
    margin = grey_or_colour.getpixel((0, 0))
    fitted = ImageOps.pad(grey_or_colour, (width, height), Image.Resampling.BILINEAR, color=margin)
    return np.asarray(fitted).reshape(height, width, channels)


def _refuse_unclear(opened: Any) -> None:
    if opened.width * opened.height > MOST_PIXELS:
        raise _unclear("too large", f"{opened.width} x {opened.height} pixels", f"at most {MOST_PIXELS:,}", "scale it")
    if getattr(opened, "n_frames", 1) > 1:
        raise _unclear("of several frames", f"{opened.n_frames}", "one", "save the frame that you mean")
    if opened.mode not in ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK"):
        raise _unclear("of an unusual kind", f"mode {opened.mode}", "8 bits for each colour", "save it as 8-bit PNG")


def _opaque(image: Any) -> Any:
    if not image.has_transparency_data:
        return image
    full = image.convert("RGBA")
    if full.getchannel("A").getextrema()[0] < 255:
        raise _unclear("transparent in places", "transparency", "an opaque one", "save it on a background, as JPEG is")
    return full.convert("RGB")


def _unclear(what: str, given: str, expected: str, fix: str) -> ServeError:
    return ServeError(f"the picture is {what}", given=given, expected=expected, fix=fix)


def _array(path: Path, manifest: Manifest) -> np.ndarray:
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, TypeError, SyntaxError) as error:
        raise ServeError(
            "this is no array that NumPy can read",
            given=str(error).splitlines()[0] if str(error) else "an empty file",
            fix="write it with numpy.save, of numbers",
        ) from error
    return found[None] if found.shape == manifest.shape else found


def _table(path: Path, manifest: Manifest) -> np.ndarray:
    numbers = int(np.prod(manifest.shape))
    rows = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for at, row in enumerate(csv.reader(file), start=1):
                if len(row) != numbers:
                    raise _wrong_row(
                        at, f"{len(row)} columns", f"{numbers}, for {manifest.dtype}{list(manifest.shape)}"
                    )
                rows.append([_number(cell, at, manifest.dtype) for cell in row])
    except (csv.Error, UnicodeDecodeError) as error:
        raise ServeError(
            "this is no table in UTF-8", given=f"{error}", fix="save it as CSV UTF-8, comma separated"
        ) from error
    if not rows:
        raise ServeError("the table is empty", fix="write one example in each row")
    return np.asarray(rows, manifest.dtype).reshape(-1, *manifest.shape)


def _number(cell: str, at: int, dtype: str) -> float:
    try:
        value = float(cell) if np.issubdtype(dtype, np.floating) else int(cell)
    except ValueError:
        raise _wrong_row(at, repr(cell[:40]), f"a number for {dtype}") from None
    check_range(value, dtype, f"row {at}")
    return value


def check_range(value: float, dtype: str, where: str) -> None:
    """Refuses a number that the dtype cannot hold.

    Raises:
        ServeError: it is too large, too small or not finite.

    >>> check_range(255, "uint8", "row 1")
    """
    limits: Any = np.finfo(dtype) if np.issubdtype(dtype, np.floating) else np.iinfo(dtype)
    least, most = np.array([limits.min, limits.max], dtype).tolist()  # as Python's numbers, which compare exactly
    if not least <= value <= most:
        raise ServeError(
            "a number is out of range",
            given=f"{value}"[:40],
            expected=f"{least} to {most}, for {dtype}",
            where=where,
            fix="give the raw examples, as they were before preprocess",
        )


def _wrong_row(at: int, given: str, expected: str) -> ServeError:
    return ServeError(
        "the row is no example", given=given, expected=expected, where=f"row {at}", fix="leave headings and labels away"
    )
