"""A class on one page: who came how far, what to teach again, and where each student's page is."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from aidl_jax.grade.file_names import page_link
from aidl_jax.grade.findings import ANSWERS, first_thing, nothing_to_grade, number, outcomes, teach_again, wrong_answers
from aidl_jax.grade.results import ClassResult
from aidl_jax.grade.speed import ranked
from aidl_jax.grade.templates import render_page

VERDICTS = ("passed", "failed", "waiting", "ungraded", "missing")
WORDS = {"waiting": "not checked yet", "ungraded": "not graded", "missing": "not handed in"}
MOST_BARS, WIDTH, HEIGHT = 21, 360, 130  # of the chart, in its own units
MOST_NAMES, MOST_WRONG = 6, 8


@dataclass(frozen=True)
class Bar:
    """One bar of the score distribution: from how many points to how many, how many students, where it stands."""

    first: int
    last: int
    count: int
    x: float
    width: float
    height: float

    @property
    def label(self) -> str:
        """Its points."""
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"


def class_page(result: ClassResult) -> str:
    """A self-contained page, for a phone, a laptop and a printer; every text in it is escaped.

    Students' names link to `students/<name>.html` beside it.
    """
    return render_page(
        "class.html.j2", f"{result.title}: the class", result.unsafe, result=result, tiles=tiles(result),
        bars=bars([s.points for s in result.students if s.points is not None and s.records], result.possible),
        absent=nothing_to_grade(result), again=teach_again(result), outcomes=outcomes, wrong_answers=wrong_answers,
        first_thing=first_thing, page_link=page_link, verdicts=VERDICTS, words=WORDS, width=WIDTH, height=HEIGHT,
        answers=ANSWERS, ranked=ranked, most_names=MOST_NAMES, most_wrong=MOST_WRONG,
    )  # fmt: skip


def tiles(result: ClassResult) -> list[tuple[str, str]]:
    """The class in a few numbers, each with what it is; those with nothing to grade are not in the averages."""
    points = [s.points for s in result.students if s.points is not None and s.records]
    absent, unknown = len(nothing_to_grade(result)), sum(s.points is None for s in result.students)
    found = [(str(len(result.students)), "students"), (str(len(result.students) - absent), "handed in a task")]
    if points:
        found.append((f"{number(statistics.median(points))} of {result.possible}", "points, median"))
        found.append((f"{statistics.fmean(points):.1f}", "points, mean"))
        found.append((str(sum(p == result.possible for p in points)), "with all points"))
    if unknown:
        found.append((str(unknown), "with points not known"))
    if result.seconds:
        found.append((f"{statistics.median(result.seconds.values()):.1f} s", "a hand-in to grade, median"))
    return found


def bars(points: Sequence[int], possible: int) -> list[Bar]:
    """The score distribution: how many students have each number of points, or so many in a range where there are many.

    >>> [(bar.label, bar.count) for bar in bars([0, 2, 2], 2)]
    [('0', 1), ('1', 0), ('2', 2)]
    """
    wide = -(-(possible + 1) // MOST_BARS)
    starts = range(0, possible + 1, wide)
    counts = [sum(start <= p < start + wide for p in points) for start in starts]
    step = WIDTH / len(starts)
    highest = max([*counts, 1])
    return [
        Bar(start, min(start + wide - 1, possible), count, i * step, step, count / highest * (HEIGHT - 40))
        for i, (start, count) in enumerate(zip(starts, counts, strict=True))
    ]
