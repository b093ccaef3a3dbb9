"""The meter: a delay put into a stage, by a clock that the test moves, must be found in that stage and be named."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from training import BATCHES, STEP, X, Y, assert_equal_trees, new_state

from aidl_jax import data
from aidl_jax.data.iterator import DataIterator
from aidl_jax.data.mapping import Mapped
from aidl_jax.data.sources import Slices
from aidl_jax.errors import TrainError
from aidl_jax.train.diagnosis import STAGES, diagnose
from aidl_jax.train.meter import measure
from aidl_jax.train.stopwatch import Stopwatch, watched

SIZE, STEP_TIME = 8, 0.003
ROWS = np.arange(40, dtype=np.float32)
NUMBER = jax.ShapeDtypeStruct((), np.float32)


class Clock:
    """Time that passes only where it is told to, in which the CPU waits or computes."""

    def __init__(self):
        self.now = self.computed = 0.0

    def __call__(self):
        return self.now

    def cpu(self):
        return self.computed

    def wait(self, seconds):
        self.now += seconds

    def compute(self, seconds):
        self.now += seconds
        self.computed += seconds


@pytest.fixture
def clock():
    return Clock()


def measured(clock, dataset, *, step_time=STEP_TIME, **options):
    def step(state, batch):
        clock.compute(step_time)
        return state, {}

    return measure(step, {"w": jnp.zeros(2)}, dataset, iterations=6, clock=clock, cpu_clock=clock.cpu, **options)


def stages(timings):
    return {name: getattr(timings, name) for name in STAGES if getattr(timings, name)}


def slowed(monkeypatch, clock, kind, seconds):
    """Each block of rows of a kind of stage takes so long for each row."""
    rows = kind.rows

    def slow(self, at, run):
        clock.compute(seconds * len(at))
        return rows(self, at, run)

    monkeypatch.setattr(kind, "rows", slow)


def generator(spend):
    def numbers():
        for number in ROWS:
            spend(0.002)
            yield number

    return data.from_generator(numbers, NUMBER).batch(SIZE)


def test_a_slow_source_is_the_disk(clock):
    timings = measured(clock, generator(clock.wait))
    assert stages(timings) == pytest.approx({"read": SIZE * 0.002, "step": STEP_TIME})
    assert timings.iteration == pytest.approx(timings.sum)
    assert diagnose(timings).bottleneck == 4


def test_a_source_that_computes_is_the_cpu(clock):
    timings = measured(clock, generator(clock.compute))
    assert timings.read == pytest.approx(timings.read_computing) == pytest.approx(SIZE * 0.002)
    told = diagnose(timings)
    assert told.bottleneck == 3 and "a source's computing 16 ms" in told.evidence


def test_a_slow_python_map_is_the_cpu(clock):
    dataset = data.from_tensor_slices(ROWS).map(lambda x: (clock.compute(0.002), x)[1], python=True, spec=NUMBER)
    timings = measured(clock, dataset.batch(SIZE))
    assert stages(timings) == pytest.approx({"decode": SIZE * 0.002, "step": STEP_TIME})
    told = diagnose(timings)
    assert told.bottleneck == 3 and "waits" not in told.evidence


def test_a_python_map_that_waits_is_the_cpu_with_a_doubt(clock):
    dataset = data.from_tensor_slices(ROWS).map(lambda x: (clock.wait(0.002), x)[1], python=True, spec=NUMBER)
    timings = measured(clock, dataset.batch(SIZE))
    assert timings.decode_waiting == pytest.approx(timings.decode)
    told = diagnose(timings)
    assert told.bottleneck == 3
    assert (
        "For 100% of the Python functions' time the CPU waits: if they open files, this is the disk (4)."
        in told.evidence
    )


def test_a_slow_compiled_map_is_the_cpu(clock, monkeypatch):
    slowed(monkeypatch, clock, Mapped, 0.016)
    timings = measured(clock, data.from_tensor_slices(ROWS).batch(SIZE).map(lambda x: x + 1))
    assert stages(timings) == pytest.approx({"map": 0.016, "step": STEP_TIME})
    assert diagnose(timings).bottleneck == 3


def test_slow_gathering_is_the_cpu(clock, monkeypatch):
    slowed(monkeypatch, clock, Slices, 0.002)
    timings = measured(clock, data.from_tensor_slices(ROWS).shuffle(seed=1).batch(SIZE))
    assert stages(timings) == pytest.approx({"batch": SIZE * 0.002, "step": STEP_TIME})
    assert diagnose(timings).bottleneck == 3


def test_rows_of_a_memory_map_are_read(clock, monkeypatch, tmp_path):
    slowed(monkeypatch, clock, Slices, 0.002)
    on_disk = np.memmap(tmp_path / "rows", np.float32, "w+", shape=(40,))
    timings = measured(clock, data.from_tensor_slices(on_disk).batch(SIZE))
    assert stages(timings) == pytest.approx({"read": SIZE * 0.002, "step": STEP_TIME})


def test_a_slow_copy_is_the_transfer(clock):
    timings = measured(
        clock, data.from_tensor_slices(ROWS).batch(SIZE), put=lambda batch: (clock.wait(0.016), batch)[1]
    )
    assert stages(timings) == pytest.approx({"copy": 0.016, "step": STEP_TIME})
    assert timings.copy_latency == pytest.approx(0.016) and timings.float_share == 1 and timings.examples == SIZE
    told = diagnose(timings)
    assert told.bottleneck == 2
    changes = {one.what.split(",")[0]: one.iterations_per_second for one in told.changes}
    assert changes["send uint8"] == pytest.approx(1 / 0.007)
    assert changes["a batch twice as large: half as many copies"] == pytest.approx(1 / 0.011)


def test_a_slow_step_is_the_model(clock):
    timings = measured(clock, data.from_tensor_slices(ROWS).batch(SIZE), step_time=0.5)
    assert stages(timings) == pytest.approx({"step": 0.5})
    told = diagnose(timings)
    assert told.bottleneck == 1 and told.predicted == pytest.approx(4)


def test_stages_are_measured_in_one_thread_whatever_the_dataset_has(clock):
    dataset = data.from_tensor_slices(ROWS).map(
        lambda x: (clock.compute(0.002), x)[1], python=True, num_parallel_calls=4, deterministic=False, spec=NUMBER
    )
    timings = measured(clock, dataset.batch(SIZE).prefetch(2))
    assert stages(timings) == pytest.approx({"decode": SIZE * 0.002, "step": STEP_TIME})


def test_what_is_done_inside_of_opened_datasets_is_told_apart(clock):
    def opened(x):
        clock.wait(0.008)
        return data.from_tensor_slices(np.stack([x] * 4)).map(
            lambda x: (clock.compute(0.001), x)[1], python=True, spec=NUMBER
        )

    timings = measured(clock, data.from_tensor_slices(ROWS).flat_map(opened, spec=NUMBER).batch(SIZE))
    assert stages(timings) == pytest.approx({"read": 0.016, "decode": 0.008, "step": STEP_TIME})


def pipelines():
    numbers = data.from_tensor_slices((X, Y)).shuffle(seed=3)
    yield numbers.map(lambda x, y: (x * 2, y)).batch(7).prefetch(2)
    yield data.zip((numbers, data.range(50))).filter(lambda pair, n: n % 3 == 0).batch(4)
    yield numbers.take(9).concatenate(numbers.skip(80)).cache().repeat(2).batch(5).unbatch().batch(6)
    yield (
        data.range(6)
        .interleave(lambda n: data.range(int(n)), cycle_length=2)
        .map(lambda n: np.float32(n) / 2, python=True, num_parallel_calls=2)
        .batch(4)
    )


@pytest.mark.parametrize("dataset", list(pipelines()), ids=["map", "filter", "cache", "interleave"])
def test_a_watched_pipeline_gives_the_same_batches(dataset, clock):
    got, wanted = list(DataIterator(watched(dataset.stage, Stopwatch(clock, clock.cpu)))), list(dataset)
    assert len(got) == len(wanted) > 0
    for one, other in zip(got, wanted, strict=True):
        assert_equal_trees(one, other)


def test_a_real_run_leaves_the_state_as_it_is():
    state = new_state()
    timings = measure(STEP, state, BATCHES, iterations=3)
    assert min(timings.batch, timings.copy, timings.step, timings.pipeline, timings.iteration) > 0
    assert_equal_trees(state, new_state())


def test_refusals():
    step, batches = (lambda state, batch: (state, {})), data.from_tensor_slices(ROWS).batch(4)
    with pytest.raises(
        TrainError, match=r"^there is nothing to measure: given iterations=0, expected at least 1. Fix: iter"
    ):
        measure(step, {}, batches, iterations=0)
    with pytest.raises(
        TrainError, match=r"^there is nothing to measure: given .*take\(0\). Fix: the dataset has no batch$"
    ):
        measure(step, {}, batches.take(0))
    with pytest.raises(
        TrainError, match=r"^the elements are no batches: given <Dataset .*>. Fix: measure dataset.batch\(32\)"
    ):
        measure(step, {}, data.from_tensor_slices(ROWS))
