"""The command `aidl board`: TensorBoard over the runs in a folder, and how to see it from another computer."""

from __future__ import annotations

import getpass
import os
import socket
import threading
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import click

from aidl_jax.errors import UsageError

__all__ = ["board", "ssh_line"]

EVENT_FILES = "events.out.tfevents.*"
PORT = 6006  # TensorBoard's own


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), default=Path("runs"))
@click.option("--port", type=click.IntRange(0, 65535), default=PORT, show_default=True, help="0 for any that is free.")
def board(folder: Path, port: int) -> None:
    """Show the runs in FOLDER (runs without it) in TensorBoard, until Ctrl-C."""
    _refuse_no_runs(folder)
    url = _started(folder, port)
    chosen = urlsplit(url).port or port
    click.echo(f"TensorBoard shows {folder} at {url}")
    click.echo(f"From another computer: {ssh_line(chosen, os.environ)}")
    click.echo(f"and open http://localhost:{chosen}/ there. Ctrl-C ends it.")
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        click.echo("TensorBoard has ended.")


def ssh_line(port: int, environment: Mapping[str, str]) -> str:
    """What to type on another computer, so that the port here can be opened there.

    Args:
        port: of TensorBoard.
        environment: variables. `SSH_CONNECTION`, where somebody is logged in over ssh, has the address and port they came to (ssh(1),
            section Environment); without it the host's name is the best guess.

    >>> ssh_line(6006, {"USER": "ada", "SSH_CONNECTION": "10.0.0.2 50000 10.0.0.5 2222"})
    'ssh -p 2222 -L 6006:localhost:6006 ada@10.0.0.5'
    """
    came_to = environment.get("SSH_CONNECTION", "").split()
    host, ssh_port = (came_to[2], came_to[3]) if len(came_to) == 4 else (socket.gethostname(), "22")
    other_port = "" if ssh_port == "22" else f"-p {ssh_port} "
    user = environment.get("USER") or getpass.getuser()
    return f"ssh {other_port}-L {port}:localhost:{port} {user}@{host}"


def _refuse_no_runs(folder: Path) -> None:
    if not folder.is_dir():
        raise UsageError("there is no such folder", given=str(folder), fix="name the folder that your runs write into")
    if not any(folder.rglob(EVENT_FILES)):
        raise UsageError(
            "there are no runs in this folder",
            given=str(folder),
            fix="train first: fit(..., hooks=[summaries('runs/first')])",
        )


def _started(folder: Path, port: int) -> str:
    """Starts TensorBoard in a thread; its address."""
    try:
        from tensorboard import program
    except ImportError as error:
        raise UsageError("TensorBoard is not installed", fix="pip install 'aidl_jax[notebook]'") from error

    server = program.TensorBoard()
    server.configure(
        logdir=str(folder),
        host="localhost",
        port=port,
        load_fast="false",
        reload_interval=5.0,
        window_title=str(folder),
    )
    try:
        return server.launch()
    except program.TensorBoardServerException as error:
        raise UsageError(
            "TensorBoard cannot use this port", given=f"--port {port}", fix="name another one, or --port 0 for any"
        ) from error
