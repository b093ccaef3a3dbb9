"""Which operations and custom calls this course's solutions and accepted alternatives need, as the runner meets them.

`python tests/course/needed_operations.py` prints them, for `aidl_jax/grade/operations.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax.export

from aidl_jax import _compat
from aidl_jax.exercise.course import Course, open_course
from aidl_jax.exercise.requests import Request
from aidl_jax.grade.extract import Cell
from aidl_jax.grade.fingerprint import walk
from aidl_jax.grade.judge import judge
from aidl_jax.grade.session import Session


class Listening(Session):
    """A session that keeps every exported function on its way to the runner."""

    def _ask_runner(self, message: dict[str, Any], request: Request) -> dict[str, Any]:
        self.kept = [*getattr(self, "kept", []), *([message["exported"]] if message["do"] == "load" else [])]
        return super()._ask_runner(message, request)


def needed(exported: bytes) -> Iterator[str]:
    """The names of operations, and those of custom calls with "custom_call " before them."""
    module = _compat.parse_module(jax.export.deserialize(bytearray(exported)).mlir_module_serialized)
    for operation in walk(module):
        yield operation.name
        if operation.name == "stablehlo.custom_call":
            target = str(operation.attributes["call_target_name"]).strip('"')
            yield f"custom_call {target}"


def needed_by_course(course: Course) -> set[str]:
    """What all solutions and alternatives of a course need, on one draw of each check."""
    found: set[str] = set()
    for name in course.names():
        for path in (course.solution(name), *course.alternatives(name)):
            cells = [Cell(path.name, path.read_text(encoding="utf-8"))]
            with Listening(cells, course.exercise(name)) as session:
                judge(name, session.exercise, session, 0, draws=1)
                found |= {one for exported in getattr(session, "kept", []) for one in needed(exported)}
    return found


if __name__ == "__main__":
    for one in sorted(needed_by_course(open_course())):
        print(one.removeprefix("stablehlo."))
