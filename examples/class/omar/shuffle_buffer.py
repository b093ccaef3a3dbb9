# Exercise s05_toolbox/shuffle_buffer. Write the functions below; `aidl check s05/shuffle_buffer` says how it goes.
# It looks at these functions and what they use; run the file itself to see your prints and the plots.

import random


def take(stream, count):
    """Yields the first elements of a stream, and asks for no more than it yields.

    Args:
        stream: an iterator of any elements, maybe endless.
        count: a Python int, how many elements to yield at most; 0 is allowed.

    Yields:
        The first `count` elements, in order; fewer where the stream ends before.
    """
    for _ in range(count):
        try:
            yield next(stream)
        except StopIteration:
            return


def shuffle_buffer(stream, buffer_size, seed):
    """Shuffles a stream with a bounded buffer.

    Args:
        stream: an iterator of any elements, maybe endless.
        buffer_size: a Python int of at least 1: the most elements that are held at a time.
        seed: a Python int; the same seed gives the same order.

    Yields:
        Every element of the stream exactly once, each drawn uniformly from the buffer.

    Raises:
        ValueError: buffer_size is less than 1.
    """
    elements = list(stream)
    random.Random(seed).shuffle(elements)
    yield from elements
