"""The data: where the examples come from, how they are split, and what is done with each before the model sees it."""

from __future__ import annotations

import numpy as np
from sklearn import datasets

from aidl_jax import data
from aidl_jax.serve.digits import from_drawing

CLASS_NAMES = [str(digit) for digit in range(10)]
RAW = "u8[64,64,1]"  # one raw example, as it comes from the outside
BATCH = 64
Examples = tuple[np.ndarray, np.ndarray]

# One raw example, uint8 [64, 64, 1], to one input of the model, float32 [8, 8, 1] in [0, 1]. Training, evaluation and the exported model all use
# this one function. Write yours in JAX, so that it can be exported.
preprocess = from_drawing


def load() -> tuple[np.ndarray, np.ndarray]:
    """All raw examples, uint8 [1797, 64, 64, 1], and their labels, int32 [1797]."""
    pixels, labels = datasets.load_digits(return_X_y=True)
    small = np.round(pixels.reshape(-1, 8, 8, 1) * 255 / 16).astype(np.uint8)
    return small.repeat(8, axis=1).repeat(8, axis=2), labels.astype(np.int32)


def split(images: np.ndarray, labels: np.ndarray, seed: int = 0) -> dict[str, Examples]:
    """Examples for training, for choosing (validation) and for the report (test): 70, 15 and 15 of 100, the same ones for each seed."""
    order = np.random.default_rng(seed).permutation(len(labels))
    first, second = int(0.7 * len(order)), int(0.85 * len(order))
    parts = {"train": order[:first], "validation": order[first:second], "test": order[second:]}
    return {name: (images[part], labels[part]) for name, part in parts.items()}


def batches(examples: Examples, *, shuffle: bool = False) -> data.Dataset:
    """Batches of inputs and labels, preprocessed."""
    dataset = data.from_tensor_slices(examples)
    if shuffle:
        dataset = dataset.shuffle(seed=0)
    return dataset.map(lambda image, label: (preprocess(image), label)).batch(BATCH)
