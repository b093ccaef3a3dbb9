"""Opens TensorBoard's Graphs tab in a headless Chromium, opens groups, and tells what is drawn.

By hand, beside a TensorBoard that runs:

    python tests/graph/screenshot.py http://localhost:6006 RUN picture.png GROUP...
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-extensions", "--remote-debugging-pipe",
]  # fmt: skip
PATIENCE = 90.0
BOARD = (Path(__file__).parent / "drawn.js").read_text()


def find_chromium() -> str | None:
    """The browser's path; None where there is none."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
    return next(filter(None, map(shutil.which, names)), None)


class Page:
    """One page of a browser, driven by the Chrome DevTools protocol over a pair of pipes.

    Source: chromedevtools.github.io/devtools-protocol; a message is JSON that ends in a zero byte.
    """

    def __init__(self, write: int, read: int) -> None:
        self.write, self.read, self.unread = write, read, b""
        self.numbers = itertools.count(1)
        self.session: str | None = None
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.send("Page.enable")
        self.send("Page.addScriptToEvaluateOnNewDocument", source=BOARD)

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Asks for something and waits for the answer; events that come in between are of no interest."""
        number = next(self.numbers)
        message = {"id": number, "method": method, "params": parameters}
        message |= {"sessionId": self.session} if self.session else {}
        os.write(self.write, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + PATIENCE
        while True:
            answer = self.receive(until)
            if answer.get("id") == number:
                assert "result" in answer, answer
                return answer["result"]

    def receive(self, until: float) -> dict[str, Any]:
        while b"\0" not in self.unread:
            ready, _, _ = select.select([self.read], [], [], max(0.0, until - time.monotonic()))
            chunk = os.read(self.read, 1 << 20) if ready else b""
            assert chunk, "the browser does not answer"
            self.unread += chunk
        message, _, self.unread = self.unread.partition(b"\0")
        return json.loads(message)

    def run(self, script: str) -> Any:
        """What a script gives; a promise is waited for."""
        answer = self.send("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def show(self, address: str, run: str, groups: Sequence[str]) -> list[dict[str, Any]]:
        """The Graphs tab of a TensorBoard with some groups opened, outer ones first; what is drawn then."""
        answer = self.send("Page.navigate", url=f"{address.rstrip('/')}/#graphs")
        assert "errorText" not in answer, answer
        self.run("new Promise((go) => document.readyState === 'complete' ? go() : addEventListener('load', go))")
        self.run(f"board.choose({json.dumps(run)})")
        for group in groups:
            self.run(f"board.open({json.dumps(group)})")
        self.run("board.fit()")
        return self.run("board.drawn()")

    def picture(self, file: Path) -> None:
        """Saves what the page looks like."""
        file.write_bytes(base64.b64decode(self.send("Page.captureScreenshot", format="png")["data"]))


@contextmanager
def browser(width: int = 1500, height: int = 1100) -> Iterator[Page]:
    """A browser with one empty page."""
    (theirs_in, ours_out), (ours_in, theirs_out) = os.pipe(), os.pipe()
    while theirs_out < 4:  # the shell makes 3 of the other one first
        theirs_out = os.dup(theirs_out)
    with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as profile:
        flags = [*FLAGS, f"--user-data-dir={profile}", f"--window-size={width},{height}"]
        process = subprocess.Popen(
            ["bash", "-c", f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}', "bash", find_chromium() or "chromium", *flags],
            pass_fds=(theirs_in, theirs_out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(theirs_in)
        os.close(theirs_out)
        try:
            yield Page(ours_out, ours_in)
        finally:
            process.kill()
            process.wait()
            os.close(ours_out)
            os.close(ours_in)


if __name__ == "__main__":
    address, run, file, *groups = sys.argv[1:]
    with browser() as page:
        for node in page.show(address, run, groups):
            print(node["name"])
        page.picture(Path(file))
