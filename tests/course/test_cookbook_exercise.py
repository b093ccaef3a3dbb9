"""The solutions of `s06_full_model/cookbook` agree with the library's own reports and diagnosis, and with optax."""

from __future__ import annotations

import functools
import itertools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from solved import solved

from aidl_jax.train.cookbook import error_gaps
from aidl_jax.train.cookbook_reports import StartReport
from aidl_jax.train.diagnosis import Timings, diagnose

NAME = "s06_full_model/cookbook"
NUMBERS = {"model": 1, "transfer": 2, "preprocessing": 3, "disk": 4}
MEASURED = [dict(zip(NUMBERS, times, strict=True)) for times in itertools.permutations((0.003, 0.012, 0.02, 0.041))]


solution = functools.partial(solved, NAME)


@pytest.mark.parametrize("classes", [2, 10, 1000])
@pytest.mark.parametrize("share", [0, 0.79, 0.81, 1, 1.19, 1.21, 5, math.nan, math.inf])
def test_verdicts_are_the_librarys(share: float, classes: int) -> None:
    report = StartReport(share * math.log(classes), classes)
    verdict = solution()["verdict_at_start"](report.loss, classes)
    assert report.advice.startswith({"fine": "as it should be"}.get(verdict, verdict))


def test_one_batch_is_overfitted_as_optax_would() -> None:
    x, labels = jax.random.normal(jax.random.key(0), (8, 5)), jnp.arange(8) % 3

    def loss_fn(params: Any, batch: Any) -> jax.Array:
        logits = batch[0] @ params["out"]["w"] + params["out"]["b"]
        return optax.softmax_cross_entropy_with_integer_labels(logits, batch[1]).mean()

    params = {"out": {"w": jnp.zeros((5, 3)), "b": jnp.zeros(3)}}
    last, losses = solution()["overfit_one_batch"](loss_fn, params, (x, labels), 1.0, 400)
    optimizer, expected = optax.sgd(1.0), []
    state, step = optimizer.init(params), jax.jit(jax.value_and_grad(loss_fn))
    for _ in range(20):
        loss, grads = step(params, (x, labels))
        updates, state = optimizer.update(grads, state)
        params = optax.apply_updates(params, updates)
        expected.append(float(loss))
    np.testing.assert_allclose(losses[:20], expected, rtol=1e-4)
    assert losses[-1] < 0.1
    assert float(loss_fn(last, (x, labels))) < float(losses[-1])


def test_the_baseline_is_where_a_bias_alone_ends() -> None:
    labels = jnp.array([0, 0, 0, 2, 2, 3])
    bias = jnp.log(jnp.array([3, 1e-6, 2, 1]))
    best = optax.softmax_cross_entropy_with_integer_labels(jnp.tile(bias, (6, 1)), labels).mean()
    loss, accuracy = solution()["baseline"](labels, 4)
    assert float(loss) == pytest.approx(float(best), rel=1e-5)
    assert float(accuracy) == 0.5


@pytest.mark.parametrize("prefetch", [False, True])
@pytest.mark.parametrize("stages", MEASURED)
def test_bottlenecks_are_those_of_the_librarys_diagnosis(stages: dict[str, float], prefetch: bool) -> None:
    now = solution()["iteration_time"](stages, prefetch)
    disk, cpu = stages["disk"], stages["preprocessing"]
    timings = Timings(read=disk, decode=cpu, map=0, batch=0, copy=stages["transfer"], step=stages["model"], pipeline=disk + cpu, iteration=now)  # fmt: skip
    assert now == pytest.approx(timings.maximum if prefetch else timings.sum)
    assert NUMBERS[solution()["bottleneck"](stages, prefetch)] == diagnose(timings).bottleneck


@pytest.mark.parametrize("prefetch", [False, True])
@pytest.mark.parametrize("stages", MEASURED)
def test_nothing_brings_more_than_the_bottleneck(stages: dict[str, float], prefetch: bool) -> None:
    rates = {stage: solution()["rate_after"](stages, prefetch, stage, 0.5) for stage in stages}
    assert rates[solution()["bottleneck"](stages, prefetch)] >= max(rates.values()) - 1e-9


@pytest.mark.parametrize("errors", [(0.01, 0.1, 0.12), (0.01, 0.02, 0.12), (0.09, 0.10, 0.12), (0.1, 0.02, 0.05)])
def test_advice_is_the_librarys(errors: tuple[float, float, float]) -> None:
    larger, _ = solution()["what_to_do"](*errors, [])
    assert error_gaps(*errors).advice.startswith(f"{larger}: ")
