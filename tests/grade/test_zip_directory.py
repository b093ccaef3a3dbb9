"""A zip's list of files is bounded before `zipfile` reads it."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from aidl_jax.errors import HandInError
from aidl_jax.grade.handin import MAX_FILES, read_hand_in
from aidl_jax.grade.zip_directory import announced, refuse_long_directory


def zipped(count: int, comment: bytes = b"", large: bool = False) -> bytes:
    """A zip of empty files, by the standard library; `large` has it write the records of ZIP64."""
    buffer = io.BytesIO()
    with pytest.MonkeyPatch.context() as patch, zipfile.ZipFile(buffer, "w") as archive:
        patch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 0 if large else zipfile.ZIP_FILECOUNT_LIMIT)
        for number in range(count):
            archive.writestr(f"{number:03}.py", "")
        archive.comment = comment
        archive.close()
    return buffer.getvalue()


EACH = 46 + len("000.py")


@pytest.mark.parametrize("comment", [b"", b"a comment", b"\0", b"PK\5\6", b"x" * 65535])
@pytest.mark.parametrize("large", [False, True])
def test_what_a_zip_announces(comment: bytes, large: bool) -> None:
    data = zipped(3, comment, large)
    assert (b"PK\6\6" in data) == large
    said = list(announced(io.BytesIO(data)))
    if comment != b"PK\5\6":  # there `zipfile` finds no list either
        assert set(said) == {(3, 3 * EACH)}
        assert len(zipfile.ZipFile(io.BytesIO(data)).infolist()) == 3
    assert list(announced(io.BytesIO(b"before" + data))) != [] or comment == b"PK\5\6"


@pytest.mark.parametrize("data", [b"", b"PK", b"PK\5\6", b"PK\5\6" + bytes(17), bytes(22), b"x" * 100_000])
def test_what_is_no_zip_announces_nothing(data: bytes) -> None:
    assert list(announced(io.BytesIO(data))) == []


def test_a_list_that_is_too_long() -> None:
    refuse_long_directory("a.zip", io.BytesIO(zipped(3)), 3)
    with pytest.raises(HandInError) as error:
        refuse_long_directory("a.zip", io.BytesIO(zipped(3)), 2)
    assert str(error.value) == (
        "a.zip: the zip's list of files is too long: given 3 files in 156 bytes, expected at most 2 files in 512 bytes. "
        "Fix: make the zip anew, with the answers alone in it"
    )


def test_the_short_record_may_point_to_the_long_one() -> None:
    data = bytearray(zipped(3, large=True))
    struct.pack_into("<2H2L", data, data.rindex(b"PK\5\6") + 8, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF)
    assert len(zipfile.ZipFile(io.BytesIO(data)).infolist()) == 3
    refuse_long_directory("a.zip", io.BytesIO(data), 3)
    with pytest.raises(HandInError):  # where there is no long one
        refuse_long_directory("a.zip", io.BytesIO(data[data.rindex(b"PK\5\6") :]), 3)


def longer_list(data: bytearray) -> None:
    """Says the list is as long as the file, of one entry."""
    end = data.rindex(b"PK\5\6")
    struct.pack_into("<2HL", data, end + 8, 1, 1, end)


def longer_list_of_zip64(data: bytearray) -> None:
    end = data.rindex(b"PK\6\6")
    struct.pack_into("<3Q", data, end + 24, 1, 1, end)


@pytest.mark.parametrize(("large", "lie"), [(False, longer_list), (True, longer_list_of_zip64)])
def test_what_is_too_long_is_not_read(tmp_path: Path, large: bool, lie: Callable[[bytearray], None]) -> None:
    data = bytearray(16 << 20) + zipped(1, large=large)
    lie(data)
    (tmp_path / "a.zip").write_bytes(data)
    tracemalloc.start()
    try:
        documents, problems, _ = read_hand_in(("a.zip", tmp_path / "a.zip"))
        held = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert documents == []
    assert problems["a.zip"].startswith("the zip's list of files is too long: given 1 files in 16,777,")
    assert f"expected at most {MAX_FILES} files in 128,000 bytes" in problems["a.zip"]
    assert held < 1 << 20
