"""The journal: verdicts that survive a kill, and are found again by what they rest on."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from aidl_jax.errors import UsageError
from aidl_jax.exercise.course import Course, open_course
from aidl_jax.grade.extract import Cell
from aidl_jax.grade.handin import Document
from aidl_jax.grade.journal import NAME, Basis, Entry, Journal, about_run, basis, checks_of
from aidl_jax.grade.record import CheckRecord, FailureRecord, Record, TaskRecord, from_dict, to_json

ABOUT = {"course": "Tiny", "seed": 3, "unsafe": False}
ROOT = Path(__file__).parents[2]
TEMPERATURE, RUNNING_MEAN = "s01_first/temperature", "s01_first/running_mean"


def record(points: int = 1) -> Record:
    failure = FailureRecord("value", "wrong ≠ right\u2028\x0c\x85", inputs=[["x", "[1]"]], misconceptions=["no"])
    checks = [CheckRecord("a", "It holds.", "passed"), CheckRecord("b", "It too.", "failed", failure)]
    task = TaskRecord("f", "passed", points, 2, ["g"], checks, {"operations": 3})
    return Record("s01/x", "X", 3, [task], "answer.py", {"jax": "1"})


def entry(student: str = "ada", answer: str = "a", points: int = 1) -> Entry:
    return Entry("s01/x", student, Basis(answer, "c", "e", 3), record(points), 0.5)


def test_a_record_survives_json() -> None:
    one = record()
    again = from_dict(json.loads(to_json(one.to_dict())))
    assert again == one
    assert to_json(again.to_dict()) == to_json(one.to_dict())
    with pytest.raises(ValueError, match="a record of schema 9, where 1 is read"):
        from_dict({**one.to_dict(), "schema": 9})


def test_what_was_added_is_found_by_the_next_run(tmp_path: Path) -> None:
    with Journal(tmp_path, ABOUT) as journal:
        journal.add(entry("ada"))
        journal.add(entry("bela", "b", 2))
        assert journal.find(entry("zoe").basis) == entry("ada")  # an equal answer
    with Journal(tmp_path, ABOUT) as journal:
        assert journal.find(entry("bela", "b").basis) == entry("bela", "b", 2)
        assert journal.find(entry("bela", "other").basis) is None
        assert journal.earlier("ada", "s01/x") == entry("ada")
        journal.add(entry("ada", "new", 0))
        assert journal.earlier("ada", "s01/x") == entry("ada", "new", 0)
    assert about_run(tmp_path) == {"format": 1, **ABOUT}
    assert len((tmp_path / NAME).read_text().splitlines()) == 4


@pytest.mark.parametrize("cut", [1, 2, 30, 100])
def test_a_line_that_a_kill_left_unfinished_is_cut_off(tmp_path: Path, cut: int) -> None:
    with Journal(tmp_path, ABOUT) as journal:
        journal.add(entry("ada"))
        whole = (tmp_path / NAME).read_bytes()
        journal.add(entry("bela", "b"))
    data = (tmp_path / NAME).read_bytes()
    (tmp_path / NAME).write_bytes(data[:-cut])
    with Journal(tmp_path, ABOUT) as journal:
        assert (tmp_path / NAME).read_bytes() == whole
        assert journal.earlier("bela", "s01/x") is None
        journal.add(entry("bela", "b"))
    assert (tmp_path / NAME).read_bytes() == data


def test_a_kill_before_the_first_line(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text('{"format": 1, "cou')
    assert about_run(tmp_path) is None
    with Journal(tmp_path, ABOUT):
        pass
    assert about_run(tmp_path) == {"format": 1, **ABOUT}


@pytest.mark.parametrize("line", ["{}", "[1]", "nonsense", '{"exercise": "x"}', '{"format": 2}'])
def test_a_damaged_journal_is_told_by_its_line(tmp_path: Path, line: str) -> None:
    with Journal(tmp_path, ABOUT) as journal:
        journal.add(entry())
    path = tmp_path / NAME
    number = 1 if "format" in line else 2
    lines = path.read_text().splitlines()
    lines[number - 1] = line
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(UsageError, match=rf"jsonl, line {number}: the journal cannot be read: .*Fix: pass --replace"):
        Journal(tmp_path, ABOUT)


def test_another_runs_journal_is_not_gone_on_with(tmp_path: Path) -> None:
    Journal(tmp_path, ABOUT).close()
    with pytest.raises(UsageError) as error:
        Journal(tmp_path, {**ABOUT, "unsafe": True})
    assert str(error.value) == (
        f"{tmp_path / NAME}: the output folder holds another run: given unsafe = False, expected unsafe = True. "
        "Fix: name another folder, or pass --replace to grade anew"
    )


def tiny(tmp_path: Path) -> Course:
    import shutil

    shutil.copytree(ROOT / "examples" / "mini_course" / "course", tmp_path / "course")
    return open_course(tmp_path)


def test_what_a_verdict_rests_on(tmp_path: Path) -> None:
    course = tiny(tmp_path)
    document = Document("answer.py", (Cell("answer.py", "def f(): pass"),))
    one = basis(course, TEMPERATURE, document, 3)
    assert one == basis(course, TEMPERATURE, dataclasses.replace(document, name="elsewhere/answer.py"), 3)
    other = Document("answer.py", (Cell("answer.py", "def f(): return 1"),))
    assert basis(course, TEMPERATURE, other, 3).why(one) == "the hand-in changed"
    assert basis(course, TEMPERATURE, other, 4).why(one) == "the hand-in changed and the seed changed"
    before = basis(course, RUNNING_MEAN, document, 3)
    checks = course.checks / f"{TEMPERATURE}.py"
    checks.write_text(checks.read_text() + "\n# one more thing\n")
    checks_of.cache_clear()
    assert basis(course, TEMPERATURE, document, 3).why(one) == "the checks changed"
    assert basis(course, RUNNING_MEAN, document, 3) == before  # another exercise is not touched
    (course.checks / "_shared.py").write_text("x = 1\n")
    checks_of.cache_clear()
    assert basis(course, RUNNING_MEAN, document, 3).why(before) == "the checks changed"
    checks_of.cache_clear()
