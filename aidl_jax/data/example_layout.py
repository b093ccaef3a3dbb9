"""Examples of one layout, taken apart together.

Records that were written by one program often differ in their values only. Where two have the same length and the same **skeleton**
(all bytes but the values, of which a varint keeps its highest bits) their values stand at the same places, and those of thousands are
columns of one array of bytes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from aidl_jax.data.once import cached_property
from aidl_jax.data.wire import BYTES, FLOATS, INTS, MalformedError, Values, values_of

__all__ = ["Layout", "columns_of", "layout_of"]


VARINTS = re.compile(rb"(?:[\x80-\xff]{0,9}[\x00-\x7f])*")  # whole numbers of at most ten bytes, one after another


@dataclass(frozen=True, eq=False)
class Layout:
    """Where the values of an Example stand.

    Attributes:
        features: by name.
        record: the Example that they were found in.
    """

    features: dict[str, Values]
    record: bytes

    @cached_property
    def skeleton(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The places of its bytes, int64 [m]; which of their bits belong to it, uint8 [m]; and those bits, uint8 [m]."""
        mask = np.full(len(self.record), 255, np.uint8)
        for kind, spans in self.features.values():
            for start, stop in spans:
                mask[start:stop] = 128 if kind == INTS else 0
        places = np.flatnonzero(mask)
        masks = mask[places]
        return places, masks, np.frombuffer(self.record, np.uint8)[places] & masks

    def fits(self, records: np.ndarray) -> np.ndarray:
        """Which records, uint8 [n, bytes], have this layout: bool [n]."""
        places, masks, bits = self.skeleton
        return ((records[:, places] & masks) == bits).all(axis=1)


def layout_of(record: bytes) -> Layout:
    """The layout of one record.

    Raises:
        MalformedError: it is no Example.
    """
    features = values_of(record)
    for name, (kind, spans) in features.items():
        for start, stop in spans if kind == INTS else ():
            if not VARINTS.fullmatch(record, start, stop):
                raise MalformedError(f"the numbers of feature {name!r}, bytes {start} to {stop}, are none")
    return Layout(features, record)


def columns_of(records: np.ndarray, values: Values) -> np.ndarray:
    """The values of a feature of numbers, in records of one layout.

    Args:
        records: uint8 [n, bytes].
        values: where they stand.

    Returns:
        float32 or int64 [n, values].
    """
    parts = [records[:, start:stop] for start, stop in values.spans]
    # no view, which would keep all records in memory
    raw = np.array(parts[0]) if len(parts) == 1 else _together(parts, len(records))
    if values.kind == FLOATS:
        return raw.view("<f4").astype(np.float32, copy=False)
    assert values.kind in (INTS, BYTES)
    return _varints(raw) if raw.shape[1] else np.zeros((len(raw), 0), np.int64)


def _together(parts: list[np.ndarray], count: int) -> np.ndarray:
    return np.concatenate(parts, axis=1) if parts else np.zeros((count, 0), np.uint8)


def _varints(raw: np.ndarray) -> np.ndarray:
    """The numbers in varints that end at the same places in each row: int64 [n, numbers]."""
    ends = np.flatnonzero(raw[0] < 128)
    begins = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - begins + 1
    shifts = 7 * (np.arange(raw.shape[1]) - np.repeat(begins, lengths))
    bits = (raw & 127).astype(np.uint64) << shifts.astype(np.uint64)
    return np.add.reduceat(bits, begins, axis=1).view(np.int64)
