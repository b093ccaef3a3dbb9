"""Requests that come at the same time are answered together: one call of the model for all that wait."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

__all__ = ["Batcher", "Busy"]


class Busy(Exception):
    """So many examples wait that no more are taken."""


@dataclass(frozen=True)
class Asked:
    """The examples of one request, and where their logits go."""

    examples: np.ndarray
    answer: asyncio.Future[np.ndarray]


@dataclass
class Batcher:
    """A queue in front of a model. While one batch is computed the next one gathers, so nobody waits for a batch to fill.

    Attributes:
        predict: from examples [n, ...] to logits [n, classes].
        most: examples in one call; a request has no more.
        room: examples that may wait.
    """

    predict: Callable[[np.ndarray], np.ndarray]
    most: int = 64
    room: int = 1024
    waiting: deque[Asked] = field(default_factory=deque)
    examples_waiting: int = 0
    runner: asyncio.Task[None] | None = None
    thread: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "model"))

    async def ask(self, examples: np.ndarray) -> np.ndarray:
        """The logits for one request's examples.

        Raises:
            Busy: the queue is full.
        """
        if self.examples_waiting + len(examples) > self.room:
            raise Busy
        asked = Asked(examples, asyncio.get_running_loop().create_future())
        self.waiting.append(asked)
        self.examples_waiting += len(examples)
        if self.runner is None:
            self.runner = asyncio.create_task(self._run())
        return await asked.answer

    async def close(self) -> None:
        """Answers all that was asked, then ends the thread."""
        if self.runner is not None:
            await self.runner
        self.thread.shutdown()

    async def _run(self) -> None:
        while self.waiting:
            batch = self._next_batch()
            if batch:
                await self._answered(batch)
        self.runner = None

    async def _answered(self, batch: list[Asked]) -> None:
        examples = np.concatenate([asked.examples for asked in batch])
        try:
            logits = await asyncio.get_running_loop().run_in_executor(self.thread, self.predict, examples)
        except Exception as error:  # it is for those who asked; the others' batches go on
            _fail(batch, error)
        else:
            _answer(batch, logits)

    def _next_batch(self) -> list[Asked]:
        """What came first, as much as fits into one call."""
        batch: list[Asked] = []
        size = 0
        while self.waiting and (not batch or size + len(self.waiting[0].examples) <= self.most):
            asked = self.waiting.popleft()
            self.examples_waiting -= len(asked.examples)
            if not asked.answer.done():  # done already: its client is gone
                batch.append(asked)
                size += len(asked.examples)
        return batch


def _answer(batch: list[Asked], logits: np.ndarray) -> None:
    ends = np.cumsum([len(asked.examples) for asked in batch])[:-1]
    for asked, own in zip(batch, np.split(logits, ends), strict=True):
        if not asked.answer.done():
            asked.answer.set_result(own)


def _fail(batch: list[Asked], error: Exception) -> None:
    for asked in batch:
        if not asked.answer.done():
            asked.answer.set_exception(error)
