"""Pictures of a run: curves over its steps, and the confusion matrix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

__all__ = ["confusion", "over_steps"]

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")


def over_steps(curves: Mapping[str, Sequence[tuple[int, float]]], title: str, unit: str) -> Any:
    """Values over the steps at which they were measured."""
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(6.4, 3.8), layout="constrained")
    for (name, points), colour in zip(curves.items(), COLOURS, strict=False):
        axis.plot(*zip(*points, strict=True), label=name, color=colour, marker="o", markersize=3) if points else None
    axis.set(xlabel="step", ylabel=unit, title=title, ylim=(0, None))
    axis.legend()
    return figure


def confusion(matrix: np.ndarray, title: str = "Confusion matrix") -> Any:
    """How often a label (row) was taken for which class (column): int [classes, classes]. What is wrong is coloured."""
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(5.2, 4.8), layout="constrained")
    wrong = np.where(np.eye(len(matrix), dtype=bool), 0, matrix)
    axis.imshow(wrong, cmap="Oranges", vmin=0, vmax=max(wrong.max(), 4))
    for row, column in np.ndindex(matrix.shape):
        if matrix[row, column]:
            axis.text(column, row, str(matrix[row, column]), ha="center", va="center", fontsize=8)
    axis.set(xlabel="predicted", ylabel="label", title=title, xticks=range(len(matrix)), yticks=range(len(matrix)))
    return figure
