"""The command `aidl serve`: a model behind a web server, until Ctrl-C or SIGTERM; what was accepted is answered first."""

from __future__ import annotations

import os
import signal
import socket
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import click

from aidl_jax.errors import UsageError

__all__ = ["serve"]

PATIENCE = 30  # seconds that a request which was accepted may still take


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 for any that is free.")
@click.option("--host", default="127.0.0.1", show_default=True, help="0.0.0.0 for every computer that can reach this.")
@click.option("--sha256", metavar="HEX", help="Refuse MODEL unless its manifest has this SHA-256.")
def serve(model: Path, port: int, host: str, sha256: str | None) -> None:
    """Serve MODEL: a page to draw on, and POST /predict for programs, until Ctrl-C."""
    uvicorn = _uvicorn()
    from aidl_jax.serve.app import make_app
    from aidl_jax.serve.model import load, warm

    loaded = load(model, sha256)
    with _listening(host, port) as listening:
        warm(loaded)
        config = uvicorn.Config(
            make_app(loaded), http="h11", ws="none", log_level="warning", timeout_graceful_shutdown=PATIENCE
        )
        signal.signal(signal.SIGTERM, _end)  # uvicorn raises the signal again when it has finished
        click.echo(f"{model} is served at http://{host}:{listening.getsockname()[1]}/")
        click.echo(f"Its manifest's SHA-256: {loaded.sha256}. Ctrl-C ends it.")
        sys.stdout.flush()
        try:
            uvicorn.Server(config).run(sockets=[listening])
        except KeyboardInterrupt:
            click.echo("The server has ended; all that was accepted is answered.")


def _uvicorn() -> Any:
    try:
        import starlette  # noqa: F401
        import uvicorn
    except ImportError as error:
        raise UsageError("the web server is not installed", fix="pip install 'aidl_jax[serve]'") from error
    return uvicorn


def _listening(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), backlog=1024)
    except OSError as error:
        raise UsageError(
            "the server cannot use this address",
            given=f"--host {host} --port {port} ({_reason(error)})",
            fix="name another port, or --port 0 for any",
        ) from error


def _reason(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno and error.errno > 0 else str(error.strerror or error)


def _end(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
