"""What the cookbook's functions return: small reports. Each prints itself and says what to do next; `plot()` draws it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from aidl_jax.train import cookbook_plots as plots

__all__ = ["Curves", "DataReport", "Gaps", "RateReport", "StartReport"]

LISTED = 20  # labels in a sentence
NEAR = 0.2  # of ln(classes): what random weights may add to the loss of a model that knows nothing
SMALL_GAP = 0.005


@dataclass(frozen=True)
class DataReport:
    """What the data look like.

    Attributes:
        inputs: for each leaf, as text: its path, dtype, shape without the batch, least and greatest value, mean and standard deviation.
        counts: how often each label came, the least label first.
        examples: how many examples were looked at.
        samples: of the first leaf of the inputs [k, ...], and their labels [k].
        warnings: what looks wrong.
    """

    inputs: list[str]
    counts: dict[int, int]
    examples: int
    samples: tuple[np.ndarray, np.ndarray]
    warnings: list[str]

    def __str__(self) -> str:
        counts = listed([f"{label}: {count:,}" for label, count in self.counts.items()], len(self.counts))
        lines = [f"{self.examples:,} examples", *(f"  {line}" for line in self.inputs), f"  labels {counts}"]
        return "\n".join([*lines, *(f"  look out: {warning}" for warning in self.warnings)])

    def plot(self) -> Any:
        """Draws samples, if they are images, and how often each label came; returns the matplotlib figure."""
        return plots.samples(*self.samples, self.counts)


def listed(words: Sequence[Any], count: int) -> str:
    """The first of so many words, and how many more there are.

    >>> listed(list(range(20)), 22)
    '0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19 and 2 more'
    """
    more = f" and {count - LISTED:,} more" if count > LISTED else ""
    return ", ".join(map(str, words[:LISTED])) + more


@dataclass(frozen=True)
class StartReport:
    """The loss before any training, beside that of a model that knows nothing: ln(classes).

    Attributes:
        loss: the mean over the first batch.
        classes: how many there are.
    """

    loss: float
    classes: int

    @property
    def expected(self) -> float:
        """-ln(1 / classes): each class with the same probability."""
        return math.log(self.classes)

    @property
    def passed(self) -> bool:
        """Whether it is within a fifth of that."""
        return abs(self.loss - self.expected) <= NEAR * self.expected

    @property
    def advice(self) -> str:
        """What that means."""
        if self.passed:
            return "as it should be"
        if not math.isfinite(self.loss):
            return "not finite. Look at the inputs' range, and at logs and divisions"
        if self.loss > self.expected:
            return (
                "too high. The model is sure of wrong answers: scale the inputs, make the last layer's weights smaller"
            )
        return "too low. Does the model see the labels? Is it the mean over the batch, in natural logarithms?"

    def __str__(self) -> str:
        return f"loss at the start {self.loss:.3f}, ln({self.classes}) = {self.expected:.3f}: {self.advice}"

    def plot(self) -> Any:
        """Draws both; returns the matplotlib figure."""
        names = ["at the start", f"ln({self.classes})"]
        return plots.bars(names, [self.loss, self.expected], "loss", "Loss before training")


@dataclass(frozen=True)
class Curves:
    """Losses of one or more tries.

    Attributes:
        title: what was tried.
        losses: by name, float [steps]; NaN after a step that was not finite.
        accuracies: likewise; NaN where the loss function tells none.
        passed: whether it came out as it should.
        advice: what that means.
    """

    title: str
    losses: dict[str, np.ndarray]
    accuracies: dict[str, np.ndarray]
    passed: bool
    advice: str

    def __str__(self) -> str:
        told = [
            f"  {name}: loss {losses[0]:.3f} to {losses[-1]:.3f}" + _accuracy(self.accuracies[name])
            for name, losses in self.losses.items()
        ]
        verdict = "as it should be" if self.passed else "not as it should be"
        return "\n".join([f"{self.title}: {verdict}", *told, f"  {self.advice}"])

    def plot(self) -> Any:
        """Draws the losses; returns the matplotlib figure."""
        return plots.curves(self.losses, self.title)


def _accuracy(values: np.ndarray) -> str:
    return "" if np.isnan(values).all() else f", accuracy {values[-1]:.0%}"


@dataclass(frozen=True)
class RateReport:
    """Losses while the learning rate rises from step to step.

    Attributes:
        rates: float [steps].
        losses: float [steps], smoothed; NaN after one that is not finite.
    """

    rates: np.ndarray
    losses: np.ndarray

    @property
    def best(self) -> float:
        """The rate at which the loss is lowest."""
        return float(self.rates[np.nanargmin(self.losses)])

    @property
    def suggested(self) -> float:
        """A rate to begin with: a tenth of that."""
        return self.best / 10

    def __str__(self) -> str:
        told = f"the loss is lowest at a rate of {self.best:.2g}"
        if self.best == self.rates[-1]:
            return f"{told}, the last one, and may fall further: try again with a larger `high`"
        if self.best == self.rates[0]:
            return f"{told}, the first one: the model learns at none of these rates; try again with a smaller `low`"
        return f"{told}, then it rises: begin with about {self.suggested:.2g}"

    def plot(self) -> Any:
        """Draws the loss over the rate; returns the matplotlib figure."""
        return plots.rates(self.rates, self.losses, self.suggested)


@dataclass(frozen=True)
class Gaps:
    """Errors, as shares of examples, and the gaps between them.

    Attributes:
        floor: of the best there is: Bayes's, or a human's.
        train: on the training set.
        validation: on the validation set.
    """

    floor: float
    train: float
    validation: float

    @property
    def avoidable(self) -> float:
        """Avoidable bias: training error above the floor."""
        return self.train - self.floor

    @property
    def variance(self) -> float:
        """Validation error above training error."""
        return self.validation - self.train

    @property
    def advice(self) -> str:
        """What to do about the larger gap."""
        if max(self.avoidable, self.variance) <= SMALL_GAP:
            return "both gaps are small: only better data, or a better estimate of the floor, will tell more"
        if self.avoidable >= self.variance:
            return "avoidable bias: a larger model, longer training, a better optimizer or rate, less regularisation"
        return "variance: more data, augmentation, dropout or L2, a smaller model, stop earlier"

    def __str__(self) -> str:
        return (
            f"floor {self.floor:.1%}, train {self.train:.1%} ({self.avoidable:+.1%}), "
            f"validation {self.validation:.1%} ({self.variance:+.1%}): {self.advice}"
        )

    def plot(self) -> Any:
        """Draws the three errors; returns the matplotlib figure."""
        names, errors = ["floor", "train", "validation"], [self.floor, self.train, self.validation]
        return plots.bars(names, errors, "error", "Error gaps")
