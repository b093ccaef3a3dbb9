"""What tests in several folders share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from aidl_jax.grade.children import PlainChild, Start
from aidl_jax.grade.forks import Forks, can_fork


@pytest.fixture(scope="session")
def start() -> Iterator[Start]:
    """Starts workers and runners as forks where that can be done: a second less for each."""
    if not can_fork():
        yield PlainChild
        return
    with Forks() as forks:
        yield forks.start
