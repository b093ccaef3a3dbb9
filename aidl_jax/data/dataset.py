"""`Dataset`: an immutable description of a pipeline, one verb after another, with the names that tf.data gave them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import jax

from aidl_jax.data.arguments import a_function, a_seed, a_stage, at_least, check_same_shape
from aidl_jax.data.autotune import AUTOTUNE
from aidl_jax.data.batching import Batched, Unbatched, Windowed
from aidl_jax.data.caching import cached
from aidl_jax.data.combining import Concatenated
from aidl_jax.data.elements import Element, Spec, tell_spec
from aidl_jax.data.explaining import explain
from aidl_jax.data.interleaving import MOST_SLOTS, Interleaved
from aidl_jax.data.iterator import DataIterator, block_of
from aidl_jax.data.mapping import Mapped
from aidl_jax.data.padding import padding_of
from aidl_jax.data.prefetching import Prefetched, check_placing, refuse_after_device
from aidl_jax.data.python_maps import OnError, PythonMapped, check_options
from aidl_jax.data.reducing import reduced
from aidl_jax.data.remembering import Unique, bucketed, scanned
from aidl_jax.data.selecting import Enumerated, Repeated, Sharded, Skipping, Taken
from aidl_jax.data.shuffle_report import ShuffleReport, shuffle_report
from aidl_jax.data.shuffling import BufferShuffled, Shuffled
from aidl_jax.data.stage import INFINITE, UNKNOWN, At, Origin, Run, Size, Stage
from aidl_jax.data.streaming import Filtered, TakenWhile
from aidl_jax.errors import DataError

__all__ = ["Dataset"]


class Dataset:
    """An immutable description of where elements come from and what is done to them.

    Every verb returns a new dataset. Nothing is read or computed before it is gone through: with `for`, `iterate()`, or
    `make_one_shot_iterator()`.
    """

    def __init__(self, stage: Stage) -> None:
        refuse_after_device(stage)
        self.stage = stage

    def shuffle(self, buffer_size: int | None = None, seed: int = 0, reshuffle_each_iteration: bool = True) -> Dataset:
        """Random order, another one in each epoch.

        Args:
            buffer_size: elements held, from which one is drawn at a time, as in tf.data; None for the whole set.
            seed: the same seed gives the same orders, on every machine.
            reshuffle_each_iteration: whether each epoch of a `repeat` has an order of its own.

        Raises:
            DataError: a buffer of less than one element; the whole of a set whose size is not known.
        """
        size, seed = self.stage.size, a_seed("shuffle", seed)
        if buffer_size is not None:
            buffer_size = at_least("shuffle", "buffer_size", buffer_size, 1)
        if buffer_size is None and not (self.stage.indexed and size != INFINITE):
            raise DataError(
                "only a dataset of the class Indexed, with an end, can be shuffled as a whole",
                given=str(self.stage),
                where="shuffle",
                fix="say how large the buffer is: shuffle(10_000)",
            )
        if self.stage.indexed and size != INFINITE and (buffer_size is None or buffer_size >= size):  # type: ignore[operator]
            return Dataset(Shuffled(self.stage, buffer_size, seed, reshuffle_each_iteration))
        assert buffer_size is not None
        return Dataset(BufferShuffled(self.stage, buffer_size, seed, reshuffle_each_iteration))

    def repeat(self, count: int | None = None) -> Dataset:
        """The epochs one after another: `count` of them, or without end."""
        return Dataset(Repeated(self.stage, INFINITE if count is None else at_least("repeat", "count", count, 0)))

    def map(
        self,
        fn: Callable[..., Any],
        num_parallel_calls: int | None = None,
        *,
        keyed: bool = False,
        seed: int = 0,
        python: bool = False,
        deterministic: bool = True,
        on_error: OnError = "raise",
        spec: Spec = None,
    ) -> Dataset:
        """A function of each element.

        Args:
            fn: of one element without a batch dimension; a tuple's parts are its arguments. Traced and compiled, unless `python`.
            num_parallel_calls: threads that call a Python function, which are busy before elements are asked for; `AUTOTUNE` measures how
                many are worth it; None is one call after another. A traced function needs none.
            keyed: whether its first argument is a JAX key, folded from (seed, epoch, position).
            seed: of the keys.
            python: whether `fn` is ordinary Python. It may be called again for an element after an error or a jump.
            deterministic: whether elements keep their order; False gives them as they are ready, and then there is no state.
            on_error: "skip" leaves out elements at which `fn` raises, and lists them in `iterator.skipped`.
            spec: what a Python function returns, a pytree of `jax.ShapeDtypeStruct`, with None for a size that differs. Left out, it
                is called once on the first element to find out.

        Raises:
            DataError: it cannot be traced; an option of Python maps for a traced one.
        """
        a_function("map", fn)
        seed = a_seed("map", seed)
        check_options(python, deterministic, on_error, spec, num_parallel_calls)
        if not python:
            return Dataset(Mapped(self.stage, fn, keyed, seed, num_parallel_calls))
        return Dataset(PythonMapped(self.stage, fn, keyed, seed, num_parallel_calls, deterministic, on_error, spec))

    def prefetch(self, buffer_size: int = AUTOTUNE, device: Any = None) -> Dataset:
        """The same elements, made by a thread before they are asked for.

        Worth it where elements cost time (files, Python maps, large batches) and something else computes meanwhile. A state stays that
        of the element given last.

        Args:
            buffer_size: elements ahead, at most. Indexed datasets are made in blocks of rows, so at least one of those; AUTOTUNE is 2.
            device: a `jax.Device` or a `jax.sharding.Sharding` that elements are copied to, `buffer_size` of them ahead; they become
                `jax.Array`s then, and no verb can follow.

        Raises:
            DataError: a leaf of 64 bits, which JAX would narrow; a batch that cannot be divided over the devices.
        """
        if type(buffer_size) is not int or buffer_size != AUTOTUNE:
            buffer_size = at_least("prefetch", "buffer_size", buffer_size, 1)
        if device is not None:
            check_placing(self.element_spec, device)
        return Dataset(Prefetched(self.stage, buffer_size, device))

    def cache(self, path: str | Path | None = None) -> Dataset:
        """Elements that are computed once and kept: those of the first epoch, for all epochs.

        A shuffle or keyed map before a cache comes out the same in every epoch: put those behind it.

        Args:
            path: a folder for the elements, which another process can use again; None keeps them in memory, for as long as the dataset
                is there.

        Raises:
            DataError: a dataset without end; a folder that holds the cache of another pipeline, or something else.
        """
        return Dataset(cached(self.stage, path))

    def batch(self, batch_size: int, drop_remainder: bool = False) -> Dataset:
        """Elements that follow one another, stacked: leaves [batch_size, ...]. The last may be shorter."""
        batch_size = at_least("batch", "batch_size", batch_size, 1)
        check_same_shape(self.stage, "batch")
        return Dataset(Batched(self.stage, batch_size, batch_size, 1, drop_remainder))

    def take(self, count: int) -> Dataset:
        """The first `count` elements."""
        return Dataset(Taken(self.stage, at_least("take", "count", count, 0)))

    def skip(self, count: int) -> Dataset:
        """All but the first `count` elements."""
        return Dataset(Skipping(self.stage, at_least("skip", "count", count, 0)))

    def shard(self, num_shards: int, index: int) -> Dataset:
        """Every `num_shards`-th element, from the one at `index` on."""
        num_shards = at_least("shard", "num_shards", num_shards, 1)
        index = at_least("shard", "index", index, 0)
        if index >= num_shards:
            raise DataError(
                "there is no such shard", given=str(index), expected=f"0 to {num_shards - 1}", where="shard"
            )
        return Dataset(Sharded(self.stage, num_shards, index))

    def concatenate(self, other: Dataset) -> Dataset:
        """All elements of this one, then all of another."""
        made = Concatenated(self.stage, a_stage("concatenate", other))
        _ = made.spec
        return Dataset(made)

    def enumerate(self, start: int = 0) -> Dataset:
        """Pairs of a number, int32, and the element."""
        return Dataset(Enumerated(self.stage, at_least("enumerate", "start", start, 0)))

    def window(self, size: int, shift: int | None = None, stride: int = 1, drop_remainder: bool = False) -> Dataset:
        """Groups of `size` elements, stacked, each `shift` after the one before, its elements `stride` apart."""
        size = at_least("window", "size", size, 1)
        shift = size if shift is None else at_least("window", "shift", shift, 1)
        check_same_shape(self.stage, "window")
        return Dataset(Windowed(self.stage, size, shift, at_least("window", "stride", stride, 1), drop_remainder))

    def unbatch(self) -> Dataset:
        """The rows of each element, one after another."""
        leaves = jax.tree.leaves(self.element_spec)
        if not leaves or any(not leaf.shape or leaf.shape[0] != leaves[0].shape[0] for leaf in leaves):
            raise DataError(
                "only what has rows can be unbatched",
                given=tell_spec(self.element_spec),
                expected="leaves [rows, ...] of one length",
                where="unbatch",
                fix="unbatch what was batched",
            )
        return Dataset(Unbatched(self.stage))

    def padded_batch(
        self, batch_size: int, padded_shapes: Any = None, padding_values: Any = 0, drop_remainder: bool = False
    ) -> Dataset:
        """Batches of elements of several sizes, each filled up to the batch's longest, or to the shape given.

        Args:
            batch_size: elements in a batch.
            padded_shapes: a pytree of tuples, one for each leaf; None in one means the longest of the batch.
            padding_values: one value, or a pytree with one for each leaf.
            drop_remainder: whether a last batch that is shorter is left out.
        """
        batch_size = at_least("padded_batch", "batch_size", batch_size, 1)
        padding = padding_of(self.element_spec, padded_shapes, padding_values)
        return Dataset(Batched(self.stage, batch_size, batch_size, 1, drop_remainder, padding))

    def filter(self, predicate: Callable[..., Any], python: bool = False) -> Dataset:
        """The elements of which a predicate holds; the dataset is Sequential from here on.

        Args:
            predicate: from an element to one bool; a tuple's parts are its arguments. Traced and compiled.
            python: whether it is ordinary Python instead, called with NumPy.

        >>> from aidl_jax.data import range
        >>> [int(number) for number in range(6).filter(lambda number: number % 2 == 1)]
        [1, 3, 5]
        """
        a_function("filter", predicate)
        made = Filtered(self.stage, predicate, python)
        if not python:
            made.traced.check()
        return Dataset(made)

    def take_while(self, predicate: Callable[..., Any], python: bool = False) -> Dataset:
        """The elements before the first of which a predicate does not hold; `predicate` and `python` are as for `filter`.

        >>> from aidl_jax.data import range
        >>> [int(number) for number in range(9).take_while(lambda number: number * number < 10)]
        [0, 1, 2, 3]
        """
        a_function("take_while", predicate)
        made = TakenWhile(self.stage, predicate, python)
        if not python:
            made.traced.check()
        return Dataset(made)

    def scan(self, initial: Any, fn: Callable[..., Any]) -> Dataset:
        """The outputs of `fn(state, element) -> (state, output)`, compiled, which hands a state from element to element.

        Args:
            initial: the state at the beginning of each epoch, a pytree; a Python number is an int32 or a float32.
            fn: traced; a tuple's parts are its arguments after the state.

        >>> from aidl_jax.data import range
        >>> [int(total) for total in range(5).scan(0, lambda total, number: (total + number, total + number))]
        [0, 1, 3, 6, 10]
        """
        a_function("scan", fn)
        return Dataset(scanned(self.stage, initial, fn))

    def unique(self) -> Dataset:
        """The elements that have not come before in the epoch; 16 bytes are kept of each."""
        return Dataset(Unique(self.stage))

    def bucket_by_length(
        self,
        length: Callable[..., Any],
        boundaries: Sequence[int],
        batch_sizes: Sequence[int],
        padded_shapes: Any = None,
        padding_values: Any = 0,
        drop_remainder: bool = False,
    ) -> Dataset:
        """Padded batches of elements of like length, so that little is filled up.

        Args:
            length: ordinary Python, from an element to its length.
            boundaries: whole numbers that rise; an element goes into the first bucket whose boundary is above its length.
            batch_sizes: one for each bucket, and one for what is longer than the last boundary allows.
            padded_shapes: as for `padded_batch`, and so are the others.
            padding_values: one value, or a pytree with one for each leaf.
            drop_remainder: whether what is left in the buckets at the end is left out.
        """
        padding = padding_of(self.element_spec, padded_shapes, padding_values)
        return Dataset(bucketed(self.stage, length, boundaries, batch_sizes, drop_remainder, padding))

    def flat_map(self, fn: Callable[..., Dataset], spec: Spec | None = None) -> Dataset:
        """The elements of one dataset for each element, one dataset after another.

        Args:
            fn: ordinary Python, from a NumPy element to a dataset; a tuple's parts are its arguments. A traced `map` inside of it
                would be compiled for each element anew: map after flat_map.
            spec: what the elements are; if it is not given, what the first element's dataset says.

        >>> from aidl_jax.data import range
        >>> [int(number) for number in range(4).flat_map(lambda count: range(count))]
        [0, 0, 1, 0, 1, 2]
        """
        a_function("flat_map", fn)
        return Dataset(Interleaved(self.stage, fn, 1, 1, spec))

    def interleave(
        self, fn: Callable[..., Dataset], cycle_length: int, block_length: int = 1, spec: Spec | None = None
    ) -> Dataset:
        """The elements of one dataset for each element, taken from several datasets in turn.

        Args:
            fn: as for `flat_map`.
            cycle_length: how many datasets are open at a time, at most 16: a state names a place in each.
            block_length: how many elements one dataset gives when it is its turn.
            spec: as for `flat_map`.

        >>> from aidl_jax.data import range
        >>> [int(number) for number in range(3).interleave(lambda x: range(x, 10 * x + 1, 5), cycle_length=2)]
        [0, 1, 6, 2, 7, 12, 17]
        """
        a_function("interleave", fn)
        block_length = at_least("interleave", "block_length", block_length, 1)
        cycle_length = at_least("interleave", "cycle_length", cycle_length, 1)
        if cycle_length > MOST_SLOTS:
            raise DataError(
                "too many datasets would be open at a time: a state names a place in each, and is to stay small",
                given=f"cycle_length={cycle_length}",
                expected=f"at most {MOST_SLOTS}",
                where="interleave",
                fix="interleave fewer, and shuffle what they are made of before",
            )
        return Dataset(Interleaved(self.stage, fn, cycle_length, block_length, spec))

    def reduce(self, initial: Any, fn: Callable[..., Any]) -> Element:
        """The state after all elements: `fn(state, element)` again and again, compiled.

        Args:
            initial: the first state, a pytree; a Python number is an int32 or a float32.
            fn: traced, from a state and an element to the next state; a tuple's parts are its arguments after the state.

        Returns:
            A pytree of NumPy arrays like `initial`.

        Raises:
            DataError: a dataset without end; a function that cannot be traced, or returns no such state.

        >>> from aidl_jax.data import range
        >>> int(range(5).reduce(0, lambda total, number: total + number))
        10
        """
        a_function("reduce", fn)
        return reduced(self.stage, initial, fn)

    def apply(self, transform: Callable[[Dataset], Dataset]) -> Dataset:
        """What a function makes of this dataset."""
        made = transform(self)
        a_stage("apply", made)
        return made

    @property
    def element_spec(self) -> Spec:
        """Shapes and dtypes of an element: a pytree of `jax.ShapeDtypeStruct`, with None for a size that differs."""
        return self.stage.spec

    def cardinality(self) -> Size:
        """How many elements there are: a number, `INFINITE`, or `UNKNOWN`."""
        return self.stage.size

    def __len__(self) -> int:
        size = self.stage.size
        if size is UNKNOWN or size == INFINITE:
            raise TypeError(f"this dataset has no length: {'unknown' if size is UNKNOWN else 'infinite'} ({self})")
        return int(size)

    def iterate(self, state: dict[str, Any] | None = None) -> DataIterator:
        """An iterator, from the beginning or from a state."""
        return DataIterator(self.stage, state)

    def __iter__(self) -> DataIterator:
        return self.iterate()

    def make_one_shot_iterator(self) -> DataIterator:
        """An iterator from the beginning."""
        return self.iterate()

    def element(self, position: int) -> Element:
        """The element at a position, without those before it (Indexed).

        Raises:
            DataError: the dataset is Sequential, or has no such position.
        """
        at = self._place(position, "element")
        with ExitStack() as closing:
            return next(iter(self.stage.rows(at, Run(block_of(self.stage), closing))))

    def locate(self, step: int) -> list[Origin]:
        """Where everything in element `step`, counted from 0, comes from (Indexed)."""
        return self.stage.origins(self._place(step, "locate"))

    def explain(self) -> str:
        """The plan: the class, what each verb becomes when it is run, what a jump costs, and what to look out for."""
        return explain(self.stage, block_of(self.stage))

    def shuffle_report(self, label: Callable[[Element], Any] | None = None) -> ShuffleReport:
        """How far one epoch's order is from the source's, and how mixed its batches are (Indexed).

        Args:
            label: from an element to its label, an integer, or from a batch to its labels.
        """
        return shuffle_report(self.stage, label)

    def _place(self, position: int, verb: str) -> At:
        if not self.stage.indexed:
            raise DataError(
                "only a dataset of the class Indexed knows its elements by position",
                given=str(self.stage),
                where=verb,
                fix="see explain(): it says which verb made the dataset Sequential",
            )
        size, position = self.stage.size, at_least(verb, "the position", position, 0)
        assert size is not UNKNOWN
        if position >= size:
            raise DataError(
                "there is no such position",
                given=str(position),
                expected=f"0 to {size - 1:,}",
                where=verb,
            )
        return At.span(0, position, position + 1)

    def __str__(self) -> str:
        return str(self.stage)

    def __repr__(self) -> str:
        return f"<Dataset {self}: {tell_spec(self.element_spec)}>"
