"""What an exercise is, and what authors write one with. NumPy only: nothing here imports JAX."""

from aidl_jax.exercise.compare import Failure, compare, expect_error, require, tolerance
from aidl_jax.exercise.definition import Check, Exercise, Hints, Task, WrongAnswer
from aidl_jax.exercise.draws import Draw, float32_grid
from aidl_jax.exercise.expressions import (
    Expression,
    Student,
    apply,
    function,
    grad,
    init,
    jit,
    jvp,
    library,
    shapes,
    static,
    stream,
    value_and_grad,
    vjp,
    vmap,
)
from aidl_jax.exercise.requests import Transcript, call, iterate, operations, summary_graph, value
from aidl_jax.exercise.summary import Node, SummaryGraph

__all__ = [
    "Check",
    "Draw",
    "Exercise",
    "Expression",
    "Failure",
    "Hints",
    "Node",
    "Student",
    "SummaryGraph",
    "Task",
    "Transcript",
    "WrongAnswer",
    "apply",
    "call",
    "compare",
    "expect_error",
    "float32_grid",
    "function",
    "grad",
    "init",
    "iterate",
    "jit",
    "jvp",
    "library",
    "operations",
    "require",
    "shapes",
    "static",
    "stream",
    "summary_graph",
    "tolerance",
    "value",
    "value_and_grad",
    "vjp",
    "vmap",
]
