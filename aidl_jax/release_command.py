"""The commands `aidl release` and `aidl update`: what an instructor gives, and what a student takes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from aidl_jax.command_parts import course_option

if TYPE_CHECKING:
    from aidl_jax.exercise.release import Change

__all__ = ["release", "update"]


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--solutions", "sessions", metavar="SESSION", multiple=True, help="Add its solutions; may be given again."
)
@course_option
def release(folder: Path, sessions: Sequence[str], course_path: Path | None) -> int:
    """Make or renew in FOLDER the tree that students get: no solutions but those you name.

    Exit code 1 where a file was edited there since it was released; it is left as it is.
    """
    from aidl_jax.exercise.course import open_course
    from aidl_jax.exercise.release import release as make

    changes = make(open_course(course_path), folder, list(sessions), whole=course_path is not None)
    _tell(changes, f"{folder} has everything already.")
    return 1 if any(change.kind == "edited" for change in changes) else 0


@click.command()
@click.argument("folder", metavar="[FROM]", required=False, type=click.Path(path_type=Path))
@course_option
def update(folder: Path | None, course_path: Path | None) -> None:
    """Bring new and changed exercises into this workspace: the course's, or those of a released tree FROM.

    What you have edited stays; the new version is written beside it.
    """
    from aidl_jax.exercise.course import open_course
    from aidl_jax.exercise.release import bring, handed_out, released
    from aidl_jax.exercise.workspace import find_workspace

    workspace = find_workspace(Path.cwd())
    if folder is None:
        files = handed_out(open_course(course_path or workspace.course_path))
    else:
        files = released(folder, whole=(workspace.root / "course" / "course.toml").is_file())
    _tell(bring(files, workspace, beside=True), f"{workspace.root} has everything already.")


def _tell(changes: Sequence[Change], nothing: str) -> None:
    for change in changes:
        beside = f"; the new version is beside it: {change.beside}" if change.beside else ""
        note = {"edited": f"  left as it is{beside}", "dropped": "  no longer in the course; left as it is"}
        click.echo(f"{change.kind:8} {change.name}{note.get(change.kind, '')}")
    if not changes:
        click.echo(nothing)
