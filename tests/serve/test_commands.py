"""`aidl predict` and `aidl serve`: what they print, refuse and exit with."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from served import NAMES, asked, by_hand, drawn, exported

from aidl_jax import cli
from aidl_jax.errors import ServeError, UsageError
from aidl_jax.serve import probabilities


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return exported(tmp_path_factory.mktemp("model"))


def aidl(*arguments):
    return CliRunner().invoke(cli.cli, list(map(str, arguments)), standalone_mode=False)


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(drawn(1)[0, :, :, 0]).save("a.png")
    np.save("b.npy", drawn(3))
    np.savetxt("c.csv", drawn(2).reshape(2, -1), fmt="%d", delimiter=",")


@pytest.mark.usefixtures("files")
def test_each_example_is_one_line_of_json(made):
    ran = aidl("predict", made[0], "a.png", "b.npy", "c.csv", "--sha256", made[1])
    assert (ran.return_value, ran.stderr) == (0, "")
    lines = [json.loads(line) for line in ran.stdout.splitlines()]
    assert [(one["file"], one["row"]) for one in lines] == [
        ("a.png", 0), ("b.npy", 0), ("b.npy", 1), ("b.npy", 2), ("c.csv", 0), ("c.csv", 1),
    ]  # fmt: skip
    got = [[one["probabilities"][name] for name in NAMES] for one in lines]
    expected = probabilities(by_hand(np.concatenate([drawn(1), drawn(3), drawn(2)])))
    np.testing.assert_allclose(got, expected, atol=1e-5)
    assert [one["class"] for one in lines] == [NAMES[row.argmax()] for row in expected]


@pytest.mark.usefixtures("files")
def test_a_bad_file_is_one_line_and_the_others_go_on(made, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"no picture")
    np.save("floats.npy", np.zeros((2, 4, 3, 1)))
    ran = aidl("predict", made[0], "bad.png", "none.csv", "floats.npy", "a.png", tmp_path)
    assert ran.return_value == 1
    assert [json.loads(line)["file"] for line in ran.stdout.splitlines()] == ["a.png"]
    bad, none, floats, folder = ran.stderr.splitlines()
    assert bad.startswith("aidl: bad.png: this is no picture that can be read: given 10 bytes")
    assert none == "aidl: none.csv: No such file or directory. Fix: name a file that is there and can be read"
    assert floats.startswith(
        "aidl: floats.npy: these are not examples of the kind that the model takes: given float64[2"
    )
    assert folder.startswith(f"aidl: {tmp_path}: files of this kind are not read: given a name without a suffix")


def test_dark_ink_is_turned_around(made, files):
    Image.fromarray(255 - drawn(1)[0, :, :, 0]).save("dark.png")
    plain, dark = (aidl("predict", made[0], *one).stdout for one in (["a.png"], ["dark.png", "--invert"]))
    assert json.loads(plain)["probabilities"] == json.loads(dark)["probabilities"]


def test_error_another_model_than_was_pinned(made):
    for command in (["predict", made[0], "a.png"], ["serve", made[0], "--port", 0]):
        ran = aidl(*command, "--sha256", "0" * 64)
        assert isinstance(ran.exception, ServeError) and "this is not the model that was pinned" in str(ran.exception)


def test_error_a_port_that_is_taken(made):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ran = aidl("serve", made[0], "--port", port)
    assert isinstance(ran.exception, UsageError)
    assert str(ran.exception) == (
        f"the server cannot use this address: given --host 127.0.0.1 --port {port} (Address already in use). "
        "Fix: name another port, or --port 0 for any"
    )


def test_error_the_server_is_not_installed(made, monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    ran = aidl("serve", made[0])
    assert str(ran.exception) == "the web server is not installed. Fix: pip install 'aidl_jax[serve]'"


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_when_what_was_accepted_is_answered(made, stop):
    command = [sys.executable, "-m", "aidl_jax", "serve", str(made[0]), "--port", "0", "--sha256", made[1]]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            said = process.stdout.readline()
            found = re.search(r"is served at http://127\.0\.0\.1:(\d+)/$", said)
            assert found, process.stderr.read()
            port = int(found[1])
            assert made[1] in process.stdout.readline()
            assert asked(port, path="/healthz")[2]["status"] == "ok"
            body = json.dumps({"examples": drawn(2).tolist()}).encode()
            with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
                head = f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
                client.sendall(f"{head}Expect: 100-continue\r\n\r\n".encode())
                answer = client.makefile("rb")
                assert answer.readline() == b"HTTP/1.1 100 Continue\r\n"  # the request is being read
                process.send_signal(stop)
                client.sendall(body)
                told = answer.read()
            assert b"HTTP/1.1 200 OK" in told and told.endswith(b"}]}")
            assert process.wait(timeout=60) == 0
            assert process.stdout.read() == "The server has ended; all that was accepted is answered.\n"
            assert process.stderr.read() == ""
        finally:
            process.kill()
