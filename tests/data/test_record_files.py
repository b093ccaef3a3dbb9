"""TFRecord files: those that TensorFlow wrote, ours, and what is wrong with some."""

from __future__ import annotations

import gzip
import json
import zlib
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import aidl_jax.data as data
from aidl_jax.data.record_files import index_of, index_path, masked_crc
from aidl_jax.errors import DataError

FIXTURES = Path(__file__).parent / "fixtures"
RECORDS = [b"", b"one", b"two\0", b"x" * 1000, bytes(range(256)), b"\0", b"last"]


def contents(dataset: Any) -> list[bytes]:
    return [record.item() for record in dataset]


@pytest.fixture
def written(tmp_path: Path) -> Path:
    data.write_tfrecord(tmp_path / "some.tfrecord", RECORDS)
    return tmp_path / "some.tfrecord"


def test_the_crc_is_that_of_a_table() -> None:
    """CRC-32C bit by bit, with the reflected polynomial 0x82F63B78."""
    for text in RECORDS:
        crc = 0xFFFFFFFF
        for byte in text:
            crc ^= byte
            for _ in range(8):
                crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
        crc ^= 0xFFFFFFFF
        assert masked_crc(text) == ((crc >> 15 | crc << 17 & 0xFFFFFFFF) + 0xA282EAD8) % 2**32


def test_what_tensorflow_wrote_is_read_and_written_again_byte_for_byte(tmp_path: Path) -> None:
    records = contents(data.tfrecord(FIXTURES / "tensorflow.tfrecord"))
    assert len(records) == 6 and all(b"weights" in record for record in records)
    data.write_tfrecord(tmp_path / "again", records)
    assert (tmp_path / "again").read_bytes() == (FIXTURES / "tensorflow.tfrecord").read_bytes()
    for kind in ("GZIP", "ZLIB"):
        assert contents(data.tfrecord(FIXTURES / f"tensorflow_{kind.lower()}.tfrecord", kind)) == records


@pytest.mark.parametrize("compression", [None, "GZIP", "ZLIB"])
def test_records_come_back(tmp_path: Path, compression: Any) -> None:
    assert data.write_tfrecord(tmp_path / "file", RECORDS, compression) == len(RECORDS)
    assert contents(data.tfrecord(tmp_path / "file", compression)) == RECORDS
    raw = (tmp_path / "file").read_bytes()
    unpacked = {None: bytes, "GZIP": gzip.decompress, "ZLIB": zlib.decompress}[compression](raw)
    assert len(unpacked) == sum(len(record) + 16 for record in RECORDS)
    assert sorted(path.name for path in tmp_path.iterdir()) == ([".file.index.npy"] if not compression else []) + [
        "file"
    ]


@pytest.mark.parametrize("keep_index", [True, False])
def test_records_are_found_by_number(written: Path, keep_index: bool) -> None:
    if not keep_index:
        index_path(written).unlink()
    other = written.with_name("other")
    data.write_tfrecord(other, [b"a", b"b"])
    dataset = data.tfrecord([written, other])
    assert len(dataset) == 9 and [dataset.element(i).item() for i in (8, 0, 3, 7)] == [b"b", b"", RECORDS[3], b"a"]
    assert [(Path(one.file).name, one.record) for one in dataset.skip(6).batch(2).locate(0)] == [
        ("some.tfrecord", 6),
        ("other", 0),
    ]
    assert str(dataset.locate(8)[0]) == f"{other}, record 1, epoch 0"
    assert (
        sorted(contents(dataset.shuffle(seed=3))) == sorted([*RECORDS, b"a", b"b"]) != contents(dataset.shuffle(seed=3))
    )
    assert contents(dataset.shard(2, 1)) == [*RECORDS, b"a", b"b"][1::2]
    assert index_path(written).exists() == keep_index


def test_an_index_that_is_kept_is_the_one_that_is_found(written: Path) -> None:
    kept = index_of(written)
    index_path(written).unlink()
    np.testing.assert_array_equal(index_of(written), kept)
    assert data.write_tfrecord_index(written) == index_path(written)
    np.testing.assert_array_equal(np.load(index_path(written)), kept)


def test_shards_are_interleaved(tmp_path: Path) -> None:
    names = [tmp_path / f"train-{shard}" for shard in range(3)]
    for shard, name in enumerate(names):
        data.write_tfrecord(name, [b"%d%d" % (shard, one) for one in range(shard + 1)], "GZIP" if shard == 2 else None)
    assert contents(data.tfrecord(str(tmp_path / "train-[01]"))) == [b"00", b"10", b"11"]
    files = data.from_tensor_slices(np.array([str(name) for name in names]))
    mixed = files.interleave(
        lambda name: data.tfrecord(name.item(), "GZIP" if name.item().endswith("-2") else None), cycle_length=3
    )
    assert contents(mixed) == [b"00", b"10", b"20", b"11", b"21", b"22"]


@pytest.mark.parametrize("compression", [None, "GZIP", "ZLIB"])
def test_every_state_goes_on_where_it_stood(tmp_path: Path, compression: Any) -> None:
    files = [tmp_path / "a", tmp_path / "b"]
    for number, file in enumerate(files):
        data.write_tfrecord(file, RECORDS[3 * number :], compression)
    whole = contents(data.tfrecord(files, compression))
    iterator = data.tfrecord(files, compression).iterate()
    for given in range(len(whole) + 1):
        state = json.loads(json.dumps(iterator.state()))
        assert contents(data.tfrecord(files, compression).iterate(state)) == whole[given:]
        next(iterator, None)


def test_several_members_of_a_gzip_file_are_one(tmp_path: Path) -> None:
    parts = [tmp_path / "a", tmp_path / "b"]
    for number, part in enumerate(parts):
        data.write_tfrecord(part, RECORDS[number::2], "GZIP")
    (tmp_path / "both").write_bytes(b"".join(part.read_bytes() for part in parts))
    assert contents(data.tfrecord(tmp_path / "both", "GZIP")) == RECORDS[::2] + RECORDS[1::2]


def damage(path: Path, at: int) -> None:
    raw = bytearray(path.read_bytes())
    raw[at] ^= 1
    path.write_bytes(raw)


def test_damaged_data_are_told_after_what_stands_before(written: Path) -> None:
    start = int(index_of(written)[3])
    damage(written, start + 500)
    iterator = iter(data.tfrecord(written))
    assert [next(iterator).item() for _ in range(3)] == RECORDS[:3]
    place = rf"{written}, record 3, byte {start}: the data of a record are damaged: their CRC does not match: given 0x\w+, expected 0x\w+"
    for _ in range(2):
        with pytest.raises(DataError, match=f"{place}.*write or fetch the file again"):
            next(iterator)
    with pytest.raises(DataError, match=place):
        list(data.tfrecord(written).batch(3))
    assert contents(data.tfrecord(written).skip(4)) == RECORDS[4:]


@pytest.mark.parametrize("keep_index", [True, False])
def test_a_damaged_header(written: Path, keep_index: bool) -> None:
    start = int(index_of(written)[2])
    damage(written, start)
    if not keep_index:
        index_path(written).unlink()
    text = (
        rf"{written}, record 2, byte {start}: the header of a record is damaged: its CRC does not match.*write or fetch"
    )
    with pytest.raises(DataError, match=text):
        contents(data.tfrecord(written))


@pytest.mark.parametrize("left", [1, 11, 13])
def test_a_record_that_is_cut_off(written: Path, left: int) -> None:
    start = int(index_of(written)[6])
    written.write_bytes(written.read_bytes()[: start + left])
    index_path(written).unlink()
    text = rf"record 6, byte {start}: a record is cut off: given {left} bytes to the end of the file, expected .*its first 6 records are whole"
    with pytest.raises(DataError, match=text):
        len(data.tfrecord(written))


def test_an_index_of_another_file(written: Path) -> None:
    index, wrong = index_of(written), index_of(written).copy()
    wrong[1] += 1
    np.save(index_path(written), wrong)
    with pytest.raises(
        DataError, match=r"record 0, byte 0: the index is not this file's: given .* expected 0.*write_tfrecord_index"
    ):
        contents(data.tfrecord(written))
    for other, told in (
        (index[:-1], r"one for [\d,]+ bytes"),
        (index[[0, 2, 1, 3, -1]], "one with records that overlap"),
    ):
        np.save(index_path(written), other)
        text = rf"the index is not this file's: given {told}, expected {index[-1]:,} bytes in records of 16 or more. Fix: remove .*index.npy"
        with pytest.raises(DataError, match=text):
            contents(data.tfrecord(written))


def test_a_file_that_becomes_shorter_or_goes_away(written: Path) -> None:
    dataset = data.tfrecord(written)
    assert len(dataset) == 7
    raw = written.read_bytes()
    written.write_bytes(raw[:-1])
    with pytest.raises(DataError, match=f"the file has become shorter: given {len(raw) - 1:,} bytes. Fix: begin anew"):
        contents(dataset)
    written.unlink()
    with pytest.raises(DataError, match=r"the file cannot be opened: given .*No such file"):
        contents(dataset)


@pytest.mark.parametrize("compression", ["GZIP", "ZLIB"])
def test_compressed_files_that_are_not_whole(tmp_path: Path, compression: Any) -> None:
    file = tmp_path / "file"
    data.write_tfrecord(file, RECORDS, compression)
    raw = file.read_bytes()
    file.write_bytes(raw[:-3])
    with pytest.raises(
        DataError, match=f"the file is no whole {compression} file: given it ends at byte {len(raw) - 3}, within"
    ):
        contents(data.tfrecord(file, compression))
    file.write_bytes(b"plain text")
    with pytest.raises(DataError, match=f"no whole {compression} file: given Error .*compression=None is for"):
        contents(data.tfrecord(file, compression))


def test_records_within_a_compressed_file_that_are_not_whole(tmp_path: Path, written: Path) -> None:
    raw, start = written.read_bytes(), int(index_of(written)[3])
    bad = tmp_path / "bad.gz"
    bad.write_bytes(gzip.compress(raw[: start + 100]))
    with pytest.raises(DataError, match=rf"record 3, byte {start}: a record is cut off: given 100 bytes"):
        contents(data.tfrecord(bad, "GZIP"))
    changed = bytearray(raw)
    changed[start + 100] ^= 1
    bad.write_bytes(gzip.compress(bytes(changed)))
    iterator = iter(data.tfrecord(bad, "GZIP"))
    assert [next(iterator).item() for _ in range(3)] == RECORDS[:3]
    for _ in range(2):
        with pytest.raises(DataError, match=rf"bad.gz, record 3, byte {start}: the data of a record are damaged"):
            next(iterator)


def test_a_compressed_file_that_is_read_as_a_plain_one() -> None:
    with pytest.raises(
        DataError, match=r'header of a record is damaged.*compressed: tfrecord\(..., compression="GZIP"\)'
    ):
        contents(data.tfrecord(FIXTURES / "tensorflow_gzip.tfrecord"))


def test_what_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"record 1 of .*file: a record is bytes: given a str. Fix: build_example"):
        data.write_tfrecord(tmp_path / "file", [b"a", "b"])  # type: ignore[list-item]
    with pytest.raises(DataError, match="there is no such compression: given 'BZIP', expected None"):
        data.write_tfrecord(tmp_path / "file", [], "BZIP")  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_a_state_behind_the_end_of_a_file(tmp_path: Path) -> None:
    data.write_tfrecord(tmp_path / "file", RECORDS, "GZIP")
    iterator = data.tfrecord(tmp_path / "file", "GZIP").iterate()
    for _ in RECORDS:
        next(iterator)
    data.write_tfrecord(tmp_path / "file", RECORDS[:2], "GZIP")
    with pytest.raises(DataError, match="the file ends before the place that the state was saved at: given 35 bytes"):
        list(data.tfrecord(tmp_path / "file", "GZIP").iterate(iterator.state()))


def test_no_record_is_no_element(tmp_path: Path) -> None:
    for compression in (None, "ZLIB"):
        data.write_tfrecord(tmp_path / "empty", [], compression)  # type: ignore[arg-type]
        assert contents(data.tfrecord(tmp_path / "empty", compression)) == []  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("compression", [None, "GZIP", "ZLIB"])
def test_tensorflow_reads_ours(tmp_path: Path, compression: Any) -> None:
    tensorflow = pytest.importorskip("tensorflow", exc_type=ImportError)
    records = [data.build_example({"x": np.arange(n, dtype=np.float32), "n": n, "words": ["a"] * n}) for n in range(5)]
    data.write_tfrecord(tmp_path / "file", records, compression)
    found = list(tensorflow.data.TFRecordDataset(str(tmp_path / "file"), compression or "").as_numpy_iterator())
    assert found == records
    for n, record in enumerate(found):
        features = tensorflow.train.Example.FromString(record).features.feature
        assert list(features["x"].float_list.value) == list(range(n)) and list(features["n"].int64_list.value) == [n]
        assert list(features["words"].bytes_list.value) == [b"a"] * n


def test_a_damaged_record_among_many_of_one_length(tmp_path: Path) -> None:
    file = tmp_path / "many"
    data.write_tfrecord(file, [f"{number:0100}".encode() for number in range(200)])
    contents = bytearray(file.read_bytes())
    contents[57 * 116 + 50] ^= 1
    file.write_bytes(contents)
    with pytest.raises(DataError, match="the data of a record are damaged") as raised:
        list(data.tfrecord(file).batch(50))
    assert raised.value.where == f"{file}, record 57, byte {57 * 116}"


def test_memory_that_is_used_again_changes_nothing_that_is_held(tmp_path: Path) -> None:
    """Blocks of 8 MB: the memory of the first is used for the third."""
    spec, count = {"image": jax.ShapeDtypeStruct((4_000,), np.uint8)}, 10_000
    examples = [data.build_example({"image": number.to_bytes(4, "little") * 1_000}) for number in range(count)]
    data.write_tfrecord(tmp_path / "large", examples)
    records = data.tfrecord(tmp_path / "large")
    assert [one.item() for one in records] == examples
    held = [element["image"] for element in records.apply(data.parse_example(spec))]
    assert [int(image.view("<u4")[0]) for image in held] == list(range(count))
    assert all((image.view("<u4") == number).all() for number, image in enumerate(held))
