"""What a class handed in, as the pages that collect hand-ins give it out: who handed in which files, and when.

Read are a folder or a zip with an entry per student; Canvas's flat file names, Moodle's folders, Gradescope's export (formats:
each layout's own function). What comes is not trusted: names point nowhere else, sizes are bounded, nothing is run.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from aidl_jax.errors import HandInError, UsageError
from aidl_jax.grade.handin import MAX_TOTAL, SUFFIXES, as_text, refuse_member
from aidl_jax.grade.manifest import MANIFEST
from aidl_jax.grade.zip_directory import refuse_long_directory

MAX_CLASS = 4 * 1024**3  # bytes of a class's zip when unpacked
MAX_CLASS_FILES = 100_000
METADATA = "submission_metadata.yml"


@dataclass(frozen=True)
class Arrival:
    """What one student handed in, wherever it lies.

    Args:
        student: by what it goes: a name, or what the collecting page has in its place.
        parts: files and folders, all of them the student's, each with the name it was handed in under.
        ids: what else the page knows the student by: "name", "email", "id", "number".
        received: when, as far as it is known; in UTC.
        late: whether the page itself says that it was.
        notes: what the instructor should know, of hand-ins that were passed over, say.
        in_order: whether the parts stand as they were uploaded one after another.
    """

    student: str
    parts: tuple[tuple[str, Path], ...]
    ids: Mapping[str, str] = field(default_factory=dict)
    received: dt.datetime | None = None
    late: bool = False
    notes: tuple[str, ...] = ()
    in_order: bool = False


@contextlib.contextmanager
def opened(submissions: Path, scratch: Path) -> Iterator[Path]:
    """The folder of a class; a zip is unpacked into `scratch`.

    Raises:
        UsageError: it is not there, or is no zip that may be unpacked.
    """
    if not submissions.exists():
        raise UsageError("there is no such folder", given=str(submissions))
    if submissions.is_file() and submissions.suffix.lower() == ".zip" and _holds_a_class(submissions):
        _unpack(submissions, scratch)
        yield _without_wrapping(scratch)
    else:
        yield submissions


def _holds_a_class(path: Path) -> bool:
    """Whether a zip is a class's; what `aidl submit` writes is one student's."""
    with _archive(path) as archive:
        return MANIFEST not in archive.namelist()


@contextlib.contextmanager
def _archive(path: Path) -> Iterator[zipfile.ZipFile]:
    """A zip, and one error for all that can be wrong with it."""
    try:
        with open(path, "rb") as file:
            refuse_long_directory(path.name, file, MAX_CLASS_FILES)
            with zipfile.ZipFile(file) as archive:
                yield archive
    except UsageError:
        raise
    except HandInError as error:
        raise UsageError(error.what, given=error.given, expected=error.expected, where=str(path),
                         fix="unpack it yourself, and look") from None  # fmt: skip
    except Exception as error:  # what zipfile, zlib, lzma and struct raise has no other base
        raise UsageError("the zip cannot be unpacked", given=str(error) or type(error).__name__, where=str(path),
                         fix="download it again, or unpack it yourself") from None  # fmt: skip


def _unpack(path: Path, folder: Path) -> None:
    """Writes a zip's regular files under a folder, with their times; refused whole where a name or a size is not right."""
    with _archive(path) as archive:
        members = archive.infolist()
        if len(members) > MAX_CLASS_FILES or sum(member.file_size for member in members) > MAX_CLASS:
            raise UsageError("the zip is too large", given=f"{len(members):,} files", where=str(path),
                             expected=f"at most {MAX_CLASS_FILES:,} files and {MAX_CLASS >> 30} GiB")  # fmt: skip
        for member in members:
            refuse_member(path.name, member)
            if not member.is_dir():
                _write_member(archive, member, folder / PurePosixPath(member.filename.replace("\\", "/")))


def _write_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path) -> None:
    """At most so many bytes, whatever the zip says of itself; one more than allowed makes the hand-in be refused later."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(member) as source, open(target, "xb") as file:
        file.write(source.read(MAX_TOTAL + 1))
    with contextlib.suppress(ValueError, OverflowError):
        time = dt.datetime(*member.date_time).timestamp()
        os.utime(target, (time, time))


def _without_wrapping(folder: Path) -> Path:
    """The folder in a folder that holds nothing else, as zips like to wrap what is in them."""
    entries = _entries(folder)
    return entries[0] if len(entries) == 1 and entries[0].is_dir() and len(_entries(entries[0])) > 1 else folder


def read_inbox(folder: Path) -> list[Arrival]:
    """Everything in a class's folder, by student; a single file is its student's.

    Raises:
        UsageError: it holds no hand-ins, or Gradescope's table cannot be read.
    """
    if not folder.is_dir():
        return [_plain(folder)]
    entries = _entries(folder)
    if (folder / METADATA).is_file():
        arrivals = list(_gradescope(folder))
    elif any(MOODLE.fullmatch(path.name) for path in entries):
        arrivals = list(_moodle(entries))
    elif 2 * sum(_is_canvas(path) for path in entries) >= max(len(entries), 1):
        arrivals = list(_canvas(entries))
    else:
        arrivals = [_plain(path) for path in entries]
        if not any(p.is_dir() or p.suffix.lower() in (*SUFFIXES, ".zip") for p in entries):
            raise UsageError(
                "the folder holds no hand-ins", given=str(folder), expected="folders, .py files, notebooks or zips"
            )
    return sorted(arrivals, key=lambda arrival: (arrival.student.casefold(), arrival.student))


def _entries(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.iterdir()) if not path.name.startswith((".", "__"))]


def refuse_clashes(arrivals: Sequence[Arrival], folder: Path) -> None:
    """Without a roster there is nobody to say that two hand-ins are one student's.

    Raises:
        UsageError: two have one name.
    """
    by_name: dict[str, list[str]] = {}
    for arrival in arrivals:  # on some systems "Ada" and "ada" are one file
        shown = arrival.parts[0][0] if arrival.parts else arrival.student
        by_name.setdefault(arrival.student.casefold(), []).append(shown)
    clashes = [" and ".join(names) for names in by_name.values() if len(names) > 1]
    if clashes:
        raise UsageError("two hand-ins have one student's name", given="; ".join(clashes), where=str(folder),
                         fix="rename one or take it away")  # fmt: skip


def _plain(path: Path) -> Arrival:
    known = path.suffix.lower() in (*SUFFIXES, ".zip") and not path.is_dir()
    return Arrival(as_text(path.stem if known else path.name), (_part(path),), received=_newest([path]))


# "Jane Doe_4711_assignsubmission_file_": the participant's number in the middle
MOODLE = re.compile(r"(?P<name>.+)_(?P<number>\d+)_assignsubmission_(?:file|onlinetext)_?")


def _moodle(paths: Sequence[Path]) -> Iterator[Arrival]:
    """A participant's files and the text that was written online are one hand-in in two folders."""
    by_student: dict[tuple[str, str], list[Path]] = {}
    for path in paths:
        if found := MOODLE.fullmatch(path.name):
            by_student.setdefault((found["name"], found["number"]), []).append(path)
        else:
            yield _plain(path)
    for (name, number), own in by_student.items():
        ids = {"name": as_text(name), "number": number}
        yield Arrival(f"{ids['name']} {number}", tuple(map(_part, own)), ids, _newest(own))


# "doejane_LATE_123_456_name-2.ipynb": sortable name, user, the file's number, its name; "-2" where the student uploaded the name before
CANVAS = re.compile(r"(?P<name>[^_]+)_(?P<late>LATE_)?(?P<user>\d+)_(?P<number>\d+)_(?P<file>.+)")


def _is_canvas(path: Path) -> bool:
    return CANVAS.fullmatch(path.name) is not None and path.is_file()


def _canvas(paths: Sequence[Path]) -> Iterator[Arrival]:
    """A student's files by their flat names; what has no such name came from elsewhere, and stands for itself.

    All of them count, since Canvas packs the last submission alone. In file names it counts all that a student ever uploaded, so
    "lab-2" can be a second version and a second lab: which exercise a file is for, its contents tell. Files are numbered as they come.
    """
    by_student: dict[tuple[str, str], list[tuple[re.Match[str], Path]]] = {}
    for path in paths:
        found = CANVAS.fullmatch(path.name)
        if found and path.is_file():
            by_student.setdefault((found["name"], found["user"]), []).append((found, path))
        else:
            yield _plain(path)
    for (name, user), own in by_student.items():
        own.sort(key=lambda one: int(one[0]["number"]))
        ids = {"name": as_text(name), "canvas": user}
        late = any(found["late"] for found, _ in own)
        parts = tuple((as_text(found["file"]), path) for found, path in own)
        yield Arrival(f"{ids['name']} {user}", parts, ids, _newest([path for _, path in own]), late, in_order=True)


def _gradescope(folder: Path) -> Iterator[Arrival]:
    """A folder per submission, and a table that says whose it is; what a group handed in is each one's."""
    for entry, data in _metadata(folder / METADATA).items():
        path = folder / str(entry)
        for submitter in data.get(":submitters") or []:
            ids = {
                name: str(submitter[f":{key}"])
                for name, key in (("name", "name"), ("email", "email"), ("id", "sid"))
                if submitter.get(f":{key}")
            }
            student = ids.get("email") or ids.get("id") or ids.get("name") or str(entry)
            received = data.get(":created_at")
            time = received.astimezone(dt.UTC) if isinstance(received, dt.datetime) else None
            yield Arrival(student, (_part(path),), ids, time)


def _metadata(path: Path) -> Mapping[str, Any]:
    import yaml

    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
        if not all(isinstance(data, dict) for data in found.values()):
            raise ValueError("an entry is no table")
        table: Mapping[str, Any] = found
        return table
    except (yaml.YAMLError, ValueError, AttributeError, RecursionError) as error:
        raise UsageError("Gradescope's table of submissions cannot be read", where=str(path),
                         given=str(error).splitlines()[0], fix="download the export again") from None  # fmt: skip


def _newest(paths: Sequence[Path]) -> dt.datetime | None:
    """The time of the newest file, in UTC."""
    files = [file for path in paths for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file()]
    times = [file.lstat().st_mtime for file in files]
    return dt.datetime.fromtimestamp(max(times), dt.UTC) if times else None


def _part(path: Path) -> tuple[str, Path]:
    return as_text(path.name), path


def latest_of_many(arrivals: Sequence[Arrival]) -> Arrival:
    """Of several hand-ins by one student the one that came last, as far as that is known, with a note on the others."""
    *older, latest = sorted(arrivals, key=lambda a: (a.received or dt.datetime.min.replace(tzinfo=dt.UTC), a.student))
    return replace(latest, notes=latest.notes + tuple(_passed_over(one, latest) for one in older))


def _passed_over(one: Arrival, latest: Arrival) -> str:
    newer = one.received and latest.received and one.received < latest.received
    return f"{one.parts[0][0]} was passed over for {latest.parts[0][0]}{', which is newer' if newer else ''}"
