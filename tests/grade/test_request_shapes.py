"""The five shapes of task that a request must be able to ask, each as an author would write its check."""

from __future__ import annotations

import textwrap
from typing import Any, NamedTuple

import numpy as np
import pytest

from aidl_jax.exercise import (
    Draw,
    Exercise,
    Hints,
    Student,
    compare,
    function,
    grad,
    iterate,
    jvp,
    library,
    require,
    static,
    stream,
    value,
    vjp,
    vmap,
)
from aidl_jax.grade.extract import Cell
from aidl_jax.grade.judge import judge
from aidl_jax.grade.session import Session

pytestmark = pytest.mark.oldest

HINTS = Hints("idea", "where", "code")
exercise = Exercise("Five shapes")

newton = exercise.task("newton", points=1, hints=HINTS)
momentum = exercise.task("momentum", points=1, hints=HINTS)
layer = exercise.task("layer", points=1, hints=HINTS)
energy = exercise.task("energy", points=1, hints=HINTS)
pairs = exercise.task("pairs", points=1, hints=HINTS)


@newton.check
def finds_a_square_root(student: Student, draw: Draw) -> None:
    """A function that takes a function: Newton's method finds the root of x ** 2 - a."""
    a = draw.uniform(low=1.0, high=9.0)
    root = student.newton(function(lambda x: x * x - a), np.float32(3.0), static(8))
    compare(root, np.sqrt(a), length=8)


@newton.check
def takes_a_library_function(student: Student, draw: Draw) -> None:
    """It takes a function of JAX's own too: the root of sin near 3 is pi."""
    compare(student.newton(library("jax.numpy.sin"), np.float32(3.0), static(5)), np.array(np.pi), length=5)


class Trace(NamedTuple):
    """What the momentum optimizer must keep."""

    velocity: Any


@momentum.check
def two_steps(student: Student, draw: Draw) -> None:
    """An optimizer pair whose state is a NamedTuple: two steps of momentum."""
    params, first, second = ({"w": draw.normal(3)} for _ in range(3))
    rate, decay = 0.125, 0.5
    optimizer = student.momentum(static(rate), static(decay))
    state = optimizer.init(params)
    compare(state, Trace({"w": np.zeros(3)}))

    def step(grads: Any, state: Any, params: Any) -> Any:
        return optimizer.update(grads, state, params)

    once = step(first, state, params)
    twice = step(second, once[1], once[0])
    velocity = decay * first["w"] + second["w"]
    compare(
        twice,
        ({"w": params["w"] - rate * first["w"] - rate * velocity}, Trace({"w": velocity})),
        magnitude=20.0,
    )


@layer.check
def keys_and_static_sizes(student: Student, draw: Draw) -> None:
    """A key and static sizes: the same key gives the same weights, another key others."""
    key, other = draw.key(), draw.key()
    first = value(student.layer(key, static(200), static(3)))
    require(first.shape == (200, 3), "The shape is [inputs, outputs].", got=str(first.shape))
    compare(student.layer(key, static(200), static(3)), first)
    require(
        not np.array_equal(first, value(student.layer(other, static(200), static(3)))), "Another key, the same weights."
    )
    require(abs(first.std() * np.sqrt(200) - 1) < 0.2, "The standard deviation is 1 / sqrt(inputs).", got=first.std())


@energy.check
def its_derivatives(student: Student, draw: Draw) -> None:
    """`grad`, `vmap`, `jvp` and `vjp` of the student's function."""
    x, xs, v = draw.normal(4), draw.normal(5, 4), draw.normal(4)
    compare(student.energy(x), (x**2).sum() / 2)
    compare(grad(student.energy)(x), x)
    compare(vmap(grad(student.energy))(xs), xs)
    compare(jvp(student.energy)((x,), (v,)), ((x**2).sum() / 2, x @ v), magnitude=(x @ x, np.abs(x) @ np.abs(v)))
    compare(vjp(student.energy)((x,), np.float32(2.0)), (2 * x,))


@pairs.check
def by_nature_python(student: Student, draw: Draw) -> None:
    """A generator: its stream is served, its values come back as they are."""
    items = draw.integers(0, 9, 6).tolist()
    got = iterate(student.pairs(stream(items)))
    require(got.outputs == list(zip(items[::2], items[1::2], strict=True)), "These are not the pairs.", got=got.outputs)
    kinds = [event[0] for event in got.events]
    require(
        kinds[:3] == ["pull", "pull", "yield"], "Two elements make a pair; yield it before you pull more.", got=kinds
    )


ANSWERS = textwrap.dedent(
    """
    from typing import NamedTuple
    import jax, jax.numpy as jnp

    def newton(f, x, steps):
        for _ in range(steps):
            x = x - f(x) / jax.grad(f)(x)
        return x

    class Trace(NamedTuple):
        velocity: dict

    class Optimizer(NamedTuple):
        init: callable
        update: callable

    def momentum(rate, decay):
        def init(params):
            return Trace(jax.tree.map(jnp.zeros_like, params))
        def update(grads, state, params):
            velocity = jax.tree.map(lambda v, g: decay * v + g, state.velocity, grads)
            return jax.tree.map(lambda p, v: p - rate * v, params, velocity), Trace(velocity)
        return Optimizer(init, update)

    def layer(key, inputs, outputs):
        return jax.random.normal(key, (inputs, outputs)) / jnp.sqrt(inputs)

    def energy(x):
        return jnp.sum(x ** 2) / 2

    def pairs(stream):
        for first in stream:
            yield (first, next(stream))
    """
)


def test_right_answers_pass() -> None:
    with Session([Cell("answer.py", ANSWERS)], exercise) as session:
        record = judge("s00/shapes", exercise, session, seed=3)
    assert [(t.name, t.failure and t.failure.message) for t in record.tasks if t.verdict != "passed"] == []


WRONG = [
    ("x - f(x) / jax.grad(f)(x)", "x - f(x)", "newton"),
    ("decay * v + g", "v + g", "momentum"),
    ("/ jnp.sqrt(inputs)", "* 1.0", "layer"),
    ("jax.random.normal(key,", "jax.random.normal(jax.random.key(0),", "layer"),
    ("jnp.sum(x ** 2) / 2", "jnp.sum(jax.lax.stop_gradient(x) * x) / 2", "energy"),
    ("yield (first, next(stream))", "yield [first, next(stream)]", "pairs"),
]


@pytest.mark.parametrize(("old", "new", "task"), WRONG, ids=[f"{task}-{i}" for i, (_, _, task) in enumerate(WRONG)])
def test_wrong_answers_fail(old: str, new: str, task: str) -> None:
    assert old in ANSWERS
    with Session([Cell("answer.py", ANSWERS.replace(old, new))], exercise) as session:
        record = judge("s00/shapes", exercise, session, seed=3, only=task, explained=False)
    assert [t.verdict for t in record.tasks] == ["failed"]
