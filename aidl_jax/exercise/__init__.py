"""What an exercise is, and what authors write one with. NumPy only: nothing here imports JAX."""

from aidl_jax.exercise.compare import Failure, compare, expect_error, require, tolerance
from aidl_jax.exercise.definition import Check, Exercise, Hints, Task, WrongAnswer
from aidl_jax.exercise.draws import Draw, float32_grid
from aidl_jax.exercise.expressions import (
    Student,
    function,
    grad,
    iterate,
    jit,
    jvp,
    library,
    static,
    stream,
    value,
    value_and_grad,
    vjp,
    vmap,
)

__all__ = [
    "Check",
    "Draw",
    "Exercise",
    "Failure",
    "Hints",
    "Student",
    "Task",
    "WrongAnswer",
    "compare",
    "expect_error",
    "float32_grid",
    "function",
    "grad",
    "iterate",
    "jit",
    "jvp",
    "library",
    "require",
    "static",
    "stream",
    "tolerance",
    "value",
    "value_and_grad",
    "vjp",
    "vmap",
]
