"""CRCs of many records at once, against one after another."""

from __future__ import annotations

import google_crc32c
import numpy as np
import pytest

from aidl_jax.data import crc
from aidl_jax.data.packed import pack


def records_of(count: int, length: int) -> list[bytes]:
    random = np.random.default_rng(count * 1_000 + length)
    return [random.bytes(length) for _ in range(count)]


@pytest.mark.parametrize("length", [0, 1, 3, 8, 255, 256, 1_000, 70_000])
@pytest.mark.parametrize("count", [1, 2, 3, 5, 8, 33])
def test_the_crc_of_a_whole_follows_from_those_of_its_parts(count: int, length: int) -> None:
    records = records_of(count, length)
    crcs = np.array([google_crc32c.value(record) for record in records], np.uint32)
    assert crc.joined_crc(crcs, length) == google_crc32c.value(b"".join(records))


def test_many_records_that_are_whole_are_not_looked_at_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    records = records_of(200, 5_000)
    crcs = np.array([google_crc32c.value(record) for record in records], np.uint32)
    monkeypatch.delattr(crc, "crcs_of")
    assert crc.have_crcs(pack(records), crcs).all()


def test_damaged_records_of_nothing_do_not_hide_one_another() -> None:
    crcs = np.zeros(100, np.uint32)
    crcs[[3, 9]] = 1
    assert np.flatnonzero(~crc.have_crcs(pack([b""] * 100), crcs)).tolist() == [3, 9]


@pytest.mark.parametrize("lengths", ["one length", "several lengths"])
@pytest.mark.parametrize("count", [3, 100])
def test_each_damaged_record_is_found(count: int, lengths: str) -> None:
    records = records_of(count, 300)
    records[0] += b"more" if lengths == "several lengths" else b""
    crcs = np.array([google_crc32c.value(record) for record in records], np.uint32)
    assert crc.have_crcs(pack(records), crcs).all()
    for number in (0, count // 2, count - 1):
        changed = crcs.copy()
        changed[number] ^= 1 << 31
        assert np.flatnonzero(~crc.have_crcs(pack(records), changed)).tolist() == [number]
        flipped = [*records]
        flipped[number] = bytes([records[number][0] ^ 1]) + records[number][1:]
        assert np.flatnonzero(~crc.have_crcs(pack(flipped), crcs)).tolist() == [number]
    exchanged = [records[1], records[0], *records[2:]]
    assert np.flatnonzero(~crc.have_crcs(pack(exchanged), crcs)).tolist() == [0, 1]


def test_masks_come_off_again() -> None:
    crcs = np.random.default_rng(0).integers(0, 2**32, 1_000, np.uint32)
    assert (crc.unmasked(crc.masked(crcs)) == crcs).all() and (crc.masked(crcs) != crcs).all()
