"""Training on several devices and in several processes gives the losses of one, to rounding."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from training import BATCHES, STEP, new_state, on_host

from aidl_jax.errors import DataError, TrainError
from aidl_jax.train import fit, restore

HERE = Path(__file__).parent
COMMON = """
import json, sys
sys.path.insert(0, {here!r})
import jax
{start}
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from training import BATCHES, STEP, X, Y, assert_equal_trees, new_state
from aidl_jax import data
from aidl_jax.errors import TrainError
from aidl_jax.train import checkpoints, fit, restore, saved_steps
from aidl_jax.train.devices import put_state, stack
losses = {{}}
def run(name, batches, hook=lambda m: None, **options):
    told = losses.setdefault(name, [])
    hooks = [lambda m: told.append(float(m.metrics["loss"])), hook]
    return fit(STEP, new_state(), batches, steps=6, hooks=hooks, **options)
mesh = Mesh(np.array(jax.devices()), ("data",))
"""
EIGHT = (
    COMMON
    + """
state = run("mesh", BATCHES, device=mesh)
assert len(state.params["layer1"]["weights"].sharding.device_set) == 8
assert state.params["layer1"]["weights"].is_fully_replicated
run("fused", BATCHES, device=mesh, fuse=3)
run("one", BATCHES, device=jax.devices()[3])
split = NamedSharding(mesh, PartitionSpec("data"))
run("sent", BATCHES.prefetch(2, device=split), device=mesh, fuse=3)
run("sent to where the state goes", BATCHES.prefetch(2, device=jax.devices()[5]), fuse=3)
stacked = stack([jax.device_put((X[:16], Y[:16]), split)] * 3)
assert stacked[0].sharding.is_equivalent_to(NamedSharding(mesh, PartitionSpec(None, "data")), 3)
def refused(name, batches, state, **options):
    try:
        fit(STEP, state, batches, steps=1, **options)
    except TrainError as error:
        losses[name] = str(error)
refused("uneven", data.from_tensor_slices((X, Y)).batch(12), new_state(), device=mesh)
elsewhere = BATCHES.prefetch(2, device=jax.devices()[1])
refused("mesh, elsewhere", elsewhere, new_state(), device=mesh)
refused("one, elsewhere", elsewhere, new_state(), device="cpu")
refused("state, elsewhere", elsewhere, put_state(new_state(), jax.devices()[2]))
print(json.dumps(losses))
"""
)
TWO = (
    COMMON
    + """
parts = data.from_tensor_slices((X, Y)).shuffle(seed=1).shard(2, jax.process_index()).batch(8).repeat()
hook = checkpoints({folder!r}, every=2, keep=2, best="loss", mode="min")
whole = run("mesh", parts, device=mesh, hook=hook)
state, position = restore({folder!r}, new_state(seed=7), 4)
again = fit(STEP, state, parts, steps=6, device=mesh, position=position)
assert_equal_trees(again, whole)
try:
    fit(STEP, new_state(), parts, steps=2, hooks=[checkpoints({folder!r} + "-2", every=2)])
except TrainError as error:
    losses["no mesh"] = str(error)
print(json.dumps({{**losses, "saved": saved_steps({folder!r}), "at": position["at"], "pipeline": position["pipeline"]}}))
"""
)


def environment(devices: int) -> dict[str, str]:
    flags = f"--xla_force_host_platform_device_count={devices}"
    return {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}


def losses_here() -> list[float]:
    told: list[float] = []
    fit(STEP, new_state(), BATCHES, steps=6, hooks=[lambda moment: told.append(float(moment.metrics["loss"]))])
    return told


def test_eight_devices():
    code = EIGHT.format(here=str(HERE), start="")
    done = subprocess.run([sys.executable, "-c", code], env=environment(8), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    expected = losses_here()
    np.testing.assert_allclose(told["mesh"], expected, rtol=1e-5)
    np.testing.assert_allclose(told["one"], expected, rtol=1e-6)
    np.testing.assert_allclose(told["fused"], [expected[2], expected[5]], rtol=1e-5)
    np.testing.assert_allclose(told["sent"], [expected[2], expected[5]], rtol=1e-5)
    np.testing.assert_allclose(told["sent to where the state goes"], [expected[2], expected[5]], rtol=1e-5)
    assert "the devices cannot share a batch evenly: given 12 rows on 8 devices" in told["uneven"]
    another = (
        "batches are sent to another place than the one where training runs: given prefetch(device=...) to cpu:1, and "
    )
    fix = ", expected the same in both. Fix: leave device out of prefetch: fit sends batches where the state is; or give both the same"
    four = ", ".join(f"cpu:{number}" for number in range(4))
    assert told["mesh, elsewhere"] == f"{another}fit(device=...) on {four}, ..., split by ('data',){fix}"
    assert told["one, elsewhere"] == f"{another}fit(device=...) on cpu:0{fix}"
    assert told["state, elsewhere"] == f"{another}the state on cpu:2{fix}"


def test_two_processes(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    started = []
    for number in range(2):
        start = f"jax.distributed.initialize({address!r}, num_processes=2, process_id={number})"
        code = TWO.format(here=str(HERE), start=start, folder=str(tmp_path / "run"))
        started.append(
            subprocess.Popen(
                [sys.executable, "-c", code],
                env=environment(1),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    try:
        answers = [one.communicate(timeout=300) for one in started]
    finally:
        for one in started:
            one.kill()
    assert [one.returncode for one in started] == [0, 0], answers[0][1] + answers[1][1]
    expected = losses_here()
    for number, (answer, _) in enumerate(answers):
        told = json.loads(answer.splitlines()[-1])
        np.testing.assert_allclose(told["mesh"], expected, rtol=1e-5)
        assert told["at"] == 4 and f"shard(2, {number})" in told["pipeline"]
        best = 2 * int(np.argmin(expected[1::2])) + 2
        assert told["saved"] == sorted({best, 4, 6})
        assert (
            "several processes save one run, and this state is each one's own: given 2 processes, and no mesh"
            in told["no mesh"]
        )
    state, position = restore(tmp_path / "run", new_state(seed=7))
    assert int(state.step) == 6
    with pytest.raises(DataError, match=r"the state belongs to another pipeline: given .*shard\(2, 0\)"):
        fit(STEP, state, BATCHES, steps=8, position=position)


def test_a_device_by_name():
    state = fit(STEP, new_state(), BATCHES, steps=2, device="cpu")
    assert state.params["layer1"]["weights"].device == jax.devices("cpu")[0]
    jax.tree.map(np.testing.assert_array_equal, on_host(state), on_host(fit(STEP, new_state(), BATCHES, steps=2)))


def test_error_no_such_device():
    with pytest.raises(TrainError, match=r"there is no such device: given nonsense, expected cpu.*aidl_jax\[gpu\]"):
        fit(STEP, new_state(), BATCHES, steps=1, device="nonsense")
