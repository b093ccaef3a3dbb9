"""Hand-ins: reading files, notebooks, folders and zips.

Nothing here runs or parses a student's Python; it reads text, within limits.
"""

from __future__ import annotations

import io
import json
import re
import stat
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import IO

from aidl_jax.errors import HandInError
from aidl_jax.grade.extract import Cell
from aidl_jax.grade.manifest import MANIFEST, Manifest, read_manifest
from aidl_jax.grade.zip_directory import refuse_long_directory

MAX_FILE = 5 * 1024 * 1024
MAX_TOTAL = 50 * 1024 * 1024
MAX_FILES = 500
MAX_DEPTH = 3  # zips in zips
SUFFIXES = (".py", ".ipynb")


@dataclass(frozen=True)
class Document:
    """One file of a hand-in, as cells: a `.py` file is one cell, a notebook has one per code cell.

    `upload` counts what was uploaded one after another, from 1, where that is known; else it is 0.
    """

    name: str
    cells: tuple[Cell, ...]
    upload: int = 0

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
        superseded: who was passed over for whom, and why, in words.
        manifest: what `aidl submit` wrote beside the answers.
    """

    student: str
    answers: dict[str, Document] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    unused: list[str] = field(default_factory=list)
    superseded: list[str] = field(default_factory=list)
    manifest: Manifest = field(default_factory=Manifest)

    @property
    def unknown(self) -> list[str]:
        """What is to be said of the unused files; nothing where there are none."""
        return [f"no task of these exercises in {', '.join(self.unused)}"] if self.unused else []


def read_document(name: str, data: bytes) -> Document:
    """Reads a `.py` file or a notebook.

    Raises:
        HandInError: too large, not Unicode text, not a notebook.
    """
    if len(data) > MAX_FILE:
        raise HandInError(
            "the file is too large", where=name, expected=f"at most {MAX_FILE:,} bytes", fix="take its data out of it"
        )
    try:
        text = data.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise HandInError("the file is not UTF-8 text", where=name, given=f"byte {error.object[error.start]:#04x} in line {line}",
                          fix="save it as UTF-8") from None  # fmt: skip
    if "\0" in text:
        raise HandInError("the file is binary, not text", where=name, fix="save it as UTF-8 text")
    if _suffix(name) == ".ipynb":
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
            raise HandInError("a cell has no text", where=f"{name}, cell {number}", fix="download the notebook again")
        if re.search("[\0\ud800-\udfff]", source):
            raise HandInError("a cell holds what is no text", where=f"{name}, cell {number}",
                              given="a null byte or half a character", fix="write the cell again")  # fmt: skip
        if cell.get("cell_type") == "code":
            yield Cell(f"cell {number}", source)


def read_hand_in(*parts: tuple[str, Path], in_order: bool = False) -> tuple[list[Document], dict[str, str], Manifest]:
    """The documents of one student; what could not be read, by file; and what `aidl submit` wrote of them.

    Args:
        parts: folders, `.py` files, notebooks and zips, each with the name it was handed in under.
        in_order: whether they stand as they were uploaded one after another.
    """
    documents: list[Document] = []
    problems: dict[str, str] = {}
    manifest = Manifest()
    room = _Room(MAX_TOTAL, MAX_FILES)
    for upload, (part, path) in enumerate(parts, 1):
        try:
            for name, data in _files(part, path, room):  # the files that can't be read alone leave the others be
                try:
                    if isinstance(data, HandInError):
                        raise data
                    if PurePosixPath(name).name == MANIFEST:
                        manifest = read_manifest(name, data)
                    else:
                        documents.append(replace(read_document(name, data), upload=upload if in_order else 0))
                except HandInError as error:
                    problems[name] = error.told
        except HandInError as error:
            problems[part] = error.told
    return documents, problems, manifest


@dataclass
class _Room:
    """What may still be read of one hand-in; a zip in a zip counts too, with what is in it."""

    size: int
    files: int

    def take(self, where: str, data: bytes) -> bytes:
        """The bytes that were read, where there was room for them."""
        self.files -= 1
        if len(data) > self.size or self.files < 0:
            self.size = 0
            raise HandInError("the hand-in is too large when unpacked", where=where,
                              expected=f"at most {MAX_FILES} files and {MAX_TOTAL:,} bytes")  # fmt: skip
        self.size -= len(data)
        return data


def _files(name: str, path: Path, room: _Room) -> Sequence[tuple[str, bytes | HandInError]]:
    if path.is_symlink():
        raise HandInError("a link is not a hand-in", where=name, fix="put the file itself there")
    if path.is_dir():
        return _folder_files(path, room)
    if not path.is_file() or _suffix(name) not in (*SUFFIXES, ".zip"):
        raise HandInError("this is no hand-in", where=name, expected="a folder, a .py file, a notebook or a zip")
    return _zip_files(path, room) if _suffix(name) == ".zip" else [(name, room.take(name, read_file(path)))]


def read_file(path: Path) -> bytes:
    """A file's bytes; of one that is too large, enough to tell that it is.

    Raises:
        HandInError: it cannot be read.
    """
    try:
        with open(path, "rb") as file:
            return file.read(MAX_FILE + 1)
    except OSError as error:
        raise HandInError("the file cannot be read", where=as_text(path.name), given=str(error.strerror)) from None


def _folder_files(folder: Path, room: _Room) -> Sequence[tuple[str, bytes | HandInError]]:
    """The files of a folder, and those of the zips in it, which the pages that collect hand-ins like to add."""
    files = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if (wanted(name, (*SUFFIXES, ".zip")) or path.name == MANIFEST) and not path.is_symlink() and path.is_file():
            files.append(path)
        if len(files) > MAX_FILES:
            raise HandInError("there are too many files", where=as_text(folder.name), expected=f"at most {MAX_FILES}")
    if sum(path.stat().st_size for path in files) > MAX_TOTAL:
        raise HandInError(
            "the folder is too large", where=as_text(folder.name), expected=f"at most {MAX_TOTAL:,} bytes"
        )
    found: list[tuple[str, bytes | HandInError]] = []
    for path in files:
        name = as_text(path.relative_to(folder).as_posix())
        try:
            if _suffix(name) == ".zip":
                found += [(f"{name}/{part}", data) for part, data in _zip_files(path, room)]
            else:
                found.append((name, room.take(name, read_file(path))))
        except HandInError as error:
            found.append((name, error))
    return found


def _zip_files(path: Path, room: _Room) -> list[tuple[str, bytes]]:
    if path.stat().st_size > MAX_TOTAL:
        raise HandInError("the zip is too large", where=as_text(path.name), expected=f"at most {MAX_TOTAL:,} bytes")
    with open(path, "rb") as file:
        return _unzipped(as_text(path.name), file, room, MAX_DEPTH)


def _unzipped(where: str, file: IO[bytes], room: _Room, depth: int) -> list[tuple[str, bytes]]:
    """The answers in a zip, and in the zips in it, as long as there is room for them."""
    try:
        refuse_long_directory(where, file, MAX_FILES)
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            if len(members) > MAX_FILES:
                raise HandInError(
                    "the zip has too many files",
                    where=where,
                    given=f"{len(members):,}",
                    expected=f"at most {MAX_FILES}",
                )
            for member in members:
                refuse_member(where, member)
            if sum(member.file_size for member in members) > MAX_TOTAL:
                raise HandInError(
                    "the zip is too large when unpacked", where=where, expected=f"at most {MAX_TOTAL:,} bytes"
                )
            found: list[tuple[str, bytes]] = []
            for member in members:
                name = as_text(member.filename)
                if wanted(name, (".zip",)) and not member.is_dir():
                    data = room.take(where, _read_member(archive, member, room.size))
                    found += _inner_zip(where, name, data, room, depth)
                elif (wanted(name) or PurePosixPath(name).name == MANIFEST) and not member.is_dir():
                    found.append((name, room.take(where, _read_member(archive, member, MAX_FILE))))
            return found
    except HandInError:
        raise
    except Exception as error:  # what zipfile, zlib, lzma and struct raise has no other base
        given = str(error) or type(error).__name__
        raise HandInError("the zip cannot be read", where=where, given=given, fix="make the zip anew") from None


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, most: int) -> bytes:
    with archive.open(member) as file:
        return file.read(most + 1)


def _inner_zip(where: str, name: str, data: bytes, room: _Room, depth: int) -> list[tuple[str, bytes]]:
    if depth == 0:
        raise HandInError(
            "zips stand too deep in zips", where=where, given=repr(name), expected=f"at most {MAX_DEPTH} deep"
        )
    found = _unzipped(f"{where}/{name}", io.BytesIO(data), room, depth - 1)
    return [(f"{name}/{inside}", content) for inside, content in found]


def refuse_member(where: str, member: zipfile.ZipInfo) -> None:
    """Raises HandInError where a zip's member has a name that points elsewhere, is no plain file, or is encrypted."""
    name = PurePosixPath(member.filename.replace("\\", "/"))
    kind = stat.S_IFMT(member.external_attr >> 16)
    if name.is_absolute() or ".." in name.parts or re.match(r"[A-Za-z]:", member.filename):
        raise HandInError("a name in the zip points outside it", where=where, given=repr(member.filename))
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise HandInError("the zip holds a link or a device", where=where, given=repr(member.filename))
    if member.flag_bits & 1:
        raise HandInError("the zip is encrypted", where=where, given=repr(member.filename))


def wanted(name: str, suffixes: Sequence[str] = SUFFIXES) -> bool:
    """Whether a file of a hand-in may be an answer: `.py` or `.ipynb`, not in a hidden or cache folder."""
    hidden = any(part.startswith((".", "__")) for part in PurePosixPath(name).parts)
    return _suffix(name) in suffixes and not hidden


def as_text(name: str) -> str:
    r"""A file's name as text that can be written anywhere: bytes in it that are no text are spelled out.

    >>> print(as_text("ada\udcff.py"))
    ada\udcff.py
    """
    return name.encode("utf-8", "backslashreplace").decode()


def _suffix(name: str) -> str:
    return PurePosixPath(name).suffix.lower()
