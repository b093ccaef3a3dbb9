"""A small model and its file, and a server in a thread, for the tests of `serve/`."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import uvicorn

from aidl_jax.serve import export
from aidl_jax.serve.app import make_app

RANDOM = np.random.default_rng(0)
PARAMS = {
    "hidden": {"w": RANDOM.normal(size=(12, 5)).astype(np.float32), "b": np.float32(RANDOM.normal(size=5))},
    "out": (RANDOM.normal(size=(5, 3)).astype(np.float32),),
}
SPEC = "u8[4,3,1]"
NAMES = ["cat", "dog", "eel"]


def preprocess(image: Any) -> Any:
    return image.astype(jnp.float32).reshape(-1) / 255 - 0.5


def apply_fn(params: Any, inputs: Any) -> Any:
    return jnp.tanh(inputs @ params["hidden"]["w"] + params["hidden"]["b"]) @ params["out"][0]


def by_hand(images: np.ndarray) -> np.ndarray:
    """The logits in float64 NumPy: the oracle."""
    inputs = images.reshape(len(images), -1) / 255.0 - 0.5
    hidden = np.tanh(inputs @ np.float64(PARAMS["hidden"]["w"]) + PARAMS["hidden"]["b"])
    return hidden @ np.float64(PARAMS["out"][0])


def drawn(count: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 4, 3, 1)).astype(np.uint8)


def exported(folder: Path, **changed: Any) -> tuple[Path, str]:
    """A model's file and its SHA-256."""
    given = {"apply_fn": apply_fn, "params": PARAMS, "preprocess": preprocess, "spec": SPEC, "class_names": NAMES}
    return folder / "model.zip", export(folder / "model.zip", **(given | changed))


@contextmanager
def running(model: Any, **options: Any) -> Iterator[tuple[uvicorn.Server, int]]:
    """The application behind a real server in a thread, on a port of its own; it has stopped on leaving."""
    server = uvicorn.Server(
        uvicorn.Config(make_app(model, **options), port=0, http="h11", ws="none", log_level="critical")
    )
    ready, thread = threading.Event(), threading.Thread(target=server.run)
    startup = server.startup

    async def started(*arguments: Any, **named: Any) -> None:
        await startup(*arguments, **named)
        ready.set()

    server.startup = started  # type: ignore[method-assign]
    thread.start()
    try:
        assert ready.wait(30)
        yield server, server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()


def asked(port: int, method: str = "GET", path: str = "/", body: Any = None, **headers: str) -> tuple[int, Any, Any]:
    """Status, headers, and the body (what JSON says, where it is JSON)."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        data = answer.read()
        is_json = (answer.getheader("content-type") or "").startswith("application/json")
        return answer.status, answer.headers, json.loads(data) if is_json else data.decode()
    finally:
        connection.close()
