"""The picture of an iteration: its stages in a row, ingestion beside the step, and what was measured."""

from __future__ import annotations

import textwrap
from typing import Any

from aidl_jax.train.diagnosis import STAGES, Diagnosis, Timings

__all__ = ["plot_diagnosis", "plot_timings"]

COLOURS = (
    "#E69F00",
    "#D55E00",
    "#CC79A7",
    "#F0E442",
    "#56B4E9",
    "#0072B2",
)  # Okabe and Ito, Color Universal Design (2008)


def plot_timings(timings: Timings) -> Any:
    """Three bars: nothing overlaps; the dataset as it is beside the step; measured.

    Args:
        timings: what `measure` returned.

    Returns:
        The matplotlib figure.
    """
    from matplotlib import pyplot as plt
    from matplotlib.patches import Patch

    figure, axes = plt.subplots(figsize=(9.5, 3.4), layout="constrained")
    gain = timings.gain_of_threads
    apart = {stage: getattr(timings, stage) for stage in STAGES}
    beside = {
        stage: seconds if stage == "copy" else seconds / gain for stage, seconds in apart.items() if stage != "step"
    }
    _stack(axes, 2.0, 0.6, apart)
    _stack(axes, 1.17, 0.28, beside)
    _stack(axes, 0.83, 0.28, {"step": timings.step})
    axes.barh(0.0, 1e3 * timings.iteration, 0.6, color="#999999", edgecolor="white")
    for place, seconds in ((2.0, timings.sum), (1.0, timings.maximum), (0.0, timings.iteration)):
        axes.text(1e3 * seconds, place, f"  {1e3 * seconds:.3g} ms", va="center")
    axes.set_yticks([2, 1, 0], ["one after\nthe other", "ingestion as it is\nbeside the step", "measured"])
    axes.set_xlabel("milliseconds of one iteration")
    axes.set_xlim(0, 1.14e3 * max(timings.sum, timings.maximum, timings.iteration))
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    handles = [Patch(color=colour) for colour in COLOURS]
    figure.legend(handles, list(STAGES), loc="outside upper center", ncols=len(STAGES), frameon=False)
    plt.close(figure)  # else a notebook would show it twice
    return figure


def plot_diagnosis(diagnosis: Diagnosis) -> Any:
    """Iterations per second now, and as predicted after each change alone.

    Args:
        diagnosis: what `diagnose` returned.

    Returns:
        The matplotlib figure.
    """
    from matplotlib import pyplot as plt

    bars = [("now", diagnosis.iterations_per_second, "#999999")]
    bars += [(one.what, one.iterations_per_second, COLOURS[-1]) for one in diagnosis.changes]
    figure, axes = plt.subplots(figsize=(9.5, 1.2 + 0.55 * len(bars)), layout="constrained")
    for place, (_, rate, colour) in enumerate(bars):
        axes.barh(-place, rate, 0.6, color=colour)
        axes.text(rate, -place, f"  {rate:,.4g}", va="center")
    axes.set_yticks([-place for place in range(len(bars))], [textwrap.fill(what, 44) for what, _, _ in bars])
    axes.set_title(f"Bottleneck {diagnosis.bottleneck}: {diagnosis.name}", loc="left")
    axes.set_xlabel("iterations per second, predicted for one change alone")
    axes.set_xlim(0, 1.14 * max(rate for _, rate, _ in bars))
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    plt.close(figure)
    return figure


def _stack(axes: Any, place: float, height: float, stages: dict[str, float]) -> None:
    start = 0.0
    for colour, stage in zip(COLOURS, STAGES, strict=True):
        seconds = stages.get(stage, 0.0)
        axes.barh(place, 1e3 * seconds, height, left=1e3 * start, color=colour, edgecolor="white")
        start += seconds
