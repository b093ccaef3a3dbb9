"""aidl_jax: deep learning systems as pure functions in JAX, with graded exercises.

Importing this package is cheap: JAX is imported when something needs it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aidl_jax.grade.cell import Checked

__version__ = "0.1.0"
__all__ = ["__version__", "check"]


def check(exercise: str, task: str | None = None, *, course: str | None = None) -> Checked:
    """Checks the functions of the notebook this is called in, and shows what it found.

    Args:
        exercise: the exercise's name or a short form, "s02/linear_regression".
        task: check this task alone, without waiting for what it needs.
        course: the folder of another course than the package's own.

    Raises:
        UsageError: not in a notebook, or no such exercise or task.
    """
    from aidl_jax.grade.cell import check_cells

    return check_cells(exercise, task, course)
