"""NumPy's generator draws the slots; what is left at the end is permuted at once."""

import numpy as np


def take(stream, count):
    for _, element in zip(range(count), stream):  # range comes first: where it ends, the stream is not asked
        yield element


def shuffle_buffer(stream, buffer_size, seed):
    if buffer_size < 1:
        raise ValueError("buffer_size must be positive")
    rng = np.random.default_rng(seed)
    buffer = list(take(stream, buffer_size))
    while buffer:
        slot = int(rng.random() * len(buffer))
        yield buffer[slot]
        try:
            buffer[slot] = next(stream)
        except StopIteration:
            del buffer[slot]
            break
    for slot in rng.permutation(len(buffer)):
        yield buffer[slot]
