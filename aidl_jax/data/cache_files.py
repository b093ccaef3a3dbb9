"""A cache on disk: a folder with one file of raw rows for each leaf, and `cache.json`, which says of which pipeline they are.

The folder is filled under another name beside its place and renamed when it is whole, so that one that is there is whole.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import weakref
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from aidl_jax.data.elements import Element, Spec, Stacked, is_fixed, tell_spec
from aidl_jax.errors import DataError

__all__ = ["CacheFiles", "Filling", "Growing"]

FORMAT = 1
ABOUT = "cache.json"


@dataclass(frozen=True)
class CacheFiles:
    """The folder of a pipeline's elements.

    Attributes:
        path: the folder.
        pipeline: the description of what is kept.
        spec: of its elements.
    """

    path: Path
    pipeline: str
    spec: Spec

    def check(self) -> None:
        """Refuses what cannot be kept in files, and what is there and is something else.

        Raises:
            DataError: elements that differ in shape, or are text; another pipeline's cache; no cache.
        """
        if not is_fixed(self.spec) or any(leaf.dtype == object for leaf in jax.tree.leaves(self.spec)):
            raise DataError(
                "only numbers of one shape can be kept in files",
                given=tell_spec(self.spec),
                where=f"cache({str(self.path)!r})",
                fix="give all elements one shape in a map before, or cache() in memory",
            )
        if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            self._check_found()

    def _check_found(self) -> None:
        try:
            found = json.loads((self.path / ABOUT).read_text("utf-8"))
            pipeline, elements = found["pipeline"], found["elements"]
        except (OSError, ValueError, KeyError, TypeError):
            raise DataError(
                "there is something else where the cache is to be",
                given=str(self.path),
                expected="a folder that this made, or none",
                where="cache",
                fix="choose another path, or remove what is there",
            ) from None
        wanted = {"format": FORMAT, "pipeline": self.pipeline, "elements": tell_spec(self.spec)}
        if wanted != {**wanted, **{name: found.get(name) for name in wanted}}:
            raise DataError(
                "the cache is that of another pipeline",
                given=f"{pipeline}: {elements}",
                expected=f"{self.pipeline}: {tell_spec(self.spec)}",
                where=str(self.path),
                fix="choose another path, or remove the folder, so that it is made anew",
            )
        sizes = [(self.path / name).stat().st_size for name in self.names if (self.path / name).exists()]
        if sizes != [found["rows"] * _weight(leaf) for leaf in jax.tree.leaves(self.spec)]:
            raise DataError(
                "the cache is damaged: its files are not as long as it says",
                given=f"{sizes} bytes",
                expected=f"{found['rows']} rows",
                where=str(self.path),
                fix="remove the folder, so that it is made anew",
            )

    @property
    def names(self) -> list[str]:
        """The file of each leaf."""
        return [f"leaf{number}" for number in range(len(jax.tree.leaves(self.spec)))]

    @property
    def are_whole(self) -> bool:
        """Whether the elements are there."""
        return (self.path / ABOUT).exists()

    def leaves(self) -> list[np.ndarray]:
        """The rows of each leaf, on disk."""
        rows = json.loads((self.path / ABOUT).read_text("utf-8"))["rows"]
        pairs = zip(self.names, jax.tree.leaves(self.spec), strict=True)
        return [mapped(self.path / name, leaf, rows, "r") for name, leaf in pairs]

    def rows(self) -> Stacked:
        """All elements, on disk."""
        leaves = self.leaves()
        rows = json.loads((self.path / ABOUT).read_text("utf-8"))["rows"]
        return Stacked(leaves, jax.tree.structure(self.spec), rows)


def _weight(leaf: Any) -> int:
    return int(np.prod(leaf.shape, dtype=np.int64)) * np.dtype(leaf.dtype).itemsize


def mapped(path: Path, leaf: Any, rows: int, mode: Any) -> np.ndarray:
    """A file of rows as an array; what holds nothing cannot be mapped."""
    if not rows * _weight(leaf):
        path.touch()
        return np.empty((rows, *leaf.shape), leaf.dtype)
    return np.memmap(path, leaf.dtype, mode, shape=(rows, *leaf.shape))


class _Unfinished:
    """A folder under another name, removed if it is not finished."""

    def __init__(self, files: CacheFiles) -> None:
        self.files = files
        files.path.parent.mkdir(parents=True, exist_ok=True)
        self.folder = Path(tempfile.mkdtemp(prefix=f".{files.path.name}-", dir=files.path.parent))
        self._remove = weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)

    def _put_in_place(self, rows: int) -> None:
        about = {
            "format": FORMAT,
            "pipeline": self.files.pipeline,
            "elements": tell_spec(self.files.spec),
            "rows": rows,
        }
        with open(self.folder / ABOUT, "w", encoding="utf-8") as file:
            file.write(json.dumps(about, indent=1))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.rename(self.folder, self.files.path)
        except OSError:
            if not self.files.are_whole:
                raise
            self.files.check()  # another process was faster
        self._remove()


class Filling(_Unfinished):
    """Rows of a known number, which come in any order."""

    def __init__(self, files: CacheFiles, rows: int) -> None:
        super().__init__(files)
        pairs = zip(files.names, jax.tree.leaves(files.spec), strict=True)
        self.leaves = [mapped(self.folder / name, leaf, rows, "w+") for name, leaf in pairs]
        self.count = rows

    def finish(self) -> None:
        """Puts the folder in its place."""
        for leaf in self.leaves:
            if isinstance(leaf, np.memmap):
                leaf.flush()
        self._put_in_place(self.count)


class Growing(_Unfinished):
    """Rows of an unknown number, which come one after another."""

    def __init__(self, files: CacheFiles) -> None:
        super().__init__(files)
        closing = ExitStack()
        self._open = [closing.enter_context((self.folder / name).open("wb")) for name in files.names]
        self._close = weakref.finalize(self, closing.close)
        self._count = 0

    def append(self, element: Element) -> None:
        """Writes a row."""
        for file, leaf in zip(self._open, jax.tree.leaves(element), strict=True):
            file.write(np.ascontiguousarray(leaf).tobytes())
        self._count += 1

    def finish(self) -> None:
        """Puts the folder in its place."""
        for file in self._open:
            file.flush()
            os.fsync(file.fileno())
        self._close()
        self._put_in_place(self._count)
