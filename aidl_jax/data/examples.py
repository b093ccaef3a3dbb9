"""Records of `tf.train.Example` as arrays, by declared features."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from aidl_jax.data.arguments import a_stage
from aidl_jax.data.blocks_reused import ReusedBlocks
from aidl_jax.data.dataset import Dataset
from aidl_jax.data.elements import Element, Listed, Rows, Stacked, frozen, is_fixed, tell_spec
from aidl_jax.data.example_values import KIND_OF, Group, grouped, values_in
from aidl_jax.data.file_stages import BYTES as RECORD
from aidl_jax.data.file_stages import FileParts, Streamed, objects
from aidl_jax.data.once import cached_property
from aidl_jax.data.packed import Packed, pack
from aidl_jax.data.stage import At, Cursor, Run, State, Verb
from aidl_jax.errors import DataError, close_matches

__all__ = ["parse_example"]


def parse_example(
    features: Mapping[str, jax.ShapeDtypeStruct], defaults: Mapping[str, Any] | None = None
) -> Callable[[Dataset], Dataset]:
    """Makes arrays of the records of `tfrecord`: `records.apply(parse_example(...))`; elements are dicts of these features.

    Args:
        features: the shape and dtype of each: float32; int64, or int32, which numbers must fit into; `object` for bytes; uint8 for one
            value of bytes that are the array's own. A first dimension of None is for lists of any length.
        defaults: values for features that a record may lack; an array of the shape, or a number for all of it.

    Raises:
        DataError: a feature that cannot be declared so; while it is gone through: a record that is no Example, lacks a feature, or has
            other values than declared.

    >>> from aidl_jax.data import build_example, from_tensor_slices
    >>> records = from_tensor_slices(np.array([build_example({"x": [0.5, x]}) for x in (2.0, 3.0)], object))
    >>> examples = records.apply(parse_example({"x": jax.ShapeDtypeStruct((2,), np.float32)}))
    >>> next(iter(examples.batch(2)))["x"].tolist()
    [[0.5, 2.0], [0.5, 3.0]]
    """
    declared = {name: _declared(name, spec) for name, spec in features.items()}
    filled = {name: _default(name, value, declared) for name, value in (defaults or {}).items()}

    def parsed(records: Dataset) -> Dataset:
        stage = a_stage("parse_example", records)
        if stage.spec != RECORD:
            raise DataError(
                "parse_example takes records, bytes one by one",
                given=tell_spec(stage.spec),
                expected="object[]",
                where="parse_example",
                fix="tfrecord(paths).apply(parse_example(...)); batch afterwards",
            )
        return Dataset(ParsedExamples(stage, declared, filled))

    return parsed


def _declared(name: str, spec: Any) -> jax.ShapeDtypeStruct:
    told = isinstance(spec, jax.ShapeDtypeStruct) and np.dtype(spec.dtype).name in KIND_OF
    if not told or None in spec.shape[1:] or (np.dtype(spec.dtype) == np.uint8 and None in spec.shape):
        raise DataError(
            "a feature cannot be declared so",
            given=tell_spec(spec) if isinstance(spec, jax.ShapeDtypeStruct) else repr(spec)[:80],
            expected="a jax.ShapeDtypeStruct of float32, int64, int32, object (bytes), or uint8 of a fixed shape (bytes of an array)",
            where=f"parse_example, feature {name!r}",
            fix="jax.ShapeDtypeStruct((3,), np.float32); (None,) for lists of any length",
        )
    return spec


def _default(name: str, value: Any, declared: Mapping[str, jax.ShapeDtypeStruct]) -> np.ndarray:
    """A default as an array of its feature's dtype; a variable length's is the array itself."""
    if name not in declared:
        raise DataError(
            "a default is given for a feature that is not declared",
            given=repr(name),
            where="parse_example",
            fix=close_matches(name, declared),
        )
    spec = declared[name]
    kept = objects([value]).reshape(()) if isinstance(value, bytes) else np.asarray(value)
    array = kept.astype(spec.dtype)
    fits = (
        array.ndim == len(spec.shape)
        if None in spec.shape
        else np.broadcast_shapes(array.shape, spec.shape) == spec.shape
    )
    if not fits or not (array == kept).all():
        raise DataError(
            "a default is not what its feature is",
            given=f"{kept.dtype.name} {list(kept.shape)}",
            expected=tell_spec(spec),
            where=f"parse_example, feature {name!r}",
        )
    return frozen(array if None in spec.shape else np.broadcast_to(array, spec.shape))


@dataclass(frozen=True, eq=False)
class ParsedExamples(Verb):
    """The declared features of each record."""

    declared: dict[str, jax.ShapeDtypeStruct]
    defaults: dict[str, np.ndarray]
    verb = "parse_example"

    @property
    def spec(self) -> Any:
        return dict(sorted(self.declared.items()))

    @property
    def arguments(self) -> str:
        defaults = {name: value.tolist() for name, value in sorted(self.defaults.items())}
        return tell_spec(self.spec) + (f", defaults={defaults}" if defaults else "")

    @property
    def note(self) -> str:
        return "records of one layout are taken apart together"

    @cached_property
    def structure(self) -> Any:
        return jax.tree.structure(self.spec)

    def rows(self, at: At, run: Run) -> Rows:
        def where(number: int) -> str:
            return str(self.input.origins(at.only(np.array([number])))[0])

        return self.parsed(self._records(at, run), len(at), where)

    def _records(self, at: At, run: Run) -> Iterable[tuple[np.ndarray, Packed]]:
        """The records at these places, as they are read where that can be; and which of the places they are."""
        if isinstance(self.input, FileParts):
            return ((here, _packed(parts)) for here, parts in self.input.parts(at))
        if not len(at):
            return []
        found = self.input.rows(at, run).stacked(str(self)).leaves[0].tolist()
        return [(np.arange(len(found)), _packed(found))]

    def place_told(self, state: State) -> str:
        """Where the record after a state of the input comes from."""
        if isinstance(self.input, Streamed):
            return self.input.place_told(state)
        return f"the record at {state} of {self.input}"

    def walk(self, epoch: int, run: Run, state: State) -> Cursor:
        return _ParsingCursor(self, self.input.cursor(epoch, run, state))

    def parsed(self, parts: Iterable[tuple[np.ndarray, Packed]], count: int, where: Callable[[int], str]) -> Rows:
        """The elements of so many records; `where` says where one of them comes from."""
        groups = (group for numbers, records in parts for group in grouped(records, numbers, where))
        if is_fixed(self.spec):
            return Stacked([frozen(leaf) for leaf in self._leaves(groups, count)], self.structure, count)
        elements: list[Element] = [None] * count
        for group in groups:
            found = self._values(group)
            for row, number in enumerate(group.numbers.tolist()):
                elements[number] = {name: frozen(values[row, ...]) for name, values in found.items()}
        return Listed(elements)

    @cached_property
    def memory(self) -> dict[str, ReusedBlocks]:
        """For the arrays that are large, by feature."""
        return {name: ReusedBlocks() for name, spec in self.spec.items() if spec.dtype == np.uint8}

    def _leaves(self, groups: Iterable[Group], count: int) -> list[np.ndarray]:
        shapes = {name: (count, *spec.shape) for name, spec in self.spec.items()}
        leaves = {
            name: self.memory[name].empty(shape, np.uint8)
            if name in self.memory
            else np.empty(shape, self.spec[name].dtype)
            for name, shape in shapes.items()
        }
        for group in groups:
            where = slice(None) if len(group.numbers) == count else group.numbers
            for name, values in self._values(group).items():
                leaves[name][where] = values
        return list(leaves.values())

    def _values(self, group: Group) -> dict[str, np.ndarray]:
        return {name: values_in(group, name, spec, self.defaults.get(name)) for name, spec in self.spec.items()}


def _packed(records: Iterable[Any]) -> Packed:
    if isinstance(records, Packed):
        return records
    records = list(records)
    other = next((one for one in records if not isinstance(one, bytes)), None)
    if other is not None:
        raise DataError(
            "parse_example takes records, which are bytes",
            given=f"a {type(other).__name__}: {other!r:.60}",
            where="parse_example",
            fix="tfrecord(paths).apply(parse_example(...))",
        )
    return pack(records)


class _ParsingCursor:
    """Parses one record after another. Its state is the input's; a record that failed comes again."""

    def __init__(self, stage: ParsedExamples, inner: Cursor) -> None:
        self.stage, self.inner = stage, inner
        self.before: State = inner.state()
        self.coming: list[Any] = []

    def __next__(self) -> Element:
        if not self.coming:
            self.before = self.inner.state()
            self.coming = [next(self.inner).item()]
        where = self.stage.place_told(self.before)
        element = next(iter(self.stage.parsed([(np.arange(1), _packed(self.coming))], 1, lambda _: where)))
        self.coming = []
        return element

    def state(self) -> State:
        return self.before if self.coming else self.inner.state()
