"""A record on a terminal and as HTML: whatever a student's code says is shown as text."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from aidl_jax.grade.page import record_html
from aidl_jax.grade.record import CheckRecord, FailureRecord, Record, TaskRecord, to_json
from aidl_jax.grade.terminal import clean, how, mark, record_text, show_record, task_text

VOID = {"br", "img", "hr", "input", "meta", "link"}
HOSTILE = [
    "\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07",
    "\x9b31m",
    "\rpassed",
    "\x08\x08\x7f",
    "[red]loud[/red] [link=http://x]y[/link] [/]",
    ":smile: [bold",
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "</pre></div><h1>passed</h1>",
    "&lt;b&gt; \" ' {{ 7 * 7 }} {% raw %}",
    "\u202edessap\u202c \u2066x",
    "a" * 300,
    "many words " * 40,
    "line\nline\n\nline",
    "漢字" * 60,
    "\ud800",
]


def record_with(text: str, kind: str = "value") -> Record:
    """A record that says a text in every place where a student's may stand."""
    failure = FailureRecord(
        kind, text, call=text, inputs=[[text, text]], got=text, expected=text, where=text, line=text, fix=text,
        misconceptions=[], printed=text, traceback=text,
    )  # fmt: skip
    tasks = [
        TaskRecord("first", "passed", 2, 2, checks=[CheckRecord("a", "It is.", "passed")], evidence={"autodiff": True}),
        TaskRecord("second", "failed", 0, 3, checks=[CheckRecord("b", "It was.", "failed", failure)]),
        TaskRecord("third", "waiting", 0, 1, waits_for=["second"]),
    ]
    return Record("s02_graphs/lines", "Lines", 7, tasks)


class Page(HTMLParser):
    """Tags in order, text, and whether every tag is closed where it should be."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        self.text += data


def shape(page: str) -> list[Any]:
    parsed = Page(page)
    assert parsed.open == []
    return parsed.tags


@pytest.mark.oldest
@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_reaches_the_terminal_as_more_than_text(text: str) -> None:
    file = io.StringIO()
    console = Console(file=file, width=80, highlight=False, color_system="standard", force_terminal=True)
    show_record(record_with(text), console, traceback=True)
    shown, plain = file.getvalue(), io.StringIO()
    show_record(record_with("plain"), Console(file=plain, width=80, color_system="standard", force_terminal=True))
    own = {part.split("m")[0] for part in plain.getvalue().split("\x1b[")[1:]}
    assert {part.split("m")[0] for part in shown.split("\x1b[")[1:]} <= own  # our own colours and no others
    assert not set(shown) & {"\x9b", "\x07", "\r", "\x08", "\x7f", "\u202e", "\u2066", "\ud800"}
    assert "\x1b]" not in shown


@pytest.mark.parametrize("text", HOSTILE)
def test_no_line_is_longer_than_the_screen(text: str) -> None:
    from rich.cells import cell_len

    for shown in (record_text(record_with(text)), task_text(record_with(text).tasks[1])):
        assert max(map(cell_len, shown.splitlines())) <= 80
        assert clean(text).split("\n")[0][:20].strip() in shown


def test_markup_is_shown_as_it_is() -> None:
    shown = record_text(record_with("[red]loud[/red] :smile:"))
    assert shown.count("[red]loud[/red] :smile:") >= 6


@given(st.text(st.characters(), max_size=40))
@settings(max_examples=100, deadline=None)
def test_clean_text_is_printable_and_says_what_was_there(text: str) -> None:
    cleaned = clean(text)
    assert all(c == "\n" or c.isprintable() for c in cleaned)
    assert cleaned.replace("\n", "").isprintable()
    if text.isprintable():
        assert cleaned == text


@pytest.mark.oldest
@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_reaches_the_page_as_more_than_text(text: str) -> None:
    page = record_html(record_with(text), {"second": ["hint"]})
    expected = shape(record_html(record_with("plain"), {"second": ["hint"]}))
    assert shape(page) == expected  # the same tags with the same attributes, whatever was said
    assert {tag for tag, _ in expected} <= {
        "style", "div", "h4", "span", "table", "tr", "td", "code", "pre", "p", "details", "summary"
    }  # fmt: skip
    assert clean(text).split("\n")[0] in Page(page).text
    assert "\x1b" not in page and "\x9b" not in page and "\ud800" not in page


def test_names_are_escaped_too() -> None:
    odd = "<b>x</b>"
    check = CheckRecord("a", odd, "failed", FailureRecord("value", "m", call=odd, misconceptions=[odd]))
    record = Record(f"s01_x/{odd}", odd, 1, [TaskRecord(odd, "failed", 0, 1, waits_for=[odd], checks=[check])])
    page = record_html(record, {odd: [odd]})
    assert "<b>" not in page and Page(page).text.count(odd) == 7  # title, row, waits, failure twice, sentence, hint
    assert shape(page)


def test_a_page_says_what_a_terminal_says() -> None:
    record = record_with("something is off")
    page = " ".join(Page(record_html(record)).text.split())
    assert "2 of 6 points" in page and "2 of 6 points" in record_text(record)
    for words in ("waits for second", "through JAX's autodiff", "It was.", "Try: something is off", "0/3"):
        assert words in page and words in record_text(record)
    passed = Record("s02_graphs/lines", "Lines", 7, record.tasks[:1])
    assert "This task passes." in record_text(passed) and "This task passes." in record_html(passed)
    assert 'class="failed"' not in record_html(passed)


def test_what_is_not_started_is_said_in_few_words() -> None:
    record = record_with("second is still to be written.", kind="NotImplementedError")
    for shown in (record_text(record), Page(record_html(record)).text):
        assert shown.count("second is still to be written.") == 1
        assert "It was." not in shown and "Whole traceback" not in shown


@pytest.mark.parametrize(
    ("evidence", "words"),
    [
        ({}, ""),
        ({"matrix_products": 0, "autodiff": False, "constant_bytes": 0}, ""),
        ({"matrix_products": 1}, "uses 1 matrix product"),
        ({"matrix_products": 3, "autodiff": True}, "uses 3 matrix products, through JAX's autodiff"),
        ({"equal_to": "grad(loss)(params)"}, "same graph as grad(loss)(params)"),
        ({"equal_to": "a" * 61}, f"same graph as {'a' * 56} ..."),
        ({"constant_bytes": 1_023}, ""),
        ({"constant_bytes": 1_234_567}, "1,234,567 bytes baked in as a constant"),
    ],
)
def test_evidence_in_words(evidence: dict[str, Any], words: str) -> None:
    assert how(TaskRecord("a", "passed", 1, 1, evidence=evidence)) == words


@pytest.mark.parametrize(("encoding", "signs"), [("utf-8", "✓✗·?"), ("ascii", "+x.?"), ("cp1252", "+x.?")])
def test_signs_that_the_terminal_has(encoding: str, signs: str) -> None:
    console = Console(file=io.TextIOWrapper(io.BytesIO(), encoding))
    assert "".join(mark(v, console).plain for v in ("passed", "failed", "waiting", "ungraded")) == signs
    signs.encode(encoding)


def test_a_pipe_gets_eighty_columns_and_no_colours() -> None:
    code = (
        "from tests_record import record\n"
        "from aidl_jax.grade.terminal import make_console, show_record\n"
        "show_record(record, make_console(), traceback=True)\n"
    )
    code = code.replace(
        "from tests_record import record\n",
        f"from aidl_jax.grade.record import *\nrecord = {record_with('word ' * 60)!r}\n",
    )
    environment = os.environ | {"COLUMNS": "200", "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, env=environment)
    lines = done.stdout.decode().splitlines()
    assert 60 < max(map(len, lines)) <= 80
    assert b"\x1b" not in done.stdout


def test_json_of_a_record_is_the_same_every_time() -> None:
    record = record_with("x\x1b")
    assert to_json(record.to_dict()) == to_json(record.to_dict())
    assert "\x1b" not in to_json(record.to_dict())
    assert record.to_dict()["points"] == 2
