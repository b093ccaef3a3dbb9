"""A function of a block of rows: the same as row by row, with what is only handed on left alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aidl_jax.data.blocks import compiled_rows, padded_block, rows_made

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 3, 4), np.uint8)
LABELS = np.arange(6, dtype=np.int32)
LEAVES = [IMAGES, LABELS]


def floats(image: Any) -> Any:
    return image.astype(jnp.float32)


SAME_PLACE: dict[str, Callable[[Any, Any], Any]] = {
    "scaled": lambda image, label: floats(image) / 255,
    "chosen": lambda image, label: jnp.where(image > 3, image, 0),
    "rectified": lambda image, label: jax.nn.relu(floats(image) - 100),
    "minus its mean": lambda image, label: floats(image) - floats(image).mean(),
    "minus another image": lambda image, label: floats(image) - np.ones((3, 4), np.float32),
    "times its label": lambda image, label: image * label.astype(jnp.uint8),
    "looked at": lambda image, label: (jax.debug.callback(lambda row: None, image), image * 2)[1],
}
OTHER_PLACES: dict[str, Callable[[Any, Any], Any]] = {
    "flipped": lambda image, label: image[:, ::-1],
    "scaled by column": lambda image, label: floats(image) * np.arange(4, dtype=np.float32),
    "of equal sides, turned": lambda image, label: image[:, :3].T * 2,
    "row after row": lambda image, label: jax.lax.scan(lambda total, row: (total + row, total), image[0], image)[1],
    "nothing": lambda image, label: floats(image)[:0],
    "chosen by its label": lambda image, label: jax.lax.cond(label > 2, lambda: image * 2, lambda: image),
}


def computed(fn: Callable[[Any, Any], Any], leaves: list[np.ndarray]) -> Any:
    return compiled_rows(lambda place, element: fn(*element))((), tuple(leaves))


@pytest.mark.parametrize("fn", [*SAME_PLACE.values(), *OTHER_PLACES.values()], ids=[*SAME_PLACE, *OTHER_PLACES])
def test_a_block_is_what_its_rows_are_one_by_one(fn: Callable[[Any, Any], Any]) -> None:
    made = rows_made(computed(fn, LEAVES), LEAVES, 5)
    wanted = np.stack([fn(jnp.asarray(image), jnp.asarray(label)) for image, label in zip(IMAGES, LABELS, strict=True)])
    assert len(made) == 5 and made.tree.dtype == wanted.dtype and not made.tree.flags.writeable
    np.testing.assert_allclose(made.tree, wanted[:5], rtol=1e-6)


@pytest.mark.parametrize(("fns", "dimensions"), [(SAME_PLACE, 2), (OTHER_PLACES, 3)])
def test_a_row_is_one_line_where_numbers_keep_their_places(fns: dict[str, Any], dimensions: int) -> None:
    for name, fn in fns.items():
        assert jax.tree.leaves(computed(fn, LEAVES))[0].ndim == dimensions, name


def test_what_is_handed_on_does_not_go_through_xla() -> None:
    made = computed(lambda image, label: {"a": label, "b": (image, image * 2), "c": label}, LEAVES)
    assert [leaf.shape for leaf in jax.tree.leaves(made)] == [(6, 12)]
    tree = rows_made(made, LEAVES, 6).tree
    assert np.shares_memory(tree["a"], LABELS) and np.shares_memory(tree["c"], LABELS)
    assert np.shares_memory(tree["b"][0], IMAGES) and not tree["a"].flags.writeable
    np.testing.assert_array_equal(tree["b"][1], IMAGES * 2)


def test_a_row_has_the_same_bits_wherever_it_stands_in_a_block() -> None:
    rows = np.repeat(np.random.default_rng(1).normal(size=(1, 5, 7)).astype(np.float32), 257, axis=0)
    made = computed(lambda row, label: (jnp.exp(row) / 3, jnp.tanh(row) * label), [rows, np.ones(257, np.float32)])
    for leaf in rows_made(made, [rows], 257).leaves:
        assert (leaf.view(np.uint32) == leaf[:1].view(np.uint32)).all()


def test_the_last_row_stands_for_those_that_are_missing() -> None:
    assert padded_block(np.arange(10), 8, 2, 4).tolist() == [8, 9, 9, 9]
    assert padded_block(np.arange(10), 4, 4, 4).tolist() == [4, 5, 6, 7]
