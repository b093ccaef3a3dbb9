"""A class on one page: counts that add up, what dominates first, every name a link and nothing but text."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from test_views import HOSTILE, Page, shape

from aidl_jax.exercise import Exercise, Hints
from aidl_jax.grade.class_page import MOST_BARS, bars, class_page, tiles
from aidl_jax.grade.file_names import file_stem, page_link
from aidl_jax.grade.findings import outcomes, teach_again, wrong_answers
from aidl_jax.grade.record import CheckRecord, FailureRecord, Record, TaskRecord
from aidl_jax.grade.results import ClassResult, StudentResult
from aidl_jax.grade.templates import UNSAFE

LINES = "s02_graphs/lines"


def exercise() -> Exercise:
    made = Exercise("Lines")
    made.task("first", points=2, hints=Hints("a", "b", "c"))
    made.task("second", points=3, hints=Hints("a", "b", "c"), needs=["first"])
    return made


def student(
    name: str, first: str, kind: str = "value", message: str = "It is wrong.", explained: Sequence[str] = ()
) -> StudentResult:
    """Someone whose first task came to a verdict; the second passes where it did, else it waits."""
    failure = None if first == "passed" else FailureRecord(kind, message, misconceptions=list(explained))
    one = TaskRecord("first", first, 2 * (first == "passed"), 2, checks=[CheckRecord("c", "It holds.", first, failure)])  # type: ignore[arg-type]
    passed = first == "passed"
    two = TaskRecord("second", "passed" if passed else "waiting", 3 * passed, 3, [] if passed else ["first"])
    points = None if first == "ungraded" else 5 * passed
    final = None if points is None else float(points)
    return StudentResult(
        name, None, {LINES: Record(LINES, "Lines", 1, [one, two])}, points=points, possible=5, final=final
    )


def make_class(*students: StudentResult, unsafe: bool = False, title: str = "Lines and more") -> ClassResult:
    return ClassResult(title, {LINES: exercise()}, list(students), 7, unsafe, {"jax": "0.10.2"}, {"ada": 2.0})


CLASS = make_class(
    student("ada", "passed"),
    student("bo", "failed", explained=["You summed."]),
    student("cy", "failed", explained=["You summed."]),
    student("di", "failed", "timeout", "`first` did not come to an end."),
    student("ed", "failed", "limit", "Too much memory."),
    student("flo", "ungraded", "ungraded", "The grader failed."),
    StudentResult("gus", "Gus Noor", {}, missing=["s02/lines not handed in"], possible=5),
    StudentResult("hal", None, {}, problems={"hal.zip": "cannot be read"}, points=None, possible=5, final=None),
)


def words(page: str) -> str:
    body = page.partition("<body>")[2] or page
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", body)).split())


def test_everyone_is_counted_once_in_each_task() -> None:
    assert outcomes(CLASS, LINES, "first") == {"passed": 1, "failed": 4, "ungraded": 1, "missing": 2}
    assert outcomes(CLASS, LINES, "second") == {"passed": 1, "waiting": 5, "missing": 2}
    text = words(class_page(CLASS))
    assert "first 20% of 5 pass 1 passed · 4 failed · 1 not graded · 2 not handed in" in text
    assert "second 100% of 1 pass 1 passed · 5 not checked yet · 2 not handed in" in text


def test_what_dominates_comes_first_and_what_is_no_answer_stands_apart() -> None:
    told = [
        (wrong.kind, wrong.sentence, [one.student for one in wrong.students])
        for wrong in wrong_answers(CLASS, LINES, "first")
    ]
    assert told == [
        ("misconception", "You summed.", ["bo", "cy"]),
        ("fault of the grader", "The grader failed.", ["flo"]),
        ("limit", "Too much memory.", ["ed"]),
        ("time-out", "`first` did not come to an end.", ["di"]),
    ]
    text = words(class_page(CLASS))
    assert "2 You summed. bo , cy" in text and "1 time-out `first` did not come to an end. di" in text
    assert "1 limit Too much memory. ed" in text and "1 fault of the grader The grader failed. flo" in text


def test_a_failure_without_a_misconception_is_told_by_its_message() -> None:
    shared = make_class(student("a", "failed"), student("b", "failed"), student("c", "failed", explained=["X.", "Y."]))
    told = [(wrong.sentence, len(wrong.students)) for wrong in wrong_answers(shared, LINES, "first")]
    assert told == [("It is wrong.", 2), ("X.", 1), ("Y.", 1)]


def test_what_to_teach_again_is_what_several_got_wrong() -> None:
    assert [wrong.sentence for wrong in teach_again(CLASS)] == ["You summed."]
    assert "Teach again 2 first : You summed." in words(class_page(CLASS))
    slow = make_class(*(student(name, "failed", "timeout", "slow") for name in "abc"))
    assert teach_again(slow) == [] and "Teach again" not in words(class_page(slow))


def test_the_class_in_numbers() -> None:
    assert tiles(CLASS) == [
        ("8", "students"), ("7", "handed in a task"), ("0 of 5", "points, median"), ("1.0", "points, mean"), ("1", "with all points"),
        ("2", "with points not known"), ("2.0 s", "a hand-in to grade, median"),
    ]  # fmt: skip
    assert tiles(make_class())[:2] == [("0", "students"), ("0", "handed in a task")]


@pytest.mark.parametrize("possible", [0, 1, 5, 20, 21, 100, 1000])
def test_bars_hold_every_number_of_points_once(possible: int) -> None:
    points = [*range(possible + 1), possible]
    made = bars(points, possible)
    assert len(made) <= MOST_BARS and sum(bar.count for bar in made) == len(points)
    covered = [p for bar in made for p in range(bar.first, bar.last + 1)]
    assert covered == list(range(possible + 1))
    assert max(bar.height for bar in made) == 90 and all(bar.height >= 0 for bar in made)


def test_a_table_of_everyone_who_handed_in_and_a_list_of_who_did_not() -> None:
    page = class_page(CLASS)
    rows = [words(row) for row in re.findall(r"<tr>.*?</tr>", page, re.DOTALL)[1:]]
    assert rows[:2] == ["ada 5 5 5", "bo 0 0 0 first: You summed."]
    assert rows[5:] == ["flo ? ? ? first: The grader failed.", "hal ? ? ? hal.zip: cannot be read"]
    assert words(page).endswith("Nothing to grade 1 Gus Noor s02/lines not handed in")
    links = [given["href"] for tag, given in Page(page).tags if tag == "a"]
    assert {f"students/{one.student}.html" for one in CLASS.students} == set(links)


@pytest.mark.parametrize("name", ["a b", "a#b?c", "javascript:alert(1)", "../../etc", "é%", '"><script>'])
def test_a_link_stays_in_its_folder(name: str) -> None:
    link = page_link(name)
    assert re.fullmatch(r"students/[\w.%~-]+\.html", link)
    assert "/" not in link.removeprefix("students/") and link != "students/...html"


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_of_a_stranger_is_more_than_text(text: str) -> None:
    def page(text: str) -> str:
        told = student("x", "failed", message=text, explained=[text])
        other = replace(told, student="y", name=text, problems={text: text}, missing=[text], notes=[text])
        return class_page(make_class(told, other, StudentResult("z", text, {}, missing=[text]), title=text))

    assert shape(page(text)) == shape(page("plain"))
    assert not set(page(text)) & set("\x1b\x9b\x07\r\x08\x7f\u202e\u2066\ud800")
    strange = class_page(make_class(replace(student("x", "passed"), student=text)))
    assert [tag for tag, _ in shape(strange)] == [
        tag for tag, _ in shape(class_page(make_class(student("x", "passed"))))
    ]


def test_nothing_is_run_and_nothing_is_loaded() -> None:
    tags = Page(class_page(CLASS)).tags
    assert not {"script", "link", "img", "iframe", "object", "form", "base"} & {tag for tag, _ in tags}
    assert not any(name.startswith("on") or name == "src" for _, given in tags for name in given)
    assert any(given.get("http-equiv") == "Content-Security-Policy" for _, given in tags)


def test_an_unsafe_run_is_said_first() -> None:
    page = class_page(make_class(unsafe=True))
    assert UNSAFE in page.splitlines()[0] and words(page).startswith(UNSAFE)
    assert UNSAFE not in class_page(CLASS)


@pytest.mark.parametrize("name", ["a/b", "a\\b", "a\0b", "..", "", "a\nb", "\ud800", "é" * 200])
def test_a_name_that_can_be_no_files_name_gets_one_of_its_own(name: str, tmp_path: Path) -> None:
    stem = file_stem(name)
    (tmp_path / f"{stem}.html").write_text("x")
    assert [path.name for path in tmp_path.rglob("*")] == [f"{stem}.html"]
    assert stem not in (name, file_stem(name + "x"), file_stem("a_b"))
