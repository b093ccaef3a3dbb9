"""A race against a plain Python loop over the same optimizers, and its pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from aidl_jax import race_plots, racing
from aidl_jax.errors import OptimizerError
from aidl_jax.optimizers import adam, minimize, momentum, rmsprop, sgd
from aidl_jax.race_plots import plot
from aidl_jax.racing import race
from aidl_jax.regularization import average_params, clip_gradients
from aidl_jax.schedules import cosine

RNG = np.random.default_rng(0)
BATCHES = [(np.float32(RNG.normal(size=(8, 3))), RNG.integers(0, 2, 8)) for _ in range(12)]
PARAMS = {"layer1": {"w": np.float32(RNG.normal(size=(3, 4))), "b": np.zeros(4, np.float32)}, "out": np.float32(RNG.normal(size=(4, 2)))}  # fmt: skip


def loss_fn(params: Any, x: Any, labels: Any) -> Any:
    hidden = jnp.tanh(x @ params["layer1"]["w"] + params["layer1"]["b"])
    return optax.softmax_cross_entropy_with_integer_labels(hidden @ params["out"], labels).mean()


def bowl(p: Any) -> Any:
    return (p["x"] ** 2 + 20 * p["y"] ** 2) / 2


CORNER = {"x": jnp.float32(4), "y": jnp.float32(1)}


def loop(optimizer: Any, loss_fn: Any, params: Any, batches: list[Any]) -> tuple[list[float], Any]:
    """The same in Python."""
    train_step, opt_state, losses = minimize(loss_fn, optimizer), optimizer.init(params), []
    for batch in batches:
        params, opt_state, loss = train_step(params, opt_state, *batch)
        losses.append(float(loss))
    return losses, params


def test_the_public_names() -> None:
    assert racing.__all__ == ["Race", "race"] and race_plots.__all__ == ["plot"]


@pytest.mark.oldest
def test_every_run_is_the_plain_loop_step_by_step() -> None:
    def scheduled(rate: Any) -> Any:
        return clip_gradients(average_params(momentum(cosine(rate, 12))), 0.5)

    entries = {
        "SGD": (sgd, [0.5, 0.1, 0.0]),
        "Adam": (adam, [0.1, 0.01]),
        "optax's lion": (optax.lion, [0.01]),
        "scheduled": (scheduled, [0.3, 0.2]),
        "ready": rmsprop(0.01),
        "plateau": optax.chain(optax.sgd(0.1), optax.contrib.reduce_on_plateau(patience=2)),
    }
    alone = [sgd(0.5), sgd(0.1), sgd(0.0), adam(0.1), adam(0.01), optax.lion(0.01), scheduled(0.3), scheduled(0.2), entries["ready"], entries["plateau"]]  # fmt: skip
    found = race(entries, loss_fn, PARAMS, BATCHES)
    assert found.names == ("SGD 0.5", "SGD 0.1", "SGD 0", "Adam 0.1", "Adam 0.01", "optax's lion 0.01", "scheduled 0.3", "scheduled 0.2", "ready", "plateau")  # fmt: skip
    assert found.losses.shape == (10, 12) and found.trajectories is None and found.diverged == {}
    for run, optimizer in enumerate(alone):
        losses, params = loop(optimizer, loss_fn, PARAMS, BATCHES)
        np.testing.assert_allclose(found.losses[run], losses, rtol=2e-5, err_msg=found.names[run])
        mine = jax.tree.map(lambda leaf, run=run: leaf[run], found.params)
        assert jax.tree.structure(mine) == jax.tree.structure(params)
        for one, other in zip(jax.tree.leaves(mine), jax.tree.leaves(params), strict=True):
            assert one.dtype == other.dtype
            np.testing.assert_allclose(one, other, rtol=2e-4, atol=2e-5, err_msg=found.names[run])
    np.testing.assert_array_equal(found.curve("Adam 0.01"), found.losses[4])


@pytest.mark.oldest
def test_the_loss_is_traced_once_for_all() -> None:
    traced = []

    def counted(params: Any, x: Any, labels: Any) -> Any:
        traced.append(x.shape)
        return loss_fn(params, x, labels)

    race({"SGD": (sgd, [0.1, 0.2]), "Adam": (adam, [0.1, 0.2, 0.3]), "RMSProp": rmsprop(0.1)}, counted, PARAMS, BATCHES)
    assert traced == [(8, 3)]


def test_dtypes_stay() -> None:
    params = {"w": jnp.bfloat16([1, 2]), "b": jnp.float32(1), "plain": 1.0}
    found = race({"Adam": (adam, [0.1])}, lambda p: jnp.sum(p["w"] ** 2).astype(float) + p["b"] ** 2 + p["plain"] ** 2, params, [()] * 3)  # fmt: skip
    assert [leaf.dtype for leaf in jax.tree.leaves(found.params)] == [jnp.float32, jnp.float32, jnp.bfloat16]


@pytest.mark.oldest
def test_trajectories_of_a_bowl_are_the_closed_form() -> None:
    found = race({"SGD": (sgd, [0.01, 0.05])}, bowl, CORNER, [()] * 30)
    assert found.trajectories is not None and found.trajectories.shape == (2, 31, 2)
    for run, rate in enumerate([0.01, 0.05]):
        t = np.arange(31)
        expected = np.stack([4 * (1 - rate) ** t, (1 - 20 * rate) ** np.float64(t)], axis=1)
        np.testing.assert_allclose(found.trajectories[run], expected, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(found.losses[run], (expected[:-1] ** 2 @ [1, 20]) / 2, rtol=1e-3, atol=1e-7)


def test_what_diverged_stays_and_is_last() -> None:
    found = race({"SGD": (sgd, [5.0, 0.05]), "nan": sgd(0.05), "late": (sgd, [1e38])}, bowl, CORNER, [()] * 60)
    assert found.ranking()[:2] == ["SGD 0.05", "nan"] and set(found.diverged) == {"SGD 5", "late 1e+38"}
    step = found.diverged["SGD 5"]
    assert not np.isfinite(found.losses[0, step:]).any() and np.isfinite(found.losses[0, :step]).all()
    assert np.isnan(found.last_losses["SGD 5"]) and found.last_losses["nan"] == pytest.approx(
        found.losses[2, -6:].mean()
    )
    one = race({"SGD": (sgd, [1e38])}, lambda p: p["x"] ** 2 * 1e3, CORNER, [()])
    assert one.diverged == {"SGD 1e+38": 1}  # its only loss is finite, its parameters are not


TOLD: list[tuple[Callable[[], Any], str]] = [
    (lambda: race({}, bowl, CORNER, [()]), "there are no optimizers to race. Fix: race({"),
    (lambda: race({"a": sgd(0.1)}, bowl, CORNER, []), "there are no batches. Fix: a race takes a step per batch; without data, [()] * 200"),
    (lambda: race({"a": sgd}, bowl, CORNER, [()]), "'a' is neither an optimizer nor a function that makes one with its rates: given <function sgd"),
    (lambda: race({"a": (sgd, [])}, bowl, CORNER, [()]), "'a' is neither an optimizer nor"),
    (lambda: race({"a": (sgd(0.1), [0.1])}, bowl, CORNER, [()]), "'a' is neither an optimizer nor"),
    (lambda: race({"a": (float, [0.1])}, bowl, CORNER, [()]), "'a' is neither an optimizer nor"),
    (lambda: race({"a": (sgd, [0.1, -0.1])}, bowl, CORNER, [()]), "a rate of 'a' is not one that can be used"),
    (lambda: race({"a": (sgd, [0.1, 0.1])}, bowl, CORNER, [()]), "two runs have the same name: given 'a 0.1'. Fix: give each run a name of its own"),
    (lambda: race({"a": sgd(0.1)}, bowl, CORNER, [np.ones(3)]), "batches[0]: a batch is a tuple of what the loss takes after the params: given a ndarray. Fix: (batch,) where"),
    (lambda: race({"a": sgd(0.1)}, loss_fn, PARAMS, [*BATCHES, (np.ones((5, 3), np.float32), np.ones(5, int))]), "batches[12]: all batches of a race have the same shapes: given ('float32[5, 3]'"),
    (lambda: race({"a": sgd(0.1)}, lambda p: p["x"] * jnp.ones(3), CORNER, [()]), "a loss is one floating-point number: given float32[3]"),
    (lambda: race({"a": sgd(0.1)}, bowl, {"x": 1, "y": 1.0}, [()]), "params/x: a parameter that an optimizer changes is of floating point"),
    (lambda: race({"a": sgd(0.1)}, bowl, CORNER, [()]).curve("b"), "no run has this name: given 'b'. Fix: choose from 'a'"),
    (lambda: plot(race({"a": sgd(0.1)}, loss_fn, PARAMS, BATCHES), bowl), "trajectories are drawn for two parameters: given 24 parameters. Fix: plot(race) without a surface"),
]  # fmt: skip


@pytest.mark.parametrize(("ask", "told"), TOLD)
def test_errors_say_what_and_how(ask: Callable[[], Any], told: str) -> None:
    with pytest.raises(OptimizerError) as caught:
        ask()
    assert told in str(caught.value)


def test_plot_draws_every_run_and_says_which_diverged(tmp_path: Path) -> None:
    entries = {"SGD": (sgd, [0.05, 0.01, 3.0]), "Momentum": (momentum, [0.01]), "Adam": (adam, [0.3])}
    found = race(entries, bowl, CORNER, [()] * 60)
    figure = plot(found, bowl, title="A bowl", minimum=(0, 0))
    losses, *panels = figure.axes
    assert [axes.get_title() for axes in panels] == ["SGD", "Momentum", "Adam"]
    assert losses.get_yscale() == "log" and losses.get_xlabel() == "step"
    # SGD and Momentum above, Adam below SGD: nothing is below Momentum, so it has its own numbers
    assert [axes.get_xlabel() for axes in panels] == ["", "x", "x"]
    assert [axes.xaxis.get_tick_params()["labelbottom"] for axes in panels] == [False, True, True]
    assert [axes.get_ylabel() for axes in panels] == ["y", "", "y"]
    lines = {line.get_label(): line for line in losses.get_lines()}
    assert set(found.names) <= set(lines)
    np.testing.assert_allclose(lines["Adam 0.3"].get_ydata(), found.curve("Adam 0.3"))
    told = [text.get_text() for text in figure.legends[0].get_texts()]
    assert told[: len(found.names) - 1] == [f"{name}: {found.last_losses[name]:.2g}" for name in found.ranking()[:-1]]
    assert f"SGD 3: diverged at step {found.diverged['SGD 3']}" in told and "went up and away" in told
    looks = {(line.get_color(), line.get_linestyle(), line.get_marker()) for name, line in lines.items() if name in found.names}  # fmt: skip
    assert len(looks) == len(found.names)
    assert all(axes.get_xlim()[1] < 10 for axes in panels)  # what went away does not set the window
    figure.savefig(tmp_path / "race.png")
    assert (tmp_path / "race.png").stat().st_size > 10_000


@pytest.mark.parametrize("average_over", [1, 4, 50])
def test_plot_without_a_surface(average_over: int, tmp_path: Path) -> None:
    found = race({"SGD": (sgd, [0.1, 0.2])}, lambda p, x, t: loss_fn(p, x, t) - 1, PARAMS, BATCHES)
    figure = plot(found, average_over=average_over)
    (axes,) = figure.axes
    assert axes.get_yscale() == "linear"  # a loss below 0 has no logarithm
    drawn = axes.get_lines()[0].get_ydata()
    assert len(drawn) == max(0, 13 - average_over)
    if average_over == 4:
        np.testing.assert_allclose(drawn[0], found.losses[0, :4].mean(), rtol=1e-5)
    figure.savefig(tmp_path / "race.png")
