"""A graph as text: everything that is in it is there, on lines that fit, and what is left out is counted."""

from __future__ import annotations

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from samples import deep, loops, train_step

from aidl_jax.graph import Graph, GraphError, trace

GIVEN = ("placeholders/", "variables/", "constants/")


def columns(text: str) -> list[tuple[str, list[str]]]:
    """Each line under the dashes as its indented name and the other four cells; names on lines of their own joined."""
    lines = text.splitlines()
    dashes = next(number for number, line in enumerate(lines) if line.startswith("---"))
    starts = [found.start() for found in re.finditer("-+", lines[dashes])]
    rows: list[tuple[str, list[str]]] = []
    for line in lines[dashes + 1 : lines.index("", dashes)]:
        cells = [line[a:b].rstrip() for a, b in zip(starts, [*starts[1:], None], strict=True)]
        if not cells[0]:
            rows[-1] = (rows[-1][0], cells[1:])
        elif len(line) > starts[1] and line[starts[1] - 1] != " ":
            rows.append((line, ["", "", "", ""]))
        else:
            rows.append((cells[0], cells[1:]))
    return rows


def operations(text: str) -> dict[str, list[str]]:
    """By whole name, through scopes and bodies, the cells of each operation."""
    found: dict[str, list[str]] = {}
    around: list[str] = []
    for name, cells in columns(text):
        depth = (len(name) - len(name.lstrip())) // 2
        leaf = name.strip().removesuffix(" *")
        path = "".join(part for part in around[:depth] if part not in GIVEN)
        around[depth:] = [leaf.replace(":", "/") if leaf.endswith((":", "/")) else f"{leaf}/"]
        if not leaf.endswith((":", "/")):
            assert path + leaf not in found
            found[path + leaf] = cells
    return found


def everything(graph: Graph, around: str = "") -> dict[str, object]:
    """By whole name, through bodies, each operation of a graph."""
    found: dict[str, object] = {}
    for one in graph.operations():
        found[around + one.name] = one
        for name, body in one.bodies.items():
            found |= everything(body, f"{around}{one.name}/{name}/")
    return found


@pytest.mark.oldest
@pytest.mark.parametrize("sample", [train_step, loops, deep])
def test_every_operation_has_a_line_with_its_type_result_and_source(sample):
    graph = sample()
    told, there = operations(graph.table()), everything(graph)
    assert told.keys() == there.keys()
    for name, (kind, _, results, source) in told.items():
        one = there[name]
        assert kind == one.type
        assert source == (f"{one.source.file.rpartition('/')[2]}:{one.source.line}" if one.source else "")
        if "…" not in results:
            assert results == ", ".join(str(out).split()[1] for out in one.outputs)


def test_inputs_are_named_as_they_are_fetched():
    graph = train_step()
    whole = 0
    for name, (_, inputs, _, _) in operations(graph.table()).items():
        one = graph[name]
        if "…" in inputs or not inputs:
            continue
        parts = [f"{one.scope}{part[1:]}" if part.startswith("./") else part for part in inputs.split(", ")]
        assert len(parts) == len(one.operands)
        for part, operand in zip(parts, one.operands, strict=True):
            if operand in one.inputs:
                assert graph[part].outputs == (operand,)
                whole += 1
            else:
                assert float(part) == pytest.approx(float(operand), rel=1e-6)
    assert whole > 100


def test_one_of_several_outputs_is_named_with_its_number():
    told = operations(loops().table())
    assert told["reduce_sum"][1] == "rnn/scan:1"
    graph = trace(lambda x: jnp.linalg.eigh(x)[1] + 1, jnp.eye(2))
    assert re.fullmatch(r"(eigh|\S*select_n\S*|\S+:\d), 1.0", operations(graph.table())["add"][1])


def test_headline_counts():
    def fn(x, w):
        return jnp.sin(x) * w + np.float32([1, 2])

    graph = trace(jax.value_and_grad(lambda x, w: fn(x, w).sum()), jnp.ones(()), jnp.ones(2), variables=["w"])
    kinds = [one.type for one in graph.operations()]
    assert (kinds.count("placeholder"), kinds.count("variable"), kinds.count("constant")) == (1, 1, 1)
    gradients = sum(one.name.startswith("gradients/") for one in graph.operations())
    assert str(graph).splitlines()[0] == (
        f"{graph.name}: {len(kinds)} operations ({len(kinds) - 3 - gradients} forward, {gradients} gradients, "
        "1 placeholder, 1 variable, 1 constant)"
    )
    equations = jax.make_jaxpr(fn)(jnp.ones(()), jnp.ones(2)).eqns
    assert f"({len(equations)} forward, 0 gradients, 2 placeholders," in repr(trace(fn, jnp.ones(()), jnp.ones(2)))
    first = str(train_step()).splitlines()[0]
    optimizer = sum(one.name.startswith("optimizer/") for one in train_step().operations())
    assert f"{optimizer} optimizer, 2 placeholders, 13 variables, 0 constants)" in first


def test_bodies_stand_under_their_operation_and_are_counted():
    text = str(loops())
    names = [name for name, _ in columns(text)]
    at = names.index("  scan")
    assert names[at : at + 6] == [
        "  scan",
        "    body:",
        *(f"      {one}" for one in ("const_0", "carry_0", "x_0", "cell/")),
    ]
    inside = sum(name.count("/body/") + name.count("/cond/") + name.count("/branch_") for name in everything(loops()))
    assert f"and {inside} in loops and branches" in " ".join(text.split())


@pytest.mark.parametrize("limit", [1, 3, 10, 30, 61, 80, 150, 299, 400])
def test_what_is_left_out_is_counted(limit):
    from aidl_jax.graph.table import table

    text = table(deep(), limit=limit)
    rows = columns(text)
    assert len(rows) <= limit + 1
    hidden = sum(int(found) for found in re.findall(r"\.\.\. (?:and )?(\d+)", text))
    shown = [name for name, cells in rows if cells[2]]
    assert hidden + len(shown) == len(deep().operations())
    assert ("not shown: print(graph.table()) shows all" in text) == bool(hidden)
    if hidden:
        assert f"\n{hidden} operations not shown" in text


def test_outer_scopes_open_first():
    text = str(deep())
    assert len(text.splitlines()) < 310
    assert re.search(r"^layer19/$", text, re.MULTILINE)
    assert "layer19/a/" not in text and re.search(r"^  a/  \.\.\. 12 operations$", text, re.MULTILINE)
    assert "print(graph.table('layer" in text


def test_what_is_closed_takes_no_room():
    def repeated(scope, x, times):
        with jax.named_scope(scope):
            for _ in range(times):
                x = jnp.sin(x)
        return x

    text = str(
        trace(lambda x: repeated("small/part", repeated("large", repeated("large/part", x, 200), 400), 150), 1.0)
    )
    assert re.search(r"^large/  \.\.\. 600 operations$", text, re.MULTILINE)
    assert sum(name.startswith("    sin") for name, _ in columns(text)) == 150


def test_one_scope():
    text = deep().table("layer3/b")
    assert "in layer3/b/: 12 operations" in text
    assert len(columns(text)) == 12
    assert [name for name, _ in columns(loops().table("rnn/scan/body/cell"))] == ["dot_general", "add", "tanh"]
    with pytest.raises(GraphError, match=r"there is no such scope: given 'layer33'. Fix: did you mean 'layer"):
        deep().table("layer33")


def test_lines_fit_and_what_is_shortened_says_so():
    def fn(xs):
        with jax.named_scope("a_scope_with_quite_a_long_name/" + "inner/" * 15):
            return jnp.concatenate([xs["an_array_with_a_very_long_name_indeed"]] * 300 + [xs["b"]])

    graph = trace(fn, {"an_array_with_a_very_long_name_indeed": jnp.ones(2), "b": jnp.ones(1)})
    text = str(graph)
    assert max(map(len, text.splitlines())) <= 120
    assert operations(text)[graph.operations()[-1].name][1] == "… 301 of them"
    assert "… stands for what there is no room for" in text
    for sample in (train_step, loops, deep):
        assert max(map(len, sample().table().splitlines())) <= 120


def test_many_inputs_are_counted():
    text = str(trace(lambda x, y: jnp.concatenate([x] * 200 + [y]), jnp.ones(2), jnp.ones(1)))
    shown = operations(text)["concatenate"][1].split(", ")
    assert len(shown) > 10 and shown[:-1] == ["x"] * (len(shown) - 1)
    assert shown[-1] == f"… and {201 - len(shown) + 1} more"


def test_what_is_returned():
    assert "returns loss/neg" not in str(train_step())
    assert re.search(r"^returns optimizer/add_\d+, .*, … and \d+ more$", str(train_step()), re.MULTILINE)
    assert "\nreturns nothing" in str(trace(lambda: {}))
    assert str(trace(lambda x: x, 1.0)).endswith("returns x")


@pytest.mark.oldest
def test_functions_with_a_rule_of_their_own_are_marked():
    text = str(trace(lambda x: jax.nn.relu6(x) + 1, 1.0))
    marked = [name.strip() for name, _ in columns(text) if name.endswith(" *")]
    assert set(marked) == {"max *", "min *"}
    assert "* part of relu6, written out here, with a derivative rule of its own in JAX" in text
    assert "*" not in str(trace(jnp.sin, 1.0))
    # The footnote's two numbers.
    assert (jax.grad(jax.nn.relu)(0.0), jax.grad(lambda x: jnp.maximum(x, 0.0))(0.0)) == (0.0, 0.5)


def test_repr_is_one_line():
    assert repr(trace(jnp.sin, 1.0)) == (
        "<Graph sin: 2 operations (1 forward, 0 gradients, 1 placeholder, 0 variables, 0 constants)>"
    )
