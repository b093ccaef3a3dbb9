"""The mean moves towards each new number by the share that it has in all."""

import itertools


def running_mean(stream):
    mean = 0.0
    for count in itertools.count(1):
        try:
            mean += (next(stream) - mean) / count
        except StopIteration:
            return
        yield mean
