"""Images: decoded and cropped as Pillow does it, to a tolerance; by positional keys; and what cannot be decoded."""

from __future__ import annotations

import io
import itertools
import json
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from PIL import Image

import aidl_jax.data as data
from aidl_jax.data import Dataset
from aidl_jax.data.ahead import plan_of
from aidl_jax.data.blocks_reused import ReusedBlocks
from aidl_jax.data.crop_boxes import DRAWS, middle_box, random_box, uniforms
from aidl_jax.data.photographs import Box, decode, resized
from aidl_jax.data.stage import At
from aidl_jax.errors import DataError
from aidl_jax.train.stopwatch import Stopwatch, watched

PIXELS = {"mean": None, "std": None}


def picture(seed: int, height: int = 60, width: int = 80) -> Image.Image:
    """Something smooth, as photographs are."""
    small = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def by_pillow(data: bytes, box: Box, size: tuple[int, int]) -> np.ndarray:
    """Bilinear without smoothing, in float32: a filter of Pillow that does the same where nothing is made smaller, else by hand."""
    with Image.open(io.BytesIO(data)) as image:
        pixels = np.asarray(image.convert("RGB"), np.float64)
    part = pixels[box.top : box.top + box.height, box.left : box.left + box.width]
    for axis in (0, 1):
        n = part.shape[axis]
        centres = np.clip((np.arange(size[axis]) + 0.5) * n / size[axis] - 0.5, 0, n - 1)
        low = np.floor(centres).astype(int)
        share = (centres - low).reshape((-1, 1, 1) if axis == 0 else (1, -1, 1))
        part = np.take(part, low, axis) * (1 - share) + np.take(part, np.minimum(low + 1, n - 1), axis) * share
    return part


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("photographs") / "train"
    for number in range(10):
        place = root / f"n{number % 2}" / f"{number}.JPEG"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(encoded(picture(number, 60 + number, 80), quality=90))
    return root


KINDS = [("JPEG", mode) for mode in ("RGB", "L", "CMYK")] + [
    ("PNG", mode) for mode in ("RGB", "L", "1", "P", "RGBA", "I;16")
]


@pytest.mark.parametrize(("kind", "mode"), KINDS)
def test_all_kinds_come_out_as_rgb(kind: str, mode: str) -> None:
    image = picture(0).convert("I" if mode == "I;16" else mode)
    raw = encoded(image.convert("I;16") if mode == "I;16" else image, kind)
    pixels = decode(raw)
    wanted = np.asarray(Image.open(io.BytesIO(raw)).convert("RGB"))
    assert pixels.shape == (60, 80, 3) and pixels.dtype == np.uint8
    assert np.abs(pixels.astype(int) - wanted).max() <= 2  # two versions of libjpeg-turbo


@pytest.mark.parametrize("options", [{"progressive": True}, {"subsampling": 0}, {"subsampling": 1}, {"quality": 30}])
def test_kinds_of_jpeg(options: dict[str, Any]) -> None:
    raw = encoded(picture(1, 61, 83), **options)
    wanted = np.asarray(Image.open(io.BytesIO(raw)))
    assert np.abs(decode(raw).astype(int) - wanted).max() <= 2


@pytest.mark.parametrize("box", [Box(0, 0, 60, 80), Box(7, 11, 33, 41), Box(59, 79, 1, 1), Box(3, 0, 2, 80)])
@pytest.mark.parametrize("size", [(32, 48), (100, 20)])
def test_parts_are_resized_as_by_pillow(box: Box, size: tuple[int, int]) -> None:
    raw = encoded(picture(2))
    np.testing.assert_allclose(resized(decode(raw), box, size), by_pillow(raw, box, size), atol=4)


def test_boxes_are_inside_and_as_large_as_said() -> None:
    random = np.random.default_rng(0)
    areas, ratios, places = [], [], []
    for _ in range(4000):
        box = random_box(375, 500, random.random(DRAWS).tolist())
        assert box.top >= 0 and box.left >= 0 and box.top + box.height <= 375 and box.left + box.width <= 500
        areas.append(box.height * box.width / (375 * 500))
        ratios.append(box.width / box.height)
        places.append(box.left / max(500 - box.width, 1))
    assert 0.078 < min(areas) < 0.1 and 0.95 < max(areas) <= 1
    assert min(ratios) > 0.74 and max(ratios) < 1.35 and abs(np.mean(np.log(ratios))) < 0.05
    np.testing.assert_allclose(np.quantile(places, [0.25, 0.5, 0.75]), [0.25, 0.5, 0.75], atol=0.04)


def test_an_image_too_narrow_for_any_box_gives_its_middle() -> None:
    assert random_box(10, 1000, [1.0] * DRAWS) == Box(0, 493, 10, 13)
    assert random_box(1000, 10, [1.0] * DRAWS) == Box(493, 0, 13, 10)
    assert random_box(100, 100, [0.999999] * DRAWS)[:2] == (0, 0)
    assert middle_box(256, 300) == Box(16, 38, 224, 224) and middle_box(1, 1) == Box(0, 0, 1, 1)


def test_draws_are_those_of_positional_keys() -> None:
    at = At(np.array([0, 2, 2]), np.array([5, 5, 70]))
    for draws, epoch, position in zip(uniforms(7, at), at.epochs, at.positions, strict=True):
        key = jax.random.fold_in(jax.random.fold_in(jax.random.key(7), int(epoch)), int(position))
        np.testing.assert_array_equal(draws, jax.random.uniform(key, (DRAWS,)))


def test_crops_and_flips_are_as_by_pillow(folder: Path) -> None:
    """Whole pipeline: the file, its part, its side, its colours; within 4 of 255 levels."""
    dataset = data.image_folder(folder).apply(data.decode_images((24, 32), flip=True, seed=3))
    draws = uniforms(3, At.span(0, 0, 10))
    flipped = 0
    for position, (image, label) in enumerate(dataset):
        file = Path(dataset.locate(position)[0].file)
        height, width = 60 + int(file.stem), 80
        wanted = by_pillow(file.read_bytes(), random_box(height, width, draws[position].tolist()), (24, 32))
        if draws[position][-1] < 0.5:
            wanted, flipped = wanted[:, ::-1], flipped + 1
        normal = (wanted / 255 - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])
        np.testing.assert_allclose(image, normal, atol=4 / 255 / 0.224)
        assert image.dtype == np.float32 and label == int(file.parent.name[1:])
    assert 0 < flipped < 10


def test_uint8_and_float_are_the_same_picture(folder: Path) -> None:
    source = data.image_folder(folder)
    (pixels, _), *_ = source.apply(data.decode_images((8, 8), "middle", **PIXELS)).batch(10)
    (floats, _), *_ = source.apply(data.decode_images((8, 8), "middle", mean=(0, 0, 0), std=(1, 1, 1))).batch(10)
    assert pixels.dtype == np.uint8
    np.testing.assert_allclose(floats, pixels / np.float32(255), atol=1e-6)


def test_neither_threads_nor_batches_change_a_pixel(folder: Path) -> None:
    def images(threads: int, batch: int) -> np.ndarray:
        made = data.image_folder(folder).apply(
            data.decode_images((8, 8), flip=True, num_parallel_calls=threads, **PIXELS)
        )
        return np.concatenate([image for image, _ in made.repeat(2).batch(batch)])

    first = images(1, 20)
    np.testing.assert_array_equal(first, images(3, 7))
    assert (first[:10] != first[10:]).any()  # another epoch, other crops


def test_every_state_goes_on_to_the_bit(folder: Path) -> None:
    make = lambda: data.image_folder(folder).shuffle(seed=1).apply(data.decode_images((8, 8), flip=True)).batch(4)  # noqa: E731
    iterator, whole = make().iterate(), [image for image, _ in make()]
    for given in range(3):
        rest = [image for image, _ in make().iterate(json.loads(json.dumps(iterator.state())))]
        assert len(rest) == len(whole) - given
        assert all((a == b).all() for a, b in zip(rest, whole[given:], strict=True))
        next(iterator)


def test_batches_that_are_kept_do_not_change(folder: Path) -> None:
    made = data.image_folder(folder).apply(data.decode_images((8, 8))).repeat(6).batch(2)
    kept = list(made)
    copies = [image.copy() for image, _ in made]
    assert all((one[0] == copy).all() for one, copy in zip(kept, copies, strict=True))


def test_blocks_are_used_again_once_nobody_holds_them() -> None:
    blocks = ReusedBlocks()
    first, part = blocks.empty((3, 4), np.float32), None
    place = first.ctypes.data
    assert blocks.empty((3, 4), np.float32).ctypes.data != place
    part = first[1:].reshape(-1)
    del first
    assert blocks.empty((3, 4), np.float32).ctypes.data != place
    del part
    assert blocks.empty((3, 4), np.uint8).dtype == np.uint8
    assert blocks.empty((3, 4), np.float32).ctypes.data == place


def test_images_in_dicts_and_alone(folder: Path, tmp_path: Path) -> None:
    files = sorted(folder.glob("*/*"))
    records = [data.build_example({"image/encoded": file.read_bytes(), "label": int(file.stem)}) for file in files]
    data.write_tfrecord(tmp_path / "shard", records)
    features = {"image/encoded": jax.ShapeDtypeStruct((), object), "label": jax.ShapeDtypeStruct((), np.int32)}
    examples = data.tfrecord(tmp_path / "shard").apply(data.parse_example(features))
    made = examples.apply(data.decode_images((8, 8), image="image/encoded", seed=2, **PIXELS))
    direct = data.image_folder(folder).apply(data.decode_images((8, 8), seed=2, **PIXELS))
    for one, (image, _), file in zip(made, direct, files, strict=True):
        np.testing.assert_array_equal(one["image/encoded"], image)
        assert one["label"] == int(file.stem)
    raw = np.array([file.read_bytes() for file in files], object)
    alone = data.from_tensor_slices(raw).apply(data.decode_images((8, 8), seed=2, **PIXELS))
    assert all((image == other).all() for image, (other, _) in zip(alone, direct, strict=True))


@pytest.mark.parametrize("damage", ["cut", "text", "empty", "png"])
def test_a_corrupt_image_names_its_file(folder: Path, tmp_path: Path, damage: str) -> None:
    raw = encoded(picture(0))
    bad = {"cut": raw[: len(raw) // 2], "text": b"no image", "empty": b"", "png": encoded(picture(0), "PNG")[:90]}[
        damage
    ]
    for name, contents in (("a", raw), ("b", bad), ("c", raw)):
        (tmp_path / "n0").mkdir(exist_ok=True)
        (tmp_path / "n0" / f"{name}.JPEG").write_bytes(contents)
    dataset = data.image_folder(tmp_path).apply(data.decode_images((8, 8)))
    iterator = iter(dataset)
    next(iterator)
    text = rf"{tmp_path}/n0/b.JPEG, epoch 0: the image cannot be decoded: given .*{len(bad)} bytes that begin with .*expected a whole JPEG or PNG"
    for _ in range(2):
        with pytest.raises(DataError, match=text):
            next(iterator)
    with pytest.raises(DataError, match=r"b\.JPEG"):
        list(dataset.batch(3))


def test_what_cannot_be_asked_for(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = data.image_folder(folder)
    with pytest.raises(DataError, match="there is no such crop: given 'centre', expected \"random\""):
        data.decode_images(crop="centre")  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"by a mean and a std together: given mean=None, std=\(0.229"):
        data.decode_images(mean=None)
    with pytest.raises(
        DataError, match=r"takes elements with .*given \(object\[\], int32\[\]\), expected object\[\] at 'x'.*image="
    ):
        source.apply(data.decode_images(image="x"))
    monkeypatch.setitem(sys.modules, "simplejpeg", None)
    with pytest.raises(
        DataError, match=r"images cannot be decoded here: given .*simplejpeg.*pip install 'aidl-jax\[images\]'"
    ):
        data.decode_images()


def test_the_meter_counts_files_as_reading_and_images_as_decoding(folder: Path) -> None:
    ticks = itertools.count()
    watch = Stopwatch(lambda: float(next(ticks)), lambda: 0.0)
    dataset = data.image_folder(folder).apply(data.decode_images((8, 8), num_parallel_calls=3)).batch(5)
    stage = watched(dataset.stage, watch)
    assert len(list(Dataset(stage))) == 2
    seconds = watch.lap()
    assert seconds["read"] > 0 and seconds["decode"] > 0
    assert plan_of(stage, 1).threads == 0  # in one thread while it is measured


def sequential(source: Dataset) -> Dataset:
    return source.filter(lambda image, label: True, python=True)


def test_sequential_datasets_give_the_same_images(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aidl_jax.data.image_cursor.AT_ONCE", 2)
    how = data.decode_images((8, 8), flip=True, seed=5, num_parallel_calls=2)
    wanted = list(data.image_folder(folder).apply(how).repeat(2))
    made = sequential(data.image_folder(folder)).apply(how).repeat(2)
    iterator = made.iterate()
    for given in range(21):
        rest = list(made.iterate(json.loads(json.dumps(iterator.state()))))
        assert len(rest) == 20 - given
        for (image, label), (other, number) in zip(rest, wanted[given:], strict=True):
            assert (image == other).all() and label == number
        next(iterator, None)


def test_a_corrupt_image_of_a_sequential_dataset_comes_after_those_before_it() -> None:
    raw = [encoded(picture(0)), encoded(picture(1)), b"no image", encoded(picture(2))]
    source = data.from_tensor_slices((np.array(raw, object), np.arange(4, dtype=np.int32)))
    iterator = iter(sequential(source).apply(data.decode_images((8, 8), num_parallel_calls=2)))
    assert [int(next(iterator)[1]) for _ in range(2)] == [0, 1]
    for _ in range(2):
        with pytest.raises(DataError, match=r"^position 2 of .*decode_images.*, epoch 0: the image cannot be decoded"):
            next(iterator)


def test_shards_are_interleaved_and_decoded(folder: Path, tmp_path: Path) -> None:
    files = sorted(folder.glob("*/*"))
    for shard in range(2):
        records = [data.build_example({"image": file.read_bytes()}) for file in files[shard::2]]
        data.write_tfrecord(tmp_path / f"{shard}", records, "GZIP")
    shards = data.from_tensor_slices(np.array([str(tmp_path / "0"), str(tmp_path / "1")]))
    records = shards.interleave(lambda name: data.tfrecord(name.item(), "GZIP"), cycle_length=2)
    examples = records.apply(data.parse_example({"image": jax.ShapeDtypeStruct((), np.dtype(object))}))
    images = examples.apply(data.decode_images((8, 8), "middle", image="image", **PIXELS)).batch(10)
    (wanted, _), *_ = data.image_folder(folder).apply(data.decode_images((8, 8), "middle", **PIXELS)).batch(10)
    np.testing.assert_array_equal(next(iter(images))["image"], wanted)
