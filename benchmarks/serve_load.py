"""What `aidl serve` bears: requests a second and the slowest hundredth, at 1, 8 and 64 clients, and whether any request is lost.

Run: .venv/bin/python benchmarks/serve_load.py [--seconds 8] > benchmarks/results/serve_load.md    (extra: serve)
The digits model, freshly made and exported, is served by a process of its own; the clients are coroutines in this one, on the same machine, over
loopback. Each keeps its connection and asks again as soon as it has its answer. Each answer is compared with what the model says when it is asked
directly. The server's three batch sizes are compiled before it says that it serves, so no round has a compile in it.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import jax
import numpy as np
from PIL import Image

from aidl_jax import optimizers
from aidl_jax.serve import load, probabilities
from aidl_jax.serve.digits import export_digits
from aidl_jax.train.digit_sets import load_digits
from aidl_jax.train.full_model import MODEL
from aidl_jax.train.state import make_state

CLIENTS = (1, 8, 64)


@dataclass
class Round:
    """What came of one number of clients: seconds of each answer, and how many were lost or wrong."""

    seconds: list[float] = field(default_factory=list)
    sent: int = 0
    wrong: int = 0
    wall: float = 0.0


def drawings() -> np.ndarray:
    """A hundred digits as drawings, uint8 [100, 64, 64, 1]."""
    small = np.round(load_digits().validation[0][:100] * 255).astype(np.uint8)
    return small.repeat(8, axis=1).repeat(8, axis=2)


def request(kind: str, body: bytes) -> bytes:
    head = f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def as_png(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image[..., 0]).save(file, "PNG")
    return request("image/png", file.getvalue())


def as_json(image: np.ndarray) -> bytes:
    return request("application/json", json.dumps({"examples": [image.tolist()]}).encode())


async def client(port: int, requests: list[bytes], expected: np.ndarray, first: int, until: float, told: Round) -> None:
    """Asks again and again until it is time; what it has asked by then it waits for."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    at = first
    while time.perf_counter() < until:
        begun = time.perf_counter()
        told.sent += 1
        writer.write(requests[at])
        head = await reader.readuntil(b"\r\n\r\n")
        body = await reader.readexactly(int(re.search(rb"content-length: (\d+)", head)[1]))
        told.seconds.append(time.perf_counter() - begun)
        right = head.startswith(b"HTTP/1.1 200 ")
        shares = list(json.loads(body)["predictions"][0]["probabilities"].values()) if right else [0.0] * 10
        told.wrong += not right or float(np.abs(shares - expected[at]).max()) > 1e-4
        at = (at + 1) % len(requests)
    writer.close()


async def measured(port: int, clients: int, requests: list[bytes], expected: np.ndarray, seconds: float) -> Round:
    told, begun = Round(), time.perf_counter()
    firsts = [7 * number % len(requests) for number in range(clients)]
    await asyncio.gather(*(client(port, requests, expected, first, begun + seconds, told) for first in firsts))
    told.wall = time.perf_counter() - begun
    return told


def row(kind: str, clients: int, told: Round) -> str:
    ordered = sorted(told.seconds)
    lost = told.sent - len(ordered)
    p50, p99 = statistics.median(ordered), ordered[int(0.99 * len(ordered))]
    cells = [kind, clients, f"{len(ordered) / told.wall:,.0f}", f"{1e3 * p50:.1f}", f"{1e3 * p99:.1f}", told.sent, lost]
    return f"| {' | '.join(map(str, [*cells, told.wrong]))} |"


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=8)
    seconds = parser.parse_args().seconds
    images = drawings()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.zip")
        export_digits(
            path, make_state(MODEL, optimizers.sgd(0.1), jax.random.key(0), np.zeros((1, 8, 8, 1), np.float32)).params
        )
        expected = probabilities(load(path).predict(images))
        command = [sys.executable, "-m", "aidl_jax", "serve", str(path), "--port", "0"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            port = int(re.search(r":(\d+)/$", server.stdout.readline())[1])
            print(f"Python {platform.python_version()}, JAX {jax.__version__}, {os.cpu_count()} cores, loopback\n")
            print(
                "| body | clients | requests/s | p50 ms | p99 ms | sent | lost | wrong |\n|---|---|---|---|---|---|---|---|"
            )
            for kind, made in (("PNG, 64 x 64", as_png), ("JSON, 4,096 numbers", as_json)):
                requests = [made(image) for image in images]
                for clients in CLIENTS:
                    print(
                        row(kind, clients, asyncio.run(measured(port, clients, requests, expected, seconds))),
                        flush=True,
                    )
            server.terminate()


if __name__ == "__main__":
    main()
