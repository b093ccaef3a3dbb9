"""Readers of what strangers wrote: whatever the bytes are, an answer or the declared error, within bounded memory."""

from __future__ import annotations

import contextlib
import io
import json
import struct
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aidl_jax.errors import HandInError, ProtocolError
from aidl_jax.grade import protocol
from aidl_jax.grade.answers import unpacked
from aidl_jax.grade.handin import read_document, read_hand_in

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["cells", "source", "cell_type", "metadata"]) | st.text(max_size=4), inner, max_size=4
        )
    ),
    max_leaves=12,
)
CHANGES = st.lists(st.tuples(st.integers(0, 10_000), st.binary(max_size=6), st.integers(0, 6)), min_size=1, max_size=6)
MESSAGE = protocol.encode(
    {"answer": b"x" * 40, "structure": ["tuple", [1, 2.5, None]], "x": np.arange(6.0).reshape(2, 3)}
)
MIB = 1 << 20


def changed(data: bytes, changes: list[tuple[int, bytes, int]]) -> bytes:
    """Some bytes replaced by others, fewer or more."""
    for place, new, width in changes:
        at = place % (len(data) + 1)
        data = data[:at] + new + data[at + width :]
    return data


def peak(action: Any) -> int:
    """The most bytes of memory that Python held while an action ran, beyond what it held before."""
    tracemalloc.start()
    try:
        action()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def decoded(payload: bytes) -> Any:
    """What `decode` makes of bytes, or None where it refuses them."""
    try:
        return protocol.decode(payload)
    except ProtocolError:
        return None


@given(st.binary(max_size=200))
@settings(max_examples=500, deadline=None)
def test_any_bytes_are_a_message_or_refused(payload: bytes) -> None:
    decoded(payload)


@given(CHANGES)
@settings(max_examples=500, deadline=None)
def test_changed_messages_are_read_or_refused(changes: list[tuple[int, bytes, int]]) -> None:
    payload = changed(MESSAGE, changes)
    decoded(payload)
    stream = io.BytesIO(changed(struct.pack("<I", len(MESSAGE)) + MESSAGE, changes))
    with contextlib.suppress(ProtocolError, EOFError):
        assert isinstance(protocol.read_message(stream), dict)


def numbers(count: int) -> bytes:
    """Of a map: the keys 0, 1, ... as 32-bit numbers, each with None."""
    pairs = np.zeros(count, [("mark", "u1"), ("key", ">u4"), ("none", "u1")])
    pairs["mark"], pairs["key"], pairs["none"] = 0xCE, np.arange(count), 0xC0
    return pairs.tobytes()


BOMBS = {
    "empty maps in a list": b"\xdd" + struct.pack(">I", 8 * MIB) + b"\x80" * 8 * MIB,
    "empty lists in lists": b"\x9f" * 500 + b"\x90" * 8 * MIB,
    "numbers in a list": b"\xdd" + struct.pack(">I", 3 * MIB) + b"\xcd\x12\x34" * 3 * MIB,
    "short strings": b"\xdd" + struct.pack(">I", 3 * MIB) + b"\xa2xy" * 3 * MIB,
    "a map of numbers": b"\xdf" + struct.pack(">I", 2 * MIB) + numbers(2 * MIB),
    "an array's extension": b"\xc9" + struct.pack(">I", 8 * MIB) + b"\x01" + b"\xdd" + struct.pack(">I", 8 * MIB - 5) + b"\x80" * (8 * MIB - 5),
    "a list that says it is long": b"\xdd\xff\xff\xff\xff",
    "long lists in long lists": b"\xdd\xff\xff\xff\xff" * 900,
    "a string that says it is long": b"\xdb\xff\xff\xff\xffx",
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_a_small_message_does_not_become_large(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(protocol, "MAX_PARTS", 20_000)
    payload = BOMBS[name]

    def refused() -> None:
        with pytest.raises(ProtocolError, match="the bytes are not a message"):
            protocol.decode(payload)

    assert peak(refused) < len(payload) + 2 * MIB  # msgpack copies an extension once


def test_what_is_counted_is_what_msgpack_reads() -> None:
    values = [None, True, 1, -1, 2**40, -(2**40), 0.5, "x" * 40, b"y" * 300, "z" * 70_000, [], {}, msgpack.ExtType(5, b"1234"),
              msgpack.ExtType(5, b"x" * 17), msgpack.ExtType(5, b"x" * 70_000), list(range(20)), dict.fromkeys(range(20))]  # fmt: skip
    payload = msgpack.packb(values, use_single_float=True)
    count = 1 + len(values) + 20 + 40
    protocol._refuse_many(payload, count)
    with pytest.raises(ProtocolError, match=f"more than {count - 1} values"):
        protocol._refuse_many(payload, count - 1)


def test_an_answer_of_too_many_values_is_a_malformed_answer() -> None:
    with pytest.raises(Exception, match="What was returned is malformed"):
        unpacked(BOMBS["empty maps in a list"], "returned")


@given(JSON)
@settings(max_examples=300, deadline=None)
def test_any_json_is_a_notebook_or_refused(value: Any) -> None:
    read(json.dumps({"cells": value} if isinstance(value, list) else value).encode())


@given(
    st.binary(max_size=300)
    | CHANGES.map(lambda c: changed(b'{"cells": [{"cell_type": "code", "source": ["x = 1\\n"]}]}', c))
)
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_a_notebook_or_refused(data: bytes) -> None:
    read(data)


def read(data: bytes) -> None:
    """Reads a notebook; its cells hold text, or it is refused."""
    try:
        document = read_document("s02.ipynb", data)
    except HandInError:
        return
    assert all(isinstance(cell.text, str) for cell in document.cells)


NOTEBOOK_BOMBS = {
    "brackets": b"[" * 4 * MIB,
    "a number of a million digits": b'{"cells": [' + b"9" * MIB + b"]}",
    "keys": b"{" + b",".join(b'"%d":{}' % n for n in range(300_000)) + b"}",
}


@pytest.mark.parametrize("name", NOTEBOOK_BOMBS)
def test_a_notebook_that_is_none_is_refused_in_bounded_memory(name: str) -> None:
    def refused() -> None:
        with pytest.raises(HandInError):
            read_document("s02.ipynb", NOTEBOOK_BOMBS[name])

    assert peak(refused) < 200 * MIB


def zipped(**members: bytes) -> bytes:
    """A zip with these files."""
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return written.getvalue()


@given(CHANGES)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_changed_zip_is_read_or_refused(tmp_path: Path, changes: list[tuple[int, bytes, int]]) -> None:
    path = tmp_path / "ada.zip"
    path.write_bytes(
        changed(zipped(**{"x.py": b"a = 1\n" * 50, "y.py": b"b = 2\n", "deep/z.ipynb": b'{"cells": []}'}), changes)
    )
    documents, problems, _ = read_hand_in((path.name, path))
    assert all(isinstance(document.text, str) for document in documents)
    assert all(isinstance(problem, str) for problem in problems.values())
    assert [entry.name for entry in tmp_path.iterdir()] == ["ada.zip"]


def test_a_zip_that_unpacks_to_much_is_refused_in_bounded_memory(tmp_path: Path) -> None:
    path = tmp_path / "ada.zip"
    path.write_bytes(zipped(**{f"{n}.py": bytes(8 * MIB) for n in range(12)}))
    held = peak(lambda: read_hand_in((path.name, path)))
    assert read_hand_in((path.name, path))[1] != {} and held < 60 * MIB
