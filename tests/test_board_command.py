"""`aidl board`: what TensorBoard serves, how to reach it, how it ends, what is refused."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest
from click.testing import CliRunner

from aidl_jax import cli
from aidl_jax.board_command import ssh_line
from aidl_jax.errors import UsageError
from aidl_jax.train.summaries import SummaryWriter


@pytest.fixture
def runs(tmp_path):
    for name, loss in (("first", 0.5), ("second", 0.25)):
        with SummaryWriter(tmp_path / "runs" / name) as writer:
            writer.scalar("validation/loss", loss, 7)
    return tmp_path / "runs"


def served(address, path):
    with urllib.request.urlopen(f"{address}data/{path}", timeout=10) as answer:
        return json.load(answer)


def test_it_serves_the_runs_until_ctrl_c(runs):
    command = [sys.executable, "-m", "aidl_jax", "board", str(runs), "--port", "0"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as process:
        try:
            said = [process.stdout.readline() for _ in range(3)]
            found = re.search(r"shows .*runs at (http://localhost:(\d+)/)", said[0])
            assert found, process.stderr.read() if process.poll() is not None else said
            address, port = found.groups()
            assert re.search(rf": ssh .*-L {port}:localhost:{port} \S+@\S+$", said[1].rstrip())
            assert f"http://localhost:{port}/" in said[2] and "Ctrl-C" in said[2]
            for _ in range(2000):  # TensorBoard reads the files after it has opened the port
                tags = served(address, "plugin/scalars/tags")
                if tags.keys() == {"first", "second"}:
                    break
            assert {run: list(one) for run, one in tags.items()} == {
                "first": ["validation/loss"],
                "second": ["validation/loss"],
            }
            ((_, step, value),) = served(address, "plugin/scalars/scalars?run=second&tag=validation/loss")
            assert (step, value) == (7, 0.25)
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=60) == 0
            assert "TensorBoard has ended." in process.stdout.read()
        finally:
            process.kill()


def refused(*arguments):
    answer = CliRunner().invoke(cli.cli, ["board", *map(str, arguments)])
    assert isinstance(answer.exception, UsageError)
    return str(answer.exception)


@pytest.mark.filterwarnings(
    "ignore:html5lib's sanitizer is deprecated:DeprecationWarning"
)  # when TensorBoard is imported
def test_what_is_refused(tmp_path, runs, monkeypatch):
    monkeypatch.chdir(tmp_path / "runs" / "first")
    assert refused() == "there is no such folder: given runs. Fix: name the folder that your runs write into"
    (tmp_path / "empty").mkdir()
    assert re.search(r"no runs in this folder: given .*empty\. Fix: train first: fit\(", refused(tmp_path / "empty"))
    with socket.create_server(("localhost", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"cannot use this port: given --port {port}. Fix: name another" in refused(runs, "--port", port)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    assert refused(runs) == "TensorBoard is not installed. Fix: pip install 'aidl_jax[notebook]'"


def test_the_line_for_ssh():
    come = "192.0.2.1 50000 192.0.2.7 22"
    assert ssh_line(6007, {"USER": "ada", "SSH_CONNECTION": come}) == "ssh -L 6007:localhost:6007 ada@192.0.2.7"
    here = ssh_line(6006, {"USER": "ada"})
    assert here == f"ssh -L 6006:localhost:6006 ada@{socket.gethostname()}"
