"""`itertools.islice` takes; the slot is chosen, and an end marker says that the stream has ended."""

import itertools
import random

END = object()


def take(stream, count):
    return itertools.islice(stream, count)


def shuffle_buffer(stream, buffer_size, seed):
    if not buffer_size >= 1:
        raise ValueError(buffer_size)
    choose = random.Random(seed).choice
    buffer = list(itertools.islice(stream, buffer_size))
    while buffer:
        slot = choose(range(len(buffer)))
        yield buffer[slot]
        buffer[slot] = next(stream, END)
        if buffer[slot] is END:
            del buffer[slot]
