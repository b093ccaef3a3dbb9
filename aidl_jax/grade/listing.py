"""A student's code, line by line, with the lines marked that failures name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from aidl_jax.grade.extract import source_lines
from aidl_jax.grade.handin import Document
from aidl_jax.grade.record import Record
from aidl_jax.grade.terminal import clean

PLACE = re.compile(r"^(?:([^,\n]+), )?line (\d{1,7})(?=[,:])", re.MULTILINE)  # as `explain.place` writes it
MOST_LINES, LONGEST_LINE = 2_000, 400

Place = tuple[str, int]  # a cell's label, "" for that of a file; a line's number in it


@dataclass(frozen=True)
class Line:
    """One line of code: its number, its text, and what is to be said of it."""

    number: int
    text: str
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class CellListing:
    """One cell of a notebook, or a whole file: its label, what is shown of it, how many lines more there are."""

    label: str
    lines: list[Line]
    more: int


def listing(document: Document, record: Record) -> list[CellListing]:
    """A hand-in's code with notes at the lines where tasks failed; of very long files and lines the beginning."""
    notes = line_notes(document, record)
    left = MOST_LINES
    cells = []
    for cell in document.cells:
        lines = source_lines(cell.text.rstrip())
        shown = [Line(i, _shown(text), notes.get((cell.label, i), [])) for i, text in enumerate(lines[:left], 1)]
        cells.append(CellListing(cell.label, shown, len(lines) - len(shown)))
        left -= len(shown)
    return cells


def line_notes(document: Document, record: Record) -> dict[Place, list[str]]:
    """What is said at which line: that a task failed there, or, where its failure names no line, that it begins there."""
    found: dict[Place, list[str]] = {}
    for task in (task for task in record.tasks if task.verdict == "failed" and task.failure):
        exact = (
            [(label or document.cells[0].label, n) for label, n in places(task.failure.line)] if task.failure else []
        )
        for place in exact or _definition(document, task.name):
            found.setdefault(place, []).append(f"{task.name} failed here" if exact else f"{task.name}, which failed")
    return found


def places(line: str | None) -> Iterator[Place]:
    """The cells and numbers in what a failure says of its line.

    >>> list(places("cell 3, line 2: f(1)\\nline 12, in fit: w = w - g"))
    [('cell 3', 2), ('', 12)]
    """
    for label, number in PLACE.findall(line or ""):
        yield label, int(number)


def _definition(document: Document, task: str) -> list[Place]:
    """Where a task is defined last, which is what is graded."""
    start = re.compile(rf"(?:def\s+{re.escape(task)}\s*\(|{re.escape(task)}\s*=[^=])")
    every = [
        (c.label, i) for c in document.cells for i, text in enumerate(source_lines(c.text), 1) if start.match(text)
    ]
    return every[-1:]


def _shown(text: str) -> str:
    line = clean(text.expandtabs(4)).replace("\n", " ")
    return line if len(line) <= LONGEST_LINE else line[:LONGEST_LINE] + " ..."
