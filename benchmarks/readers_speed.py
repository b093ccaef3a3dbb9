"""How fast files arrive: this module beside tf.data, Grain, PyTorch's DataLoader and array_record; and where an image pipeline's time goes.

Run: .venv/bin/python benchmarks/readers_speed.py [--rounds 3] > benchmarks/results/readers_speed.md    (extras: bench, images)
Photographs are those of `examples/make_photographs.py`, 500 pixels wide or high; records are random. Every library runs in a process of
its own, one after another, round after round, and goes through its data once before it is timed. PyTorch and Grain have no JPEG
decoder: they are given this module's, and PyTorch as many processes as there are cores. A peer that is not installed is left out.
"""

from __future__ import annotations

import argparse
import json
import os
import runpy
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from data_speed import installed, per_second, run_rounds, table, versions
from image_bottlenecks import lines_of

IMAGES, RECORDS, LINES, BATCH = 512, 100_000, 1_000_000, 256
FEWER = 5_000  # records, for whom one takes long
PICTURES = 64  # in a batch of photographs
FOLDER = Path(os.environ.get("AIDL_READERS_FOLDER", ""))
CORES = len(os.sched_getaffinity(0))
Lines = Iterator[tuple[str, str, Callable[[], float]]]


def write(folder: Path) -> None:
    """All files that are read."""
    from aidl_jax import data

    random = np.random.default_rng(0)
    script = Path(__file__).parents[1] / "examples" / "make_photographs.py"
    runpy.run_path(str(script))["make"](folder, IMAGES)
    records = [random.bytes(1024) for _ in range(RECORDS)]
    data.write_tfrecord(folder / "records", records)
    if installed("array_record"):
        from array_record.python.array_record_module import ArrayRecordWriter

        writer = ArrayRecordWriter(str(folder / "array_record"), "group_size:1,uncompressed")
        for record in records:
            writer.write(record)
        writer.close()
    write_examples(folder, random)
    (folder / "lines").write_text("".join(f"line {number} has some more words in it\n" for number in range(LINES)))


def write_examples(folder: Path, random: np.random.Generator) -> None:
    """Examples of 784 bytes, a label and 20 floats; and such whose bytes differ in length."""
    from aidl_jax import data

    def example(number: int, size: int) -> bytes:
        weights = random.normal(size=20).astype(np.float32)
        return data.build_example({"image": random.bytes(size), "label": number % 10, "weights": weights})

    data.write_tfrecord(folder / "fixed", (example(n, 784) for n in range(RECORDS)))
    data.write_tfrecord(folder / "varying", (example(n, 600 + int(random.integers(400))) for n in range(RECORDS // 2)))


def files() -> tuple[list[str], list[int]]:
    paths = sorted(map(str, (FOLDER / "train").glob("*/*")))
    return paths, [int(Path(path).parent.name[1:]) for path in paths]


def ours() -> Lines:
    import jax

    from aidl_jax import data

    spec = jax.ShapeDtypeStruct
    photographs = data.image_folder(FOLDER / "train").shuffle()
    decoded = photographs.apply(data.decode_images(flip=True)).batch(PICTURES)
    small = photographs.apply(data.decode_images(flip=True, mean=None, std=None)).batch(PICTURES)
    features = {"label": spec((), np.int32), "weights": spec((20,), np.float32)}
    fixed, varying = data.tfrecord(FOLDER / "fixed"), data.tfrecord(FOLDER / "varying")
    as_array = fixed.apply(data.parse_example(features | {"image": spec((784,), np.uint8)})).batch(BATCH)
    as_bytes = fixed.apply(data.parse_example(features | {"image": spec((), object)})).batch(BATCH)
    differing = varying.apply(data.parse_example(features | {"image": spec((), object)})).batch(BATCH)
    records, lines = data.tfrecord(FOLDER / "records").batch(BATCH), data.text_lines(FOLDER / "lines").batch(BATCH)
    yield "jpeg", "aidl_jax", lambda: per_second(lambda: decoded, IMAGES)
    yield "jpeg", "aidl_jax, left as uint8", lambda: per_second(lambda: small, IMAGES)
    yield "tfrecord", "aidl_jax, CRC checked", lambda: per_second(lambda: records, RECORDS)
    yield "example", "aidl_jax, bytes as an array", lambda: per_second(lambda: as_array, RECORDS)
    yield "example", "aidl_jax", lambda: per_second(lambda: as_bytes, RECORDS)
    yield "varying", "aidl_jax", lambda: per_second(lambda: differing, RECORDS // 2)
    yield "text", "aidl_jax", lambda: per_second(lambda: lines, LINES)


def tf_data() -> Lines:
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import tensorflow as tf

    auto, mean, std = tf.data.AUTOTUNE, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]

    def decode(path: Any, label: Any) -> Any:
        contents = tf.io.read_file(path)
        begin, size, _ = tf.image.sample_distorted_bounding_box(
            tf.io.extract_jpeg_shape(contents), tf.zeros([1, 0, 4]), min_object_covered=0.0, area_range=(0.08, 1.0),
            aspect_ratio_range=(3 / 4, 4 / 3), max_attempts=10, use_image_if_no_bounding_boxes=True,
        )  # fmt: skip
        image = tf.io.decode_and_crop_jpeg(contents, tf.concat([begin[:2], size[:2]], 0), channels=3)
        image = tf.image.random_flip_left_right(tf.image.resize(image, (224, 224)))
        return (image / 255.0 - mean) / std, label

    paths = tf.data.Dataset.from_tensor_slices(files()).shuffle(IMAGES)
    images = paths.map(decode, num_parallel_calls=auto).batch(PICTURES).prefetch(auto)
    features = {"image": tf.io.FixedLenFeature([], tf.string), "label": tf.io.FixedLenFeature([], tf.int64)}
    features["weights"] = tf.io.FixedLenFeature([20], tf.float32)
    parse, parse_one = (partial(fn, features=features) for fn in (tf.io.parse_example, tf.io.parse_single_example))

    def records(name: str) -> Any:
        return tf.data.TFRecordDataset(str(FOLDER / name))

    def timed(dataset: Any, items: int) -> Callable[[], float]:
        return lambda: per_second(dataset.prefetch(auto).as_numpy_iterator, items)

    yield "jpeg", "tf.data, decodes only the crop", timed(images, IMAGES)
    yield "tfrecord", "tf.data", timed(records("records").batch(BATCH), RECORDS)
    yield "example", "tf.data, parsed in batches", timed(records("fixed").batch(BATCH).map(parse, auto), RECORDS)
    yield "example", "tf.data, parsed one by one", timed(records("fixed").map(parse_one, auto).batch(BATCH), RECORDS)
    yield "varying", "tf.data, parsed in batches", timed(records("varying").batch(BATCH).map(parse, auto), RECORDS // 2)
    yield "text", "tf.data", timed(tf.data.TextLineDataset(str(FOLDER / "lines")).batch(BATCH), LINES)


class Photographs:
    """An image and its label by number, with this module's decoder; for peers that have none."""

    def __init__(self) -> None:
        self.paths, self.labels = files()

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, number: int) -> Any:
        from aidl_jax.data.crop_boxes import DRAWS, random_box
        from aidl_jax.data.photographs import decode, resized

        pixels = decode(Path(self.paths[number]).read_bytes())
        draws = np.random.default_rng(number).random(DRAWS).tolist()
        image = resized(pixels, random_box(*pixels.shape[:2], draws), (224, 224))
        image = image[:, ::-1] if draws[-1] < 0.5 else image
        mean, std = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
        return (image / np.float32(255) - mean) / std, self.labels[number]


def torch_loader() -> Lines:
    import torch

    loader = torch.utils.data.DataLoader(
        Photographs(), PICTURES, shuffle=True, num_workers=CORES, persistent_workers=True
    )
    yield "jpeg", f"PyTorch DataLoader, {CORES} processes", lambda: per_second(lambda: loader, IMAGES)


def grain_loader() -> Lines:
    import grain.python as grain

    options = grain.ReadOptions(num_threads=2 * CORES, prefetch_buffer_size=PICTURES)
    source = grain.MapDataset.source(Photographs()).shuffle(seed=0).to_iter_dataset(options).batch(PICTURES)
    yield "jpeg", f"Grain, {2 * CORES} threads", lambda: per_second(lambda: source, IMAGES)
    if installed("array_record"):
        records = grain.ArrayRecordDataSource(str(FOLDER / "array_record"))
        some = grain.MapDataset.source(records)[:FEWER].to_iter_dataset().batch(BATCH)
        yield "tfrecord", "Grain, array_record's format", lambda: per_second(lambda: some, FEWER)


def array_record() -> Lines:
    from array_record.python.array_record_module import ArrayRecordReader

    reader = ArrayRecordReader(str(FOLDER / "array_record"))

    def batches() -> Iterator[Any]:
        for start in range(0, RECORDS, BATCH):
            yield reader.read(start, min(start + BATCH, RECORDS))

    yield "tfrecord", "array_record, its own format", lambda: per_second(batches, RECORDS)


LIBRARIES = {
    "jax": ours,
    "tensorflow": tf_data,
    "torch": torch_loader,
    "grain": grain_loader,
    "array_record": array_record,
}
TITLES = {
    "jpeg": f"JPEG: shuffled, a random part as 224x224, mirrored, normalised, batches of {PICTURES}: {IMAGES} photographs",
    "tfrecord": f"TFRecord: {RECORDS:,} records of 1 KB, batches of {BATCH}",
    "example": f"Examples of one layout (784 bytes, a label, 20 floats), read and parsed, batches of {BATCH}",
    "varying": "Examples whose bytes differ in length: 400 layouts among one another",
    "text": f"Text: {LINES:,} lines, batches of {BATCH}",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", help="one library, in this process; prints JSON")
    options = parser.parse_args()
    if options.only:
        print(json.dumps([(kind, name, run()) for kind, name, run in LIBRARIES[options.only]()]))
        return
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder))
        os.environ["AIDL_READERS_FOLDER"] = folder
        here = [library for library in LIBRARIES if installed(library)]
        figures = run_rounds(__file__, here, options.rounds)
        print("# How fast files arrive\n")
        told = versions("array_record", "simplejpeg", "opencv-python-headless", "google-crc32c")
        print(f"Medians of {options.rounds} rounds on {CORES} cores. {told}.")
        missing = sorted(set(LIBRARIES) - set(here))
        print(f"Not installed, so left out: {', '.join(missing)}." if missing else "")
        for kind, title in TITLES.items():
            print("\n".join(table(title, "items/s", figures[kind])))
        print("\n".join(lines_of(Path(folder))))


if __name__ == "__main__":
    main()
