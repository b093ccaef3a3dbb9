"""Written with `next`; the state knows when an epoch is over, and is a string."""

import itertools

END = object()


def batch(stream, size, drop_remainder):
    if size < 1:
        raise ValueError("size must be positive")
    while True:
        elements = []
        while len(elements) < size:
            try:
                elements.append(next(stream))
            except StopIteration:
                if elements and not drop_remainder:
                    yield elements
                return
        yield elements


def repeat(make_stream, count):
    epoch = 0
    while count is None or epoch < count:
        yield from make_stream(epoch)
        epoch += 1


def which_order(batches, count):
    sizes = [len(batch) for batch in batches]
    if all(batch == sorted(batch) and batch[-1] - batch[0] == len(batch) - 1 for batch in batches):
        return "batch shuffle repeat"
    if min(sizes[:-1]) < max(sizes):
        return "shuffle batch repeat"
    order = list(itertools.chain(*batches))
    while order:
        if sorted(order[:count]) != list(range(count)):
            return "repeat shuffle batch"
        order = order[count:]
    return "shuffle repeat batch"


def prefetch(stream, count):
    if count < 1:
        raise ValueError("count must be positive")
    held = [next(stream, END) for _ in range(count)]
    while held[0] is not END:
        yield held[0]
        held = [*held[1:], next(stream, END)]


def resumable(make_stream, state):
    epoch, skip = map(int, state.split(":")) if state else (0, 0)
    while True:
        stream = iter(make_stream(epoch))
        list(itertools.islice(stream, skip))
        while (element := next(stream, END)) is not END:
            skip += 1
            yield element, f"{epoch}:{skip}"
        epoch, skip = epoch + 1, 0
