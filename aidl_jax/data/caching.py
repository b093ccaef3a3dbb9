"""`cache`: elements that are computed once and kept, in memory or in a folder of files."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import jax
import numpy as np

from aidl_jax.data.cache_files import CacheFiles, Filling, Growing
from aidl_jax.data.elements import Element, Listed, Rows, Spec, Stacked, frozen, is_fixed, row_bytes
from aidl_jax.data.once import cached_property
from aidl_jax.data.stage import INFINITE, UNKNOWN, At, Cursor, Origin, Run, Stage, State, Verb
from aidl_jax.errors import DataError

__all__ = ["Cached", "cached"]


def cached(stage: Stage, path: str | Path | None) -> Cached:
    """The stage that keeps another's elements."""
    if stage.size == INFINITE:
        raise DataError(
            "a dataset without end would never be kept as a whole",
            given=str(stage),
            where="cache",
            fix="cache before repeat",
        )
    if path is None:
        return Cached(stage)
    files = CacheFiles(Path(path), str(stage), stage.spec)
    files.check()
    return Cached(stage, files)


@dataclass(frozen=True, eq=False)
class Cached(Verb):
    """The input's first epoch, kept. Over an Indexed input, rows are kept one by one; over a Sequential one, the first pass that goes
    from the beginning to the end keeps all of them.

    What is kept lives as long as the stage: it is no state, only the result of a pure function. It takes as much memory as the
    elements weigh.
    """

    files: CacheFiles | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)
    verb = "cache"

    @property
    def note(self) -> str:
        where = "in memory" if self.files is None else f"in {self.files.path}"
        size = self.input.size
        weight = (
            "" if size is UNKNOWN or not is_fixed(self.spec) else f", {_told_bytes(int(size) * row_bytes(self.spec))}"
        )
        return f"keeps epoch 0 of what is before it, for all epochs, {where}{weight}"

    @property
    def store(self) -> _Blocks | _List:
        """The rows of an Indexed input; one for all threads."""
        with self.lock:
            return self._store

    @cached_property
    def _store(self) -> _Blocks | _List:
        size = int(self.input.size)  # type: ignore[arg-type]
        if self.files is not None:
            return _Blocks(self.spec, size, self.files)
        return _Blocks(self.spec, size, None) if is_fixed(self.spec) else _List(size)

    @cached_property
    def whole(self) -> list[Rows]:
        """All rows of a Sequential input, or nothing as long as there was no whole pass."""
        return [] if self.files is None or not self.files.are_whole else [self.files.rows()]

    def rows(self, at: At, run: Run) -> Rows:
        store = self.store
        while len(missing := store.claim(at.positions)):
            try:
                store.put(missing, self.input.rows(At(np.zeros_like(missing), missing), run))
            finally:
                store.release(missing)
        return store.get(at.positions)

    def origins(self, at: At) -> list[Origin]:
        return self.input.origins(At(np.zeros_like(at.epochs), at.positions))

    def walk(self, epoch: int, run: Run, state: State) -> Cursor:
        return _CacheCursor(self, run, state)


def _told_bytes(count: int) -> str:
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count} bytes"


class _Claims:
    """Which rows are there, and which a thread is making, so that no other makes them, too."""

    def __init__(self, size: int) -> None:
        self.filled, self.claimed = np.zeros(size, bool), np.zeros(size, bool)
        self.changed = threading.Condition()

    def claim(self, positions: np.ndarray) -> np.ndarray:
        """Rows of these that are to be made by who asks; none when all are there. Waits for those that others are making."""
        with self.changed:
            while len(missing := np.unique(positions[~self.filled[positions]])):
                free = missing[~self.claimed[missing]]
                if len(free):
                    self.claimed[free] = True
                    return free
                self.changed.wait()
            return missing

    def release(self, positions: np.ndarray) -> None:
        """Ends a claim, whether the rows are there now or could not be made."""
        with self.changed:
            self.claimed[positions] = False
            self.changed.notify_all()


class _Blocks(_Claims):
    """Rows of one shape, in one array for each leaf; which are there is marked after they are."""

    def __init__(self, spec: Spec, size: int, files: CacheFiles | None) -> None:
        super().__init__(size)
        specs, self.structure = jax.tree.flatten(spec)
        self.left = size
        self.filling: Filling | None = None
        if files is None:
            self.leaves = [np.empty((size, *leaf.shape), leaf.dtype) for leaf in specs]
        elif files.are_whole:
            self.leaves = files.leaves()
            self.filled[:], self.left = True, 0
        else:
            self.filling = Filling(files, size)
            self.leaves = self.filling.leaves

    def put(self, positions: np.ndarray, rows: Rows) -> None:
        with self.changed:
            for kept, leaf in zip(self.leaves, rows.stacked("cache").leaves, strict=True):
                kept[positions] = leaf
            self.left -= len(positions)
            self.filled[positions] = True
            if self.filling is not None and not self.left:
                self.filling.finish()
                self.filling = None

    def get(self, positions: np.ndarray) -> Rows:
        if len(positions) and positions[-1] - positions[0] == len(positions) - 1 and (np.diff(positions) == 1).all():
            span = slice(int(positions[0]), int(positions[-1]) + 1)
            return Stacked([frozen(leaf[span]) for leaf in self.leaves], self.structure, len(positions))
        leaves = [frozen(np.take(leaf, positions, axis=0)) for leaf in self.leaves]
        return Stacked(leaves, self.structure, len(positions))


class _List(_Claims):
    """Rows that differ in shape."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.elements: list[Element] = [None] * size

    def put(self, positions: np.ndarray, rows: Rows) -> None:
        for position, element in zip(positions.tolist(), rows, strict=True):
            self.elements[position] = element
        self.filled[positions] = True

    def get(self, positions: np.ndarray) -> Rows:
        return Listed([self.elements[position] for position in positions.tolist()])


class _CacheCursor:
    """Goes through a Sequential input and keeps what comes, or through what was kept.

    Its state is how many elements it gave and, as long as nothing is kept, the input's state.
    """

    def __init__(self, stage: Cached, run: Run, state: State) -> None:
        given: int
        before: State
        self.stage, (given, before) = stage, state or [0, None]
        self.given = given
        self.inner: Cursor | None = None
        self.kept: Iterator[Element] = iter(())
        self.keeping: list[Element] | Growing | None = None
        if stage.whole:
            self.kept = iter(_from(stage.whole[0], given))
            return
        self.inner = stage.input.cursor(0, run, before if given else None)
        if not given or before is None:
            self._begin(given)

    def _begin(self, given: int) -> None:
        """Keeps from the beginning, and goes on to where it stands."""
        files = self.stage.files
        self.keeping = [] if files is None else Growing(files)
        self.given = 0
        for _ in range(given):
            next(self)

    def __next__(self) -> Element:
        element = next(self.kept) if self.inner is None else self._read(self.inner)
        self.given += 1
        return element

    def _read(self, inner: Cursor) -> Element:
        try:
            element = next(inner)
        except StopIteration:
            self._end()
            raise
        if self.keeping is not None:
            self.keeping.append(element)
        return element

    def _end(self) -> None:
        """Hands over what was kept, unless another pass did so before."""
        kept, self.keeping = self.keeping, None
        if kept is None or self.stage.whole:
            return
        if isinstance(kept, Growing):
            kept.finish()
            self.stage.whole.append(kept.files.rows())
        else:
            self.stage.whole.append(Listed(kept))

    def state(self) -> State:
        return [self.given, None if self.inner is None else self.inner.state()]


def _from(rows: Rows, start: int) -> Rows:
    if isinstance(rows, Listed):
        return Listed(rows.elements[start:])
    return Stacked([leaf[start:] for leaf in rows.leaves], rows.structure, rows.count - start)
