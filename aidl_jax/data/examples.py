"""Records of `tf.train.Example` as arrays, by declared features."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from aidl_jax.data.arguments import a_stage
from aidl_jax.data.dataset import Dataset
from aidl_jax.data.elements import Element, Listed, Rows, Stacked, frozen, is_fixed, tell_spec
from aidl_jax.data.example_values import KIND_OF, grouped, values_in
from aidl_jax.data.file_stages import BYTES as RECORD
from aidl_jax.data.file_stages import Streamed, objects
from aidl_jax.data.once import cached_property
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
        records = self.input.rows(at, run).stacked(str(self)).leaves[0].tolist() if len(at) else []
        return self.parsed(records, lambda number: str(self.input.origins(at.only(np.array([number])))[0]))

    def place_told(self, state: State) -> str:
        """Where the record after a state of the input comes from."""
        if isinstance(self.input, Streamed):
            return self.input.place_told(state)
        return f"the record at {state} of {self.input}"

    def walk(self, epoch: int, run: Run, state: State) -> Cursor:
        return _ParsingCursor(self, self.input.cursor(epoch, run, state))

    def parsed(self, records: Sequence[bytes], where: Callable[[int], str]) -> Rows:
        """The elements of records; `where` says where one of them comes from."""
        fixed = is_fixed(self.spec)
        leaves = {name: np.empty((len(records), *spec.shape), spec.dtype) for name, spec in self.spec.items() if fixed}
        elements: list[Element] = [None] * len(records)
        for group in grouped(records, where):
            found = {name: values_in(group, name, spec, self.defaults.get(name)) for name, spec in self.spec.items()}
            for name in leaves:
                leaves[name][group.numbers] = found[name]
            for row, number in enumerate([] if fixed else group.numbers.tolist()):
                elements[number] = {name: frozen(values[row, ...]) for name, values in found.items()}
        if not fixed:
            return Listed(elements)
        return Stacked([frozen(leaf) for leaf in leaves.values()], self.structure, len(records))


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
        element = next(iter(self.stage.parsed(self.coming, lambda _: where)))
        self.coming = []
        return element

    def state(self) -> State:
        return self.before if self.coming else self.inner.state()
