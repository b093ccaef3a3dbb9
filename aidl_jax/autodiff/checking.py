"""A gradient held to central differences: how far they are apart, and how far they may be.

A central difference (f(x + h) - f(x - h)) / 2h errs twice: by the curvature of f, h²/6 times the third derivative, and by the
rounding of f, about eps |f| / h. Small steps make the second large, so the best step is near the cube root of eps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from aidl_jax.autodiff.arguments import check_like, check_scalar, check_values, chosen, traced
from aidl_jax.autodiff.evaluation import find_path
from aidl_jax.autodiff.kinks import sides
from aidl_jax.autodiff.reverse import grad
from aidl_jax.autodiff.telling import columns, told_line
from aidl_jax.errors import AutodiffError
from aidl_jax.graph import Graph

__all__ = ["GradientCheck", "LeafCheck", "central_difference", "check_gradient"]

SLACK = 10.0  # how many times the expected error is let pass, which is an estimate
COARSE = 0.01  # from which expected error on, in parts of the derivative, nothing can be told


@dataclass(frozen=True)
class LeafCheck:
    """One array of the argument: its worst element.

    Args:
        path: which array, `params/w`.
        checked: how many of its elements were looked at.
        size: how many it has.
        worst: the index of the element where the two differ most.
        gradient: what the gradient says there.
        difference: what the central difference says there.
        error: their distance, relative to the largest derivative in the array.
        step: the step h that was used there.
        expected: the error to be expected from this step, relative likewise.
        kinks: the operations that have a kink or a jump between x - h and x + h, with their lines.
        ok: whether no element is further off than ten times what is to be expected, and that is small.
    """

    path: str
    checked: int
    size: int
    worst: tuple[int, ...]
    gradient: float
    difference: float
    error: float
    step: float
    expected: float
    kinks: tuple[str, ...]
    ok: bool


@dataclass(frozen=True)
class GradientCheck:
    """What came out; `print` it."""

    name: str
    leaves: tuple[LeafCheck, ...]

    @property
    def ok(self) -> bool:
        """Whether the gradient is right, as far as differences can tell."""
        return all(leaf.ok for leaf in self.leaves)

    def __str__(self) -> str:
        rows: list[tuple[str, ...]] = [
            ("argument", "checked", "error", "expected", "step", "worst at", "gradient", "difference", "")
        ]
        rows += [_row(leaf) for leaf in self.leaves]
        verdict = "agrees with central differences" if self.ok else "does not agree with central differences"
        return "\n".join([f"The gradient of {self.name} {verdict}.", "", *columns(rows), *self._remarks()])

    def _remarks(self) -> Iterator[str]:
        for leaf in self.leaves:
            if not leaf.ok and leaf.kinks:
                yield (
                    f"{leaf.path}{list(leaf.worst)}: between x - h and x + h there is a kink or a jump in {', '.join(leaf.kinks)}; "
                    "a difference across it is no derivative. Look at another point, or take a smaller step."
                )
            elif not leaf.ok and leaf.expected > COARSE:
                yield f"{leaf.path}{list(leaf.worst)}: this step tells nothing; leave step out, or take another one."
            elif not leaf.ok:
                yield f"{leaf.path}{list(leaf.worst)}: no kink is near, so the gradient is wrong there."


def _row(leaf: LeafCheck) -> tuple[str, ...]:
    numbers = (f"{one:.1e}" for one in (leaf.error, leaf.expected, leaf.step))
    values = (f"{one:.8g}" for one in (leaf.gradient, leaf.difference))
    verdict = "ok" if leaf.ok else "kink" if leaf.kinks else "WRONG"
    return leaf.path, f"{leaf.checked} of {leaf.size}", *numbers, str(list(leaf.worst)), *values, verdict


def check_gradient(
    fn: Callable[..., Any],
    *args: Any,
    gradient: Callable[..., Any] | None = None,
    argnums: int = 0,
    step: float | None = None,
    limit: int = 100,
) -> GradientCheck:
    """Holds a gradient to central differences, in float64, array by array.

    Args:
        fn: a function that returns one float.
        *args: where to check; arrays of floats are taken as float64 for the check.
        gradient: what is checked, a function of the same arguments; `aidl_jax.autodiff.grad(fn, argnums)` if None.
        argnums: by which argument, counted from 0.
        step: the step h; the cube root of eps times max(|x|, 1) for each element if None.
        limit: how many elements of each array to look at, drawn at random (always the same ones).

    Raises:
        AutodiffError: the step is not positive, the gradient is not built like the argument, or as for `grad`.

    >>> seen = check_gradient(lambda x: jnp.sin(x).sum(), np.array([0.5, 1.0]))
    >>> seen.ok, seen.leaves[0].error < 1e-9
    (True, True)
    """
    if step is not None and not step > 0:
        raise AutodiffError("a step has to be positive", given=f"step={step}", fix="leave it out, or pass 1e-5")
    check_values("check_gradient", args)
    with jax.enable_x64(True):
        args = tuple(_doubled(arg) for arg in args)
        graph = traced(fn, args)
        sources = chosen(graph, [argnums])
        check_scalar(graph)
        found = jax.jit(grad(fn, argnums))(*args) if gradient is None else gradient(*args)
        check_like("gradients", found, args[argnums])
        run = jax.jit(fn)
        probe = _Probe(graph, run, args, argnums, step, abs(float(run(*args))))
        names = [tensor.name.partition(":")[0] for tensor in sources]
        leaves = [
            _check_leaf(probe, number, name, np.asarray(leaf), limit)
            for number, (name, leaf) in enumerate(zip(names, jax.tree.leaves(found), strict=True))
        ]
    return GradientCheck(graph.name, tuple(leaves))


def _doubled(tree: Any) -> Any:
    return jax.tree.map(
        lambda leaf: jnp.asarray(leaf, jnp.float64) if jnp.issubdtype(jnp.result_type(leaf), np.floating) else leaf,
        tree,
    )


def central_difference(fn: Callable[[float], Any], x: float, step: float) -> float:
    """(f(x + h) - f(x - h)) / 2h, with the h that is left when x + h is rounded.

    >>> abs(central_difference(np.sin, 0.0, 1e-3) - 1.0) < 1e-6
    True
    """
    high, low = x + step, x - step
    return float((float(fn(high)) - float(fn(low))) / (high - low))


@dataclass(frozen=True, eq=False)
class _Probe:
    """A function near a point: what it gives when one number of one array is another one."""

    graph: Graph
    fn: Callable[..., Any]
    args: tuple[Any, ...]
    argnums: int
    step: float | None
    size: float

    def moved(self, leaf: int, index: tuple[int, ...], number: float) -> tuple[Any, ...]:
        leaves, structure = jax.tree.flatten(self.args[self.argnums])
        changed = np.array(leaves[leaf])
        changed[index] = number
        leaves[leaf] = jnp.asarray(changed)
        return (*self.args[: self.argnums], jax.tree.unflatten(structure, leaves), *self.args[self.argnums + 1 :])

    def at(self, leaf: int, index: tuple[int, ...], number: float) -> float:
        return float(self.fn(*self.moved(leaf, index, number)))

    def eps(self) -> float:
        """The coarsest precision on the way from the argument to the loss."""
        path = find_path(self.graph, chosen(self.graph, [self.argnums]))
        dtypes = [self.graph[name].dtype for name in path.active]
        return max(float(jnp.finfo(dtype).eps) for dtype in dtypes)


def _check_leaf(probe: _Probe, leaf: int, name: str, gradient: np.ndarray, limit: int) -> LeafCheck:
    eps = probe.eps()
    values = np.asarray(jax.tree.leaves(probe.args[probe.argnums])[leaf])
    chosen_ones = np.random.default_rng(0).permutation(values.size)[:limit]
    indices = [tuple(int(part) for part in np.unravel_index(one, values.shape)) for one in sorted(chosen_ones)]
    rows = [(index, *_difference(probe, leaf, index, float(values[index]), eps)) for index in indices]
    if not rows:
        return LeafCheck(name, 0, 0, (), 0.0, 0.0, 0.0, 0.0, 0.0, (), True)
    scale = max(max(abs(float(gradient[index])), abs(slope)) for index, slope, _, _ in rows) or 1.0
    off = [abs(float(gradient[index]) - slope) / (SLACK * expected) for index, slope, _, expected in rows]
    vague = [expected / (COARSE * max(scale, probe.size)) for *_, expected in rows]
    doubt = np.nan_to_num(np.maximum(off, vague), nan=np.inf)
    index, slope, step, expected = rows[int(np.argmax(doubt))]
    ok = bool(doubt.max() <= 1)
    kinks = () if ok else tuple(_kinks(probe, leaf, index, float(values[index]), step))
    own = float(gradient[index])
    error = abs(own - slope) / scale
    return LeafCheck(name, len(rows), values.size, index, own, slope, error, step, expected / scale, kinks, ok)


def _difference(probe: _Probe, leaf: int, index: tuple[int, ...], x: float, eps: float) -> tuple[float, float, float]:
    """The slope, the step, and the error to be expected.

    The curvature's part is a third of how far the slopes of h and 2h are apart, since it grows with the square of the step.
    """
    step = probe.step or eps ** (1 / 3) * max(abs(x), 1.0)

    def fn(number: float) -> float:
        return probe.at(leaf, index, number)

    slope, wider = (central_difference(fn, x, h) for h in (step, 2 * step))
    rounding = eps * abs(fn(x)) / step
    return slope, step, abs(wider - slope) / 3 + rounding + float(np.finfo(float).tiny)


def _kinks(probe: _Probe, leaf: int, index: tuple[int, ...], x: float, step: float) -> Iterator[str]:
    """The operations that are on one side of a kink before the point, and on another one behind it."""
    before, behind = (sides(probe.graph, probe.moved(leaf, index, number)) for number in (x - step, x + step))
    for (operation, one), (_, other) in zip(before, behind, strict=True):
        if not np.array_equal(one, other):
            yield f"{operation.custom or operation.name} ({told_line(operation.source) or 'no line known'})"
