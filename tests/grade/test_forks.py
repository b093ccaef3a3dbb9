"""Forks of a pre-imported process, as workers and runners without a sandbox."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ended import gone

from aidl_jax.errors import UsageError
from aidl_jax.exercise import plain
from aidl_jax.grade import protocol
from aidl_jax.grade.forks import Forks, can_fork
from aidl_jax.grade.process import Died, Process

pytestmark = pytest.mark.skipif(not can_fork(), reason="no fork of a process that has imported JAX here")


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    with Forks() as made:
        yield made


def load(process: Process, text: str) -> dict:
    cells = [["a.py", text]]
    return process.ask({"do": "load", "cells": cells, "tasks": ["f"], "forbidden": [], "seconds": 60.0}, 60.0)


def call(process: Process) -> object:
    message = {"do": "call", "body": ["call", ["student", "f"], [], {}], "inputs": [], "seconds": 60.0, "variant": None}
    return process.ask(message, 60.0)


def test_a_fork_is_a_worker_with_our_settings(forks: Forks) -> None:
    worker = Process("worker", forks.start)
    text = "import os, sys, jax\ndef f():\n    return [os.getcwd(), 'jax' in sys.modules, os.environ['PYTHONHASHSEED'], os.getsid(0) == os.getpid()]"
    assert load(worker, text)["errors"] == {}
    answer = call(worker)
    folder, imported, seed, leads = plain.unpack(protocol.decode(answer["answer"]))  # type: ignore[index]
    assert Path(folder).parent == Path(forks.folder.name)
    assert (imported, seed, leads) == (True, "0", True)
    assert Path(folder).is_dir()
    worker.close()
    assert not Path(folder).exists()


def test_what_it_started_ends_with_it(forks: Forks, tmp_path: Path) -> None:
    worker = Process("worker", forks.start)
    note = tmp_path / "number"
    text = (
        "import subprocess, sys, pathlib\ndef f():\n"
        "    child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"    pathlib.Path({str(note)!r}).write_text(str(child.pid))\n    return 1"
    )
    load(worker, text)
    call(worker)
    number = int(note.read_text())
    worker.close()
    worker.close()  # once more is nothing
    deadline = time.monotonic() + 10  # a kill takes a moment to arrive
    while not gone(number):
        assert time.monotonic() < deadline


def test_how_a_fork_ended_is_told(forks: Forks) -> None:
    worker = Process("worker", forks.start)
    load(worker, "import os\ndef f():\n    os.write(2, b'last words'); os._exit(7)")
    with pytest.raises(Died) as died:
        call(worker)
    assert died.value.given == "exit status 7" and died.value.last_words == "last words"


def test_forks_share_nothing(forks: Forks) -> None:
    text = "import math\nmath.marked = getattr(math, 'marked', 0) + 1\nimport math as m\ndef f():\n    return m.marked"
    one, other = Process("worker", forks.start), Process("worker", forks.start)
    for worker in (one, other):
        load(worker, text)
    assert call(one) == call(other)
    one.close()
    other.close()


def test_a_process_that_has_ended_is_told_with_the_fix() -> None:
    with Forks() as forks:
        runner = Process("runner", forks.start)
        os.kill(forks.process.pid, signal.SIGKILL)
        forks.process.wait()
        with pytest.raises(UsageError) as ended:
            forks.start("worker")
        assert runner.child.ending().how == "no exit status"
        runner.close()
    assert str(ended.value) == (
        "the process that checks are forked from has ended: given no word from it. "
        "Fix: run the command again; aidl check does without that process"
    )


def test_there_is_no_fork_on_other_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    for system, expected in (("linux", True), ("darwin", False), ("win32", False)):
        monkeypatch.setattr(sys, "platform", system)
        assert can_fork() is expected
