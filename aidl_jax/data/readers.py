"""Datasets that begin in files: lines, whole files, TFRecords, IDX, folders of images; and scikit-learn's digits."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from aidl_jax.data.beginning import from_tensor_slices
from aidl_jax.data.dataset import Dataset
from aidl_jax.data.file_paths import Paths, files_of, told_paths
from aidl_jax.data.file_stages import FileParts, Streamed, WholeFiles
from aidl_jax.data.idx_files import IdxRows
from aidl_jax.data.image_folders import classes_of, files_in, labels_of
from aidl_jax.data.inflating import Compression, check_compression
from aidl_jax.data.record_files import index_of, record_reader, streamed_record
from aidl_jax.data.text_files import check_encoding, line_index, lines_in, streamed_line
from aidl_jax.errors import DataError

__all__ = ["digits", "idx", "image_classes", "image_folder", "text_lines", "tfrecord", "whole_files"]


def text_lines(paths: Paths, encoding: str = "utf-8", compression: Compression = None) -> Dataset:
    """The lines of text files, without their ends ("\\n" or "\\r\\n").

    Indexed by where lines begin, 8 bytes each, for which files are gone through once; compressed files are Sequential.

    Args:
        paths: a file, a pattern such as `logs/*.txt`, or several; what a pattern finds is sorted by name.
        encoding: of the text; one in which a newline is one byte.
        compression: None, "GZIP" or "ZLIB".

    Raises:
        DataError: no such file, encoding or compression; while it is gone through: a line that is not in this encoding.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "words.txt"
    >>> _ = file.write_text("one\\ntwo\\n")
    >>> [str(line) for line in text_lines(file)]
    ['one', 'two']
    """
    files = files_of("text_lines", paths)
    check_encoding(encoding)
    check_compression("text_lines", compression)
    options = "" if encoding == "utf-8" else f", encoding={encoding!r}"
    if compression is None:
        return Dataset(FileParts(files, "text_lines", line_index, lines_in(encoding), options))
    return Dataset(Streamed(files, "text_lines", compression, streamed_line(encoding), options))


def whole_files(paths: Paths) -> Dataset:
    """Pairs of each file's path and contents: a text, and bytes.

    Args:
        paths: a file, a pattern such as `images/**/*.png`, or several; what a pattern finds is sorted by name.

    Raises:
        DataError: there is no such file.
    """
    files = files_of("whole_files", paths)
    names = Path(paths).name if isinstance(paths, str | os.PathLike) else told_paths(files)
    told = f"{names}, {len(files)} file{'' if len(files) == 1 else 's'}"
    return Dataset(WholeFiles(files, "whole_files", told))


def tfrecord(paths: Paths, compression: Compression = None) -> Dataset:
    """The records of TFRecord files, as bytes; `parse_example` makes arrays of them.

    Indexed, by an index that `write_tfrecord` and `write_tfrecord_index` keep beside a file, and that else is looked for once;
    compressed files are Sequential. Each record is held to its CRC.

    Args:
        paths: a file, a pattern such as `train-*`, or several; what a pattern finds is sorted by name.
        compression: None, "GZIP" or "ZLIB".

    Raises:
        DataError: no such file or compression; while it is gone through: a record that is damaged or cut off.

    >>> import tempfile
    >>> from aidl_jax.data.record_files import write_tfrecord
    >>> file = f"{tempfile.mkdtemp()}/words.tfrecord"
    >>> _ = write_tfrecord(file, [b"one", b"two"])
    >>> [record.item() for record in tfrecord(file)]
    [b'one', b'two']
    """
    files = files_of("tfrecord", paths)
    check_compression("tfrecord", compression)
    if compression is None:
        return Dataset(FileParts(files, "tfrecord", index_of, record_reader()))
    return Dataset(Streamed(files, "tfrecord", compression, streamed_record))


def idx(path: str | Path) -> Dataset:
    """The rows of an IDX file, the format of MNIST; bytes stay on disk until they are asked for, `.gz` files are unpacked in memory.

    Raises:
        DataError: no such file; it is no IDX file, or cut off.
    """
    (file,) = files_of("idx", Path(path))
    return Dataset(IdxRows.of(file))


def image_folder(root: str | Path, labels: Iterable[int] | None = None) -> Dataset:
    """Pairs of an image file's bytes and its label, int32, in ImageNet's layout.

    Args:
        root: a folder with one folder for each class, `root/n01440764/n01440764_10026.JPEG`; classes are numbered in the order of
            their names, see `image_classes`. Or a folder of images alone, as ImageNet's `val`.
        labels: for images alone, the label of each in the order of their names.

    Raises:
        DataError: there is no such folder, no image in it, or not as many labels as images.
    """
    files = files_in(Path(root), alone=labels is not None)
    numbers = labels_of(Path(root), files) if labels is None else np.asarray(list(labels))
    if len(numbers) != len(files) or numbers.dtype.kind not in "iu":
        raise DataError(
            "there must be one label for each image",
            given=f"{len(numbers)} labels, {numbers.dtype}",
            expected=f"{len(files)} whole numbers",
            where=f"image_folder({str(root)!r})",
            fix="give the labels in the order of the files' names",
        )
    told = f"{Path(root).name}, {len(files)} images, {len(set(numbers.tolist()))} classes"
    return Dataset(WholeFiles(files, "image_folder", told, numbers.astype(np.int32)))


def image_classes(root: str | Path) -> list[str]:
    """The names of an image folder's classes, in the order of their labels."""
    return classes_of(Path(root))


def digits() -> Dataset:
    """The 1,797 handwritten digits that come with scikit-learn: pairs of an image, uint8 [8, 8] from 0 to 16, and a label, int32.

    >>> image, label = next(iter(digits()))
    >>> image.shape, int(label)
    ((8, 8), 0)
    """
    from sklearn.datasets import load_digits

    found: Any = load_digits()
    return from_tensor_slices((found.images.astype(np.uint8), found.target.astype(np.int32)))
