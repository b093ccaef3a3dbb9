"""What the lesson `s05_toolbox/scopes` says is what its functions do, and what its checks compare with is right."""

from __future__ import annotations

import functools
import runpy
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal
from solved import solved
from tensorboardX import SummaryWriter

from aidl_jax.exercise import Draw
from aidl_jax.exercise.course import open_course
from aidl_jax.exercise.summary import unpack_graph
from aidl_jax.grade.children import Start
from aidl_jax.grade.event_file import read_graph
from aidl_jax.grade.extract import Cell, extract, forbidden_use
from aidl_jax.grade.judge import judge
from aidl_jax.grade.process import Processes
from aidl_jax.grade.session import Session
from aidl_jax.graph import trace
from aidl_jax.scope import apply, init

NAME = "s05_toolbox/scopes"
IMAGES = jnp.linspace(-1, 1, 2 * 4 * 4).reshape(2, 4, 4, 1)
TARGETS = jnp.ones((2, 4, 4, 2))


solution = functools.partial(solved, NAME, "twice")


def test_the_checks_convolution_is_that_of_scipy() -> None:
    convolved = runpy.run_path(str(open_course().checks / f"{NAME}.py"))["convolved"]
    drawn = np.random.default_rng(0)
    images, weights = drawn.normal(size=(2, 5, 4, 3)), drawn.normal(size=(3, 3, 3, 2))
    expected = np.zeros((2, 5, 4, 2))
    for batch, channel, out in np.ndindex(2, 3, 2):
        expected[batch, :, :, out] += scipy.signal.correlate2d(
            images[batch, :, :, channel], weights[:, :, channel, out], "same"
        )
    np.testing.assert_allclose(convolved(images, weights), expected)
    ours = solution()["convolve"](jnp.asarray(images), jnp.asarray(weights))
    np.testing.assert_allclose(ours, expected, atol=1e-4)


def test_the_file_that_the_lesson_writes_has_the_groups_that_are_graded(tmp_path: Path) -> None:
    params, _ = init(solution()["model_loss"])(jax.random.key(0), IMAGES, TARGETS)
    graph = trace(solution()["loss_and_gradients"], params, IMAGES, TARGETS, variables=["params"])
    with SummaryWriter(str(tmp_path)) as writer:
        graph.to_tensorboard(writer)
    (file,) = tmp_path.iterdir()
    drawn = unpack_graph(read_graph(file.read_bytes()))
    assert {
        f"{half}{scope}" for half in ("", "gradients/") for scope in ("model/conv1", "model/conv2", "loss")
    } < drawn.scopes
    assert {scope.partition("/")[0] for scope in drawn.scopes} == {"model", "loss", "gradients"}


def test_two_convolutions_share_one_variable() -> None:
    twice = solution()["twice"]
    params, _ = init(twice)(jax.random.key(0), IMAGES)
    assert jax.tree.map(jnp.shape, params) == {"shared": {"weights": (3, 3, 1, 1), "biases": (1,)}}
    graph = trace(apply(twice), params, {}, IMAGES, variables=["params"])
    used = [one for one in graph.operations() if "params/shared/weights" in {given.operation for given in one.inputs}]
    assert [one.type for one in used] == ["conv_general_dilated"] * 2


def test_a_layer_that_is_renamed_begins_at_other_values_and_the_others_do_not() -> None:
    def renamed(scope: Any, images: Any) -> Any:
        for name, channels in (("first", 4), ("conv2", 2)):
            with scope.variable_scope(name) as layer:
                images = solution()["conv_relu"](layer, images, channels)
        return images

    before, _ = init(solution()["image_filter"])(jax.random.key(0), IMAGES)
    after, _ = init(renamed)(jax.random.key(0), IMAGES)
    assert not np.any(before["conv1"]["weights"] == after["first"]["weights"])
    np.testing.assert_array_equal(before["conv2"]["weights"], after["conv2"]["weights"])


def test_the_librarys_own_layers_are_forbidden_and_its_scopes_are_not() -> None:
    forbidden = open_course().exercise(NAME).forbidden
    text = "from aidl_jax import models\ndef f(scope, x): return models.conv_relu(scope, x, 2)\n"
    used = forbidden_use(extract([Cell("a.py", text)], ["f"]), "f", forbidden)
    assert used is not None and (used.name, used.line) == ("aidl_jax.models", 1)
    scoped = "from aidl_jax.scope import apply\ndef f(g, p, x): return apply(g)(p, {}, x)\n"
    assert forbidden_use(extract([Cell("a.py", scoped)], ["f"]), "f", forbidden) is None


def test_the_checks_gradients_are_those_of_jax() -> None:
    checks = runpy.run_path(str(open_course().checks / f"{NAME}.py"))
    draw = Draw(0, "gradients")
    (params, (images,)), upstream = checks["draw_smooth"](draw, 1), checks["draw_images"](draw, 2)
    gradients, sizes = checks["filter_gradients"](params, images, upstream, np.abs(upstream))
    _, pull = jax.vjp(lambda p: apply(solution()["image_filter"])(p, {}, images)[0], jax.tree.map(jnp.float32, params))
    for expected, ours, size in zip(
        *map(jax.tree.leaves, (pull(jnp.float32(upstream))[0], gradients, sizes)), strict=True
    ):
        np.testing.assert_allclose(ours, expected, atol=1e-5, rtol=1e-5)
        assert (size >= np.abs(ours)).all()


FORGED = """
import importlib
import jax

real = jax.value_and_grad

def forged(of, **options):
    def run(params):
        loss, gradients = real(of)(params)
        return loss, jax.tree.map(lambda gradient: gradient * 0, gradients)
    return run

rebound = {rebound}

def loss_and_gradients(params, images, targets):
    rebound
    return forged(lambda p: apply(model_loss)(p, {{}}, images, targets)[0])(params)
"""


@pytest.mark.parametrize(
    "rebound",
    [
        "setattr(jax, 'value_and_grad', forged)",
        "importlib.import_module('aidl' + '_jax.grade.tracing').TRANSFORMS.update(value_and_grad=forged)",
    ],
)
def test_gradients_of_zero_fail_though_jax_is_made_to_find_them(start: Start, rebound: str) -> None:
    exercise = open_course().exercise(NAME)
    text = open_course().solution(NAME).read_text(encoding="utf-8")
    cells = [Cell("solution.py", text), Cell("forged.py", FORGED.format(rebound=rebound))]
    with Session(cells, exercise, Processes(start)) as session:
        (record,) = judge(NAME, exercise, session, 0, only="loss_and_gradients", draws=1, explained=False).tasks
    assert [check.name for check in record.checks if check.verdict == "failed"] == ["loss_and_its_gradients"]
    assert record.failure is not None
    assert record.failure.kind == "value"


NOTHING = """
import importlib

def filter_difference(scope, one, two):
    table = importlib.import_module("aidl" + "_jax.grade.tracing").TRANSFORMS
    table["grad"] = lambda of, **options: lambda params: {"filter": {}}
    with scope.variable_scope("filter", reuse="auto") as shared:
        return image_filter(shared, one) - jax.lax.stop_gradient(image_filter(shared, two))
"""


def test_no_gradients_at_all_fail_though_jax_is_made_to_find_none(start: Start) -> None:
    exercise = open_course().exercise(NAME)
    text = open_course().solution(NAME).read_text(encoding="utf-8")
    cells = [Cell("solution.py", text), Cell("forged.py", NOTHING)]
    with Session(cells, exercise, Processes(start)) as session:
        (record,) = judge(NAME, exercise, session, 0, only="filter_difference", draws=1, explained=False).tasks
    assert [check.name for check in record.checks if check.verdict == "failed"] == ["gradients_add_up"]
    assert record.failure is not None
    assert record.failure.kind == "structure"
