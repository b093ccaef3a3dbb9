"""The values of declared features, in groups of Examples that have one layout."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import jax
import numpy as np

from aidl_jax.data.elements import tell_spec
from aidl_jax.data.example_layout import Layout, columns_of, layout_of
from aidl_jax.data.file_stages import objects
from aidl_jax.data.packed import Packed
from aidl_jax.data.wire import BYTES, FLOATS, INTS, KINDS, MalformedError, Values
from aidl_jax.errors import DataError, close_matches

__all__ = ["KIND_OF", "Group", "grouped", "values_in"]

MANY = 4  # so many records of one length, and it is worth looking whether they have one layout
KIND_OF = {"float32": FLOATS, "int64": INTS, "int32": INTS, "uint8": BYTES, "object": BYTES}
DTYPE_OF = {BYTES: "object", FLOATS: "np.float32", INTS: "np.int64"}


@dataclass(frozen=True)
class Group:
    """Records of one layout.

    Attributes:
        records: their bytes.
        block: the same as an array, uint8 [n, bytes].
        layout: where their values stand.
        numbers: which of all records they are, int64 [n].
        where: from such a number to where the record comes from.
    """

    records: Packed
    block: np.ndarray
    layout: Layout
    numbers: np.ndarray
    where: Callable[[int], str]

    def place(self, row: int = 0) -> str:
        """Where one of them comes from."""
        return self.where(int(self.numbers[row]))


def grouped(records: Packed, numbers: np.ndarray, where: Callable[[int], str]) -> Iterator[Group]:
    """All records, in groups of one layout.

    Args:
        records: their bytes.
        numbers: which of all records they are, int64 [n].
        where: from such a number to where the record comes from.

    Raises:
        DataError: one is no Example.
    """
    lengths = records.ends - records.begins
    if (lengths == lengths[:1]).all():
        yield from _groups_of(records, numbers, where)
        return
    order = np.argsort(lengths, kind="stable")
    for same in np.split(order, np.flatnonzero(np.diff(lengths[order])) + 1):
        yield from _groups_of(records.only(same), numbers[same], where)


def _groups_of(records: Packed, numbers: np.ndarray, where: Callable[[int], str]) -> Iterator[Group]:
    """Records of one length; where hardly any two have one layout they are taken one by one."""
    look = len(records) >= MANY
    while len(records):
        some = records if look else records.only(slice(1))
        layout = _layout(some[0], int(numbers[0]), where)
        block = some.block()
        fits = layout.fits(block) if len(some) > 1 else np.ones(1, bool)
        rest: slice | np.ndarray = slice(len(some), None)
        if fits.all():
            yield Group(some, block, layout, numbers[: len(some)], where)
        else:
            yield Group(some.only(fits), block[fits], layout, numbers[fits], where)
            look = 4 * int(fits.sum()) >= len(records)
            rest = ~fits
        records, numbers = records.only(rest), numbers[rest]


def _layout(record: bytes, number: int, where: Callable[[int], str]) -> Layout:
    try:
        return layout_of(record)
    except MalformedError as error:
        raise DataError(
            "a record is no tf.train.Example",
            given=str(error),
            where=where(number),
            fix="write records with build_example, or read them without parse_example",
        ) from None


def values_in(group: Group, name: str, spec: jax.ShapeDtypeStruct, default: np.ndarray | None) -> np.ndarray:
    """A feature of a group, as declared: [n, ...].

    Raises:
        DataError: they lack it and there is no default; it is of another kind or has another number of values; a number does not fit.
    """
    values = group.layout.features.get(name)
    if values is None or not values.kind or (not values.spans and default is not None):
        return _filled(group, name, spec, values, default)
    if values.kind != KIND_OF[np.dtype(spec.dtype).name]:
        raise DataError(
            f"feature {name!r} is of another kind than declared",
            given=KINDS[values.kind],
            expected=tell_spec(spec),
            where=group.place(),
            fix=f"declare it as {DTYPE_OF[values.kind]}",
        )
    if values.kind == BYTES:
        return _shaped(group, name, spec, _bytes(group, name, spec, values))
    found = columns_of(group.block, values)
    return _shaped(group, name, spec, _narrowed(group, name, found) if spec.dtype == np.int32 else found)


def _filled(
    group: Group, name: str, spec: jax.ShapeDtypeStruct, values: Values | None, default: np.ndarray | None
) -> np.ndarray:
    """The default, or no values where that is what is declared."""
    count = len(group.records)
    if default is not None:
        return np.broadcast_to(default, (count, *default.shape))
    if None in spec.shape or (values is not None and 0 in spec.shape):
        return np.zeros((count, *(size or 0 for size in spec.shape)), spec.dtype)
    features = group.layout.features
    raise DataError(
        f"a record lacks the feature {name!r}",
        given=", ".join(map(repr, sorted(features))) or "none",
        where=group.place(),
        fix=f"{close_matches(name, features)} Or give it a default: parse_example(..., defaults={{{name!r}: ...}})",
    )


def _bytes(group: Group, name: str, spec: jax.ShapeDtypeStruct, values: Values) -> np.ndarray:
    """Bytes as objects [n, values], or one value's as uint8 [n, bytes]."""
    if spec.dtype != np.uint8:
        columns = [objects(list(group.records.columns(*span))) for span in values.spans]
        return np.stack(columns, axis=1) if columns else np.empty((len(group.records), 0), object)
    if len(values.spans) != 1:
        given = f"{len(values.spans)} values of bytes"
        raise _other_count(group, name, given, "one value, the bytes of the array")
    ((start, stop),) = values.spans
    return group.block[:, start:stop]


def _narrowed(group: Group, name: str, found: np.ndarray) -> np.ndarray:
    bad = np.argwhere((found < -(2**31)) | (found >= 2**31))
    if len(bad):
        row, column = bad[0].tolist()
        raise DataError(
            f"a number of feature {name!r} does not fit into int32",
            given=str(found[row, column]),
            where=group.place(row),
            fix="declare it as np.int64",
        )
    return found.astype(np.int32)


def _shaped(group: Group, name: str, spec: jax.ShapeDtypeStruct, found: np.ndarray) -> np.ndarray:
    """Values [n, m] in the declared shape."""
    each = math.prod(size for size in spec.shape if size is not None)
    count, varies = found.shape[1], None in spec.shape
    fits = count == (count // each * each if each else 0) if varies else count == each
    if not fits:
        expected = f"{each}{' or a multiple' if varies else ''} for {tell_spec(spec)}"
        raise _other_count(group, name, str(count), expected)
    first = count // max(each, 1)
    return found.reshape(len(found), *(first if size is None else size for size in spec.shape))


def _other_count(group: Group, name: str, given: str, expected: str) -> DataError:
    return DataError(
        f"feature {name!r} has another number of values than declared",
        given=given,
        expected=expected,
        where=group.place(),
        fix="declare the shape that it has; a first dimension of None is for lists of any length",
    )
