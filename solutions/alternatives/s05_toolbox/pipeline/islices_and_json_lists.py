"""`itertools.islice` cuts and skips; the state is a list, and the epochs are one chain."""

import itertools
from collections import Counter

import jax
import numpy as np


def shuffle_a_little(stream, buffer_size, seed):
    rng = np.random.default_rng(seed)
    buffer = list(itertools.islice(stream, buffer_size))
    while buffer:
        slot = rng.integers(len(buffer))
        yield buffer[slot]
        buffer[slot : slot + 1] = itertools.islice(stream, 1)


def batch(stream, size, drop_remainder):
    if not size > 0:
        raise ValueError(size)
    while elements := list(itertools.islice(stream, size)):
        if len(elements) == size or not drop_remainder:
            yield elements


def repeat(make_stream, count):
    epochs = itertools.count() if count is None else range(count)
    return itertools.chain.from_iterable(map(make_stream, epochs))


def which_order(batches, count):
    order = [example for batch in batches for example in batch]
    if all(b - a == 1 for batch in batches for a, b in itertools.pairwise(batch)):
        return "batch shuffle repeat"
    if len({len(batch) for batch in batches[:-1]}) > 1:
        return "shuffle batch repeat"
    seen = Counter()
    for number, example in enumerate(order):
        seen[example] += 1
        if seen[example] > number // count + 1:
            return "repeat shuffle batch"
    return "shuffle repeat batch"


def jitter(example, key, epoch, position):
    for number in (epoch, position):
        key = jax.random.fold_in(key, number)
    return example + jax.random.normal(key, example.shape) / 10


def prefetch(stream, count):
    if count < 1:
        raise ValueError(count)
    held = []
    try:
        while True:
            while len(held) < count:
                held.append(next(stream))
            yield held.pop(0)
    except StopIteration:
        yield from held


def training_batches(make_examples, parse, epochs, buffer_size, batch_size, ahead, seed):
    def one_epoch(epoch):
        for example in shuffle_a_little(make_examples(epoch), buffer_size, (epoch, seed)):
            yield parse(example)

    yield from prefetch(batch(repeat(one_epoch, epochs), batch_size, False), ahead)


def resumable(make_stream, state):
    start, skip = state or [0, 0]
    for epoch in itertools.count(start):
        stream = iter(make_stream(epoch))
        yield from ((e, [epoch, n]) for n, e in enumerate(itertools.islice(stream, skip, None), start=skip + 1))
        skip = 0
