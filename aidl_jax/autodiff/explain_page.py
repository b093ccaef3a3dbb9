"""A backward pass as HTML: a table for a notebook, and a page that goes through the graph step by step, offline."""

from __future__ import annotations

from importlib import resources
from typing import Any

import jinja2
import numpy as np

from aidl_jax.autodiff.explaining import (
    LETTERS,
    MAX,
    Explanation,
    Step,
    short,
    told_local,
    told_upstream,
    told_value,
)
from aidl_jax.autodiff.layout import Drawing, draw
from aidl_jax.autodiff.telling import told, told_bytes, told_line
from aidl_jax.graph import Operation, Tensor

__all__ = ["page", "table_html"]


def table_html(seen: Explanation) -> str:
    """The steps as a table; everything is escaped by the template engine."""
    return _template("explain_table.html.j2").render(
        seen=seen,
        letters=f"{LETTERS} {MAX}",
        css=_resource("explain_table.css"),
        short=short,
        told=told,
        told_bytes=told_bytes,
        told_line=told_line,
        told_local=told_local,
        told_upstream=told_upstream,
    )


def page(seen: Explanation) -> str:
    """The page: the graph as a drawing, and for each frame of the film what is computed and what is held."""
    drawing = draw(seen.graph)
    return _template("explain_page.html.j2").render(
        title=f"Backprop through {seen.graph.name}",
        drawing=drawing,
        labels={name: _label(seen.graph.nodes[name]) for name in drawing.boxes},
        frames=frames(seen, drawing),
        css=_resource("explain_page.css"),
        script=_resource("explain_page.js"),
        letters=f"{LETTERS} {MAX}",
    )


def frames(seen: Explanation, drawing: Drawing) -> list[dict[str, Any]]:
    """What the page shows, one after the other: each operation on the way forward, then each step back."""
    forward = [_forward(seen, one, drawing) for one in seen.graph.operations() if one.name in drawing.boxes]
    back = [_back(seen, step, number) for number, step in enumerate(seen.steps, 1)]
    found = [(short(name), told_value(gradient)) for name, gradient in seen.gradients.items()]
    ready = {
        "title": "All gradients are there",
        "rows": [[f"gradient of {name}", gradient] for name, gradient in found],
        "kind": "back",
    }
    return [*forward, *back, ready | _memory(seen, ())]


def _forward(seen: Explanation, operation: Operation, drawing: Drawing) -> dict[str, Any]:
    names = list(seen.graph.nodes)
    until = set(names[: names.index(operation.name) + 1])
    kept = tuple(name for name in seen.sizes if name.rpartition(":")[0] in until)
    given = operation.name not in seen.graph.steps
    rows = [[short(out.name), told_value(seen.values[out.name])] for out in operation.outputs]
    rows += [["line", told_line(operation.source)]] if operation.source else []
    held = [short(out.name) for out in operation.outputs if out.name in seen.sizes]
    rows += [["held for", "the way back"]] if held and not given else []
    title = f"{'Given' if given else 'Forward'}: {operation.name}"
    edges = [f"{one.operation}>{operation.name}" for one in operation.inputs]
    return {"title": title, "rows": rows, "kind": "forward", "box": operation.name, "edges": edges} | _memory(
        seen, kept
    )


def _back(seen: Explanation, step: Step, number: int) -> dict[str, Any]:
    source, name = step.input.rpartition(":")[0], step.operation.name
    rows = [
        ["gradient from above", "; ".join(told_value(one) for one in step.upstream if one is not None)],
        ["local derivative", step.local if step.factor is None else f"{step.local} = {_factor(step.factor)}"],
        ["where", _letters(step.operation)],
        [f"what goes to {short(step.input)}", told_value(step.result)],
    ]
    if not np.array_equal(step.total, step.result):
        rows.append([f"gradient of {short(step.input)} so far", told_value(step.total)])
    rows += [["line", told_line(step.operation.source)]] if step.operation.source else []
    told_step = {"title": f"Back {number} of {len(seen.steps)}: through {name} to {short(step.input)}", "rows": rows}
    place = {"kind": "back", "box": name, "to": source, "edges": [f"{source}>{name}"]}
    return told_step | place | _memory(seen, step.held)


def _letters(operation: Operation) -> str:
    """What the letters in a local derivative stand for."""
    given = [short(one.name) if isinstance(one, Tensor) else told(one) for one in operation.operands[:3]]
    return ", ".join(f"{letter} = {one}" for letter, one in zip("xyz", given, strict=False))


def _factor(factor: Any) -> str:
    return str(factor) if isinstance(factor, int) else told_value(factor)


def _memory(seen: Explanation, held: tuple[str, ...]) -> dict[str, Any]:
    """What is held in a frame, how much that is, and which part of the most that ever is."""
    made = [name for name in held if seen.sizes[name]]
    size, most = sum(seen.sizes[name] for name in made), sum(seen.sizes.values())
    return {
        "held": [[short(name), told_bytes(seen.sizes[name])] for name in made],
        "boxes": [name.rpartition(":")[0] for name in made],
        "size": told_bytes(size),
        "share": round(100 * size / most, 1) if most else 0,
    }


def _label(operation: Operation) -> tuple[str, str]:
    """What stands in a box: what it does or is called, and what comes out."""
    given = not operation.operands and operation.type in ("placeholder", "variable", "constant")
    shapes = [f"[{','.join(map(str, out.shape))}]" if out.shape else "one number" for out in operation.outputs]
    name = operation.name if given else operation.custom or operation.type
    return (name if len(name) <= 19 else f"…{name[-18:]}"), " ".join(shapes)[:24]


def _template(name: str) -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    return environment.from_string(_resource(name))


def _resource(name: str) -> str:
    return (resources.files("aidl_jax.autodiff") / "resources" / name).read_text(encoding="utf-8")
