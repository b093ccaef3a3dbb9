"""`decode_images`: photographs to arrays of one size, in threads, each written where it will stand in its batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeAlias

import jax
import numpy as np

from aidl_jax.data.arguments import a_seed, a_stage, at_least
from aidl_jax.data.autotune import CORES
from aidl_jax.data.blocks_reused import ReusedBlocks
from aidl_jax.data.crop_boxes import middle_box, random_box, uniforms
from aidl_jax.data.dataset import Dataset
from aidl_jax.data.elements import Rows, Spec, Stacked, frozen, tell_spec
from aidl_jax.data.file_stages import BYTES
from aidl_jax.data.image_cursor import DecodingCursor
from aidl_jax.data.once import cached_property
from aidl_jax.data.photographs import Box, check_decoders, decode, resized
from aidl_jax.data.stage import At, Cursor, Run, State, Verb
from aidl_jax.errors import DataError

__all__ = ["IMAGENET_MEAN", "IMAGENET_STD", "decode_images"]

IMAGENET_MEAN = (0.485, 0.456, 0.406)  # of red, green and blue from 0 to 1, over the training set
IMAGENET_STD = (0.229, 0.224, 0.225)

Crop: TypeAlias = Literal["random", "middle", "none"]


def decode_images(
    size: tuple[int, int] = (224, 224),
    crop: Crop = "random",
    flip: bool = False,
    mean: Sequence[float] | None = IMAGENET_MEAN,
    std: Sequence[float] | None = IMAGENET_STD,
    seed: int = 0,
    num_parallel_calls: int | None = None,
    image: int | str = 0,
) -> Callable[[Dataset], Dataset]:
    """Makes images of JPEG and PNG bytes: `image_folder(root).apply(decode_images(flip=True))`.

    Args:
        size: (height, width) of what comes out.
        crop: what of an image is brought to that size: a part drawn for each (seed, epoch, position), the middle, or all of it.
        flip: whether every other image, at random, is mirrored left to right.
        mean: of red, green and blue, taken from colours in [0, 1]; None keeps uint8, for a model that does the rest.
        std: what is divided by then.
        seed: of crops and flips.
        num_parallel_calls: threads; None is one for each core.
        image: which part of an element the bytes are: a number in a tuple, a name in a dict.

    Raises:
        DataError: the decoders are not installed; an element has no such bytes; while it is gone through: an image that is damaged, with
            its file.
    """
    check_decoders()
    threads = CORES if num_parallel_calls is None else num_parallel_calls
    at_least("decode_images", "num_parallel_calls", threads, 1)
    sides = tuple(at_least("decode_images", "size", side, 1) for side in size)
    if crop not in ("random", "middle", "none"):
        raise DataError(
            "there is no such crop", given=repr(crop), expected='"random", "middle" or "none"', where="decode_images"
        )
    if (mean is None) != (std is None):
        raise DataError(
            "colours are normalised by a mean and a std together",
            given=f"mean={mean}, std={std}",
            where="decode_images",
            fix="give both, or mean=None, std=None for uint8",
        )
    colours = None if mean is None or std is None else (tuple(map(float, mean)), tuple(map(float, std)))
    how = (image, sides, crop, flip, colours, a_seed("decode_images", seed), threads)
    return lambda dataset: Dataset(_stage(dataset, *how))


def _stage(dataset: Dataset, image: int | str, *how: Any) -> DecodedImages:
    stage = a_stage("decode_images", dataset)
    single = isinstance(stage.spec, jax.ShapeDtypeStruct)
    try:
        found = stage.spec if single and image == 0 else stage.spec[image]
    except (KeyError, IndexError, TypeError):
        found = None
    if found != BYTES:
        raise DataError(
            "decode_images takes elements with an image's bytes in them",
            given=tell_spec(stage.spec),
            expected=f"object[] at {image!r}",
            where="decode_images",
            fix='say where the bytes are: image="image/encoded"; batch afterwards',
        )
    return DecodedImages(stage, image, *how)


@dataclass(frozen=True, eq=False)
class DecodedImages(Verb):
    """Elements of which one part has become an image."""

    image: int | str
    side: tuple[int, int]
    crop: Crop
    flip: bool
    colours: tuple[tuple[float, ...], tuple[float, ...]] | None
    seed: int
    threads: int
    verb = "decode_images"

    @cached_property
    def number(self) -> int:
        """Which leaf of an element is the image."""
        marked = jax.tree.map(lambda _: 0, self.input.spec)
        if isinstance(marked, int):
            return 0
        parts: Any = dict(marked) if isinstance(marked, dict) else list(marked)
        parts[self.image] = 1
        return jax.tree.leaves(parts).index(1)

    @cached_property
    def spec(self) -> Spec:
        leaves, structure = jax.tree.flatten(self.input.spec)
        kind = np.dtype(np.uint8 if self.colours is None else np.float32)
        leaves[self.number] = jax.ShapeDtypeStruct((*self.side, 3), kind)
        return structure.unflatten(leaves)

    @property
    def keyed(self) -> bool:
        """Whether it draws."""
        return self.flip or self.crop == "random"

    @property
    def arguments(self) -> str:
        told = f"{self.side}, crop={self.crop!r}" + (", flip=True" if self.flip else "")
        told += "" if self.colours is None else ", mean={}, std={}".format(*self.colours)
        return told + (f", seed={self.seed}" if self.keyed else "")

    @property
    def note(self) -> str:
        drawn = "; crops and flips from (seed, epoch, position)" if self.keyed else ""
        return f"in {self.threads} thread{'' if self.threads == 1 else 's'}{drawn}"

    @property
    def calls_at_once(self) -> int:
        return self.threads

    @cached_property
    def blocks(self) -> ReusedBlocks:
        """Memory for images."""
        return ReusedBlocks()

    @cached_property
    def affine(self) -> tuple[np.ndarray, np.ndarray] | None:
        """What a row of pixels is multiplied by and added to, float32 [3 * width] each: (x / 255 - mean) / std."""
        if self.colours is None:
            return None
        mean, std = (np.tile(np.array(one, np.float64), self.side[1]) for one in self.colours)
        return (1 / (255 * std)).astype(np.float32), (-mean / std).astype(np.float32)

    def rows(self, at: At, run: Run) -> Rows:
        rows = self.input.rows(at, run).stacked(str(self))
        leaves = list(rows.leaves)
        where = lambda number: str(self.input.origins(at.only(np.array([number])))[0])  # noqa: E731
        leaves[self.number] = self.decoded(leaves[self.number].tolist(), at, run, where)
        return Stacked(leaves, rows.structure, len(at))

    def walk(self, epoch: int, run: Run, state: State) -> Cursor:
        return DecodingCursor(self, epoch, run, state)

    def decoded(self, data: Sequence[bytes], at: At, run: Run, where: Callable[[int], str]) -> np.ndarray:
        """The images at these places, [n, height, width, 3]; `where` says where one of them comes from."""
        leaf: Any = jax.tree.leaves(self.spec)[self.number]
        images = self.blocks.empty((len(at), *leaf.shape), leaf.dtype)
        draws = uniforms(self.seed, at) if self.keyed else np.zeros((len(at), 1), np.float32)
        pool = run.pool((self, "calls"), self.threads)
        calls = [pool.start(partial(self._make, *each)) for each in zip(images, data, draws.tolist(), strict=True)]
        try:
            for number, call in enumerate(calls):
                error = call.result()
                if error is not None:
                    raise DataError(
                        error.what, given=error.given, expected=error.expected, where=where(number), fix=error.fix
                    )
        finally:
            for call in calls:
                call.cancel()
        return frozen(images)

    def _make(self, out: np.ndarray, data: bytes, draws: Sequence[float]) -> DataError | None:
        """Decodes one image into its place."""
        try:
            pixels = decode(data)
        except DataError as error:
            return error
        part = resized(pixels, self._box(pixels.shape[0], pixels.shape[1], draws), self.side)
        part = part[:, ::-1] if self.flip and draws[-1] < 0.5 else part
        if self.affine is None:
            out[...] = part
            return None
        scale, shift = self.affine
        rows = out.reshape(self.side[0], -1)
        np.multiply(part.reshape(rows.shape), scale, out=rows)
        np.add(rows, shift, out=rows)
        return None

    def _box(self, height: int, width: int, draws: Sequence[float]) -> Box:
        if self.crop == "random":
            return random_box(height, width, draws)
        return middle_box(height, width) if self.crop == "middle" else Box(0, 0, height, width)
