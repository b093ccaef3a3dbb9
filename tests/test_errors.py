"""Every error says what was wrong, what was given and what to do, in one sentence order."""

from __future__ import annotations

import pickle

import pytest

from aidl_jax.errors import AidlError, CourseError, HandInError, ProtocolError, UsageError, close_matches
from aidl_jax.train.checkpoints import OtherStateError


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        ({}, "it broke"),
        ({"given": "3"}, "it broke: given 3"),
        ({"expected": "4"}, "it broke: expected 4"),
        ({"given": "3", "expected": "4"}, "it broke: given 3, expected 4"),
        ({"where": "a.py:7"}, "a.py:7: it broke"),
        ({"fix": "try 4"}, "it broke. Fix: try 4"),
        ({"given": ""}, "it broke: given "),
        (
            {"given": "3", "expected": "4", "where": "a.py:7", "fix": "try 4"},
            "a.py:7: it broke: given 3, expected 4. Fix: try 4",
        ),
    ],
)
def test_the_sentence_has_only_what_is_known(parts: dict[str, str], sentence: str) -> None:
    assert str(AidlError("it broke", **parts)) == sentence


def test_the_parts_stay_readable_one_by_one() -> None:
    error = UsageError("it broke", given="3", expected="4", where="a.py", fix="try 4")
    assert (error.what, error.given, error.expected, error.where, error.fix) == ("it broke", "3", "4", "a.py", "try 4")


@pytest.mark.parametrize("kind", [UsageError, CourseError, HandInError, ProtocolError])
def test_one_except_clause_catches_every_kind(kind: type[AidlError]) -> None:
    with pytest.raises(AidlError, match="it broke"):
        raise kind("it broke")


def test_errors_can_be_pickled_whatever_they_are_made_of() -> None:
    class_of_its_own = OtherStateError("runs/4", {"params/w": "float32[2]"}, {"params/w": "float32[3]"})
    for error in (UsageError("it broke", given="3", where="a.py"), class_of_its_own):
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))


def test_kinds_are_told_apart() -> None:
    kinds = [UsageError, CourseError, HandInError, ProtocolError]
    assert [[issubclass(a, b) for b in kinds] for a in kinds] == [[a is b for b in kinds] for a in kinds]


@pytest.mark.parametrize(
    ("name", "names", "fix"),
    [
        ("predic", ["update", "predict"], "did you mean 'predict'?"),
        ("lineer", {"linear", "linear2"}, "did you mean 'linear' or 'linear2'?"),
        ("xyz", ["update", "predict"], "choose from 'predict', 'update'"),
        ("xyz", [], "there are none yet"),
        ("xyz", iter(["only"]), "choose from 'only'"),
    ],
)
def test_close_matches_names_what_is_there(name: str, names: list[str], fix: str) -> None:
    assert close_matches(name, names) == fix
