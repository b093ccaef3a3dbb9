"""`map` with a traced function: vmapped, compiled once, and given whole blocks of rows.

A block always has the same number of rows: what is missing at the end is filled up with copies of the last row and cut off
again, so that the bits of a row depend on the row alone, not on where a batch or an epoch ends.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from aidl_jax.data.blocks import compiled_rows, padded_block, rows_made
from aidl_jax.data.elements import (
    Element,
    Listed,
    Rows,
    Spec,
    Stacked,
    is_fixed,
    joined,
    map_shapes,
    tell_spec,
)
from aidl_jax.data.keys import key_of, numbers_of
from aidl_jax.data.once import cached_property
from aidl_jax.data.stage import At, Cursor, Run, State, Verb
from aidl_jax.data.tracing_traps import random_states, refuse_wide
from aidl_jax.errors import DataError, tell_error

__all__ = ["Mapped", "arguments_of", "name_of", "program_of"]


def name_of(fn: Callable[..., Any]) -> str:
    """What a function is called, in a plan."""
    return getattr(fn, "__qualname__", type(fn).__name__).rpartition("<locals>.")[2]


def arguments_of(element: Any) -> tuple[Any, ...]:
    """An element as a function's arguments: a tuple's parts, or the element alone."""
    return element if type(element) is tuple else (element,)


@dataclass(frozen=True, eq=False)
class Mapped(Verb):
    """A traced function of each element, and of a key where it is keyed."""

    fn: Callable[..., Any]
    keyed: bool
    seed: int
    threads: int | None = None  # asked for, and not needed
    verb = "map"

    @property
    def arguments(self) -> str:
        return name_of(self.fn) + (f", keyed=True, seed={self.seed}" if self.keyed else "")

    @property
    def note(self) -> str:
        told = "compiled, a block of rows at a time" + ("; a key from (seed, epoch, position)" if self.keyed else "")
        return told + ("" if self.threads is None else "; num_parallel_calls is for Python maps, not needed here")

    @cached_property
    def spec(self) -> Spec:
        return self.result_spec(self.input.spec)

    def result_spec(self, spec: Spec) -> Spec:
        """What the function makes of elements of one spec; sizes that differ are tried as 2 and 3, and may differ after.

        Raises:
            DataError: it cannot be traced, or not the same way twice, or a leaf has 64 bits.
        """
        refuse_64_bits(spec, str(self))
        if is_fixed(spec):
            return program_of(self, spec)
        two, three = (program_of(self, _filled(spec, size)) for size in (2, 3))
        return jax.tree.map(_where_equal, two, three)

    def call(self, place: Any, *arguments: Any) -> Any:
        """The function of one row; where it is keyed, of a key made of its place, epoch and position."""
        if not self.keyed:
            return self.fn(*arguments)
        return self.fn(key_of(jax.random.key(self.seed), *place), *arguments)

    @cached_property
    def compiled(self) -> Callable[..., Any]:
        """The function of a block of rows, as `compiled_rows` makes it."""
        return compiled_rows(lambda place, element: self.call(place, *arguments_of(element)))

    def rows(self, at: At, run: Run) -> Rows:
        _ = self.spec  # refuses what cannot be mapped, once
        return joined(list(self._mapped(self.input.rows(at, run), at, run.block)))

    def _mapped(self, rows: Rows, at: At, block: int) -> Iterator[Stacked]:
        numbers = numbers_of(at, str(self)) if self.keyed else ()
        start = 0
        for stacked in rows.shapes():
            for first in range(0, len(stacked), block):
                count = min(block, len(stacked) - first)
                leaves = [padded_block(leaf, first, count, block) for leaf in stacked.leaves]
                places = tuple(padded_block(each, start + first, count, block) for each in numbers)
                yield rows_made(self.compiled(places, stacked.structure.unflatten(leaves)), leaves, count)
            start += len(stacked)

    def walk(self, epoch: int, run: Run, state: State) -> Cursor:
        return _MapCursor(self, epoch, run, state)


class _MapCursor:
    """A compiled map over a Sequential input. Its state is the input's at the beginning of a block, and a place in the block."""

    def __init__(self, stage: Mapped, epoch: int, run: Run, state: State) -> None:
        self.stage, self.epoch, self.run = stage, epoch, run
        given: int
        self.count, self.before, given = state or [0, None, 0]
        self.inner = stage.input.cursor(epoch, run, self.before)
        self.rows: list[Element] = []
        self.coming: list[Element] = []  # a block that is not complete, so that an error in its midst loses nothing
        self.coming_from: State = None
        self.given = 0
        for _ in range(given):
            next(self)

    def __next__(self) -> Element:
        if self.given == len(self.rows):
            self._block()
        self.given += 1
        return self.rows[self.given - 1]

    def _block(self) -> None:
        """Takes in as many as are computed together, which are fewer at the end."""
        if not self.coming:
            self.coming_from = self.inner.state()
        while len(self.coming) < self.run.block:
            try:
                self.coming.append(next(self.inner))
            except StopIteration:
                if not self.coming:
                    raise
                break
        count = self.count + len(self.rows)
        at = At.span(self.epoch, count, count + len(self.coming))
        stage = self.stage
        _ = stage.spec
        self.rows = [row for part in stage._mapped(Listed(self.coming), at, self.run.block) for row in part]
        self.before, self.count, self.given, self.coming = self.coming_from, count, 0, []

    def state(self) -> State:
        if self.given == len(self.rows):
            return [self.count + len(self.rows), self.coming_from if self.coming else self.inner.state(), 0]
        return [self.count, self.before, self.given]


def program_of(stage: Mapped, spec: Spec) -> Spec:
    """The spec of what a map makes of one element; traced twice, since what is not pure differs.

    Raises:
        DataError: it cannot be traced, or is not the same program twice.
    """
    place = (jax.ShapeDtypeStruct((), np.uint32),) * (2 if stage.keyed else 0)
    where = str(stage)
    refuse_wide(stage.fn, where)
    before = random_states(stage.fn)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message="Explicitly requested dtype")
            traced = [
                jax.make_jaxpr(lambda place, one: stage.call(place, *arguments_of(one)), return_shape=True)(place, spec)
                for _ in range(2)
            ]
    except Exception as error:
        raise _untraceable(error, spec, stage, where) from error
    (first, made), (second, _) = traced
    same = str(first.jaxpr) == str(second.jaxpr) and all(map(np.array_equal, _constants(first), _constants(second)))
    if not same or random_states(stage.fn) != before:
        raise DataError(
            "the function is another one each time it is traced: something random, a clock or a counter is in it, and would be "
            "frozen at its first value",
            given=name_of(stage.fn),
            where=where,
            fix="use keyed=True and jax.random with the key it is given, or python=True",
        )
    if made is None:
        raise DataError(
            f"the function of a {stage.verb} returned None, as one without a return statement does",
            where=where,
            fix="return the new element",
        )
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), made)


def _constants(jaxpr: Any) -> list[np.ndarray]:
    consts = [jax.random.key_data(c) if jnp.issubdtype(c.dtype, jax.dtypes.prng_key) else c for c in jaxpr.consts]
    return [np.asarray(const) for const in consts]


def _untraceable(error: Exception, spec: Spec, stage: Mapped, where: str) -> DataError:
    verb = stage.verb
    python = "fold it in a Python loop" if verb == "reduce" else f"say {verb}(fn, python=True) if it is ordinary Python"
    if isinstance(error, jax.errors.JAXTypeError | jax.errors.NonConcreteBooleanIndexError):
        fix = f"write it with jax.numpy (jnp.where for a choice), or {python}"
        what = f"the function of a {verb} is traced, and this one needs a value while it is traced"
    elif isinstance(error, UserWarning):
        fix = "ask for a 32-bit dtype"
        what = "the function asks for a 64-bit dtype, which JAX would narrow"
    elif isinstance(error, TypeError) and "positional argument" in str(error):
        what = f"the function of a {verb} takes other arguments than it is given"
        fix = (
            "it is given "
            + ("a key first, then " if stage.keyed else "")
            + "the element; a tuple's parts are arguments of their own, "
        )
        fix += "a list, a dict or a named tuple is one"
    else:
        fix = f"look at the function, or {python}"
        what = f"the function of a {verb} could not be traced"
    return DataError(what, given=f"{tell_error(error)} (elements {tell_spec(spec)})", where=where, fix=fix)


def refuse_64_bits(spec: Spec, where: str) -> None:
    """Raises unless JAX keeps every dtype as it is."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(spec):
        if leaf.dtype == object:
            raise DataError(
                f"a leaf is text, which JAX does not compute with{f' at {jax.tree_util.keystr(path)}' if path else ''}",
                where=where,
                fix="turn it into numbers before, in map(fn, python=True)",
            )
        kept = jax.dtypes.canonicalize_dtype(leaf.dtype)
        if kept != leaf.dtype:
            raise DataError(
                f"a leaf has 64 bits, which JAX would narrow to {kept.name}"
                f"{f' at {jax.tree_util.keystr(path)}' if path else ''}",
                given=tell_spec(leaf),
                where=where,
                fix=f"convert the source: x.astype(np.{kept.name}); or switch 64 bits on: "
                'jax.config.update("jax_enable_x64", True)',
            )


def _filled(spec: Spec, size: int) -> Spec:
    return map_shapes(lambda shape: tuple(size if one is None else one for one in shape), spec)


def _where_equal(one: Any, other: Any) -> Any:
    sizes = (a if a == b else None for a, b in zip(one.shape, other.shape, strict=True))
    return jax.ShapeDtypeStruct(tuple(sizes), one.dtype)
