"""A record as HTML, for a notebook's output cell. Everything is escaped by the template engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources

import jinja2

from aidl_jax.grade.record import Record
from aidl_jax.grade.terminal import MARKS, clean, done, first_failure, how


def record_html(record: Record, hints: Mapping[str, Sequence[str]] | None = None) -> str:
    """The record as a self-contained piece of HTML.

    Args:
        record: what to show.
        hints: by task, its hints; those of the first task that failed are there to be opened one by one.
    """
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["clean"] = clean
    open_task = first_failure(record)
    return environment.from_string(_resource("record.html.j2")).render(
        record=record,
        open_task=open_task,
        hints=(hints or {}).get(open_task.name, []) if open_task else [],
        how=how,
        done=done,
        marks={verdict: sign for verdict, (sign, _) in MARKS.items()},
        css=_resource("record.css"),
    )


def _resource(name: str) -> str:
    return (resources.files("aidl_jax.grade") / "resources" / name).read_text(encoding="utf-8")
