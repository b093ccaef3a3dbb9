"""One record of a run of checks; terminal, notebook, JSON and CSV are renderings of it.

A record has no timings in it: the same hand-in and the same seed give the same record, byte for byte.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any, Literal

Verdict = Literal["passed", "failed", "waiting", "ungraded"]
SCHEMA = 1


@dataclass(frozen=True)
class FailureRecord:
    """Why a check did not hold; every text may come from a student's code and is shown escaped."""

    kind: str
    message: str
    call: str | None = None
    inputs: list[list[str]] = field(default_factory=list)  # name, value as text
    got: str | None = None
    expected: str | None = None
    where: str | None = None
    line: str | None = None
    fix: str | None = None
    misconceptions: list[str] = field(default_factory=list)
    printed: str | None = None
    traceback: str | None = None


@dataclass(frozen=True)
class CheckRecord:
    """One check's verdict; "waiting" where an earlier check of its task failed."""

    name: str
    description: str
    verdict: Verdict
    failure: FailureRecord | None = None


@dataclass(frozen=True)
class TaskRecord:
    """One task's verdict and points; `evidence` tells how it was computed, as far as it can be seen."""

    name: str
    verdict: Verdict
    points: int
    possible: int
    waits_for: list[str] = field(default_factory=list)
    checks: list[CheckRecord] = field(default_factory=list)
    evidence: dict[str, Any] = field(default_factory=dict)

    @property
    def failure(self) -> FailureRecord | None:
        """The failure of its first check that has one."""
        return next((check.failure for check in self.checks if check.failure), None)


@dataclass(frozen=True)
class Record:
    """One hand-in of one exercise."""

    exercise: str
    title: str
    seed: int
    tasks: list[TaskRecord]
    source: str | None = None
    versions: dict[str, str] = field(default_factory=dict)
    schema: int = SCHEMA

    @property
    def points(self) -> int:
        """Points earned."""
        return sum(task.points for task in self.tasks)

    @property
    def possible(self) -> int:
        """Points that could be earned."""
        return sum(task.possible for task in self.tasks)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON, with the totals."""
        return {"points": self.points, "possible": self.possible, **dataclasses.asdict(self)}


def from_dict(data: dict[str, Any]) -> Record:
    """The record that `dataclasses.asdict` or `Record.to_dict` was made of.

    Raises:
        ValueError: it is of another schema.
        KeyError, TypeError: something is missing or unknown.
    """
    if data["schema"] != SCHEMA:
        raise ValueError(f"a record of schema {data['schema']}, where {SCHEMA} is read")
    fields = {name: value for name, value in data.items() if name not in ("points", "possible", "tasks")}
    return Record(tasks=[_task(task) for task in data["tasks"]], **fields)


def _task(data: dict[str, Any]) -> TaskRecord:
    return TaskRecord(**{**data, "checks": [_check(check) for check in data["checks"]]})


def _check(data: dict[str, Any]) -> CheckRecord:
    failure = data["failure"]
    return CheckRecord(**{**data, "failure": None if failure is None else FailureRecord(**failure)})


def to_json(data: Any) -> str:
    """Canonical JSON: sorted keys, two spaces, a newline at the end."""
    return json.dumps(data, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"
