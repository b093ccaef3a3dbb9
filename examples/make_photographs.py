"""Real photographs in ImageNet's two layouts, a folder for each class and TFRecord shards, made from what two packages bring along.

Run: python examples/make_photographs.py photographs --count 256        (needs: pip install 'aidl-jax[images]'; scikit-image if it is there)
Each class is one photograph; its images are parts of it, drawn by a seed and encoded anew. The real ImageNet has the same layout.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from aidl_jax import data

ATTRIBUTION = """\
The images in this folder are parts of these photographs, at other sizes and compressed anew:

n00000000  china.jpg of scikit-learn: Creative Commons Attribution 2.0, see below
n00000001  flower.jpg of scikit-learn: Creative Commons Attribution 2.0, see below
n00000002  astronaut of scikit-image: Eileen Collins, by NASA, public domain
n00000003  coffee of scikit-image: by Rachel Michetti, courtesy of Pikolo Espresso Bar, CC0
n00000004  chelsea of scikit-image: by Stefan van der Walt, CC0

What scikit-learn says of its photographs:

"""
LONGER_SIDE, QUALITY = 500, 90  # as most of ImageNet


def photographs() -> Iterator[np.ndarray]:
    """uint8 [height, width, 3] each; those of scikit-image only where it is installed."""
    from sklearn.datasets import load_sample_images

    yield from load_sample_images().images
    try:
        from skimage import data as images
    except ImportError:
        return
    yield from (images.astronaut(), images.coffee(), images.chelsea())


def part(photograph: np.ndarray, random: np.random.Generator, width: int) -> Image.Image:
    """A part of a photograph, half as large at least, upright or lying, at most `width` wide or high."""
    height, length = photograph.shape[:2]
    share = random.uniform(0.5, 1)
    h, w = int(share * height), int(share * length)
    top, left = random.integers(0, height - h + 1), random.integers(0, length - w + 1)
    image = Image.fromarray(photograph[top : top + h, left : left + w])
    scale = width / max(h, w)
    return image.resize((round(w * scale), round(h * scale)), Image.Resampling.BICUBIC)


def jpeg(image: Image.Image) -> bytes:
    """The bytes of its JPEG file."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=QUALITY)
    return file.getvalue()


def make(root: Path, count: int, shards: int = 4, width: int = LONGER_SIDE, seed: int = 0) -> None:
    """Writes `count` images, as many of each class, into `root/train/<class>/`, and again into `root/tfrecord/`.

    Args:
        root: a folder that is made.
        count: images.
        shards: TFRecord files they are divided over.
        width: of the longer side, in pixels.
        seed: of the parts.
    """
    random, sources, records = np.random.default_rng(seed), list(photographs()), []
    for number in range(count):
        label = number % len(sources)
        name = f"n{label:08d}"
        encoded = jpeg(part(sources[label], random, width))
        file = root / "train" / name / f"{name}_{number}.JPEG"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(encoded)
        features = {"image/encoded": encoded, "image/class/label": label, "image/filename": file.name}
        records.append(data.build_example(features))
    (root / "tfrecord").mkdir(exist_ok=True)
    for shard in range(shards):
        data.write_tfrecord(root / "tfrecord" / f"train-{shard:05d}-of-{shards:05d}", records[shard::shards])
    (root / "ATTRIBUTION.txt").write_text(ATTRIBUTION + theirs())


def theirs() -> str:
    """What scikit-learn ships beside its photographs: who took them, and under which licence."""
    import sklearn.datasets

    return (Path(sklearn.datasets.__file__).parent / "images" / "README.txt").read_text()


def main() -> None:
    parser = argparse.ArgumentParser(description="Makes photographs in ImageNet's layouts.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=256)
    parser.add_argument("--shards", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    make(given.folder, given.count, given.shards, seed=given.seed)
    print(
        f"{given.folder} has {given.count} images, in train/ and again in tfrecord/; see ATTRIBUTION.txt for who took them."
    )


if __name__ == "__main__":
    main()
