"""Hand-ins: reading files, notebooks, folders and zips, and finding which exercise each one answers.

Nothing here runs or parses a student's Python; it reads text, within limits.
"""

from __future__ import annotations

import json
import re
import stat
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from aidl_jax.errors import HandInError, UsageError
from aidl_jax.exercise import Exercise
from aidl_jax.grade.extract import Cell

MAX_FILE = 5 * 1024 * 1024
MAX_TOTAL = 50 * 1024 * 1024
MAX_FILES = 500
SUFFIXES = (".py", ".ipynb")
MANIFEST = "aidl.json"


@dataclass(frozen=True)
class Document:
    """One file of a hand-in, as cells: a `.py` file is one cell, a notebook has one per code cell."""

    name: str
    cells: tuple[Cell, ...]

    @property
    def text(self) -> str:
        """All its code."""
        return "\n".join(cell.text for cell in self.cells)


@dataclass
class HandIn:
    """What one student handed in.

    Attributes:
        student: the name of the folder, file or zip.
        answers: the document that answers each exercise.
        problems: by exercise, or by file, why something could not be read or told apart.
        unused: files that answer none of the exercises.
    """

    student: str
    answers: dict[str, Document] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    unused: list[str] = field(default_factory=list)


def read_document(name: str, data: bytes) -> Document:
    """Reads a `.py` file or a notebook.

    Raises:
        HandInError: too large, not UTF-8, not a notebook.
    """
    if len(data) > MAX_FILE:
        raise HandInError(
            "the file is too large", where=name, given=f"{len(data):,} bytes", expected=f"at most {MAX_FILE:,}"
        )
    try:
        text = data.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        raise HandInError("the file is not UTF-8 text", where=name, given=f"byte {data[error.start]:#04x} at {error.start}",
                          fix="save it as UTF-8") from None  # fmt: skip
    if "\0" in text:
        raise HandInError("the file is binary, not text", where=name)
    if name.endswith(".ipynb"):
        return Document(name, tuple(_notebook_cells(name, text)))
    return Document(name, (Cell(PurePosixPath(name).name, text),))


def _notebook_cells(name: str, text: str) -> Iterable[Cell]:
    try:
        notebook = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise HandInError("the notebook is not JSON", where=name, given=str(error),
                          fix="download it again as .ipynb (File > Download)") from None  # fmt: skip
    found = notebook.get("cells") if isinstance(notebook, dict) else None
    if not isinstance(found, list):
        raise HandInError("the file is JSON but not a notebook of format 4", where=name, expected='a list "cells"')
    for number, cell in enumerate(found, start=1):
        source = cell.get("source", "") if isinstance(cell, dict) else None
        if isinstance(source, list) and all(isinstance(line, str) for line in source):
            source = "".join(source)
        if not isinstance(source, str):
            raise HandInError("a cell has no text", where=f"{name}, cell {number}")
        if cell.get("cell_type") == "code":
            yield Cell(f"cell {number}", source)


def read_hand_in(path: Path) -> tuple[list[Document], dict[str, str]]:
    """The documents of one student, and what could not be read, by file.

    Args:
        path: a folder, a `.py` file, a notebook or a zip.
    """
    documents: list[Document] = []
    problems: dict[str, str] = {}
    try:
        for name, data in _files(path):
            try:
                documents.append(read_document(name, data))
            except HandInError as error:
                problems[name] = str(error)
    except HandInError as error:
        problems[path.name] = str(error)
    return documents, problems


def _files(path: Path) -> Iterable[tuple[str, bytes]]:
    if path.is_symlink():
        raise HandInError("a link is not a hand-in", where=path.name)
    if path.is_dir():
        return _folder_files(path)
    if path.suffix == ".zip":
        return _zip_files(path)
    return [(path.name, _read(path))]


def _read(path: Path) -> bytes:
    with open(path, "rb") as file:
        return file.read(MAX_FILE + 1)


def _folder_files(folder: Path) -> list[tuple[str, bytes]]:
    found = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if wanted(name) and not path.is_symlink() and path.is_file():
            found.append(name)
        if len(found) > MAX_FILES:
            raise HandInError("there are too many files", where=folder.name, expected=f"at most {MAX_FILES}")
    return [(name, _read(folder / name)) for name in found]


def _zip_files(path: Path) -> list[tuple[str, bytes]]:
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if len(members) > MAX_FILES:
                raise HandInError(
                    "the zip has too many files",
                    where=path.name,
                    given=f"{len(members):,}",
                    expected=f"at most {MAX_FILES}",
                )
            for member in members:
                _refuse_member(path.name, member)
            if sum(member.file_size for member in members) > MAX_TOTAL:
                raise HandInError(
                    "the zip is too large when unpacked", where=path.name, expected=f"at most {MAX_TOTAL:,} bytes"
                )
            found = []
            for member in members:
                if wanted(member.filename) and not member.is_dir():
                    with archive.open(member) as file:
                        found.append((member.filename, file.read(MAX_FILE + 1)))
            return found
    except (
        zipfile.BadZipFile,
        zipfile.LargeZipFile,
        NotImplementedError,
        RuntimeError,
        OSError,
        EOFError,
        ValueError,
    ) as error:
        raise HandInError("the zip cannot be read", where=path.name, given=str(error), fix="hand it in again") from None
    except Exception as error:  # zlib.error and lzma.LZMAError share no base but Exception
        if isinstance(error, HandInError):
            raise
        raise HandInError("the zip cannot be read", where=path.name, given=str(error), fix="hand it in again") from None


def _refuse_member(where: str, member: zipfile.ZipInfo) -> None:
    name = PurePosixPath(member.filename.replace("\\", "/"))
    kind = stat.S_IFMT(member.external_attr >> 16)
    if name.is_absolute() or ".." in name.parts or re.match(r"[A-Za-z]:", member.filename):
        raise HandInError("a name in the zip points outside it", where=where, given=repr(member.filename))
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise HandInError("the zip holds a link or a device", where=where, given=repr(member.filename))
    if member.flag_bits & 1:
        raise HandInError("the zip is encrypted", where=where, given=repr(member.filename))


def wanted(name: str) -> bool:
    """Whether a file of a hand-in may be an answer: `.py` or `.ipynb`, not in a hidden or cache folder."""
    path = PurePosixPath(name)
    hidden = any(part.startswith((".", "__")) for part in path.parts)
    return path.suffix in SUFFIXES and not hidden


def assign(
    student: str, documents: Sequence[Document], problems: Mapping[str, str], exercises: Mapping[str, Exercise]
) -> HandIn:
    """Finds which exercise each document answers: by its path, its first line, or the tasks it defines.

    Two documents for one exercise are a problem of that exercise; no one is chosen silently.
    """
    hand_in = HandIn(student, problems=dict(problems))
    claims: dict[str, list[Document]] = {}
    alone = len(documents) == 1 and len(exercises) == 1
    for document in documents:
        found = answered(document, exercises) or (list(exercises) if alone else [])
        if not found:
            hand_in.unused.append(document.name)
        for name in found:
            claims.setdefault(name, []).append(document)
    for name, claiming in claims.items():
        if len(claiming) == 1:
            hand_in.answers[name] = claiming[0]
        else:
            files = " and ".join(document.name for document in claiming)
            hand_in.problems[name] = f"{files} both answer it; which one counts?"
    return hand_in


def answered(document: Document, exercises: Mapping[str, Exercise]) -> list[str]:
    """The exercises that a document answers: one for a `.py` file, any number for a notebook."""
    path = PurePosixPath(document.name)
    defined = set(re.findall(r"^def (\w+)\(", document.text, re.MULTILINE))
    overlap = {name: len(defined & exercise.tasks.keys()) for name, exercise in exercises.items()}
    if path.suffix == ".ipynb" or not path.suffix:
        return [name for name, count in overlap.items() if count]
    named = [name for name in exercises if str(path.with_suffix("")).endswith(name)]
    named = named or [name for name in exercises if name.split("/")[1] == path.stem]
    if len(named) == 1:
        return named
    first = re.match(r"# Exercise (s\d\d_\w+/\w+)", document.text)
    if first:
        return [first[1]] if first[1] in exercises else []
    most = max(overlap.values(), default=0)
    best = [name for name, count in overlap.items() if count == most and most]
    return best if len(best) == 1 else []


def find_hand_ins(folder: Path) -> list[tuple[str, Path]]:
    """The students of a class: every folder, `.py` file, notebook and zip in it, by name.

    Raises:
        UsageError: the folder is missing or empty, or two entries have one student's name.
    """
    if not folder.exists():
        raise UsageError("there is no such folder", given=str(folder))
    if folder.is_file():
        return [(folder.stem, folder)]
    entries = [p for p in sorted(folder.iterdir()) if not p.name.startswith((".", "__"))]
    found = [(p.name if p.is_dir() else p.stem, p) for p in entries if p.is_dir() or p.suffix in (*SUFFIXES, ".zip")]
    if not found:
        raise UsageError(
            "the folder holds no hand-ins", given=str(folder), expected="folders, .py files, notebooks or zips"
        )
    seen: dict[str, Path] = {}
    for student, path in found:
        if student in seen:
            raise UsageError(f"two hand-ins have the name {student!r}", given=f"{seen[student].name} and {path.name}",
                             fix="rename one or take it away")  # fmt: skip
        seen[student] = path
    return found
