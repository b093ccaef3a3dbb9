"""The two gradebooks that can be filled: Canvas's export and Moodle's grading worksheet, recognised by their columns.

Canvas: `Student, ID, SIS User ID, SIS Login ID, Section, <assignments>`, with a `Points Possible` row before the students.
Moodle: `Identifier, Full name, ..., Grade, Maximum Grade, Grade can be changed, ..., Feedback comments`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from aidl_jax.errors import UsageError, close_matches
from aidl_jax.grade.cells import Sheet, read_sheet
from aidl_jax.grade.terminal import clean

CANVAS, MOODLE = ("Student", "ID", "Section"), ("Identifier", "Grade", "Maximum Grade")
PEOPLE = ("Student", "ID", "SIS User ID", "SIS Login ID", "Integration ID", "Root Account", "Section")  # no assignments
NAMES = ("Student", "ID", "SIS User ID", "SIS Login ID", "Integration ID", "Identifier", "Full name", "ID number",
         "Email address", "Username")  # fmt: skip
FEEDBACK = "Feedback comments"


@dataclass(frozen=True)
class Book:
    """Where things stand in a gradebook.

    Attributes:
        system: "Canvas" or "Moodle".
        sheet, header: its cells, and what the first row says.
        column: where the points go.
        students: the rows that are students.
        worth: the points that can be earned, as the gradebook says it.
    """

    system: str
    sheet: Sheet
    header: list[str]
    column: int
    students: list[int]
    worth: str

    def says(self, row: int, name: str) -> str:
        """What a row says in the column of a name; nothing where there is no such column."""
        return self.sheet.text(row, self.header.index(name)) if name in self.header else ""

    def student(self, row: int) -> str:
        """A row's student, to be shown."""
        shown = next((self.says(row, n) for n in ("Student", "Full name", "Identifier") if self.says(row, n)), "")
        return clean(shown).replace("\n", " ")


def open_gradebook(exported: bytes, column: str | None) -> Book:
    """Recognises a gradebook, and finds the column for the points.

    Raises:
        UsageError: a foreign file, a column that is not there or takes no grades.
    """
    sheet = read_sheet(exported)
    header = [sheet.text(0, i) for i in range(len(sheet.rows[0]))]
    if all(name in header for name in MOODLE):
        return _moodle(sheet, header, column)
    if all(name in header for name in CANVAS):
        return _canvas(sheet, header, column)
    raise UsageError(
        "this gradebook is neither Canvas's nor Moodle's", given=f"columns {', '.join(map(repr, header[:8]))}",
        expected=f"{', '.join(CANVAS)} (Canvas) or {', '.join(MOODLE)} (Moodle)",
        fix="export it again, in English, and give it as it came",
    )  # fmt: skip


def _canvas(sheet: Sheet, header: list[str], column: str | None) -> Book:
    rows = [row for row in range(1, len(sheet.rows)) if sheet.text(row, 0).strip() == "Points Possible"]
    if len(rows) != 1:
        raise UsageError("Canvas's export has one row that begins with Points Possible", given=str(len(rows)),
                         fix="export it again, and give it as it came")  # fmt: skip
    worth = {i: sheet.text(rows[0], i).strip() for i in range(len(header)) if header[i] not in PEOPLE}
    index = _assignment(header, {i for i, said in worth.items() if said != "(read only)"}, column)
    people = [i for i, name in enumerate(header) if name in NAMES]
    students = [row for row in range(rows[0] + 1, len(sheet.rows)) if any(sheet.text(row, i).strip() for i in people)]
    _check_length(sheet, [*students, rows[0]], index)
    return Book("Canvas", sheet, header, index, students, worth[index])


def _assignment(header: list[str], open_to_grades: set[int], column: str | None) -> int:
    """The column of an assignment: named whole, without its number in brackets, or by that number."""
    every = {i: header[i] for i in sorted(open_to_grades) if header[i]}
    bare = {i: re.sub(r"\s*\(\d+\)\s*$", "", name) for i, name in every.items()}
    numbers = {i: name[len(bare[i]) :].strip(" ()") for i, name in every.items()}
    found = [i for i in every if column in (None, every[i])] or [i for i in every if column in (bare[i], numbers[i])]
    if len(found) == 1:
        return found[0]
    names = ", ".join(repr(clean(every[i])) for i in (found or every)) or "no column for grades"
    if found or column is None:
        raise UsageError("which column do the points go to?", given=names, fix="name one with --column")
    if column in header:
        raise UsageError(
            "this column takes no grades", given=repr(column), expected=names, fix="name another with --column"
        )
    raise UsageError("the gradebook has no such column", given=repr(column), fix=close_matches(column, bare.values()))


def _moodle(sheet: Sheet, header: list[str], column: str | None) -> Book:
    if column not in (None, "Grade"):
        raise UsageError(
            "Moodle's worksheet has one column for grades",
            given=repr(column),
            expected="'Grade'",
            fix="leave --column out",
        )
    index, maximum = header.index("Grade"), header.index("Maximum Grade")
    students = [row for row in range(1, len(sheet.rows)) if any(sheet.rows[row])]
    _check_length(sheet, students, max(index, header.index(FEEDBACK) if FEEDBACK in header else 0))
    worth = {sheet.text(row, maximum) for row in students}
    if len(worth) != 1:
        raise UsageError("Moodle's worksheet has one maximum grade", given=", ".join(sorted(worth)) or "no student",
                         fix="export it again, and give it as it came")  # fmt: skip
    return Book("Moodle", sheet, header, index, students, worth.pop())


def _check_length(sheet: Sheet, rows: Sequence[int], column: int) -> None:
    for row in rows:
        if len(sheet.rows[row]) <= column:
            raise UsageError("a row of the gradebook is too short", where=f"row {row + 1}", fix="export it again",
                             given=f"{len(sheet.rows[row])} cells", expected=f"{column + 1} or more")  # fmt: skip


def as_number(text: str) -> float | None:
    """A cell as a number, also with a decimal comma; None where it is none.

    >>> as_number("10,00"), as_number("A-")
    (10.0, None)
    """
    try:
        return float(text.strip().replace(",", "."))
    except ValueError:
        return None
