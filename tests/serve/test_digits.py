"""The digits model for drawings: how a drawing becomes one of the digits that it was trained on."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from aidl_jax.scope import apply
from aidl_jax.serve import load
from aidl_jax.serve.digits import export_digits, from_drawing, mnist_from_drawing
from aidl_jax.train.digit_sets import load_digits
from aidl_jax.train.full_model import MODEL
from aidl_jax.train.state import make_state


def dots(top, left, height, width, side=64):
    image = np.zeros((side, side, 1), np.uint8)
    image[top : top + height, left : left + width] = 255
    return image


@pytest.mark.parametrize(("top", "left", "scale"), [(0, 0, 1), (32, 32, 1), (7, 20, 1), (0, 0, 2)])
def test_where_and_how_large_a_digit_is_drawn_does_not_matter(top, left, scale):
    """A cross of 32 x 32 dots, whose blocks of 4 x 4 are counted by hand."""
    cross = np.zeros((32, 32), np.uint8)
    cross[12:20] = cross[:, 10:22] = 255
    image = np.zeros((64, 64, 1), np.uint8)
    image[top : top + 32 * scale, left : left + 32 * scale, 0] = cross.repeat(scale, 0).repeat(scale, 1)
    counted = np.array(
        [[(cross[y : y + 4, x : x + 4] > 0).sum() / 16 for x in range(0, 32, 4)] for y in range(0, 32, 4)]
    )
    got = from_drawing(image)
    assert got.shape == (8, 8, 1) and got.dtype == np.float32
    np.testing.assert_allclose(got[..., 0], counted, atol=0.04 if scale > 1 else 1e-6)  # between dots it is a mean


def test_a_narrow_digit_stands_in_the_middle():
    got = np.asarray(from_drawing(dots(4, 40, 56, 14)))[..., 0]
    assert (got[:, [0, 1, 2, 5, 6, 7]] == 0).all() and got[1:7, 3:5].min() == 1


def test_nothing_drawn_is_nothing():
    assert not np.asarray(from_drawing(dots(0, 0, 0, 0))).any()


@pytest.mark.parametrize(("top", "left"), [(0, 0), (4, 30)])
def test_a_drawing_as_mnist_has_it(top, left):
    """An L of 20 x 10 blocks of 1 x 1 pixels, each of 3 x 3 dots: its centre of mass, counted by hand, is in the middle."""
    blocks = np.zeros((20, 10))
    blocks[:, :4] = blocks[16:, :] = 1
    rows, columns = (np.average(np.arange(n) + 0.5, weights=blocks.sum(axis)) for n, axis in ((20, 1), (10, 0)))
    image = np.zeros((64, 64, 1), np.uint8)
    image[top : top + 60, left : left + 30, 0] = 255 * blocks.repeat(3, 0).repeat(3, 1)
    got = np.asarray(mnist_from_drawing(image))[..., 0]
    assert got.shape == (28, 28) and got.dtype == np.float32
    np.testing.assert_allclose(got.sum(), blocks.sum(), rtol=1e-4)
    for axis in (0, 1):
        np.testing.assert_allclose(np.average(np.arange(28) + 0.5, weights=got.sum(1 - axis)), 14, atol=0.02)
    first_row, first_column = 14 - rows, 14 - columns  # where the L begins
    assert (got[: int(first_row) - 1] == 0).all() and (got[:, : int(first_column) - 1] == 0).all()
    inside = got[
        int(np.ceil(first_row)) + 1 : int(first_row) + 15, int(np.ceil(first_column)) + 1 : int(first_column) + 3
    ]
    np.testing.assert_allclose(inside, 1, atol=1e-5)


def test_nothing_drawn_is_nothing_to_mnist_either():
    assert not np.asarray(mnist_from_drawing(dots(0, 0, 0, 0))).any()


def test_the_exported_model_takes_drawings(tmp_path):
    digits = load_digits()
    params = make_state(MODEL, _nothing(), jax.random.key(3), digits.train[0][:1]).params
    export_digits(tmp_path / "model.zip", params)
    model = load(tmp_path / "model.zip")
    images = np.stack([dots(4, 40, 56, 14), dots(10, 10, 20, 30)])
    logits = apply(MODEL)(params, {}, np.stack([from_drawing(image) for image in images]))[0]
    np.testing.assert_allclose(model.predict(images), logits, atol=1e-5)
    assert model.manifest.class_names == tuple("0123456789")


def _nothing():
    import optax

    return optax.identity()
