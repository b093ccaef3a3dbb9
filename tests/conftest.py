"""What tests in several folders share."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from aidl_jax.grade.children import Start
from aidl_jax.grade.forks import starting
from aidl_jax.grade.process import Process, Processes

# A background job of a shell ignores Ctrl-C, and so would every program that a test starts and ends with it.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def start() -> Iterator[Start]:
    """Starts workers and runners as forks where that can be done: a second less for each."""
    with starting() as start:
        yield start


@pytest.fixture
def forked(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test starts without saying how is such a fork too."""
    for kind in (Process, Processes):
        monkeypatch.setattr(kind.__init__, "__defaults__", (start,))
