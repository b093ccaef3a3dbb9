"""Sources over files: Indexed where a file's parts can be found by number, Sequential where it is compressed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import jax
import numpy as np

from aidl_jax.data.elements import Element, Rows, Spec, Stacked, as_element, frozen
from aidl_jax.data.file_paths import opened, told_paths
from aidl_jax.data.inflating import Inflated
from aidl_jax.data.once import cached_property
from aidl_jax.data.stage import UNKNOWN, At, Cursor, Origin, Run, Size, Stage, State

__all__ = ["FileParts", "Streamed", "WholeFiles", "objects"]

BYTES = jax.ShapeDtypeStruct((), np.dtype(object))


def objects(values: Sequence[Any]) -> np.ndarray:
    """Texts or bytes as an array of Python objects [n], which NumPy would else cut off at a zero byte."""
    array = np.empty(len(values), object)
    array[:] = values
    return frozen(array)


@dataclass(frozen=True, eq=False)
class FileParts(Stage):
    """The records or lines of several files, one file after another, each with an index of where its parts begin.

    Attributes:
        paths: the files.
        kind: what it is called: tfrecord, text_lines.
        index: from a file to where its parts begin, and where the last one ends: int64 [parts + 1].
        read: from a file, its index and the numbers of some parts to those parts.
        options: what else stands between the brackets.
    """

    paths: tuple[Path, ...]
    kind: str
    index: Callable[[Path], np.ndarray]
    read: Callable[[Path, np.ndarray, np.ndarray], Iterable[Any]]
    options: str = ""

    @property
    def verb(self) -> str:  # type: ignore[override]
        return self.kind

    @cached_property
    def indexes(self) -> list[np.ndarray]:
        """Each file's index."""
        return [self.index(path) for path in self.paths]

    @cached_property
    def firsts(self) -> np.ndarray:
        """The position of each file's first part, and that after the last one's last: int64 [files + 1]."""
        return np.cumsum([0, *(len(index) - 1 for index in self.indexes)])

    @property
    def size(self) -> int:
        return int(self.firsts[-1])

    @property
    def spec(self) -> Spec:
        return BYTES

    @property
    def element_bytes(self) -> int:
        total = sum(int(index[-1]) for index in self.indexes)
        return 64 + total // max(self.size, 1)

    @property
    def arguments(self) -> str:
        return told_paths(self.paths) + self.options

    @property
    def note(self) -> str:
        files = f"{len(self.paths)} file{'' if len(self.paths) == 1 else 's'}"
        return f"{self.size:,} in {files}, found by an index"

    def _places(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The file and the number in it, of each position."""
        if len(self.paths) == 1:
            return np.zeros(len(positions), np.int64), positions
        files = np.searchsorted(self.firsts, positions, side="right") - 1
        return files, positions - self.firsts[files]

    def parts(self, at: At) -> Iterator[tuple[np.ndarray, Iterable[Any]]]:
        """The parts at these places, a file at a time; and which of the places they are, int64 [n]."""
        files, numbers = self._places(at.positions)
        for file in np.flatnonzero(np.bincount(files)).tolist():
            here = np.flatnonzero(files == file)
            yield here, self.read(self.paths[file], self.indexes[file], numbers[here])

    def rows(self, at: At, run: Run) -> Rows:
        found = [(here, objects(list(parts))) for here, parts in self.parts(at)]
        if len(found) == 1:
            together = found[0][1]
        else:
            together = np.empty(len(at), object)
            for here, parts in found:
                together[here] = parts
        return Stacked([frozen(together)], jax.tree.structure(0), len(at))

    def origins(self, at: At) -> list[Origin]:
        files, numbers = self._places(at.positions)
        places = zip(at.epochs.tolist(), at.positions.tolist(), files.tolist(), numbers.tolist(), strict=True)
        return [Origin(self.verb, epoch, place, str(self.paths[file]), one) for epoch, place, file, one in places]


@dataclass(frozen=True, eq=False)
class WholeFiles(Stage):
    """Each file's path and contents, or its contents and a label.

    Attributes:
        paths: the files.
        kind: what it is called.
        told_files: what stands between the brackets.
        labels: int32 [files], or None.
    """

    paths: tuple[Path, ...]
    kind: str
    told_files: str
    labels: np.ndarray | None = None

    @property
    def verb(self) -> str:  # type: ignore[override]
        return self.kind

    @property
    def size(self) -> int:
        return len(self.paths)

    @property
    def spec(self) -> Spec:
        return (BYTES, BYTES if self.labels is None else jax.ShapeDtypeStruct((), np.int32))

    @property
    def arguments(self) -> str:
        return self.told_files

    @cached_property
    def element_bytes(self) -> int:
        some = self.paths[:: max(1, len(self.paths) // 16)]
        return 64 + sum(path.stat().st_size for path in some) // max(len(some), 1)

    @property
    def note(self) -> str:
        return f"{self.size:,} files, each read when it is wanted"

    def rows(self, at: At, run: Run) -> Rows:
        paths = [self.paths[place] for place in at.positions.tolist()]
        contents = objects([_contents(path, self.verb) for path in paths])
        structure = jax.tree.structure((0, 0))
        if self.labels is None:
            return Stacked([objects([str(path) for path in paths]), contents], structure, len(at))
        return Stacked([contents, frozen(self.labels[at.positions])], structure, len(at))

    def origins(self, at: At) -> list[Origin]:
        places = zip(at.epochs.tolist(), at.positions.tolist(), strict=True)
        return [Origin(self.verb, epoch, place, str(self.paths[place])) for epoch, place in places]


def _contents(path: Path, verb: str) -> bytes:
    with opened(path, verb) as file:
        return file.readall()


@dataclass(frozen=True, eq=False)
class Streamed(Stage):
    """The records or lines of compressed files, one after another.

    Attributes:
        paths: the files.
        kind: what it is called.
        compression: "GZIP" or "ZLIB".
        part: from a stream and a number to the next part, or None at the end.
        options: what else stands between the brackets.
    """

    paths: tuple[Path, ...]
    kind: str
    compression: str
    part: Callable[[Inflated, int], Any]
    options: str = ""
    passes_rows: ClassVar[bool] = False

    @property
    def verb(self) -> str:  # type: ignore[override]
        return self.kind

    @property
    def size(self) -> Size:
        return UNKNOWN

    @property
    def spec(self) -> Spec:
        return BYTES

    @property
    def arguments(self) -> str:
        return f"{told_paths(self.paths)}, compression={self.compression!r}{self.options}"

    @property
    def note(self) -> str:
        return "from file to file; resumed by going through the compressed file again"

    def place_told(self, state: State) -> str:
        """The file and the number of the part after a state, in words."""
        file, number, _ = state
        return f"{self.paths[file]}, record {number}"

    def walk(self, epoch: int, run: Run, state: State) -> Cursor:
        return _StreamCursor(self, run, state)


class _StreamCursor:
    """Its state is the file's number, that of the part in it, and how many bytes of its contents lie before."""

    def __init__(self, stage: Streamed, run: Run, state: State) -> None:
        self.stage = stage
        self.file, self.number, self.offset = state or [0, 0, 0]
        self.stream: Inflated | None = None
        self.closing = run.closing.enter_context(ExitStack())

    def __next__(self) -> Element:
        while self.file < len(self.stage.paths):
            part = self._part()
            if part is not None:
                return as_element(part)
            self._close()
            self.file, self.number, self.offset = self.file + 1, 0, 0
        raise StopIteration

    def _part(self) -> Any:
        """The next part of the file that is open. After an error the file is opened again where it stood."""
        try:
            if self.stream is None:
                self.stream = Inflated(self.stage.paths[self.file], self.stage.compression, self.offset)
                self.closing.callback(self.stream.close)
            part = self.stage.part(self.stream, self.number)
        except BaseException:
            self._close()
            raise
        self.number, self.offset = self.number + 1, self.stream.offset
        return part

    def _close(self) -> None:
        self.stream = None
        self.closing.close()

    def state(self) -> State:
        return [self.file, self.number, self.offset]
