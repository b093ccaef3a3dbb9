"""A CSV file as raw cells, so that one cell can be filled and every other byte stays as it was (RFC 4180)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from aidl_jax.errors import UsageError
from aidl_jax.grade.terminal import clean

BOM = "\ufeff"
FORMULA = ("=", "+", "-", "@")  # what a spreadsheet takes for the beginning of one


@dataclass
class Sheet:
    """Rows of cells as they stand in the file, quotes included.

    Attributes:
        bom: the byte-order mark, or nothing.
        separator: what stands between cells.
        rows: each a list of raw cells; `ends` has what ends each row.
    """

    bom: str
    separator: str
    rows: list[list[str]]
    ends: list[str]

    def text(self, row: int, column: int) -> str:
        """What a cell says; nothing where the row is too short to have it."""
        raw = self.rows[row][column] if column < len(self.rows[row]) else ""
        return raw[1:-1].replace('""', '"') if raw.startswith('"') else raw

    def put(self, row: int, column: int, text: str) -> None:
        """Fills a cell; it is quoted where it was, and where it must be."""
        raw = self.rows[row][column]
        needed = raw.startswith('"') or any(sign in text for sign in (self.separator, '"', "\r", "\n"))
        self.rows[row][column] = '"' + text.replace('"', '""') + '"' if needed else text

    def to_bytes(self) -> bytes:
        """The file: what was not filled is what was read."""
        lines = (self.separator.join(cells) + end for cells, end in zip(self.rows, self.ends, strict=True))
        return (self.bom + "".join(lines)).encode("utf-8")


def read_sheet(data: bytes) -> Sheet:
    """Takes a file apart; the separator is the first of comma, semicolon and tab that follows a cell of the header.

    Raises:
        UsageError: it is no UTF-8, empty, or a cell is quoted in a way that cannot be read.

    >>> sheet = read_sheet(b'name,"a, b"')
    >>> sheet.text(0, 1), sheet.to_bytes()
    ('a, b', b'name,"a, b"')
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError("the gradebook is not UTF-8 text", given=f"byte {data[error.start]:#04x} at {error.start:,}",
                         fix="export it again, and give it as it came") from None  # fmt: skip
    bom, text = (BOM, text[1:]) if text.startswith(BOM) else ("", text)
    first = re.match(r'(?:"(?:[^"]|"")*"|[^",;\t\r\n]*)([,;\t])', text)
    if first is None:
        raise UsageError("the gradebook is no table", given=repr(clean(text[:40])), expected="CSV with a header",
                         fix="give the CSV file that Canvas or Moodle exported")  # fmt: skip
    return Sheet(bom, first[1], *_rows(text, first[1]))


def _rows(text: str, separator: str) -> tuple[list[list[str]], list[str]]:
    cell = re.compile(rf'("(?:[^"]|"")*"|[^"\r\n{separator}][^\r\n{separator}]*|)({separator}|\r\n|\r|\n|\Z)')
    rows: list[list[str]] = [[]]
    ends: list[str] = []
    position = 0
    while position < len(text) or rows[-1]:
        found = cell.match(text, position)
        if found is None:
            raise UsageError("a cell of the gradebook is quoted wrongly", where=f"row {len(rows)}, cell {len(rows[-1]) + 1}",
                             given=repr(clean(text[position : position + 40])), fix="export it again")  # fmt: skip
        rows[-1].append(found[1])
        position = found.end()
        if found[2] != separator:
            ends.append(found[2])
            rows.append([])
    return rows[:-1], ends


def formula_free(text: str) -> str:
    """Text on one line that no spreadsheet takes for a formula.

    >>> formula_free("=cmd()"), formula_free("ada")
    ("'=cmd()", 'ada')
    """
    line = clean(text).replace("\n", " ")
    return f"'{line}" if line.lstrip().startswith(FORMULA) else line
