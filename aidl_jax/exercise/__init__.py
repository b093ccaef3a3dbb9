"""What an exercise is, and what authors write one with. NumPy only: nothing here imports JAX."""

from aidl_jax.exercise.compare import Failure, compare, expect_error, require, tolerance
from aidl_jax.exercise.definition import Check, Exercise, Hints, Task, WrongAnswer
from aidl_jax.exercise.draws import Draw, float32_grid
from aidl_jax.exercise.expressions import (
    Expression,
    Student,
    function,
    grad,
    jit,
    jvp,
    library,
    static,
    stream,
    value_and_grad,
    vjp,
    vmap,
)
from aidl_jax.exercise.requests import Transcript, call, iterate, operations, value

__all__ = [
    "Check",
    "Draw",
    "Exercise",
    "Expression",
    "Failure",
    "Hints",
    "Student",
    "Task",
    "Transcript",
    "WrongAnswer",
    "call",
    "compare",
    "expect_error",
    "float32_grid",
    "function",
    "grad",
    "iterate",
    "jit",
    "jvp",
    "library",
    "operations",
    "require",
    "static",
    "stream",
    "tolerance",
    "value",
    "value_and_grad",
    "vjp",
    "vmap",
]
