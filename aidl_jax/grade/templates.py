"""Pages from templates: everything that is put in is escaped, and nothing is loaded from elsewhere."""

from __future__ import annotations

import functools
from importlib import resources
from typing import Any

import jinja2

from aidl_jax.exercise.source import short_name
from aidl_jax.grade.findings import number
from aidl_jax.grade.terminal import MARKS, clean

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
UNSAFE = "UNSAFE: no sandbox; student code ran with the rights of whoever graded."


def render_page(template: str, title: str, unsafe: bool, **values: Any) -> str:
    """A whole page of a report: its own style, no script, a policy that forbids both and all loading.

    Args:
        template: a file in `resources`.
        title: of the window.
        unsafe: whether it says first that student code ran without a sandbox.
        values: what the template shows.
    """
    values |= {
        "title": one_line(title),
        "policy": POLICY,
        "css": _resource("report.css"),
        "unsafe": UNSAFE if unsafe else None,
    }
    values["marks"] = {verdict: sign for verdict, (sign, _) in MARKS.items()}
    return _environment().get_template(template).render(values)


@functools.cache
def _environment() -> jinja2.Environment:
    """Made once: a class has hundreds of pages, and compiling a template takes longer than filling it."""
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined,
        loader=jinja2.FunctionLoader(_resource),
    )  # fmt: skip
    environment.filters |= {"clean": one_line, "text": clean, "number": number, "short": short_name}
    return environment


def one_line(text: object) -> str:
    r"""Untrusted text on one line, without control characters.

    >>> print(one_line("a\nb\u202e"))
    a b\u202e
    """
    return clean(str(text).replace("\r", "\n")).replace("\n", " ")


def _resource(name: str) -> str:
    return (resources.files("aidl_jax.grade") / "resources" / name).read_text(encoding="utf-8")
