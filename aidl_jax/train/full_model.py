"""The full model: a convnet on handwritten digits, from the files to the confusion matrix, with everything a real run has.

Data come through the streaming input module, shifted by a pixel at random; the model is `models.lenet` with dropout; Adam's rate falls
from 0.003 to 0.0001; progress, TensorBoard and checkpoints are hooks; a run that was stopped goes on where it was.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from aidl_jax import data, images, losses, models, optimizers, schedules
from aidl_jax.errors import TrainError
from aidl_jax.files import write_text
from aidl_jax.graph import Graph, trace
from aidl_jax.scope import apply
from aidl_jax.train import run_plots
from aidl_jax.train.checkpoints import checkpoints, restore, saved_steps
from aidl_jax.train.devices import Place
from aidl_jax.train.digit_sets import load_set
from aidl_jax.train.loop import Hook, Moment, evaluate, every, fit
from aidl_jax.train.state import TrainState, make_state
from aidl_jax.train.steps import Metrics, make_eval_step, make_train_step
from aidl_jax.train.summaries import SummaryWriter, summaries

__all__ = ["Outcome", "draw", "train_digits"]

BATCH = 64
PLAN: dict[str, Any] = {"steps": 2500, "seed": 0, "data": "digits"}
NO_CURVES: dict[str, list[tuple[int, float]]] = {"train loss": [], "validation loss": [], "validation accuracy": []}
MODEL = partial(models.lenet, rate=0.3)
CHECK_EVERY = 250
SAVE_EVERY = 50
LOOKED_AT = 2000  # of the examples that were trained on, for the training loss


@dataclass(frozen=True)
class Outcome:
    """What came out of a run.

    Attributes:
        state: the last.
        accuracy: of the validation set, a share.
        confusion: int [10, 10]: how often a label (row) was taken for a class (column).
        curves: by name, the steps and the values that were measured.
        data: what was trained on, by name.
    """

    state: TrainState
    accuracy: float
    confusion: np.ndarray
    curves: dict[str, list[tuple[int, float]]]
    data: str = "digits"


def shift(key: jax.Array, image: jax.Array, label: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The image moved by at most one pixel in each direction."""
    height, width, _ = image.shape
    return images.random_crop(key, jnp.pad(image, ((1, 1), (1, 1), (0, 0))), height, width), label


def loss_fn(params: Any, model_state: Any, batch: Any, key: jax.Array) -> tuple[jax.Array, tuple[Any, Metrics]]:
    """Cross-entropy with dropout, and the accuracy beside it."""
    x, labels = batch
    logits, model_state = apply(partial(MODEL, training=True))(params, model_state, x, key=key)
    loss = losses.softmax_cross_entropy(logits, labels, reduction="mean")
    return loss, (model_state, {"accuracy": losses.accuracy(logits, labels)})


def measure(params: Any, model_state: Any, batch: Any) -> Metrics:
    """Loss and accuracy without dropout."""
    logits = apply(MODEL)(params, model_state, batch[0])[0]
    loss = losses.softmax_cross_entropy(logits, batch[1], reduction="mean")
    return {"loss": loss, "accuracy": losses.accuracy(logits, batch[1])}


def train_digits(
    folder: Path,
    *,
    steps: int | None = None,
    resume: bool = False,
    device: Place = None,
    seed: int | None = None,
    data_set: str | None = None,
    hooks: tuple[Hook, ...] = (),
) -> Outcome:
    """Trains and evaluates.

    Args:
        folder: of the run: TensorBoard's events, `checkpoints/`, `curves.json`, and in `run.json` how it was begun.
        steps: how many in all; 2,500, or those that a run which is resumed was begun with.
        resume: whether to go on from the newest checkpoint.
        device: "cpu", "gpu", a device or a mesh.
        seed: of data, variables and dropout; 0, or that of the run which is resumed.
        data_set: "digits", "mnist" or "mnist_5000" (`digit_sets.load_set`); "digits", or that of the run which is resumed.
        hooks: further ones.

    Raises:
        TrainError: there is a run in the folder and `resume` is off, or there is none and it is on, or it was begun with other steps,
            another seed or other data.
        DataError: the digits cannot be had.
    """
    check_folder(folder, bool(saved_steps(folder / "checkpoints")), resume)
    plan = plan_of(folder, resume, {"steps": steps, "seed": seed, "data": data_set})
    steps, seed = plan["steps"], plan["seed"]
    digits = load_set(plan["data"], seed)
    write_text(folder / "run.json", json.dumps(plan))
    optimizer = optimizers.adam(schedules.exponential_decay(0.003, 0.0001, steps))
    state, position = make_state(MODEL, optimizer, jax.random.key(seed), digits.train[0][:1]), None
    curves = {name: list(points) for name, points in NO_CURVES.items()}
    if resume:
        state, position = restore(folder / "checkpoints", state)
        curves = read_curves(folder, int(state.step))
    dataset = (
        data.from_tensor_slices(digits.train).shuffle(seed=seed).map(shift, keyed=True, seed=seed).batch(BATCH).repeat()
    )
    learnt = data.from_tensor_slices(digits.train).take(LOOKED_AT).batch(BATCH)
    validation = data.from_tensor_slices(digits.validation).batch(BATCH)
    eval_step = make_eval_step(measure)

    writer = SummaryWriter(folder, resumed_after=int(state.step) if resume else None)

    def look(moment: Moment) -> None:
        told = evaluate(eval_step, moment.state, validation)
        curves["train loss"].append((moment.step, evaluate(eval_step, moment.state, learnt)["loss"]))
        for name, value in told.items():
            curves[f"validation {name}"].append((moment.step, value))
            writer.scalar(f"validation/{name}", value, moment.step)
        write_curves(folder, curves)

    with writer:
        if not resume:
            writer.hyperparameters({"batch": BATCH, "dropout": MODEL.keywords["rate"], **plan})
            writer.graph(graph_of(state, digits.train))
        state = fit(
            make_train_step(loss_fn, optimizer),
            state,
            dataset,
            steps=steps,
            position=position,
            device=device,
            hooks=[
                summaries(writer, every=50, histograms=True),
                every(CHECK_EVERY, look),
                checkpoints(folder / "checkpoints", every=SAVE_EVERY, keep=3),
                *hooks,
            ],
        )
    accuracy = evaluate(eval_step, state, validation)["accuracy"]
    return Outcome(state, accuracy, confusion_of(state, digits.validation), curves, plan["data"])


def graph_of(state: TrainState, examples: tuple[np.ndarray, np.ndarray]) -> Graph:
    """The loss and its gradients, for TensorBoard's tab Graphs."""

    def loss_and_gradients(params: Any, images: Any, labels: Any, key: Any) -> Any:
        return jax.value_and_grad(lambda params: loss_fn(params, {}, (images, labels), key)[0])(params)

    return trace(loss_and_gradients, state.params, examples[0][:BATCH], examples[1][:BATCH], state.key)


def check_folder(folder: Path, saved: bool, resume: bool) -> None:
    """Refuses to begin over a run that is there, and to go on with one that is not."""
    if resume and not saved:
        raise TrainError(
            "there is no checkpoint to go on from", given=str(folder), fix="begin a run: leave --resume away"
        )
    if resume and not (folder / "run.json").exists():
        raise TrainError(
            "the folder does not say how its run was begun",
            given=f"{folder} without run.json",
            fix="begin a run in another folder: --out, without --resume",
        )
    if saved and not resume:
        raise TrainError(
            "there is a run in this folder already",
            given=str(folder),
            fix="--resume goes on with it; or name another with --out",
        )
    if not saved and folder.is_dir() and any(folder.iterdir()):
        raise TrainError(
            "the folder is not empty, and holds no checkpoint to go on from",
            given=f"{folder} with {', '.join(sorted(path.name for path in folder.iterdir())[:4])}",
            fix="name another with --out, or remove it",
        )
    folder.mkdir(parents=True, exist_ok=True)


def plan_of(folder: Path, resume: bool, wanted: dict[str, Any]) -> dict[str, Any]:
    """Steps, seed and data of a run: as they are wanted, or as the run in the folder was begun.

    Raises:
        TrainError: others are wanted than it was begun with.
    """
    asked = {name: value for name, value in wanted.items() if value is not None}
    if not resume:
        return PLAN | asked
    begun = PLAN | json.loads((folder / "run.json").read_text(encoding="utf-8"))
    why = {
        "steps": "the learning rate falls over all steps, so with others it would jump",
        "seed": "the seed chooses the digits that are held out, so with another these would have been trained on",
        "data": "its model was made for their images",
    }
    if begun["data"] == "mnist":
        why["seed"] = "the seed chooses the order of the examples, so with another it would be another run"
    for name, value in asked.items():
        if value != begun[name]:
            raise TrainError(
                f"the run was begun with other {name}; {why[name]}",
                given=f"--{name} {value}",
                expected=f"--{name} {begun[name]}",
                where=str(folder),
                fix=f"leave --{name} away to go on with this run, or begin another: --out, without --resume",
            )
    return begun


def write_curves(folder: Path, curves: dict[str, list[tuple[int, float]]]) -> None:
    """Writes what was measured, whole or not at all."""
    write_text(folder / "curves.json", json.dumps(curves))


def read_curves(folder: Path, step: int) -> dict[str, list[tuple[int, float]]]:
    """What was measured up to a step."""
    path = folder / "curves.json"
    told = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return NO_CURVES | {name: [(at, value) for at, value in points if at <= step] for name, points in told.items()}


def confusion_of(state: TrainState, examples: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """How often each label was taken for each class."""
    predict: Callable[..., Any] = jax.jit(lambda params, x: apply(MODEL)(params, {}, x)[0])
    predicted = predict(state.params, examples[0]).argmax(axis=-1)
    return np.asarray(losses.confusion_matrix(jnp.asarray(examples[1]), predicted, classes=10))


def draw(outcome: Outcome, folder: Path) -> list[Path]:
    """Writes `curves.png` and `confusion.png`, and says where."""
    measured = {name: points for name, points in outcome.curves.items() if name.endswith("loss")}
    pictures = {
        folder / "curves.png": run_plots.over_steps(measured, "Digits: loss", "loss"),
        folder / "confusion.png": run_plots.confusion(outcome.confusion, f"Digits: {outcome.accuracy:.1%} right"),
    }
    for path, figure in pictures.items():
        figure.savefig(path, dpi=120)
    return list(pictures)
