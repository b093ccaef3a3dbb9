"""ImageNet's input pipeline: files that the judge has made up, read, cropped and put in batches where student code runs.

The photographs are made so that an image tells which one it is, and which part of it (`_photographs.py`).
"""

from __future__ import annotations

import functools
import io
import itertools
import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from aidl_jax.course import _photographs as photographs
from aidl_jax.course._photographs import LEVELS, Box, Seen
from aidl_jax.exercise import (
    Draw,
    Exercise,
    Expression,
    Hints,
    Student,
    call,
    drain,
    folder,
    function,
    iterate,
    require,
    static,
)
from aidl_jax.exercise.expressions import wrap

if TYPE_CHECKING:  # wrong answers run where student code runs; these names are there
    import concurrent.futures
    from pathlib import Path

    import jax

    from aidl_jax import data

    MEAN = STD = np.zeros(3)

    def random_crop(*height_width_seeds: Any) -> Any: ...
    def prepare(jpeg: Any, box: Any, mirrored: Any, side: Any) -> Any: ...


READERS = ("image_folder", "image_classes", "decode_images", "readers", "image_stage", "image_folders")
exercise = Exercise(
    "An input pipeline for ImageNet",
    forbidden=["tensorflow", "torch", "grain", "keras", *(f"aidl_jax.data.{name}" for name in READERS)],
)

WIDTH, HEIGHT = 64, 48


def whole_number(answer: Any) -> bool:
    """An int, or one of NumPy's."""
    return type(answer) is int or (isinstance(answer, np.ndarray) and answer.ndim == 0 and answer.dtype.kind in "iu")


def compare_source(
    source: Expression, expected: Sequence[tuple[bytes, int]], where: Sequence[str], files: Iterable[str]
) -> None:
    """A source must have these pairs of bytes and a label."""
    count = call(source[0])
    told = f"{len(expected)}; the folder has {', '.join(sorted(files))}"
    require(
        whole_number(count), "The first part of the pair should be an int, how many images there are.",
        got=repr(count)[:80], expected=told,
    )  # fmt: skip
    require(
        int(count) == len(expected), f"There are {len(expected)} images, not {int(count)}.",
        got=int(count), expected=told,
    )  # fmt: skip
    read_all = function(lambda made: wrap([made[1](static(number)) for number in range(len(expected))]))
    pairs = call(read_all(source))
    for number, (pair, (data, label), name) in enumerate(zip(pairs, expected, where, strict=True)):
        require(
            type(pair) is tuple and len(pair) == 2 and type(pair[0]) is bytes and whole_number(pair[1]),
            f"read({number}) should return a pair: the bytes of the file, and an int.",
            got=[type(part).__name__ for part in pair] if type(pair) in (tuple, list) else type(pair).__name__,
        )
        require(
            pair[0] == data, f"read({number}) should return the bytes of {name}.",
            got=_told(pair[0]), expected=_told(data),
        )  # fmt: skip
        require(
            int(pair[1]) == label, f"The label of {name}, read({number}), is wrong.", got=int(pair[1]), expected=label
        )


def _told(data: bytes) -> str:
    return f"{len(data):,} bytes that end with {data[-8:].hex(' ')}"


# A folder


folder_task = exercise.task(
    "folder_source",
    points=2,
    hints=Hints(
        concept="First list all images, each with its label: the classes in the order of their names, and in each class the files in the order "
        "of theirs. Reading is left for later, to a function inside yours that looks into this list.",
        where="The lesson's section 'A folder of images'. sorted(...) sorts paths by name; enumerate(...) numbers classes from 0. Look at "
        "path.is_dir() before you number them.",
        almost_code="classes = sorted(path for path in Path(root).iterdir() if ...)\n"
        'files = [(path, label) for label, folder in enumerate(...) for path in sorted(folder.glob("*.JPEG"))]\n\n'
        "def read(number):\n    path, label = files[number]\n    return path.read_bytes(), ...\n\nreturn len(files), read",
    ),
)


def drawn_folder(draw: Draw, strangers: bool) -> tuple[dict[str, bytes], list[str], list[int]]:
    """Files of three classes with 2, 4 and 1 images in no order, and what is right: the images' names, their labels."""
    numbers = sorted(draw.permutation(900)[:3].tolist())
    names, labels = [], []
    for label, (number, count) in enumerate(zip(numbers, (2, 4, 1), strict=True)):
        wnid = f"n{1_440_000 + 7 * number:08d}"
        images = sorted((draw.permutation(9_000)[:count] + 1_000).tolist())
        names += [f"{wnid}/{wnid}_{image}.JPEG" for image in images]
        labels += [label] * count
    files = {name: b"\xff\xd8" + name.encode() for name in names}
    if strangers:
        between = names[2].partition("/")[0]
        files |= {f"{between}.licence": b"free", f"{between}/Thumbs.db": b"thumbs"}
    order = draw.permutation(len(files))
    return {list(files)[place]: list(files.values())[place] for place in order}, names, labels


def check_folder(student: Student, draw: Draw, strangers: bool) -> None:
    """Asks for all images of a drawn folder."""
    files, names, labels = drawn_folder(draw, strangers)
    expected = [(files[name], label) for name, label in zip(names, labels, strict=True)]
    compare_source(student.folder_source(folder(files)), expected, names, files)


@folder_task.check
def numbers_classes_by_name(student: Student, draw: Draw) -> None:
    """Three classes of 2, 4 and 1 images: each image has its bytes and its class's number, in the order of the names."""
    check_folder(student, draw, strangers=False)


@folder_task.check
def leaves_other_files_alone(student: Student, draw: Draw) -> None:
    """A licence beside the classes is no class, and Thumbs.db between the images is no image."""
    check_folder(student, draw, strangers=True)


@folder_task.wrong("Your labels begin with 1: the first class in the order of the names is number 0.")
def folders_from_one(root: Any) -> Any:
    classes = sorted(path for path in Path(root).iterdir() if path.is_dir())
    files = [(path, label) for label, one in enumerate(classes, 1) for path in sorted(one.glob("*.JPEG"))]
    return len(files), lambda number: (files[number][0].read_bytes(), files[number][1])


@folder_task.wrong(
    "You made a label of the digits in the folder's name: count the folders instead, in the order of their names."
)
def label_of_the_name(root: Any) -> Any:
    files = sorted(Path(root).glob("*/*.JPEG"))
    return len(files), lambda number: (files[number].read_bytes(), int(files[number].parent.name[1:]))


@folder_task.wrong("You numbered the images: all images of a class have one label, the number of their folder.")
def label_of_each_image(root: Any) -> Any:
    files = sorted(Path(root).glob("*/*.JPEG"))
    return len(files), lambda number: (files[number].read_bytes(), number)


@folder_task.wrong("You numbered the classes by how many images they have: it is the order of their names that counts.")
def classes_by_size(root: Any) -> Any:
    files = sorted(Path(root).glob("*/*.JPEG"))
    parents = [file.parent for file in files]
    classes = sorted(set(parents), key=parents.count)
    return len(files), lambda number: (files[number].read_bytes(), classes.index(parents[number]))


@folder_task.wrong("A file that lies beside the classes got a number: only folders are classes.")
def licence_is_a_class(root: Any) -> Any:
    classes = sorted(Path(root).iterdir())
    files = [(path, label) for label, one in enumerate(classes) for path in sorted(one.glob("*.JPEG"))]
    return len(files), lambda number: (files[number][0].read_bytes(), files[number][1])


@folder_task.wrong("You count every file in a class's folder: an image is what ends in .JPEG.")
def every_file_an_image(root: Any) -> Any:
    classes = sorted(path for path in Path(root).iterdir() if path.is_dir())
    files = [(path, label) for label, one in enumerate(classes) for path in sorted(one.iterdir())]
    return len(files), lambda number: (files[number][0].read_bytes(), files[number][1])


@folder_task.wrong("Your read returns the name of the file: return what is in it, path.read_bytes().")
def path_not_bytes(root: Any) -> Any:
    classes = sorted(path for path in Path(root).iterdir() if path.is_dir())
    files = [(path, label) for label, one in enumerate(classes) for path in sorted(one.glob("*.JPEG"))]
    return len(files), lambda number: (str(files[number][0]), files[number][1])


# Shards


shard_task = exercise.task(
    "shard_source",
    points=2,
    hints=Hints(
        concept="The shards together are one long list of examples with random access. All that is left to do is to take two features out of "
        "one of them, and to bring its label to where labels from the folder are.",
        where="The lesson's section 'The same images in a few large files'. Declare both features: the bytes as "
        "jax.ShapeDtypeStruct((), object), the label as jax.ShapeDtypeStruct((), np.int32).",
        almost_code='features = {"image/encoded": jax.ShapeDtypeStruct((), object), "image/class/label": ...}\n'
        'examples = data.tfrecord(f"{root}/train-*").apply(data.parse_example(features))\n\ndef read(number):\n'
        '    example = examples.element(number)\n    return example["image/encoded"].item(), ...\n\n'
        "return examples.cardinality(), read",
    ),
)


def drawn_shards(draw: Draw, sizes: Sequence[int]) -> tuple[dict[str, bytes], list[tuple[bytes, int]], list[str]]:
    """Shards of these sizes, the pairs that are in them with labels from 0, and where each is."""
    labels: list[int] = draw.integers(0, 1_000, sum(sizes)).tolist()
    pairs = [(b"\xff\xd8" + bytes(draw.integers(0, 256, 6).tolist()), label) for label in labels]
    records = [
        photographs.example({"image/class/label": label + 1, "image/encoded": data, "image/filename": b"1.JPEG"})
        for data, label in pairs
    ]
    ends = list(itertools.accumulate(sizes))
    names = [f"train-{number:05d}-of-{len(sizes):05d}" for number in range(len(sizes))]
    starts = [end - size for end, size in zip(ends, sizes, strict=True)]
    files = {name: photographs.tfrecord(records[a:b]) for name, a, b in zip(names, starts, ends, strict=True)}
    where = [f"record {number} of {name}" for name, size in zip(names, sizes, strict=True) for number in range(size)]
    return files, pairs, where


@shard_task.check
def reads_one_shard(student: Student, draw: Draw) -> None:
    """One shard of five images: each has its bytes, and its label counted from 0."""
    files, pairs, where = drawn_shards(draw, [5])
    compare_source(student.shard_source(folder(files)), pairs, where, files)


@shard_task.check
def reads_all_shards(student: Student, draw: Draw) -> None:
    """Shards of 3, 1 and 2 images: all six, in the order of the shards' names."""
    files, pairs, where = drawn_shards(draw, [3, 1, 2])
    compare_source(student.shard_source(folder(files)), pairs, where, files)


@shard_task.wrong(
    "In the shards labels are counted from 1, and yours still are: take 1 away, so that both sources agree."
)
def background_kept(root: Any) -> Any:
    features = {
        "image/encoded": jax.ShapeDtypeStruct((), object),
        "image/class/label": jax.ShapeDtypeStruct((), np.int32),
    }
    examples = data.tfrecord(f"{root}/train-*").apply(data.parse_example(features))

    def read(number: Any) -> Any:
        example = examples.element(number)
        return example["image/encoded"].item(), example["image/class/label"].item()

    return examples.cardinality(), read


@shard_task.wrong("You read only the first shard; the images are in all of them together.")
def first_shard_only(root: Any) -> Any:
    features = {
        "image/encoded": jax.ShapeDtypeStruct((), object),
        "image/class/label": jax.ShapeDtypeStruct((), np.int32),
    }
    first = sorted(Path(root).glob("train-*"))[0]
    examples = data.tfrecord(first).apply(data.parse_example(features))

    def read(number: Any) -> Any:
        example = examples.element(number)
        return example["image/encoded"].item(), example["image/class/label"].item() - 1

    return examples.cardinality(), read


@shard_task.wrong("The last shard is lost: range(a, b) and [a:b] end before b.")
def last_shard_lost(root: Any) -> Any:
    features = {
        "image/encoded": jax.ShapeDtypeStruct((), object),
        "image/class/label": jax.ShapeDtypeStruct((), np.int32),
    }
    paths = sorted(Path(root).glob("train-*"))
    examples = data.tfrecord(paths[:-1] or paths).apply(data.parse_example(features))

    def read(number: Any) -> Any:
        example = examples.element(number)
        return example["image/encoded"].item(), example["image/class/label"].item() - 1

    return examples.cardinality(), read


@shard_task.wrong("You took the shards for equally long, and counted the images of one times the number of shards.")
def shards_of_one_size(root: Any) -> Any:
    features = {
        "image/encoded": jax.ShapeDtypeStruct((), object),
        "image/class/label": jax.ShapeDtypeStruct((), np.int32),
    }
    paths = sorted(Path(root).glob("train-*"))
    parsed = [data.tfrecord(path).apply(data.parse_example(features)) for path in paths]
    size: Any = parsed[0].cardinality()

    def read(number: Any) -> Any:
        example = parsed[number // size].element(number % size)
        return example["image/encoded"].item(), example["image/class/label"].item() - 1

    return size * len(paths), read


# Another part each time


crop_task = exercise.task(
    "random_crop",
    points=3,
    hints=Hints(
        concept="Draw how large the part is and what shape it has, compute its sides, and only then its place: there is room for as many places as "
        "the image is wider, or higher, than the part, and one more.",
        where="The lesson's section 'Another part each time', steps 1 to 3. rng.integers(n + 1) draws from 0 to n, so a part that is as wide as "
        "the image has one place, 0. int(...) and bool(...) make Python's own of NumPy's numbers.",
        almost_code="rng = np.random.default_rng(seeds)\nmirrored = bool(rng.random() < 0.5)\nfor _ in range(10):\n"
        "    area, ratio = rng.uniform(0.08, 1) * height * width, rng.uniform(3 / 4, 4 / 3)\n    w, h = round(...), round(...)\n"
        "    if 0 < w <= width and ...:\n        left, top = int(rng.integers(width - w + 1)), int(rng.integers(...))\n"
        "        return (left, top, ..., ...), mirrored\nreturn (0, 0, width, height), mirrored",
    ),
)

CROPS = 48  # of which are asked for at once
SAME_CROP = "The same part came for every list of seeds: make the generator of `seeds`, np.random.default_rng(seeds)."


def crops(student: Student, height: int, width: int, seeds: Sequence[Sequence[int]]) -> list[tuple[Box, bool]]:
    """Parts for these seeds, each of them inside of the image."""
    asked = wrap([student.random_crop(static(height), static(width), static(list(one))) for one in seeds])
    got = call(asked)
    for one, crop in zip(seeds, got, strict=True):
        require(
            type(crop) is tuple and len(crop) == 2 and type(crop[0]) is tuple and len(crop[0]) == 4
            and all(map(whole_number, crop[0])) and _is_bool(crop[1]),
            "It should return a pair: a tuple of four ints, and a bool.", got=repr(crop)[:120],
        )  # fmt: skip
        left, top, right, bottom = crop[0]
        require(
            0 <= left < right <= width and 0 <= top < bottom <= height,
            f"A part of an image of height {height} and width {width} is not inside of it, or empty (seeds {list(one)}).",
            got=f"(left, top, right, bottom) = {tuple(map(int, crop[0]))}",
            expected=f"0 <= left < right <= {width} and 0 <= top < bottom <= {height}",
        )
    return [((int(a), int(b), int(c), int(d)), bool(mirrored)) for (a, b, c, d), mirrored in got]


def _is_bool(answer: Any) -> bool:
    return type(answer) is bool or (isinstance(answer, np.ndarray) and answer.shape == () and answer.dtype == bool)


def seeds_of(draw: Draw, count: int = CROPS) -> list[list[int]]:
    """[seed, epoch, position] of the images at the beginning of two epochs."""
    seed = draw.seed()
    return [[seed, epoch, position] for epoch in (0, 1) for position in range(count // 2)]


@crop_task.check
def is_inside_of_the_image(student: Student, draw: Draw) -> None:
    """Left, top, right and bottom lie inside of the image, however wide, high or small it is, and the part is not empty."""
    for height, width in ((375, 500), (500, 333), (40, 400), (400, 40), (3, 2), (1, 1)):
        crops(student, height, width, seeds_of(draw, 16))


@crop_task.check
def is_nearly_square_and_large_enough(student: Student, draw: Draw) -> None:
    """It has 8 % to 100 % of the area, and is 3/4 to 4/3 as wide as high, up to rounding."""
    height, width = 375, 500
    for (left, top, right, bottom), _ in crops(student, height, width, seeds_of(draw)):
        w, h = right - left, bottom - top
        if (w, h) == (width, height):
            continue
        area, ratio = w * h / (height * width), w / h
        require(
            0.078 <= area <= 1, "A part is too small.", got=f"{area:.1%} of the image's area", expected="8 % to 100 %"
        )
        require(
            0.735 <= ratio <= 1.36,
            "A part is too wide or too high.",
            got=f"{w} wide, {h} high, a ratio of {ratio:.2f}",
            expected="0.75 to 1.33",
        )


@crop_task.check
def is_drawn_from_the_seeds(student: Student, draw: Draw) -> None:
    """Another list of seeds draws another part, large or small, anywhere; the same list the same one."""
    height, width = 375, 500
    seeds = seeds_of(draw)
    found = crops(student, height, width, seeds)
    require(len(set(found)) > 1, SAME_CROP, got=found[0])
    both = [a == b for a, b in zip(found[: CROPS // 2], found[CROPS // 2 :], strict=True)]
    require(not all(both), "The parts are the same in epoch 1 as in epoch 0: all of `seeds` counts.", got=found[:2])
    areas = [(right - left) * (bottom - top) / (height * width) for (left, top, right, bottom), _ in found]
    require(
        min(areas) < 0.35 and max(areas) > 0.5,
        "The parts are all about as large: draw an area between 8 % and 100 %.",
        got=f"{min(areas):.0%} to {max(areas):.0%} of the image in {CROPS} draws",
    )
    for side, edges in (("left", [(left, right, width) for (left, _, right, _), _ in found]),
                        ("top", [(top, bottom, height) for (_, top, _, bottom), _ in found])):  # fmt: skip
        room = [start / (size - end + start) for start, end, size in edges if size - end + start > 40]
        require(
            min(room) < 0.45 and max(room) > 0.55,
            f"The parts stand all in the same place: draw `{side}` from all that leave the part inside.",
            got=f"{side} = {[start for start, _, _ in edges[:6]]} in the first draws",
        )


@crop_task.check
def mirrors_every_other_time(student: Student, draw: Draw) -> None:
    """About half of the images are mirrored, whatever their part is."""
    found = crops(student, 375, 500, seeds_of(draw))
    count = sum(mirrored for _, mirrored in found)
    require(
        CROPS // 8 <= count <= CROPS - CROPS // 8,
        "About half of the images should be mirrored.",
        got=f"{count} of {CROPS}",
    )


@crop_task.wrong(
    "A part may stand out of the image: `left` goes from 0 to width - w, so that left + w is at most width."
)
def out_of_range(height: Any, width: Any, seeds: Any) -> Any:
    rng = np.random.default_rng(seeds)
    mirrored = bool(rng.random() < 0.5)
    for _ in range(10):
        area, ratio = rng.uniform(0.08, 1) * height * width, rng.uniform(3 / 4, 4 / 3)
        w, h = round((area * ratio) ** 0.5), round((area / ratio) ** 0.5)
        if 0 < w <= width and 0 < h <= height:
            left, top = int(rng.integers(width)), int(rng.integers(height))
            return (left, top, left + w, top + h), mirrored
    return (0, 0, width, height), mirrored


@crop_task.wrong("You returned left, top, width and height; asked for are left, top, right and bottom.")
def width_and_height(height: Any, width: Any, seeds: Any) -> Any:
    rng = np.random.default_rng(seeds)
    mirrored = bool(rng.random() < 0.5)
    for _ in range(10):
        area, ratio = rng.uniform(0.08, 1) * height * width, rng.uniform(3 / 4, 4 / 3)
        w, h = round((area * ratio) ** 0.5), round((area / ratio) ** 0.5)
        if 0 < w <= width and 0 < h <= height:
            left, top = int(rng.integers(width - w + 1)), int(rng.integers(height - h + 1))
            return (left, top, w, h), mirrored
    return (0, 0, width, height), mirrored


@crop_task.wrong(
    "Height and width have changed places: left and right go along the width, top and bottom along the height."
)
def transposed(height: Any, width: Any, seeds: Any) -> Any:
    rng = np.random.default_rng(seeds)
    mirrored = bool(rng.random() < 0.5)
    for _ in range(10):
        area, ratio = rng.uniform(0.08, 1) * height * width, rng.uniform(3 / 4, 4 / 3)
        w, h = round((area * ratio) ** 0.5), round((area / ratio) ** 0.5)
        if 0 < w <= width and 0 < h <= height:
            left, top = int(rng.integers(width - w + 1)), int(rng.integers(height - h + 1))
            return (top, left, top + h, left + w), mirrored
    return (0, 0, height, width), mirrored


@crop_task.wrong("The last draw is taken though it does not fit: after ten draws, take the whole image.")
def taken_though_it_does_not_fit(height: Any, width: Any, seeds: Any) -> Any:
    rng = np.random.default_rng(seeds)
    mirrored = bool(rng.random() < 0.5)
    left = top = w = h = 0
    for _ in range(10):
        area, ratio = rng.uniform(0.08, 1) * height * width, rng.uniform(3 / 4, 4 / 3)
        w, h = round((area * ratio) ** 0.5), round((area / ratio) ** 0.5)
        if 0 < w <= width and 0 < h <= height:
            left, top = int(rng.integers(width - w + 1)), int(rng.integers(height - h + 1))
            break
    return (left, top, left + w, top + h), mirrored


@crop_task.wrong(
    "You drew the two sides, each for itself: the part may be a thin stripe. Draw an area and a ratio, and compute the sides."
)
def sides_for_themselves(height: Any, width: Any, seeds: Any) -> Any:
    rng = np.random.default_rng(seeds)
    mirrored = bool(rng.random() < 0.5)
    w, h = int(rng.integers(1, width + 1)), int(rng.integers(1, height + 1))
    left, top = int(rng.integers(width - w + 1)), int(rng.integers(height - h + 1))
    return (left, top, left + w, top + h), mirrored


@crop_task.wrong("You always take the part in the middle: draw where it stands, too.")
def in_the_middle(height: Any, width: Any, seeds: Any) -> Any:
    rng = np.random.default_rng(seeds)
    mirrored = bool(rng.random() < 0.5)
    for _ in range(10):
        area, ratio = rng.uniform(0.08, 1) * height * width, rng.uniform(3 / 4, 4 / 3)
        w, h = round((area * ratio) ** 0.5), round((area / ratio) ** 0.5)
        if 0 < w <= width and 0 < h <= height:
            left, top = (width - w) // 2, (height - h) // 2
            return (left, top, left + w, top + h), mirrored
    return (0, 0, width, height), mirrored


@crop_task.wrong(SAME_CROP)
def one_generator_for_all(height: Any, width: Any, seeds: Any) -> Any:
    rng = np.random.default_rng(0)
    mirrored = bool(rng.random() < 0.5)
    for _ in range(10):
        area, ratio = rng.uniform(0.08, 1) * height * width, rng.uniform(3 / 4, 4 / 3)
        w, h = round((area * ratio) ** 0.5), round((area / ratio) ** 0.5)
        if 0 < w <= width and 0 < h <= height:
            left, top = int(rng.integers(width - w + 1)), int(rng.integers(height - h + 1))
            return (left, top, left + w, top + h), mirrored
    return (0, 0, width, height), mirrored


@crop_task.wrong(
    "You added the seeds up: epoch 0, position 1 draws the same part as epoch 1, position 0. Hand over the list."
)
def seeds_added_up(height: Any, width: Any, seeds: Any) -> Any:
    rng = np.random.default_rng(sum(seeds[::2]))
    mirrored = bool(rng.random() < 0.5)
    for _ in range(10):
        area, ratio = rng.uniform(0.08, 1) * height * width, rng.uniform(3 / 4, 4 / 3)
        w, h = round((area * ratio) ** 0.5), round((area / ratio) ** 0.5)
        if 0 < w <= width and 0 < h <= height:
            left, top = int(rng.integers(width - w + 1)), int(rng.integers(height - h + 1))
            return (left, top, left + w, top + h), mirrored
    return (0, 0, width, height), mirrored


@crop_task.wrong("No image is mirrored: draw a bool, rng.random() < 0.5.")
def never_mirrored(height: Any, width: Any, seeds: Any) -> Any:
    rng = np.random.default_rng(seeds)
    rng.random()
    for _ in range(10):
        area, ratio = rng.uniform(0.08, 1) * height * width, rng.uniform(3 / 4, 4 / 3)
        w, h = round((area * ratio) ** 0.5), round((area / ratio) ** 0.5)
        if 0 < w <= width and 0 < h <= height:
            left, top = int(rng.integers(width - w + 1)), int(rng.integers(height - h + 1))
            return (left, top, left + w, top + h), False
    return (0, 0, width, height), False


# From bytes to numbers


prepare_task = exercise.task(
    "prepare",
    points=3,
    hints=Hints(
        concept="Decode, cut and resize, mirror, normalise, in this order. A picture's columns are the second axis of its array.",
        where="The lesson's section 'From bytes to numbers'. Pillow's resize takes the box; pixels[:, ::-1] turns the columns around; MEAN and STD "
        "have three numbers and broadcast along the last axis. They belong to colours in [0, 1].",
        almost_code='image = Image.open(io.BytesIO(jpeg)).convert("RGB")\n'
        "pixels = np.asarray(image.resize((side, side), Image.Resampling.BILINEAR, box=...))\n"
        "pixels = pixels[...] if mirrored else pixels\nreturn (pixels.astype(np.float32) / ... - MEAN) / ...",
    ),
)

SIDE = 12


def drawn_box(draw: Draw) -> Box:
    """A part of a photograph that leaves something over on every side."""
    width, height = draw.integers(20, 45).item(), draw.integers(16, 35).item()
    left, top = draw.integers(3, WIDTH - width - 2).item(), draw.integers(3, HEIGHT - height - 2).item()
    return left, top, left + width, top + height


def prepared(student: Student, jpeg: bytes, box: Box, mirrored: bool, side: int = SIDE) -> np.ndarray:
    """What was made of a part, float32 [side, side, 3]."""
    got = call(student.prepare(static(jpeg), static(box), static(mirrored), static(side)))
    return held_to(got, (side, side, 3), "It should return")


def held_to(got: Any, shape: tuple[int, ...], what: str) -> np.ndarray:
    """A float32 array of this shape, of finite numbers."""
    is_array = isinstance(got, np.ndarray)
    require(is_array, f"{what} a NumPy array.", got=type(got).__name__)
    asked = f"float32 of shape {shape}"
    require(
        got.dtype == np.float32 and got.shape == shape, f"{what} {asked}.",
        got=f"{got.dtype.name} of shape {got.shape}", expected=asked,
    )  # fmt: skip
    require(np.isfinite(got).all(), f"{what} numbers, and one is not finite.")
    return np.asarray(got)


def compare_colours(got: np.ndarray, colours: np.ndarray, message: str) -> None:
    """Normalised colours, up to what compression and resizing may do."""
    wanted = photographs.normalised(colours)
    off = np.abs(got - wanted) * photographs.STD * 255
    at = tuple(map(int, np.unravel_index(off.argmax(), off.shape)))
    require(
        off.max() <= LEVELS, message,
        got=f"{got[at]:.3f} at [{at[0]}, {at[1]}, {at[2]}]; from {got.min():.2f} to {got.max():.2f} in all",
        expected=f"{wanted[at]:.3f}, within {LEVELS:g} of 255 levels; from {wanted.min():.2f} to {wanted.max():.2f} in all",
    )  # fmt: skip


@prepare_task.check
def decodes_and_normalises(student: Student, draw: Draw) -> None:
    """The whole image at another size: red, green and blue, scaled to [0, 1], less MEAN, divided by STD."""
    number, whole = draw.integers(0, 14).item(), (0, 0, WIDTH, HEIGHT)
    got = prepared(student, photographs.jpeg(photographs.photograph(number)), whole, False)
    compare_colours(got, photographs.part(number, whole, False, SIDE), "The colours of the whole image are wrong.")


@prepare_task.check
def cuts_the_part_out(student: Student, draw: Draw) -> None:
    """A part of the image fills all that comes back, at any size."""
    number, box = draw.integers(0, 14).item(), drawn_box(draw)
    jpeg = photographs.jpeg(photographs.photograph(number))
    for side in (SIDE, 20):
        got = prepared(student, jpeg, box, False, side)
        compare_colours(got, photographs.part(number, box, False, side), "These are not the colours of this part.")


@prepare_task.check
def mirrors_left_and_right(student: Student, draw: Draw) -> None:
    """Mirrored, what was on the left is on the right, and what was on top stays there."""
    number, box = draw.integers(0, 14).item(), drawn_box(draw)
    got = prepared(student, photographs.jpeg(photographs.photograph(number)), box, True)
    compare_colours(got, photographs.part(number, box, True, SIDE), "These are not the colours of this part, mirrored.")


@prepare_task.check
def a_gray_photograph_has_three_colours(student: Student, draw: Draw) -> None:
    """A gray JPEG comes out with red, green and blue alike."""
    number, whole = draw.integers(0, 14).item(), (0, 0, WIDTH, HEIGHT)
    gray = photographs.photograph(number)[..., 0]
    got = prepared(student, photographs.jpeg(gray), whole, False)
    red = photographs.part(number, whole, False, SIDE)[..., :1]
    compare_colours(got, np.repeat(red, 3, axis=-1), "The colours of a gray image are wrong.")


@prepare_task.wrong("You forgot to scale: MEAN and STD belong to colours in [0, 1]. Divide by 255 first.")
def not_scaled(jpeg: Any, box: Any, mirrored: Any, side: Any) -> Any:
    image = Image.open(io.BytesIO(jpeg)).convert("RGB")
    pixels = np.asarray(image.resize((side, side), Image.Resampling.BILINEAR, box=box), np.float32)
    return ((pixels[:, ::-1] if mirrored else pixels) - MEAN) / STD


@prepare_task.wrong("The colours are in [0, 1] and not normalised: subtract MEAN, then divide by STD.")
def not_normalised(jpeg: Any, box: Any, mirrored: Any, side: Any) -> Any:
    image = Image.open(io.BytesIO(jpeg)).convert("RGB")
    pixels = np.asarray(image.resize((side, side), Image.Resampling.BILINEAR, box=box), np.float32)
    return (pixels[:, ::-1] if mirrored else pixels) / 255


@prepare_task.wrong("You normalised twice: less MEAN, divided by STD, and then both again.")
def normalised_twice(jpeg: Any, box: Any, mirrored: Any, side: Any) -> Any:
    image = Image.open(io.BytesIO(jpeg)).convert("RGB")
    pixels = np.asarray(image.resize((side, side), Image.Resampling.BILINEAR, box=box), np.float32)
    return (((pixels[:, ::-1] if mirrored else pixels) / 255 - MEAN) / STD - MEAN) / STD


@prepare_task.wrong("Red and blue have changed places: the order is red, green, blue.")
def blue_green_red(jpeg: Any, box: Any, mirrored: Any, side: Any) -> Any:
    image = Image.open(io.BytesIO(jpeg)).convert("RGB")
    pixels = np.asarray(image.resize((side, side), Image.Resampling.BILINEAR, box=box), np.float32)[..., ::-1]
    return ((pixels[:, ::-1] if mirrored else pixels) / 255 - MEAN) / STD


@prepare_task.wrong("The colours come first, [3, side, side]; here they come last, [side, side, 3].")
def colours_first(jpeg: Any, box: Any, mirrored: Any, side: Any) -> Any:
    image = Image.open(io.BytesIO(jpeg)).convert("RGB")
    pixels = np.asarray(image.resize((side, side), Image.Resampling.BILINEAR, box=box), np.float32)
    return (((pixels[:, ::-1] if mirrored else pixels) / 255 - MEAN) / STD).transpose(2, 0, 1)


@prepare_task.wrong("You brought the whole image to its size, whatever the box: cut the part out.")
def not_cut(jpeg: Any, box: Any, mirrored: Any, side: Any) -> Any:
    image = Image.open(io.BytesIO(jpeg)).convert("RGB")
    pixels = np.asarray(image.resize((side, side), Image.Resampling.BILINEAR), np.float32)
    return ((pixels[:, ::-1] if mirrored else pixels) / 255 - MEAN) / STD


@prepare_task.wrong("You took the box for (top, left, bottom, right); it is (left, top, right, bottom).")
def box_of_rows_and_columns(jpeg: Any, box: Any, mirrored: Any, side: Any) -> Any:
    image = Image.open(io.BytesIO(jpeg)).convert("RGB")
    top, left, bottom, right = box if box != (0, 0, *image.size) else (0, 0, image.height, image.width)
    pixels = np.asarray(image.crop((left, top, right, bottom)).resize((side, side)), np.float32)
    return ((pixels[:, ::-1] if mirrored else pixels) / 255 - MEAN) / STD


@prepare_task.wrong(
    "You turned the image upside down: pixels[::-1] turns the rows around, pixels[:, ::-1] the columns."
)
def upside_down(jpeg: Any, box: Any, mirrored: Any, side: Any) -> Any:
    image = Image.open(io.BytesIO(jpeg)).convert("RGB")
    pixels = np.asarray(image.resize((side, side), Image.Resampling.BILINEAR, box=box), np.float32)
    return ((pixels[::-1] if mirrored else pixels) / 255 - MEAN) / STD


@prepare_task.wrong("`mirrored` is not looked at: where it is true, left and right change places.")
def mirrored_ignored(jpeg: Any, box: Any, mirrored: Any, side: Any) -> Any:
    image = Image.open(io.BytesIO(jpeg)).convert("RGB")
    pixels = np.asarray(image.resize((side, side), Image.Resampling.BILINEAR, box=box), np.float32)
    return (pixels / 255 - MEAN) / STD


@prepare_task.wrong('A gray image has no third axis, and this does not do for it: convert("RGB") gives it one.')
def gray_forgotten(jpeg: Any, box: Any, mirrored: Any, side: Any) -> Any:
    image = Image.open(io.BytesIO(jpeg))
    pixels = np.asarray(image.resize((side, side), Image.Resampling.BILINEAR, box=box), np.float32)
    return ((pixels[:, ::-1] if mirrored else pixels)[:, :, :3] / 255 - MEAN) / STD


# Batches, for ever


batches_task = exercise.task(
    "image_batches",
    points=5,
    needs=["random_crop", "prepare"],
    hints=Hints(
        concept="Write a function of one number, the image's place in the whole run, that makes the finished image and its label. Epoch and position follow "
        "from that number, and all chance from these two. A batch is this function on the next few numbers, and the state is the next number.",
        where="The lesson's section 'Batches, for ever'. divmod(number, count) is the pair of epoch and position. np.stack makes one array of a list of "
        "images; np.array(labels, np.int32) one of labels. zip(*pairs) makes two tuples of many pairs.",
        almost_code="count, read = source\n\ndef example(number):\n    epoch, position = divmod(number, count)\n"
        "    order = np.random.default_rng([seed, epoch]).permutation(count)\n    jpeg, label = read(int(order[...]))\n"
        "    box, mirrored = random_crop(*size_of(jpeg), [...])\n    return prepare(jpeg, box, mirrored, side), label\n\n"
        "done = 0 if state is None else state\nwhile True:\n    images, labels = zip(*map(example, range(done, ...)))\n"
        "    done += batch_size\n    yield (np.stack(images), np.array(labels, np.int32)), done",
    ),
)

COUNT, BATCH = 10, 4  # no batch ends where the first epoch does
EPOCHS = 3
SMALL = 8
SAME_ORDER = "Each epoch comes in the same order: draw it from the seed and the epoch's number."
SAME_PARTS = "An image shows the same part in each epoch: the epoch belongs to the seeds of random_crop."
NOT_ALL = "An image came twice in an epoch, or not at all: go through an order of all images, a permutation, and draw none anew."

Batch = tuple[np.ndarray, np.ndarray, Any]


@functools.cache
def _files() -> list[bytes]:
    return [photographs.jpeg(photographs.photograph(number, WIDTH, HEIGHT)) for number in range(COUNT)]


def drawn_source(draw: Draw) -> tuple[list[bytes], list[int]]:
    """Files of photographs 0, 1, ..., and a label for each, no two alike."""
    return _files(), draw.permutation(1_000)[:COUNT].tolist()


def batches(
    student: Student, files: list[bytes], labels: list[int], seed: int, count: int, state: Any = None
) -> list[Batch]:
    """So many batches, each held to what is told of it; states have been through JSON."""
    read = static(dict(enumerate(zip(files, labels, strict=True)))).get
    source = (static(len(files)), read)
    asked = student.image_batches(source, static(SMALL), static(BATCH), static(seed), static(state))
    outputs = iterate(asked, count).outputs
    require(
        len(outputs) == count, "The batches came to an end; they should come for ever.", got=f"{len(outputs)} batches"
    )
    found = []
    for output in outputs:
        is_pair = type(output) is tuple and len(output) == 2 and type(output[0]) is tuple and len(output[0]) == 2
        require(is_pair, "It should yield a pair: a batch, itself a pair of arrays, and a state.", got=_kinds(output))
        (images, numbers), after = output
        held_to(images, (BATCH, SMALL, SMALL, 3), "A batch's images should be")
        is_labels = isinstance(numbers, np.ndarray) and numbers.dtype == np.int32 and numbers.shape == (BATCH,)
        told = f"{numbers.dtype.name} of shape {numbers.shape}" if isinstance(numbers, np.ndarray) else _kinds(numbers)
        require(is_labels, f"A batch's labels should be int32 of shape ({BATCH},).", got=told)
        found.append((images, numbers, through_json(after)))
    return found


def _kinds(output: Any) -> str:
    name = type(output).__name__
    return f"{name} of {', '.join(type(part).__name__ for part in output)}" if type(output) in (tuple, list) else name


def through_json(state: Any) -> Any:
    """A state as it comes back from a file."""
    try:
        return json.loads(json.dumps(state, allow_nan=False))
    except (TypeError, ValueError):
        require(False, "A state should be made of ints, strs, None, lists and dicts, so that JSON can hold it. "
                "int(...) makes Python's own of one of NumPy's.", got=repr(state)[:200])  # fmt: skip


def seen_in(found: list[Batch], labels: list[int]) -> list[Seen]:
    """What the images of batches show; each must be a part of a photograph, and have that one's label."""
    seen = [photographs.look(image) for images, _, _ in found for image in images]
    given = [int(label) for _, numbers, _ in found for label in numbers]
    for place, (one, label) in enumerate(zip(seen, given, strict=True)):
        where = f"image {place % BATCH} of batch {place // BATCH}"
        known = 0 <= one.number < COUNT and one.error <= LEVELS
        require(known, f"The colours of {where} are those of no part of an image: is it prepared, and once only?")
        require(label == labels[one.number], f"The label of {where} is that of another image.", got=label, expected=labels[one.number])  # fmt: skip
        left, top, right, bottom = one.box
        inside = left > -1.5 and top > -1.5 and right < WIDTH + 1.5 and bottom < HEIGHT + 1.5
        require(inside, f"The part that {where} shows is not inside of its photograph.", got=one.box)
    return seen


def epochs_in(seen: list[Seen]) -> list[list[Seen]]:
    """Images in lists of `COUNT`; what is left over is left out."""
    return [seen[start : start + COUNT] for start in range(0, len(seen) - COUNT + 1, COUNT)]


def orders(seen: list[Seen]) -> list[list[int]]:
    """Which photographs came in each epoch."""
    return [[one.number for one in epoch] for epoch in epochs_in(seen)]


@batches_task.check
def pairs_images_with_their_labels(student: Student, draw: Draw) -> None:
    """Full batches of float32 images and int32 labels; each image is a prepared part of a photograph, and has its label."""
    files, labels = drawn_source(draw)
    seen_in(batches(student, files, labels, draw.seed(), EPOCHS), labels)


@batches_task.check
def each_image_once_an_epoch(student: Student, draw: Draw) -> None:
    """In each epoch every image comes once, and no epoch has the order of another one, nor that of the source."""
    files, labels = drawn_source(draw)
    found = orders(seen_in(batches(student, files, labels, draw.seed(), -(-EPOCHS * COUNT // BATCH)), labels))
    for number, order in enumerate(found):
        require(sorted(order) == list(range(COUNT)), NOT_ALL, got=f"images {order} in epoch {number}")
    require(found[0] != list(range(COUNT)), "The images come in the order of the source: shuffle them.", got=found[0])
    require(found[0] != found[1], SAME_ORDER, got=found[0])
    together = set.intersection(
        *({pair for pair in itertools.pairwise(order) if pair[1] == pair[0] + 1} for order in found)
    )
    require(
        len(together) < 3,
        "Some images stand side by side in each epoch, as they do in the source: shuffle images, not batches of them.",
        got=f"images {found[0]} in epoch 0, {found[1]} in epoch 1",
    )


@batches_task.check
def the_seed_decides(student: Student, draw: Draw) -> None:
    """The same seed gives the same batches, bit for bit, another seed another order."""
    files, labels = drawn_source(draw)
    seed = draw.seed()
    once, again, other = (batches(student, files, labels, one, 3) for one in (seed, seed, seed + 1))
    same = all((a[0] == b[0]).all() and (a[1] == b[1]).all() for a, b in zip(once, again, strict=True))
    require(same, "The same seed gave two different runs: draw all chance from the seed, the epoch and the position.")
    one, two = (orders(seen_in(found, labels))[0] for found in (once, other))
    require(one != two, "Every seed gives the same order: the seed decides it, too.", got=one)


@batches_task.check
def another_part_each_time(student: Student, draw: Draw) -> None:
    """An image shows another part in each epoch, the images of an epoch show different ones, and some are mirrored."""
    files, labels = drawn_source(draw)
    seen = seen_in(batches(student, files, labels, draw.seed(), -(-EPOCHS * COUNT // BATCH)), labels)
    by_number = [sorted(epoch, key=lambda one: one.number) for epoch in epochs_in(seen)]
    for first, second in itertools.pairwise(by_number):
        changed = sum(_differ(a, b) for a, b in zip(first, second, strict=True))
        require(
            changed > COUNT // 2, SAME_PARTS, got=f"{changed} of {COUNT} images show another part than an epoch before"
        )
    changed = sum(_differ(a, b) for a, b in itertools.pairwise(seen))
    require(
        changed > len(seen) // 2, "All images show the same part: the position belongs to the seeds of random_crop.",
        got=f"{changed} of {len(seen)} images show another part than the one before them",
    )  # fmt: skip
    for count, what in ((sum(one.mirrored for one in seen), "mirrored"), (sum(not one.mirrored for one in seen), "as it was")):  # fmt: skip
        require(count, f"No image of {len(seen)} is {what}: hand on what random_crop draws.")


def _differ(one: Seen, other: Seen) -> bool:
    return max(abs(a - b) for a, b in zip(one.box, other.box, strict=True)) > 2


@batches_task.check
def goes_on_from_every_state(student: Student, draw: Draw) -> None:
    """From each state that was saved the same batches come, bit for bit, as would have come."""
    files, labels = drawn_source(draw)
    seed = draw.seed()
    whole = batches(student, files, labels, seed, 7)
    for done, (_, _, state) in enumerate(whole[:5], start=1):
        rest = batches(student, files, labels, seed, 2, state)
        for expected, got in zip(whole[done : done + 2], rest, strict=True):
            told = f"Stopped after {done} batch{'es' * (done > 1)} of {BATCH}, with the state {state}, it went on "
            require(
                (expected[1] == got[1]).all(), told + "with other images.",
                got=f"labels {got[1].tolist()}", expected=f"labels {expected[1].tolist()}",
            )  # fmt: skip
            require((expected[0] == got[0]).all(), told + "with the same images, but other parts of them.")


@batches_task.check
def keeps_the_state_small(student: Student, draw: Draw) -> None:
    """The state stays as small as it was at the beginning."""
    files, labels = drawn_source(draw)
    sizes = [len(json.dumps(state)) for _, _, state in batches(student, files, labels, draw.seed(), 20)]
    require(
        sizes[-1] <= sizes[0] + 12 and max(sizes) <= 300,
        "The state grows with the run: keep where one is, not what came out.",
        got=f"{sizes[0]} characters after the first batch, {sizes[-1]} after 20",
    )


@batches_task.wrong(
    "Labels and images are in different orders: shuffle places, and read image and label of the same one."
)
def labels_not_shuffled(source: Any, side: Any, batch_size: Any, seed: Any, state: Any) -> Any:
    count, read = source
    done = state or 0
    while True:
        images, labels = [], []
        for number in range(done, done + batch_size):
            epoch, position = divmod(number, count)
            order = np.random.default_rng([seed, epoch]).permutation(count)
            jpeg = read(int(order[position]))[0]
            box, mirrored = random_crop(*Image.open(io.BytesIO(jpeg)).size[::-1], [seed, epoch, position])
            images.append(prepare(jpeg, box, mirrored, side))
            labels.append(read(position)[1])
        done += batch_size
        yield (np.stack(images), np.array(labels, np.int32)), done


@batches_task.wrong(
    "Each epoch ends with a batch that is too small: let a batch begin in one epoch and end in the next."
)
def short_at_the_end(source: Any, side: Any, batch_size: Any, seed: Any, state: Any) -> Any:
    count, read = source
    done = state or 0
    while True:
        images, labels = [], []
        for number in range(done, min(done + batch_size, (done // count + 1) * count)):
            epoch, position = divmod(number, count)
            order = np.random.default_rng([seed, epoch]).permutation(count)
            jpeg, label = read(int(order[position]))
            box, mirrored = random_crop(*Image.open(io.BytesIO(jpeg)).size[::-1], [seed, epoch, position])
            images.append(prepare(jpeg, box, mirrored, side))
            labels.append(label)
        done += len(images)
        yield (np.stack(images), np.array(labels, np.int32)), done


@batches_task.wrong(
    "The images at the end of each epoch, too few for a batch, are lost: let a batch end in the next epoch."
)
def remainder_dropped(source: Any, side: Any, batch_size: Any, seed: Any, state: Any) -> Any:
    count, read = source
    done = state or 0
    while True:
        images, labels = [], []
        for number in range(done, done + batch_size):
            epoch, position = divmod(number, count)
            order = np.random.default_rng([seed, epoch]).permutation(count)
            jpeg, label = read(int(order[position]))
            box, mirrored = random_crop(*Image.open(io.BytesIO(jpeg)).size[::-1], [seed, epoch, position])
            images.append(prepare(jpeg, box, mirrored, side))
            labels.append(label)
        done += batch_size
        done += count - done % count if count - done % count < batch_size else 0
        yield (np.stack(images), np.array(labels, np.int32)), done


@batches_task.wrong(NOT_ALL)
def drawn_anew(source: Any, side: Any, batch_size: Any, seed: Any, state: Any) -> Any:
    count, read = source
    done = state or 0
    while True:
        images, labels = [], []
        for number in range(done, done + batch_size):
            epoch, position = divmod(number, count)
            order = np.random.default_rng([seed, number]).integers(count, size=count)
            jpeg, label = read(int(order[position]))
            box, mirrored = random_crop(*Image.open(io.BytesIO(jpeg)).size[::-1], [seed, epoch, position])
            images.append(prepare(jpeg, box, mirrored, side))
            labels.append(label)
        done += batch_size
        yield (np.stack(images), np.array(labels, np.int32)), done


@batches_task.wrong("The images come in the order of the source: shuffle them.")
def not_shuffled(source: Any, side: Any, batch_size: Any, seed: Any, state: Any) -> Any:
    count, read = source
    done = state or 0
    while True:
        images, labels = [], []
        for number in range(done, done + batch_size):
            epoch, position = divmod(number, count)
            order = range(count)
            jpeg, label = read(int(order[position]))
            box, mirrored = random_crop(*Image.open(io.BytesIO(jpeg)).size[::-1], [seed, epoch, position])
            images.append(prepare(jpeg, box, mirrored, side))
            labels.append(label)
        done += batch_size
        yield (np.stack(images), np.array(labels, np.int32)), done


@batches_task.wrong(
    "You shuffled batches instead of images: what stands side by side in the source stays in one batch, always."
)
def batches_shuffled(source: Any, side: Any, batch_size: Any, seed: Any, state: Any) -> Any:
    count, read = source
    done = state or 0
    while True:
        images, labels = [], []
        for number in range(done, done + batch_size):
            epoch, position = divmod(number, count)
            starts = np.random.default_rng([seed, epoch]).permutation(-(-count // batch_size)) * batch_size
            order = [n for start in starts for n in range(start, min(start + batch_size, count))]
            jpeg, label = read(int(order[position]))
            box, mirrored = random_crop(*Image.open(io.BytesIO(jpeg)).size[::-1], [seed, epoch, position])
            images.append(prepare(jpeg, box, mirrored, side))
            labels.append(label)
        done += batch_size
        yield (np.stack(images), np.array(labels, np.int32)), done


@batches_task.wrong(SAME_ORDER)
def same_order(source: Any, side: Any, batch_size: Any, seed: Any, state: Any) -> Any:
    count, read = source
    done = state or 0
    while True:
        images, labels = [], []
        for number in range(done, done + batch_size):
            epoch, position = divmod(number, count)
            order = np.random.default_rng([seed]).permutation(count)
            jpeg, label = read(int(order[position]))
            box, mirrored = random_crop(*Image.open(io.BytesIO(jpeg)).size[::-1], [seed, epoch, position])
            images.append(prepare(jpeg, box, mirrored, side))
            labels.append(label)
        done += batch_size
        yield (np.stack(images), np.array(labels, np.int32)), done


@batches_task.wrong("Every seed gives the same order: the seed decides it, too.")
def seed_not_used(source: Any, side: Any, batch_size: Any, seed: Any, state: Any) -> Any:
    count, read = source
    done = state or 0
    while True:
        images, labels = [], []
        for number in range(done, done + batch_size):
            epoch, position = divmod(number, count)
            order = np.random.default_rng([epoch]).permutation(count)
            jpeg, label = read(int(order[position]))
            box, mirrored = random_crop(*Image.open(io.BytesIO(jpeg)).size[::-1], [epoch, position])
            images.append(prepare(jpeg, box, mirrored, side))
            labels.append(label)
        done += batch_size
        yield (np.stack(images), np.array(labels, np.int32)), done


@batches_task.wrong(SAME_PARTS)
def same_parts(source: Any, side: Any, batch_size: Any, seed: Any, state: Any) -> Any:
    count, read = source
    done = state or 0
    while True:
        images, labels = [], []
        for number in range(done, done + batch_size):
            epoch, position = divmod(number, count)
            order = np.random.default_rng([seed, epoch]).permutation(count)
            jpeg, label = read(int(order[position]))
            box, mirrored = random_crop(*Image.open(io.BytesIO(jpeg)).size[::-1], [seed, int(order[position])])
            images.append(prepare(jpeg, box, mirrored, side))
            labels.append(label)
        done += batch_size
        yield (np.stack(images), np.array(labels, np.int32)), done


@batches_task.wrong("All images of an epoch show the same part: the position belongs to the seeds of random_crop.")
def one_part_for_all(source: Any, side: Any, batch_size: Any, seed: Any, state: Any) -> Any:
    count, read = source
    done = state or 0
    while True:
        images, labels = [], []
        for number in range(done, done + batch_size):
            epoch, position = divmod(number, count)
            order = np.random.default_rng([seed, epoch]).permutation(count)
            jpeg, label = read(int(order[position]))
            box, mirrored = random_crop(*Image.open(io.BytesIO(jpeg)).size[::-1], [seed, epoch])
            images.append(prepare(jpeg, box, mirrored, side))
            labels.append(label)
        done += batch_size
        yield (np.stack(images), np.array(labels, np.int32)), done


@batches_task.wrong("No image is mirrored: hand on what random_crop draws.")
def never_handed_on(source: Any, side: Any, batch_size: Any, seed: Any, state: Any) -> Any:
    count, read = source
    done = state or 0
    while True:
        images, labels = [], []
        for number in range(done, done + batch_size):
            epoch, position = divmod(number, count)
            order = np.random.default_rng([seed, epoch]).permutation(count)
            jpeg, label = read(int(order[position]))
            box, _ = random_crop(*Image.open(io.BytesIO(jpeg)).size[::-1], [seed, epoch, position])
            images.append(prepare(jpeg, box, False, side))
            labels.append(label)
        done += batch_size
        yield (np.stack(images), np.array(labels, np.int32)), done


@batches_task.wrong("The images are normalised twice: prepare has done it already.")
def normalised_again(source: Any, side: Any, batch_size: Any, seed: Any, state: Any) -> Any:
    count, read = source
    done = state or 0
    while True:
        images, labels = [], []
        for number in range(done, done + batch_size):
            epoch, position = divmod(number, count)
            order = np.random.default_rng([seed, epoch]).permutation(count)
            jpeg, label = read(int(order[position]))
            box, mirrored = random_crop(*Image.open(io.BytesIO(jpeg)).size[::-1], [seed, epoch, position])
            images.append(((prepare(jpeg, box, mirrored, side) - MEAN) / STD).astype(np.float32))
            labels.append(label)
        done += batch_size
        yield (np.stack(images), np.array(labels, np.int32)), done


@batches_task.wrong(
    "The batch that was done comes once more: the state that is yielded with a batch counts it as done."
)
def batch_again(source: Any, side: Any, batch_size: Any, seed: Any, state: Any) -> Any:
    count, read = source
    done = state or 0
    while True:
        images, labels = [], []
        for number in range(done, done + batch_size):
            epoch, position = divmod(number, count)
            order = np.random.default_rng([seed, epoch]).permutation(count)
            jpeg, label = read(int(order[position]))
            box, mirrored = random_crop(*Image.open(io.BytesIO(jpeg)).size[::-1], [seed, epoch, position])
            images.append(prepare(jpeg, box, mirrored, side))
            labels.append(label)
        done += batch_size
        yield (np.stack(images), np.array(labels, np.int32)), done - batch_size


@batches_task.wrong(
    "A batch is left out where it goes on: the state says which image is next, not which one comes after a batch."
)
def batch_left_out(source: Any, side: Any, batch_size: Any, seed: Any, state: Any) -> Any:
    count, read = source
    done = state or 0
    while True:
        images, labels = [], []
        for number in range(done, done + batch_size):
            epoch, position = divmod(number, count)
            order = np.random.default_rng([seed, epoch]).permutation(count)
            jpeg, label = read(int(order[position]))
            box, mirrored = random_crop(*Image.open(io.BytesIO(jpeg)).size[::-1], [seed, epoch, position])
            images.append(prepare(jpeg, box, mirrored, side))
            labels.append(label)
        done += batch_size
        yield (np.stack(images), np.array(labels, np.int32)), done + batch_size


@batches_task.wrong("The state is not looked at: it always begins with the first batch of epoch 0.")
def begins_again(source: Any, side: Any, batch_size: Any, seed: Any, state: Any) -> Any:
    count, read = source
    done = 0
    while True:
        images, labels = [], []
        for number in range(done, done + batch_size):
            epoch, position = divmod(number, count)
            order = np.random.default_rng([seed, epoch]).permutation(count)
            jpeg, label = read(int(order[position]))
            box, mirrored = random_crop(*Image.open(io.BytesIO(jpeg)).size[::-1], [seed, epoch, position])
            images.append(prepare(jpeg, box, mirrored, side))
            labels.append(label)
        done += batch_size
        yield (np.stack(images), np.array(labels, np.int32)), done


@batches_task.wrong("The state does not say which epoch it was: it goes on at that place of epoch 0.")
def epoch_forgotten(source: Any, side: Any, batch_size: Any, seed: Any, state: Any) -> Any:
    count, read = source
    done = state or 0
    while True:
        images, labels = [], []
        for number in range(done, done + batch_size):
            epoch, position = divmod(number, count)
            order = np.random.default_rng([seed, epoch]).permutation(count)
            jpeg, label = read(int(order[position]))
            box, mirrored = random_crop(*Image.open(io.BytesIO(jpeg)).size[::-1], [seed, epoch, position])
            images.append(prepare(jpeg, box, mirrored, side))
            labels.append(label)
        done += batch_size
        yield (np.stack(images), np.array(labels, np.int32)), done % count


@batches_task.wrong(
    "The parts are drawn by how many images came since it went on, not by where they come: use epoch and position."
)
def parts_counted_from_there(source: Any, side: Any, batch_size: Any, seed: Any, state: Any) -> Any:
    count, read = source
    done = begin = state or 0
    while True:
        images, labels = [], []
        for number in range(done, done + batch_size):
            epoch, position = divmod(number, count)
            order = np.random.default_rng([seed, epoch]).permutation(count)
            jpeg, label = read(int(order[position]))
            box, mirrored = random_crop(*Image.open(io.BytesIO(jpeg)).size[::-1], [seed, number - begin])
            images.append(prepare(jpeg, box, mirrored, side))
            labels.append(label)
        done += batch_size
        yield (np.stack(images), np.array(labels, np.int32)), done


# How fast


FILES, SPEED_BATCH, SPEED_BATCHES = 32, 32, 4


def reference_source(root: Any) -> Any:
    classes = sorted(path for path in Path(root).iterdir() if path.is_dir())
    files = [(path, label) for label, one in enumerate(classes) for path in sorted(one.glob("*.JPEG"))]
    return len(files), lambda number: (files[number][0].read_bytes(), files[number][1])


def reference_batches(source: Any, side: Any, batch_size: Any, seed: Any, state: Any) -> Any:
    count, read = source
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    scale, shift = (1 / (255 * std)).astype(np.float32), (-mean / std).astype(np.float32)

    def part(width: Any, height: Any, rng: Any) -> Any:
        for _ in range(10):
            area, ratio = rng.uniform(0.08, 1) * height * width, rng.uniform(3 / 4, 4 / 3)
            w, h = round((area * ratio) ** 0.5), round((area / ratio) ** 0.5)
            if 0 < w <= width and 0 < h <= height:
                left, top = int(rng.integers(width - w + 1)), int(rng.integers(height - h + 1))
                return left, top, left + w, top + h
        return 0, 0, width, height

    def example(number: Any, out: Any) -> Any:
        epoch, position = divmod(number, count)
        rng = np.random.default_rng([seed, epoch, position])
        order = np.random.default_rng([seed, epoch]).permutation(count)
        jpeg, label = read(int(order[position]))
        image = Image.open(io.BytesIO(jpeg)).convert("RGB")
        box, mirrored = part(image.width, image.height, rng), rng.random() < 0.5
        pixels = np.asarray(image.resize((side, side), Image.Resampling.BILINEAR, box=box))
        np.multiply(pixels[:, ::-1] if mirrored else pixels, scale, out=out)
        np.add(out, shift, out=out)
        return label

    done = state or 0
    with concurrent.futures.ThreadPoolExecutor() as pool:
        while True:
            images = np.empty((batch_size, side, side, 3), np.float32)
            labels = list(pool.map(example, range(done, done + batch_size), images))
            done += batch_size
            yield (images, np.array(labels, np.int32)), done


@exercise.speed(
    "images",
    SPEED_BATCHES * SPEED_BATCH,
    reference={"folder_source": reference_source, "image_batches": reference_batches},
)
def images_per_second(student: Student) -> Expression:
    """Batches of 32 images of 224 x 224, from a folder of JPEG files of 500 x 375."""
    files = photographs.textured(FILES)
    root = folder({f"n{number % 4}/{number}.JPEG": file for number, file in enumerate(files)})
    source = student.folder_source(root)
    return drain(student.image_batches)(
        static(SPEED_BATCHES), source, static(224), static(SPEED_BATCH), static(0), static(None)
    )
