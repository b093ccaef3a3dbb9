"""The exercise `s06_full_model/imagenet`: its made-up files are real ones, what an image shows can be read off it, and the solution agrees with `aidl_jax.data`."""

from __future__ import annotations

import functools
import io
import itertools
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from solved import solved

from aidl_jax import data
from aidl_jax.course import _photographs as photographs
from aidl_jax.exercise.course import open_course
from aidl_jax.grade.children import Start
from aidl_jax.grade.extract import Cell
from aidl_jax.grade.judge import judge
from aidl_jax.grade.process import Processes
from aidl_jax.grade.session import Session

NAME = "s06_full_model/imagenet"
SIDE = 12


solution = functools.partial(solved, NAME)


def files(root: Path) -> Path:
    """Photographs in three classes, and again in two shards."""
    for number in range(7):
        path = root / "train" / f"n{number % 3}" / f"{number}.JPEG"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(photographs.jpeg(photographs.photograph(number)))
    found = [(image.item(), int(label)) for image, label in data.image_folder(root / "train")]
    records = [photographs.example({"image/class/label": label + 1, "image/encoded": image}) for image, label in found]
    for shard in range(2):
        (root / f"train-{shard}").write_bytes(photographs.tfrecord(records[4 * shard : 4 * shard + 4]))
    return root


@pytest.mark.parametrize("label", [0, 1, 127, 128, 1_000])
def test_made_up_examples_are_those_that_the_library_builds(label: int) -> None:
    features = {"image/class/label": label, "image/encoded": bytes(range(256)) * 3}
    assert photographs.example(features) == data.build_example(features)


def test_made_up_shards_are_those_that_the_library_writes(tmp_path: Path) -> None:
    records = [b"", b"one", bytes(300)]
    data.write_tfrecord(tmp_path / "shard", records)
    assert photographs.tfrecord(records) == (tmp_path / "shard").read_bytes()


@pytest.mark.parametrize("kind", [Image.Resampling.BILINEAR, Image.Resampling.NEAREST, Image.Resampling.BICUBIC])
def test_what_an_image_shows_can_be_read_off_it(kind: Image.Resampling) -> None:
    random = np.random.default_rng(0)
    for number, mirrored in itertools.product(range(14), (False, True)):
        width, height = int(random.integers(14, 65)), int(random.integers(14, 49))
        left, top = int(random.integers(65 - width)), int(random.integers(49 - height))
        box = (left, top, left + width, top + height)
        with Image.open(io.BytesIO(photographs.jpeg(photographs.photograph(number)))) as image:
            pixels = np.asarray(image.resize((SIDE, SIDE), kind, box=box), np.float64)
        seen = photographs.look(photographs.normalised(pixels[:, ::-1] if mirrored else pixels))
        assert (seen.number, seen.mirrored) == (number, mirrored)
        np.testing.assert_allclose(seen.box, box, atol=1)
        assert seen.error < photographs.LEVELS


def test_what_is_no_part_of_a_photograph_is_seen() -> None:
    outside = Image.fromarray(photographs.photograph(3)).crop((-20, 10, 30, 40)).resize((SIDE, SIDE))
    assert photographs.look(photographs.normalised(np.asarray(outside, np.float64))).error > 2 * photographs.LEVELS


def test_both_sources_are_the_folder_that_the_library_reads(tmp_path: Path) -> None:
    root = files(tmp_path)
    expected = [(image.item(), int(label)) for image, label in data.image_folder(root / "train")]
    for source in (solution()["folder_source"](str(root / "train")), solution()["shard_source"](str(root))):
        count, read = source
        assert [read(number) for number in range(count)] == expected


def test_the_solution_prepares_as_the_library_does() -> None:
    wide = np.repeat(np.repeat(photographs.photograph(5), 4, axis=0), 4, axis=1)
    jpeg = photographs.jpeg(wide)
    made = data.from_tensor_slices(np.array([jpeg], object)).apply(data.decode_images((SIDE, SIDE), crop="none"))
    pytest.importorskip("cv2")
    (theirs,) = made
    mine = solution()["prepare"](jpeg, (0, 0, 256, 192), False, SIDE)
    assert (
        np.abs(theirs - mine).max() * 0.225 * 255 < 12
    )  # theirs is resized without smoothing, and the image has steps of 4


def test_every_image_comes_once_an_epoch_from_either_source(tmp_path: Path) -> None:
    root = files(tmp_path)
    both = []
    for source in (solution()["folder_source"](str(root / "train")), solution()["shard_source"](str(root))):
        batches = solution()["image_batches"](source, SIDE, 4, 3, None)
        both.append([batch for batch, _ in itertools.islice(batches, 7)])
    for (images, labels), (again, same) in zip(*both, strict=True):
        np.testing.assert_array_equal(images, again)
        np.testing.assert_array_equal(labels, same)
    numbers = [photographs.look(image).number for images, _ in both[0] for image in images]
    assert [int(label) for _, labels in both[0] for label in labels] == [number % 3 for number in numbers]
    for epoch in range(4):
        assert sorted(numbers[7 * epoch : 7 * epoch + 7]) == list(range(7))


def test_the_answer_that_others_are_measured_beside_is_right(start: Start) -> None:
    exercise = open_course().exercise(NAME)
    assert exercise.measure is not None
    cells = [Cell(f"reference {number}", text) for number, text in enumerate(exercise.measure.reference)]
    whole = Cell("solution.py", open_course().solution(NAME).read_text(encoding="utf-8"))
    with Session([whole, *cells], exercise, Processes(start)) as session:
        assert judge(NAME, exercise, session, seed=0, draws=1).points == exercise.points


def test_the_screen_shows_what_it_was_called_with_and_no_bytes(start: Start) -> None:
    whole = open_course().solution(NAME).read_text(encoding="utf-8")
    wrong = "def prepare(jpeg, box, mirrored, side):\n    return np.zeros((side, side, 3), np.float32)\n"
    exercise = open_course().exercise(NAME)
    with Session([Cell("solution.py", whole), Cell("wrong.py", wrong)], exercise, Processes(start)) as session:
        (record,) = judge(NAME, exercise, session, seed=0, only="prepare", draws=1).tasks
    assert record.failure is not None
    assert record.failure.call == "prepare(jpeg, box, mirrored, side)"
    (_, jpeg), *others = record.failure.inputs
    assert jpeg.endswith("bytes that begin with b'\\xff\\xd8\\xff\\xe0\\x00\\x10JFIF\\x00\\x01'")
    assert others == [["box", "(0, 0, 64, 48)"], ["mirrored", "False"], ["side", "12"]]
