"""Canvas's and Moodle's exported files, filled: grades and nothing else, and only where it is certain whose they are."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aidl_jax.errors import UsageError
from aidl_jax.grade.cells import Sheet, read_sheet
from aidl_jax.grade.gradebooks import Filled, fill

CANVAS = (
    "\ufeffStudent,ID,SIS User ID,SIS Login ID,Section,Quiz 1 (11),Lab 2 (22),Current Score\r\n"
    ",,,,,Manual Posting,,(read only)\r\n"
    "    Points Possible,,,,,5,10,(read only)\r\n"
    '"Doe, Jane",101,S1,jdoe,"A, B",4,,80\r\n'
    '"Müller, Jörg",102,S2,joerg@x.org,A,"5",7,90\r\n'
    '"Ng, ""Al""",103,,ang,A,,3.50,\r\n'
    '"Student, Test",104,,abc,A,,,\r\n'
).encode()

MOODLE = (
    b"Identifier,Full name,ID number,Email address,Status,Grade,Maximum Grade,Grade can be changed,"
    b'"Last modified (grade)","Feedback comments"\n'
    b'Participant 12,Ada King,,ada@x.org,"Submitted, late",,10.00,Yes,-,\n'
    b'Participant 13,Bo Li,77,bo@x.org,No submission,4.00,10.00,Yes,-,"fine, so far"\n'
    b"Participant 14,Bo Li,78,bo2@x.org,,,10.00,Yes,-,\n"
    b"Participant 15,Cy,,cy@x.org,,,10.00,No,-,\n"
)


def cells(data: bytes) -> list[list[str]]:
    """The file as the standard library reads it."""
    return list(csv.reader(io.StringIO(data.decode("utf-8-sig"), newline="")))


def differing(before: bytes, after: bytes) -> dict[tuple[int, int], tuple[str, str]]:
    pairs = zip(cells(before), cells(after), strict=True)
    return {
        (row, column): (old, new)
        for row, (olds, news) in enumerate(pairs)
        for column, (old, new) in enumerate(zip(olds, news, strict=True))
        if old != new
    }


def test_canvas_is_filled_in_its_column_and_nowhere_else() -> None:
    filled = fill(CANVAS, {"jdoe": 9.5, "102": 8, "Al Ng": 3.5}, "Lab 2", possible=10)
    assert differing(CANVAS, filled.data) == {(3, 6): ("", "9.5"), (4, 6): ("7", "8")}
    assert filled.filled == ["Doe, Jane", "Müller, Jörg", 'Ng, "Al"']
    assert filled.changed == ["Müller, Jörg, from 7 to 8"]
    assert filled.untouched == ["Student, Test"]
    expected = CANVAS.replace(b'"A, B",4,,80', b'"A, B",4,9.5,80').replace(b',"5",7,90', b',"5",8,90')
    assert filled.data == expected  # the mark, line ends, quotes and the 3.50 that says the same as 3.5


@pytest.mark.parametrize("column", ["Lab 2 (22)", "Lab 2", "22"])
def test_a_column_of_canvas_goes_by_its_name_or_its_number(column: str) -> None:
    assert fill(CANVAS, {"jdoe": 1}, column).column == "Lab 2 (22)"


@pytest.mark.parametrize("student", ["jdoe", "JDOE", "101", "S1", "Doe, Jane", "Jane Doe", "doejane"])
def test_a_student_of_canvas_goes_by_anything_canvas_calls_them(student: str) -> None:
    assert fill(CANVAS, {student: 1}, "22").filled == ["Doe, Jane"]


@pytest.mark.parametrize("student", ["Participant 12", "12", "Ada King", "ada@x.org"])
def test_a_student_of_moodle_goes_by_anything_moodle_calls_them(student: str) -> None:
    filled = fill(MOODLE, {student: 10}, possible=10)
    assert differing(MOODLE, filled.data) == {(1, 5): ("", "10")}
    assert filled.data == MOODLE.replace(b'late",,', b'late",10,')


def test_moodle_gets_feedback_on_one_line_without_formulas() -> None:
    said = {"12": '=HYPERLINK("x")\nsecond, line', "77": "well done"}
    filled = fill(MOODLE, {"12": 7.25, "77": 4}, feedback=said)
    assert differing(MOODLE, filled.data) == {
        (1, 5): ("", "7.25"),
        (1, 9): ("", '\'=HYPERLINK("x") second, line'),
        (2, 9): ("fine, so far", "well done"),
    }
    assert filled.changed == []  # 4.00 is 4


def test_a_decimal_comma_stays_one() -> None:
    given_ = MOODLE.replace(b"10.00", b'"10,00"')
    assert differing(given_, fill(given_, {"12": 7.5}, possible=10).data) == {(1, 5): ("", "7,5")}


def test_who_cannot_be_told_gets_nothing_and_is_named() -> None:
    points = {"Bo Li": 1.0, "zoe": 2.0, "Cy": 3.0, "12": 4.0, "ada@x.org": 5.0}
    filled = fill(MOODLE, points)
    assert filled.data == MOODLE
    assert filled.lines() == [
        "Moodle, 'Grade': 0 grades filled in",
        "not in the gradebook: zoe",
        "not filled in, could be several: Bo Li, Bo Li or Bo Li",
        "not filled in, another has the same row: 12, Ada King",
        "not filled in, another has the same row: ada@x.org, Ada King",
        "not filled in, the gradebook says that it can't be changed: Cy",
        "no points for: Ada King",
        "no points for: Bo Li",
        "no points for: Bo Li",
    ]


def test_all_that_a_student_is_called_must_lead_to_one_row() -> None:
    assert fill(MOODLE, {"Bo Li": 5}, known_as={"Bo Li": ["78", "unknown"]}).data == MOODLE.replace(
        b"bo2@x.org,,,", b"bo2@x.org,,5,"
    )
    assert fill(MOODLE, {"x": 5}, known_as={"x": ["12"]}).filled == ["Ada King"]
    apart = fill(MOODLE, {"Ada King": 5}, known_as={"Ada King": ["78"]})
    assert apart.data == MOODLE and apart.ambiguous == ["could be several: Ada King, Ada King or Bo Li"]


def test_what_changed_is_told() -> None:
    assert fill(MOODLE, {"bo@x.org": 9}).lines()[:2] == [
        "Moodle, 'Grade': 1 grade filled in",
        "changed: Bo Li, from 4.00 to 9",
    ]


def test_separators_and_quotes_are_kept() -> None:
    given_ = (
        CANVAS.replace(b"A, B", b"A- B").replace(b"Doe, Jane", b"Doe- Jane").replace(b"Student, Test", b"Student- Test")
    )
    given_ = given_.replace(b'"M\xc3\xbcller, J\xc3\xb6rg"', b"M").replace(b'Ng, ""', b'Ng ""').replace(b",", b";")
    filled = fill(given_, {"jdoe": 1, "102": 2}, "Quiz 1")
    assert filled.data == given_.replace(b'"A- B";4;', b'"A- B";1;').replace(b';"5";7', b';"2";7')


# Refusals: each says what was given, what was expected, and what to do


@pytest.mark.parametrize(
    ("exported", "arguments", "told"),
    [
        (CANVAS, {"column": "Lab2"}, "no such column: given 'Lab2'. Fix: did you mean 'Lab 2'"),
        (CANVAS, {"column": None}, "which column do the points go to?: given 'Quiz 1 (11)', 'Lab 2 (22)'. Fix: name one"),
        (CANVAS, {"column": "Current Score"}, "takes no grades: given 'Current Score', expected 'Quiz 1 (11)', 'Lab 2 (22)'"),
        (CANVAS, {"column": "Section"}, "takes no grades: given 'Section'"),
        (CANVAS.replace(b"Lab 2 (22)", b"Quiz 1 (12)"), {"column": "Quiz 1"}, "which column do the points go to?: given 'Quiz 1 (11)', 'Quiz 1 (12)'"),
        (CANVAS, {"column": "22", "possible": 15}, "another number of points for this assignment: given '10', expected 15. Fix: set it in Canvas"),
        (CANVAS.replace(b"Points Possible", b"Points"), {"column": "22"}, "one row that begins with Points Possible: given 0"),
        (CANVAS.replace(b'"5",7,90', b'"5"'), {"column": "22"}, "row 5: a row of the gradebook is too short: given 6 cells, expected 7"),
        (CANVAS, {"column": "22", "feedback": {"jdoe": "x"}}, "takes no feedback: given Canvas, expected a column 'Feedback comments'"),
        (MOODLE, {"column": "Lab"}, "one column for grades: given 'Lab', expected 'Grade'. Fix: leave --column out"),
        (MOODLE, {"possible": 15}, "Moodle has another number of points for this assignment: given '10.00', expected 15"),
        (MOODLE.replace(b"10.00", b"Good"), {}, "given 'Good', expected a number"),
        (MOODLE.replace(b",,10.00,No", b",,20.00,No"), {}, "one maximum grade: given 10.00, 20.00"),
        (MOODLE, {"feedback": {"zoe": "x"}}, "feedback without a grade would wipe the grade: given zoe"),
        (b"name,points\nada,1\n", {}, "neither Canvas's nor Moodle's: given columns 'name', 'points', expected Student, ID"),
        (b"\xff\xfeS\x00", {}, "not UTF-8 text: given byte 0xff at 0. Fix: export it again"),
        (b"one cell\n", {}, "the gradebook is no table: given 'one cell\\n'"),
        (b"", {}, "the gradebook is no table: given ''"),
        (MOODLE.replace(b'late",', b'late"x,'), {}, "row 2, cell 5: a cell of the gradebook is quoted wrongly: given '\"Submitted"),
    ],
)  # fmt: skip
def test_refusals(exported: bytes, arguments: dict, told: str) -> None:
    with pytest.raises(UsageError) as raised:
        fill(exported, {"jdoe": 1.0}, **arguments)
    assert told in " ".join(str(raised.value).split())


def test_points_are_numbers() -> None:
    with pytest.raises(UsageError, match=r"points are no number: given ada: nan\. Fix: leave this student out"):
        fill(MOODLE, {"ada": float("nan")})


# The cells


@given(
    st.lists(st.lists(st.text("ab\",;\n' é", max_size=6), min_size=2, max_size=4), min_size=1, max_size=5),
    st.sampled_from([",", ";", "\t"]),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_a_sheet_says_what_the_standard_library_wrote(
    rows: list[list[str]], separator: str, end: str, quoting: int, mark: bool
) -> None:
    file = io.StringIO()
    writer = csv.writer(file, delimiter=separator, lineterminator=end, quoting=quoting)
    writer.writerows([["name", "x"], *rows])
    data = file.getvalue().encode("utf-8-sig" if mark else "utf-8")
    sheet = read_sheet(data)
    assert sheet.to_bytes() == data
    assert [[sheet.text(r, c) for c in range(len(row))] for r, row in enumerate(sheet.rows)][1:] == rows


def test_a_last_row_without_an_end_and_a_cell_that_needs_quotes() -> None:
    sheet: Sheet = read_sheet(b"a,b\n1,")
    sheet.put(1, 1, 'x, "y"')
    assert sheet.to_bytes() == b'a,b\n1,"x, ""y"""'


def test_a_result_is_data() -> None:
    assert isinstance(fill(MOODLE, {}), Filled) and fill(MOODLE, {}).data == MOODLE
