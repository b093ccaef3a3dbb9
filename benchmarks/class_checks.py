"""An exercise's checks as a notebook's test cells would run them: on the student's functions themselves, in their process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from aidl_jax.exercise import Draw, Student
from aidl_jax.exercise.course import open_course
from aidl_jax.exercise.requests import Request
from aidl_jax.grade.tracing import interpret


class Eager:
    """Answers a request by calling the functions with values."""

    def __init__(self, functions: Mapping[str, Any]) -> None:
        self.functions = functions

    def evaluate(self, request: Request) -> Any:
        """The answer: a tree of NumPy arrays."""
        answer = interpret(request.body, self.functions, [jnp.asarray(array) for array in request.inputs])
        return jax.tree.map(np.asarray, answer)


class Checks:
    """One exercise's checks, task by task, with the draws that `aidl grade` makes for the same seed.

    Args:
        name: the exercise.
        seed: of the draws.
        functions: the student's, by name.
    """

    def __init__(self, name: str, seed: int, functions: Mapping[str, Any]) -> None:
        self.name, self.seed, self.functions = name, seed, functions
        self.exercise = open_course().exercise(name)
        self.passed: set[str] = set()

    def run(self, name: str) -> None:
        """Runs all checks of a task up to the first failure, which is raised."""
        task = self.exercise.tasks[name]
        assert self.passed.issuperset(task.needs), f"{name} waits for {task.needs}"
        student = Student(self.exercise.tasks, Eager(self.functions))  # type: ignore[arg-type]
        for check in task.checks:
            for number in range(check.draws):
                check.run(student, Draw(self.seed, f"{self.name}/{name}/{check.name}/{number}"))
        self.passed.add(name)
