"""`shuffle_report()`: how far a shuffle moves things, and how mixed its batches are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from aidl_jax.data.explaining import warnings_of
from aidl_jax.data.iterator import block_of
from aidl_jax.data.stage import INFINITE, UNKNOWN, At, Run, Stage
from aidl_jax.errors import DataError

__all__ = ["ShuffleReport", "shuffle_report"]

NEAR = 0.5  # of what a full shuffle reaches: below, it is told
DRAWS = 200


@dataclass(frozen=True)
class ShuffleReport:
    """How random an order is.

    Attributes:
        pipeline: what was looked at.
        order: int64 [n], for each element that comes out the position in the source that it came from.
        size: elements in the source.
        displacement: mean distance between where an element stood, among those that come out, and where it comes out; a full
            shuffle of n elements reaches (n - 1/n) / 3.
        entropy: float [batches], bits, of the labels in each batch; None without labels.
        ideal_entropy: bits, the mean of batches drawn at random from all labels.
        warnings: what to change.
    """

    pipeline: str
    order: np.ndarray
    size: int
    displacement: float
    entropy: np.ndarray | None
    ideal_entropy: float | None
    warnings: list[str]

    @property
    def ideal_displacement(self) -> float:
        """Two random positions of n are (n - 1/n) / 3 apart, in the mean."""
        looked_at = max(len(self.order), 1)
        return (looked_at - 1 / looked_at) / 3

    @property
    def repeated(self) -> int:
        """How many of the elements that come out first, as many as the source has, have come before."""
        return len(self.order) - len(np.unique(self.order))

    def __str__(self) -> str:
        share = self.displacement / self.ideal_displacement if len(self.order) > 1 else 1.0
        lines = [
            self.pipeline,
            f"  moved       {self.displacement:,.1f} places in the mean, {share:.0%} of a full shuffle's {self.ideal_displacement:,.1f}",
            f"  come again  {self.repeated:,} of the first {len(self.order):,}",
        ]
        if self.entropy is not None and self.ideal_entropy is not None:
            mean, least = self.entropy.mean(), self.entropy.min()
            lines.append(
                f"  labels      {mean:.2f} bits in a batch, {least:.2f} at least; {self.ideal_entropy:.2f} in a random one"
            )
        return "\n".join([*lines, *(f"  look out    {warning}" for warning in self.warnings)])

    def plot(self) -> Any:
        """Draws where elements came from and the labels' entropy, batch by batch; returns the matplotlib figure."""
        import matplotlib.pyplot as plt

        rows = 1 if self.entropy is None else 2
        figure, axes = plt.subplots(rows, 1, figsize=(7, 3.4 * rows), squeeze=False, layout="constrained")
        above = axes[0][0]
        shown = np.linspace(0, len(self.order) - 1, min(len(self.order), 4000)).astype(int)
        above.plot(shown, self.order[shown], ".", markersize=2, color="#0072B2")
        above.set(xlabel="comes out as number", ylabel="position in the source", title="Where elements come from")
        if self.entropy is not None:
            below = axes[1][0]
            below.plot(self.entropy, color="#D55E00", label="this pipeline")
            below.axhline(self.ideal_entropy, color="black", linestyle="--", label="batches drawn at random")
            below.set(xlabel="batch", ylabel="bits", title="Entropy of the labels in a batch", ylim=(0, None))
            below.legend(loc="center right")
        return figure


def shuffle_report(stage: Stage, label: Callable[[Any], Any] | None, epoch_size: int | None = None) -> ShuffleReport:
    """Looks at as many elements as the source has.

    Args:
        stage: an Indexed one.
        label: from an element to its label, or a batch to its labels: integers.
        epoch_size: how many elements to look at, counted in the source's; all of one epoch by default.

    Raises:
        DataError: it is not Indexed, or labels are no integers.
    """
    if not stage.indexed:
        raise DataError(
            "only a dataset of the class Indexed can say where its elements came from",
            given=str(stage),
            where="shuffle_report",
            fix="ask for the report before the verb that makes it Sequential; explain() names it",
        )
    size = _source_size(stage) if epoch_size is None else epoch_size
    order, labels = _looked_at(stage, label, size)
    if not len(order):
        raise DataError(
            "there is nothing to report on", given=str(stage), where="shuffle_report", fix="the dataset is empty"
        )
    ranks = np.argsort(np.argsort(order, kind="stable"), kind="stable")  # what skip or shard leaves out is no movement
    displacement = float(np.abs(ranks - np.arange(len(order))).mean())
    entropy, ideal = (None, None) if labels is None else _entropies(labels)
    report = ShuffleReport(str(stage), order, size, displacement, entropy, ideal, warnings_of(stage))
    return ShuffleReport(**{**report.__dict__, "warnings": [*report.warnings, *_seen(report)]})


def _source_size(stage: Stage) -> int:
    while stage.inputs:
        stage = stage.inputs[0]
    assert stage.size is not UNKNOWN and stage.size != INFINITE
    return int(stage.size)


def _looked_at(stage: Stage, label: Any, size: int) -> tuple[np.ndarray, list[np.ndarray] | None]:
    """The source positions of the first `size` elements, and the labels of each batch."""
    run, order, labels, step = Run(block_of(stage)), list[int](), list[np.ndarray](), 0
    total = stage.size
    assert total is not UNKNOWN
    while len(order) < size and step < total:
        stop = int(min(step + run.block, total))
        at = At.span(0, step, stop)
        source = None
        for origin in stage.origins(at):
            source = source or origin.source
            if origin.source == source:
                order.append(origin.position)
        if label is not None:
            labels += [_labels(label(element)) for element in stage.rows(at, run)]
        step = stop
    return np.asarray(order[:size], np.int64), labels if label is not None else None


def _labels(found: Any) -> np.ndarray:
    array = np.atleast_1d(np.asarray(found))
    if array.dtype.kind not in "iub" or array.ndim != 1:
        raise DataError(
            "labels are whole numbers, one for each element",
            given=f"{array.dtype.name}[{','.join(map(str, array.shape))}]",
            where="shuffle_report",
            fix="label=lambda element: element[1]",
        )
    return array


def _entropies(labels: Sequence[np.ndarray]) -> tuple[np.ndarray, float]:
    """Bits in each batch, and the mean of as large batches drawn at random."""
    pool = np.concatenate(labels)
    random = np.random.default_rng(0)
    batch = min(int(np.median([len(one) for one in labels])), len(pool))
    drawn = [entropy(random.choice(pool, batch, replace=False)) for _ in range(DRAWS)]
    return np.array([entropy(one) for one in labels]), float(np.mean(drawn))


def entropy(labels: np.ndarray) -> float:
    """Shannon's entropy in bits.

    >>> entropy(np.array([0, 0, 1, 1]))
    1.0
    """
    shares = np.unique(labels, return_counts=True)[1] / len(labels)
    return float(-(shares * np.log2(shares)).sum()) + 0.0


def _seen(report: ShuffleReport) -> list[str]:
    """What only the elements show."""
    told = []
    if len(report.order) > 1 and report.displacement < NEAR * report.ideal_displacement:
        told.append("elements stay near where they stood: give shuffle a larger buffer, or none for the whole set")
    if report.entropy is not None and report.ideal_entropy and report.entropy.mean() < 0.9 * report.ideal_entropy:
        told.append(
            "batches hold fewer kinds of labels than random ones would: the data are sorted and the shuffle is too weak"
        )
    return told
