# %% [markdown]
# # An input pipeline
#
# A model is fed with batches. Between the files on the disk and a batch, several things happen to the
# examples, and each has a name, which is the same in most libraries:
#
# | verb | what it does to a stream |
# |---|---|
# | `shuffle` | hands the examples on in another order |
# | `repeat` | starts again at the end: one pass over all examples is an **epoch** |
# | `map` | applies a function to each example: reads, decodes, crops it |
# | `batch` | groups examples into batches |
# | `prefetch` | asks for the next ones before they are needed |
#
# Each is a small generator from stream to stream, so they can be put one around the other. You write all but two of
# them: `map` is Python's own, which is lazy too, and `shuffle` is given. Then you look at what happens when they are put
# together in another order, give each example random numbers of its own, and stop in the middle and go on exactly there.
#
# As in the exercise before, a **stream** is an iterator, `next(stream)` pulls one element, and nothing runs before
# someone asks.

# %%
import collections
import itertools

import jax
import numpy as np

# %% [markdown]
# This `shuffle` is the buffer of the exercise before in a few lines. It swaps before it yields, so it holds one element
# more than yours. What is new is the seed: it is made of **two** numbers, `[seed, epoch]`, so that each epoch
# has an order of its own, and the same one whenever it is asked for. (`seed + epoch` would not do: epoch 1
# of a run with seed 0 and epoch 0 of a run with seed 1 would be the same.)


# %%
def shuffle(stream, buffer_size, seed, epoch):
    rng = np.random.default_rng([seed, epoch])
    stream = iter(stream)
    buffer = list(itertools.islice(stream, buffer_size))
    for element in stream:
        slot = rng.integers(buffer_size)
        drawn, buffer[slot] = buffer[slot], element
        yield drawn
    rng.shuffle(buffer)
    yield from buffer


# %% [markdown]
# ## Batch
#
#     list(batch(iter(range(5)), 2, drop_remainder=False))    # [[0, 1], [2, 3], [4]]
#     list(batch(iter(range(5)), 2, drop_remainder=True))     # [[0, 1], [2, 3]]
#
# Why would one drop the remainder? A compiled function is compiled once per shape, and a short last batch is another
# shape. Why would one not? In an evaluation every example counts.
#
# A batch must be yielded as soon as it is full, and each must be a **new** list: whoever got the last one may
# still be using it.


# %%
def batch(stream, size, drop_remainder):
    """Groups the elements of a stream into lists.

    Args:
        stream: an iterator of any elements, maybe endless.
        size: a Python int of at least 1, how many elements make a batch.
        drop_remainder: a bool, whether elements at the end that are too few for a whole batch are dropped.

    Yields:
        A new list with the next `size` elements. Where the remainder is kept, the last list may be shorter, but
        never empty.

    Raises:
        ValueError: size is less than 1.
    """
    ### BEGIN SOLUTION
    if size < 1:
        raise ValueError(f"size must be at least 1, not {size}")
    elements = []
    for element in stream:
        elements.append(element)
        if len(elements) == size:
            yield elements
            elements = []
    if elements and not drop_remainder:
        yield elements
    ### END SOLUTION


# %% [markdown]
# ## Repeat
#
# A stream that has come to its end stays there. It cannot be rewound, so `repeat(stream, 3)` cannot be written, unless it
# keeps every element. What can be asked again is the function that **made** the stream:
#
#     def make_stream(epoch):
#         return shuffle(range(100), 10, seed=0, epoch=epoch)
#
#     repeat(make_stream, 3)
#
# It is told which epoch it is for, so it can make another order in each.


# %%
def repeat(make_stream, count):
    """The streams of several epochs, one after the other.

    Args:
        make_stream: a function that takes an epoch's number, a Python int, and makes the stream of that epoch. It is
            called once for each epoch, when that epoch begins.
        count: a Python int, how many epochs there are: 0, 1, ..., count - 1. None goes on for ever.

    Yields:
        All elements of epoch 0, then all elements of epoch 1, and so on.
    """
    ### BEGIN SOLUTION
    for epoch in itertools.count() if count is None else range(count):
        yield from make_stream(epoch)
    ### END SOLUTION


# %% [markdown]
# ## In which order?
#
# All four orders below run, and nothing fails. Six examples, 0 to 5, in batches of 4, two epochs, a buffer of 4:
#
#     shuffle repeat batch    [3 0 2 5] [4 1 3 1] [5 2 0 4]
#     batch shuffle repeat    [4 5] [0 1 2 3] [0 1 2 3] [4 5]
#     shuffle batch repeat    [3 0 2 5] [4 1] [3 1 5 2] [0 4]
#     repeat shuffle batch    [3 0 5 0] [1 4 3 2] [4 1 2 5]
#
# - **shuffle, repeat, batch** is usually what you want. A batch may begin in one epoch and end in the next, as
#   the second does here; only the very last one can be short.
# - **batch before shuffle**: only whole batches change places. What stood side by side in the file stays in one batch,
#   always. If the file is sorted by class, each batch has one class. And the buffer holds batches, not examples.
# - **batch before repeat**: each epoch ends with a short batch. With `drop_remainder` it loses some examples in each epoch.
# - **repeat before shuffle**: the epochs mix. Example 0 came twice before 1, 2 and 4 came once. It is not
#   always wrong, but "one epoch" then means nothing, and the order is drawn from one seed for all epochs.
#
# One more, for training on several machines, each of which takes every n-th example (`shard`): **shuffle before shard**
# works only if all machines shuffle in the same order. With a seed of its own each takes every n-th of another order:
# some examples are used twice, and some never. Shard first, then shuffle.
#
# In a log all you see is what came out. Write the function that tells the four orders apart.


# %%
def which_order(batches, count):
    """Tells from the batches in which order the verbs were applied.

    Args:
        batches: a list of lists of Python ints, all that came out in two epochs or more. The examples were 0, 1,
            ..., count - 1, in this order before anything was done to them.
        count: a Python int, how many examples there are. It is no multiple of the size of a batch. If the epochs were
            mixed, then so that it can be seen: not every `count` outputs in a row hold each example once.

    Returns:
        A str: "shuffle repeat batch", "batch shuffle repeat", "shuffle batch repeat" or "repeat shuffle batch".
    """
    ### BEGIN SOLUTION
    if all(batch == list(range(batch[0], batch[0] + len(batch))) for batch in batches):
        return "batch shuffle repeat"
    if any(len(batch) < len(batches[0]) for batch in batches[:-1]):
        return "shuffle batch repeat"
    order = list(itertools.chain(*batches))
    epochs = [order[start : start + count] for start in range(0, len(order), count)]
    if any(len(set(epoch)) < count for epoch in epochs):
        return "repeat shuffle batch"
    return "shuffle repeat batch"
    ### END SOLUTION


# %% [markdown]
# ## Random numbers for each example
#
# A `map` often draws random numbers: it turns an image, crops it, adds noise. Where do they come from? If all
# examples draw from one generator, what an example gets depends on how many were drawn before it. Four workers that run at
# the same time make that another order in each run, and a run that is continued begins with other numbers.
#
# The way out is a key per example, made of what the example **is** rather than of what happened before it: the
# seed, the epoch and the position in that epoch. `jax.random.fold_in(key, number)` makes a new key of a key and a number. Each
# is folded in by itself; a sum would give the same key to (1, 2) and (2, 1).
#
# (In a map written with NumPy, `np.random.default_rng([seed, epoch, position])` is the same idea.)


# %%
def jitter(example, key, epoch, position):
    """Adds a little noise to an example, from a key of the example's own.

    The epoch is folded into the key first, then the position. The noise is 0.1 times normal numbers drawn with that key.

    Args:
        example: float32 [d].
        key: a JAX PRNG key, the same for the whole run.
        epoch: int32 [], the number of the epoch.
        position: int32 [], where in the epoch the example comes.

    Returns:
        float32 [d], the example with noise. The same arguments give the same noise.
    """
    ### BEGIN SOLUTION
    own_key = jax.random.fold_in(jax.random.fold_in(key, epoch), position)
    return example + 0.1 * jax.random.normal(own_key, example.shape)
    ### END SOLUTION


# %% [markdown]
# ## Prefetch
#
# Getting a batch ready takes time (**ingestion**), and so does the step that trains on it. One after the other,
#
#     iteration = ingestion + step
#
# That sum is no law: it holds only as long as nothing overlaps. While the step runs, the next batch can be got ready
# by someone else, by a thread or another machine. Then an iteration takes about as long as the **longer** of the two. For that,
# the next batches must have been asked for *before* they are needed.
#
# `prefetch(stream, 2)` keeps two elements ahead:
#
#     stream a, b, c, d       held
#     ask for two             [a b]
#     yield a, ask for one    [b c]
#     yield b, ask for one    [c d]
#     yield c                 [d]
#     yield d                 []
#
# "Yield a, ask for one" is this order: the next element is asked for when the consumer comes back for more, so there are
# never more than two.


# %%
def prefetch(stream, count):
    """Pulls elements before they are asked for.

    Args:
        stream: an iterator of any elements, maybe endless.
        count: a Python int of at least 1, how many elements are pulled before the first one is yielded, and the most
            that are held at a time.

    Yields:
        Every element of the stream, in the order of the stream.

    Raises:
        ValueError: count is less than 1.
    """
    ### BEGIN SOLUTION
    if count < 1:
        raise ValueError(f"count must be at least 1, not {count}")
    held = collections.deque(itertools.islice(stream, count))
    while held:
        yield held.popleft()
        held.extend(itertools.islice(stream, 1))
    ### END SOLUTION


# %% [markdown]
# ## The chain
#
# Now put them together. In the notation of `tf.data` the whole reads
#
#     range(100).shuffle(10).repeat(epochs).map(parse).batch(32).prefetch(2)
#
# Read it from left to right: each verb takes what stands before it. With functions, what comes first stands innermost. `shuffle`
# has to come before `repeat`, so it goes into the function that makes an epoch's stream. Keep the remainder.


# %%
def training_batches(make_examples, parse, epochs, buffer_size, batch_size, ahead, seed):
    """Shuffle, repeat, map, batch, prefetch.

    Args:
        make_examples: a function that takes an epoch's number, a Python int, and makes the stream of that epoch's
            examples, not yet shuffled.
        parse: a function of one example.
        epochs: a Python int, how many epochs there are.
        buffer_size: a Python int, how many examples the shuffle's buffer holds.
        batch_size: a Python int, how many examples make a batch.
        ahead: a Python int, how many batches are prefetched.
        seed: a Python int. It decides the order; each epoch has another.

    Yields:
        Lists of parsed examples; only the very last one may be shorter than the others.
    """
    ### BEGIN SOLUTION

    def shuffled(epoch):
        return shuffle(make_examples(epoch), buffer_size, seed, epoch)

    examples = map(parse, repeat(shuffled, epochs))
    return prefetch(batch(examples, batch_size, drop_remainder=False), ahead)
    ### END SOLUTION


# %% [markdown]
# ## Stop, and go on
#
# A machine is taken away in the middle of epoch 7. The weights were saved; what of the pipeline? Without it, training
# starts epoch 7 again: some examples come twice, and the run is no longer the run that it would have been.
#
# What has to be saved is not the generator, which cannot be saved, and not the buffer, which may hold
# gigabytes. Since `make_stream(epoch)` makes the same stream whenever it is called, it is enough to know **where** one was.
# To go on, make that epoch's stream again, and throw away what has already been used. That costs part of one epoch, never more.
#
# `resumable` yields pairs: an element, and the state to save once that element has been used. Given that state in another
# process, on another day, it goes on with the next element:
#
#     run = resumable(make_stream, None)
#     next(run); next(run)
#     element, state = next(run)               # save state
#     ...
#     rest = resumable(make_stream, state)     # goes on with the fourth element
#
# What a state looks like is up to you. It goes through JSON, so it may hold numbers, strings, None, and dicts and lists of them,
# and it must stay small, however long the run.


# %%
def resumable(make_stream, state):
    """The streams of all epochs one after the other, for ever, with the state to go on from.

    Args:
        make_stream: a function that takes an epoch's number, a Python int, and makes the stream of that epoch: always
            the same for the same number, never empty.
        state: None to begin with epoch 0, or a state that was yielded before and has been through JSON; a dict, a
            list, a number, as you like.

    Yields:
        A pair: the next element, and the state from which what comes after it can be had again. Of each epoch
        that is over no stream is made when it goes on.
    """
    ### BEGIN SOLUTION
    epoch, done = (0, 0) if state is None else (state["epoch"], state["done"])
    while True:
        for position, element in enumerate(make_stream(epoch)):
            if position >= done:
                yield element, {"epoch": epoch, "done": position + 1}
        epoch, done = epoch + 1, 0
    ### END SOLUTION


# %% [markdown]
# ## How many classes does a batch see?
#
# Run this part when all tasks pass: in the notebook, or this whole file with `python`. Plots open.
#
# A file has 100 examples of 10 classes, sorted: 0 to 9 are of class 0, 10 to 19 of class 1, and so on. How many
# classes are there in a batch of 32? With a buffer of 10, example 50 cannot be among the first 41: it has not been
# pulled. So the first batch knows five classes at most. With a buffer of 100 the whole file is shuffled.

# %%
import matplotlib.pyplot as plt

figure, axes = plt.subplots(1, 3, figsize=(9, 3.2), sharey=True)
for axis, size in zip(axes, (1, 10, 100)):
    batches = training_batches(lambda epoch: iter(range(100)), lambda n: n // 10, 3, size, 32, 2, seed=0)
    for number, labels in enumerate(batches):
        axis.scatter([number] * len(labels), labels, s=8, alpha=0.4)
    axis.set(title=f"buffer of {size}", xlabel="batch")
axes[0].set_ylabel("class")
figure.tight_layout()
plt.show()

# %% [markdown]
# ## Is the rest the same?
#
# Two epochs of 1,000 shuffled numbers, stopped somewhere in the second, saved as JSON, continued.

# %%
import json


def thousand(epoch):
    return shuffle(range(1000), 100, seed=0, epoch=epoch)


whole = [element for element, state in itertools.islice(resumable(thousand, None), 2000)]
before = list(itertools.islice(resumable(thousand, None), 1234))
saved = json.dumps(before[-1][1])
after = [element for element, state in itertools.islice(resumable(thousand, json.loads(saved)), 2000 - 1234)]
print("state:", saved)
print("the same:", [element for element, state in before] + after == whole)

# %% [markdown]
# ## The same with a library
#
# `aidl_jax.data` has these verbs, and does the chain as arithmetic on positions: `explain()` shows how. Its iterator's state is
# small too. Why does it need no replay?

# %%
from aidl_jax import data

library = (
    data.range(100)
    .shuffle(10, seed=0)
    .repeat(2)
    .map(lambda number: number * 2, num_parallel_calls=10)
    .batch(32)
    .prefetch(2)
)
print(library.explain())
iterator = library.make_one_shot_iterator()
iterator.get_next()
print("state:", json.dumps(iterator.state()))

# %% [markdown]
# ## Sum or maximum?
#
# A batch that takes 10 ms to get ready, and a step that takes 10 ms. `prefetch` alone changes nothing: it asks
# earlier, but a generator runs only while its consumer waits. With a thread that pulls in the background the two overlap.

# %%
import queue
import threading
import time


def slow_batches():
    for number in range(20):
        time.sleep(0.01)
        yield number


def in_background(stream, count):
    waiting = queue.Queue(count)
    end = object()

    def pull():
        for element in stream:
            waiting.put(element)
        waiting.put(end)

    threading.Thread(target=pull, daemon=True).start()
    return iter(waiting.get, end)


for name, stream in {
    "one after the other": slow_batches(),
    "prefetch(2)": prefetch(slow_batches(), 2),
    "in the background": in_background(slow_batches(), 2),
}.items():
    start = time.perf_counter()
    for _ in stream:
        time.sleep(0.01)  # the step
    print(f"{name:20} {1000 * (time.perf_counter() - start) / 20:5.1f} ms an iteration")

# %% [markdown]
# ## To think about
#
# - `map` stands before `batch` in the chain. What would be faster, and what would have to change in `parse`, if
#   it stood behind?
# - If `map` decodes images, should it stand before `shuffle`? Think of what the buffer then holds.
# - To resume, `resumable` throws away up to an epoch of elements. If the examples can be reached by their number, and the
#   whole order of an epoch is one permutation, what does going on cost?
# - What does a loop around `repeat(make_stream, None)` do if an epoch has no elements?
