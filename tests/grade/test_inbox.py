"""Hand-ins as the pages that collect them give them out."""

from __future__ import annotations

import datetime as dt
import os
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from aidl_jax.errors import UsageError
from aidl_jax.exercise import Exercise, Hints
from aidl_jax.grade import inbox
from aidl_jax.grade.assigning import assign
from aidl_jax.grade.handin import read_hand_in
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
        tmp_path, "doejane_123_1000_linear_regression-2.ipynb", "doejane_123_999_shuffle_buffer.py",
        "roemax_LATE_9_460_my_answer.py", "liu_77_461_handin.zip",
    )  # fmt: skip
    jane, liu, max_ = read_inbox(tmp_path)
    assert (jane.student, dict(jane.ids)) == ("doejane 123", {"name": "doejane", "canvas": "123"})
    assert [name for name, _ in jane.parts] == ["shuffle_buffer.py", "linear_regression-2.ipynb"]  # 1000 is after 999
    assert jane.parts[1][1].name == "doejane_123_1000_linear_regression-2.ipynb"
    assert (jane.notes, jane.in_order) == ((), True)
    assert (jane.late, max_.late) == (False, True)
    assert max_.parts == (("my_answer.py", tmp_path / "roemax_LATE_9_460_my_answer.py"),)
    assert liu.parts[0][0] == "handin.zip"


def test_strays_among_canvas_files_stand_for_themselves(tmp_path: Path) -> None:
    fill(tmp_path, "doejane_123_456_answer.py", "roemax_9_457_answer.py", "roster.csv", "more/answer.py", ".DS_Store")
    assert told(tmp_path) == [
        ("doejane 123", ["answer.py"]), ("more", ["more"]), ("roemax 9", ["answer.py"]), ("roster.csv", ["roster.csv"]),
    ]  # fmt: skip


def test_a_few_names_like_canvas_are_not_its_layout(tmp_path: Path) -> None:
    fill(tmp_path, "doejane_123_456_answer.py", "ada.py", "bela.py")
    assert [student for student, _ in told(tmp_path)] == ["ada", "bela", "doejane_123_456_answer"]


LAB = {"lines": "def predict(x): return x\n", "shuffle": "def shuffle(x): return x\n"}


@pytest.mark.parametrize(
    ("files", "counts", "superseded"),
    [
        ({"456_lab-1.py": "lines", "457_lab-2.py": "shuffle"}, {"lines": "lab-1.py", "shuffle": "lab-2.py"}, []),
        ({"456_lab.py": "lines", "457_lab-1.py": "shuffle"}, {"lines": "lab.py", "shuffle": "lab-1.py"}, []),
        (
            {"999_lab-1.py": "lines", "1000_lab-2.py": "lines"},
            {"lines": "lab-2.py"},
            ["s02/lines: lab-1.py was passed over for lab-2.py, which was uploaded later"],
        ),
        (
            {"457_lab-1.py": "lines", "456_lab-2.py": "lines"},  # named by the student: the file's number tells
            {"lines": "lab-1.py"},
            ["s02/lines: lab-2.py was passed over for lab-1.py, which was uploaded later"],
        ),
    ],
)
def test_all_files_of_a_canvas_submission_are_read(
    tmp_path: Path, files: dict[str, str], counts: dict[str, str], superseded: list[str]
) -> None:
    exercises = {}
    for name, task in (("s02_graphs/lines", "predict"), ("s05_toolbox/shuffle", "shuffle")):
        exercises[name] = Exercise("One")
        exercises[name].task(task, points=1, hints=Hints("a", "b", "c"))
    for name, answers in files.items():
        (tmp_path / f"doejane_123_{name}").write_text(LAB[answers])
    (jane,) = read_inbox(tmp_path)
    documents, problems, _ = read_hand_in(*jane.parts, in_order=jane.in_order)
    found = assign(jane.student, documents, problems, exercises)
    assert {name.split("/")[1]: answer.name for name, answer in found.answers.items()} == counts
    assert (found.problems, found.superseded) == ({}, superseded)


def test_late_is_what_canvas_says_and_not_a_files_name(tmp_path: Path) -> None:
    fill(tmp_path, "doejane_123_456_my_LATE_answer.py", "roemax_LATE_9_457_answer.py")
    assert [(one.student, one.late) for one in read_inbox(tmp_path)] == [("doejane 123", False), ("roemax 9", True)]


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


def test_a_moodle_participants_two_folders_are_one_hand_in(tmp_path: Path) -> None:
    text, files = "Jane Doe_12_assignsubmission_onlinetext_", "Jane Doe_12_assignsubmission_file_"
    fill(tmp_path, f"{files}/answer.py", f"{text}/onlinetext.html", "Jane Doe_13_assignsubmission_file_/answer.py")
    jane, other = read_inbox(tmp_path)
    assert (jane.student, [name for name, _ in jane.parts]) == ("Jane Doe 12", [files, text])
    assert (jane.received, other.student) == (NOON + dt.timedelta(seconds=1), "Jane Doe 13")
    documents, problems, _ = read_hand_in(*jane.parts)
    assert ([document.name for document in documents], problems) == (["answer.py"], {})


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


def of_an_unknown_method(data: bytearray) -> None:
    for signature, offset in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        data[data.index(signature) + offset] = 9  # Deflate64


def of_a_newer_version(data: bytearray) -> None:
    data[data.index(b"PK\x01\x02") + 6] = 99


def with_another_content(data: bytearray) -> None:
    data[data.index(b"x = 1")] = ord("y")


def with_broken_deflate(data: bytearray) -> None:
    of_an_unknown_method(data)
    for signature, offset in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        data[data.index(signature) + offset] = 8
    data[data.index(b"x = 1")] = 0xFF


def without_its_end(data: bytearray) -> None:
    del data[-10:]


def with_one_name_twice(data: bytearray) -> None:
    data[:] = data.replace(b"bela.py", b"dora.py")


@pytest.mark.parametrize(
    ("damage", "given"),
    [
        (of_an_unknown_method, "That compression method is not supported"),
        (of_a_newer_version, "zip file version 9.9"),
        (with_another_content, "Bad CRC-32 for file 'dora.py'"),
        (with_broken_deflate, "Error -3 while decompressing data: invalid block type"),
        (without_its_end, "File is not a zip file"),
        (with_one_name_twice, ".*File exists: .*dora.py'"),
    ],
)
def test_a_class_that_cannot_be_unpacked(tmp_path: Path, damage: Callable[[bytearray], None], given: str) -> None:
    path = write_zip(tmp_path / "class.zip", {"dora.py": b"x = 1", "bela.py": b"x = 2"})
    data = bytearray(path.read_bytes())
    damage(data)
    path.write_bytes(data)
    expected = (
        rf"class\.zip: the zip cannot be unpacked: given {given}\. Fix: download it again, or unpack it yourself$"
    )
    with pytest.raises(UsageError, match=expected), opened(path, tmp_path / "scratch"):
        pass


def test_a_class_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_zip(tmp_path / "class.zip", {f"{n}.py": b"x" for n in range(5)})
    monkeypatch.setattr(inbox, "MAX_CLASS_FILES", 4)
    expected = (
        r"class\.zip: the zip's list of files is too long: given 5 files in \d+ bytes, expected at most 4 files in "
        r"1,024 bytes\. Fix: unpack it yourself, and look$"
    )
    with pytest.raises(UsageError, match=expected), opened(path, tmp_path / "scratch"):
        pass


def test_of_many_the_latest_counts_and_the_others_are_named() -> None:
    def came(name: str, hours: int | None) -> Arrival:
        received = None if hours is None else NOON + dt.timedelta(hours=hours)
        return Arrival(name, ((f"{name}.py", Path(name)),), received=received)

    latest = latest_of_many([came("b", 1), came("c", 3), came("a", 2), came("z", None)])
    assert latest.student == "c"
    assert latest.notes == (
        "z.py was passed over for c.py",
        *(f"{name}.py was passed over for c.py, which is newer" for name in "ba"),
    )
    assert latest_of_many([came("b", None), came("a", None)]).notes == ("a.py was passed over for b.py",)
    assert latest_of_many([came("b", 1), came("a", 1)]).notes == ("a.py was passed over for b.py",)
