"""Writing a hand-in: the graded module of each answered exercise, and a manifest, in one zip."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from aidl_jax.errors import UsageError
from aidl_jax.exercise.course import Course
from aidl_jax.exercise.source import short_name
from aidl_jax.exercise.workspace import Workspace
from aidl_jax.files import write_bytes
from aidl_jax.grade.extract import BrokenCell, Extraction, extract
from aidl_jax.grade.handin import Document, read_document
from aidl_jax.grade.judge import versions
from aidl_jax.grade.manifest import MANIFEST
from aidl_jax.grade.record import Record, to_json


def graded_module(document: Document, tasks: Iterable[str]) -> str:
    """The part of a document that is graded, as one Python file.

    Raises:
        UsageError: Python cannot read a part that may hold a task, so that it would be lost.
    """
    names = list(tasks)
    found = extract(document.cells, names)
    for broken in _broken(document, found, names):
        raise UsageError("Python cannot read what would be handed in", given=f"{broken.message}: {broken.source_line}",
                         where=f"{document.name}, line {broken.line}", fix="mend this line; aidl check shows it")  # fmt: skip
    return found.text()


def _broken(document: Document, found: Extraction, tasks: Iterable[str]) -> list[BrokenCell]:
    """What cannot be read of a document: a whole file, or a notebook's cells that define a task."""
    file = not document.name.endswith(".ipynb")
    return [b for b in found.broken if file or any(f"def {task}(" in b.cell.text for task in tasks)]


def answer(course: Course, workspace: Workspace, name: str) -> Document:
    """The document that answers an exercise: the file, or the notebook where only that was worked on.

    Raises:
        UsageError: both were worked on and differ, or there is neither.
        HandInError: it cannot be read.
    """
    edited, there = [], []
    for path in (workspace.file(name), workspace.notebook(name)):
        if path.is_file():
            document = read_document(path.relative_to(workspace.root).as_posix(), path.read_bytes())
            there.append(document)
            if is_edited(course, name, document):
                edited.append(document)
    if not there:
        raise UsageError(f"the file of {short_name(name)} is missing", given=str(workspace.file(name)),
                         fix=f"aidl reset {short_name(name)}")  # fmt: skip
    tasks = course.exercise(name).tasks
    if len(edited) == 2 and len({extract(document.cells, tasks).text() for document in edited}) == 2:
        raise UsageError(f"both the file and the notebook answer {short_name(name)}",
                         given=" and ".join(document.name for document in edited), fix="name the one you mean")  # fmt: skip
    return (edited or there)[0]


def is_edited(course: Course, name: str, document: Document) -> bool:
    """Whether any task of an exercise is written: no longer raising NotImplementedError, or beyond reading."""
    tasks = course.exercise(name).tasks
    found = extract(document.cells, tasks)
    if _broken(document, found, tasks):
        return True
    definitions = (found.definition(task) for task in tasks)
    return any(d is not None and "raise NotImplementedError" not in d.text for d in definitions)


def refuse_to_overwrite(path: Path) -> None:
    """Raises UsageError where a hand-in would take the place of something else, or has no folder to stand in."""
    if path.exists() and not zipfile.is_zipfile(path):
        raise UsageError("something that is no hand-in is there", given=str(path), fix="pass another name with --out")
    if not path.parent.is_dir():
        raise UsageError("there is no such folder", given=str(path.parent), fix="make it, or pass another --out")


def write_hand_in(path: Path, answers: dict[str, Document], records: dict[str, Record], course: Course,
                  hints: dict[str, dict[str, int]], student: str | None) -> dict[str, Any]:  # fmt: skip
    """Writes the zip; the same answers give the same bytes. Returns the manifest.

    Raises:
        UsageError: something else than a zip is there.
    """
    refuse_to_overwrite(path)
    modules = {name: graded_module(document, course.exercise(name).tasks) for name, document in answers.items()}
    manifest = {
        "course": course.title,
        "exercises": {
            name: {
                "blake2b": hashlib.blake2b(text.encode(), digest_size=16).hexdigest(),
                "from": answers[name].name,
                "hints": hints.get(name, {}),
                "points_at_home": records[name].points,
            }
            for name, text in modules.items()
        },
        "student": student,
        "versions": versions(),
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in {MANIFEST: to_json(manifest), **{f"{n}.py": t for n, t in modules.items()}}.items():
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), text)
    write_bytes(path, buffer.getvalue())
    return manifest
