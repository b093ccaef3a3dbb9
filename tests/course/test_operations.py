"""The gate's list against what the course needs, and against what may never stand on it."""

from __future__ import annotations

import pytest
from needed_operations import needed_by_course

from aidl_jax.exercise.course import open_course
from aidl_jax.grade import gate, operations


@pytest.mark.slow  # a minute: every solution and alternative is traced
def test_the_list_is_what_the_course_needs() -> None:
    found = {name for name in needed_by_course(open_course()) if name.startswith("stablehlo.")}
    assert sorted(found) == sorted(f"stablehlo.{name}" for name in operations.NEEDED)


def test_nothing_listed_reaches_out_of_a_function() -> None:
    reaching = (
        "infeed",
        "outfeed",
        "send",
        "recv",
        "rng",
        "all_",
        "collective",
        "after_all",
        "token",
        "partition",
        "replica",
    )
    assert not [name for name in gate.ALLOWED if any(word in name for word in reaching)]
    assert not [name for name in operations.CUSTOM_CALLS if "callback" in name or "python" in name]


def test_nothing_is_listed_twice() -> None:
    listed = [*operations.NEEDED, *operations.REVIEWED]
    assert len(set(listed)) == len(listed)
    assert listed == [*sorted(operations.NEEDED), *sorted(operations.REVIEWED)]
