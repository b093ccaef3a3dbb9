"""What goes wrong in a training run without a word, found where it is made: numbers that are not finite, and memory shared or kept."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from aidl_jax.data.stage import Origin
from aidl_jax.errors import TrainError
from aidl_jax.train.paths import leaves_by_path
from aidl_jax.train.state import TrainState

__all__ = ["NotFiniteError", "Watch", "check_alive", "check_apart", "check_finite", "check_let_go", "name_of"]


class NotFiniteError(TrainError):
    """A loss or a gradient was not finite.

    Attributes:
        step: the steps done before it.
        paths: what was not finite: "loss", or gradients by the path of their parameter.
        state: as it was before that step. Trained on with `state._replace(finite=jnp.bool_(True))`, it goes on.
        origins: where the batch came from, if the dataset knows.
    """

    def __init__(self, step: int, paths: Sequence[str], state: TrainState, origins: Sequence[Origin]) -> None:
        self.step, self.paths, self.state, self.origins = step, list(paths), state, list(origins)
        more = f" and {len(paths) - 4} more" if len(paths) > 4 else ""
        super().__init__(
            f"the loss or a gradient is not finite in step {step + 1}; the state was kept as it was before",
            given=", ".join(paths[:4]) + more,
            where=_told(self.origins),
            fix="look at this batch and at error.state; often the learning rate is too large, or a log or a division meets a 0",
        )


def _told(origins: Sequence[Origin]) -> str | None:
    if not origins:
        return None
    positions = [origin.position for origin in origins]
    shown = ", ".join(map(str, positions[:6])) + (", ..." if len(positions) > 6 else "")
    return f"positions {shown} of {origins[0].source}, epoch {origins[0].epoch}"


class Watch:
    """Looks now and then whether all was finite.

    What it reads was noted at the look before, so the host does not wait for the step that it has just begun, nor the device for the host.

    Args:
        every: steps from one look to the next.
        locate: from the steps done before to where its batch came from.
    """

    def __init__(self, every: int, locate: Callable[[int], Sequence[Origin]]) -> None:
        self.every, self.locate = every, locate
        self.flags: list[tuple[int, Any]] = []
        self.noted: tuple[int, jax.Array] | None = None

    def note(self, before: int, finite: Any) -> None:
        """Keeps what a block of steps reported: the steps done before it, and the metric "finite": bool [steps, 1 + leaves]."""
        self.flags.append((before, finite))

    def look(self, state: TrainState, done: int) -> None:
        """Reads the last note and makes the next, if it is time to.

        Raises:
            NotFiniteError: a loss or a gradient was not finite.
        """
        if done - (self.noted[0] if self.noted else self.flags[0][0]) < self.every:
            return
        if self.noted is not None:
            if not bool(self.noted[1]):
                self.check(state)
            self.flags = [one for one in self.flags if one[0] >= self.noted[0]]
        self.noted = done, jnp.copy(state.finite)  # the next step takes the memory of the state's own

    def check(self, state: TrainState) -> None:
        """Looks at the state itself, which waits for the last step.

        Raises:
            NotFiniteError: a loss or a gradient was not finite.
        """
        check_finite(state, self.flags, self.locate)


def check_finite(
    state: TrainState, flags: Sequence[tuple[int, Any]], locate: Callable[[int], Sequence[Origin]]
) -> None:
    """Raises where a step since the last look was not finite. This waits for the last step.

    Args:
        state: after it.
        flags: for each block of steps since then, the steps done before it, and the metric "finite": bool [steps, 1 + leaves].
        locate: from the steps done before to where its batch came from.

    Raises:
        NotFiniteError: a loss or a gradient was not.
    """
    if bool(state.finite):
        return
    names = ["loss", *(f"the gradient of {path}" for path in leaves_by_path(state.params))]
    step = int(state.step)
    rows = [(first, np.stack(list(map(np.asarray, one)))) for first, one in flags]
    found = next((one[step - first] for first, one in rows if first <= step < first + len(one)), None)
    paths = ["before this run"] if found is None else [name for name, ok in zip(names, found, strict=True) if not ok]
    raise NotFiniteError(step, paths, state, locate(step) if found is not None else [])


def check_alive(state: TrainState) -> None:
    """Raises where a step has taken a leaf's memory.

    Raises:
        TrainError: with its path.
    """
    for path, leaf in jax.tree_util.tree_leaves_with_path(state):
        if isinstance(leaf, jax.Array) and leaf.is_deleted():
            raise TrainError(
                "the state's memory was taken by an earlier step",
                given=f"state{jax.tree_util.keystr(path)}",
                fix="go on with the state that the step or fit returned; to train twice from one state, copy it before: "
                "jax.tree.map(jnp.copy, state)",
            )


def check_apart(state: TrainState) -> None:
    """Raises where two leaves share memory, which a step that takes it for the one would take from the other, or it was taken before.

    Raises:
        TrainError: with both paths.
    """
    check_alive(state)
    seen: dict[int, str] = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(state):
        is_key = isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        if not isinstance(leaf, jax.Array) or is_key or not leaf.size:
            continue
        name = jax.tree_util.keystr(path)
        for shard in leaf.addressable_shards:
            place = shard.data.unsafe_buffer_pointer()
            if seen.setdefault(place, name) != name:
                raise TrainError(
                    "two leaves of the state share memory, which a step takes for its result",
                    given=f"state{seen[place]} and state{name}",
                    fix="copy one of them: jax.tree.map(jnp.copy, tree)",
                )


HOLDERS = 3  # the state, the name `leaf` below, and the question itself


def check_let_go(hook: Callable[..., Any], state: TrainState) -> None:
    """Raises where a leaf of the state is held by somebody else.

    Raises:
        TrainError: with the path, and the hook's name.
    """
    leaves = jax.tree.leaves(state)
    while leaves:
        leaf = leaves.pop()
        if sys.getrefcount(leaf) > HOLDERS:
            paths = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(state)]
            raise TrainError(
                "a hook kept a part of the state, whose memory the next step takes",
                given=f"state{paths[len(leaves)]}",
                where=name_of(hook),
                fix="keep a copy: jax.device_get(moment.state.params)",
            )


def name_of(hook: Callable[..., Any]) -> str:
    """A function's name, or an object's class."""
    return getattr(hook, "__qualname__", type(hook).__name__)
