"""What the three processes say to each other: length-prefixed messages, never pickle.

A message is four bytes of length (little endian), then a msgpack map. An array inside it is an
extension type holding dtype, shape and bytes; nothing else than plain data is ever decoded.
Format: https://github.com/msgpack/msgpack/blob/master/spec.md
"""

from __future__ import annotations

import math
import struct
from typing import IO, Any

import msgpack
import numpy as np

from aidl_jax.errors import ProtocolError

ARRAY = 1
LENGTH = struct.Struct("<I")
MAX_MESSAGE = 256 * 1024 * 1024
MAX_PARTS = 1_000_000  # values in a message: one byte of an empty map is a hundred in memory
MAX_ARRAY_PARTS = 40  # in an array's extension: dtype, shape, bytes
FIXED = {0xCA: 4, 0xCB: 8, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8, 0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8, 0xD4: 2, 0xD5: 3,
         0xD6: 5, 0xD7: 9, 0xD8: 17, 0xDC: 2, 0xDD: 4, 0xDE: 2, 0xDF: 4}  # fmt: skip
WIDTHS = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xC7: 1, 0xC8: 2, 0xC9: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}  # bytes that hold a length
EXTENSIONS = (0xC7, 0xC8, 0xC9)  # their type is not counted in their length
DTYPES = frozenset(
    [
        "bool",
        "int8",
        "int16",
        "int32",
        "int64",
        "uint8",
        "uint16",
        "uint32",
        "uint64",
        "float16",
        "bfloat16",
        "float32",
        "float64",
        "complex64",
    ]
)


def write_message(stream: IO[bytes], message: dict[str, Any]) -> None:
    """Writes one message and flushes.

    Raises:
        ProtocolError: the message is larger than 256 MiB or holds something that is not plain data.
    """
    payload = encode(message)
    if len(payload) > MAX_MESSAGE:
        raise ProtocolError(
            "the message is too large", given=f"{len(payload):,} bytes", expected=f"at most {MAX_MESSAGE:,}"
        )
    stream.write(LENGTH.pack(len(payload)) + payload)
    stream.flush()


def read_message(stream: IO[bytes], limit: int = MAX_MESSAGE) -> dict[str, Any]:
    """Reads one message.

    Raises:
        EOFError: the other side has closed the stream.
        ProtocolError: the bytes are not a message, or it is larger than `limit` bytes.
    """
    header = stream.read(LENGTH.size)
    if len(header) < LENGTH.size:
        raise EOFError("the other process has ended")
    (length,) = LENGTH.unpack(header)
    if length > limit:
        raise ProtocolError("the message is too large", given=f"{length:,} bytes", expected=f"at most {limit:,}")
    payload = stream.read(length)
    if len(payload) < length:
        raise EOFError("the other process ended in the middle of a message")
    message = decode(payload)
    if not isinstance(message, dict):
        raise ProtocolError("a message is a map", given=type(message).__name__)
    return message


def encode(value: Any) -> bytes:
    """Plain data and NumPy arrays as msgpack bytes; a tuple is refused, since it would come back as a list.

    >>> decode(encode({"x": np.arange(3, dtype="int32")}))
    {'x': array([0, 1, 2], dtype=int32)}
    """
    try:
        return msgpack.packb(value, default=_pack_array, use_bin_type=True, strict_types=True)
    except (TypeError, ValueError, OverflowError) as error:
        raise ProtocolError("the value is not plain data", given=str(error)) from error


def decode(payload: bytes) -> Any:
    """The value that `encode` was given.

    Raises:
        ProtocolError: malformed bytes, an unknown dtype, a shape that does not fit the bytes, too many values.
    """
    _refuse_many(payload, MAX_PARTS)
    try:
        return msgpack.unpackb(payload, ext_hook=_unpack_array, raw=False, strict_map_key=False, timestamp=1)
    except ProtocolError:
        raise
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
        raise ProtocolError("the bytes are not a message", given=str(error)[:80]) from error


def _refuse_many(payload: bytes, most: int) -> None:
    """Counts values without making them, so that a small message cannot become a large object."""
    at = count = 0
    while at < len(payload):
        count += 1
        if count > most:
            raise ProtocolError("the bytes are not a message", given=f"more than {most:,} values")
        first = payload[at]
        at += 1
        if 0xA0 <= first <= 0xBF:  # a short string holds its length in the first byte
            at += first & 0x1F
        elif first in WIDTHS:
            length = payload[at : at + WIDTHS[first]]
            at += WIDTHS[first] + int.from_bytes(length, "big") + (first in EXTENSIONS)
        else:
            at += FIXED.get(first, 0)


def _pack_array(value: Any) -> msgpack.ExtType:
    if isinstance(value, np.generic):
        value = np.asarray(value)
    if not isinstance(value, np.ndarray) or value.dtype.name not in DTYPES:
        raise TypeError(f"{type(value).__name__} {getattr(value, 'dtype', '')}".strip())
    native = value.astype(value.dtype.newbyteorder("="), copy=False)
    header = [value.dtype.name, list(value.shape), native.tobytes()]
    return msgpack.ExtType(ARRAY, msgpack.packb(header, use_bin_type=True))


def _unpack_array(code: int, payload: bytes) -> np.ndarray:
    _refuse_many(payload, MAX_ARRAY_PARTS)
    match msgpack.unpackb(payload, raw=False) if code == ARRAY else None:
        case [str(name), list(shape), bytes(data)] if (
            name in DTYPES and len(shape) <= 32 and all(type(n) is int and 0 <= n < 2**40 for n in shape)
        ):
            dtype = _dtype(name)
            if math.prod(shape) * dtype.itemsize == len(data):
                if name == "bool" and np.frombuffer(data, np.uint8).max(initial=0) > 1:
                    raise ProtocolError("a boolean is neither 0 nor 1")
                return np.frombuffer(data, dtype).reshape(shape)
    raise ProtocolError("an array is malformed")


def _dtype(name: str) -> np.dtype:
    if name == "bfloat16":
        import ml_dtypes  # comes with jaxlib; NumPy does not know this type

        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype(name)
