"""A graph in a notebook: everything is there, nothing is markup that should be text, most of it is closed."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from IPython.core.formatters import HTMLFormatter
from samples import deep, loops, train_step
from test_table import everything

from aidl_jax.graph import trace
from aidl_jax.graph.html import graph_html, graph_page

VOID = {"col", "meta"}
HARMLESS = {
    "div",
    "b",
    "table",
    "colgroup",
    "col",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
    "code",
    "details",
    "summary",
    "small",
    "style",
}


class Page(HTMLParser):
    """The rows of a page with the groups around them, its tags, and what a reader sees before opening anything."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.stack: list[tuple[str, dict[str, Any]]] = []
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str, str]] = []
        self.rows: list[dict[str, Any]] = []
        self.groups: list[str] = []
        self.text = ""
        self.feed(page)
        self.close()
        assert not self.stack

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.add(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag == "tr" and not any(one == "thead" for one, _ in self.stack):
            closed = [one for one, attributes in self.stack if one == "details" and "open" not in attributes]
            self.rows.append({"groups": list(self.groups), "cells": [], "hidden": bool(closed)})
        if tag == "td":
            self.rows[-1]["cells"].append("")
        if tag not in VOID:
            self.stack.append((tag, given))

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop()[0] == tag, f"</{tag}> closes nothing"
        if tag == "details" and self.groups and not any(one == "td" for one, _ in self.stack):
            self.groups.pop()

    def handle_data(self, data: str) -> None:
        tags = [one for one, _ in self.stack]
        if tags[-2:] == ["summary", "code"]:
            self.groups.append(data)
        if "td" in tags:
            self.rows[-1]["cells"][-1] += data
        elif "style" not in tags:
            self.text += data


def names(page: Page) -> dict[str, list[str]]:
    """By whole name, through groups and bodies, the cells of each row."""
    found: dict[str, list[str]] = {}
    last_in: dict[str, str] = {}
    for row in page.rows:
        cells = [" ".join(cell.split()) for cell in row["cells"]]
        path = ""
        for group in row["groups"]:
            if group not in ("placeholders/", "variables/", "constants/"):
                path += f"{last_in[path]}/{group[:-1]}/" if group.endswith(":") else group
        last_in[path] = cells[0].removesuffix(" *")
        assert path + last_in[path] not in found
        found[path + last_in[path]] = cells
    return found


@pytest.mark.oldest
@pytest.mark.parametrize("sample", [train_step, loops, deep])
def test_every_operation_is_there_in_its_scope(sample):
    told, there = names(Page(graph_html(sample()))), everything(sample())
    assert told.keys() == there.keys()
    for name, (_, kind, inputs, results, line) in told.items():
        one = there[name]
        assert kind == one.type
        assert results == ", ".join(str(out).split()[1] for out in one.outputs)
        assert line == (f"{one.source.file.rpartition('/')[2]}:{one.source.line}" if one.source else "")
        given = inputs.split(", ") if inputs else []
        assert len(given) == len(one.operands)
        for part, operand in zip(given, one.operands, strict=True):
            if operand in one.inputs:
                assert part in (operand.name, operand.operation)


def test_a_notebook_shows_it():
    shown = HTMLFormatter()(train_step())
    assert shown == graph_html(train_step())
    assert re.search(r"^train_step\s+\d+ operations \(\d+ forward", Page(shown).text.strip())


def test_no_script_and_nothing_from_the_network():
    for sample in (train_step, loops, deep):
        page = Page(graph_html(sample()))
        assert page.tags <= HARMLESS
        assert {name for _, name, _ in page.attributes} <= {"class", "open", "title"}
        assert "url(" not in graph_html(sample()) and "@import" not in graph_html(sample())


@pytest.mark.parametrize(
    "text", ["<script>alert(1)</script>", "</code></td><h1>x", "<img src=x onerror=y>", "&lt;b&gt; \" ' {{ 7 }}"]
)
def test_what_a_program_is_called_is_text(text):
    @jax.custom_jvp
    def hostile(x):
        return jnp.sin(x) * 2

    hostile.defjvp(lambda primals, tangents: (hostile(*primals), tangents[0]))
    hostile.fun.__name__ = text
    file = f"{text.replace('/', '_')}.py"
    namespace: dict[str, Any] = {"hostile": hostile, "jnp": jnp}
    exec(compile("def fn(x): return hostile(jnp.cos(x))", file, "exec"), namespace)
    namespace["fn"].__name__ = text
    page = Page(graph_html(trace(namespace["fn"], 1.0)))
    assert page.tags <= HARMLESS
    told = names(page)
    assert told["cos"][4] == f"{file}:1"
    assert told["sin"][0] == "sin *"
    assert f"* part of {text.split()[0]}" in page.text


def test_most_of_a_large_graph_is_closed():
    page = Page(graph_html(deep()))
    shown = [row for row in page.rows if not row["hidden"]]
    assert len(page.rows) == len(deep().operations()) > 200
    assert len(shown) <= 60
    small = Page(graph_html(trace(lambda x: jnp.sin(x) + 1, 1.0)))
    assert not any(row["hidden"] for row in small.rows)


def test_many_inputs_open():
    page = graph_html(trace(lambda x: jnp.concatenate([x] * 50), jnp.ones(1)))
    assert "<summary>… and 42 more</summary>" in page
    assert names(Page(page))["concatenate"][2].count("x") == 50


def test_attributes_and_the_mark_of_a_rule():
    page = Page(graph_html(train_step()))
    titles = [value for tag, name, value in page.attributes if (tag, name) == ("td", "title")]
    assert "dimension_numbers: (((1,), (0,)), ((), ()))\npreferred_element_type: float32" in titles
    assert names(page)["layer1/relu/max"][0] == "max *"
    assert "* part of relu, written out here" in page.text


def test_a_page_of_its_own():
    page = graph_page(train_step())
    assert page.startswith("<!doctype html>") and '<meta charset="utf-8">' in page
    assert graph_html(train_step()) in page
