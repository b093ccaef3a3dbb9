"""Pictures of a race: the losses, and on a surface of two parameters the ways down.

Colour and marker tell the optimizer, the line's style its rates, so that a picture can be read in grey; the colours are those of
M. Okabe and K. Ito, Color Universal Design (2008). A run that went up and away ends in a cross.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from aidl_jax.errors import OptimizerError
from aidl_jax.racing import Race

__all__ = ["plot"]

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "p", "*")
LINES = ("-", "--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)))
AWAY = 30  # times the loss at the start: what lies above is out of the picture


def plot(
    race: Race,
    surface: Callable[[Any], Any] | None = None,
    *,
    title: str = "Race of optimizers",
    minimum: Sequence[float] | None = None,
    window: Sequence[Sequence[float]] | None = None,
    average_over: int = 1,
) -> Any:
    """Draws the losses and, if a surface is given, each optimizer's trajectories on it.

    Args:
        race: what `race` returned.
        surface: `params -> loss`, for params of two numbers; its height is drawn in greys, the lower the darker.
        title: what stands above.
        minimum: where the surface is lowest, drawn as a star.
        window: `((left, right), (bottom, top))` of the surface; by default what the runs that did not go away have seen.
        average_over: how many steps a drawn loss is the mean of, for noisy batches.

    Returns:
        The matplotlib figure: `figure.savefig("race.png")`; a notebook shows it where it is the last line of a cell.

    Raises:
        OptimizerError: a surface was given for other than two parameters.
    """
    from matplotlib import pyplot as plt

    if surface is not None and race.trajectories is None:
        raise OptimizerError(
            "trajectories are drawn for two parameters",
            given=f"{sum(leaf[0].size for leaf in jax.tree.leaves(race.params))} parameters",
            fix="plot(race) without a surface draws the losses",
        )
    kinds = list(dict.fromkeys(race.optimizers)) if surface is not None else []
    rows = min(2, max(1, len(kinds)))
    columns = math.ceil(len(kinds) / rows)
    width = columns if rows == 2 else 2 * columns  # a panel alone is as high as two, and as wide
    figure = plt.figure(figsize=(9.4 + 2.9 * width, 5.6), layout="constrained")
    figure.suptitle(title, fontsize=16, x=0.01, ha="left")
    grid = figure.add_gridspec(1, 1 + bool(columns), width_ratios=[2.1, width][: 1 + bool(columns)])
    losses = figure.add_subplot(grid[0])
    _draw_losses(losses, race, average_over)
    if surface is not None:
        drawn, small = _Surface(race, surface, minimum, window), grid[1].subgridspec(rows, columns)
        for number, kind in enumerate(kinds):
            panel = figure.add_subplot(small[number])
            _draw_ways(panel, race, kind, drawn)
            _label(panel, drawn.names, is_lowest=number + columns >= len(kinds), is_first=number % columns == 0)
    _draw_legend(figure, losses, race, surface is not None, surface is not None and minimum is not None)
    plt.close(figure)  # else a notebook would show it twice
    return figure


def _draw_losses(axes: Any, race: Race, average_over: int) -> None:
    steps = race.losses.shape[1]
    start = np.abs(race.losses[:, 0]).max()
    finite = race.losses[np.isfinite(race.losses)]
    if finite.size and finite.min() >= 0 and start > 0:
        axes.set_yscale("log")
    lowest, highest = math.inf, start
    for number, name in enumerate(race.names):
        losses = race.curve(name).astype(float)
        values = _averaged(losses[: _leading(np.isfinite(losses))], average_over)
        at = np.arange(len(values)) + average_over - 1
        offset = int(
            steps * (0.02 + 0.08 * number / len(race.names))
        )  # so that markers of equal curves don't hide each other
        axes.plot(
            at,
            values,
            label=name,
            markevery=(min(offset, max(len(values) - 1, 0)), max(steps // 8, 1)),
            **_style(race, name),
        )
        if name in _gone(race):
            first = _leading(values <= AWAY * start)
            _cross(axes, at[min(first, len(at) - 1)] if len(at) else 0, AWAY * start, race, name)
            highest = AWAY * start
        if (values > 0).any():
            lowest, highest = min(lowest, values[values > 0].min()), min(max(highest, values.max()), AWAY * start)
    if axes.get_yscale() == "log":
        axes.set_ylim(max(lowest / 2, 1e-9 * start), highest * 1.5)
    elif _gone(race):
        axes.set_ylim(top=highest)
    axes.set_xlim(-0.01 * steps, 1.01 * steps)
    axes.set_xlabel("step")
    axes.set_ylabel("loss before the step" + (f", mean of the last {average_over}" if average_over > 1 else ""))
    axes.grid(True, which="major", color="0.9")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


class _Surface:
    """Heights above the lowest point on a grid, their fourth roots so that a valley's floor shows, and where it lies."""

    def __init__(self, race: Race, surface: Any, minimum: Any, window: Any) -> None:
        self.minimum = minimum
        across, up = _window(race, minimum) if window is None else window
        self.left, self.right = map(float, across)
        self.bottom, self.top = map(float, up)
        self.x, self.y = np.linspace(self.left, self.right, 200), np.linspace(self.bottom, self.top, 200)
        heights = _heights(race, surface, self.x, self.y)
        self.above = (heights - heights.min()) ** 0.25
        self.names = _axis_names(race)

    def holds(self, places: np.ndarray) -> np.ndarray:
        """Which of the places lie in the window."""
        low, high = (self.left, self.bottom), (self.right, self.top)
        return np.all((places >= low) & (places <= high), axis=1)

    def far(self, places: np.ndarray) -> np.ndarray:
        """Which of the places are so far from the one before that a dot for each step can be seen."""
        jumps = np.diff(places, axis=0, prepend=places[:1]) / (self.right - self.left, self.top - self.bottom)
        return np.hypot(*jumps.T) > 0.02


def _draw_ways(axes: Any, race: Race, kind: str, surface: _Surface) -> None:
    assert race.trajectories is not None
    levels = np.linspace(surface.above.min(), surface.above.max() + 1e-6, 13)
    greys = [str(grey) for grey in np.linspace(0.72, 0.97, 12)]
    axes.contourf(surface.x, surface.y, surface.above, levels, colors=greys)
    axes.contour(surface.x, surface.y, surface.above, levels, colors="white", linewidths=0.5)
    if surface.minimum is not None:
        axes.plot(*surface.minimum, "*", color="white", markeredgecolor="black", markersize=15)
    for name, its, places in zip(race.names, race.optimizers, race.trajectories.astype(float), strict=True):
        if its == kind:
            style = _style(race, name) | {"markersize": 9, "markeredgecolor": "black"}
            if name in _gone(race):
                inside = max(_leading(surface.holds(places)), 1)
                _cross(axes, places[inside - 1, 0], places[inside - 1, 1], race, name)
                places = places[: min(inside + 1, _leading(np.isfinite(places).all(axis=1)))]
            else:
                axes.plot(*places[-1], **style)
            axes.plot(*places.T, **style | {"linewidth": 1.5, "marker": ""})
            axes.plot(*places[surface.far(places)].T, ".", color=style["color"], markersize=4)
    axes.plot(*race.trajectories[0, 0], "o", color="white", markeredgecolor="black", markersize=8, zorder=5)
    axes.set_xlim(surface.left, surface.right)
    axes.set_ylim(surface.bottom, surface.top)
    axes.set_title(kind, fontsize=12)


def _label(axes: Any, names: Sequence[str], is_lowest: bool, is_first: bool) -> None:
    """Names and numbers of a panel's axes, once per row and column of panels."""
    axes.tick_params(labelbottom=is_lowest, labelleft=is_first)
    axes.set_xlabel(names[0] if is_lowest else "")
    axes.set_ylabel(names[1] if is_first else "")


def _draw_legend(figure: Any, losses: Any, race: Race, has_surface: bool, has_minimum: bool) -> None:
    lines = {line.get_label(): line for line in losses.get_lines()}
    last = race.last_losses
    entries = {
        f"{name}: diverged at step {race.diverged[name]}"
        if name in race.diverged
        else f"{name}: {last[name]:.2g}": lines[name]
        for name in race.ranking()
    }
    for label, marker, is_there in (
        ("went up and away", "X", bool(_gone(race))),
        ("start", "o", has_surface),
        ("minimum", "*", has_minimum),
    ):
        if is_there:
            (entries[label],) = losses.plot([], [], marker, color="white", markeredgecolor="black", markersize=10)
    figure.legend(
        entries.values(),
        entries.keys(),
        loc="outside right upper",
        title="best first, with the mean loss\nover the last tenth of the steps",
        handlelength=4,
        frameon=False,
        alignment="left",
    )


def _style(race: Race, name: str) -> dict[str, Any]:
    kind = race.optimizers[race.names.index(name)]
    number = list(dict.fromkeys(race.optimizers)).index(kind)
    siblings = [other for other, its in zip(race.names, race.optimizers, strict=True) if its == kind]
    return {
        "color": COLOURS[number % len(COLOURS)],
        "marker": MARKERS[number % len(MARKERS)],
        "linestyle": LINES[siblings.index(name) % len(LINES)],
        "markersize": 7,
        "linewidth": 1.8,
        "markeredgecolor": "white",
        "markeredgewidth": 0.6,
    }


def _gone(race: Race) -> set[str]:
    """What diverged, and what is on its way there: at the end far above where all began."""
    high = race.losses[:, -1] > AWAY * np.abs(race.losses[:, 0])
    return {*race.diverged, *(name for name, is_high in zip(race.names, high, strict=True) if is_high)}


def _heights(race: Race, surface: Any, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    _, unravel = ravel_pytree(jax.tree.map(lambda leaf: leaf[0], race.params))
    points = jnp.stack([jnp.ravel(part) for part in jnp.meshgrid(jnp.float32(x), jnp.float32(y))], axis=1)
    return np.asarray(jax.vmap(lambda point: surface(unravel(point)))(points), float).reshape(len(y), len(x))


def _window(race: Race, minimum: Any) -> list[tuple[float, float]]:
    assert race.trajectories is not None
    kept = [run for run, name in enumerate(race.names) if name not in _gone(race)]
    seen = [race.trajectories[:, 0], *race.trajectories[kept], *([np.array([minimum])] if minimum is not None else [])]
    points = np.concatenate(seen).astype(float)
    low, high = points.min(axis=0), points.max(axis=0)
    margin = 0.1 * (high - low) + 0.05 * np.max(high - low) + 1e-3
    return list(zip(low - margin, high + margin, strict=True))


def _axis_names(race: Race) -> list[str]:
    names: list[str] = []
    for path, leaf in jax.tree.leaves_with_path(race.params):
        name = jax.tree_util.keystr(path, simple=True, separator="/") or "params"
        names += [name] if leaf[0].ndim == 0 else [f"{name}{list(index)}" for index in np.ndindex(leaf[0].shape)]
    return names


def _cross(axes: Any, x: float, y: float, race: Race, name: str) -> None:
    (cross,) = axes.plot(x, y, "X", color=_style(race, name)["color"], markeredgecolor="black", markersize=11, zorder=6)
    cross.set_label(f"_{name}")


def _averaged(values: np.ndarray, over: int) -> np.ndarray:
    if len(values) < over:
        return values[:0]
    return np.convolve(values, np.full(over, 1 / over), mode="valid")


def _leading(is_good: np.ndarray) -> int:
    """How many are good before the first that is not."""
    return len(is_good) if is_good.all() else int(is_good.argmin())
