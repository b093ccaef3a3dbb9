"""Hand-ins as the pages that collect them give them out."""

from __future__ import annotations

import datetime as dt
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from aidl_jax.errors import UsageError
from aidl_jax.grade import inbox
from aidl_jax.grade.inbox import Arrival, latest_of_many, opened, read_inbox, refuse_clashes

NOON = dt.datetime(2026, 11, 20, 12, tzinfo=dt.UTC)


def fill(folder: Path, *names: str) -> Path:
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"x = {number}")
        os.utime(path, (NOON.timestamp() + number, NOON.timestamp() + number))
    return folder


def told(folder: Path) -> list[tuple[str, list[str]]]:
    return [(one.student, [name for name, _ in one.parts]) for one in read_inbox(folder)]


def test_folders_and_files_by_name(tmp_path: Path) -> None:
    fill(tmp_path, "cora.py", "bela.ZIP", "dora.ipynb", ".DS_Store", "emil.v2.py", "ada.b/answer.py")
    (tmp_path / "__MACOSX").mkdir()
    expected = ["ada.b", "bela", "cora", "dora", "emil.v2"]
    assert [student for student, _ in told(tmp_path)] == expected
    assert told(tmp_path / "cora.py") == [("cora", ["cora.py"])]


def test_when_it_came_is_the_time_of_the_newest_file(tmp_path: Path) -> None:
    fill(tmp_path, "ada/one.py", "ada/two.py", "bela.py")
    (tmp_path / "cora").mkdir()
    assert [one.received for one in read_inbox(tmp_path)] == [
        NOON + dt.timedelta(seconds=1), NOON + dt.timedelta(seconds=2), None,
    ]  # fmt: skip


@pytest.mark.parametrize(("one", "other"), [("ada.py", "ada.zip"), ("Ada.py", "ada.ipynb")])
def test_two_hand_ins_of_one_name(tmp_path: Path, one: str, other: str) -> None:
    arrivals = read_inbox(fill(tmp_path, one, other))
    with pytest.raises(UsageError) as error:
        refuse_clashes(arrivals, tmp_path)
    assert str(error.value) == (
        f"{tmp_path}: two hand-ins have one student's name: given {one} and {other}. Fix: rename one or take it away"
    )


def test_no_hand_ins(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"there is no such folder: given .*gone"), opened(tmp_path / "gone", tmp_path):
        pass
    fill(tmp_path, "notes.txt")
    expected = r"the folder holds no hand-ins: given .*, expected folders, \.py files, notebo"
    with pytest.raises(UsageError, match=expected):
        read_inbox(tmp_path)


def test_canvas_flat_names(tmp_path: Path) -> None:
    fill(
        tmp_path, "doejane_123_456_linear_regression-2.ipynb", "doejane_123_455_linear_regression-1.ipynb",
        "doejane_123_457_shuffle_buffer.py", "roemax_LATE_9_460_my_answer.py", "liu_77_461_handin.zip",
    )  # fmt: skip
    jane, liu, max_ = read_inbox(tmp_path)
    assert (jane.student, dict(jane.ids)) == ("doejane 123", {"name": "doejane", "id": "123"})
    assert [name for name, _ in jane.parts] == ["linear_regression.ipynb", "shuffle_buffer.py"]
    assert jane.parts[0][1].name == "doejane_123_456_linear_regression-2.ipynb"
    assert jane.notes == (
        "doejane_123_455_linear_regression-1.ipynb was handed in again as doejane_123_456_linear_regression-2.ipynb",
    )
    assert (jane.late, max_.late) == (False, True)
    assert max_.parts == (("my_answer.py", tmp_path / "roemax_LATE_9_460_my_answer.py"),)
    assert liu.parts[0][0] == "handin.zip"


def test_one_file_of_another_form_and_it_is_not_canvas(tmp_path: Path) -> None:
    fill(tmp_path, "doejane_123_456_answer.py", "ada.py")
    assert [student for student, _ in told(tmp_path)] == ["ada", "doejane_123_456_answer"]


def test_moodle_folders(tmp_path: Path) -> None:
    fill(
        tmp_path, "Jane Doe_12_assignsubmission_file_/answer.py", "Jane Doe_13_assignsubmission_file/answer.ipynb",
        "Zoë_Ann Roe_14_assignsubmission_file_/x.zip", "readme/x.py",
    )  # fmt: skip
    found = read_inbox(tmp_path)
    assert [(one.student, one.ids.get("number")) for one in found] == [
        ("Jane Doe 12", "12"), ("Jane Doe 13", "13"), ("readme", None), ("Zoë_Ann Roe 14", "14"),
    ]  # fmt: skip
    assert found[3].ids["name"] == "Zoë_Ann Roe"


GRADESCOPE = """
submission_1:
  :submitters:
  - :name: Jane Doe
    :sid: '77'
    :email: jane@example.org
  - :name: Max Roe
    :email: max@example.org
  :created_at: 2026-11-20 13:00:00.000000000 +01:00
  :score: 3.0
submission_2:
  :submitters:
  - :name: Solo
  :created_at: 2026-11-21 12:00:00 Z
"""


def test_gradescope_export(tmp_path: Path) -> None:
    fill(tmp_path, "submission_1/answer.py", "submission_2/answer.py")
    (tmp_path / "submission_metadata.yml").write_text(GRADESCOPE)
    jane, max_, solo = read_inbox(tmp_path)
    assert jane == Arrival("jane@example.org", (("submission_1", tmp_path / "submission_1"),),
                           {"name": "Jane Doe", "email": "jane@example.org", "id": "77"}, NOON)  # fmt: skip
    assert max_.parts == jane.parts  # a group's hand-in is each one's
    assert (solo.student, solo.received) == ("Solo", NOON + dt.timedelta(days=1))


@pytest.mark.parametrize(
    "text", ["[1, 2]", "a: 1", "a: [", "!!python/object:os.system {}", "&a [*a]", "a: " + "[" * 5000]
)
def test_a_table_that_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "submission_metadata.yml").write_text(text)
    with pytest.raises(UsageError, match=r"yml: Gradescope's table of submissions cannot be read: .*Fix: download the"):
        read_inbox(tmp_path)


def write_zip(path: Path, members: Mapping[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name, (2026, 11, 20, 10, 0, 0)), data)
    return path


def test_a_class_in_a_zip_wrapped_or_not(tmp_path: Path) -> None:
    members = {"ada.py": b"x = 1", "bela/answer.py": b"x = 2"}
    for number, wrapping in enumerate(["", "submissions/"]):
        path = write_zip(tmp_path / f"{number}.zip", {wrapping + name: data for name, data in members.items()})
        with opened(path, tmp_path / f"scratch{number}") as folder:
            assert told(folder) == [("ada", ["ada.py"]), ("bela", ["bela"])]
            assert (folder / "bela" / "answer.py").read_bytes() == b"x = 2"
            received = read_inbox(folder)[0].received
            assert received is not None
            assert received.astimezone().replace(tzinfo=None) == dt.datetime(2026, 11, 20, 10)


def test_a_students_own_zip_is_not_unpacked(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "ada.zip", {"aidl.json": b"{}", "s02/answer.py": b"x = 1"})
    with opened(path, tmp_path / "scratch") as folder:
        assert folder == path
        assert told(folder) == [("ada", ["ada.zip"])]


@pytest.mark.parametrize("name", ["../ada.py", "/ada.py", "a/../../ada.py", "C:\\ada.py"])
def test_a_zip_that_points_elsewhere_is_refused_whole(tmp_path: Path, name: str) -> None:
    path = write_zip(tmp_path / "class.zip", {"bela.py": b"x = 1", name: b"x = 2"})
    expected = r"class\.zip: a name in the zip points outside it: given .*Fix: unpack it yourself, and look"
    with pytest.raises(UsageError, match=expected), opened(path, tmp_path / "scratch"):
        pass
    assert not list(tmp_path.glob("*.py"))


def test_a_class_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_zip(tmp_path / "class.zip", {f"{n}.py": b"x" for n in range(5)})
    monkeypatch.setattr(inbox, "MAX_CLASS_FILES", 4)
    expected = r"class\.zip: the zip is too large: given 5 files, expected at most 4 files"
    with pytest.raises(UsageError, match=expected), opened(path, tmp_path / "scratch"):
        pass


def test_of_many_the_latest_counts_and_the_others_are_named() -> None:
    def came(name: str, hours: int | None) -> Arrival:
        received = None if hours is None else NOON + dt.timedelta(hours=hours)
        return Arrival(name, ((f"{name}.py", Path(name)),), received=received)

    latest = latest_of_many([came("b", 1), came("c", 3), came("a", 2), came("z", None)])
    assert latest.student == "c"
    assert latest.notes == tuple(f"{name}.py was passed over for c.py, which is newer" for name in "zba")
