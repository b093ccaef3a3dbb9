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

from aidl_jax.errors import TrainError
from aidl_jax.train import fit

HERE = Path(__file__).parent
COMMON = """
import json, sys
sys.path.insert(0, {here!r})
import jax
{start}
import numpy as np
from jax.sharding import Mesh
from training import BATCHES, STEP, X, Y, new_state
from aidl_jax import data
from aidl_jax.errors import TrainError
from aidl_jax.train import fit
losses = {{}}
def run(name, batches, **options):
    told = losses.setdefault(name, [])
    state = fit(STEP, new_state(), batches, steps=6, hooks=[lambda m: told.append(float(m.metrics["loss"]))], **options)
    return state
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
try:
    fit(STEP, new_state(), data.from_tensor_slices((X, Y)).batch(12), steps=1, device=mesh)
except TrainError as error:
    losses["refused"] = str(error)
print(json.dumps(losses))
"""
)
TWO = (
    COMMON
    + """
parts = data.from_tensor_slices((X, Y)).shuffle(seed=1).shard(2, jax.process_index()).batch(8).repeat()
run("mesh", parts, device=mesh)
print(json.dumps(losses))
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
    assert "the devices cannot share a batch evenly: given 12 rows on 8 devices" in told["refused"]


def test_two_processes():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    started = []
    for number in range(2):
        start = f"jax.distributed.initialize({address!r}, num_processes=2, process_id={number})"
        code = TWO.format(here=str(HERE), start=start)
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
    for answer, _ in answers:
        np.testing.assert_allclose(json.loads(answer.splitlines()[-1])["mesh"], losses_here(), rtol=1e-5)


def test_a_device_by_name():
    state = fit(STEP, new_state(), BATCHES, steps=2, device="cpu")
    assert state.params["layer1"]["weights"].device == jax.devices("cpu")[0]
    jax.tree.map(np.testing.assert_array_equal, on_host(state), on_host(fit(STEP, new_state(), BATCHES, steps=2)))


def test_error_no_such_device():
    with pytest.raises(TrainError, match=r"there is no such device: given nonsense, expected cpu.*aidl_jax\[gpu\]"):
        fit(STEP, new_state(), BATCHES, steps=1, device="nonsense")
