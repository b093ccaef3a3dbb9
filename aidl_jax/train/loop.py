"""The training loop: a step, a state and a dataset; what else happens stands outside, in hooks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from aidl_jax.data import DataIterator, Dataset
from aidl_jax.data.stage import Origin
from aidl_jax.errors import TrainError
from aidl_jax.train.guards import check_apart, check_finite, check_let_go
from aidl_jax.train.state import TrainState
from aidl_jax.train.steps import EvalStep, Metrics, TrainStep, make_fused_step

__all__ = ["Hook", "Moment", "evaluate", "every", "fit"]


@dataclass
class Moment:
    """What a hook is told after each step, or after each block of fused steps.

    Attributes:
        step: steps done, a Python integer that cost no wait.
        steps: how many will be done.
        metrics: of the last step, on the device: reading one waits for the step.
        batches: the iterator; its state belongs to this step.
        last: whether this is the end.
    """

    step: int
    steps: int
    metrics: Metrics
    batches: DataIterator
    last: bool
    _state: TrainState
    taken: bool = field(default=False, init=False)

    @property
    def state(self) -> TrainState:
        """The state after this step. The next step takes its memory: copy what is to be kept."""
        self.taken = True
        return jax.tree.map(lambda leaf: leaf, self._state)  # whoever keeps a part of this keeps a leaf, which can be seen


Hook = Callable[[Moment], None]


def fit(
    step: TrainStep,
    state: TrainState,
    dataset: Dataset,
    *,
    steps: int,
    hooks: Sequence[Hook] = (),
    fuse: int = 1,
    position: dict[str, Any] | None = None,
    check_every: int = 50,
) -> TrainState:
    """Trains until so many steps have been done, or the data end.

    Args:
        step: what `make_train_step` returned.
        state: where to begin. Its memory is used up.
        dataset: of batches.
        steps: how many steps the state will have behind it, those included that it has.
        hooks: each is called after every step, or block, with a `Moment`.
        fuse: this many steps become one compiled program. Blocks begin at multiples of it, so that a resumed run has the same.
        position: the data iterator's state, to go on in the middle of the data.
        check_every: after this many steps it is looked whether loss and gradients are finite.

    Returns:
        The last state.

    Raises:
        TrainError: a loss or gradient was not finite; a hook kept memory that the next step takes; two leaves share memory.
    """
    check_apart(state)
    done = int(state.step)
    locate = _locator(dataset, position, done)
    fused = make_fused_step(step) if fuse > 1 else step
    flags: list[tuple[int, Any]] = []
    with dataset.iterate(position) as batches:
        for block in _blocks(batches, done, steps, fuse):
            state, metrics = _advance(step, fused, state, block, fuse, done, flags)
            done += len(block)
            moment = Moment(done, steps, metrics, batches, done >= steps, state)
            if moment.last or len(flags) >= check_every:
                check_finite(state, flags, locate)
                flags.clear()
            _tell(hooks, moment)
    check_finite(state, flags, locate)
    return state


def evaluate(step: EvalStep, state: TrainState, dataset: Dataset) -> dict[str, float]:
    """Means of metrics over a dataset, each batch weighted by its size.

    Args:
        step: what `make_eval_step` returned.
        state: whose parameters.
        dataset: of batches, with an end.

    Raises:
        TrainError: there was no batch.
    """
    sums: list[Metrics] = []
    sizes: list[int] = []
    for batch in dataset:
        sums.append(step(state, batch))
        sizes.append(len(jax.tree.leaves(batch)[0]))
    if not sizes:
        raise TrainError("there is nothing to evaluate on", given=str(dataset), fix="the dataset has no batch")
    return {name: float(np.average([float(one[name]) for one in sums], weights=sizes)) for name in sums[0]}


def every(steps: int, hook: Hook) -> Hook:
    """A hook that is called at multiples of so many steps, and at the end."""
    before = 0

    def now_and_then(moment: Moment) -> None:
        nonlocal before
        if moment.step // steps > before // steps or moment.last:
            hook(moment)
        before = moment.step

    return now_and_then


def _blocks(batches: DataIterator, done: int, steps: int, fuse: int) -> Iterator[list[Any]]:
    """Batches, `fuse` at a time, up to the next multiple of `fuse`."""
    while done < steps:
        wanted = min(fuse - done % fuse, steps - done)
        block = [batch for _, batch in zip(range(wanted), batches, strict=False)]
        if not block:
            return
        yield block
        done += len(block)


def _advance(
    step: TrainStep, fused: TrainStep, state: TrainState, block: list[Any], fuse: int, done: int, flags: list[Any]
) -> tuple[TrainState, Metrics]:
    """A whole block as one program; what is less, step by step. Adds each step's flags."""
    if fuse > 1 and len(block) == fuse and len({_shapes(batch) for batch in block}) == 1:
        state, metrics = fused(state, jax.tree.map(lambda *leaves: np.stack(leaves), *block))
        flags.append((done, metrics["finite"]))
        return state, jax.tree.map(lambda leaf: leaf[-1], metrics)
    for number, batch in enumerate(block):
        state, metrics = step(state, batch)
        flags.append((done + number, metrics["finite"]))
    return state, metrics


def _tell(hooks: Sequence[Hook], moment: Moment) -> None:
    for hook in hooks:
        hook(moment)
        if moment.taken:
            check_let_go(hook, moment._state)


def _locator(dataset: Dataset, position: dict[str, Any] | None, done: int) -> Callable[[int], Sequence[Origin]]:
    """From steps done to where the next batch comes from; nothing where the dataset cannot know."""
    first = 0 if position is None else position["at"]
    return lambda step: dataset.locate(first + step - done) if dataset.stage.indexed else []


def _shapes(batch: Any) -> tuple[Any, ...]:
    return tuple(leaf.shape for leaf in jax.tree.leaves(batch))
