"""The training loop: a step, a state and a dataset; what else happens stands outside, in hooks."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field, replace
from functools import wraps
from typing import Any

import jax
import numpy as np

from aidl_jax.data import DataIterator, Dataset
from aidl_jax.data.elements import Element
from aidl_jax.data.in_memory import row_numbers
from aidl_jax.data.stage import INFINITE, Origin
from aidl_jax.errors import TrainError
from aidl_jax.train.devices import (
    Place,
    check_same_place,
    is_on_one_device,
    put_batch,
    put_beside,
    put_state,
    stack,
)
from aidl_jax.train.guards import Watch, check_alive, check_apart, check_let_go, name_of
from aidl_jax.train.state import TrainState
from aidl_jax.train.steps import (
    EvalStep,
    Metrics,
    TrainStep,
    checked_metrics,
    make_fused_step,
    make_gathering_step,
)

__all__ = ["Hook", "Moment", "evaluate", "every", "fit"]


@dataclass
class Moment:
    """What a hook is told after each step, or after each block of fused steps.

    Attributes:
        step: steps done, a Python integer that cost no wait.
        before: steps done at the last moment: one less, or a block less.
        steps: how many will be done.
        metrics: of the last step, on the device: reading one waits for the step.
        batches: the iterator, for its state, which belongs to this step. Where fused batches are gathered on the device it gives row
            numbers.
        last: whether this is the end.
        again: whether this moment was told before: where the data end before the steps do, hooks are called once more, with `last`.
        waited: seconds that the loop has waited for batches so far, by the host's clock.
    """

    step: int
    before: int
    steps: int
    metrics: Metrics
    batches: DataIterator
    last: bool
    _state: TrainState
    waited: float = 0.0
    again: bool = False
    taken: bool = field(default=False, init=False)

    @property
    def state(self) -> TrainState:
        """The state after this step. The next step takes its memory: copy what is to be kept."""
        self.taken = True
        # Fresh containers: whoever keeps a part of them keeps a leaf, which can be seen.
        return jax.tree.map(lambda leaf: leaf, self._state)


Hook = Callable[[Moment], None]
Advance = Callable[[TrainState, list[Any]], Any]
MOST_RESIDENT = 2**30  # bytes of a dataset that are brought to a device as a whole


def fit(
    step: TrainStep,
    state: TrainState,
    dataset: Dataset,
    *,
    steps: int,
    hooks: Sequence[Hook] = (),
    fuse: int = 1,
    position: dict[str, Any] | None = None,
    device: Place = None,
    check_every: int = 50,
) -> TrainState:
    """Trains until so many steps have been done, or the data end.

    Args:
        step: what `make_train_step` returned.
        state: where to begin. Its memory is used up.
        dataset: of batches.
        steps: how many steps the state will have behind it, those included that it has.
        hooks: each is called after every step, or block, with a `Moment`. One that is a context manager is entered before the first
            step and left after the last, or when something is raised.
        fuse: this many steps become one compiled program. Blocks begin at multiples of it, so that a resumed run has the same. Where
            the dataset only orders and batches arrays in memory, of 1 GiB at most, they are brought to the device once, and the
            program gathers its batches there.
        position: the data iterator's state, to go on in the middle of the data.
        device: "cpu", "gpu", a device, or a `jax.sharding.Mesh`, whose first axis shares each batch; None for where the state is.
            A dataset that sends its batches to a device itself, by `prefetch(device=...)`, has to send them there.
        check_every: after this many steps it is looked whether loss and gradients were finite up to the last look. So nobody waits
            for the step that was just begun; the state stays as it was before the step that was not finite.

    Returns:
        The last state.

    Raises:
        TrainError: something is not of the kind that is asked for; a loss or gradient was not finite; a hook kept memory that the next step takes; two leaves share memory.
    """
    check_run(state, dataset, steps, hooks, fuse)
    check_same_place(dataset, state, device)
    state = put_state(state, device)
    done = int(state.step)
    arrays, batches = _open(dataset, position, resident=1 < fuse <= steps - done and is_on_one_device(state))
    advance = _make_gathering(step, fuse, arrays, state) if arrays is not None else _make_advance(step, fuse, device)
    watch = Watch(check_every, _locator(dataset, position, done))
    waited, moment = 0.0, None
    with ExitStack() as open_hooks, batches:
        for hook in hooks:
            if isinstance(hook, AbstractContextManager):
                open_hooks.enter_context(hook)
        for block, seconds in _blocks(batches, done, steps, fuse):
            waited += seconds
            state, metrics, finite = advance(state, block)
            watch.note(done, finite)
            before, done = done, done + len(block)
            moment = Moment(done, before, steps, metrics, batches, done >= steps, state, waited)
            if moment.last:
                watch.check(state)
            else:
                watch.look(state, done)
            try:
                _tell(hooks, moment)
            except TrainError:  # a hook that stumbles over what is not finite must not hide where that came from
                watch.check(state)
                raise
        watch.check(state)
        if moment is not None and not moment.last:  # the data ended before
            _tell(hooks, replace(moment, last=True, again=True))
        if moment is None and done < steps and position is None:
            raise TrainError("there is nothing to train on", given=str(dataset), fix="the dataset has no batch")
    return state


def evaluate(step: EvalStep, state: TrainState, dataset: Dataset) -> dict[str, float]:
    """Means of metrics over a dataset, each batch weighted by its size.

    Args:
        step: what `make_eval_step` returned.
        state: whose parameters.
        dataset: of batches, with an end.

    Raises:
        TrainError: something is not of the kind that is asked for; the dataset has no end, or no batch.
    """
    check_evaluation(step, state, dataset)
    sums: list[Metrics] = []
    sizes: list[int] = []
    for batch in dataset:
        sums.append(checked_metrics(step(state, batch)))
        sizes.append(len(jax.tree.leaves(batch)[0]))
    if not sizes:
        raise TrainError("there is nothing to evaluate on", given=str(dataset), fix="the dataset has no batch")
    return {name: float(np.average([float(one[name]) for one in sums], weights=sizes)) for name in sums[0]}


def every(steps: int, hook: Hook) -> Hook:
    """A hook that is called at multiples of so many steps, and at the end."""
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise TrainError(
            "every takes a number of steps", given=repr(steps), expected="at least 1", fix="every(100, hook)"
        )

    @wraps(hook, updated=())
    def now_and_then(moment: Moment) -> None:
        due = moment.step // steps > moment.before // steps
        if not due if moment.again else due or moment.last:
            hook(moment)

    return now_and_then


def check_run(state: Any, dataset: Any, steps: Any, hooks: Any, fuse: Any) -> None:
    """Raises where `fit` cannot be run with these."""
    wrong = [
        ("the state", state, isinstance(state, TrainState), "make_state(model, optimizer, key, inputs)"),
        ("the dataset", dataset, isinstance(dataset, Dataset), "data.from_tensor_slices((x, y)).batch(32)"),
        ("steps", steps, type(steps) is int and steps >= 0, "steps=1000"),
        ("fuse", fuse, type(fuse) is int and fuse >= 1, "fuse=16, or leave it out"),
        ("hooks", hooks, isinstance(hooks, list | tuple) and all(map(_is_hook, hooks)), "hooks=[ProgressBar()]"),
    ]
    for name, given, right, fix in wrong:
        if not right:
            raise TrainError(f"{name} of fit is something else than it should be", given=_short(given), fix=fix)
    check_apart(state)
    if int(state.step) > steps:
        raise TrainError(
            "the state has more steps behind it than it is to have",
            given=f"{int(state.step)} steps, and steps={steps}",
            fix="steps counts those that are done: to do 100 more, steps=int(state.step) + 100",
        )


def check_evaluation(step: Any, state: Any, dataset: Any) -> None:
    """Raises where `evaluate` cannot be run with these."""
    wrong = [
        ("the step", step, callable(step), "make_eval_step(metrics_fn)"),
        ("the state", state, isinstance(state, TrainState), "pass the state that fit returned"),
        ("the dataset", dataset, isinstance(dataset, Dataset), "data.from_tensor_slices((x, y)).batch(64)"),
    ]
    for name, given, right, fix in wrong:
        if not right:
            raise TrainError(f"{name} of evaluate is something else than it should be", given=_short(given), fix=fix)
    check_alive(state)
    if dataset.cardinality() == INFINITE:
        raise TrainError(
            "an evaluation goes through all batches, and these have no end",
            given=str(dataset),
            fix="leave repeat() away, or say how many: dataset.take(100)",
        )


def _short(given: Any) -> str:
    return repr(given)[:80]


def _is_hook(hook: Any) -> bool:
    return callable(hook) and not isinstance(hook, type)


def _blocks(batches: DataIterator, done: int, steps: int, fuse: int) -> Iterator[tuple[list[Any], float]]:
    """Batches, `fuse` at a time, up to the next multiple of `fuse`, and the seconds it took to get them."""
    while done < steps:
        wanted = min(fuse - done % fuse, steps - done)
        start = time.perf_counter()
        block = [batch for _, batch in zip(range(wanted), batches, strict=False)]
        if not block:
            return
        yield block, time.perf_counter() - start
        done += len(block)


def _open(dataset: Dataset, position: dict[str, Any] | None, resident: bool) -> tuple[Element | None, DataIterator]:
    """The iterator; where batches can be gathered on the device, the arrays too, and what is iterated over are numbers of their rows."""
    found = row_numbers(dataset.stage) if resident else None
    if found is None or sum(leaf.nbytes for leaf in jax.tree.leaves(found[0])) > MOST_RESIDENT:
        return None, dataset.iterate(position)
    return found[0], DataIterator(dataset.stage, position, instead=found[1])


def _make_advance(step: TrainStep, fuse: int, device: Place) -> Advance:
    """What does a block of steps with batches that come from the host."""
    fused = make_fused_step(step) if fuse > 1 else step
    put_one, put_block = put_batch(device), put_batch(device, fused=True)
    return _in_blocks(
        fuse,
        lambda state, batch: step(state, put_one(batch)),
        lambda state, block: fused(state, put_block(stack(block))),
    )


def _make_gathering(step: TrainStep, fuse: int, arrays: Element, state: TrainState) -> Advance:
    """What does a block of steps with batches that are gathered on the device."""
    gathering, resident = make_gathering_step(step), put_beside(state, arrays)

    def one(state: TrainState, rows: np.ndarray) -> tuple[TrainState, Metrics]:
        return step(state, jax.tree.map(lambda leaf: leaf[rows], arrays))

    return _in_blocks(fuse, one, lambda state, block: gathering(state, resident, np.stack(block)))


def _in_blocks(fuse: int, one: TrainStep, whole: Callable[[TrainState, list[Any]], Any]) -> Advance:
    """A whole block of equal shapes as one program, what is less step by step.

    Returns:
        `(state, block) -> (state, the last step's metrics, whether each was finite [steps, 1 + leaves])`.
    """

    def advance(state: TrainState, block: list[Any]) -> Any:
        if fuse > 1 and len(block) == fuse and len(set(map(_shapes, block))) == 1:
            state, metrics = whole(state, block)
            return state, jax.tree.map(lambda leaf: leaf[-1], metrics), metrics["finite"]
        flags = []
        for batch in block:
            state, metrics = one(state, batch)
            flags.append(metrics["finite"])
        return state, metrics, flags

    return advance


def _tell(hooks: Sequence[Hook], moment: Moment) -> None:
    holders = sys.getrefcount(moment)
    for hook in hooks:
        hook(moment)
        if moment.taken:
            check_let_go(hook, moment._state)
        if sys.getrefcount(moment) > holders:
            raise TrainError(
                "a hook kept the moment, and with it the state, whose memory the next step takes",
                given=f"the moment of step {moment.step}",
                where=name_of(hook),
                fix="keep what you need of it: moment.step, float(moment.metrics['loss']), jax.device_get(moment.state.params)",
            )


def _locator(dataset: Dataset, position: dict[str, Any] | None, done: int) -> Callable[[int], Sequence[Origin]]:
    """From steps done to where the next batch comes from; nothing where the dataset cannot know."""
    first = 0 if position is None else position["at"]
    return lambda step: dataset.locate(first + step - done) if dataset.stage.indexed else []


def _shapes(batch: Any) -> tuple[Any, ...]:
    return tuple(leaf.shape for leaf in jax.tree.leaves(batch))
