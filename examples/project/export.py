"""Exports what was trained: python export.py. Then: aidl serve runs/model.zip"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from data import CLASS_NAMES, RAW, load, preprocess, split
from model import answer
from train import CHECKPOINTS, fresh_state

from aidl_jax import serve, train

MODEL_FILE = Path("runs/model.zip")


def main() -> None:
    state, _ = train.restore(CHECKPOINTS, fresh_state())
    trained = {"params": state.params, "model_state": state.model_state}
    pinned = serve.export(MODEL_FILE, answer, trained, preprocess, RAW, class_names=CLASS_NAMES)
    images, labels = split(*load())["test"]
    right = serve.load(MODEL_FILE, pinned).predict(images).argmax(axis=-1) == labels
    print(f"{MODEL_FILE}: {np.mean(right):.1%} of the test examples are right. SHA-256 {pinned}")


if __name__ == "__main__":
    main()
