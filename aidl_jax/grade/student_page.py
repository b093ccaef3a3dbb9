"""One student's result as a page of its own: what passed, what did not and why, their code with the line marked."""

from __future__ import annotations

from aidl_jax.grade.findings import number
from aidl_jax.grade.listing import listing
from aidl_jax.grade.results import StudentResult
from aidl_jax.grade.templates import one_line, render_page
from aidl_jax.grade.terminal import details, how

VERDICTS = {"passed": "passed", "failed": "failed", "waiting": "not checked yet", "ungraded": "not graded"}


def student_page(result: StudentResult, *, unsafe: bool = False) -> str:
    """A self-contained page, for a phone, a laptop and a printer; every text in it is escaped.

    Args:
        result: what is shown.
        unsafe: whether student code ran without a sandbox, which the page then says first.
    """
    codes = {
        name: listing(result.documents[name], record)
        for name, record in result.records.items()
        if name in result.documents
    }
    shown = one_line(result.name or result.student)
    return render_page(
        "student.html.j2", f"{shown}: results", unsafe, result=result, shown=shown, codes=codes, total=total(result),
        steps=steps(result), details=details, how=how, verdicts=VERDICTS,
    )  # fmt: skip


def total(result: StudentResult) -> str:
    """What counts, in words."""
    if result.final is None:
        return "not known yet"
    return f"{number(result.final)} of {result.possible} points"


def steps(result: StudentResult) -> list[tuple[str, str]]:
    """From the checks to what counts, step by step: what, and how many points; nothing where they are the same."""
    if not (result.adjustments or result.late_days):
        return []
    rows = [("points from the checks", "not known yet" if result.points is None else number(result.points))]
    for one in result.adjustments:
        scope = f" ({one.exercise})" if one.exercise else ""
        rows.append((f"by hand{scope}: {one.comment}", f"{one.points:+.10g}" if one.points else ""))
    if result.late_days:
        days = f"{result.late_days} day{'s' * (result.late_days != 1)} late"
        rows.append((days, f"-{number(100 * result.penalty)}%" if result.penalty else "no penalty"))
    return [*rows, ("in all", "not known yet" if result.final is None else number(result.final))]
