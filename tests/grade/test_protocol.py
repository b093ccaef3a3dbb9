"""Messages between the processes: round trips, and bytes that are none."""

from __future__ import annotations

import enum
import io
import math
import struct
from collections import OrderedDict, namedtuple
from fractions import Fraction
from typing import Any

import ml_dtypes
import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aidl_jax.errors import ProtocolError
from aidl_jax.grade import protocol
from aidl_jax.grade.protocol import DTYPES, decode, encode, read_message, write_message

SHAPES = st.lists(st.integers(0, 4), max_size=4).map(tuple)
NUMBERS = st.integers(-(2**63), 2**64 - 1)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
PLAIN = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.floats() | TEXT | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT | st.integers(0, 99), inner, max_size=4),
    max_leaves=10,
)


def dtype_of(name: str) -> np.dtype:
    return np.dtype(ml_dtypes.bfloat16) if name == "bfloat16" else np.dtype(name)


def random_array(name: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Random bytes: every bit pattern, NaN payloads, infinities and subnormals among them."""
    size = math.prod(shape) * dtype_of(name).itemsize
    raw = np.random.default_rng(seed).bytes(size)
    raw = bytes(b & 1 for b in raw) if name == "bool" else raw
    return np.frombuffer(raw, dtype_of(name)).reshape(shape)


def same(one: Any, other: Any) -> bool:
    if isinstance(one, float):
        return type(other) is float and struct.pack("<d", one) == struct.pack("<d", other)
    if isinstance(one, list):
        return type(other) is list and len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return type(other) is dict and list(one) == list(other) and all(same(one[k], other[k]) for k in one)
    return type(one) is type(other) and one == other


@given(PLAIN)
def test_plain_data_comes_back_as_it_was(value: Any) -> None:
    assert same(decode(encode(value)), value)


@pytest.mark.parametrize("name", sorted(DTYPES))
@given(shape=SHAPES, seed=st.integers(0, 2**32 - 1))
@settings(max_examples=25)
def test_every_dtype_comes_back_bit_for_bit(name: str, shape: tuple[int, ...], seed: int) -> None:
    array = random_array(name, shape, seed)
    back = decode(encode({"x": [array]}))["x"][0]
    assert (back.dtype.name, back.shape, back.tobytes()) == (name, shape, array.tobytes())


def test_every_dtype_of_jax_without_64_bits_is_there() -> None:
    import jax.numpy as jnp

    for name in ("bool", "int8", "int32", "uint8", "uint32", "float16", "bfloat16", "float32", "complex64"):
        array = np.asarray(jnp.zeros(2, name))
        assert decode(encode(array)).dtype == array.dtype


@pytest.mark.parametrize("payload", [0x7FC00001, 0x7F800001, 0xFFC12345, 0x7FFFFFFF])
def test_a_nans_payload_is_kept(payload: int) -> None:
    array = np.array([payload], np.uint32).view(np.float32)
    assert decode(encode(array)).view(np.uint32)[0] == payload


@pytest.mark.parametrize("dtype", [">i4", ">f4", ">f8", ">u2", ">c8"])
def test_the_byte_order_does_not_change_the_values(dtype: str) -> None:
    array = np.array([1, 256, 65535], dtype)
    assert decode(encode(array)).tolist() == array.tolist()
    assert decode(encode(array[0])).tolist() == array[0].item()


def test_views_are_sent_by_value() -> None:
    base = np.arange(24, dtype=np.int32).reshape(4, 6)
    for view in (base.T, base[::2, ::-1], np.broadcast_to(base[0], (3, 6)), base[:, :0], np.asfortranarray(base)):
        assert decode(encode(view)).tolist() == view.tolist()
        assert decode(encode(view)).shape == view.shape


def test_scalars_of_numpy_become_arrays_without_axes() -> None:
    for scalar in (np.float32(1.5), np.float64(1.5), np.int64(-3), np.bool_(True), np.complex64(1j)):
        back = decode(encode(scalar))
        assert (back.shape, back.dtype, back[()]) == ((), scalar.dtype, scalar)


class Number(int):
    pass


class Colour(enum.IntEnum):
    RED = 1


Pair = namedtuple("Pair", "a b")


@pytest.mark.parametrize(
    "value",
    [
        object(), (1, 2), [(1,)], Pair(1, 2), {1, 2}, frozenset(), range(3), Number(3), Colour.RED, OrderedDict(a=1),
        2**64, -(2**63) - 1, 1j, Fraction(1, 2), "\ud800", len, int, b"x".hex, bytearray, iter([]), Ellipsis,
        np.array([object()]), np.array(["text"]), np.array([b"text"]), np.array(["2020-01-01"], "datetime64[D]"),
        np.zeros(2, [("a", "f4")]), np.complex128(1), np.longdouble(1), np.str_("x"), np.dtype("f4"), {(1, 2): 3},
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_what_is_not_plain_is_refused(value: Any) -> None:
    for nested in (value, [value], {"x": value}):
        with pytest.raises(ProtocolError, match="not plain data"):
            encode(nested)


def test_a_list_that_holds_itself_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(ProtocolError, match="not plain data"):
        encode(endless)


def extension(header: Any, code: int = 1) -> bytes:
    data = msgpack.packb(header)
    return b"\xc7" + struct.pack("<Bb", len(data), code) + data


@pytest.mark.parametrize(
    "header",
    [
        ["float32", [2], b"1234"], ["float32", [2], b""], ["float32", [-1], b""], ["float32", [1.0], b"1234"],
        ["float32", [True], b"1234"], ["float32", [2**40, 0], b""], ["float32", [0] * 33, b""], ["float32", [1], "1234"],
        ["object", [1], b"12345678"], ["O", [1], b"12345678"], ["f4", [1], b"1234"], [">f4", [1], b"1234"],
        ["complex128", [1], b"1" * 16], ["float32,float32", [1], b"1" * 8], ["float32", 1, b"1234"], ["float32", [1]],
        ["float32", [1], b"1234", 0], {"dtype": "float32"}, None, 3, [None, [1], b"1234"], ["bool", [2], b"\0\2"],
        ["float32", [2**39, 2**39, 0], b""], ["float32", [[1]], b"1234"], [["float32"], [1], b"1234"],
    ],
    ids=repr,
)  # fmt: skip
def test_a_malformed_array_is_refused(header: Any) -> None:
    with pytest.raises(ProtocolError):
        decode(extension(header))


@pytest.mark.parametrize("code", [0, 2, 5, 127, -2, -128])
def test_another_extension_is_refused(code: int) -> None:
    with pytest.raises(ProtocolError, match="malformed"):
        decode(extension(["float32", [1], b"1234"], code))


@given(st.binary(max_size=200))
@settings(max_examples=300)
def test_random_bytes_are_data_or_refused(payload: bytes) -> None:
    try:
        value = decode(payload)
    except ProtocolError:
        return
    assert only_plain(value)


@given(PLAIN, st.data())
@settings(max_examples=100)
def test_mutated_messages_are_data_or_refused(value: Any, data: st.DataObject) -> None:
    message = bytearray(encode([value, np.arange(3, dtype="int32")]))
    for _ in range(data.draw(st.integers(1, 4))):
        message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
    try:
        got = decode(bytes(message))
    except ProtocolError:
        return
    assert only_plain(got)


def only_plain(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(only_plain, value))
    if isinstance(value, dict):
        return all(only_plain(k) and only_plain(v) for k, v in value.items())
    return type(value) in (type(None), bool, int, float, str, bytes) or (
        type(value) is np.ndarray and value.dtype.name in DTYPES
    )


@pytest.mark.parametrize(
    "payload",
    [
        b"", b"\xc1", b"\x92\x01", b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xff", b"\xc9\xff\xff\xff\xff\x01", b"\xa1\xff", b"\x01\x02", b"\x91" * 2_000, b"\x81\x91\x01\x02",
        b"\x81\xc7\x00\x01\x01", b"\xd6\xff", b"\xd4\xff\x00",
    ],
    ids=lambda payload: payload[:6].hex(),
)  # fmt: skip
def test_malformed_bytes_are_refused(payload: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode(payload)


def test_a_timestamp_of_msgpack_is_a_number() -> None:
    assert decode(msgpack.packb(msgpack.Timestamp(5, 500_000_000))) == 5.5


MESSAGES = st.dictionaries(TEXT, PLAIN, max_size=4)


@given(st.lists(MESSAGES, max_size=3))
@settings(max_examples=30)
def test_messages_follow_each_other_on_one_stream(messages: list[dict[str, Any]]) -> None:
    stream = io.BytesIO()
    for message in messages:
        write_message(stream, message)
    stream.seek(0)
    assert all(same(read_message(stream), message) for message in messages)
    with pytest.raises(EOFError):
        read_message(stream)


@given(MESSAGES, st.data())
@settings(max_examples=50)
def test_a_stream_that_ends_early_says_so(message: dict[str, Any], data: st.DataObject) -> None:
    stream = io.BytesIO()
    write_message(stream, message)
    whole = stream.getvalue()
    with pytest.raises(EOFError):
        read_message(io.BytesIO(whole[: data.draw(st.integers(0, len(whole) - 1))]))


def test_the_length_is_four_bytes_little_endian() -> None:
    stream = io.BytesIO()
    write_message(stream, {"do": "hello"})
    assert stream.getvalue() == b"\x0a\0\0\0" + b"\x81\xa2do\xa5hello"


@pytest.mark.parametrize("value", [[1, 2], 3, None, "text", b"bytes", np.zeros(2)], ids=repr)
def test_a_message_is_a_map(value: Any) -> None:
    payload = encode(value)
    with pytest.raises(ProtocolError, match="a message is a map"):
        read_message(io.BytesIO(protocol.LENGTH.pack(len(payload)) + payload))


class NeverRead(io.BytesIO):
    """A stream whose header promises much; reading what it promises would take all memory."""

    def read(self, size: int | None = -1) -> bytes:
        assert size == 4
        return super().read(size)


def test_a_length_above_the_limit_is_refused_before_it_is_read() -> None:
    for length, limit in ((2**32 - 1, protocol.MAX_MESSAGE), (101, 100)):
        with pytest.raises(ProtocolError, match="too large"):
            read_message(NeverRead(protocol.LENGTH.pack(length) + b"x" * 8), limit)


def test_a_message_of_exactly_the_limit_is_read() -> None:
    payload = encode({"x": b"1234"})
    assert read_message(io.BytesIO(protocol.LENGTH.pack(len(payload)) + payload), len(payload)) == {"x": b"1234"}


def test_a_message_above_the_limit_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "MAX_MESSAGE", 100)
    stream = io.BytesIO()
    with pytest.raises(ProtocolError, match="too large"):
        write_message(stream, {"x": b"0" * 101})
    assert stream.getvalue() == b""


def test_nothing_is_written_of_a_message_that_is_not_plain() -> None:
    stream = io.BytesIO()
    with pytest.raises(ProtocolError):
        write_message(stream, {"fine": 1, "odd": object()})
    assert stream.getvalue() == b""


def test_nothing_that_comes_in_can_be_written_to() -> None:
    array = decode(encode(np.zeros(3)))
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 1
