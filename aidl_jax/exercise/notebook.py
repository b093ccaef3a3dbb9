"""A session's student notebook, made from its sources: lessons, tasks, and a check after each task.

Format: nbformat 4.5 (https://nbformat.readthedocs.io/en/latest/format_description.html).
"""

from __future__ import annotations

import hashlib
import json
import string
from importlib import resources
from typing import Any

from aidl_jax.errors import CourseError
from aidl_jax.exercise.course import Course
from aidl_jax.exercise.source import cells, short_name, without_solutions


def notebook_text(course: Course, session: str, install: str | None = None) -> str:
    """The notebook of a session as JSON text; the same sources always give the same bytes.

    Args:
        course: where the sources are.
        session: `s02_graphs`.
        install: what the first cell installs on Colab instead of what `course.toml` says: a name, wheel or URL.
    """
    setup = string.Template(resource("colab_setup.py.txt")).substitute(source=repr(install or course.install))
    made = [_cell("code", setup, f"{session}/setup")]
    for name in course.names():
        if name.startswith(session + "/"):
            made += _exercise_cells(course, name)
    notebook = {
        "cells": made,
        "metadata": {
            "aidl": {"session": session},
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def _exercise_cells(course: Course, name: str) -> list[dict[str, Any]]:
    path = course.solution(name)
    text = without_solutions(path.read_text(encoding="utf-8"), str(path))
    tasks = course.exercise(name).tasks
    made = []
    found = cells(text, str(path))
    if not found:
        raise CourseError("the source has no cells", where=str(path), fix="open one with a line `# %%`")
    for number, cell in enumerate(found):
        made.append(_cell(cell.kind, cell.text, f"{name}/{number}"))
        for task in tasks:
            if cell.kind == "code" and f"def {task}(" in cell.text:
                check = f'aidl_jax.check("{short_name(name)}", task="{task}")'
                made.append(_cell("code", check, f"{name}/{task}/check"))
    return made


def _cell(kind: str, text: str, label: str) -> dict[str, Any]:
    identity = hashlib.blake2b(label.encode(), digest_size=6).hexdigest()
    cell: dict[str, Any] = {"cell_type": kind, "id": identity, "metadata": {}, "source": text.splitlines(True)}
    return cell | ({"execution_count": None, "outputs": []} if kind == "code" else {})


def resource(name: str) -> str:
    """A text file that comes with this package."""
    return (resources.files("aidl_jax.exercise") / "resources" / name).read_text(encoding="utf-8")
