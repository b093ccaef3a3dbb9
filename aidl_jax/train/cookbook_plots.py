"""The cookbook's pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import numpy as np

from aidl_jax.train.run_plots import COLOURS

__all__ = ["bars", "curves", "rates", "samples"]

BLUE, RED = COLOURS[:2]


def samples(images: np.ndarray, labels: np.ndarray, counts: Mapping[int, int]) -> Any:
    """Samples with their labels as a grid, if they are images, and how often each label came.

    Args:
        images: [k, height, width], [k, height, width, 1] or [k, height, width, 3], of any range; of another shape, none is drawn.
        labels: int [k].
        counts: by label.
    """
    import matplotlib.pyplot as plt

    drawable = images.ndim == 3 or (images.ndim == 4 and images.shape[-1] in (1, 3))
    columns = min(8, len(images))
    rows = -(-len(images) // columns) if drawable else 0
    figure = plt.figure(figsize=(8, 1.15 * rows + 2.6), layout="constrained")
    if drawable:
        above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=[1.15 * rows, 2.6]).ravel()
        _grid(above.subplots(rows, columns, squeeze=False).ravel(), images, labels)
    axis = (below if drawable else figure).subplots()
    axis.bar(list(counts), list(counts.values()), color=BLUE)
    axis.set(xlabel="label", ylabel="examples", title="Labels")
    if len(counts) <= 30:
        axis.set_xticks(list(counts))
    return figure


def _grid(axes: Sequence[Any], images: np.ndarray, labels: np.ndarray) -> None:
    numbers = np.where(np.isfinite(images), images, np.nan).astype(np.float64)
    low, high = np.nanmin(numbers), np.nanmax(numbers)
    for axis in axes:
        axis.set_axis_off()
    for axis, image, label in zip(axes, (numbers - low) / (high - low or 1), labels, strict=False):
        axis.imshow(image, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        axis.set_title(str(label), fontsize=9, pad=2)


def bars(names: Sequence[str], values: Sequence[float], unit: str, title: str) -> Any:
    """A few numbers side by side."""
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(5, 3), layout="constrained")
    drawn = axis.bar(names, values, color=BLUE, width=0.6)
    axis.bar_label(drawn, fmt="%.3g")
    axis.set(ylabel=unit, title=title)
    axis.margins(y=0.15)
    return figure


def curves(losses: Mapping[str, np.ndarray], title: str, unit: str = "loss") -> Any:
    """Curves over steps, on a logarithmic scale where they span more than a factor of 20."""
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(6, 3.6), layout="constrained")
    for (name, values), colour in zip(losses.items(), cycle(COLOURS), strict=False):
        axis.plot(np.arange(1, len(values) + 1), values, label=name, color=colour)
    every = np.concatenate(list(losses.values()))
    every = every[np.isfinite(every) & (every > 0)]
    if len(every) and every.max() > 20 * every.min():
        axis.set_yscale("log")
    axis.set(xlabel="step", ylabel=unit, title=title)
    if len(losses) > 1:
        axis.legend()
    return figure


def rates(values: np.ndarray, losses: np.ndarray, suggested: float) -> Any:
    """The loss over the learning rate."""
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(6, 3.6), layout="constrained")
    axis.plot(values, losses, color=BLUE)
    axis.axvline(suggested, color=RED, linestyle="--", label=f"begin with {suggested:.2g}")
    top = 1.5 * losses[np.isfinite(losses)][: max(len(losses) // 5, 1)].max()
    axis.set(
        xscale="log", xlabel="learning rate", ylabel="loss, smoothed", title="Learning-rate range", ylim=(None, top)
    )
    axis.legend()
    return figure
