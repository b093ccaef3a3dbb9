"""Races: several optimizers, each at several rates, from the same start over the same batches, in one compiled function.

>>> from aidl_jax.optimizers import adam, sgd
>>> def bowl(p):
...     return p[0] ** 2 / 2 + 10 * p[1] ** 2
>>> found = race({"SGD": (sgd, [0.02, 0.3]), "Adam": adam(0.1)}, bowl, jnp.float32([3, 1]), [()] * 200)
>>> found.losses.shape, found.trajectories.shape
((3, 200), (3, 201, 2))
>>> found.diverged
{'SGD 0.3': 27}
>>> found.ranking()[0]
'Adam'
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax

from aidl_jax.errors import OptimizerError, close_matches
from aidl_jax.optimizer_checks import check_loss, check_number, check_params
from aidl_jax.optimizers import Optimizer

__all__ = ["Race", "race"]

Entry: TypeAlias = Optimizer | tuple[Callable[[Any], Optimizer], Sequence[float]]


@dataclass(frozen=True, eq=False)
class Race:
    """What came of a race. Runs that diverged are in it like all others.

    Args:
        names: one per run: the optimizer's, and the rate where there are several.
        optimizers: the optimizer's name, of each run.
        losses: float [runs, steps], each before its step, on that step's batch.
        params: the parameters at the end, each array with [runs] in front.
        trajectories: where the parameters were, [runs, steps + 1, 2], if there are two numbers in them; else None.
    """

    names: tuple[str, ...]
    optimizers: tuple[str, ...]
    losses: np.ndarray
    params: Any = field(repr=False)
    trajectories: np.ndarray | None = field(repr=False)

    def curve(self, name: str) -> np.ndarray:
        """One run's losses, [steps].

        Raises:
            OptimizerError: there is no such run.
        """
        if name not in self.names:
            raise OptimizerError("no run has this name", given=repr(name), fix=close_matches(name, self.names))
        return self.losses[self.names.index(name)]

    @property
    def diverged(self) -> dict[str, int]:
        """The runs whose loss or parameters became infinite or not a number, and at which step."""
        found = {}
        for run, name in enumerate(self.names):
            bad = ~np.isfinite(self.losses[run])
            if bad.any():
                found[name] = int(bad.argmax())
            elif not all(np.isfinite(np.asarray(leaf[run], float)).all() for leaf in jax.tree.leaves(self.params)):
                found[name] = self.losses.shape[1]
        return found

    @property
    def last_losses(self) -> dict[str, float]:
        """Each run's mean loss over the last tenth of the steps; NaN where it diverged."""
        last = self.losses[:, -max(1, self.losses.shape[1] // 10) :].astype(float).mean(axis=1)
        return {
            name: np.nan if name in self.diverged else float(one) for name, one in zip(self.names, last, strict=True)
        }

    def ranking(self) -> list[str]:
        """The names, the lowest of `last_losses` first, what diverged last."""
        last = self.last_losses
        return sorted(self.names, key=lambda name: np.inf if np.isnan(last[name]) else last[name])


def race(
    optimizers: Mapping[str, Entry], loss_fn: Callable[..., Any], params: Any, batches: Iterable[tuple[Any, ...]]
) -> Race:
    """Runs all optimizers at all rates from the same parameters over the same batches.

    One compiled function with one `scan` over the steps. Inside of a step, losses and gradients of *all* runs come from a single
    `vmap`; the updates from one `vmap` over the rates per optimizer, since states of different optimizers differ in
    form. So there are as many copies of the parameters in memory as runs, and all batches at once.

    Args:
        optimizers: by name: an optimizer (of this package, or any of optax), or `(make, rates)`, where `make(rate)` is one:
            `(adam, [0.1, 0.01])`, `(lambda rate: clip_gradients(sgd(rate), 1.0), [0.1, 0.01])`.
        loss_fn: `(params, *batch) -> loss`, one floating-point number.
        params: where all start.
        batches: tuples of what the loss takes after the params, all of the same shapes; `[()] * 200` for 200 steps without data.

    Raises:
        OptimizerError: nothing to race, no batches, batches of different shapes, or what `minimize` raises.
    """
    groups = [_group(name, entry) for name, entry in optimizers.items()]
    names = [name for group in groups for name in group.names]
    _check_names(names)
    check_params(params)
    stacked, steps = _stack(batches)
    start = jax.tree.map(lambda leaf: jnp.array(leaf, jnp.result_type(leaf)), params)
    is_plane = sum(leaf.size for leaf in jax.tree.leaves(start)) == 2
    rates = [jnp.asarray(group.rates, jnp.result_type(float)) for group in groups]

    def run_all(start: Any, stacked: Any, rates: list[jax.Array]) -> Any:
        params = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (len(names), *leaf.shape)), start)
        states = [jax.vmap(group.init(start))(its) for group, its in zip(groups, rates, strict=True)]
        step = _make_step(groups, rates, loss_fn, is_plane)
        (end, _), (losses, places) = jax.lax.scan(step, (params, states), stacked, length=steps)
        return end, losses, jnp.concatenate([_places(params)[None], places]) if is_plane else None

    end, losses, places = jax.jit(run_all)(start, stacked, rates)
    kinds = tuple(group.name for group in groups for _ in group.rates)
    return Race(tuple(names), kinds, _by_run(losses), end, _by_run(places) if is_plane else None)


def _make_step(groups: list[_Group], rates: list[jax.Array], loss_fn: Callable[..., Any], is_plane: bool) -> Any:
    """One step of all runs: `((params, states), batch) -> ((params, states), (losses, places))`."""
    lasts = np.cumsum([len(group.rates) for group in groups])
    rows = [slice(last - len(group.rates), last) for group, last in zip(groups, lasts, strict=True)]

    def step(carry: tuple[Any, list[Any]], batch: Any) -> tuple[tuple[Any, list[Any]], tuple[jax.Array, Any]]:
        params, states = carry

        def loss_of(params: Any) -> Any:
            return check_loss(loss_fn(params, *batch))

        losses, gradients = jax.vmap(jax.value_and_grad(loss_of))(params)
        after = []
        for group, its, mine, state in zip(groups, rates, rows, states, strict=True):
            part = jax.tree.map(lambda leaf, mine=mine: leaf[mine], (params, gradients, losses))
            after.append(jax.vmap(group.update(loss_of))(its, state, *part))
        params = jax.tree.map(lambda *parts: jnp.concatenate(parts), *(params for params, _ in after))
        return (params, [state for _, state in after]), (losses, _places(params) if is_plane else None)

    return step


class _Group(NamedTuple):
    """One optimizer and its rates; a ready-made one has one run, and its rate is its own."""

    name: str
    make: Callable[[Any], Optimizer]
    rates: Sequence[float]
    names: Sequence[str]

    def init(self, start: Any) -> Callable[[Any], Any]:
        return lambda rate: self.make(rate).init(start)

    def update(self, loss_of: Callable[[Any], Any]) -> Callable[..., tuple[Any, Any]]:
        def one(rate: Any, state: Any, params: Any, gradients: Any, loss: Any) -> tuple[Any, Any]:
            optimizer = optax.with_extra_args_support(self.make(rate))
            updates, state = optimizer.update(gradients, state, params, value=loss, grad=gradients, value_fn=loss_of)
            return optax.apply_updates(params, updates), state

        return one


def _group(name: str, entry: Any) -> _Group:
    if isinstance(entry, optax.GradientTransformation):
        return _Group(name, lambda rate: entry, [0.0], [name])
    if isinstance(entry, tuple) and len(entry) == 2 and callable(entry[0]) and np.ndim(entry[1]) == 1 and len(entry[1]):
        make, rates = entry
        for rate in rates:
            check_number(f"a rate of {name!r}", rate)
        if isinstance(make(rates[0]), optax.GradientTransformation):
            return _Group(name, make, rates, [f"{name} {rate:g}" for rate in rates])
    raise OptimizerError(
        f"{name!r} is neither an optimizer nor a function that makes one with its rates",
        given=repr(entry),
        fix=f"race({{{name!r}: (adam, [0.1, 0.01])}}, ...), or {{{name!r}: adam(0.1)}}",
    )


def _check_names(names: list[str]) -> None:
    if not names:
        raise OptimizerError("there are no optimizers to race", fix='race({"Adam": (adam, [0.1, 0.01])}, ...)')
    if len(set(names)) < len(names):
        raise OptimizerError(
            "two runs have the same name",
            given=", ".join(repr(name) for name, count in Counter(names).items() if count > 1),
            fix="give each run a name of its own; rates are told by six digits",
        )


def _stack(batches: Iterable[tuple[Any, ...]]) -> tuple[Any, int]:
    found = list(batches)
    if not found:
        raise OptimizerError("there are no batches", fix="a race takes a step per batch; without data, [()] * 200")
    for number, batch in enumerate(found):
        if not isinstance(batch, tuple):
            raise OptimizerError(
                "a batch is a tuple of what the loss takes after the params",
                given=f"a {type(batch).__name__}",
                where=f"batches[{number}]",
                fix="(batch,) where the loss takes one argument, (x, labels) where it takes two",
            )
        given, expected = _shapes(batch), _shapes(found[0])
        if given != expected:
            raise OptimizerError(
                "all batches of a race have the same shapes",
                given=given,
                expected=f"{expected}, as batches[0]",
                where=f"batches[{number}]",
                fix="leave out the last batch where it is smaller",
            )
    return jax.tree.map(lambda *leaves: jnp.stack([jnp.asarray(leaf) for leaf in leaves]), *found), len(found)


def _shapes(batch: Any) -> str:
    return str(jax.tree.map(lambda leaf: f"{jnp.result_type(leaf)}{list(jnp.shape(leaf))}", batch))


def _places(params: Any) -> jax.Array:
    """Where each run is: all its numbers in a row."""
    return jnp.concatenate([leaf.reshape(len(leaf), -1) for leaf in jax.tree.leaves(params)], axis=1)


def _by_run(values: jax.Array) -> np.ndarray:
    """From [steps, runs, ...] to NumPy's [runs, steps, ...], of float32 at least."""
    return np.asarray(values.astype(jnp.promote_types(values.dtype, jnp.float32))).swapaxes(0, 1)
