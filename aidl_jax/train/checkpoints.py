"""Checkpoints: all that a run is at one step, on disk, whole or not at all; and going on from there, bit for bit.

A folder of checkpoints holds one folder for each step kept: the `TrainState`, leaf by leaf under its path, and the state of the
data iterator. Orbax writes them, in a thread, under another name first; a finished one is renamed, so a process that
is killed leaves none that is half there. What is to be removed is renamed, too, before it is.

Several processes that train one state write one checkpoint into a folder that all of them see, each its part, and wait for one another;
each finds its own place in the data there.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from aidl_jax.data.iterator import MOST_BYTES
from aidl_jax.errors import TrainError, close_matches
from aidl_jax.train.loop import Hook, Moment, every
from aidl_jax.train.paths import leaves_by_path
from aidl_jax.train.state import TrainState

if TYPE_CHECKING:
    from orbax.checkpoint import CheckpointManager

__all__ = ["OtherStateError", "checkpoints", "restore", "saved_steps"]

REMOVED = "removed"  # where orbax puts the folders of steps that are not kept
SCORE = "score"

Best = str | Callable[[Moment], float]


class OtherStateError(TrainError):
    """A checkpoint holds the state of another model, or of another optimizer.

    Attributes:
        missing: paths that the state has and the checkpoint does not.
        unexpected: paths that the checkpoint has and the state does not.
        misshaped: paths whose shapes or dtypes differ.
    """

    def __init__(self, where: str, saved: dict[str, str], wanted: dict[str, str]) -> None:
        self.missing = sorted(wanted.keys() - saved.keys())
        self.unexpected = sorted(saved.keys() - wanted.keys())
        self.misshaped = sorted(path for path in saved.keys() & wanted.keys() if saved[path] != wanted[path])
        differing = [f"{path} (saved {saved[path]}, wanted {wanted[path]})" for path in self.misshaped]
        kinds = {"missing": self.missing, "unexpected": self.unexpected, "misshaped": differing}
        super().__init__(
            "the checkpoint holds the state of another model or optimizer",
            given="; ".join(f"{kind}: {_first(paths)}" for kind, paths in kinds.items() if paths),
            where=where,
            fix="make the state with the model, the inputs and the optimizer of the run that was saved",
        )


def checkpoints(
    folder: str | Path,
    *,
    every: int,
    keep: int = 3,
    best: Best | None = None,
    mode: Literal["max", "min"] = "max",
) -> Hook:
    """A hook for `fit` that saves the run at multiples of so many steps, and after the last.

    Saving goes on in the background while the run goes on; what `fit` returns has been saved. A state that is not finite is
    never saved: `fit` stops at its next look at it.

    Args:
        folder: for this run's checkpoints alone; made if it is not there. Several processes name the same one.
        every: steps from one to the next; a block of fused steps is saved at its end.
        keep: how many of the latest are kept.
        best: what tells how good the state is: the name of a metric of the train step, or a function of the `Moment`, an evaluation
            for instance. The best one is kept beside the latest; of equals, the last.
        mode: whether the best is the largest, "max", or the smallest, "min".

    Raises:
        TrainError: numbers below 1; (when it is called) checkpoints of later steps are there, or the metric is not; in several
            processes, the state is on no mesh.
    """
    for name, value in (("every", every), ("keep", keep)):
        if value < 1:
            raise TrainError(f"{name} is a number of at least 1", given=f"{name}={value}", where="checkpoints")
    if mode not in ("max", "min"):
        raise TrainError("the best is the largest or the smallest", given=f"mode={mode!r}", expected="'max' or 'min'")
    return _Saver(Path(folder), every, keep, None if best is None else _scorer(best, 1 if mode == "max" else -1))


def restore(
    folder: str | Path, state_like: TrainState, step: int | Literal["latest", "best"] = "latest"
) -> tuple[TrainState, dict[str, Any]]:
    """A state that was saved, and the position in the data that belongs to it: `fit(..., position=position)` goes on.

    Args:
        folder: of checkpoints.
        state_like: a state of the same model and optimizer, as `make_state` returns it; its shapes, dtypes and devices count, its
            values do not. One that a step has used up will do.
        step: which: a step of `saved_steps(folder)`, "latest", or "best".

    Raises:
        OtherStateError: it is the state of another model or optimizer.
        TrainError: there is no such checkpoint.
    """
    import orbax.checkpoint as ocp

    folder, wanted = Path(folder), leaves_by_path(state_like)
    number = _choose(folder, step)
    with _opened(folder) as manager:
        saved = manager.item_metadata(number)["state"].tree
        told = {path: _told(leaf) for path, leaf in wanted.items()}
        if told != (there := {path: _told(leaf) for path, leaf in saved.items()}):
            raise OtherStateError(str(folder / str(number)), there, told)
        specs = {path: _spec(leaf) for path, leaf in wanted.items()}
        parts = ocp.args.Composite(state=ocp.args.StandardRestore(specs), position=ocp.args.JsonRestore())
        found = manager.restore(number, args=parts)
    leaves = [found["state"][path] for path in wanted]
    positions = found["position"]["processes"]
    position = positions[
        min(jax.process_index(), len(positions) - 1)
    ]  # of other pipelines, if there were more or fewer
    return jax.tree.unflatten(jax.tree.structure(state_like), leaves), position


def saved_steps(folder: str | Path) -> list[int]:
    """The steps whose checkpoints are in a folder, the latest last; none if there is no folder.

    >>> saved_steps("runs/never")
    []
    """
    if not Path(folder).is_dir():
        return []
    with _opened(Path(folder)) as manager:
        return sorted(manager.all_steps())


class _Saver:
    """The hook. `fit` enters it, which opens the folder, and leaves it, which waits until all is written."""

    def __init__(self, folder: Path, steps: int, keep: int, score: Callable[[Moment], float] | None) -> None:
        self.folder, self.keep, self.score = folder, keep, score
        self.save_if_due = every(steps, self.save)
        self.copy = jax.jit(partial(jax.tree.map, jnp.copy))
        self.manager: CheckpointManager | None = None

    def __enter__(self) -> _Saver:
        self.manager = _opened(self.folder, self.keep, self.score is not None)
        self.thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoints")
        self.writing: Future[None] | None = None
        self.latest = self.manager.latest_step() or 0
        return self

    def __call__(self, moment: Moment) -> None:
        if self.manager is None:
            raise TrainError(
                "the folder of this hook is not open", given=str(self.folder),
                fix="pass fit the hook itself: hooks=[checkpoints(...)]; it knows when it is due",
            )  # fmt: skip
        if self.latest > moment.before and not moment.again:
            raise TrainError(
                "this folder holds checkpoints of later steps, of another run or of one that is to be gone on with",
                given=f"step {self.latest}, and this run is at step {moment.step}",
                where=str(self.folder),
                fix="go on from there with state, position = restore(folder, state), or name another folder",
            )
        self.save_if_due(moment)

    def save(self, moment: Moment) -> None:
        """Hands a copy to the thread that writes, since the next step takes the memory of this state."""
        if jax.process_count() > 1 and moment.state.step.is_fully_addressable:
            raise TrainError(
                "several processes save one run, and this state is each one's own",
                given=f"{jax.process_count()} processes, and no mesh",
                where=str(self.folder),
                fix='train on a mesh of all devices: fit(..., device=Mesh(np.array(jax.devices()), ("data",)))',
            )
        leaves = self.copy(leaves_by_path(moment.state))
        score = None if self.score is None else {SCORE: self.score(moment)}
        if self.writing is not None:
            self.writing.result()
        positions = _gathered(moment.batches.state())
        self.writing = self.thread.submit(self.write, moment.step, leaves, positions, score)
        if (
            jax.process_count() > 1
        ):  # they wait for one another while they write, as they do in a step: not at the same time
            self.writing.result()
        self.latest = moment.step

    def write(self, step: int, leaves: dict[str, Any], positions: list[Any], score: dict[str, float] | None) -> None:
        import orbax.checkpoint as ocp

        if self.manager is not None and bool(leaves["finite"]):
            parts = {"state": ocp.args.StandardSave(leaves), "position": ocp.args.JsonSave({"processes": positions})}
            self.manager.save(step, args=ocp.args.Composite(**parts), metrics=score, force=True)
            if jax.process_index() == 0:
                shutil.rmtree(self.folder / REMOVED, ignore_errors=True)

    def __exit__(self, kind: Any, *_: object) -> None:
        self.thread.shutdown()
        if self.manager is not None:
            self.manager.close()
            self.manager = None
        if self.writing is not None and kind is None:
            self.writing.result()


def _opened(folder: Path, keep: int | None = None, scored: bool = True) -> CheckpointManager:
    """Orbax's manager of a folder: one that writes and keeps so many, or one that only reads."""
    import orbax.checkpoint as ocp
    from orbax.checkpoint import checkpoint_managers as policies

    def score(metrics: dict[str, float]) -> float:
        return metrics[SCORE]

    kept = [policies.LatestN(keep), policies.BestN(get_metric_fn=score, n=1, keep_checkpoints_without_metrics=False)]
    options = ocp.CheckpointManagerOptions(
        create=keep is not None,
        cleanup_tmp_directories=keep is not None,
        preservation_policy=policies.AnyPreservationPolicy(kept),
        best_fn=score if scored else None,
        todelete_subdir=REMOVED,
        enable_async_checkpointing=False,
    )
    handlers = {"state": ocp.StandardCheckpointHandler(), "position": ocp.JsonCheckpointHandler()}
    return ocp.CheckpointManager(folder.absolute(), options=options, item_handlers=handlers)


def _gathered(position: dict[str, Any]) -> list[dict[str, Any]]:
    """The positions of all processes, each of which reads its own part of the data."""
    if jax.process_count() == 1:
        return [position]
    from jax.experimental import multihost_utils

    letters = np.frombuffer(json.dumps(position).encode().ljust(MOST_BYTES), np.uint8)
    return [json.loads(one.tobytes()) for one in multihost_utils.process_allgather(letters)]


def _choose(folder: Path, step: int | str) -> int:
    steps = saved_steps(folder)
    if not steps:
        raise TrainError(
            "there is no checkpoint here",
            given=str(folder),
            fix="train first: fit(..., hooks=[checkpoints(folder, every=100)])",
        )
    if step == "latest":
        return steps[-1]
    if step == "best":
        with _opened(folder) as manager:
            found = manager.best_step() if any(manager.metrics(one) for one in steps) else None
        if found is None:
            raise TrainError(
                "no checkpoint here says how good it is",
                given=str(folder),
                fix='save them with checkpoints(folder, every=..., best="accuracy")',
            )
        return found
    if step not in steps:
        raise TrainError(
            "there is no checkpoint of this step", given=repr(step), where=str(folder),
            expected=f"'latest', 'best', or one of {', '.join(map(str, steps))}",
        )  # fmt: skip
    return int(step)


def _scorer(best: Best, sign: int) -> Callable[[Moment], float]:
    """How good a state is; more is better."""

    def score(moment: Moment) -> float:
        if isinstance(best, str) and best not in moment.metrics:
            raise TrainError(
                "the train step reports no such metric",
                given=f"best={best!r}",
                where="checkpoints",
                fix=close_matches(best, moment.metrics.keys() - {"finite"}),
            )
        value = float(moment.metrics[best] if isinstance(best, str) else best(moment))
        if not math.isfinite(value):
            raise TrainError(
                "what tells the best checkpoint is not finite", given=f"{value}", where=f"step {moment.step}"
            )
        return sign * value

    return score


def _spec(leaf: Any) -> jax.ShapeDtypeStruct:
    sharding = getattr(leaf, "sharding", None) or jax.sharding.SingleDeviceSharding(jax.devices()[0])
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


def _told(leaf: Any) -> str:
    """Dtype and shape, as they are stored: a key as its numbers."""
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.eval_shape(jax.random.key_data, leaf)
    return f"{leaf.dtype}[{','.join(map(str, leaf.shape))}]"


def _first(paths: Iterable[str], count: int = 4) -> str:
    paths = list(paths)
    return ", ".join(paths[:count]) + (f" and {len(paths) - count} more" if len(paths) > count else "")
