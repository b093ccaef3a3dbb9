"""A session in which one of the course's known wrong answers stands in a task's place."""

from __future__ import annotations

from typing import Any

from aidl_jax.exercise.requests import Request, Transcript
from aidl_jax.exercise.summary import SummaryGraph
from aidl_jax.grade.session import Session, Variant


class VariantSession:
    """The same session with a wrong answer in one task's place."""

    def __init__(self, session: Session, variant: Variant) -> None:
        self.session, self.variant = session, variant

    def evaluate(self, request: Request) -> Any:
        """As `Session.evaluate`."""
        return self.session.evaluate(request, self.variant)

    def operations(self, request: Request) -> int:
        """As `Session.operations`."""
        return self.session.operations(request, self.variant)

    def summary_graph(self, request: Request) -> SummaryGraph:
        """As `Session.summary_graph`."""
        return self.session.summary_graph(request, self.variant)

    def iterate(self, request: Request, limit: int) -> Transcript:
        """As `Session.iterate`."""
        return self.session.iterate(request, limit, self.variant)

    def call(self, request: Request) -> Any:
        """As `Session.call`."""
        return self.session.call(request, self.variant)
