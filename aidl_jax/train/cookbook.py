"""The cookbook: what to look at before, while and after a model is trained, each as a function that returns a small report.

Batches are pairs `(inputs, labels)`, labels whole numbers. Each report prints itself, and `plot()` draws it.

After A. Karpathy, A Recipe for Training Neural Networks (2019).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import count, islice
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from aidl_jax.data import Dataset
from aidl_jax.errors import TrainError
from aidl_jax.optimizers import Optimizer
from aidl_jax.train.cookbook_reports import LISTED, Curves, DataReport, Gaps, RateReport, StartReport, listed
from aidl_jax.train.guards import check_alive
from aidl_jax.train.state import TrainState, state_of
from aidl_jax.train.steps import LossFn, TrainStep, make_train_step

__all__ = [
    "Recipe",
    "error_gaps",
    "input_independent",
    "look_at",
    "loss_at_start",
    "overfit_one_batch",
    "rate_range",
    "shuffled_labels",
]

Batch = tuple[Any, np.ndarray]
Tried = tuple[np.ndarray, np.ndarray]  # losses and accuracies, float [steps]

LARGE = 30.0  # beyond it, inputs drive the first layer far from where its initial weights were made for
RARE = 5
LEARNT = 0.1  # a mean loss at which the right class has a probability of about 0.9
WORSE = 0.9


@dataclass(frozen=True)
class Recipe:
    """What is trained, and on what; each try begins with a copy of the state, and at the beginning of the data.

    Attributes:
        loss_fn: as `make_train_step` takes it; if its metrics hold "accuracy", that is told, too.
        optimizer: one of `aidl_jax.optimizers`, or any of optax.
        state: the state before the first step.
        dataset: of batches `(inputs, labels)`; a try goes through it as often as it takes.
    """

    loss_fn: LossFn
    optimizer: Optimizer
    state: TrainState
    dataset: Dataset

    @cached_property
    def step(self) -> TrainStep:
        """The train step, compiled once for all tries."""
        return make_train_step(self.loss_fn, self.optimizer)

    def train(self, batches: Iterable[Batch], steps: int) -> Tried:
        """Losses and accuracies, float [steps], of a try from the beginning; NaN after a step that was not finite.

        Raises:
            TrainError: there is not one step to do; the state's memory was taken by an earlier step.
        """
        check_alive(self.state)
        state = state_of(self.state.params, self.state.model_state, self.optimizer, self.state.key)
        told = []
        for _, batch in zip(range(steps), batches, strict=False):
            state, metrics = self.step(state, batch)
            told.append((metrics["loss"], metrics.get("accuracy", jnp.nan), metrics["finite"].all()))
        if not told:
            raise TrainError("a try needs at least one step", given=f"steps={steps}", fix="steps=200")
        losses, accuracies, finite = map(np.array, zip(*jax.device_get(told), strict=True))
        real = np.logical_and.accumulate([True, *finite[:-1]])
        return np.where(real, losses, np.nan), np.where(real, accuracies, np.nan)

    def first(self) -> Batch:
        """The first batch.

        Raises:
            TrainError: there is none, or it is no pair of inputs and labels.
        """
        for batch in self.dataset:
            return pair(batch)
        raise TrainError("the dataset has no batch", given=str(self.dataset), fix="look at what it is made from")

    def batches(self) -> Iterator[Batch]:
        """Batches without end."""
        self.first()  # what is empty never comes to a batch, however often it is repeated
        return map(pair, self.dataset.repeat())


def pair(batch: Any) -> Batch:
    """A batch as inputs and labels.

    Raises:
        TrainError: it is no pair, or its labels are no whole numbers.
    """
    if not (isinstance(batch, tuple) and len(batch) == 2):
        given = f"a tuple of {len(batch)}" if isinstance(batch, tuple) else f"a {type(batch).__name__}"
    elif not (isinstance(batch[1], np.ndarray | jax.Array) and batch[1].ndim == 1 and batch[1].dtype.kind in "iu"):
        given = f"labels {_kind(batch[1])}"
    else:
        return batch[0], np.asarray(batch[1])
    raise TrainError(
        "the cookbook needs batches of inputs and labels",
        given=given,
        expected="a pair (inputs, labels), labels whole numbers [batch]",
        fix="bring them to this form in a map before the batch",
    )


def _kind(value: Any) -> str:
    shape = f"[{','.join(map(str, value.shape))}]" if hasattr(value, "shape") else ""
    return f"{value.dtype.name}{shape}" if hasattr(value, "dtype") else f"that are a {type(value).__name__}"


def look_at(dataset: Dataset, batches: int = 50, samples: int = 24) -> DataReport:
    """Shapes, ranges, class counts and samples of the first batches.

    Args:
        dataset: of batches `(inputs, labels)`.
        batches: how many of them.
        samples: how many examples the plot shows.

    Raises:
        TrainError: there is no batch; a batch is no such pair.

    >>> from aidl_jax import data
    >>> images, labels = np.float32([[0, 1], [1, 0], [0, 0]]), np.int32([0, 1, 1])
    >>> print(look_at(data.from_tensor_slices((images, labels)).batch(3)))
    3 examples
      inputs float32[2]: 0 to 1, mean 0.3333, standard deviation 0.4714
      labels 0: 1, 1: 2
    """
    seen = [pair(batch) for _, batch in zip(range(batches), dataset, strict=False)]
    if not seen:
        raise TrainError("there is nothing to look at", given=f"{batches} batches of {dataset}", fix="give it batches")
    columns = [np.concatenate(parts) for parts in zip(*(jax.tree.leaves(one) for one, _ in seen), strict=True)]
    paths = [f"inputs{jax.tree_util.keystr(path)}" for path, _ in jax.tree_util.tree_leaves_with_path(seen[0][0])]
    labels = np.concatenate([one for _, one in seen])
    counts = dict(zip(*(found.tolist() for found in np.unique(labels, return_counts=True)), strict=True))
    odd = [warning for one in map(_odd_inputs, paths, columns) for warning in one]
    told = list(map(_column, paths, columns))
    return DataReport(told, counts, len(labels), (columns[0][:samples], labels[:samples]), odd + _odd_labels(counts))


def _column(path: str, column: np.ndarray) -> str:
    shape = ",".join(map(str, column.shape[1:]))
    numbers = column.astype(np.float64)
    return (
        f"{path} {column.dtype.name}[{shape}]: {numbers.min():.4g} to {numbers.max():.4g}, "
        f"mean {numbers.mean():.4g}, standard deviation {numbers.std():.4g}"
    )


def _odd_inputs(path: str, column: np.ndarray) -> list[str]:
    numbers = column.astype(np.float64)
    if not np.isfinite(numbers).all():
        return [f"{path}: {(~np.isfinite(numbers)).sum():,} numbers are not finite"]
    if numbers.min() == numbers.max():
        return [f"{path}: all numbers are the same"]
    if np.abs(numbers).max() > LARGE:
        return [f"{path}: large numbers; scale them to 0 to 1, or to about -1 to 1"]
    return []


def _odd_labels(counts: dict[int, int]) -> list[str]:
    negative = [label for label in counts if label < 0]
    if negative:
        return [f"negative labels: {listed(negative, len(negative))}"]
    missing = max(counts) + 1 - len(counts)
    if missing:
        absent = islice((label for label in count() if label not in counts), min(missing, LISTED))
        return [f"labels that never came: {listed(list(absent), missing)}"]
    if max(counts.values()) > RARE * min(counts.values()):
        return ["some classes are more than five times as frequent as others: accuracy alone will flatter"]
    return []


def loss_at_start(recipe: Recipe, classes: int) -> StartReport:
    """The loss of the first batch, before any step, against ln(classes).

    Raises:
        TrainError: fewer than two classes.
    """
    if classes < 2:
        raise TrainError(
            "one class needs no model", given=f"classes={classes}", expected="at least 2", fix="classes=10"
        )
    losses, _ = recipe.train([recipe.first()], 1)
    return StartReport(float(losses[0]), classes)


def overfit_one_batch(recipe: Recipe, steps: int = 300) -> Curves:
    """Trains on the first batch alone, again and again: the loss must come near 0.

    Args:
        recipe: what is trained, without dropout and without a price on weights.
        steps: how often the batch is used.
    """
    batch = recipe.first()
    losses, accuracies = recipe.train((batch for _ in range(steps)), steps)
    return _curves(
        "overfit one batch",
        {"one batch": (losses, accuracies)},
        bool(losses[-1] < LEARNT),
        "the model can learn, and gradients reach it",
        f"a loss below {LEARNT} was to be reached. If no dropout and no price on weights holds it up, there is a mistake in the model, "
        "it has too few parameters, or the learning rate is wrong",
    )


def input_independent(recipe: Recipe, steps: int = 200) -> Curves:
    """Trains with inputs set to 0 beside the real ones: the real ones must help.

    Args:
        recipe: what is trained.
        steps: of each of the two tries.
    """
    blind = ((jax.tree.map(np.zeros_like, x), labels) for x, labels in recipe.batches())
    tries = {"real inputs": recipe.train(recipe.batches(), steps), "inputs set to 0": recipe.train(blind, steps)}
    return _curves(
        "input-independent baseline",
        tries,
        _clearly_less(*tries.values()),
        "the model uses its inputs",
        "the model learns hardly more from the inputs than from none: do they reach it?",
    )


def shuffled_labels(recipe: Recipe, steps: int = 200, seed: int = 0) -> Curves:
    """Trains with labels that belong to other examples of the batch: this must fail.

    Args:
        recipe: what is trained.
        steps: of each of the two tries.
        seed: of the shuffles, a new one in each batch.

    Raises:
        TrainError: a batch has one example.
    """
    if len(recipe.first()[1]) < 2:
        raise TrainError("the labels of one example cannot be shuffled", given=str(recipe.dataset), fix="batch(32)")
    random = np.random.default_rng(seed)
    wrong = ((x, random.permutation(labels)) for x, labels in recipe.batches())
    tries = {"right labels": recipe.train(recipe.batches(), steps), "shuffled labels": recipe.train(wrong, steps)}
    return _curves(
        "shuffled labels",
        tries,
        _clearly_less(*tries.values()),
        "labels belong to their inputs, and nothing leaks",
        "shuffled labels are learnt nearly as well as the right ones: labels do not belong to their inputs, or the model sees them",
    )


def _clearly_less(one: Tried, other: Tried) -> bool:
    return _end(one[0]) < WORSE * _end(other[0])


def _end(losses: np.ndarray) -> float:
    """The mean of the last tenth."""
    return float(losses[-max(len(losses) // 10, 1) :].mean())


def _curves(title: str, tries: dict[str, Tried], passed: bool, if_passed: str, if_not: str) -> Curves:
    losses, accuracies = ({name: both[part] for name, both in tries.items()} for part in (0, 1))
    broken = [name for name, one in losses.items() if not np.isfinite(one).all()]
    if broken:
        why = f"not finite with {' and '.join(broken)}: a smaller learning rate, or look at logs and divisions"
        return Curves(title, losses, accuracies, False, why)
    return Curves(title, losses, accuracies, passed, if_passed if passed else if_not)


def rate_range(
    recipe: Recipe, make: Callable[[Any], Optimizer], low: float = 1e-5, high: float = 1.0, steps: int = 150
) -> RateReport:
    """Trains while the learning rate rises from `low` to `high`, equal factors apart.

    Args:
        recipe: what is trained; its own optimizer is not used.
        make: from a rate or a schedule to an optimizer: `optimizers.adam`.
        low: the first rate.
        high: the last.
        steps: how many, at least 2.

    Raises:
        TrainError: the rates do not rise; no loss was finite.

    Source: L. Smith, Cyclical Learning Rates for Training Neural Networks (2015). The suggestion is a tenth of the rate with the
    lowest loss.
    """
    if not (0 < low < high < math.inf and steps >= 2):
        raise TrainError(
            "the rates do not rise",
            given=f"{low} to {high} in {steps} steps",
            expected="0 < low < high, in 2 steps or more",
            fix="low=1e-5, high=1.0, steps=150",
        )
    factor = (high / low) ** (1 / (steps - 1))
    rising = replace(recipe, optimizer=make(lambda step: low * factor**step))
    losses, _ = rising.train(rising.batches(), steps)
    if not np.isfinite(losses[0]):
        raise TrainError(
            "the loss is not finite before the first step", given=str(losses[0]), fix="loss_at_start(recipe, classes)"
        )
    return RateReport(low * factor ** np.arange(steps), smoothed(losses))


def smoothed(losses: Sequence[float] | np.ndarray, share: float = 0.9) -> np.ndarray:
    """An exponential average without the pull towards its beginning; NaN from the first loss on that is not finite.

    >>> smoothed([4.0, 4.0, 2.0], share=0.5).round(3).tolist()
    [4.0, 4.0, 2.857]
    """
    total, weight, smooth = 0.0, 0.0, []
    for loss in np.asarray(losses, float).tolist():
        total, weight = share * total + (1 - share) * loss, share * weight + (1 - share)
        smooth.append(total / weight)
    return np.where(np.isfinite(smooth), smooth, np.nan)


def error_gaps(floor: float, train: float, validation: float) -> Gaps:
    """The gaps between errors, each a share of examples in [0, 1].

    Args:
        floor: of the best there is: Bayes's, or a human's.
        train: on the training set.
        validation: on the validation set.

    Raises:
        TrainError: one of them is no share.

    >>> print(error_gaps(floor=0.01, train=0.02, validation=0.10))
    floor 1.0%, train 2.0% (+1.0%), validation 10.0% (+8.0%): variance: more data, augmentation, dropout or L2, a smaller model, stop earlier
    """
    for name, error in (("floor", floor), ("train", train), ("validation", validation)):
        if not 0 <= error <= 1:
            raise TrainError(
                f"the {name} error is no share",
                given=str(error),
                expected="0 to 1",
                fix="1 - accuracy, not a percentage",
            )
    return Gaps(floor, train, validation)
