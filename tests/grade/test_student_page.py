"""A student's page: it says what the record says, marks the line, and shows a stranger's text as text."""

from __future__ import annotations

import html
import re
from dataclasses import replace

import pytest
from test_views import HOSTILE, Page, record_with, shape

from aidl_jax.grade.extract import Cell
from aidl_jax.grade.handin import Document
from aidl_jax.grade.listing import LONGEST_LINE, MOST_LINES, listing
from aidl_jax.grade.record import CheckRecord, FailureRecord, Record, TaskRecord
from aidl_jax.grade.results import Adjustment, StudentResult
from aidl_jax.grade.student_page import student_page
from aidl_jax.grade.templates import POLICY, UNSAFE

LINES = "s02_graphs/lines"
CODE = "import jax\n\ndef first(x):\n    return x\n\ndef second(x):\n\treturn first(x)\n"


def document(text: str = CODE) -> Document:
    return Document("lines.py", (Cell("lines.py", text),))


def failed(line: str | None, verdict: str = "failed", kind: str = "value") -> Record:
    failure = FailureRecord(kind, "The value is wrong.", call="second(x)", got="5", expected="1", where="[0]", line=line,
                            misconceptions=["You summed."], fix="Divide.")  # fmt: skip
    check = CheckRecord("mean", "It is the mean.", "failed", failure)
    tasks = [
        TaskRecord("first", "passed", 2, 2, evidence={"autodiff": True}),
        TaskRecord("second", verdict, 0, 3, checks=[check]),  # type: ignore[arg-type]
        TaskRecord("third", "waiting", 0, 1, waits_for=["second"]),
    ]
    return Record(LINES, "Lines", 7, tasks)


def result(record: Record, **more: object) -> StudentResult:
    plain = StudentResult("ada", None, {LINES: record}, {LINES: document()}, points=2, possible=6, final=2.0)
    return replace(plain, **more)  # type: ignore[arg-type]


def words(page: str) -> str:
    """What is to be read on a page, or in a part of one."""
    body = page.partition("<body>")[2] or page
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", body)).split())


def everywhere(text: str) -> str:
    """A page with a text in every place where a stranger's may stand."""
    record = record_with(text)
    tasks = [replace(task, name=text, waits_for=[text] if task.waits_for else []) for task in record.tasks]
    failure = replace(tasks[1].checks[0].failure, misconceptions=[text])  # type: ignore[type-var]
    tasks[1] = replace(tasks[1], checks=[replace(tasks[1].checks[0], failure=failure)], evidence={"equal_to": text})
    record = replace(record, title=text, exercise=text, tasks=tasks)
    return student_page(
        StudentResult(
            text, f"{text}.", {text: record}, {text: Document(text, (Cell(text, re.sub(r"[\r\n]", "", text)),))}, {text: text},
            [text], [text], {text: {text: 2}}, [Adjustment(text, 1.0, text)], 2, 0.1, 2, 6, 2.7,
        ),
    )  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_of_a_stranger_is_more_than_text(text: str) -> None:
    page = everywhere(text)
    assert shape(page) == shape(everywhere("plain"))  # the same tags with the same attributes, whatever was said
    assert not set(page) & set("\x1b\x9b\x07\r\x08\x7f\u202e\u2066\ud800")


def test_nothing_is_run_and_nothing_is_loaded() -> None:
    tags = Page(everywhere("plain")).tags
    assert not {"script", "link", "img", "iframe", "object", "form", "base"} & {tag for tag, _ in tags}
    assert not any(name.startswith("on") or name in ("src", "href") for _, given in tags for name in given)
    policies = [given["content"] for tag, given in tags if given.get("http-equiv") == "Content-Security-Policy"]
    assert policies == [POLICY] and POLICY.startswith("default-src 'none'")
    style = re.search(r"<style>(.*?)</style>", everywhere("plain"), re.DOTALL)
    assert style and "url(" not in style[1] and "@import" not in style[1]
    for needed in ("prefers-color-scheme: dark", "@media print", "max-width: 560px"):
        assert needed in style[1]


def test_each_task_is_told() -> None:
    text = words(student_page(result(failed(None), hints={LINES: {"second": 2}})))
    for said in (
        "first passed 2 of 2 through JAX's autodiff",
        "second failed 0 of 3 The check: It is the mean. The value is wrong. You summed.",
        "got 5 expected 1 where [0] Try: Divide. 2 of 3 hints taken, by their own account",
        "third not checked yet 0 of 1 It waits for second",
        "2 of 6 points",
    ):
        assert said in text


def test_what_was_not_graded_is_no_failure() -> None:
    page = student_page(result(failed(None, verdict="ungraded", kind="ungraded"), points=None, final=None))
    assert "second not graded ? of 3" in words(page) and "not known yet" in words(page)
    assert 'class="line marked"' not in page


def test_an_unsafe_run_is_said_first() -> None:
    page = student_page(result(failed(None)), unsafe=True)
    assert UNSAFE in page.splitlines()[0] and words(page).startswith(UNSAFE)
    assert UNSAFE not in student_page(result(failed(None)))


def test_from_the_checks_to_what_counts() -> None:
    by_hand = [Adjustment(LINES, 1.5, "well explained"), Adjustment(None, 0, "see me")]
    text = words(student_page(result(failed(None), adjustments=by_hand, late_days=2, penalty=0.2, final=2.8)))
    assert "2.8 of 6 points points from the checks 2 by hand (s02_graphs/lines): well explained +1.5" in text
    assert "by hand: see me 2 days late -20% in all 2.8" in text
    assert "points from the checks" not in words(student_page(result(failed(None), late_days=0)))
    assert "1 day late no penalty" in words(student_page(result(failed(None), late_days=1)))


def test_what_is_missing_or_odd_is_told() -> None:
    text = words(student_page(StudentResult("ada", "Ada King", {}, problems={"a.zip": "cannot be read"}, missing=["x not handed in"],
                                            notes=["handed in with jax 1"])))  # fmt: skip
    assert "Ada King ada" in text and "a.zip: cannot be read x not handed in handed in with jax 1" in text


# The code


def notes(record: Record, *cells: Cell) -> dict[tuple[str, int], list[str]]:
    shown = listing(Document("lines.py", cells or (Cell("lines.py", CODE),)), record)
    return {(cell.label, line.number): line.notes for cell in shown for line in cell.lines if line.notes}


def test_the_line_that_a_failure_names_is_marked() -> None:
    assert notes(failed("line 7, in second: return first(x)\nline 4, in first: return x")) == {
        ("lines.py", 7): ["second failed here"],
        ("lines.py", 4): ["second failed here"],
    }
    assert notes(failed("line 31: return jnp.mean((")) == {}  # of a file that has no such line
    page = student_page(result(failed("line 4, in first: return x")))
    marked = re.findall(r'<div class="line marked">.*?</div>', page)
    assert len(marked) == 1 and words(marked[0]) == "4 return x second failed here"


def test_without_a_line_the_function_is_marked() -> None:
    assert notes(failed(None)) == {("lines.py", 6): ["second, which failed"]}
    twice = Cell("cell 1", "def second(x): ..."), Cell("cell 4", "\nsecond = jit(g)")
    assert notes(failed(None), *twice) == {("cell 4", 2): ["second, which failed"]}


def test_a_line_of_a_cell_is_marked_in_that_cell() -> None:
    cells = Cell("cell 1", "x\ny"), Cell("cell 3", "x\ny")
    assert notes(failed("cell 3, line 2: y"), *cells) == {("cell 3", 2): ["second failed here"]}


def test_lines_are_counted_as_python_counts_them() -> None:
    (cell,) = listing(document("a\x0cb\u2028c\r\nd\te"), failed(None))
    assert [line.text for line in cell.lines] == ["a\\x0cb\\u2028c", "d   e"]


def test_very_long_code_is_cut_and_says_so() -> None:
    long = document("\n".join(["x" * (LONGEST_LINE + 1)] * (MOST_LINES + 5)))
    (cell,) = listing(long, failed(None))
    assert (len(cell.lines), cell.more) == (MOST_LINES, 5)
    assert cell.lines[0].text == "x" * LONGEST_LINE + " ..."
    assert "... and 5 lines more" in words(student_page(result(failed(None), documents={LINES: long})))
