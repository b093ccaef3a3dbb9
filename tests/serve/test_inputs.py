"""Files as examples: what is read from them, against NumPy; what is refused."""

from __future__ import annotations

import io
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from aidl_jax.errors import ServeError
from aidl_jax.serve.inputs import picture, read_examples, takes_pictures


def taking(*shape, dtype="uint8"):
    return SimpleNamespace(shape=shape, dtype=dtype)


GREY, COLOUR, NUMBERS = taking(4, 6, 1), taking(4, 6, 3), taking(3, dtype="float32")


def saved(image, kind="PNG", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def dots(*shape):
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)


def refused(call, *arguments):
    with pytest.raises(ServeError) as told:
        call(*arguments)
    return str(told.value)


def test_a_picture_of_the_models_size_keeps_every_pixel(tmp_path):
    grey, colour = dots(4, 6), dots(4, 6, 3)
    Image.fromarray(grey).save(tmp_path / "a.PNG")
    np.testing.assert_array_equal(read_examples(tmp_path / "a.PNG", GREY), grey[None, :, :, None])
    np.testing.assert_array_equal(picture(saved(Image.fromarray(colour), "BMP"), COLOUR), colour)
    opaque = Image.fromarray(np.concatenate([colour, np.full((4, 6, 1), 255, np.uint8)], axis=2))
    np.testing.assert_array_equal(picture(saved(opaque), COLOUR), colour)


def test_a_colour_picture_is_grey_by_its_luma():
    colour = dots(4, 6, 3)
    luma = colour @ np.array([0.299, 0.587, 0.114])
    assert np.abs(picture(saved(Image.fromarray(colour)), GREY)[..., 0] - luma).max() <= 1


def test_a_picture_of_another_size_is_scaled_and_its_margin_is_its_corner():
    high = np.full((40, 20), 90, np.uint8)
    np.testing.assert_array_equal(picture(saved(Image.fromarray(high)), GREY), np.full((4, 6, 1), 90))
    high[10:30, 5:15] = 250
    fitted = picture(saved(Image.fromarray(high)), GREY)[..., 0]
    assert (fitted[:, [0, 1, 4, 5]] == 90).all() and fitted[1:3, 2:4].min() > 150


def test_a_photo_stands_as_its_camera_says():
    lying = Image.fromarray(dots(6, 4))
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees, clockwise
    got = picture(saved(lying, exif=exif), GREY)
    np.testing.assert_array_equal(got[..., 0], np.rot90(np.asarray(lying), -1))


def test_arrays_and_tables(tmp_path):
    images = dots(5, 4, 6, 1)
    np.save(tmp_path / "all.npy", images)
    np.save(tmp_path / "one.npy", images[0])
    np.testing.assert_array_equal(read_examples(tmp_path / "all.npy", GREY), images)
    np.testing.assert_array_equal(read_examples(tmp_path / "one.npy", GREY), images[:1])
    np.savetxt(tmp_path / "all.csv", images.reshape(5, -1), fmt="%d", delimiter=",")
    np.testing.assert_array_equal(read_examples(tmp_path / "all.csv", GREY), images)
    (tmp_path / "numbers.csv").write_bytes(b"\xef\xbb\xbf1,2.5,-3e2\r\n4,5,6\r\n")
    got = read_examples(tmp_path / "numbers.csv", NUMBERS)
    assert got.dtype == np.float32 and got.tolist() == [[1, 2.5, -300], [4, 5, 6]]


def test_which_models_take_pictures():
    assert takes_pictures(GREY) and takes_pictures(COLOUR)
    assert not any(map(takes_pictures, (NUMBERS, taking(4, 6), taking(4, 6, 2), taking(4, 6, 1, dtype="float32"))))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "this is no picture that can be read: given 0 bytes, UnidentifiedImageError, expected a whole PNG"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "this is no picture that can be read"),
        (saved(Image.fromarray(dots(40, 60)))[:-200], "this is no picture that can be read: given"),
        (saved(Image.fromarray(dots(4, 6).astype(np.uint16))), "the picture is of an unusual kind: given mode I"),
        (
            saved(Image.new("RGBA", (4, 4), (0, 0, 0, 9))),
            "the picture is transparent in places: given transparency, expected an opaque one. Fix: save it on",
        ),
        (
            saved(Image.new("L", (4, 4)), "GIF", save_all=True, append_images=[Image.new("L", (4, 4), 9)]),
            "the picture is of several frames: given 2, expected one. Fix: save the frame that you mean",
        ),
    ],
)
def test_error_pictures(data, words):
    assert refused(picture, data, GREY).startswith(words)


def test_error_a_picture_that_is_too_large_is_not_unpacked(monkeypatch):
    huge = saved(Image.new("1", (6000, 5000)))
    monkeypatch.setattr(Image.Image, "load", None)
    assert refused(picture, huge, GREY) == (
        "the picture is too large: given 6000 x 5000 pixels, expected at most 25,000,000. Fix: scale it"
    )


def test_error_a_model_of_numbers_takes_no_picture():
    assert refused(picture, saved(Image.new("L", (4, 4))), NUMBERS) == (
        "the model takes no pictures: given a picture, expected float32[3]. "
        "Fix: give its examples as .npy, .csv or JSON; a model for pictures is exported with u8[height,width,1 or 3]"
    )


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.txt", b"", "files of this kind are not read: given .txt, expected .png, .jpg, .jpeg, .bmp"),
        ("a.npy", b"", "this is no array that NumPy can read: given "),
        ("a.npy", b"\x80\x04N.", "this is no array that NumPy can read: given "),
        ("a.csv", b"", "the table is empty. Fix: write one example in each row"),
        (
            "a.csv",
            b"1,2,3\n4,5\n",
            "row 2: the row is no example: given 2 columns, expected 3, for float32[3]. Fix: leave",
        ),
        (
            "a.csv",
            b"x,y,z\n1,2,3\n",
            "row 1: the row is no example: given 'x', expected a number for float32. Fix: leave",
        ),
        ("a.csv", b"1,2,nan\n", "row 1: a number is out of range: given nan, expected -3.4"),
        ("a.csv", b"1,2,1e39\n", "row 1: a number is out of range: given 1e+39, expected -3.4"),
        ("a.csv", b"\xff\xfe1", "this is no table in UTF-8: given "),
    ],
)
def test_error_files(tmp_path, name, data, words):
    (tmp_path / name).write_bytes(data)
    assert refused(read_examples, tmp_path / name, NUMBERS).startswith(words)


@pytest.mark.parametrize("cell", ["256", "-1", "1.0"])
def test_error_whole_numbers_are_not_rounded_or_wrapped(tmp_path, cell):
    (tmp_path / "a.csv").write_text(f"1,{cell}\n")
    assert "row 1: " in refused(read_examples, tmp_path / "a.csv", taking(2))
