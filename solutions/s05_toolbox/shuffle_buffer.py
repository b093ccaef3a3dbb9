# %% [markdown]
# # A shuffle buffer
#
# Training wants its examples in a random order, a new one each epoch. If they all fit in memory, permute
# their indices and be done. But often they come as a **stream**: from a file too large to hold, from the
# network, from a decoder. You get one element after another, and you cannot look ahead without keeping what you see.
#
# The answer that `tf.data` made popular is a *bounded buffer*: keep a few elements, hand out a random one of
# them, put the next one of the stream in its place. Memory stays bounded, and the order is random, though
# only locally. How random it is depends on the size of the buffer. You will write it, and then see what it cannot do.
#
# This exercise is plain Python: **generators**. A function with `yield` in it does not run when it is called. It
# returns an iterator, and runs on to the next `yield` each time someone asks that iterator for an element, with a
# `for` loop, with `list`, or with `next`:
#
#     def squares(stream):
#         for number in stream:
#             yield number**2
#
#     it = squares(iter([3, 4]))    # nothing has run yet
#     next(it)                      # 9; the 4 has not been asked for
#
# Here a *stream* is such an iterator: `iter([3, 4])` makes one of a list (a list itself has no `next`, and a stream no
# length and no `[0]`). Asking it for an element is called *pulling* one.
#
# `next` raises `StopIteration` where there are no more elements. Inside a generator you have to catch it
# (`try: ... except StopIteration: return`): one that slips out of a generator becomes a `RuntimeError`.

# %%
import random

# %% [markdown]
# ## Warm-up: take
#
# `take(stream, 3)` yields the first three elements and then ends. Easy, but look closely at one thing: it must not ask
# the stream for a fourth. Streams may be endless, slow, or shared with someone who wants that fourth element.
#
#     it = iter(range(10))
#     list(take(it, 3))    # [0, 1, 2]
#     next(it)             # 3: it was not swallowed


# %%
def take(stream, count):
    """Yields the first elements of a stream, and asks for no more than it yields.

    Args:
        stream: an iterator of any elements, maybe endless.
        count: a Python int, how many elements to yield at most; 0 is allowed.

    Yields:
        The first `count` elements, in order; fewer where the stream ends before.
    """
    ### BEGIN SOLUTION
    for _ in range(count):
        try:
            element = next(stream)
        except StopIteration:
            return
        yield element
    ### END SOLUTION


# %% [markdown]
# ## The buffer
#
# With `buffer_size = 3` and the stream a, b, c, d, e:
#
#     fill          [a b c]
#     draw slot 1   yield b   then d takes its slot    [a d c]
#     draw slot 1   yield d   then e takes its slot    [a e c]
#     the stream is empty: yield what is left in a random order
#
# Three things make it right:
#
# - it never holds more than `buffer_size` elements: it pulls a new one only after it has yielded one;
# - when the stream ends, what is left in the buffer still comes out: every element exactly once;
# - all randomness comes from `random.Random(seed)`, a random number generator of your own: the same seed gives the
#   same order. `random.seed(seed)` would not do: it resets the one generator that the whole program shares, and two
#   shuffles that run at the same time would disturb each other.
#
# A `buffer_size` below 1 is a mistake of the caller's: raise a `ValueError`. (In a generator even this
# check waits until the first element is asked for.)


# %%
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
    ### BEGIN SOLUTION
    if buffer_size < 1:
        raise ValueError(f"buffer_size must be at least 1, not {buffer_size}")
    rng = random.Random(seed)
    buffer = list(take(stream, buffer_size))
    while buffer:
        slot = rng.randrange(len(buffer))
        yield buffer[slot]
        try:
            buffer[slot] = next(stream)
        except StopIteration:
            buffer.pop(slot)
    ### END SOLUTION


# %% [markdown]
# ## How random is it?
#
# Run this part when both tasks pass: in the notebook, or this whole file with `python`. A plot opens.
#
# An element can come out late, but never much too early: to be yielded first, it must be among the
# first `buffer_size` elements of the stream. Shuffle the numbers 0 to 999 and plot each element against the
# position at which it came out. A good shuffle fills the square evenly. With a small buffer you see a line.

# %%
import matplotlib.pyplot as plt

figure, axes = plt.subplots(1, 3, figsize=(9, 3.2), sharey=True)
for axis, size in zip(axes, (10, 100, 1000)):
    axis.scatter(range(1000), list(shuffle_buffer(iter(range(1000)), size, seed=0)), s=1)
    axis.set(title=f"buffer of {size}", xlabel="position")
axes[0].set_ylabel("element")
figure.tight_layout()
plt.show()

# %% [markdown]
# ## To think about
#
# - A data set is sorted by class: 5,000 images of cats, then 5,000 of dogs. What do the first batches
#   look like with a buffer of 100?
# - A class deck shuffles 100 elements with a buffer of 10. What is the earliest position at which element 50
#   can come out?
# - If the program is stopped in the middle of an epoch, what would it have to save to go on exactly there?
