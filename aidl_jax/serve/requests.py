"""What a client sends, read within limits: the examples in it, or a refusal with an HTTP status."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from aidl_jax.errors import ServeError
from aidl_jax.serve.artifact import Manifest
from aidl_jax.serve.inputs import check_range, picture

__all__ = ["MOST_BYTES", "MOST_EXAMPLES", "Refused", "examples_in"]

MOST_BYTES = 8 << 20
MOST_EXAMPLES = 64
EXAMPLE = '{"examples": [...]}'


class Refused(ServeError):
    """A request that is not answered.

    Attributes:
        status: of HTTP: 400 for what cannot be read, 413 for what is too large, 415 for another type, 422 for what the model does not take.
    """

    def __init__(self, status: int, what: str, **details: str | None) -> None:
        super().__init__(what, **details)
        self.status = status


def examples_in(body: bytes, content_type: str, manifest: Manifest) -> np.ndarray:
    """The examples in a request's body.

    Args:
        body: JSON, `{"examples": [[...], ...]}`, or a picture's file.
        content_type: application/json or image/...
        manifest: of the model.

    Returns:
        [n, ...] of the model's shape and dtype, n from 1 to 64.

    Raises:
        Refused: it is not that.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if kind.startswith("image/"):
        return _picture(body, manifest)[None]
    if kind != "application/json":
        raise Refused(
            415,
            "bodies of this type are not read",
            given=kind[:100] or "no Content-Type",
            expected="application/json or image/png",
            fix="set the header Content-Type",
        )
    return _array(_rows(body), manifest)


def _picture(body: bytes, manifest: Manifest) -> np.ndarray:
    try:
        return picture(body, manifest)
    except ServeError as error:
        raise Refused(422, error.what, given=error.given, expected=error.expected, fix=error.fix) from error


def _rows(body: bytes) -> list[Any]:
    try:
        told = json.loads(body, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        reason = str(error) if not isinstance(error, RecursionError) else "it is nested too deeply"
        raise Refused(400, "the body is not JSON", given=reason[:200], expected=EXAMPLE, fix="send JSON") from error
    rows = told.get("examples") if isinstance(told, dict) and told.keys() == {"examples"} else None
    if not isinstance(rows, list) or not rows:
        raise Refused(
            422,
            "the body holds no examples",
            given=f"a {type(told).__name__}"
            + (f" with {', '.join(sorted(told)[:4])}"[:100] if isinstance(told, dict) and told else ""),
            expected=EXAMPLE,
            fix="send a list with at least one example under this one name",
        )
    if len(rows) > MOST_EXAMPLES:
        raise Refused(
            413,
            "there are too many examples",
            given=f"{len(rows)}",
            expected=f"at most {MOST_EXAMPLES}",
            fix="send several requests",
        )
    return rows


def _array(rows: list[Any], manifest: Manifest) -> np.ndarray:
    cells: list[Any] = [*rows]
    for size in manifest.shape:
        if any(not isinstance(cell, list) or len(cell) != size for cell in cells):
            raise _misshaped(manifest)
        cells = [inner for cell in cells for inner in cell]
    _check_numbers(cells, manifest.dtype)
    return np.asarray(cells, manifest.dtype).reshape(len(rows), *manifest.shape)


def _check_numbers(cells: list[Any], dtype: str) -> None:
    allowed = {int, float} if np.issubdtype(dtype, np.floating) else {int}
    if not set(map(type, cells)) <= allowed:
        first = next(cell for cell in cells if type(cell) not in allowed)
        raise Refused(
            422,
            "this is no number that the model takes",
            given=json.dumps(first)[:100],
            expected=dtype,
            fix="send numbers alone",
        )
    for extreme in (min(cells), max(cells)):
        try:
            check_range(extreme, dtype, "examples")
        except ServeError as error:
            raise Refused(422, error.what, given=error.given, expected=error.expected, fix=error.fix) from error


def _misshaped(manifest: Manifest) -> Refused:
    return Refused(
        422,
        "an example has another shape than the model takes",
        expected=f"{manifest.dtype}{list(manifest.shape)} for each, as nested lists",
        fix="send the raw examples, as they were before preprocess",
    )


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is not JSON")
