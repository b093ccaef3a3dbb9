"""Going through a Sequential dataset of images: some are taken in, and decoded together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax

from aidl_jax.data.elements import Element
from aidl_jax.data.selecting import next_in_list
from aidl_jax.data.stage import At, Run, State
from aidl_jax.errors import DataError

if TYPE_CHECKING:
    from aidl_jax.data.image_stage import DecodedImages

__all__ = ["DecodingCursor"]

AT_ONCE = 16  # images that are taken in at a time, for each thread


class DecodingCursor:
    """Takes in some elements and decodes them together. Its state is the input's before them, their first's position, and how many it has given."""

    def __init__(self, stage: DecodedImages, epoch: int, run: Run, state: State) -> None:
        given: int
        self.count, self.before, given = state or [0, None, 0]
        self.stage, self.epoch, self.run = stage, epoch, run
        self.inner = stage.input.cursor(epoch, run, self.before)
        self.coming: list[Element] = []
        self.ready: list[Element] = []
        self.given = 0
        for _ in range(given):
            next(self)

    def __next__(self) -> Element:
        if self.given == len(self.coming):
            self._take_in()
        if self.given == len(self.ready):
            self._decode()
        self.given += 1
        return self.ready[self.given - 1]

    def _take_in(self) -> None:
        count, before = self.count + len(self.coming), self.inner.state()
        coming = next_in_list(self.inner)
        if not coming:
            raise StopIteration
        self.count, self.before, self.coming, self.ready, self.given = count, before, coming, [], 0
        while len(coming) < AT_ONCE * self.stage.threads:
            try:
                more = next_in_list(self.inner)
            except DataError:  # told when it is its turn: the input gives it again
                return
            if not more:
                return
            coming += more

    def _decode(self) -> None:
        """All that is left; if one of them fails, only the next, so that what stands before it is given first."""
        start = len(self.ready)
        try:
            self.ready += self._decoded(start, len(self.coming))
        except DataError:
            self.ready += self._decoded(start, start + 1)

    def _decoded(self, start: int, stop: int) -> list[Element]:
        number = self.stage.number
        leaves = [jax.tree.leaves(one) for one in self.coming[start:stop]]
        at = At.span(self.epoch, self.count + start, self.count + stop)
        where = lambda one: f"position {self.count + start + one} of {self.stage}, epoch {self.epoch}"  # noqa: E731
        images = self.stage.decoded([one[number].item() for one in leaves], at, self.run, where)
        make = jax.tree.structure(self.stage.spec).unflatten
        return [make([*one[:number], image, *one[number + 1 :]]) for one, image in zip(leaves, images, strict=True)]

    def state(self) -> State:
        if self.given == len(self.coming):
            return [self.count + len(self.coming), self.inner.state(), 0]
        return [self.count, self.before, self.given]
