"""Lines, whole files, IDX, folders of images, digits."""

from __future__ import annotations

import gzip
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

import aidl_jax.data as data
from aidl_jax.errors import DataError

LINES = ["first", "", "a\tb", "fünf — 5", "x" * 3000, "  spaces  ", "no end"]


def texts(dataset: Any) -> list[Any]:
    return [line.item() for line in dataset]


@pytest.fixture
def poem(tmp_path: Path) -> Path:
    (tmp_path / "poem.txt").write_text("\n".join(LINES), encoding="utf-8")
    return tmp_path / "poem.txt"


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("packed", [True, False])
def test_lines_come_without_their_ends(tmp_path: Path, end: str, last: bool, packed: bool) -> None:
    raw = (end.join(LINES) + (end if last else "")).encode()
    (tmp_path / "file").write_bytes(gzip.compress(raw) if packed else raw)
    assert texts(data.text_lines(tmp_path / "file", compression="GZIP" if packed else None)) == LINES


def test_other_line_separators_stay_in_the_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a\u2028b\x0bc\rd\n\n", newline="")
    assert texts(data.text_lines(tmp_path / "file")) == ["a\u2028b\x0bc\rd", ""]


def test_lines_are_found_by_number(poem: Path) -> None:
    (poem.parent / "a.txt").write_text("one\ntwo\n")
    dataset = data.text_lines(f"{poem.parent}/*.txt")
    assert texts(dataset) == ["one", "two", *LINES] and len(dataset) == 9
    assert [dataset.element(i).item() for i in (8, 5, 0)] == ["no end", LINES[3], "one"]
    assert sorted(texts(dataset.shuffle())) == sorted(["one", "two", *LINES]) != texts(dataset.shuffle())
    assert (dataset.locate(3)[0].file, dataset.locate(3)[0].record) == (str(poem), 1)


@pytest.mark.parametrize("packed", [True, False])
def test_every_state_goes_on_where_it_stood(poem: Path, packed: bool) -> None:
    files = [poem, poem]
    if packed:
        files = [poem.with_suffix(".gz")] * 2
        files[0].write_bytes(gzip.compress(poem.read_bytes()))
    make = lambda: data.text_lines(files, compression="GZIP" if packed else None)  # noqa: E731
    iterator = make().iterate()
    for given in range(15):
        assert texts(make().iterate(json.loads(json.dumps(iterator.state())))) == (LINES * 2)[given:]
        next(iterator, None)


@pytest.mark.parametrize("packed", [True, False])
def test_a_line_in_another_encoding(tmp_path: Path, packed: bool) -> None:
    raw = "eins\nzwei\nfünf\n".encode("latin-1")
    (tmp_path / "file").write_bytes(gzip.compress(raw) if packed else raw)
    make = lambda **options: data.text_lines(tmp_path / "file", compression="GZIP" if packed else None, **options)  # noqa: E731
    assert texts(make(encoding="latin-1")) == ["eins", "zwei", "fünf"]
    iterator = iter(make())
    assert [next(iterator).item(), next(iterator).item()] == ["eins", "zwei"]
    with pytest.raises(
        DataError, match=r'file, line 2: a line is not utf-8: given byte 0xfc at byte 11.*encoding="latin-1"'
    ):
        next(iterator)


def test_encodings_without_newline_bytes() -> None:
    for encoding in ("utf-16", "utf-8-sig", "klingon"):
        with pytest.raises(
            DataError, match=f"lines cannot be read in this encoding: given '{encoding}', expected one in which"
        ):
            data.text_lines(__file__, encoding)


def test_a_file_of_lines_that_changes(poem: Path) -> None:
    dataset = data.text_lines(poem)
    assert len(dataset) == 7
    poem.write_text("fewer")
    with pytest.raises(
        DataError, match="the file has changed since it was first looked at: given 1 lines, expected 7, from line 0 on"
    ):
        next(iter(dataset.batch(7)))


def test_whole_files_come_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name in ("b", "a/z", "a/c", "B"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode() + b"\0")
    dataset = data.whole_files(f"{tmp_path}/**")
    assert [(Path(name.item()).name, text.item()) for name, text in dataset] == [
        ("B", b"B\0"), ("c", b"a/c\0"), ("z", b"a/z\0"), ("b", b"b\0"),
    ]  # fmt: skip
    assert str(dataset.locate(2)[0]) == f"{tmp_path}/a/z, epoch 0"
    (tmp_path / "b").unlink()
    with pytest.raises(DataError, match=f"the file cannot be opened: given {tmp_path}/b: No such file"):
        list(dataset)


def test_files_that_are_not_there(poem: Path) -> None:
    with pytest.raises(
        DataError, match=r"text_lines: there is no such file: given .*poem.text. Fix: did you mean 'poem.txt'\?"
    ):
        data.text_lines(poem.with_suffix(".text"))
    with pytest.raises(DataError, match=r"tfrecord: no file fits the pattern: given .*train-\*"):
        data.tfrecord(f"{poem.parent}/train-*")
    with pytest.raises(
        DataError, match=r"idx: there is no such file: .*the folder .*nowhere is not there: correct the path"
    ):
        data.idx("nowhere/file")
    with pytest.raises(
        DataError, match=r"whole_files: there is no file to read: given \[\]. Fix: name at least one file"
    ):
        data.whole_files([])


def written_idx(path: Path, array: np.ndarray) -> Path:
    code = {"uint8": 8, "int8": 9, "int16": 11, "int32": 12, "float32": 13, "float64": 14}[array.dtype.name]
    raw = (
        struct.pack(f">HBB{array.ndim}I", 0, code, array.ndim, *array.shape)
        + array.astype(array.dtype.newbyteorder(">")).tobytes()
    )
    path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)
    return path


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.float32])
@pytest.mark.parametrize("ending", ["", ".gz"])
def test_idx_files_hold_arrays(tmp_path: Path, dtype: Any, ending: str) -> None:
    array = np.arange(24).reshape(4, 3, 2).astype(dtype)
    dataset = data.idx(written_idx(tmp_path / f"images{ending}", array))
    (batch,) = dataset.batch(9)
    np.testing.assert_array_equal(batch, array)
    assert batch.dtype == dtype and batch.dtype.isnative
    assert str(dataset.locate(2)[0]) == f"{tmp_path}/images{ending}, record 2, epoch 0"


def test_idx_files_that_are_none(tmp_path: Path) -> None:
    file = written_idx(tmp_path / "images", np.zeros((2, 3), np.uint8))
    raw = file.read_bytes()
    file.write_bytes(raw[:-1])
    with pytest.raises(
        DataError,
        match=r"images: the file has not as many bytes as its sizes say: given 17, expected 18 for \[2, 3\] of uint8",
    ):
        data.idx(file)
    for wrong in (b"", b"\0\0", gzip.compress(raw)):
        file.write_bytes(wrong)
        with pytest.raises(DataError, match=r"images: this is no IDX file: given the first bytes .*must be named .gz"):
            data.idx(file)
    (tmp_path / "cut.gz").write_bytes(gzip.compress(raw)[:-4])
    with pytest.raises(DataError, match=r"cut\.gz: the file is no whole GZIP file"):
        data.idx(tmp_path / "cut.gz")
    with pytest.raises(DataError, match="the file holds one number and no rows"):
        data.idx(written_idx(tmp_path / "one", np.array(3, np.uint8)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("n02/b.JPEG", "n01/z.jpg", "n02/a.png", "n02/notes.txt", "n10/c.jpeg"):
        (tmp_path / "train" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "train" / name).write_bytes(name.encode())
    return tmp_path / "train"


def test_image_folders_number_their_classes_by_name(folder: Path) -> None:
    dataset = data.image_folder(folder)
    pairs = [(image.item().decode(), int(label)) for image, label in dataset]
    assert pairs == [("n01/z.jpg", 0), ("n02/a.png", 1), ("n02/b.JPEG", 1), ("n10/c.jpeg", 2)]
    assert data.image_classes(folder) == ["n01", "n02", "n10"]
    assert next(iter(dataset))[1].dtype == np.int32
    assert dataset.locate(3)[0].file == str(folder / "n10" / "c.jpeg")


def test_images_alone_take_their_labels_in_order(folder: Path) -> None:
    dataset = data.image_folder(folder / "n02", labels=[7, 5])
    assert [(image.item(), int(label)) for image, label in dataset] == [(b"n02/a.png", 7), (b"n02/b.JPEG", 5)]
    with pytest.raises(
        DataError, match="there must be one label for each image: given 3 labels, int64, expected 2 whole numbers"
    ):
        data.image_folder(folder / "n02", labels=[1, 2, 3])


def test_folders_that_are_no_image_folders(folder: Path) -> None:
    with pytest.raises(
        DataError,
        match=r"there are no images in the folder: expected .*imagenet/train; .*image_folder\(root, labels=...\)",
    ):
        data.image_folder(folder / "n02")
    (folder / "n03").mkdir()
    with pytest.raises(DataError, match=f"{folder}/n03: a class has no images: expected .*each folder is a class"):
        data.image_folder(folder)
    with pytest.raises(DataError, match="image_folder: the folder cannot be read: given nowhere: No such file"):
        data.image_folder("nowhere")


def test_digits_are_scikit_learns() -> None:
    images, labels = next(iter(data.digits().batch(2000)))
    np.testing.assert_array_equal(images, load_digits().images)
    np.testing.assert_array_equal(labels, load_digits().target)
    assert images.dtype == np.uint8 and labels.dtype == np.int32 and len(labels) == 1797


def test_heavy_records_are_read_a_few_at_a_time(tmp_path: Path) -> None:
    data.write_tfrecord(tmp_path / "heavy", [bytes(2**20)] * 3)
    assert "at once   7 elements" in data.tfrecord(tmp_path / "heavy").explain()
