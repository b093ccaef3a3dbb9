"""Inference: preprocessing with what training has measured, answers for a batch of any size, batches of one size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from aidl_jax.exercise import (
    Draw,
    Exercise,
    Expression,
    Hints,
    Student,
    compare,
    float32_grid,
    function,
    library,
    static,
)

if TYPE_CHECKING:  # wrong answers run where student code runs; these names are there
    import jax
    import jax.numpy as jnp

    def preprocess(statistics: Any, image: Any) -> Any: ...


exercise = Exercise("A model that answers", forbidden=["aidl_jax", "optax", "flax", "torch", "tensorflow"])

EPS = float(np.finfo(np.float32).eps)


# What training has measured


statistics_task = exercise.task(
    "pixel_statistics",
    points=1,
    hints=Hints(
        concept="Two numbers for the whole training set, not two for each image: all pixels of all images go into one mean and one spread.",
        where="The lesson's section 'What training has measured'. Divide by 255 first; jnp.mean and jnp.std without an axis look at everything.",
        almost_code='scaled = images / 255\nreturn {"mean": jnp.mean(...), "std": ...}',
    ),
)


def pixels(draw: Draw, *shape: int) -> np.ndarray:
    """Raw images that differ in brightness from one to the next."""
    low = np.arange(shape[0]).reshape(-1, *[1] * (len(shape) - 1)) * 20
    return np.asarray(draw.integers(0, 100, *shape) + low, np.int32)


@statistics_task.check
def over_all_pixels_of_all_images(student: Student, draw: Draw) -> None:
    """The mean and the standard deviation of all pixels together, once they are scaled to [0, 1]."""
    images = pixels(draw, 6, 4, 3)
    scaled = images / 255
    expected = {"mean": scaled.mean(), "std": scaled.std()}
    compare(student.pixel_statistics(images), expected, length=images.size, magnitude={"mean": 1.0, "std": 1.0})


@statistics_task.wrong("Your statistics are those of pixels from 0 to 255; scale the pixels to [0, 1] first.")
def of_raw_pixels(images: Any) -> Any:
    return {"mean": jnp.mean(images / 1.0), "std": jnp.std(images / 1.0)}


@statistics_task.wrong("You took the variance; the standard deviation is its square root.")
def variance(images: Any) -> Any:
    return {"mean": jnp.mean(images / 255), "std": jnp.var(images / 255)}


@statistics_task.wrong("You have statistics for each image; there are two numbers for the whole training set.")
def for_each_image(images: Any) -> Any:
    return {"mean": jnp.mean(images / 255, axis=(1, 2)), "std": jnp.std(images / 255, axis=(1, 2))}


@statistics_task.wrong(
    "You have statistics for each pixel's place; there are two numbers for all pixels of all images."
)
def for_each_place(images: Any) -> Any:
    return {"mean": jnp.mean(images / 255, axis=0), "std": jnp.std(images / 255, axis=0)}


# One image


preprocess_task = exercise.task(
    "preprocess",
    points=2,
    hints=Hints(
        concept="What is done to an image at inference is what was done to it in training, with the numbers of training. The image is asked for "
        "nothing but its pixels.",
        where="The lesson's section 'The same for one image'. The statistics were measured on pixels in [0, 1], so the image has to be brought there "
        "first.",
        almost_code='scaled = image / ...\nreturn (scaled - statistics["mean"]) / ...',
    ),
)


def drawn_statistics(draw: Draw) -> dict[str, np.ndarray]:
    """Statistics as training may have measured them."""
    return {"mean": draw.uniform(low=0.1, high=0.6), "std": draw.uniform(low=0.15, high=0.4)}


def normalised(statistics: dict[str, np.ndarray], images: np.ndarray) -> np.ndarray:
    """What preprocessing makes of raw images."""
    return (images / 255 - statistics["mean"]) / statistics["std"]


@preprocess_task.check
def with_the_statistics_of_training(student: Student, draw: Draw) -> None:
    """Scaled to [0, 1], less the mean of training, divided by its standard deviation."""
    statistics, image = drawn_statistics(draw), draw.integers(0, 256, 4, 3)
    size = (1 + statistics["mean"]) / statistics["std"]
    compare(student.preprocess(statistics, image), normalised(statistics, image), magnitude=np.full((4, 3), size))


@preprocess_task.check
def a_dark_image_stays_dark(student: Student, draw: Draw) -> None:
    """An image of which every pixel is the same comes out as one number, which tells how dark it was."""
    statistics, level = drawn_statistics(draw), draw.integers(0, 256)
    image = np.full((4, 3), level, np.int32)
    size = (1 + statistics["mean"]) / statistics["std"]
    compare(student.preprocess(statistics, image), normalised(statistics, image), magnitude=np.full((4, 3), size))


@preprocess_task.wrong(
    "This is the classic skew: you normalised the image by its own mean and spread. The model has learnt with the training set's; use those."
)
def by_its_own(statistics: Any, image: Any) -> Any:
    scaled = image / 255
    return (scaled - jnp.mean(scaled)) / jnp.std(scaled)


@preprocess_task.wrong(
    "The pixels still go from 0 to 255, and the statistics are those of pixels in [0, 1]: divide by 255 first."
)
def not_scaled(statistics: Any, image: Any) -> Any:
    return (image - statistics["mean"]) / statistics["std"]


@preprocess_task.wrong(
    "You scaled to [0, 1] and stopped there; in training the mean was subtracted and the spread divided by."
)
def scaled_only(statistics: Any, image: Any) -> Any:
    return image / 255.0


@preprocess_task.wrong("You subtracted the mean and forgot to divide by the standard deviation.")
def centred_only(statistics: Any, image: Any) -> Any:
    return image / 255 - statistics["mean"]


@preprocess_task.wrong("You divided by the standard deviation before the mean was subtracted; subtract it first.")
def in_the_other_order(statistics: Any, image: Any) -> Any:
    return image / 255 / statistics["std"] - statistics["mean"]


@preprocess_task.wrong("You divided whole numbers with //, so nearly every pixel became 0; / gives fractions.")
def whole_division(statistics: Any, image: Any) -> Any:
    return (image // 255 - statistics["mean"]) / statistics["std"]


# A batch of any size


answer_task = exercise.task(
    "answer",
    points=3,
    needs=["preprocess"],
    hints=Hints(
        concept="Raw images go in, probabilities come out, and everything between is one function: preprocess each image, flatten it, multiply, "
        "add, and softmax over the classes.",
        where="The lesson's section 'From raw images to probabilities'. `jax.vmap` maps your preprocess over the images; `in_axes=(None, 0)` keeps "
        "the statistics. See `jax.nn.softmax` and its axis.",
        almost_code="inputs = jax.vmap(preprocess, in_axes=(None, 0))(statistics, images)\nlogits = inputs.reshape(images.shape[0], -1) @ ... + ...\n"
        "return jax.nn.softmax(logits, axis=...)",
    ),
)


def drawn_params(draw: Draw, scale: float = 1.0) -> dict[str, np.ndarray]:
    """A linear model of 4 x 3 pixels and five classes."""
    return {"w": draw.uniform(12, 5, low=-scale, high=scale), "b": draw.uniform(5, low=-scale, high=scale)}


def compare_answers(student: Student, params: Any, statistics: Any, images: np.ndarray) -> None:
    """The student's probabilities with those of NumPy; an error in a logit is one of that share in its probability."""
    flat = normalised(statistics, images).reshape(len(images), -1)
    logits = flat @ params["w"] + params["b"]
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    expected = powers / powers.sum(axis=1, keepdims=True)
    largest = float((1 + statistics["mean"]) / statistics["std"])
    error = 4 * 20 * EPS * (12 * largest + 2 + float(np.abs(params["b"]).max()))
    compare(
        student.answer(params, statistics, images), expected, atol=error,
        reason="a logit is a sum of 12 products with weights of at most 1 and a bias, and a probability is off by no more than its logits are",
    )  # fmt: skip


@answer_task.check
def probabilities_of_each_image(student: Student, draw: Draw) -> None:
    """For each raw image: preprocessed as in training, times w, plus b, softmax over the classes."""
    params, statistics = drawn_params(draw), drawn_statistics(draw)
    compare_answers(student, params, statistics, pixels(draw, 3, 4, 3))


@answer_task.check
def a_single_image(student: Student, draw: Draw) -> None:
    """A batch of one is answered too: nobody waits for others to come."""
    params, statistics = drawn_params(draw), drawn_statistics(draw)
    compare_answers(student, params, statistics, pixels(draw, 1, 4, 3))


@answer_task.check
def a_model_that_is_very_sure(student: Student, draw: Draw) -> None:
    """Logits of some hundreds overflow nothing."""
    params = drawn_params(draw)
    offsets = np.array([300.0, -300.0, 0.0, 0.0, 150.0])
    compare_answers(
        student, params | {"b": float32_grid(params["b"] + offsets)}, drawn_statistics(draw), pixels(draw, 2, 4, 3)
    )


@answer_task.wrong("You did not preprocess: the model has never seen raw pixels.")
def raw_pixels(params: Any, statistics: Any, images: Any) -> Any:
    return jax.nn.softmax(images.reshape(len(images), -1) @ params["w"] + params["b"], axis=-1)


@answer_task.wrong(
    "This is the classic skew: you normalised by the statistics of the images that came together. An answer must not depend on its neighbours."
)
def by_the_batch(params: Any, statistics: Any, images: Any) -> Any:
    scaled = images / 255
    inputs = ((scaled - jnp.mean(scaled)) / jnp.std(scaled)).reshape(len(images), -1)
    return jax.nn.softmax(inputs @ params["w"] + params["b"], axis=-1)


@answer_task.wrong("You returned the logits; softmax makes probabilities of them.")
def logits_only(params: Any, statistics: Any, images: Any) -> Any:
    inputs = jax.vmap(preprocess, in_axes=(None, 0))(statistics, images)
    return inputs.reshape(len(images), -1) @ params["w"] + params["b"]


@answer_task.wrong(
    "Your softmax goes over the images, axis 0: the probabilities of one image's classes add up to 1, so it is axis -1."
)
def over_the_images(params: Any, statistics: Any, images: Any) -> Any:
    inputs = jax.vmap(preprocess, in_axes=(None, 0))(statistics, images)
    return jax.nn.softmax(inputs.reshape(len(images), -1) @ params["w"] + params["b"], axis=0)


@answer_task.wrong("You left the bias b away.")
def no_bias(params: Any, statistics: Any, images: Any) -> Any:
    inputs = jax.vmap(preprocess, in_axes=(None, 0))(statistics, images)
    return jax.nn.softmax(inputs.reshape(len(images), -1) @ params["w"], axis=-1)


# Batches of one size


batches_task = exercise.task(
    "in_batches",
    points=3,
    hints=Hints(
        concept="Cut the images into blocks. Only the last one can be too short: fill it up with anything, ask, and throw away the answers that "
        "nobody asked for.",
        where="The lesson's section 'Few sizes'. `jnp.pad` or `jnp.concatenate` fill up, `jnp.concatenate` joins the answers, and a slice cuts them.",
        almost_code="missing = -len(images) % size\nfilled = jnp.concatenate([images, jnp.repeat(images[-1:], missing, axis=0)])\n"
        "answers = [ask(filled[at : at + size]) for at in range(0, len(filled), ...)]\nreturn jnp.concatenate(answers)[: ...]",
    ),
)


def compare_batches(student: Student, draw: Draw, count: int, size: int) -> None:
    """A model that takes blocks of one size alone: it adds to each row what belongs to its place in the block."""
    images, places = draw.normal(count, 3), draw.normal(size, 3)
    joined = np.concatenate([images, np.zeros((-count % size, 3))])
    expected = (joined.reshape(-1, size, 3) + places).reshape(-1, 3)[:count]
    compare(student.in_batches(model_of(size, places), images, static(size)), expected)


def model_of(size: int, places: np.ndarray) -> Expression:
    """A function that takes float32 [size, 3] and nothing else."""
    return function(
        lambda block: library("jax.numpy.add")(library("jax.numpy.reshape")(block, static((size, 3))), places)
    )


@batches_task.check
def a_last_block_that_is_short(student: Student, draw: Draw) -> None:
    """Seven images in blocks of three: the model is asked three times, for three images each time."""
    compare_batches(student, draw, 7, 3)


@batches_task.check
def blocks_that_come_out_even(student: Student, draw: Draw) -> None:
    """Six images in blocks of three: nothing is missing, and nothing is filled up."""
    compare_batches(student, draw, 6, 3)


@batches_task.check
def fewer_than_one_block(student: Student, draw: Draw) -> None:
    """Two images and blocks of five: one block, with two answers."""
    compare_batches(student, draw, 2, 5)


@batches_task.wrong(
    "You asked for the last images as they were, in a smaller block: fill it up, so that the model is compiled for one size."
)
def short_block(ask: Any, images: Any, size: Any) -> Any:
    return jnp.concatenate([ask(images[at : at + size]) for at in range(0, len(images), size)])


@batches_task.wrong("You dropped the images that do not fill a block; everybody gets an answer.")
def dropped(ask: Any, images: Any, size: Any) -> Any:
    whole = len(images) // size * size
    return jnp.concatenate([ask(images[at : at + size]) for at in range(0, whole, size)])


@batches_task.wrong("You returned answers for what you filled up with; cut them off.")
def not_cut(ask: Any, images: Any, size: Any) -> Any:
    filled = jnp.pad(images, ((0, -len(images) % size), (0, 0)))
    return jnp.concatenate([ask(filled[at : at + size]) for at in range(0, len(filled), size)])


@batches_task.wrong(
    "You fill up even where nothing is missing: of 6 images in blocks of 3 that makes one block too many. -len(images) % size is 0 then."
)
def one_block_too_many(ask: Any, images: Any, size: Any) -> Any:
    filled = jnp.pad(images, ((0, size - len(images) % size), (0, 0)))
    answers = jnp.concatenate([ask(filled[at : at + size]) for at in range(0, len(filled), size)])
    return answers[: len(images) + (size if len(images) % size == 0 else 0)]


@batches_task.wrong(
    "You filled up at the front, so that every image stands in another place than it came in: fill up behind the last one."
)
def filled_in_front(ask: Any, images: Any, size: Any) -> Any:
    missing = -len(images) % size
    filled = jnp.pad(images, ((missing, 0), (0, 0)))
    return jnp.concatenate([ask(filled[at : at + size]) for at in range(0, len(filled), size)])[missing:]
