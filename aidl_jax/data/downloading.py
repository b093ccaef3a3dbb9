"""Fetching a file: from the first place that has it, going on where an earlier try stopped, held to its SHA-256."""

from __future__ import annotations

import hashlib
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from aidl_jax.errors import DataError, tell_error

__all__ = ["Remote", "fetched"]

PIECE = 2**16
SECONDS = 30  # without a byte, and the next place is tried


class Remote(NamedTuple):
    """A file that can be fetched.

    Attributes:
        name: what it is called, there and here.
        size: in bytes.
        sha256: of its contents.
    """

    name: str
    size: int
    sha256: str


def fetched(file: Remote, mirrors: Sequence[str], folder: Path, tell: Callable[[str], None] = print) -> Path:
    """The file in a folder, fetched if it is not there.

    What an interrupted try has brought is kept beside it, as `.<name>.part`, and the next one goes on from there.

    Args:
        file: which.
        mirrors: addresses of folders that have it, each tried in turn.
        folder: is made.
        tell: is told what is fetched.

    Raises:
        DataError: no mirror has the right file; or what is there already is another one.
    """
    path, part = folder / file.name, folder / f".{file.name}.part"
    if path.is_file():
        _check(path, file, f"remove {path}, and it is fetched again")
        return path
    folder.mkdir(parents=True, exist_ok=True)
    troubles = []
    for mirror in mirrors:
        address = mirror.rstrip("/") + "/" + file.name
        try:
            tell(f"fetching {address} ({file.size:,} bytes)")
            _fetch(address, part, file.size)
            _check(part, file, "")
            part.replace(path)
            return path
        except (OSError, urllib.error.URLError) as error:
            troubles.append(f"{address}: {tell_error(error)}")
        except DataError as error:
            troubles.append(f"{address}: {error.what}, {error.given}")
            part.unlink()
    raise DataError(
        "the file cannot be fetched",
        given="; ".join(troubles),
        where=file.name,
        fix=f"try again, which goes on where this stopped; or fetch it elsewhere and put it into {folder}",
    )


def _fetch(address: str, part: Path, size: int) -> None:
    """Brings what is missing. A server that begins anew is listened to from the beginning."""
    there = part.stat().st_size if part.is_file() else 0
    if there == size:
        return
    if there > size:
        part.unlink()
        there = 0
    request = urllib.request.Request(address, headers={"Range": f"bytes={there}-"} if there else {})
    with (
        urllib.request.urlopen(request, timeout=SECONDS) as answer,
        part.open("ab" if answer.status == 206 else "wb") as out,
    ):
        while piece := answer.read(PIECE):
            out.write(piece)
            if out.tell() > size:
                break
    if part.stat().st_size < size:
        raise ConnectionError(f"it ended after {part.stat().st_size:,} of {size:,} bytes")


def _check(path: Path, file: Remote, fix: str) -> None:
    with path.open("rb") as contents:
        found = hashlib.file_digest(contents, "sha256").hexdigest()
    if found != file.sha256:
        raise DataError(
            "the file is not the one that was published: its SHA-256 differs",
            given=found[:16] + "...",
            expected=file.sha256[:16] + "...",
            where=str(path),
            fix=fix,
        )
