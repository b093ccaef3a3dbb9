"""Points into the gradebook that an instructor exported from Canvas or Moodle; no cell but the grades changes.

A new column would make a new assignment in Canvas, so the column must be there already.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from aidl_jax.errors import UsageError
from aidl_jax.grade.cells import formula_free
from aidl_jax.grade.findings import number
from aidl_jax.grade.gradebook_formats import FEEDBACK, NAMES, Book, as_number, open_gradebook
from aidl_jax.grade.roster import plain
from aidl_jax.grade.terminal import clean


@dataclass(frozen=True)
class Filled:
    """A gradebook with points in it.

    Attributes:
        system, column: what was recognised, and where the points went.
        data: the file to import.
        filled: whose grade was written or stood there already.
        changed: grades that were there and were others, in words.
        unmatched: who has points and no row; `ambiguous` could be more than one, in words; `locked` may not be changed.
        untouched: rows without points, left as they were.
    """

    system: str
    column: str
    data: bytes
    filled: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    unmatched: list[str] = field(default_factory=list)
    ambiguous: list[str] = field(default_factory=list)
    locked: list[str] = field(default_factory=list)
    untouched: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """What an instructor must know before importing it."""
        count = len(self.filled)
        told = [f"{self.system}, {self.column!r}: {count} grade{'s' * (count != 1)} filled in"]
        told += [f"changed: {one}" for one in self.changed]
        told += [f"not in the gradebook: {one}" for one in self.unmatched]
        told += [f"not filled in, {one}" for one in self.ambiguous]
        told += [f"not filled in, the gradebook says that it can't be changed: {one}" for one in self.locked]
        return told + [f"no points for: {one}" for one in self.untouched]


def fill(
    exported: bytes,
    points: Mapping[str, float],
    column: str | None = None,
    *,
    possible: float | None = None,
    feedback: Mapping[str, str] | None = None,
    known_as: Mapping[str, Collection[str]] | None = None,
) -> Filled:
    """Fills a gradebook that Canvas or Moodle exported.

    Args:
        exported: the file as it came.
        points: by student, by anything the gradebook calls them: login, ID, email, number or name.
        column: the assignment, in Canvas, with its number or without; not needed where there is just one.
        possible: points that could be earned; the gradebook must say the same.
        feedback: by student, for Moodle's feedback comments.
        known_as: by student, what else the gradebook may call them; all that is known there must lead to the same row.

    Raises:
        UsageError: a foreign file, an unknown or read-only column, another number of points, feedback without a grade.
    """
    for student, value in points.items():
        if not math.isfinite(value):
            raise UsageError("points are no number", given=f"{student}: {value}", fix="leave this student out")
    book = open_gradebook(exported, column)
    _check_worth(book, possible)
    _check_feedback(book, points, feedback or {})
    result = Filled(book.system, book.header[book.column], b"")
    rows = _match(book, {student: [student, *(known_as or {}).get(student, ())] for student in points}, result)
    for student, row in rows.items():
        _write(book, row, points[student], (feedback or {}).get(student), result)
    result.untouched.extend(book.student(row) for row in book.students if row not in rows.values())
    return replace(result, data=book.sheet.to_bytes())


def _check_worth(book: Book, possible: float | None) -> None:
    worth = as_number(book.worth)
    if worth is None or (possible is not None and worth != possible):
        raise UsageError(
            f"{book.system} has another number of points for this assignment", where=book.header[book.column],
            given=repr(book.worth), expected="a number" if possible is None else number(possible),
            fix=f"set it in {book.system} and export again; points are never scaled",
        )  # fmt: skip


def _check_feedback(book: Book, points: Mapping[str, float], feedback: Mapping[str, str]) -> None:
    if feedback and FEEDBACK not in book.header:
        raise UsageError("this gradebook takes no feedback", given=book.system, expected=f"a column {FEEDBACK!r}",
                         fix="switch it on in the assignment's settings and export again, or leave it out")  # fmt: skip
    alone = sorted(feedback.keys() - points.keys())
    if alone:
        raise UsageError("feedback without a grade would wipe the grade", given=", ".join(alone), fix="leave it out")


def _match(book: Book, students: Mapping[str, Collection[str]], result: Filled) -> dict[str, int]:
    """The row of each student whose row can be told by what they are called; who has none or could be several is noted."""
    by_name: dict[str, set[int]] = {}
    for row in book.students:
        for name in _names(book, row):
            by_name.setdefault(name, set()).add(row)
    found = {student: _rows(by_name, names) for student, names in students.items()}
    claims = [rows[0] for rows in found.values() if len(rows) == 1]
    matched = {}
    for student, rows in found.items():
        if len(rows) == 1 and claims.count(rows[0]) == 1:
            matched[student] = rows[0]
        elif len(rows) == 1:
            result.ambiguous.append(f"another has the same row: {student}, {book.student(rows[0])}")
        elif rows:
            result.ambiguous.append(f"could be several: {student}, {' or '.join(book.student(row) for row in rows)}")
        else:
            result.unmatched.append(student)
    return matched


def _rows(by_name: Mapping[str, set[int]], names: Collection[str]) -> list[int]:
    """The rows that all known names of a student lead to; where they lead apart, all of these."""
    known = [by_name[plain(name)] for name in names if plain(name) in by_name]
    return sorted(set.intersection(*known) or set.union(*known)) if known else []


def _names(book: Book, row: int) -> set[str]:
    """Everything a row's student may be called, made plain; a name also in its other order."""
    cells = [book.says(row, name).strip() for name in NAMES]
    names = {plain(cell) for cell in cells}
    for cell in (book.says(row, "Student"), book.says(row, "Full name")):
        last, comma, first = cell.partition(",")
        names |= {plain(f"{first} {last}")} if comma else set()
    return names - {""}


def _write(book: Book, row: int, points: float, feedback: str | None, result: Filled) -> None:
    student, sheet = book.student(row), book.sheet
    if book.says(row, "Grade can be changed").strip().casefold() == "no":
        result.locked.append(student)
        return
    there = sheet.text(row, book.column).strip()
    text = number(points)
    if as_number(there) != float(text):
        if there:
            result.changed.append(f"{student}, from {clean(there)} to {text}")
        sheet.put(row, book.column, text.replace(".", ",") if "," in book.worth else text)
    if feedback is not None:
        sheet.put(row, book.header.index(FEEDBACK), formula_free(feedback))
    result.filled.append(student)
