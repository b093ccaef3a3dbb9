"""What several commands share: an option, and how a line of complaint is written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

__all__ = ["course_option", "warn"]


def warn(message: str) -> None:
    """One line on standard error, whatever characters are in it."""
    from aidl_jax.grade.terminal import clean

    click.echo(f"aidl: {clean(message.replace(chr(10), ' '))}", err=True)


def course_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds `--course PATH`."""
    return click.option(
        "--course",
        "course_path",
        metavar="PATH",
        type=click.Path(path_type=Path),
        help="The folder of another course; the package's own without it.",
    )(command)
