"""Workers and runners of these tests are forks of one process that has imported JAX: a second less for each."""

from __future__ import annotations

import pytest

from aidl_jax.grade.children import PlainChild, Start


@pytest.fixture(autouse=True)
def forked_unless_plain(request: pytest.FixtureRequest) -> None:
    """What is started without saying how; `plain` in a test's arguments leaves it as it is."""
    if "plain" not in request.fixturenames:
        request.getfixturevalue("forked")


@pytest.fixture(scope="module")
def plain() -> Start:
    """A fresh interpreter each."""
    return PlainChild
