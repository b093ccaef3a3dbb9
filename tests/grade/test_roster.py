"""Who is in the class, and whose hand-in is whose."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from aidl_jax.errors import UsageError
from aidl_jax.grade.inbox import Arrival
from aidl_jax.grade.roster import Entry, on_roster, read_roster

ROSTER = """Name,SIS Login ID,SIS User ID,Email Address,Section
"Doe, Jane",jdoe,1001,jane.doe@example.org,1
Max Roe,mroe,1002,max@example.org,1
Liu Wei,lwei,1003,wei@example.org,2
Jane Doe,jdoe2,1004,jane2@example.org,2
"""


def roster(tmp_path: Path, text: str = ROSTER) -> list[Entry]:
    path = tmp_path / "roster.csv"
    path.write_bytes(("\ufeff" + text).replace("\n", "\r\n").encode())
    return read_roster(path)


def arrival(student: str, hours: int = 0, **ids: str) -> Arrival:
    received = dt.datetime(2026, 11, 20, tzinfo=dt.UTC) + dt.timedelta(hours=hours)
    return Arrival(student, ((f"{student}.py", Path(student)),), ids, received)


def test_rows_are_read_by_their_usual_columns(tmp_path: Path) -> None:
    jane, max_, *_ = roster(tmp_path)
    assert (jane.student, jane.name) == ("jdoe", "Doe, Jane")
    assert jane.names == {"doejane", "janedoe"}
    assert {("login", "jdoe"), ("id", "1001"), ("email", "janedoeexampleorg")} <= jane.ids
    assert (max_.student, max_.name) == ("mroe", "Max Roe")
    (one,) = roster(tmp_path, "First name,Surname,Username\nZoë,O'Neil-Roe,zo\n")
    assert (one.student, one.name) == ("zo", "Zoë O'Neil-Roe")
    assert one.names == {"zoëoneilroe", "oneilroezoë"}


def test_canvas_own_gradebook_is_a_roster(tmp_path: Path) -> None:
    text = (
        'Student,ID,SIS User ID,SIS Login ID,Section,Lab 1 (5)\n    Points Possible,,,,,10\n"Doe, Jane",77,,jdoe,1,\n'
    )
    (jane,) = roster(tmp_path, text)
    assert (jane.student, jane.name) == ("jdoe", "Doe, Jane")
    assert ("canvas", "77") in jane.ids


def test_a_number_of_another_kind_says_nothing(tmp_path: Path) -> None:
    entries = roster(tmp_path, "name,login,sis user id\nJane Doe,jdoe,900\nBob Ray,bray,123\n")
    found, said = on_roster([arrival("doejane 123", name="doejane", canvas="123")], entries)
    assert ([bool(one.parts) for one in found], said) == ([True, False], [])


def test_an_id_and_a_name_of_two_people_are_nobodys(tmp_path: Path) -> None:
    came = arrival("x", name="Max Roe", email="wei@example.org")
    assert on_roster([came], roster(tmp_path))[1] == ["x: could be lwei or mroe on the roster"]


@pytest.mark.parametrize(
    "came",
    [
        arrival("mroe"),
        arrival("roemax 9", name="roemax", canvas="9"),  # Canvas
        arrival("Max Roe 12", name="Max Roe", number="12"),  # Moodle
        arrival("max@example.org", email="max@example.org", name="M. R."),  # Gradescope
        arrival("1002"),
    ],
)
def test_a_hand_in_is_known_by_any_of_its_names(tmp_path: Path, came: Arrival) -> None:
    found, said = on_roster([came], roster(tmp_path))
    assert [(one.student, bool(one.parts)) for one in found] == [
        ("jdoe", False), ("mroe", True), ("lwei", False), ("jdoe2", False),
    ]  # fmt: skip
    assert found[1].ids["name"] == "Max Roe"
    assert said == []


def test_who_handed_in_nothing_has_a_row_and_a_stranger_too(tmp_path: Path) -> None:
    found, said = on_roster([arrival("zed"), arrival("lwei")], roster(tmp_path))
    assert [one.student for one in found] == ["jdoe", "mroe", "lwei", "jdoe2", "zed"]
    assert [bool(one.parts) for one in found] == [False, False, True, False, True]
    assert said == ["zed: not on the roster"]


def test_a_name_that_two_have_is_nobodys(tmp_path: Path) -> None:
    found, said = on_roster([arrival("Jane Doe 5", name="Jane Doe", number="5")], roster(tmp_path))
    assert said == ["Jane Doe 5: could be jdoe or jdoe2 on the roster"]
    assert found[-1].student == "Jane Doe 5"
    found, said = on_roster([arrival("x", name="Jane Doe", email="jane2@example.org")], roster(tmp_path))
    assert (bool(found[3].parts), said) == (True, [])  # an address tells them apart


def test_of_two_hand_ins_the_latest_counts(tmp_path: Path) -> None:
    found, _ = on_roster([arrival("mroe", 5), arrival("Max Roe", 3)], roster(tmp_path))
    assert found[1].parts[0][0] == "mroe.py"
    assert found[1].notes == ("Max Roe.py was passed over for mroe.py, which is newer",)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", r"roster\.csv: the roster names no students: given columns none, expected a header with student"),
        ("Section,Grade\n1,2\n", r"the roster names no students: given columns 'Section', 'Grade'"),
        ("student\nada\nAda\n", r"the roster has a student twice: given Ada, ada\. Fix: take one away"),
    ],
)
def test_a_roster_that_is_none(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "roster.csv"
    path.write_text(text)
    with pytest.raises(UsageError, match=expected):
        read_roster(path)


def test_a_roster_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "roster.csv").write_bytes(b"student\n\xff\n")
    with pytest.raises(UsageError, match=r"roster\.csv: the roster cannot be read: .* Fix: save it as CSV, UTF-8"):
        read_roster(tmp_path / "roster.csv")
