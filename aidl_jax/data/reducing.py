"""`reduce`: a whole dataset folded into one state by a traced function, a block of rows in each compiled call."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import jax
import numpy as np

from aidl_jax.data.blocks import padded_block
from aidl_jax.data.elements import Element, as_element, frozen, row_bytes, spec_of, tell_spec
from aidl_jax.data.iterator import BLOCK_BYTES, MOST_ROWS
from aidl_jax.data.mapping import Mapped, arguments_of
from aidl_jax.data.selecting import next_in_list
from aidl_jax.data.stage import INFINITE, Run, Stage
from aidl_jax.data.streaming import BlockReader
from aidl_jax.errors import DataError

__all__ = ["reduced"]


class _Fold(Mapped):
    """A traced function from a state and an element to the next state."""

    verb = "reduce"

    def call(self, place: Any, *arguments: Any) -> Any:
        state, element = arguments
        return self.fn(state, *arguments_of(element))


def reduced(stage: Stage, initial: Any, fn: Callable[..., Any]) -> Element:
    """The state after all elements of an epoch, as `Dataset.reduce` defines it."""
    if stage.size == INFINITE:
        raise DataError(
            "a dataset without end cannot be reduced", given=str(stage), where="reduce", fix="take(...) before reduce"
        )
    state, fold = as_element(initial), _Fold(stage, fn, False, 0)
    _check(fold, state)
    step = _step(fold)
    with ExitStack() as closing:
        reader = BlockReader(stage, 0, Run(_block_of(stage), closing), None)
        while rows := next_in_list(reader):
            for stacked in rows[0].shapes():
                block = max(len(stacked), reader.run.block)
                leaves = [padded_block(leaf, 0, len(stacked), block) for leaf in stacked.leaves]
                state = step(state, stacked.structure.unflatten(leaves), len(stacked))
    return jax.tree.map(lambda leaf: frozen(np.asarray(leaf)), state)


def _block_of(stage: Stage) -> int:
    """All elements are wanted, so that many may be taken in at once, whoever makes them."""
    return max(1, min(MOST_ROWS, BLOCK_BYTES // max(row_bytes(stage.spec), 1)))


def _step(fold: _Fold) -> Callable[..., Any]:
    """The state after the first `count` rows of a block."""

    def step(state: Any, rows: Any, count: Any) -> Any:
        def body(row: Any, state: Any) -> Any:
            made = fold.call(None, state, jax.tree.map(lambda leaf: leaf[row], rows))
            return jax.tree.map(lambda new, old: jax.lax.convert_element_type(new, old.dtype), made, state)

        return jax.lax.fori_loop(0, count, body, state)

    return jax.jit(step)


def _check(fold: _Fold, state: Element) -> None:
    made = fold.result_spec((spec_of(state), fold.input.spec))
    if made != spec_of(state):
        raise DataError(
            "the function of a reduce must return a state like the one that it is given",
            given=tell_spec(made),
            expected=tell_spec(spec_of(state)),
            where=str(fold),
            fix="give the initial state the shape and dtype that it is to have, such as np.float32(0)",
        )
