"""The solutions of `s03_autodiff/forward` agree with JAX, with XLA's own counts, with the library's residuals and with a search."""

from __future__ import annotations

import functools
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from solved import solved

from aidl_jax import autodiff
from aidl_jax.exercise.course import open_course
from aidl_jax.grade.extract import Cell, extract, forbidden_use

NAME = "s03_autodiff/forward"
OPERATIONS: dict[str, Any] = {
    "add": jnp.add,
    "subtract": jnp.subtract,
    "multiply": jnp.multiply,
    "divide": jnp.divide,
    "sin": jnp.sin,
    "exp": jnp.exp,
    "tanh": jnp.tanh,
    "sum": jnp.sum,
    "matmul": jnp.matmul,
}
Tape = list[tuple[str, list[int]]]


def text() -> str:
    return open_course().solution(NAME).read_text(encoding="utf-8")


solution = functools.partial(solved, NAME)


def run(tape: Tape, inputs: Any) -> list[Any]:
    """All values of a tape."""
    values = list(inputs)
    for operation, sources in tape:
        values.append(OPERATIONS[operation](*(values[source] for source in sources)))
    return values


@pytest.mark.parametrize("operation", ["add", "subtract", "multiply", "divide", "sin", "exp"])
def test_dual_numbers_are_jvp(operation: str) -> None:
    count = 1 if operation in ("sin", "exp") else 2
    values, tangents = [jnp.float32(0.7), jnp.float32(-1.3)][:count], [jnp.float32(0.4), jnp.float32(2.1)][:count]
    expected = jax.jvp(OPERATIONS[operation], values, tangents)
    np.testing.assert_allclose(
        solution()["dual"](operation, list(zip(values, tangents, strict=True))), expected, rtol=1e-6
    )


def test_a_directional_derivative_is_the_gradient_times_the_direction() -> None:
    tape: Tape = [("multiply", [0, 1]), ("exp", [2]), ("divide", [3, 1]), ("sin", [0]), ("subtract", [4, 5])]
    point, direction = jnp.float32([0.8, 1.7]), jnp.float32([0.3, -0.9])
    gradient = jax.grad(lambda given: run(tape, given)[-1])(point)
    ours = solution()["directional_derivative"](tape, list(point), list(direction))
    np.testing.assert_allclose(ours, gradient @ direction, rtol=1e-6)


@pytest.mark.parametrize("widths", [[7, 1], [6, 4, 5], [1, 3, 8, 2]])
def test_jacobian_costs_are_what_xla_counts(widths: list[int]) -> None:
    """A FLOP for each multiplication and one for each addition; the first product with a unit matrix is one, too."""
    matrices = [jnp.ones((after, before)) for before, after in itertools.pairwise(widths)]

    def forward(tangents: Any) -> Any:
        return functools.reduce(lambda so_far, matrix: matrix @ so_far, matrices, tangents)

    def reverse(gradients: Any) -> Any:
        return functools.reduce(lambda so_far, matrix: so_far @ matrix, matrices[::-1], gradients)

    ends = jnp.eye(widths[0]), jnp.eye(widths[-1])
    counted = [autodiff.flops(way, end) // 2 for way, end in zip((forward, reverse), ends, strict=True)]
    assert list(solution()["jacobian_costs"](widths)) == counted


@pytest.mark.parametrize("value", [0.4, -3.0])
@pytest.mark.parametrize("third", [1.5, -0.2])
@pytest.mark.parametrize("eps", [1.2e-7, 2.2e-16])
def test_no_other_step_has_a_smaller_error(value: float, third: float, eps: float) -> None:
    steps = np.geomspace(1e-8, 1, 100_001)
    error = eps * abs(value) / steps + steps**2 / 6 * abs(third)
    ours = solution()["best_step"](jnp.float32(value), jnp.float32(third), jnp.float32(eps))
    np.testing.assert_allclose(ours, steps[np.argmin(error)], rtol=5e-4)  # neighbours are 1.8e-4 apart


def test_with_the_best_step_a_gradient_can_be_checked_in_float32() -> None:
    def f(x: jax.Array) -> jax.Array:
        return jnp.sum(jnp.exp(jnp.sin(x)))

    x, direction = jax.random.normal(jax.random.key(0), (2, 10))
    third = jax.grad(jax.grad(jax.grad(lambda t: f(x + t * direction))))(0.0)
    eps = float(jnp.finfo(jnp.float32).eps)
    step = solution()["best_step"](f(x), third, eps)
    slope = jax.grad(f)(x) @ direction

    def error(step: Any) -> float:
        return abs(float(solution()["central_difference"](f, x, direction, step) - slope))

    allowed = eps * float(f(x)) / float(step) + float(step) ** 2 / 6 * abs(float(third))
    assert error(step) < 4 * allowed
    assert error(100 * step) > 10 * allowed  # a longer and a shorter one are worse
    assert error(jnp.float32(1e-7)) > 10 * allowed


TAPES: list[tuple[Tape, list[tuple[int, ...]]]] = [
    ([("exp", [0]), ("sin", [1]), ("multiply", [2, 1]), ("sum", [3])], [(9,)]),
    ([("add", [0, 1]), ("subtract", [0, 1]), ("divide", [2, 3]), ("sum", [4])], [(9,), ()]),
    ([("multiply", [0, 1]), ("tanh", [2]), ("sin", [3]), ("add", [3, 4])], [(4,), (4,)]),
    ([("add", [0, 0]), ("multiply", [1, 1]), ("exp", [2]), ("divide", [3, 1])], [()]),
    (
        [("matmul", [0, 1]), ("tanh", [4]), ("matmul", [5, 2]), ("tanh", [6]), ("matmul", [7, 3]), ("sum", [8])],
        [(6, 5), (5, 4), (4, 3), (3, 2)],
    ),
]


@pytest.mark.parametrize(("tape", "shapes"), TAPES, ids=range(len(TAPES)))
def test_held_bytes_are_the_residuals_that_the_library_finds(tape: Tape, shapes: list[tuple[int, ...]]) -> None:
    specs = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    sizes = [value.size for value in jax.eval_shape(lambda *given: run(tape, given), *specs)]
    found = autodiff.residuals(lambda *given: run(tape, given)[-1], *specs, argnums=tuple(range(len(specs))))
    assert solution()["held_bytes"](tape, sizes) == found.bytes


@pytest.mark.parametrize("name", ["grad", "value_and_grad", "jvp", "vjp", "jacfwd", "jacrev", "linearize", "hessian"])
def test_an_answer_by_automatic_differentiation_is_noticed(name: str) -> None:
    exercise = open_course().exercise(NAME)
    used = f"import jax\ndef central_difference(f, point, direction, step): return jax.{name}(f)(point)"
    cells = [Cell("solution.py", text()), Cell("answer.py", used)]
    found = forbidden_use(extract(cells, exercise.tasks), "central_difference", exercise.forbidden)
    assert found is not None
    assert found.name == f"jax.{name}"
    assert forbidden_use(extract(cells[:1], exercise.tasks), "central_difference", exercise.forbidden) is None
