"""Files by name: one, several, or all that fit a pattern, in an order that is the same everywhere."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeAlias

from aidl_jax.errors import DataError, close_matches

__all__ = ["Paths", "files_of", "opened", "told_paths"]

Paths: TypeAlias = str | Path | Iterable[str | Path]


def files_of(verb: str, paths: Paths) -> tuple[Path, ...]:
    """The files that are meant: a name, a pattern such as `train-*`, or several of them. What a pattern finds is sorted by name.

    Raises:
        DataError: a file that is not there; a pattern that nothing fits; no file at all.
    """
    names = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    found = tuple(file for name in names for file in _found(verb, str(name)))
    if not found:
        raise DataError("there is no file to read", given=repr(paths), where=verb, fix="name at least one file")
    return found


def _found(verb: str, name: str) -> list[Path]:
    if Path(name).is_file():
        return [Path(name)]
    if glob.has_magic(name):
        fitting = [Path(one) for one in sorted(glob.glob(name, recursive=True)) if os.path.isfile(one)]
        if fitting:
            return fitting
        raise DataError("no file fits the pattern", given=name, where=verb, fix=_beside(Path(name)))
    raise DataError("there is no such file", given=name, where=verb, fix=_beside(Path(name)))


def _beside(path: Path) -> str:
    """A fix that names what is there."""
    if not path.parent.is_dir():
        return f"the folder {path.parent} is not there: correct the path"
    return close_matches(path.name, [one.name for one in path.parent.iterdir() if one.is_file()][:1000])


def opened(path: Path, where: str) -> Any:
    """The file, open for reading bytes.

    Raises:
        DataError: it cannot be opened any more.
    """
    try:
        return path.open("rb", buffering=0)
    except OSError as error:
        raise DataError(
            "the file cannot be opened",
            given=f"{path}: {error.strerror}",
            where=where,
            fix="put it back, or begin anew",
        ) from error


def told_paths(paths: Iterable[Path]) -> str:
    """The names without their folders, so that a pipeline is the same one wherever its files lie."""
    return ", ".join(path.name for path in paths)
