"""One arena for each process of pytest; without a sandbox nothing here can be tested."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from arena import SECRET, SMALL, Arena

from aidl_jax.grade import process, sandbox, session
from aidl_jax.grade.nursery import Nursery


@pytest.fixture(scope="session", autouse=True)
def sandboxed() -> None:
    """Skips where no sandbox can be made, with the reason and the remedy."""
    lacking = sandbox.lacking()
    if lacking is not None:
        pytest.skip(f"{lacking[0]}: {lacking[1]}")


@pytest.fixture(scope="session")
def arena(sandboxed: None) -> Iterator[Arena]:
    """A nursery with small limits and its neighbour; the grader has a secret in its environment."""
    os.environ["AIDL_SECRET"] = SECRET
    one = Arena(Nursery(SMALL))
    yield one
    one.close()
    del os.environ["AIDL_SECRET"]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Less time to say where it hangs, so that many attacks can be tried."""
    monkeypatch.setattr(session, "GRACE", 0.7)
    monkeypatch.setattr(process, "SEND_SECONDS", 2.0)
