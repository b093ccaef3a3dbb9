"""Who is in the class: a table with a row per student, matched with what was handed in."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from aidl_jax.errors import UsageError
from aidl_jax.grade.inbox import Arrival, latest_of_many

COLUMNS = {
    "student": "student", "name": "name", "full name": "name", "first name": "first", "last name": "last", "surname": "last",
    "login": "login", "sis login id": "login", "username": "login", "email": "email", "email address": "email",
    "id": "canvas", "student id": "id", "sis user id": "id", "sid": "id", "id number": "id", "number": "number",
    "identifier": "number",
}  # fmt: skip
FIRST_CHOICE = ("student", "login", "email", "id", "canvas", "name", "number")


@dataclass(frozen=True)
class Entry:
    """One student of a class.

    Args:
        student: by what the results call the student.
        names: the forms of the name, each made plain (`plain`).
        ids: what else tells the student: the kind of it, and it made plain.
        name: to be shown, where the table has it.
    """

    student: str
    names: frozenset[str]
    ids: frozenset[tuple[str, str]]
    name: str | None = None


def read_roster(path: Path) -> list[Entry]:
    """The rows of a CSV file with a header; columns are known by their usual names, those of exported gradebooks too.

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
    entries = [_entry([(known[column], (row[column] or "").strip()) for column in known]) for row in rows]
    entries = [entry for entry in entries if entry.student and entry.student.casefold() != "points possible"]
    _refuse_twice(entries, path)
    return entries


def _refuse_twice(entries: Sequence[Entry], path: Path) -> None:
    counts = Counter(entry.student.casefold() for entry in entries)
    twice = sorted({entry.student for entry in entries if counts[entry.student.casefold()] > 1})
    if twice:
        raise UsageError("the roster has a student twice", given=", ".join(twice), where=str(path), fix="take one away")


def _entry(cells: Sequence[tuple[str, str]]) -> Entry:
    said = {kind: text for kind, text in reversed(cells) if text}
    full = " ".join(said[part] for part in ("first", "last") if part in said)
    gradebook = said.get("student", "") if "login" in said or "canvas" in said else ""  # there it is the name
    name = said.get("name") or full or gradebook
    choice = [kind for kind in FIRST_CHOICE if kind in said and not (kind == "student" and gradebook)]
    words = re.split(r"[\s,]+", name)
    turned = [f"{words[-1]} {' '.join(words[:-1])}", f"{' '.join(words[1:])} {words[0]}"] if len(words) > 1 else []
    ids = {(kind, plain(text)) for kind, text in cells if text and kind not in ("name", "first", "last")}
    ids |= {("login", plain(said["email"].partition("@")[0]))} if "email" in said else set()
    return Entry(
        said[choice[0]] if choice else full, frozenset(map(plain, [name, *turned])) - {""}, frozenset(ids), name or None
    )


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
        match _candidates(arrival, roster):
            case [entry]:
                mine[entry.student].append(arrival)
            case []:
                strangers.append(arrival)
                said.append(f"{arrival.student}: not on the roster")
            case several:
                strangers.append(arrival)
                students = " or ".join(entry.student for entry in several)
                said.append(f"{arrival.student}: could be {students} on the roster")
    known = [_one(entry, mine[entry.student]) for entry in roster]
    return [*known, *strangers], said


def _candidates(arrival: Arrival, roster: Sequence[Entry]) -> list[Entry]:
    """Whose a hand-in can be: IDs are compared with IDs of their kind, names with names; where they differ, all of them.

    An entry of a plain folder has just one word, which may be anything that tells a student.
    """
    if not arrival.ids:
        word = plain(arrival.student)
        return [entry for entry in roster if word in entry.names or any(word == text for _, text in entry.ids)]
    name, ids = plain(arrival.ids.get("name", "")), {(k, plain(v)) for k, v in arrival.ids.items() if k != "name"}
    by_name = [entry for entry in roster if name in entry.names]
    by_id = [entry for entry in roster if entry.ids & ids]
    both = [entry for entry in by_id if entry in by_name]
    return both or [*by_id, *(entry for entry in by_name if entry not in by_id)]


def _one(entry: Entry, arrivals: Sequence[Arrival]) -> Arrival:
    if not arrivals:
        return Arrival(entry.student, (), {"name": entry.name} if entry.name else {})
    latest = latest_of_many(arrivals)
    ids = {**latest.ids, **({"name": entry.name} if entry.name else {})}
    return replace(latest, student=entry.student, ids=ids)
