"""The queue in front of a model: everybody gets their own answer, what waits is answered together, nothing is lost."""

from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest

from aidl_jax.serve.batching import Batcher, Busy


class Gate:
    """A model that doubles, and waits until it may."""

    def __init__(self) -> None:
        self.open, self.sizes = threading.Event(), []

    def __call__(self, examples):
        self.sizes.append(len(examples))
        assert self.open.wait(30)
        if (examples < 0).any():
            raise ValueError("negative")
        return examples * 2


def rows(*values):
    return np.array(values, np.float32)[:, None]


async def until(condition):
    while not condition():
        await asyncio.sleep(0)


def test_what_waits_is_answered_together_and_everybody_gets_their_own():
    async def main():
        model = Gate()
        batcher = Batcher(model, most=4)
        first = asyncio.create_task(batcher.ask(rows(0)))
        await until(lambda: model.sizes)
        asked = [rows(1), rows(2, 3), rows(4), rows(5, 6, 7), rows(8)]
        tasks = [asyncio.create_task(batcher.ask(one)) for one in asked]
        await until(lambda: batcher.examples_waiting == 8)
        model.open.set()
        for one, task in zip([rows(0), *asked], [first, *tasks], strict=True):
            np.testing.assert_array_equal(await task, one * 2)
        assert model.sizes == [1, 4, 4] and batcher.examples_waiting == 0
        await batcher.close()

    asyncio.run(main())


def test_a_full_queue_says_so_and_close_answers_all_that_was_taken():
    async def main():
        model = Gate()
        batcher = Batcher(model, room=3)
        first = asyncio.create_task(batcher.ask(rows(0)))
        await until(lambda: model.sizes)
        taken = asyncio.create_task(batcher.ask(rows(1, 2)))
        await until(lambda: batcher.examples_waiting == 2)
        with pytest.raises(Busy):
            await batcher.ask(rows(3, 4))
        last = asyncio.create_task(batcher.ask(rows(5)))
        await until(lambda: batcher.examples_waiting == 3)
        closing = asyncio.create_task(batcher.close())
        model.open.set()
        await closing
        assert [task.result().ravel().tolist() for task in (first, taken, last)] == [[0], [2, 4], [10]]

    asyncio.run(main())


def test_a_failure_is_told_to_those_who_asked_and_the_next_are_answered():
    async def main():
        model = Gate()
        model.open.set()
        batcher = Batcher(model)
        with pytest.raises(ValueError, match="negative"):
            await batcher.ask(rows(-1))
        np.testing.assert_array_equal(await batcher.ask(rows(1)), rows(2))
        await batcher.close()

    asyncio.run(main())


def test_a_client_that_has_gone_is_left_out():
    async def main():
        model = Gate()
        batcher = Batcher(model)
        first = asyncio.create_task(batcher.ask(rows(0)))
        await until(lambda: model.sizes)
        gone, stays = (asyncio.create_task(batcher.ask(rows(value))) for value in (1, 2))
        await until(lambda: batcher.examples_waiting == 2)
        gone.cancel()
        await until(gone.done)
        model.open.set()
        assert (await stays).tolist() == [[4]] and (await first).tolist() == [[0]]
        assert model.sizes == [1, 1]
        await batcher.close()

    asyncio.run(main())
