"""`Dataset`: an immutable description of a pipeline, one verb after another, with the names that tf.data gave them."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterable
from typing import Any

import jax
import numpy as np

from aidl_jax.data import sources
from aidl_jax.data.batching import Batched, Padding, Unbatched, Windowed
from aidl_jax.data.elements import Element, Spec, is_fixed, tell_spec
from aidl_jax.data.iterator import DataIterator, block_of
from aidl_jax.data.mapping import Mapped
from aidl_jax.data.selecting import Concatenated, Enumerated, Repeated, Sharded, Skipping, Taken, Zipped
from aidl_jax.data.shuffling import BufferShuffled, Shuffled
from aidl_jax.data.stage import INFINITE, UNKNOWN, At, Origin, Run, Size, Stage
from aidl_jax.errors import DataError

__all__ = ["Dataset", "from_generator", "from_tensor_slices", "range", "zip"]


def from_tensor_slices(tensors: Any) -> Dataset:
    """The rows of arrays: element i is row i of every leaf.

    Args:
        tensors: a pytree of arrays [rows, ...] of one length. A NumPy memory map stays on disk. Nothing is copied.

    Raises:
        DataError: no array, a number without rows, or arrays of several lengths.

    >>> next(iter(from_tensor_slices({"x": np.arange(6).reshape(3, 2)})))
    {'x': array([0, 1])}
    """
    return Dataset(sources.slices(tensors))


def from_generator(make: Callable[[], Iterable[Any]], spec: Spec, cardinality: Size = UNKNOWN) -> Dataset:
    """What a generator yields.

    Args:
        make: makes a new generator; each epoch calls it.
        spec: a pytree of `jax.ShapeDtypeStruct`: what each element must be; None for a size that differs.
        cardinality: how many elements there are, if it is known.

    >>> numbers = from_generator(lambda: iter([1, 2, 3]), jax.ShapeDtypeStruct((), np.int32))
    >>> [int(number) for number in numbers]
    [1, 2, 3]
    """
    return Dataset(sources.generated(make, spec, cardinality))


def range(*bounds: int, dtype: Any = np.int32) -> Dataset:
    """The numbers of Python's `range`, as int32 unless another dtype is asked for.

    >>> [int(number) for number in range(2, 8, 3)]
    [2, 5]
    """
    numbers, kind = builtins.range(*bounds), np.dtype(dtype)
    if len(numbers) and not (kind.type(numbers[0]) == numbers[0] and kind.type(numbers[-1]) == numbers[-1]):
        raise DataError(
            "the dtype does not hold these numbers", given=f"{numbers} as {kind.name}", fix="dtype=np.int64"
        )
    return Dataset(sources.Counting(numbers, kind))


def zip(datasets: Any) -> Dataset:
    """Elements that stand at the same position of several datasets; as many as the shortest has.

    Args:
        datasets: a pytree whose leaves are datasets; elements are such pytrees.

    >>> [(int(a), int(b)) for a, b in zip((range(3), range(10, 20)))]
    [(0, 10), (1, 11), (2, 12)]
    """
    parts, structure = jax.tree.flatten(datasets)
    for part in parts:
        if not isinstance(part, Dataset):
            raise DataError("zip takes datasets", given=f"a {type(part).__name__}", fix="zip((images, labels))")
    return Dataset(Zipped([part.stage for part in parts], structure))


class Dataset:
    """An immutable description of where elements come from and what is done to them.

    Every verb returns a new dataset. Nothing is read or computed before it is gone through: with `for`, `iterate()`, or
    `make_one_shot_iterator()`.
    """

    def __init__(self, stage: Stage) -> None:
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
        size = self.stage.size
        if buffer_size is not None:
            _at_least("shuffle", "buffer_size", buffer_size, 1)
        if buffer_size is None and not (self.stage.indexed and size != INFINITE):
            raise DataError(
                "only a dataset of the class Indexed, with an end, can be shuffled as a whole",
                given=str(self.stage),
                where="shuffle",
                fix="say how large the buffer is: shuffle(10_000)",
            )
        if self.stage.indexed and size != INFINITE and (buffer_size is None or buffer_size >= size):  # type: ignore[operator]
            return Dataset(Shuffled(self.stage, seed, reshuffle_each_iteration, buffer_size))
        assert buffer_size is not None
        return Dataset(BufferShuffled(self.stage, buffer_size, seed, reshuffle_each_iteration))

    def repeat(self, count: int | None = None) -> Dataset:
        """The epochs one after another: `count` of them, or without end."""
        if count is not None:
            _at_least("repeat", "count", count, 0)
        return Dataset(Repeated(self.stage, INFINITE if count is None else count))

    def map(self, fn: Callable[..., Any], *, keyed: bool = False, seed: int = 0) -> Dataset:
        """A function of each element.

        Args:
            fn: traced and compiled, of one element without a batch dimension; a tuple's parts are its arguments.
            keyed: whether its first argument is a key, folded from (seed, epoch, position).
            seed: of the keys.
        """
        return Dataset(Mapped(self.stage, fn, keyed, seed))

    def batch(self, batch_size: int, drop_remainder: bool = False) -> Dataset:
        """Elements that follow one another, stacked: leaves [batch_size, ...]. The last may be shorter."""
        _at_least("batch", "batch_size", batch_size, 1)
        _same_shape(self.stage, "batch")
        return Dataset(Batched(self.stage, batch_size, batch_size, 1, drop_remainder))

    def take(self, count: int) -> Dataset:
        """The first `count` elements."""
        return Dataset(Taken(self.stage, _at_least("take", "count", count, 0)))

    def skip(self, count: int) -> Dataset:
        """All but the first `count` elements."""
        return Dataset(Skipping(self.stage, _at_least("skip", "count", count, 0)))

    def shard(self, num_shards: int, index: int) -> Dataset:
        """Every `num_shards`-th element, from the one at `index` on."""
        _at_least("shard", "num_shards", num_shards, 1)
        if not 0 <= _at_least("shard", "index", index, 0) < num_shards:
            raise DataError(
                "there is no such shard", given=str(index), expected=f"0 to {num_shards - 1}", where="shard"
            )
        return Dataset(Sharded(self.stage, num_shards, index))

    def concatenate(self, other: Dataset) -> Dataset:
        """All elements of this one, then all of another."""
        made = Concatenated(self.stage, other.stage)
        _ = made.spec
        return Dataset(made)

    def enumerate(self, start: int = 0) -> Dataset:
        """Pairs of a number, int32, and the element."""
        return Dataset(Enumerated(self.stage, start))

    def window(self, size: int, shift: int | None = None, stride: int = 1, drop_remainder: bool = False) -> Dataset:
        """Groups of `size` elements, stacked, each `shift` after the one before, its elements `stride` apart."""
        _at_least("window", "size", size, 1)
        _at_least("window", "shift", size if shift is None else shift, 1)
        _at_least("window", "stride", stride, 1)
        _same_shape(self.stage, "window")
        return Dataset(Windowed(self.stage, size, size if shift is None else shift, stride, drop_remainder))

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
        _at_least("padded_batch", "batch_size", batch_size, 1)
        spec = self.element_spec
        leaves, structure = jax.tree.flatten(spec)
        shapes = [leaf.shape for leaf in leaves]
        if padded_shapes is not None:
            shapes = [tuple(shape) for shape in structure.flatten_up_to(padded_shapes)]
        one = not isinstance(padding_values, dict | list | tuple)
        values = [padding_values] * len(leaves) if one else structure.flatten_up_to(padding_values)
        return Dataset(Batched(self.stage, batch_size, batch_size, 1, drop_remainder, Padding(shapes, values)))

    def apply(self, transform: Callable[[Dataset], Dataset]) -> Dataset:
        """What a function makes of this dataset."""
        return transform(self)

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
        return next(iter(self.stage.rows(at, Run(block_of(self.stage)))))

    def locate(self, step: int) -> list[Origin]:
        """Where everything in element `step`, counted from 0, comes from (Indexed)."""
        return self.stage.origins(self._place(step, "locate"))

    def _place(self, position: int, verb: str) -> At:
        if not self.stage.indexed:
            raise DataError(
                "only a dataset of the class Indexed knows its elements by position",
                given=str(self.stage),
                where=verb,
                fix="see explain(): it says which verb made the dataset Sequential",
            )
        size = self.stage.size
        assert size is not UNKNOWN
        if not 0 <= position < size:
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


def _at_least(verb: str, name: str, value: Any, least: int) -> int:
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < least:
        raise DataError(
            f"{name} is not a whole number of at least {least}",
            given=repr(value),
            where=verb,
            fix=f"{verb}({least or 1})",
        )
    return int(value)


def _same_shape(stage: Stage, verb: str) -> None:
    if not is_fixed(stage.spec):
        raise DataError(
            "elements that differ in shape cannot be stacked",
            given=tell_spec(stage.spec),
            where=verb,
            fix="padded_batch(...), or batch(..., drop_remainder=True) before if they are batches",
        )
