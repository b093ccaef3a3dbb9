"""The drawn element changes places with the last one, so that removing it moves nothing else."""

import random


def take(stream, count):
    while count > 0:
        try:
            yield next(stream)
        except StopIteration:
            return
        count -= 1


def shuffle_buffer(stream, buffer_size, seed):
    if buffer_size < 1:
        raise ValueError("a buffer holds at least one element")
    rng = random.Random(seed)
    buffer = []
    ended = False
    while True:
        while len(buffer) < buffer_size and not ended:
            try:
                buffer.append(next(stream))
            except StopIteration:
                ended = True
        if not buffer:
            return
        slot = rng.randint(0, len(buffer) - 1)
        buffer[slot], buffer[-1] = buffer[-1], buffer[slot]
        yield buffer.pop()
