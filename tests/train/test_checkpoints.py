"""Checkpoints: what is saved comes back bit for bit, which are kept, what is refused, and runs that are killed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from training import BATCHES, MODEL, OPTIMIZER, STEP, X, assert_equal_trees, new_state, on_host

from aidl_jax import data, models, optimizers
from aidl_jax.errors import TrainError
from aidl_jax.train import every, fit, make_state
from aidl_jax.train.checkpoints import OtherStateError, checkpoints, restore, saved_steps

pytestmark = pytest.mark.oldest


STATE = new_state()


def fresh():
    return jax.tree.map(jnp.copy, STATE)


def run(folder, steps, *, state=None, position=None, fuse=1, dataset=BATCHES, hooks=(), **options):
    state = fresh() if state is None else state
    hooks = [*hooks, checkpoints(folder, **{"every": 4, **options})]
    return fit(STEP, state, dataset, steps=steps, position=position, fuse=fuse, hooks=hooks)


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    """A folder with the checkpoints of steps 4, 8 and 10."""
    folder = tmp_path_factory.mktemp("saved") / "checkpoints"
    run(folder, 10)
    return folder


def test_what_is_saved_comes_back_with_its_place_in_the_data(tmp_path):
    kept = {}

    def keep(moment):
        kept[moment.step] = (on_host(moment.state), moment.batches.state())

    last = run(tmp_path, 10, hooks=[keep])
    assert saved_steps(tmp_path) == [4, 8, 10]
    for step in (4, 8, 10):
        state, position = restore(tmp_path, last, step)
        assert jax.tree.structure(state) == jax.tree.structure(last)
        assert_equal_trees(jax.tree.leaves(on_host(state)), jax.tree.leaves(kept[step][0]))
        assert position == kept[step][1] == json.loads(json.dumps(position))
        assert jax.random.key_impl(state.key) == jax.random.key_impl(last.key)
    assert_equal_trees(restore(tmp_path, last)[0], last)


@pytest.mark.parametrize("fuse", [1, 4])
def test_a_run_that_is_gone_on_with_is_the_run_that_was_not_stopped(tmp_path, fuse):
    whole = run(tmp_path / "whole", 19, fuse=fuse)
    run(tmp_path / "parts", 8, fuse=fuse)
    state, position = restore(tmp_path / "parts", new_state(seed=7))
    assert_equal_trees(run(tmp_path / "parts", 19, state=state, position=position, fuse=fuse), whole)
    assert saved_steps(tmp_path / "parts") == saved_steps(tmp_path / "whole") == [12, 16, 19]


def test_blocks_are_saved_at_their_ends(tmp_path):
    run(tmp_path, 19, fuse=8, keep=9)
    assert saved_steps(tmp_path) == [8, 16, 19]


def test_the_latest_and_the_best_are_kept(tmp_path):
    accuracies = {2: 0.1, 4: 0.9, 6: 0.3, 8: 0.9, 10: 0.2, 12: 0.4, 14: 0.5}
    run(tmp_path / "max", 14, every=2, keep=2, best=lambda moment: accuracies[moment.step])
    assert saved_steps(tmp_path / "max") == [8, 12, 14]
    assert int(restore(tmp_path / "max", fresh(), "best")[0].step) == 8
    run(tmp_path / "min", 14, every=2, keep=1, best=lambda moment: accuracies[moment.step], mode="min")
    assert saved_steps(tmp_path / "min") == [2, 14]
    assert int(restore(tmp_path / "min", fresh(), "best")[0].step) == 2
    assert sorted(path.name for path in (tmp_path / "min").iterdir()) == ["14", "2"]


def test_the_best_by_a_metric_of_the_step(tmp_path):
    losses = {}
    run(
        tmp_path,
        9,
        every=1,
        keep=1,
        best="loss",
        mode="min",
        hooks=[lambda m: losses.update({m.step: float(m.metrics["loss"])})],
    )
    best = min(losses, key=losses.get)
    assert saved_steps(tmp_path) == sorted({best, 9})


def test_a_state_that_is_not_finite_is_not_saved(tmp_path):
    bad = np.where(np.arange(96)[:, None] // 16 == 2, np.nan, X).astype(np.float32)
    batches = data.from_tensor_slices((bad, np.zeros(96, np.int32))).batch(16)
    with pytest.raises(TrainError, match="not finite in step 3"):
        run(tmp_path, 6, every=1, dataset=batches)
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("checkpoints")] == []
    assert saved_steps(tmp_path) == [1, 2]


def test_what_is_saved_does_not_change_while_the_run_goes_on(tmp_path):
    """The step takes the memory of the state; the copy that is written must not be that memory."""
    kept = {}
    run(tmp_path, 12, every=1, keep=12, hooks=[lambda m: kept.update({m.step: on_host(m.state)})])
    for step in saved_steps(tmp_path):
        assert_equal_trees(jax.tree.leaves(on_host(restore(tmp_path, fresh(), step)[0])), jax.tree.leaves(kept[step]))
    assert len(kept) == len(saved_steps(tmp_path)) == 12


def other_state(model=MODEL, optimizer=OPTIMIZER, key=None):
    return make_state(model, optimizer, jax.random.key(0) if key is None else key, X[:1])


def deeper(scope, x, key=None):
    return models.mlp(scope, x, units=(5, 3, 3))


def test_paths_that_are_missing(saved):
    with pytest.raises(
        OtherStateError, match=r"10: the checkpoint holds the state of another.*given missing: .* and \d+ more\. Fix"
    ):
        restore(saved, other_state(deeper))
    with pytest.raises(OtherStateError) as caught:
        restore(saved, other_state(deeper))
    assert {"params/layer3/weights", "params/layer3/biases", "opt_state/0/mu/layer3/biases"} <= set(
        caught.value.missing
    )
    assert len(caught.value.missing) == 6 and caught.value.unexpected == caught.value.misshaped == []


def test_paths_that_are_unexpected(saved):
    with pytest.raises(
        OtherStateError, match=r"given unexpected: opt_state/0/count, .* and 7 more\. Fix: make the state with"
    ) as caught:
        restore(saved, fresh()._replace(opt_state=()))
    assert "opt_state/1/hyperparams/learning_rate" in caught.value.unexpected
    assert caught.value.missing == caught.value.misshaped == []


def test_paths_that_are_misshaped(saved):
    state = fresh()
    state.params["layer1"]["biases"] = jnp.zeros(7)
    state.params["layer2"]["biases"] = jnp.zeros(3, jnp.bfloat16)
    told = r"misshaped: params/layer1/biases \(saved float32\[5\], wanted float32\[7\]\), params/layer2/biases \(saved float32\[3\], wanted bfloat16\[3\]\)\. Fix"
    with pytest.raises(OtherStateError, match=told) as caught:
        restore(saved, state)
    assert caught.value.misshaped == ["params/layer1/biases", "params/layer2/biases"]
    with pytest.raises(OtherStateError, match=r"misshaped: key \(saved uint32\[2\], wanted uint32\[4\]\)"):
        restore(saved, fresh()._replace(key=jax.random.key(0, impl="rbg")))


def test_all_kinds_at_once(saved):
    with pytest.raises(OtherStateError, match=r"missing: .*; unexpected: .*; misshaped: "):
        restore(saved, other_state(deeper, optimizers.momentum(0.1))._replace(step=jnp.zeros(2, jnp.int32)))


def test_there_is_no_checkpoint(tmp_path, saved):
    for folder in (tmp_path, tmp_path / "never"):
        with pytest.raises(TrainError, match=r"there is no checkpoint here: given .*\. Fix: train first"):
            restore(folder, fresh())
    assert saved_steps(tmp_path / "never") == [] and not (tmp_path / "never").exists()
    with pytest.raises(TrainError, match=r"of this step: given 5, expected 'latest', 'best', or one of 4, 8, 10"):
        restore(saved, fresh(), 5)
    with pytest.raises(TrainError, match=r"no checkpoint here says how good it is: .* best=\"accuracy\"\)"):
        restore(saved, fresh(), "best")


def test_a_folder_of_another_run_is_refused(tmp_path):
    run(tmp_path, 8)
    with pytest.raises(
        TrainError, match=r"later steps.*given step 8, and this run is at step 1\. Fix: go on from there with"
    ):
        run(tmp_path, 12)
    assert saved_steps(tmp_path) == [4, 8]


def test_what_cannot_be_written_is_told(tmp_path):
    def damage(moment):
        if moment.step == 6:
            shutil.rmtree(tmp_path / "run")
            (tmp_path / "run").touch()

    with pytest.raises(OSError, match="run"):
        run(tmp_path / "run", 12, hooks=[damage])


def test_what_cannot_be_asked_for(tmp_path):
    with pytest.raises(TrainError, match=r"not open: given .*\. Fix: pass fit the hook itself"):
        fit(STEP, fresh(), BATCHES, steps=4, hooks=[every(2, checkpoints(tmp_path, every=2))])
    with pytest.raises(TrainError, match="keep is a number of at least 1: given keep=0"):
        checkpoints(tmp_path, every=1, keep=0)
    with pytest.raises(TrainError, match="every is a number of at least 1: given every=0"):
        checkpoints(tmp_path, every=0)
    with pytest.raises(TrainError, match="the largest or the smallest: given mode='maximum', expected 'max' or 'min'"):
        checkpoints(tmp_path, every=1, best="loss", mode="maximum")
    with pytest.raises(
        TrainError, match=r"reports no such metric: given best='acuracy'\. Fix: did you mean 'accuracy'\?"
    ):
        run(tmp_path / "typo", 4, best="acuracy")
    with pytest.raises(TrainError, match="step 4: what tells the best checkpoint is not finite: given nan"):
        run(tmp_path / "nan", 4, best=lambda _: float("nan"))


def killed_runs(folder: Path, fuse: int, seed: int, kills: int) -> list[list[int]]:
    """The steps whose checkpoints were there after each kill, all of them looked at; see killed_runs.py."""
    environment = os.environ | {
        "JAX_COMPILATION_CACHE_DIR": str(folder / "cache"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        "OPENBLAS_NUM_THREADS": "1",  # with more there would be threads, and no fork
    }
    command = [
        sys.executable,
        str(Path(__file__).with_name("killed_runs.py")),
        str(folder),
        *map(str, (fuse, seed, kills)),
    ]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_killed_and_resumed_it_is_the_same_run(tmp_path):
    found = killed_runs(tmp_path, fuse=16, seed=4, kills=2)
    assert len(found) >= 4 and found[-1][-1] == 40


@pytest.mark.slow
@pytest.mark.parametrize("fuse", [1, 16])
def test_killed_again_and_again(tmp_path, fuse):
    kills = int(os.environ.get("AIDL_KILLS", "20"))
    found = killed_runs(tmp_path, fuse, seed=100 + fuse, kills=kills)
    assert len(found) >= kills + 2 and found[-1][-1] == 40
