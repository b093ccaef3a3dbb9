"""The solutions of `s06_full_model/inference` agree with the library's own export, load and batches, and with scikit-learn."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from solved import solved

from aidl_jax import serve

NAME = "s06_full_model/inference"
RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, (7, 4, 3)).astype(np.int32)
PARAMS = {"w": RANDOM.normal(size=(12, 5)).astype(np.float32), "b": RANDOM.normal(size=5).astype(np.float32)}


solution = functools.partial(solved, NAME)


def test_statistics_are_those_of_scikit_learn() -> None:
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(IMAGES.reshape(-1, 1) / 255)
    found = solution()["pixel_statistics"](IMAGES)
    np.testing.assert_allclose([found["mean"], found["std"]], [scaler.mean_[0], scaler.scale_[0]], rtol=1e-5)
    np.testing.assert_allclose(
        solution()["preprocess"](found, IMAGES[0]).ravel(),
        scaler.transform(IMAGES[:1].reshape(-1, 1) / 255).ravel(),
        atol=1e-5,
    )


def test_an_exported_model_with_this_preprocessing_answers_the_same(tmp_path: Path) -> None:
    mine = solution()
    statistics = mine["pixel_statistics"](IMAGES)
    serve.export(
        tmp_path / "model.zip", lambda params, inputs: inputs.reshape(inputs.shape[0], -1) @ params["w"] + params["b"], PARAMS,
        functools.partial(mine["preprocess"], statistics), "i32[4,3]", class_names="abcde",
    )  # fmt: skip
    logits = serve.load(tmp_path / "model.zip").predict(IMAGES)
    np.testing.assert_allclose(
        mine["answer"](PARAMS, statistics, IMAGES), serve.probabilities(logits), rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize("count", [1, 4, 7, 8])
def test_blocks_of_one_size_give_the_answers_of_all_at_once(count: int) -> None:
    asked = []

    def ask(block: Any) -> Any:
        asked.append(block.shape[0])
        return block.sum(axis=(1, 2)) * 2

    images = RANDOM.normal(size=(count, 4, 3)).astype(np.float32)
    np.testing.assert_allclose(
        solution()["in_batches"](ask, images, 4), 2 * images.sum(axis=(1, 2)), rtol=1e-4, atol=1e-5
    )
    assert asked == [4] * -(-count // 4)
