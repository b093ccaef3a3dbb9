"""Who is in the class: a table with a row per student, matched with what was handed in."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from aidl_jax.errors import UsageError
from aidl_jax.grade.inbox import Arrival, latest_of_many

COLUMNS = {
    "student": "student", "id": "id", "student id": "id", "sis user id": "id", "sid": "id", "id number": "id", "login": "login",
    "sis login id": "login", "username": "login", "email": "email", "email address": "email", "name": "name",
    "full name": "name", "first name": "first", "last name": "last", "surname": "last", "number": "number", "identifier": "number",
}  # fmt: skip
FIRST_CHOICE = ("student", "login", "email", "id", "name", "number")


@dataclass(frozen=True)
class Entry:
    """One student of a class.

    Args:
        student: by what the results call the student.
        names: everything the student may go by, each made plain (`plain`).
        name: to be shown, where the table has it.
    """

    student: str
    names: frozenset[str]
    name: str | None = None


def read_roster(path: Path) -> list[Entry]:
    """The rows of a CSV file with a header; columns are known by their usual names.

    Raises:
        UsageError: it cannot be read, has no column that names students, or two rows are the same student's.
    """
    try:
        rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig"), newline="")))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(
            "the roster cannot be read", given=str(error), where=str(path), fix="save it as CSV, UTF-8"
        ) from None
    header = [name for name in (rows[0] if rows else {}) if name]
    known = {name: COLUMNS[name.strip().casefold()] for name in header if name.strip().casefold() in COLUMNS}
    if not set(known.values()) & set(FIRST_CHOICE):
        raise UsageError("the roster names no students", given=f"columns {', '.join(map(repr, header)) or 'none'}",
                         expected="a header with student, login, email, id or name", where=str(path))  # fmt: skip
    entries = [_entry({known[column]: (row[column] or "").strip() for column in known}) for row in rows]
    entries = [entry for entry in entries if entry.student]
    twice = sorted(
        {one.student for one in entries if sum(one.student.casefold() == o.student.casefold() for o in entries) > 1}
    )
    if twice:
        raise UsageError("the roster has a student twice", given=", ".join(twice), where=str(path), fix="take one away")
    return entries


def _entry(cells: dict[str, str]) -> Entry:
    full = " ".join(cells[part] for part in ("first", "last") if cells.get(part))
    name = cells.get("name") or full
    student = next((cells[column] for column in FIRST_CHOICE if cells.get(column)), full)
    words = re.split(r"[\s,]+", name)
    turned = [f"{words[-1]} {' '.join(words[:-1])}", f"{' '.join(words[1:])} {words[0]}"] if len(words) > 1 else []
    local = cells.get("email", "").partition("@")[0]
    names = {plain(text) for text in (*cells.values(), name, *turned, local)}
    return Entry(student, frozenset(names - {""}), name or None)


def plain(text: str) -> str:
    """Letters and digits alone, small: "Doe, Jane" and Canvas's "doejane" are the same.

    >>> plain("Doe, Jane")
    'doejane'
    """
    return re.sub(r"[\W_]+", "", text.removeprefix("Participant ").casefold())


def on_roster(arrivals: Sequence[Arrival], roster: Sequence[Entry]) -> tuple[list[Arrival], list[str]]:
    """One arrival per student on the roster, without paths for who handed in nothing; and the strangers, with why.

    The strangers' arrivals follow the roster's, under the names they came with.
    """
    mine: dict[str, list[Arrival]] = {entry.student: [] for entry in roster}
    strangers, said = [], []
    for arrival in arrivals:
        names = {plain(text) for text in (arrival.student, *arrival.ids.values())}
        found = [entry for entry in roster if entry.names & names]
        exact = [entry for entry in found if {plain(v) for k, v in arrival.ids.items() if k != "name"} & entry.names]
        match exact or found:
            case [entry]:
                mine[entry.student].append(arrival)
            case []:
                strangers.append(arrival)
                said.append(f"{arrival.student}: not on the roster")
            case several:
                strangers.append(arrival)
                said.append(
                    f"{arrival.student}: could be {' or '.join(entry.student for entry in several)} on the roster"
                )
    known = [_one(entry, mine[entry.student]) for entry in roster]
    return [*known, *strangers], said


def _one(entry: Entry, arrivals: Sequence[Arrival]) -> Arrival:
    if not arrivals:
        return Arrival(entry.student, (), {"name": entry.name} if entry.name else {})
    latest = latest_of_many(arrivals)
    ids = {**latest.ids, **({"name": entry.name} if entry.name else {})}
    return replace(latest, student=entry.student, ids=ids)
