"""Evaluates what was trained, once, on the test examples: python evaluate.py. The numbers for the report, in runs/results.json."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from data import CLASS_NAMES, Examples, batches, load, split
from model import measure
from train import CHECKPOINTS, fresh_state

from aidl_jax import train


def baseline(learnt: Examples, asked: Examples) -> float:
    """The accuracy of a model that anybody can write: each image goes to the class whose mean is nearest."""
    flat = [images.reshape(len(images), -1).astype(np.float32) for images in (learnt[0], asked[0])]
    means = np.stack([flat[0][learnt[1] == label].mean(axis=0) for label in range(len(CLASS_NAMES))])
    nearest = ((flat[1][:, None] - means) ** 2).sum(axis=-1).argmin(axis=-1)
    return float((nearest == asked[1]).mean())


def main() -> None:
    state, _ = train.restore(CHECKPOINTS, fresh_state())
    parts = split(*load())
    eval_step = train.make_eval_step(measure)
    accuracy = {name: train.evaluate(eval_step, state, batches(part))["accuracy"] for name, part in parts.items()}
    told = {"step": int(state.step), "accuracy": accuracy, "baseline": baseline(parts["train"], parts["test"])}
    Path("runs/results.json").write_text(json.dumps(told, indent=1), encoding="utf-8")
    for name, share in {**accuracy, "test, nearest mean": told["baseline"]}.items():
        print(f"{name:20} {share:.1%}")


if __name__ == "__main__":
    main()
