from __future__ import annotations

import json
import re
from functools import cache, partial
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from IPython.core.formatters import HTMLFormatter

from aidl_jax.autodiff import AutodiffError, explain_backprop, residuals
from aidl_jax.autodiff.layout import draw
from aidl_jax.graph import trace

RNG = np.random.default_rng(0)
PARAMS = {"w": jnp.asarray(RNG.normal(size=(4, 5)), jnp.float32), "b": jnp.zeros(5), "v": jnp.ones((5, 3))}
X, Y = jnp.asarray(RNG.normal(size=(6, 4)), jnp.float32), jnp.ones((6, 3))


def loss(params, x, y):
    with jax.named_scope("layer1"):
        h = jnp.tanh(x @ params["w"] + params["b"])
    return ((h @ params["v"] - y) ** 2).sum() + (h**2).sum()


@cache
def seen():
    return explain_backprop(loss, PARAMS, X, Y)


@pytest.mark.oldest
def test_a_chain_by_hand():
    """sin(w x) at w = 2, x = 0.5: from above 1, times cos 1, times x."""
    first, second = explain_backprop(lambda w, x: jnp.sin(w * x), 2.0, 0.5).steps
    assert (first.operation.name, first.input, first.local) == ("sin", "mul:0", "cos x")
    assert [float(first.upstream[0]), float(first.factor), float(first.result)] == pytest.approx(
        [1, np.cos(1), np.cos(1)]
    )
    assert (second.operation.name, second.input, second.local) == ("mul", "w:0", "y")
    assert [float(second.upstream[0]), float(second.factor)] == pytest.approx([np.cos(1), 0.5])
    assert float(second.total) == pytest.approx(np.cos(1) / 2)


def test_every_step_is_there_in_reverse_order_and_ends_in_the_gradient():
    order = list(seen().graph.nodes)
    places = [order.index(step.operation.name) for step in seen().steps]
    assert places == sorted(places, reverse=True)
    expected = jax.grad(loss)(PARAMS, X, Y)
    for name, gradient in expected.items():
        np.testing.assert_allclose(seen().gradients[f"params/{name}:0"], gradient, rtol=1e-5)
    assert seen().loss == pytest.approx(float(loss(PARAMS, X, Y)))


def test_each_result_is_upstream_times_local_derivative():
    for step in seen().steps:
        if step.factor is not None and step.operation.name != "layer1/add":
            np.testing.assert_allclose(step.result, step.upstream[0] * step.factor, rtol=1e-6)


def test_local_derivatives_do_not_depend_on_the_loss():
    def other(params, x, y):
        return jnp.exp(-0.01 * loss(params, x, y))

    again = {(step.operation.name, step.input): step for step in explain_backprop(other, PARAMS, X, Y).steps}
    for step in seen().steps:
        twin = again[step.operation.name, step.input]
        assert twin.local == step.local
        if step.factor is not None:
            np.testing.assert_allclose(twin.factor, step.factor, rtol=1e-6)


def test_gradients_that_come_two_ways_are_added():
    to_tanh = [step for step in seen().steps if step.input == "layer1/tanh:0"]
    assert len(to_tanh) == 2
    np.testing.assert_allclose(to_tanh[1].total, to_tanh[0].result + to_tanh[1].result, rtol=1e-6)


def test_what_is_held_shrinks_and_is_what_residuals_says():
    held = [set(step.held) for step in seen().steps]
    assert all(later <= earlier for earlier, later in pairwise(held))
    made = {name for name, size in seen().sizes.items() if size}
    assert made == {"layer1/tanh:0", "sub:0"}
    assert set(seen().sizes) == {one.name for one in residuals(loss, PARAMS, X, Y).held}
    assert seen().held_bytes(seen().steps[0]) == 4 * (6 * 5 + 6 * 3)
    tanh = next(step for step in seen().steps if step.operation.type == "tanh")
    assert seen().held_bytes(tanh) == 4 * 6 * 5  # sub is not needed any more
    assert seen().held_bytes(seen().steps[-1]) == 0  # x is an argument


def test_the_table_tells_it_in_a_terminal():
    lines = str(seen()).splitlines()
    assert re.fullmatch(r"loss = \S+; 14 steps back; 2 values of 192 B are held when they begin", lines[0])
    assert lines[2].split()[:4] == ["step", "back", "through", "to"]
    (tanh,) = [line for line in lines if "1 - tanh(x)^2 = [6,5]" in line]
    assert "layer1/tanh" in tanh and tanh.endswith("1: 120 B")
    assert any(line.startswith("gradient of params/w: [4,5] max ") for line in lines)
    assert max(map(len, lines)) <= 120
    assert repr(seen()).startswith("<Explanation loss = ")


def test_a_notebook_shows_the_same_steps():
    html = HTMLFormatter()(seen())
    assert html.count("<tr>") == 1 + len(seen().steps)
    assert "layer1/tanh" in html and "test_explain_backprop.py:" in html and "<script" not in html


def frames(page: str) -> list[dict]:
    return json.loads(re.search(r'<script type="application/json" id="frames">(.*?)</script>', page, re.DOTALL)[1])


def test_the_page_goes_forward_then_back(tmp_path):
    page = seen().write(tmp_path / "backprop.html").read_text(encoding="utf-8")
    told = frames(page)
    forward = [frame for frame in told if frame["kind"] == "forward"]
    assert [frame["box"] for frame in forward] == list(seen().graph.nodes)
    back = told[len(forward) : -1]
    assert [(frame["box"], frame["to"] + ":0") for frame in back] == [(s.operation.name, s.input) for s in seen().steps]
    assert [frame["size"] for frame in (forward[0], forward[-1], back[0], back[-1])] == ["0 B", "192 B", "192 B", "0 B"]
    for frame in told:
        assert set(frame.get("edges", [])) <= set(re.findall(r'data-edge="([^"]+)"', page.replace("&gt;", ">")))
    assert told[-1]["title"] == "All gradients are there"
    assert "http" not in page.replace("http://www.w3.org", "") and "@import" not in page and "src=" not in page


def test_what_a_program_is_called_is_text():
    @jax.jit
    def fn(x):
        with jax.named_scope("</script><img src=x onerror=y>"):
            return jnp.sin(x)

    fn.__wrapped__.__name__ = "<b>&x"
    from aidl_jax.autodiff.explain_page import page

    written = page(explain_backprop(fn, 1.0))
    assert written.count("</script>") == 2 and "<img" not in written and "<b>" not in written


def test_boxes_do_not_overlap_and_stand_below_their_inputs():
    drawing = draw(trace(loss, PARAMS, X, Y))
    places = [(box.x, box.y) for box in drawing.boxes.values()]
    assert len(set(places)) == len(places)
    for edge in drawing.edges:
        start, _, end = edge.partition(">")
        assert drawing.boxes[start].y < drawing.boxes[end].y
    assert all(x + drawing.box_width <= drawing.width and y + drawing.box_height <= drawing.height for x, y in places)


def test_a_loop_is_one_step():
    def fn(w, xs):
        return jax.lax.scan(lambda h, x: (jnp.tanh(w * h + x), None), 0.0, xs)[0]

    steps = explain_backprop(fn, 0.5, jnp.ones(3)).steps
    assert [(step.operation.type, step.input, step.local) for step in steps] == [
        ("scan", "w:0", "its body's, step by step")
    ]


def test_the_gradient_of_many_numbers_is_refused():
    with pytest.raises(AutodiffError, match="the gradient is that of one number"):
        explain_backprop(partial(jnp.add, 1.0), jnp.ones(3))
