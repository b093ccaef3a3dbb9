"""Which files have been saved with something new in them, found by looking at them again and again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from aidl_jax.errors import HandInError
from aidl_jax.grade.handin import read_file

GONE = 20  # looks in a row that do not find a file before it counts as missing: editors save by renaming


@dataclass(frozen=True)
class Saved:
    """A file with something new in it; `before` is None where it was not there."""

    path: Path
    content: bytes
    before: bytes | None


class Saves:
    """Tells which of some files have been saved, by looking at them again and again.

    Args:
        paths: the files; they need not be there yet.
    """

    def __init__(self, paths: Iterable[Path]) -> None:
        self.stamps = {path: _stamp(path) for path in paths}
        self.contents = {path: _content(path) for path in self.stamps}
        self.absent = dict.fromkeys(self.stamps, 0)

    def changed(self) -> list[Saved]:
        """What has come since the last look; a file that is not there keeps its content."""
        return [saved for saved in map(self._look, self.stamps) if saved is not None]

    def missing(self, path: Path) -> bool:
        """Whether a file has now been away for too long to be on its way back; told once."""
        return self.absent[path] == GONE

    def _look(self, path: Path) -> Saved | None:
        stamp = _stamp(path)
        self.absent[path] = 0 if stamp else self.absent[path] + 1
        content = _content(path) if stamp not in (None, self.stamps[path]) else None
        if content is None:
            return None
        before, self.stamps[path], self.contents[path] = self.contents[path], stamp, content
        return Saved(path, content, before) if content != before else None


def _stamp(path: Path) -> tuple[int, ...] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _content(path: Path) -> bytes | None:
    try:
        return read_file(path)
    except HandInError:
        return None
