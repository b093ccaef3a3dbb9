"""The journal of a class run: every verdict as it comes, appended, so that a run that was killed goes on where it was.

It is the cache too: an entry is found by what its verdict depends on, the answer's text, the exercise's checks, the seed and
the environment. Lines of JSON; a last line without its end is what a killed run left, and is cut off.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib.metadata
import json
import os
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from aidl_jax.errors import UsageError
from aidl_jax.exercise.course import Course
from aidl_jax.grade.handin import Document
from aidl_jax.grade.judge import versions
from aidl_jax.grade.record import Record, from_dict
from aidl_jax.grade.speed import Speed

FORMAT = 1
NAME = "journal.jsonl"
WHY = {
    "answer": "the hand-in changed",
    "checks": "the checks changed",
    "environment": "the versions changed",
    "seed": "the seed changed",
}


class JournalError(OSError):
    """The journal cannot be written: there is no going on."""


@dataclass(frozen=True)
class Basis:
    """What a verdict depends on, each part as a hash; the same basis gives the same verdict."""

    answer: str
    checks: str
    environment: str
    seed: int

    @property
    def key(self) -> str:
        """All of it in one hash."""
        return _hash(json.dumps(dataclasses.asdict(self), sort_keys=True))

    def why(self, earlier: Basis) -> str:
        """What makes it another basis than an earlier one, in words."""
        changed = [words for part, words in WHY.items() if getattr(self, part) != getattr(earlier, part)]
        return " and ".join(changed) or "nothing changed"


def basis(course: Course, name: str, document: Document, seed: int) -> Basis:
    """What the verdict on an answer to one exercise depends on; the name of a student or of a folder is not in it."""
    cells = json.dumps([[cell.label, cell.text] for cell in document.cells])
    return Basis(_hash(name + cells), checks_of(course.checks, name), environment(), seed)


def answer_seed(seed: int, document: Document) -> int:
    """The seed of one answer's hidden inputs: another answer gets others, so that nobody learns them by handing in again.

    The same answer gets the same ones, under whatever name it is handed in.
    """
    text = json.dumps([[cell.label, cell.text] for cell in document.cells])
    return int(_hash(str(seed), text)[:12], 16)


@functools.cache
def checks_of(checks: Path, name: str) -> str:
    """A hash over an exercise's check file and what check files share: those whose name begins with an underscore."""
    shared = [path for path in sorted(checks.rglob("_*.py")) if path.name != "__init__.py"]
    return _hash(*(path.read_text(encoding="utf-8") for path in [checks / f"{name}.py", *shared]))


@functools.cache
def environment() -> str:
    """A hash over the versions of what student code runs on, and over this package's own files but its course."""
    package = Path(__file__).resolve().parents[1]
    files = [
        path
        for path in sorted(package.rglob("*.py"))
        if path.relative_to(package).parts[0] not in ("course", "handout")
    ]
    installed = {name: _version(name) for name in ("jaxlib", "optax", "flax")}
    return _hash(
        json.dumps({**versions(), **installed}, sort_keys=True), *(path.read_text(encoding="utf-8") for path in files)
    )


@dataclass(frozen=True)
class Entry:
    """One verdict: on what, by whom first, what it is, how long it took; how fast the answer is, where that is measured."""

    exercise: str
    student: str
    basis: Basis
    record: Record
    seconds: float
    speed: Speed | None = None


class Journal:
    """The journal of one output folder.

    Args:
        folder: where it lies, or will.
        about: what the whole run is; an earlier run's must be the same.

    Raises:
        UsageError: the journal there is another run's, or damaged.
    """

    def __init__(self, folder: Path, about: dict[str, Any]) -> None:
        self.path = folder / NAME
        self.writing = threading.Lock()
        self.entries: dict[str, Entry] = {}
        self.latest: dict[tuple[str, str], Entry] = {}
        self._cut_off_unfinished()
        self._refuse_another(folder, about)
        for entry in self._read() if self.path.exists() else ():
            self._keep(entry)
        self.file = open(self.path, "ab", buffering=0)  # noqa: SIM115 - it lives as long as the run
        _only_one(self.file, folder)
        if self.path.stat().st_size == 0:
            self._append({"format": FORMAT, **about})

    def find(self, basis: Basis) -> Entry | None:
        """The verdict on an equal answer under equal checks."""
        return self.entries.get(basis.key)

    def earlier(self, student: str, exercise: str) -> Entry | None:
        """A student's last verdict, on whatever basis."""
        return self.latest.get((student, exercise))

    def add(self, entry: Entry) -> None:
        """Appends a verdict; it is on the disk when this returns.

        Raises:
            OSError: it cannot be written.
        """
        with self.writing:
            self._append(dataclasses.asdict(entry))
            self._keep(entry)

    def _keep(self, entry: Entry) -> None:
        self.entries.setdefault(entry.basis.key, entry)
        self.latest[entry.student, entry.exercise] = entry

    def _append(self, data: dict[str, Any]) -> None:
        try:
            line = memoryview(json.dumps(data, allow_nan=False).encode("ascii") + b"\n")  # one line, whatever is in it
            while line:
                line = line[self.file.write(line) :]
            os.fsync(self.file.fileno())
        except OSError as error:  # a full disk's error names no file
            raise JournalError(error.errno, error.strerror, str(self.path)) from error

    def _cut_off_unfinished(self) -> None:
        if self.path.exists():
            data = self.path.read_bytes()
            whole = data.rfind(b"\n") + 1
            if whole < len(data):
                os.truncate(self.path, whole)

    def _refuse_another(self, folder: Path, about: dict[str, Any]) -> None:
        """The verdicts of another course, seed or way of running are not this run's."""
        theirs = about_run(folder)
        differing = [name for name in about if theirs is not None and theirs.get(name) != about[name]]
        if theirs is not None and differing:
            name = differing[0]
            raise UsageError("the output folder holds another run", where=str(self.path), given=f"{name} = {theirs.get(name)}",
                             expected=f"{name} = {about[name]}", fix="name another folder, or pass --replace to grade anew")  # fmt: skip

    def _read(self) -> Iterator[Entry]:
        lines = self.path.read_text(encoding="utf-8").splitlines()
        for number, line in enumerate(lines[1:], start=2):
            try:
                data = json.loads(line)
                record = from_dict(data["record"])
                speed = Speed(**data["speed"]) if data.get("speed") else None
                yield Entry(data["exercise"], data["student"], Basis(**data["basis"]), record, data["seconds"], speed)
            except (ValueError, KeyError, TypeError) as error:
                raise UsageError("the journal cannot be read", where=f"{self.path}, line {number}", given=str(error),
                                 fix="pass --replace to grade anew") from None  # fmt: skip

    def close(self) -> None:
        """Closes the file."""
        self.file.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def about_run(folder: Path) -> dict[str, Any] | None:
    """What the journal in a folder says its run is; None where there is none.

    Raises:
        UsageError: it cannot be read.
    """
    path = folder / NAME
    if not path.is_file() or b"\n" not in (data := path.read_bytes()):
        return None
    try:
        found = json.loads(data[: data.index(b"\n")])
        if found["format"] != FORMAT:
            raise ValueError(f"it is of format {found['format']}, where {FORMAT} is read")
        return dict(found)
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError("the journal cannot be read", where=f"{path}, line 1", given=str(error),
                         fix="pass --replace to grade anew") from None  # fmt: skip


def _only_one(file: IO[bytes], folder: Path) -> None:
    """Two runs at a time would write over each other's results."""
    if sys.platform == "win32":
        return
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise UsageError(
            "another run writes there", given=str(folder), fix="wait for it, or name another folder"
        ) from None


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _hash(*texts: str) -> str:
    hashed = hashlib.blake2b(digest_size=16)
    for text in texts:
        hashed.update(text.encode("utf-8", "surrogatepass") + b"\0")
    return hashed.hexdigest()
