"""`tf.train.Example` as bytes, in protobuf's wire format: written, and taken apart into where its values stand.

An Example holds one message of Features (field 1), that holds entries (field 1) of a key (1) and a Feature (2), which is a list of
bytes (1), floats (2) or int64 (3); the list's values are its field 1, numbers usually packed into one stretch. A field begins with a
tag, number * 8 + wire type; wire types are 0 for a varint, 1 for 8 bytes, 2 for a length and so many bytes, 5 for 4 bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["BYTES", "FLOATS", "INTS", "KINDS", "MalformedError", "Values", "field", "values_of", "varint"]

BYTES, FLOATS, INTS = 1, 2, 3
KINDS = {BYTES: "bytes", FLOATS: "floats", INTS: "int64"}


class MalformedError(ValueError):
    """Bytes that are no Example; it says which byte."""


class Values(NamedTuple):
    """The values of one feature.

    Attributes:
        kind: BYTES, FLOATS, INTS, or 0 for an empty Feature.
        spans: where they stand, each (start, stop): one of a bytes list's values, or any number of numbers.
    """

    kind: int
    spans: list[tuple[int, int]]


def varint(number: int) -> bytes:
    """A whole number of at least 0 in groups of seven bits, the lowest first; all but the last have the highest bit set.

    >>> varint(300).hex()
    'ac02'
    """
    groups = []
    while number > 127:
        groups.append(number & 127 | 128)
        number >>= 7
    return bytes([*groups, number])


def field(number: int, data: bytes) -> bytes:
    """A field of bytes."""
    return b"".join([varint(number * 8 + 2), varint(len(data)), data])


def values_of(record: bytes) -> dict[str, Values]:
    """Where the values of an Example's features stand, by the features' names; of entries with one name the last counts.

    Raises:
        MalformedError: these bytes are no Example.
    """
    found: dict[str, Values] = {}
    for number, start, stop, _ in _fields(record, 0, len(record)):
        if number == 1:
            for inner, begin, end, _ in _fields(record, start, stop):
                if inner == 1:
                    name, values = _entry(record, begin, end)
                    found[name] = values
    return found


def _entry(record: bytes, start: int, stop: int) -> tuple[str, Values]:
    name, values = "", Values(0, [])
    for number, begin, end, _ in _fields(record, start, stop):
        if number == 1:
            try:
                name = record[begin:end].decode()
            except UnicodeDecodeError:
                raise MalformedError(f"a feature's name at byte {begin} is no text") from None
        elif number == 2:
            values = _feature(record, begin, end)
    return name, values


def _feature(record: bytes, start: int, stop: int) -> Values:
    values = Values(0, [])
    for kind, begin, end, _ in _fields(record, start, stop):
        if kind in KINDS:
            values = Values(kind, [(a, b) for number, a, b, _ in _fields(record, begin, end, kind) if number == 1])
    return values


def _fields(record: bytes, at: int, stop: int, kind: int = 0) -> Iterator[tuple[int, int, int, int]]:
    """The fields between two places: number, where the value begins and ends, wire type; of a list's values the type is checked."""
    while at < stop:
        start = at
        tag, at = _varint_at(record, at, stop) if record[at] > 127 else (record[at], at + 1)
        wire = tag & 7
        if wire == 2:
            short = at < stop and record[at] < 128
            length, at = (record[at], at + 1) if short else _varint_at(record, at, stop)
            end = at + length
        elif wire == 0:
            end = _varint_at(record, at, stop)[1]
        elif wire in (1, 5):
            end = at + (8 if wire == 1 else 4)
        else:
            raise MalformedError(f"no field begins at byte {start}")
        if end > stop:
            raise MalformedError(f"the field at byte {start} ends at byte {end}, behind byte {stop}")
        if wire not in _WIRES[kind] or tag < 8 or (kind == FLOATS and (end - at) % 4):
            raise MalformedError(f"the field at byte {start} is none of an Example's")
        yield tag >> 3, at, end, wire
        at = end


_WIRES = {0: {0, 1, 2, 5}, BYTES: {2}, FLOATS: {2, 5}, INTS: {2, 0}}


def _varint_at(record: bytes, at: int, stop: int) -> tuple[int, int]:
    """A varint and where it ends."""
    number = shift = 0
    while at < stop and shift < 70:
        byte = record[at]
        number |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return number, at
    raise MalformedError(f"a number that does not end begins before byte {at}")
