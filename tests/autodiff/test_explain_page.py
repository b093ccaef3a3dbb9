"""The page of a backward pass in a real browser, by its buttons and keys, at a laptop's and a phone's width."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import pytest

from aidl_jax.autodiff import explain_backprop

SPEC = importlib.util.spec_from_file_location("screenshot", Path(__file__).parents[1] / "graph" / "screenshot.py")
assert SPEC is not None and SPEC.loader is not None
screenshot = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(screenshot)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    def loss(w, x):
        return (jnp.tanh(x @ w) ** 2).sum()

    return explain_backprop(loss, jnp.ones((4, 3)), jnp.ones((2, 4))).write(
        tmp_path_factory.mktemp("page") / "back.html"
    )


def opened(page: Any, file: Path) -> None:
    page.send("Page.navigate", url=file.as_uri())
    page.run("new Promise((go) => document.readyState === 'complete' ? go() : addEventListener('load', go))")


def key(page: Any, name: str) -> dict[str, Any]:
    page.run(f"document.dispatchEvent(new KeyboardEvent('keydown', {{key: {json.dumps(name)}, cancelable: true}}))")
    return state(page)


def state(page: Any) -> dict[str, Any]:
    return page.run("""({
        title: find("title").textContent,
        count: find("count").textContent,
        held: [...document.querySelectorAll("g.kept")].map((box) => box.dataset.box),
        now: [...document.querySelectorAll("g.now")].map((box) => box.dataset.box),
        wide: document.documentElement.scrollWidth - innerWidth,
        first: find("back").disabled, last: find("next").disabled,
        shown: [...document.querySelectorAll("g.now")].every((box) => {
            const at = box.getBoundingClientRect(), pane = find("drawing").getBoundingClientRect();
            return at.top >= pane.top && at.bottom <= pane.bottom && at.left >= 0 && at.right <= innerWidth;
        }),
    })""")


@pytest.mark.parametrize(("width", "height"), [(1280, 900), (390, 844)])
def test_it_goes_forward_and_back_by_keys_and_buttons(width, height, file):
    if screenshot.find_chromium() is None:
        pytest.skip("no Chromium is installed here (apt-get install chromium)")
    with screenshot.browser(width, height) as page:
        opened(page, file)
        at_first = state(page)
        assert (at_first["count"], at_first["first"], at_first["title"]) == ("1 / 11", True, "Given: w")
        assert key(page, "ArrowRight")["title"] == "Given: x"
        page.run("find('next').click()")
        assert state(page)["title"] == "Forward: dot_general"
        page.run("find('back').click()")
        assert state(page)["title"] == "Given: x"
        turning = [key(page, "ArrowRight") for _ in range(5)]
        assert [one["title"].split(":")[0] for one in turning] == ["Forward"] * 4 + ["Back 1 of 4"]
        assert [one["held"] for one in turning] == [[], ["tanh"], ["tanh"], ["tanh"], ["tanh"]]
        assert all(one["shown"] and one["wide"] <= 0 for one in turning)
        at_last = key(page, "End")
        assert (at_last["count"], at_last["last"], at_last["title"]) == ("11 / 11", True, "All gradients are there")
        assert at_last["held"] == []
        assert key(page, "ArrowRight")["count"] == "11 / 11"
        assert key(page, "Home")["count"] == "1 / 11"
