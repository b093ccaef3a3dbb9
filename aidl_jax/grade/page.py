"""A record as HTML, for a notebook's output cell. Everything is escaped by the template engine."""

from __future__ import annotations

from importlib import resources

import jinja2

from aidl_jax.grade.record import Record
from aidl_jax.grade.terminal import MARKS, clean, how


def record_html(record: Record) -> str:
    """The record as a self-contained piece of HTML."""
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["clean"] = clean
    open_task = next((task for task in record.tasks if task.failure is not None), None)
    return environment.from_string(_resource("record.html.j2")).render(
        record=record,
        open_task=open_task,
        how=how,
        marks={verdict: sign for verdict, (sign, _) in MARKS.items()},
        css=_resource("record.css"),
    )


def _resource(name: str) -> str:
    return (resources.files("aidl_jax.grade") / "resources" / name).read_text(encoding="utf-8")
