"""The full model: stopped and resumed it is the same run, and its command says what it did."""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import signal
import struct
import subprocess
import sys
import threading
from pathlib import Path

import jax
import numpy as np
import pytest
from click.testing import CliRunner, Result
from training import assert_equal_trees, on_host

from aidl_jax import data
from aidl_jax.cli import cli
from aidl_jax.data import datasets
from aidl_jax.data.downloading import Remote
from aidl_jax.errors import DataError, TrainError
from aidl_jax.serve import load as load_model
from aidl_jax.train import NotFiniteError, full_model
from aidl_jax.train.checkpoints import saved_steps
from aidl_jax.train.digit_sets import SETS, Digits, load_digits, load_set
from aidl_jax.train.full_model import BATCH, Outcome, confusion_of, read_curves, train_digits
from aidl_jax.train.paths import leaves_by_path


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> tuple[Outcome, Path, Result]:
    """A short run of the command: what was trained, its folder, what was printed."""
    outcomes = []

    def noted(*arguments, **options):
        outcomes.append(train_digits(*arguments, **options))
        return outcomes[0]

    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(full_model, "CHECK_EVERY", 10)
        patch.setattr(full_model, "SAVE_EVERY", 5)
        patch.setattr(full_model, "train_digits", noted)
        ran = CliRunner().invoke(cli, ["train", "digits", "--steps", "30", "--out", str(folder)])
    assert ran.exit_code == 0, ran.output
    return outcomes[0], folder, ran


@pytest.fixture(scope="module")
def whole(command: tuple[Outcome, Path, Result]) -> tuple[Outcome, Path]:
    return command[:2]


def test_the_two_sets_are_all_digits_and_apart():
    from sklearn import datasets

    digits = load_digits()
    together = np.concatenate([digits.train[0], digits.validation[0]]).reshape(-1, 64)
    everything = datasets.load_digits().data / 16
    assert together.shape == everything.shape and len(digits.validation[1]) == 359
    np.testing.assert_array_equal(np.sort(together @ np.arange(64)), np.sort(np.float32(everything) @ np.arange(64)))
    other = load_digits(seed=1)
    assert not np.array_equal(other.train[1], digits.train[1])


def test_it_learns(whole: tuple[Outcome, Path]):
    outcome, _ = whole
    measured = [value for _, value in outcome.curves["validation loss"]]
    assert measured[-1] < measured[0] < np.log(10) + 0.1
    assert [step for step, _ in outcome.curves["validation loss"]] == [10, 20, 30]


def test_the_confusion_matrix_counts_the_digits_held_out(whole: tuple[Outcome, Path]):
    outcome, _ = whole
    labels = load_digits().validation[1]
    np.testing.assert_array_equal(outcome.confusion.sum(axis=1), np.bincount(labels))
    assert np.trace(outcome.confusion) / len(labels) == pytest.approx(outcome.accuracy)
    np.testing.assert_array_equal(confusion_of(outcome.state, load_digits().validation), outcome.confusion)


@pytest.mark.slow
def test_a_run_that_was_stopped_ends_as_one_that_was_not(whole, tmp_path, monkeypatch):
    outcome, _ = whole
    monkeypatch.setattr(full_model, "CHECK_EVERY", 10)
    monkeypatch.setattr(full_model, "SAVE_EVERY", 5)

    def stop(moment):
        if moment.step == 17:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_digits(tmp_path, steps=30, hooks=(stop,))
    resumed = train_digits(tmp_path, steps=30, resume=True)
    assert_equal_trees(resumed.state, outcome.state)
    assert resumed.curves == {name: [tuple(point) for point in points] for name, points in outcome.curves.items()}
    assert read_curves(tmp_path, 20)["validation loss"] == outcome.curves["validation loss"][:2]


def test_error_a_run_is_there_or_is_not(whole, tmp_path):
    with pytest.raises(TrainError, match=r"there is a run in this folder already.*--resume"):
        train_digits(whole[1], steps=30)
    with pytest.raises(TrainError, match="there is no checkpoint to go on from"):
        train_digits(tmp_path / "none", steps=30, resume=True)
    assert not (tmp_path / "none").exists()
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(TrainError, match="the folder is not empty, and holds no checkpoint"):
        train_digits(tmp_path, steps=30)


def test_error_a_run_goes_on_as_it_was_begun(whole):
    with pytest.raises(TrainError) as told:
        train_digits(whole[1], steps=60, resume=True)
    assert str(told.value) == (
        f"{whole[1]}: the run was begun with other steps; the learning rate falls over all steps, so with others it would jump: "
        "given --steps 60, expected --steps 30. Fix: leave --steps away to go on with this run, or begin another: --out, without --resume"
    )
    with pytest.raises(
        TrainError, match=r"begun with other seed; the seed chooses the digits that are held out.*--seed 0"
    ):
        train_digits(whole[1], seed=1, resume=True)


def test_error_a_run_goes_on_with_its_data(whole):
    with pytest.raises(TrainError) as told:
        train_digits(whole[1], data_set="mnist", resume=True)
    assert str(told.value) == (
        f"{whole[1]}: the run was begun with other data; its model was made for their images: given --data mnist, "
        "expected --data digits. Fix: leave --data away to go on with this run, or begin another: --out, without --resume"
    )


def test_error_how_a_run_was_begun_is_lost(whole, tmp_path):
    shutil.copytree(whole[1], tmp_path / "run")
    (tmp_path / "run" / "run.json").unlink()
    with pytest.raises(
        TrainError, match=r"does not say how its run was begun: given .*run without run\.json\. Fix: begin"
    ):
        train_digits(tmp_path / "run", resume=True)


def test_a_run_that_was_done_is_told_again(whole):
    outcome, folder = whole
    again = train_digits(folder, resume=True)
    assert again.accuracy == outcome.accuracy and again.curves == {
        name: [tuple(point) for point in points] for name, points in outcome.curves.items()
    }


@pytest.mark.slow
def test_the_state_of_a_run_that_is_not_finite_is_written(tmp_path, monkeypatch):
    digits = load_digits()
    images = digits.train[0].copy()
    images[7] = np.nan
    monkeypatch.setattr(full_model, "load_set", lambda *_: Digits((images, digits.train[1]), digits.validation))
    run = CliRunner().invoke(cli, ["train", "digits", "--steps", "30", "--out", str(tmp_path / "run")])
    assert isinstance(run.exception, NotFiniteError)
    assert f"The state before that step, for numpy.load: {tmp_path / 'run' / 'not_finite.npz'}" in run.output
    with np.load(tmp_path / "run" / "not_finite.npz") as leaves:
        assert {name: leaves[name].tobytes() for name in leaves} == {
            name: leaf.tobytes() for name, leaf in leaves_by_path(on_host(run.exception.state)).items()
        }
        assert leaves["step"] == run.exception.step < 30 and "params/conv1/weights" in leaves


@pytest.mark.slow
def test_the_whole_run_reads_98_of_100_digits(tmp_path):
    assert train_digits(tmp_path / "run").accuracy >= 0.98


def test_the_pictures(whole, tmp_path):
    paths = full_model.draw(whole[0], tmp_path)
    assert [path.name for path in paths] == ["curves.png", "confusion.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)


def test_the_command(command):
    outcome, folder, ran = command
    assert f"{outcome.accuracy:.1%} of the digits held out are right (step 30)." in ran.output
    assert f"aidl board {folder}" in ran.output
    assert all((folder / name).is_file() for name in ("curves.png", "confusion.png", "model.zip"))


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGINT") or os.name == "nt", reason="signals of Unix")
def test_ctrl_c_and_resume(tmp_path):
    command = [sys.executable, "-m", "aidl_jax", "train", "digits", "--out", "run", "--steps", "100000"]
    running = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        while not saved_steps(tmp_path / "run" / "checkpoints") and running.poll() is None:
            threading.Event().wait(0.2)
        running.send_signal(signal.SIGINT)
        _, complaint = running.communicate(timeout=120)
    finally:
        running.kill()
        running.wait()
    assert running.returncode == 2
    assert "stopped by Ctrl-C" in complaint and "Traceback" not in complaint
    step = saved_steps(tmp_path / "run" / "checkpoints")[-1]
    done = []

    def stop(moment):
        done.append(moment.step)
        if moment.step % 250 == 0:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_digits(tmp_path / "run", resume=True, hooks=(stop,))
    assert done[0] == step + 1
    assert [at for at, _ in read_curves(tmp_path / "run", done[-1])["validation loss"]] == [
        *range(250, done[-1] + 1, 250)
    ]


# Other digits


@pytest.fixture
def small_mnist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Files in MNIST's format where MNIST is looked for, and their sums in the place of MNIST's: scikit-learn's digits, enlarged."""
    monkeypatch.chdir(tmp_path)
    digits, contents = load_digits(), {}
    (tmp_path / "datasets" / "mnist").mkdir(parents=True)
    for split, (images, labels) in {"train": digits.train, "test": digits.validation}.items():
        large = np.pad(
            (images[:100, :, :, 0] * 255).astype(np.uint8).repeat(3, 1).repeat(3, 2), ((0, 0), (2, 2), (2, 2))
        )
        contents[split] = large, labels[:100].astype(np.uint8)
        remotes = []
        for remote, array in zip(datasets.MNIST[split], contents[split], strict=True):
            packed = gzip.compress(struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes())
            (tmp_path / "datasets" / "mnist" / remote.name).write_bytes(packed)
            remotes.append(Remote(remote.name, len(packed), hashlib.sha256(packed).hexdigest()))
        monkeypatch.setitem(datasets.MNIST, split, tuple(remotes))
    return contents


def test_of_mnist_the_test_images_are_held_out(small_mnist):
    found = load_set("mnist", seed=3)
    for (images, labels), (pixels, numbers) in zip((found.train, found.validation), small_mnist.values(), strict=True):
        assert images.shape == (100, 28, 28, 1) and images.dtype == np.float32 and labels.dtype == np.int32
        np.testing.assert_array_equal(np.round(images[..., 0] * 255), pixels)
        assert images.max() == 1.0
        np.testing.assert_array_equal(labels, numbers)


def test_of_five_thousand_a_fifth_is_held_out(monkeypatch):
    pixels, numbers = np.arange(50 * 784, dtype=np.uint32).reshape(50, 28, 28) % 256, np.arange(50, dtype=np.int32)
    monkeypatch.setattr(data, "mnist_5000", lambda: data.from_tensor_slices((pixels.astype(np.uint8), numbers)))
    found = load_set("mnist_5000", seed=1)
    assert [len(part[1]) for part in (found.train, found.validation)] == [40, 10]
    assert sorted([*found.train[1], *found.validation[1]]) == list(range(50))
    for images, labels in (found.train, found.validation):
        np.testing.assert_array_equal(np.round(images[..., 0] * 255), pixels[labels])


def test_error_no_such_digits():
    with pytest.raises(
        TrainError, match="no such set of digits: given 'cifar', expected 'digits' or 'mnist' or 'mnist_5000'"
    ):
        load_set("cifar")


@pytest.mark.slow
def test_the_command_on_mnist(small_mnist, monkeypatch):
    """From files to a model that takes drawings; a file that is another one stops it before anything is begun."""
    monkeypatch.setattr(full_model, "SAVE_EVERY", 2)
    command = ["train", "digits", "--data", "mnist", "--steps", "2", "--out", "run"]
    labels = next(Path("datasets", "mnist").glob("*labels*"))
    right = labels.read_bytes()
    labels.write_bytes(b"mine")
    run = CliRunner().invoke(cli, command)
    assert isinstance(run.exception, DataError) and "and it is fetched again" in str(run.exception)
    labels.write_bytes(right)
    run = CliRunner().invoke(cli, command)
    assert run.exit_code == 0, run.output
    assert "of the digits held out are right (step 2)." in run.output
    assert load_model("run/model.zip").predict(np.zeros((1, 64, 64, 1), np.uint8)).shape == (1, 10)
    assert train_digits(Path("run"), resume=True).data == "mnist"
    with pytest.raises(TrainError, match="begun with other seed; the seed chooses the order of the examples"):
        train_digits(Path("run"), seed=1, resume=True)


def test_the_command_offers_all_digits():
    (option,) = [option for option in cli.commands["train"].params if option.name == "data_set"]
    assert tuple(option.type.choices) == SETS


def test_batches_go_through_the_streaming_input_module():
    assert BATCH == 64 and jax.eval_shape(
        full_model.shift,
        jax.random.key(0),
        *[jax.ShapeDtypeStruct((8, 8, 1), np.float32), jax.ShapeDtypeStruct((), np.int32)],
    )[0].shape == (8, 8, 1)
