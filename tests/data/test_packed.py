"""Records in one stretch of bytes, against a list of bytes."""

from __future__ import annotations

import numpy as np
import pytest

from aidl_jax.data.packed import Packed, pack

RECORDS = {
    "none": [],
    "one": [b"abc"],
    "one of nothing": [b""],
    "of one length": [b"abc", b"def", b"ghi"],
    "of nothing": [b"", b"", b""],
    "of several lengths": [b"a", b"", b"abcdef", b"bc"],
}


def spaced(records: list[bytes]) -> Packed:
    """With two bytes before each and one behind, in memory that is no `bytes`."""
    whole = pack([b"<<" + record + b">" for record in records])
    return Packed(np.frombuffer(whole.data, np.uint8), whole.begins + 2, whole.ends - 1)


@pytest.mark.parametrize("make", [pack, spaced])
@pytest.mark.parametrize("name", RECORDS)
def test_records_come_back(name: str, make: object) -> None:
    records = RECORDS[name]
    packed = make(records)  # type: ignore[operator]
    assert len(packed) == len(records) and packed.listed() == list(packed) == records
    assert [packed[number] for number in range(len(records))] == records
    assert packed.columns(1, 3).only(np.array([len(one) >= 3 for one in records], bool)).listed() == [
        one[1:3] for one in records if len(one) >= 3
    ]


@pytest.mark.parametrize("make", [pack, spaced])
@pytest.mark.parametrize("name", ["none", "one", "one of nothing", "of one length", "of nothing"])
def test_records_of_one_length_are_an_array(name: str, make: object) -> None:
    records = RECORDS[name]
    block = make(records).block()  # type: ignore[operator]
    assert block.dtype == np.uint8 and not block.flags.writeable
    assert [row.tobytes() for row in block] == records


def test_records_in_any_order_are_an_array() -> None:
    packed = spaced([bytes([number]) * 5 for number in range(6)])
    for order in ([5, 4, 3, 2, 1, 0], [0, 1, 3], [2, 2, 2], [1, 3, 5], [0, 2, 1, 3]):
        some = packed.only(np.array(order))
        assert some.block()[:, 0].tolist() == order and [one[0] for one in some.listed()] == order
