"""Summaries, read back by TensorBoard's own reader: values, names, steps; and what cannot be written."""

from __future__ import annotations

import io
import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto.graph_pb2 import GraphDef
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from training import BATCHES, STEP, X, Y, loss_fn, new_state, on_host

from aidl_jax import optimizers
from aidl_jax.errors import TrainError
from aidl_jax.graph import trace
from aidl_jax.schedules import piecewise
from aidl_jax.train import fit, make_train_step, state_of
from aidl_jax.train.summaries import SummaryWriter, summaries

STATE = new_state()


def fresh():
    return jax.tree.map(jnp.copy, STATE)


def read(folder) -> EventAccumulator:
    found = EventAccumulator(str(folder), size_guidance={"histograms": 0, "images": 0, "scalars": 0, "tensors": 0})
    return found.Reload()


def curve(found, name):
    return {event.step: event.value for event in found.Scalars(name)}


@pytest.fixture
def writer(tmp_path):
    with SummaryWriter(tmp_path / "run") as writer:
        yield writer


@pytest.mark.oldest
def test_a_run_writes_metrics_and_rate_when_due(tmp_path):
    expected = {"loss": {}, "accuracy": {}}

    def note(moment):
        for name, values in expected.items():
            values[moment.step] = float(moment.metrics[name])

    fit(STEP, fresh(), BATCHES, steps=11, hooks=[note, summaries(tmp_path, every=4)])
    found = read(tmp_path)
    assert sorted(found.Tags()["scalars"]) == ["accuracy", "learning_rate", "loss"]
    for name, values in expected.items():
        assert curve(found, name) == {step: values[step] for step in (4, 8, 11)}
    assert curve(found, "learning_rate") == dict.fromkeys((4, 8, 11), np.float32(0.01))


def test_nothing_is_read_between(tmp_path):
    """Metrics that cannot be read: only where the hook is due does it touch them."""

    class Unread(dict):
        def items(self):
            raise LookupError

    hook = summaries(tmp_path, every=3)
    seen = []

    def shy(moment):
        moment.metrics = Unread(moment.metrics)
        try:
            hook(moment)
        except LookupError:
            seen.append(moment.step)
        assert moment.taken == (moment.step in seen)

    with hook:
        fit(STEP, fresh(), BATCHES, steps=8, hooks=[shy])
    assert seen == [3, 6, 8]


def test_a_rate_that_changes_and_an_optimizer_without(tmp_path):
    falling = optimizers.sgd(piecewise([2], [0.5, 0.25]))
    state = state_of(fresh().params, {}, falling, jax.random.key(0))
    fit(make_train_step(loss_fn, falling), state, BATCHES, steps=4, hooks=[summaries(tmp_path / "falling", every=1)])
    assert curve(read(tmp_path / "falling"), "learning_rate") == {1: 0.5, 2: 0.5, 3: 0.25, 4: 0.25}
    plain = optax.sgd(0.1)
    state = state_of(fresh().params, {}, plain, jax.random.key(0))
    fit(make_train_step(loss_fn, plain), state, BATCHES, steps=2, hooks=[summaries(tmp_path / "plain", every=1)])
    assert sorted(read(tmp_path / "plain").Tags()["scalars"]) == ["accuracy", "loss"]


def test_histograms_of_parameters_and_gradients_by_scope(tmp_path):
    batch = (X[:16], Y[:16])
    kept = {}

    def note(moment):
        state = moment.state
        key = jax.random.fold_in(state.key, moment.step)
        gradients = jax.grad(lambda params: loss_fn(params, state.model_state, batch, key)[0])(state.params)
        kept[moment.step] = {"params": on_host(state.params), "gradients": on_host(gradients)}

    hook = summaries(tmp_path, every=2, histograms=True, gradients=(loss_fn, batch))
    fit(STEP, fresh(), BATCHES, steps=4, hooks=[note, hook])
    found = read(tmp_path)
    names = {f"{layer}/{kind}" for layer in ("layer1", "layer2") for kind in ("weights", "biases")}
    assert set(found.Tags()["histograms"]) == {f"{what}/{name}" for what in ("params", "gradients") for name in names}
    for what in ("params", "gradients"):
        for name in names:
            assert [event.step for event in found.Histograms(f"{what}/{name}")] == [2, 4]
            for event in found.Histograms(f"{what}/{name}"):
                layer, kind = name.split("/")
                assert_distributed(event.histogram_value, kept[event.step][what][layer][kind])


def assert_distributed(histogram, values):
    values = values.astype(np.float64).ravel()
    told = [histogram.num, histogram.min, histogram.max, histogram.sum, histogram.sum_squares]
    np.testing.assert_allclose(
        told, [values.size, values.min(), values.max(), values.sum(), (values**2).sum()], rtol=1e-5
    )
    edges = np.array([-np.inf, *histogram.bucket_limit])
    np.testing.assert_array_equal(histogram.bucket, np.histogram(values, edges)[0])


def test_images(tmp_path, writer):
    from PIL import Image

    grey = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
    colours = np.random.default_rng(0).uniform(size=(5, 6, 3)).astype(np.float32)
    writer.image("grey", grey, 1)
    writer.image("colours", jnp.asarray(colours), 2)
    writer.image("several", np.stack([grey, 255 - grey])[..., None], 3)
    writer.close()
    found = read(tmp_path / "run")

    def pixels(name, step):
        (event,) = found.Images(name)
        assert event.step == step
        image = np.asarray(Image.open(io.BytesIO(event.encoded_image_string)))
        assert image.shape == (event.height, event.width, 3)
        return image

    np.testing.assert_array_equal(pixels("grey", 1), np.repeat(grey[..., None], 3, 2))
    np.testing.assert_array_equal(pixels("colours", 2), np.rint(colours * 255))
    np.testing.assert_array_equal(pixels("several", 3)[..., 0], np.hstack([grey, 255 - grey]))


def test_text_scalars_and_the_graph(tmp_path, writer):
    writer.text("notes/why", "a **lower** rate", 3)
    writer.scalar("validation/loss", np.float32(0.5), 7)
    writer.scalar("validation/loss", jnp.float32(jnp.nan), 8)
    graph = trace(lambda x: jnp.sin(x) * 2, 1.0)
    writer.graph(graph)
    writer.close()
    found = read(tmp_path / "run")
    (event,) = found.Tensors("notes/why/text_summary")
    assert event.step == 3 and event.tensor_proto.string_val == [b"a **lower** rate"]
    values = curve(found, "validation/loss")
    assert values[7] == 0.5 and np.isnan(values[8])
    nodes = GraphDef.FromString(found.Graph().SerializeToString()).node
    assert {node.name for node in nodes} >= {"placeholders/x", "sin", "mul"}


def test_hyperparameters(tmp_path, writer):
    chosen = {"learning_rate": 0.1, "units": 5, "dropout": True, "optimizer": "adam"}
    writer.hyperparameters(chosen, metrics=("accuracy",))
    writer.close()
    metadata = read(tmp_path / "run").summary_metadata
    experiment = HParamsPluginData.FromString(metadata["_hparams_/experiment"].plugin_data.content).experiment
    assert {one.name for one in experiment.hparam_infos} == chosen.keys()
    assert [one.name.tag for one in experiment.metric_infos] == ["accuracy"]
    begun = HParamsPluginData.FromString(
        metadata["_hparams_/session_start_info"].plugin_data.content
    ).session_start_info
    values = {name: getattr(value, value.WhichOneof("kind")) for name, value in begun.hparams.items()}
    assert values == {"learning_rate": 0.1, "units": 5.0, "dropout": True, "optimizer": "adam"}


def test_a_writer_that_is_passed_stays_open(tmp_path, writer):
    fit(STEP, fresh(), BATCHES, steps=2, hooks=[summaries(writer, every=1)])
    writer.scalar("validation/loss", 1.0, 2)
    writer.close()
    assert {"loss", "validation/loss"} <= set(read(tmp_path / "run").Tags()["scalars"])
    assert len(list((tmp_path / "run").iterdir())) == 1


def test_a_run_that_is_gone_on_with_replaces_what_came_after(tmp_path):
    kept = {}

    def keep(moment):
        if moment.step == 4:
            kept["state"] = jax.tree.map(jnp.copy, moment.state)
            kept["position"] = json.loads(json.dumps(moment.batches.state()))

    fit(STEP, fresh(), BATCHES, steps=8, hooks=[keep, summaries(tmp_path, every=1)])
    first = curve(read(tmp_path), "loss")
    fit(STEP, kept["state"], BATCHES, steps=6, position=kept["position"], hooks=[summaries(tmp_path, every=1)])
    assert [event.step for event in read(tmp_path).Scalars("loss")] == [1, 2, 3, 4, 5, 6]
    assert curve(read(tmp_path), "loss") == {step: first[step] for step in range(1, 7)}


BAD = [
    (lambda w: w.scalar("loss", np.ones(3), 1), r"loss: a scalar is one number: given an array of shape \(3,\)\. Fix: take its mean"),
    (lambda w: w.scalar("my loss", 1.0, 1), r"cannot be the name of a summary: given 'my loss', expected .*\. Fix: write 'my_loss'"),
    (lambda w: w.text("/notes", "x"), r"given '/notes', .*\. Fix: write 'notes'"),
    (lambda w: w.histogram("params", {"a": {"w": np.array([1, np.nan])}}, 1), "params/a/w: a histogram is of finite.*given 1 of 2 not finite"),
    (lambda w: w.histogram("w", np.zeros(0), 1), "w: a histogram is of finite numbers, at least one: given no value"),
    (lambda w: w.image("x", np.zeros((2, 2, 5), np.uint8), 1), r"x: this is no image: given uint8\[2, 2, 5\], expected uint8, or float"),
    (lambda w: w.image("x", np.zeros((2, 2), np.int32), 1), r"x: this is no image: given int32\[2, 2, 1\]"),
    (lambda w: w.image("x", np.full((2, 2), 255.0), 1), r"has values in \[0, 1\]: given values from 255.0 to 255.0\. Fix: divide by 255"),
    (lambda w: w.hyperparameters({"rate": np.float32(1)}), r"rate: a hyperparameter is a number.*given a float32\. Fix: write float"),
]  # fmt: skip


@pytest.mark.parametrize(("write", "told"), BAD)
def test_what_cannot_be_written(writer, write, told):
    with pytest.raises(TrainError, match=told):
        write(writer)


def test_less_than_a_step(tmp_path):
    with pytest.raises(TrainError, match="summaries: every is a number of at least 1: given every=0"):
        summaries(tmp_path, every=0)
