"""The photographs of `examples/make_photographs.py`, and the pipelines over both of their layouts."""

from __future__ import annotations

import runpy
from pathlib import Path

import jax
import numpy as np
import pytest

import aidl_jax.data as data

SCRIPT = runpy.run_path(str(Path(__file__).parents[2] / "examples" / "make_photographs.py"))
FEATURES = {"image/encoded": jax.ShapeDtypeStruct((), object), "image/class/label": jax.ShapeDtypeStruct((), np.int32)}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("photographs")
    SCRIPT["make"](root, 12, shards=3, width=96)
    return root


def test_both_layouts_hold_the_same_images(made: Path) -> None:
    folder, shards = data.image_folder(made / "train"), data.tfrecord(f"{made}/tfrecord/train-*")
    assert len(folder) == len(shards) == 12
    pairs = sorted((image.item(), int(label)) for image, label in folder)
    examples = shards.apply(data.parse_example(FEATURES))
    assert pairs == sorted((one["image/encoded"].item(), int(one["image/class/label"])) for one in examples)
    assert data.image_classes(made / "train")[:2] == ["n00000000", "n00000001"]
    assert "danielbuechele" in (made / "ATTRIBUTION.txt").read_text()


def test_the_same_seed_gives_the_same_files(made: Path, tmp_path: Path) -> None:
    SCRIPT["make"](tmp_path, 12, shards=3, width=96)
    for file in made.rglob("*"):
        assert file.is_dir() or file.read_bytes() == (tmp_path / file.relative_to(made)).read_bytes()


def test_every_image_once_an_epoch_with_its_label(made: Path) -> None:
    dataset = data.image_folder(made / "train").shuffle(seed=4).apply(data.decode_images((32, 32), flip=True)).batch(5)
    for epoch in range(2):
        files = [Path(one.file) for step in range(3) for one in dataset.repeat(2).locate(3 * epoch + step)]
        assert len(set(files)) == 12
    labels = [int(label) for _, some in dataset for label in some]
    assert [f"n{label:08d}" for label in labels] == [
        Path(one.file).parent.name for step in range(3) for one in dataset.locate(step)
    ]


def test_photographs_look_like_photographs(made: Path) -> None:
    """Colours normalised by ImageNet's mean and std are near 0 and 1, and neighbours are alike."""
    (images, _), *_ = data.image_folder(made / "train").apply(data.decode_images((64, 64), "middle")).batch(12)
    assert abs(images.mean()) < 1 and 0.5 < images.std() < 2
    assert np.abs(np.diff(images, axis=1)).mean() < 0.5 * images.std()
