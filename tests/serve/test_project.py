"""The template of a team's project runs as it is, in small: trained, evaluated, exported, and asked by a process without its code."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from aidl_jax import cli

pytestmark = pytest.mark.slow  # three scripts, each of which compiles the model anew
PROJECT = Path(__file__).resolve().parents[2] / "examples" / "project"
RUN = """
import functools, sys, train
train.fresh_state = functools.cache(train.fresh_state)  # compiled once for the three scripts
import evaluate, export
sys.argv = ["train.py", "--steps", "100"]
train.main(), evaluate.main(), export.main()
"""


STOPPED = """
import os, sys, train
from pathlib import Path
from aidl_jax.train.paths import write_leaves

def run(*arguments):
    sys.argv = ["train.py", "--steps", "150", *arguments]
    train.main()

def begin(folder):
    os.mkdir(folder)
    os.chdir(folder)

def ctrl_c(moment):
    if moment.step == 130:
        raise KeyboardInterrupt

begin("whole")
run()
begin("../stopped")
every, train.train.every = train.train.every, lambda count, hook: ctrl_c
try:
    run()
except KeyboardInterrupt:
    print("stopped after", train.train.saved_steps(train.CHECKPOINTS))
train.train.every = every
run("--resume")
like = train.fresh_state()
for folder in ("../whole", "."):
    state, _ = train.train.restore(Path(folder) / train.CHECKPOINTS, like)
    write_leaves(Path(folder, "end.npz"), state)
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("team") / "project"
    shutil.copytree(PROJECT, folder, ignore=shutil.ignore_patterns("runs", "__pycache__"))
    done = subprocess.run([sys.executable, "-c", RUN], cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def test_the_numbers_for_the_report(project):
    told = json.loads((project / "runs" / "results.json").read_text())
    assert told["step"] == 100 and set(told["accuracy"]) == {"train", "validation", "test"}
    assert 0.85 < told["accuracy"]["test"] <= 1 and 0.8 < told["baseline"] < 0.95


def test_a_process_without_its_code_reads_its_digits(project, monkeypatch):
    from sklearn import datasets

    pixels, labels = datasets.load_digits(return_X_y=True)
    images = np.round(pixels[:50].reshape(-1, 8, 8, 1) * 255 / 16).astype(np.uint8).repeat(8, 1).repeat(8, 2)
    monkeypatch.chdir(project)
    np.save("fifty.npy", images)
    ran = CliRunner().invoke(cli.cli, ["predict", "runs/model.zip", "fifty.npy"], standalone_mode=False)
    right = [
        json.loads(line)["class"] == str(label) for line, label in zip(ran.stdout.splitlines(), labels, strict=False)
    ]
    assert ran.return_value == 0 and len(right) == 50 and np.mean(right) > 0.85


def test_a_run_is_not_written_over(project):
    done = subprocess.run([sys.executable, "train.py"], cwd=project, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert done.stderr == "there is a run in runs/. Fix: python train.py --resume, or remove the folder\n"


def test_a_run_that_was_stopped_ends_as_one_that_was_not(tmp_path):
    folder = tmp_path / "project"
    shutil.copytree(PROJECT, folder, ignore=shutil.ignore_patterns("runs", "__pycache__"))
    done = subprocess.run([sys.executable, "-c", STOPPED], cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "stopped after [100]" in done.stdout
    with np.load(folder / "whole" / "end.npz") as one, np.load(folder / "stopped" / "end.npz") as other:
        assert one["step"] == other["step"] == 150 and one.files == other.files and len(one.files) > 20
        for name in one.files:
            np.testing.assert_array_equal(one[name], other[name], err_msg=name)


def test_the_shares_are_those_of_the_course():
    text = (PROJECT / "README.md").read_text()
    assert [text.count(f"| {part} | {share} % |") for part, share in
            (("Report", 40), ("Presentation", 30), ("Advisor's assessment", 30))] == [1, 1, 1]  # fmt: skip
