"""Several datasets in turn, as another dataset or chance says: choose_from, sample_from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, reduce
from typing import Any

import jax
import numpy as np

from aidl_jax.data.arguments import a_seed, a_stage
from aidl_jax.data.combining import common_spec
from aidl_jax.data.dataset import Dataset
from aidl_jax.data.elements import Element, Rows, Spec, Stacked, frozen, tell_spec
from aidl_jax.data.interleaving import MOST_SLOTS
from aidl_jax.data.once import cached_property
from aidl_jax.data.permutation import generator
from aidl_jax.data.stage import INFINITE, UNKNOWN, At, Cursor, Origin, Run, Size, Stage, State
from aidl_jax.errors import DataError

__all__ = ["choose_from", "sample_from"]

STRETCH = 1024  # choices that are drawn together


def choose_from(datasets: Sequence[Dataset], choices: Dataset) -> Dataset:
    """The next element of that dataset which the next choice names; it ends with the choices, or where a chosen dataset has ended.

    Args:
        datasets: at most 16, whose elements have one structure, with the same dtypes.
        choices: of integers: the places of the datasets.

    Raises:
        DataError: no dataset or too many, elements that differ, choices that are no integers.

    >>> from aidl_jax.data import range
    >>> [int(n) for n in choose_from([range(3), range(10, 20)], range(2).repeat())]
    [0, 10, 1, 11, 2, 12]
    """
    places = a_stage("choose_from", choices)
    spec = places.spec
    if not isinstance(spec, jax.ShapeDtypeStruct) or spec.shape != () or spec.dtype.kind not in "iu":
        raise DataError(
            "the choices are no integers",
            given=tell_spec(spec),
            expected="places of datasets: int32[]",
            where="choose_from",
        )
    return _chosen(datasets, places, "choose_from")


def sample_from(datasets: Sequence[Dataset], weights: Sequence[float] | None = None, seed: int = 0) -> Dataset:
    """The next element of a dataset that is drawn anew for each element; it ends where a dataset that is drawn has ended.

    Args:
        datasets: at most 16, whose elements have one structure, with the same dtypes. Repeat those that are to go on.
        weights: how likely each is, in proportion; None for all alike.
        seed: the same seed draws the same datasets; each epoch draws anew.

    Raises:
        DataError: no dataset or too many, elements that differ, weights that are no proportions.
    """
    proportions = np.ones(len(datasets)) if weights is None else np.asarray(weights, np.float64)
    proper = proportions.shape == (len(datasets),) and (proportions >= 0).all() and 0 < proportions.sum() < np.inf
    if not proper and len(datasets):
        raise DataError(
            "the weights are no proportions",
            given=str(weights),
            expected=f"{len(datasets)} numbers of at least 0, not all of them 0",
            where="sample_from",
        )
    return _chosen(datasets, _Drawn(tuple(proportions.tolist()), a_seed("sample_from", seed)), "sample_from")


def _chosen(datasets: Sequence[Dataset], choices: Stage, verb: str) -> Dataset:
    if not 1 <= len(datasets) <= MOST_SLOTS:
        raise DataError(
            "a state names a place in each dataset, and is to stay small",
            given=f"{len(datasets)} datasets",
            expected=f"1 to {MOST_SLOTS}",
            where=verb,
            fix="concatenate some of them, and shuffle those",
        )
    made = _Chosen([a_stage(verb, dataset) for dataset in datasets], choices, verb)
    _ = made.spec
    return Dataset(made)


@dataclass(frozen=True, eq=False)
class _Drawn(Stage):
    """Places without end, drawn with these weights: a function of seed, epoch and position."""

    weights: tuple[float, ...]
    seed: int
    verb = "drawn"

    @property
    def size(self) -> Size:
        return INFINITE

    @property
    def spec(self) -> Spec:
        return jax.ShapeDtypeStruct((), np.int32)

    @property
    def arguments(self) -> str:
        return f"{list(self.weights)}, seed={self.seed}"

    @cached_property
    def _stretch(self) -> Any:
        bounds = np.cumsum(self.weights)

        @lru_cache(maxsize=4)
        def stretch(epoch: int, number: int) -> np.ndarray:
            numbers = generator(self.seed, epoch, number).random(STRETCH) * bounds[-1]
            return np.searchsorted(bounds, numbers, side="right").astype(np.int32)

        return stretch

    def rows(self, at: At, run: Run) -> Rows:
        numbers, rest = np.divmod(at.positions, STRETCH)
        places = np.empty(len(at), np.int32)
        for epoch, number in {*zip(at.epochs.tolist(), numbers.tolist(), strict=True)}:
            here = (at.epochs == epoch) & (numbers == number)
            places[here] = self._stretch(epoch, number)[rest[here]]
        return Stacked([frozen(places)], jax.tree.structure(0), len(at))

    def origins(self, at: At) -> list[Origin]:
        return at.origins_in(self.verb)


@dataclass(frozen=True, eq=False)
class _Chosen(Stage):
    """An element of one of several stages, as the choices say. Its state is that of the choices and of each stage."""

    parts: list[Stage]
    choices: Stage
    named: str
    verb = "choose_from"
    passes_rows = False

    @property
    def inputs(self) -> tuple[Stage, ...]:
        return (*self.parts, self.choices)

    @property
    def size(self) -> Size:
        return INFINITE if all(one.size == INFINITE for one in self.inputs) else UNKNOWN

    @cached_property
    def spec(self) -> Spec:
        return reduce(lambda one, other: common_spec(one, other, self.named), [part.spec for part in self.parts])

    @property
    def told(self) -> str:
        return f"{self.named}([{', '.join(map(str, self.parts))}], {self.choices})"

    @property
    def note(self) -> str:
        return "one of them at a time; resumed at the place in each"

    def walk(self, epoch: int, run: Run, state: State) -> Cursor:
        return _ChosenCursor(self, epoch, run, state)


class _ChosenCursor:
    def __init__(self, stage: _Chosen, epoch: int, run: Run, state: State) -> None:
        self.stage = stage
        choices, states = state or [None, [None] * len(stage.parts)]
        self.choices = stage.choices.cursor(epoch, run, choices)
        self.inner = [part.cursor(epoch, run, one) for part, one in zip(stage.parts, states, strict=True)]
        self.choice = -1  # one whose element has not come yet, so that an error loses nothing
        self.before: State = None

    def __next__(self) -> Element:
        if self.choice < 0:
            self.before = self.choices.state()
            self.choice = self._checked(int(next(self.choices)))
        element = next(self.inner[self.choice])
        self.choice = -1
        return element

    def _checked(self, choice: int) -> int:
        if not 0 <= choice < len(self.inner):
            raise DataError(
                "there is no such dataset",
                given=str(choice),
                expected=f"0 to {len(self.inner) - 1}",
                where=str(self.stage),
                fix="choose by place in the list of datasets",
            )
        return choice

    def state(self) -> State:
        choices = self.choices.state() if self.choice < 0 else self.before
        return [choices, [one.state() for one in self.inner]]
