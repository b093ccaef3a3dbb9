"""Summaries: what a run writes about itself for TensorBoard, into one event file in the run's folder.

Names are the scopes' paths, `params/conv1/weights`, as in the graph and in the checkpoints: TensorBoard groups by them.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from aidl_jax.errors import OptimizerError, TrainError
from aidl_jax.optimizers import current_rate
from aidl_jax.train.loop import Hook, Moment
from aidl_jax.train.loop import every as at_multiples
from aidl_jax.train.paths import leaves_by_path
from aidl_jax.train.state import TrainState
from aidl_jax.train.steps import LossFn

if TYPE_CHECKING:
    from aidl_jax.graph import Graph

__all__ = ["SummaryWriter", "summaries"]

FLUSH_SECONDS = 2  # how old what a killed run has not written can be
NAME = re.compile(r"[-\w.]+(/[-\w.]+)*")

GradientsOf: TypeAlias = tuple[LossFn, Any]


class SummaryWriter:
    """Writes summaries into a folder, one kind by each method. A thread writes; what was written is on disk after 2 s, or `close`.

    Args:
        folder: of the run; made if it is not there. Runs to be compared have folders beside one another: `runs/a`, `runs/b`.
        resumed_after: steps done when the run is gone on with; what it wrote for later steps before is no longer shown.

    Each method raises a `TrainError` for a name that TensorBoard does not take and for values that it cannot show. Names are of letters,
    digits, "_", "-" and ".", in scopes separated by "/".

    >>> import tempfile
    >>> with SummaryWriter(tempfile.mkdtemp()) as writer:
    ...     writer.scalar("validation/loss", 0.5, step=100)
    """

    def __init__(self, folder: str | Path, resumed_after: int | None = None) -> None:
        import tensorboardX

        purge = None if resumed_after is None else resumed_after + 1
        self._writer = tensorboardX.SummaryWriter(
            str(folder),
            purge_step=purge,
            flush_secs=FLUSH_SECONDS,
            filename_suffix=f".{time.time_ns()}",  # its own name has seconds: a second file would be written over the first
        )

    def scalar(self, name: str, value: Any, step: int) -> None:
        """One number of a curve. NaN and infinity can be drawn, too."""
        if np.ndim(value) != 0:
            raise TrainError(
                "a scalar is one number", given=f"an array of shape {np.shape(value)}", where=name,
                fix="take its mean, or write a histogram",
            )  # fmt: skip
        self._writer.add_scalar(_checked(name), float(value), step)

    def learning_rate(self, opt_state: Any, step: int) -> None:
        """The rate of the last step, as `current_rate` reads it, under the name `learning_rate`.

        Raises:
            OptimizerError: the state holds no rate, or more than one.
        """
        self.scalar("learning_rate", current_rate(opt_state), step)

    def histogram(self, name: str, tree: Any, step: int) -> None:
        """How values are distributed: of one array, or of each leaf of a pytree, under its path in `name/`.

        Args:
            name: `params` for parameters, so that they are `params/conv1/weights`.
            tree: of arrays of numbers, none of them empty.
            step: steps done.
        """
        for path, leaf in leaves_by_path(tree).items():
            full = f"{name}/{path}" if path else name
            values = np.asarray(leaf, np.float64)
            if not values.size or not np.isfinite(values).all():
                told = "no value" if not values.size else f"{np.sum(~np.isfinite(values))} of {values.size} not finite"
                raise TrainError("a histogram is of finite numbers, at least one", given=told, where=full)
            self._writer.add_histogram(_checked(full), values, step)

    def image(self, name: str, image: Any, step: int) -> None:
        """An image, or several side by side.

        Args:
            name: the title.
            image: uint8, or floating point in [0, 1]; [height, width, channels], or [images, height, width, channels], of 1, 3 or
                4 channels; [height, width] is grey.
            step: steps done.
        """
        pixels = np.asarray(image)
        pixels = pixels[..., None] if pixels.ndim == 2 else pixels
        _check_pixels(name, pixels)
        if pixels.dtype != np.uint8:
            pixels = np.round(pixels * 255).astype(np.uint8)
        self._writer.add_images(_checked(name), pixels if pixels.ndim == 4 else pixels[None], step, dataformats="NHWC")

    def text(self, name: str, text: str, step: int = 0) -> None:
        """Text, which TensorBoard reads as Markdown."""
        self._writer.add_text(_checked(name), text, step)

    def hyperparameters(
        self, values: Mapping[str, bool | int | float | str], metrics: tuple[str, ...] = ("loss",)
    ) -> None:
        """What was chosen for this run, for TensorBoard's table of runs.

        Args:
            values: by name.
            metrics: the scalars that stand in the table beside them.
        """
        from tensorboardX.summary import hparams

        for name, value in values.items():
            if not isinstance(value, bool | int | float | str):
                raise TrainError(
                    "a hyperparameter is a number, a bool or a text", given=f"a {type(value).__name__}", where=name,
                    fix=f"write float(...), or its name: {str(value)[:40]!r}",
                )  # fmt: skip
        for summary in hparams(dict(values), dict.fromkeys(metrics)):
            self._writer.file_writer.add_summary(summary)

    def graph(self, graph: Graph) -> None:
        """The graph of a function, `graph.trace(fn, *specs)`, for the tab Graphs."""
        graph.to_tensorboard(self._writer)

    def close(self) -> None:
        """Writes what is left."""
        self._writer.close()

    def __enter__(self) -> SummaryWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def summaries(
    run: str | Path | SummaryWriter,
    *,
    every: int = 50,
    histograms: bool = False,
    gradients: GradientsOf | None = None,
) -> Hook:
    """A hook for `fit` that writes, at multiples of so many steps and at the end, the step's metrics and the learning rate.

    Between these moments nothing is read from the device, so nothing waits.

    Args:
        run: the run's folder; or a writer, which stays open, to write other things into the same file.
        every: steps from one to the next.
        histograms: whether also histograms of the parameters, under `params/`.
        gradients: `(loss_fn, batch)`, to write also histograms of the gradients that the loss has for this batch, always the same, under
            `gradients/`.

    The rate is written if the optimizer keeps one in its state, as all of `aidl_jax.optimizers` do.

    Raises:
        TrainError: less than one step; (when it is called) a metric is not one number, a gradient is not finite.
    """
    if every < 1:
        raise TrainError("every is a number of at least 1", given=f"every={every}", where="summaries")
    return _Hook(run, every, histograms, None if gradients is None else _gradient_fn(*gradients))


class _Hook:
    """Opens the file at the first step; `fit` leaves it in the end, which closes the file."""

    def __init__(
        self,
        run: str | Path | SummaryWriter,
        steps: int,
        histograms: bool,
        gradients: Callable[[TrainState], Any] | None,
    ) -> None:
        self.run, self.histograms, self.gradients = run, histograms, gradients
        self.writer = run if isinstance(run, SummaryWriter) else None
        self.note_if_due = at_multiples(steps, self.note)
        self.noted: dict[str, jax.Array] = {}
        self.noted_at = 0

    def __enter__(self) -> _Hook:
        return self

    def __call__(self, moment: Moment) -> None:
        if not isinstance(self.run, SummaryWriter) and self.writer is None:
            self.writer = SummaryWriter(self.run, resumed_after=moment.before or None)
        self.write_scalars()
        self.note_if_due(moment)
        if moment.last:
            self.write_scalars()

    def note(self, moment: Moment) -> None:
        """Scalars are read at the next step: while the host waits for them, the device has that one to do."""
        assert self.writer is not None
        state = moment.state
        self.noted = {name: value for name, value in moment.metrics.items() if name != "finite"} | _rate(
            state.opt_state
        )
        self.noted_at = moment.step
        if self.histograms:
            self.writer.histogram("params", state.params, moment.step)
        if self.gradients is not None:
            self.writer.histogram("gradients", self.gradients(state), moment.step)

    def write_scalars(self) -> None:
        assert self.writer is not None
        for name, value in jax.device_get(self.noted).items():
            self.writer.scalar(name, value, self.noted_at)
        self.noted = {}

    def __exit__(self, *_: object) -> None:
        if self.writer is not None:
            self.write_scalars()
        if self.writer is not None and self.writer is not self.run:
            self.writer.close()
            self.writer = None


def _rate(opt_state: Any) -> dict[str, jax.Array]:
    try:
        return {"learning_rate": jnp.copy(current_rate(opt_state))}  # the next step takes the memory of the state
    except OptimizerError:  # an optimizer of optax that keeps none
        return {}


def _gradient_fn(loss_fn: LossFn, batch: Any) -> Callable[[TrainState], Any]:
    def gradients(state: TrainState) -> Any:
        def loss(params: Any) -> Any:
            return loss_fn(params, state.model_state, batch, jax.random.fold_in(state.key, state.step))[0]

        return jax.grad(loss)(state.params)

    return jax.jit(gradients)


def _checked(name: str) -> str:
    """The name, which tensorboardX would change without a word if TensorBoard did not take it."""
    if NAME.fullmatch(name):
        return name
    raise TrainError(
        "this cannot be the name of a summary", given=repr(name),
        expected='letters, digits, "_", "-" and ".", in scopes separated by "/"', fix=f"write {_changed(name)!r}",
    )  # fmt: skip


def _changed(name: str) -> str:
    return "/".join(re.sub(r"[^-\w.]", "_", part) for part in name.split("/") if part) or "loss"


def _check_pixels(name: str, pixels: np.ndarray) -> None:
    is_floating = np.issubdtype(pixels.dtype, np.floating)
    if pixels.ndim not in (3, 4) or pixels.shape[-1] not in (1, 3, 4) or not (is_floating or pixels.dtype == np.uint8):
        raise TrainError(
            "this is no image", given=f"{pixels.dtype}{list(pixels.shape)}", where=name,
            expected="uint8, or float in [0, 1], of shape [height, width, channels] with 1, 3 or 4 channels",
        )  # fmt: skip
    if is_floating and not (np.min(pixels, initial=0) >= 0 and np.max(pixels, initial=0) <= 1):
        raise TrainError(
            "an image of floating point has values in [0, 1]", given=f"values from {pixels.min()} to {pixels.max()}",
            where=name, fix="divide by 255, or scale: (image - image.min()) / (image.max() - image.min())",
        )  # fmt: skip
