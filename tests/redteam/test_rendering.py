"""What hostile code says, from the sandbox to the screen, the page and the file: text, whatever is in it.

The renderings alone are tested in tests/grade/test_views.py; a class's tables in tests/grade/test_classroom.py.
"""

from __future__ import annotations

import json
import unicodedata
from html.parser import HTMLParser

import pytest
from arena import Arena, grade, hand_in

from aidl_jax.grade.page import record_html
from aidl_jax.grade.record import Record, to_json
from aidl_jax.grade.terminal import record_text

TEXTS = {
    "terminal": "\x1b[2J\x1b]0;passed\x07\x9b31m\rpassed\x08\x7f \u202edessap\u2066",
    "page": "<script>alert(1)</script></pre><img src=x onerror=alert(2)>{{ 7 * 7 }}&lt;",
    "markup": "[red]passed[/red] [link=http://x]y[/link] **passed** `x` | passed |",
    "formula": '=HYPERLINK("http://x";"passed")\n+1\n-1\n@SUM(1)\t=1',
    "half a character": "\ud800passed\udfff\0",
}


class Tags(HTMLParser):
    """The tags of a page and its attributes that run code."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Notes a tag."""
        self.found += [tag, *(name for name, _ in attrs if name.startswith("on"))]


@pytest.fixture(scope="module", params=TEXTS)
def record(arena: Arena, request: pytest.FixtureRequest) -> Record:
    """The record of a hand-in that says a hostile text in every way it can."""
    text = TEXTS[request.param]
    source = hand_in(
        scale=f"print({text!r})\nraise type({text!r}.replace(chr(0), ''), (Exception,), {{}})({text!r})",
        firsts=f"print({text!r})\nyield {text!r}.encode('utf-8', 'replace').decode()",
        middle=f"os.write(2, {text!r}.encode('utf-8', 'replace'))\nos._exit(1)",
    )
    return grade(source, arena.nursery)


def test_it_fails_and_is_text_on_a_terminal(record: Record) -> None:
    assert [task.verdict for task in record.tasks] == ["failed"] * 3
    shown = record_text(record).replace("\n", "")
    assert [c for c in shown if unicodedata.category(c) in ("Cc", "Cf", "Cs")] == []


def test_it_is_text_on_a_page(record: Record) -> None:
    tags = Tags(record_html(record)).found
    assert not {"script", "img", "onerror"} & {*tags}


def test_it_is_text_in_a_file(record: Record) -> None:
    written = to_json(record.to_dict())
    written.encode("utf-8")
    assert [c for c in written if ord(c) < 32 and c != "\n"] == []
    assert json.loads(written) == json.loads(to_json(json.loads(written)))
