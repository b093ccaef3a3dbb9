"""Workers and runners of these tests are forks of one process that has imported JAX: a second less for each."""

from __future__ import annotations

import pytest

from aidl_jax.grade.children import PlainChild, Start
from aidl_jax.grade.process import Process, Processes


@pytest.fixture(autouse=True)
def forked(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is started without saying how; `plain` in a test's arguments leaves it as it is."""
    if "plain" not in request.fixturenames:
        start: Start = request.getfixturevalue("start")
        for kind in (Process, Processes):
            monkeypatch.setattr(kind.__init__, "__defaults__", (start,))


@pytest.fixture(scope="module")
def plain() -> Start:
    """A fresh interpreter each."""
    return PlainChild
