"""The solutions of `s03_autodiff/backprop` agree with JAX's own gradients, on random tapes and on deep networks' worth of numbers."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from solved import solved

from aidl_jax.exercise.course import open_course
from aidl_jax.exercise.source import student_text
from aidl_jax.grade.extract import Cell, extract, forbidden_use
from aidl_jax.grade.judge import judge
from aidl_jax.grade.session import Session

NAME = "s03_autodiff/backprop"
ONE_INPUT = ["sin", "exp", "log", "tanh", "relu"]
TWO_INPUTS = ["add", "multiply", "divide"]


def text() -> str:
    return open_course().solution(NAME).read_text(encoding="utf-8")


solution = functools.partial(solved, NAME)


@pytest.mark.parametrize("operation", TWO_INPUTS + ONE_INPUT)
@pytest.mark.parametrize("at", [(0.7, 1.9), (2.5, -0.6)])
def test_local_derivatives_are_those_of_jax(operation: str, at: tuple[float, float]) -> None:
    inputs = [jnp.float32(one) for one in (at if operation in TWO_INPUTS else at[:1])]
    expected = jax.grad(solution()["OPERATIONS"][operation], argnums=tuple(range(len(inputs))))(*inputs)
    np.testing.assert_allclose(solution()["local_derivatives"](operation, inputs), expected, rtol=1e-6)


def random_tape(generator: np.random.Generator, inputs: int, length: int) -> list[tuple[str, list[int]]]:
    """Any operations of any earlier values, kept away from poles: log and exp of a tanh alone would leave its range."""
    tape: list[tuple[str, list[int]]] = []
    for number in range(inputs, inputs + length):
        operation = str(generator.choice(["add", "multiply", "sin", "tanh", "relu"]))
        count = 2 if operation in TWO_INPUTS else 1
        tape.append((operation, generator.integers(0, number, count).tolist()))
    return tape


@pytest.mark.parametrize("seed", range(8))
def test_backward_on_random_tapes_is_jax_grad(seed: int) -> None:
    generator = np.random.default_rng(seed)
    tape = random_tape(generator, inputs=3, length=12)
    inputs = [jnp.float32(one) for one in generator.uniform(0.4, 1.4, 3)]
    expected = jax.grad(lambda given: solution()["run_tape"](tape, given)[-1])(inputs)
    size = max(1.0, float(np.max(np.abs(expected))))
    np.testing.assert_allclose(solution()["backward"](tape, inputs), expected, rtol=0, atol=1e-4 * size)


def test_network_gradients_of_a_loss_are_jax_grad() -> None:
    keys = jax.random.split(jax.random.key(0), 5)
    widths = (6, 5, 4, 3)
    params = {f"W{n + 1}": jax.random.normal(keys[n], widths[n : n + 2]) for n in range(3)}
    x, targets = jax.random.normal(keys[3], (7, 6)), jax.random.normal(keys[4], (7, 3))

    def loss(params: Any) -> jax.Array:
        return jnp.mean((solution()["network"](params, x) - targets) ** 2)

    outputs = solution()["network"](params, x)
    ours = solution()["network_gradients"](params, x, 2 * (outputs - targets) / outputs.size)
    for name, expected in jax.grad(loss)(params).items():
        np.testing.assert_allclose(ours[name], expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "used",
    [
        "import jax\ndef backward(tape, inputs): return jax.grad(lambda given: run_tape(tape, given)[-1])(inputs)",
        "from jax import value_and_grad as g\ndef backward(tape, inputs): return g(lambda v: run_tape(tape, v)[-1])(inputs)[1]",
        "import jax\ndef backward(tape, inputs): return jax.jacrev(lambda given: run_tape(tape, given)[-1])(inputs)",
        "import jax as j\ndef backward(tape, inputs): return j.vjp(lambda *v: run_tape(tape, v)[-1], *inputs)[1](1.0)",
        "from aidl_jax.autodiff import grad\ndef backward(tape, inputs): return grad(lambda v: run_tape(tape, v)[-1])(inputs)",
    ],
    ids=["grad", "value_and_grad", "jacrev", "vjp", "autodiff"],
)
def test_an_answer_by_automatic_differentiation_is_noticed(used: str) -> None:
    exercise = open_course().exercise(NAME)
    cells = [Cell("solution.py", text()), Cell("answer.py", used)]
    assert forbidden_use(extract(cells, exercise.tasks), "backward", exercise.forbidden) is not None
    assert forbidden_use(extract(cells[:1], exercise.tasks), "backward", exercise.forbidden) is None


def test_it_is_explained_as_not_what_is_asked() -> None:
    used = "import jax\n\n\ndef backward(tape, inputs):\n    return jax.grad(lambda v: run_tape(tape, v)[-1])(inputs)\n"
    exercise = open_course().exercise(NAME)
    cells = [Cell("answer.py", student_text(text(), NAME)), Cell("more.py", used)]
    with Session(cells, exercise) as session:
        record = judge(NAME, exercise, session, seed=0, only="backward")
    failure = record.tasks[0].failure
    assert failure is not None
    assert failure.message == "This uses jax.grad, which this exercise asks you to do without."
    assert failure.line == "line 5: return jax.grad(lambda v: run_tape(tape, v)[-1])(inputs)"
