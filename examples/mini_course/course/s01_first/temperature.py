"""Degrees: the smallest exercise there is on arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from aidl_jax.exercise import Draw, Exercise, Hints, Student, compare

exercise = Exercise("Degrees")

to_fahrenheit_task = exercise.task(
    "to_fahrenheit",
    points=1,
    hints=Hints(
        concept="Two things differ between the scales: how large a degree is, and where zero lies.",
        where="The lesson's first lines give both. An array is multiplied and added to as a number is.",
        almost_code="return celsius * ... + 32",
    ),
)


@to_fahrenheit_task.check
def known_points(student: Student, draw: Draw) -> None:
    """Water freezes at 32 and boils at 212; at -40 the scales agree."""
    compare(student.to_fahrenheit(np.array([0.0, 100.0, -40.0])), np.array([32.0, 212.0, -40.0]), length=2)


@to_fahrenheit_task.check
def any_shape(student: Student, draw: Draw) -> None:
    """It works on arrays of any shape, element by element."""
    celsius = draw.uniform(2, 3, low=-50.0, high=50.0)
    compare(student.to_fahrenheit(celsius), celsius * 9 / 5 + 32, length=2, magnitude=np.abs(celsius) * 9 / 5 + 32)


@to_fahrenheit_task.wrong("You divided by 1.8: a Celsius degree is the larger one, so there are more in Fahrenheit.")
def divided(celsius: Any) -> Any:
    return celsius * 5 / 9 + 32


@to_fahrenheit_task.wrong("You added 32 before you multiplied: scale first, then move the zero.")
def added_first(celsius: Any) -> Any:
    return (celsius + 32) * 9 / 5


@to_fahrenheit_task.wrong("You did not move the zero: 0 Celsius is 32 Fahrenheit.")
def zero_kept(celsius: Any) -> Any:
    return celsius * 9 / 5
