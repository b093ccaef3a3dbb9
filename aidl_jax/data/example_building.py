"""Writing `tf.train.Example`: named features, each a list of bytes, floats or int64."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from aidl_jax.data.wire import BYTES, FLOATS, INTS, field, varint
from aidl_jax.errors import DataError

__all__ = ["build_example"]


def build_example(features: Mapping[str, Any]) -> bytes:
    """A `tf.train.Example` as bytes, byte for byte as TensorFlow writes one whose features are in the order of their names.

    Args:
        features: by name: bytes or a text, a number, a list of these, or an array, which is laid out flat, row after row. Whole numbers
            and bools become int64, floats float32.

    Raises:
        DataError: a value that is none of these, or of which nothing may get lost: float64 arrays, integers of more than 64 bits.

    >>> build_example({"label": 3}).hex()
    '0a100a0e0a056c6162656c12051a030a0103'
    """
    entries = [
        field(1, field(1, name.encode()) + field(2, _feature(name, features[name]))) for name in sorted(features)
    ]
    return field(1, b"".join(entries))


def _feature(name: str, value: Any) -> bytes:
    values = value if isinstance(value, list | tuple) else [value]
    if all(isinstance(one, bytes | str) for one in values):
        texts = [one.encode() if isinstance(one, str) else one for one in values]
        return field(BYTES, b"".join(field(1, one) for one in texts)) if values else b""
    array = np.asarray(value)
    is_array = isinstance(value, np.ndarray | np.generic | jax.Array)
    if array.dtype == np.float32 or (array.dtype == np.float64 and not is_array):
        return field(FLOATS, field(1, _as_floats(name, array).tobytes()))
    if array.dtype.kind in "biu" and not (array.dtype == np.uint64 and array.size and int(array.max()) >= 2**63):
        numbers = array.astype(np.int64).ravel().tolist()
        return field(INTS, field(1, b"".join(varint(number % 2**64) for number in numbers)))
    raise DataError(
        "a feature is made of bytes, texts, float32 or whole numbers of 64 bits",
        given=f"{array.dtype.name} {list(array.shape)}",
        where=f"build_example, feature {name!r}",
        fix="convert it: values.astype(np.float32)" if array.dtype.kind == "f" else "make numbers or bytes of it",
    )


def _as_floats(name: str, array: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        floats = array.astype("<f4")
    if (np.isinf(floats) & np.isfinite(array)).any():
        raise DataError(
            "a number is too large for float32", given=str(array.max()), where=f"build_example, feature {name!r}"
        )
    return floats
