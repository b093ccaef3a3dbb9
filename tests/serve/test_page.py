"""The page in a real browser: a digit drawn with pointer events, an image dropped, at a laptop's and a phone's width."""

from __future__ import annotations

import base64
import importlib.util
import io
import os
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from served import exported, running

from aidl_jax.serve import load

SPEC = importlib.util.spec_from_file_location("screenshot", Path(__file__).parents[1] / "graph" / "screenshot.py")
assert SPEC is not None and SPEC.loader is not None
screenshot = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(screenshot)

pytestmark = pytest.mark.skipif(
    screenshot.find_chromium() is None, reason="no Chromium is installed here (apt-get install chromium)"
)
CORNERS = ["top", "bottom", "left", "right"]
STATE = """({
    answer: answer.textContent, wrong: answer.classList.contains("wrong"), turned: turn.checked, turnable: !turn.disabled,
    first: [...document.querySelectorAll("li.first")].map((row) => row.dataset.class),
    shares: Object.fromEntries([...document.querySelectorAll("#classes li")].map((row) =>
        [row.dataset.class, [row.querySelector("meter").value, row.querySelector(".share").textContent]])),
    wide: document.documentElement.scrollWidth - innerWidth,
    ink: pen.getImageData(0, 0, 280, 280).data.filter((value, at) => at % 4 === 0 && value > 127).length,
})"""


def brightness(params: Any, inputs: Any) -> Any:
    """Logits of a model that anybody can check: how light each side of the picture is."""
    grey = inputs[..., 0] / 255
    sides = [
        grey[:, :10].mean((1, 2)),
        grey[:, 10:].mean((1, 2)),
        grey[:, :, :10].mean((1, 2)),
        grey[:, :, 10:].mean((1, 2)),
    ]
    return 20 * jnp.stack(sides, axis=1)


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    def light(image):
        return image.astype("float32")

    path, _ = exported(
        tmp_path_factory.mktemp("sides"),
        apply_fn=brightness, params={}, preprocess=light, spec="u8[20,20,1]", class_names=CORNERS,
    )  # fmt: skip
    with running(load(path)) as (_, port):
        yield f"http://127.0.0.1:{port}/"


def opened(page, address):
    page.send("Page.navigate", url=address)
    page.run("new Promise((go) => document.readyState === 'complete' ? go() : addEventListener('load', go))")
    page.run("document.addEventListener('securitypolicyviolation', (one) => { window.violated = one.blockedURI; })")


def answered(page, words):
    """The page's state, once it shows some words."""
    page.run(f"""new Promise((go) => {{
        const look = () => answer.textContent.startsWith({words!r}) ? go() : requestAnimationFrame(look);
        look();
    }})""")
    return page.run(STATE)


def stroke(page, *points):
    """A stroke over the field, in shares of its width and height, with the mouse's own events."""
    left, top, width, height = page.run(
        "(() => { field.scrollIntoView({block: 'center'}); const at = field.getBoundingClientRect();"
        " return [at.left, at.top, at.width, at.height]; })()"
    )
    places = [(left + x * width, top + y * height) for x, y in points]
    kinds = ["mousePressed", *["mouseMoved"] * (len(places) - 1), "mouseReleased"]
    for kind, (x, y) in zip(kinds, [*places, places[-1]], strict=True):
        page.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=1, clickCount=1)


def drop(page, file, kind="image/png"):
    """Drops a file on the page as a browser does."""
    page.run(f"""(() => {{
        const bytes = Uint8Array.from(atob({encoded(file)!r}), (one) => one.charCodeAt(0));
        const held = new DataTransfer();
        held.items.add(new File([bytes], "a.png", {{type: {kind!r}}}));
        field.dispatchEvent(new DragEvent("drop", {{dataTransfer: held, bubbles: true, cancelable: true}}));
    }})()""")


def encoded(data):
    return base64.b64encode(data).decode()


def picture(array):
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return file.getvalue()


def kept(page, name):
    folder = os.environ.get("AIDL_PICTURES")
    if folder:
        page.picture(Path(folder) / name)


@pytest.mark.parametrize(("width", "height"), [(1280, 900), (390, 844)])
def test_what_is_drawn_or_dropped_is_answered(width, height, address):
    with screenshot.browser(width, height) as page:
        page.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500
        )
        opened(page, address)
        empty = page.run(STATE)
        assert (empty["answer"], empty["ink"], empty["first"], empty["turnable"]) == (
            "Nothing is drawn yet.",
            0,
            [],
            False,
        )
        stroke(page, (0.1, 0.15), (0.5, 0.12), (0.9, 0.15))
        top = answered(page, "The model reads: top")
        assert top["ink"] > 1000 and top["first"] == ["top"] and top["wide"] <= 0
        assert sum(share for share, _ in top["shares"].values()) == pytest.approx(1, abs=1e-3)
        assert all(text == f"{100 * share:.1f} %" for share, text in top["shares"].values())
        kept(page, f"drawn-{width}.png")

        page.run("find('clear').click()")
        assert page.run(STATE)["ink"] == 0
        stroke(page, (0.12, 0.1), (0.12, 0.9))
        assert answered(page, "The model reads: left")["first"] == ["left"]

        dark_right = np.full((40, 40), 255, np.uint8)
        dark_right[:, 30:] = 0
        drop(page, picture(dark_right))
        right = answered(page, "The model reads: right")
        assert right["turned"] and right["turnable"] and right["ink"] == pytest.approx(280 * 70, rel=0.05)
        kept(page, f"dropped-{width}.png")
        page.run("turn.click()")
        assert not answered(page, "The model reads: left")["turned"]
        drop(page, b"no image")
        wrong = answered(page, "This file is no image")
        assert wrong["wrong"] and wrong["first"] == []
        assert page.run("window.violated ?? null") is None


def test_a_finger_draws_too_and_an_error_of_the_server_is_shown(address):
    with screenshot.browser(390, 844) as page:
        page.send("Emulation.setTouchEmulationEnabled", enabled=True)
        opened(page, address)
        left, top = page.run("(() => { const at = field.getBoundingClientRect(); return [at.left, at.top]; })()")
        for kind, *points in (
            ["touchStart", (30, 20)],
            ["touchMove", (150, 25)],
            ["touchMove", (250, 20)],
            ["touchEnd"],
        ):
            touches = [{"x": left + x, "y": top + y} for x, y in points]
            page.send("Input.dispatchTouchEvent", type=kind, touchPoints=touches)
        assert answered(page, "The model reads: top")["ink"] > 1000
        page.run("field.toBlob = (done) => done(new Blob(['no picture']))")
        page.run("ask()")
        assert answered(page, "this is no picture that can be read")["wrong"]


def arc(x, y, across, down, first, last):
    """Points of an ellipse, in degrees that go clockwise from its right."""
    angles = np.radians(np.linspace(first, last, 15))
    return [(float(x + across * np.cos(one)), float(y + down * np.sin(one))) for one in angles]


DIGITS = {
    "0": [arc(0.5, 0.5, 0.22, 0.35, -90, 270)],
    "1": [[(0.4, 0.25), (0.52, 0.12), (0.52, 0.88)]],
    "2": [[*arc(0.5, 0.3, 0.2, 0.18, 180, 390), (0.3, 0.85), (0.75, 0.85)]],
    "3": [[*arc(0.47, 0.3, 0.2, 0.18, 200, 450), *arc(0.47, 0.67, 0.23, 0.2, -90, 160)]],
    "4": [[(0.55, 0.12), (0.25, 0.6), (0.8, 0.6)], [(0.6, 0.4), (0.6, 0.9)]],
    "5": [[(0.72, 0.14), (0.35, 0.14), (0.33, 0.45), *arc(0.48, 0.63, 0.22, 0.22, -110, 140)]],
    "6": [[(0.62, 0.1), (0.38, 0.4), *arc(0.5, 0.66, 0.2, 0.22, -170, 190)]],
    "7": [[(0.25, 0.14), (0.75, 0.14), (0.45, 0.88)]],
    "8": [[*arc(0.5, 0.3, 0.17, 0.17, 90, 450), *arc(0.5, 0.68, 0.2, 0.2, -90, 270)]],
    "9": [[*arc(0.5, 0.33, 0.2, 0.2, 0, 360), (0.68, 0.6), (0.6, 0.88)]],
}


@pytest.mark.slow
def test_the_trained_model_reads_the_ten_digits_as_they_are_drawn(tmp_path):
    from aidl_jax.serve.digits import export_digits
    from aidl_jax.train.full_model import train_digits

    export_digits(tmp_path / "model.zip", train_digits(tmp_path / "run").state.params)
    read = {}
    with running(load(tmp_path / "model.zip")) as (_, port), screenshot.browser(1280, 900) as page:
        opened(page, f"http://127.0.0.1:{port}/")
        for digit, strokes in DIGITS.items():
            page.run("find('clear').click()")
            for points in strokes:
                stroke(page, *points)
            read[digit] = answered(page, "The model reads: ")["answer"][-1]
    assert sum(digit == said for digit, said in read.items()) >= 9, read
