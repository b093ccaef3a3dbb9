"""The command `aidl watch`: every save is checked, and a screen tells how it went."""

from __future__ import annotations

import contextlib
from pathlib import Path

import click

from aidl_jax.command_parts import course_option

__all__ = ["watch"]

NO_KEYS = "No keys here: the standard input is no terminal. Ctrl-C ends this."
NO_FORK = "Checks take longer here: this system cannot fork a process that has imported JAX, so each worker imports it."


@click.command()
@click.argument("exercise", required=False)
@course_option
def watch(exercise: str | None, course_path: Path | None) -> None:
    """Check an exercise again each time it is saved, beginning with EXERCISE (the next unfinished one without it).

    It goes on to another exercise only when you save that one or press n, and runs until q or Ctrl-C.
    """
    from aidl_jax import cli
    from aidl_jax.exercise.workspace import find_workspace
    from aidl_jax.grade import forks
    from aidl_jax.grade.keys import Keys
    from aidl_jax.grade.watch_screen import WatchScreen
    from aidl_jax.grade.watching import Watch

    workspace = find_workspace(Path.cwd())
    course_path = course_path or workspace.course_path
    course = cli._course(course_path)
    name = cli._name_or_next(course, workspace, exercise)

    def hint(name: str, task: str | None) -> None:
        assert cli.hint.callback is not None
        cli.hint.callback(name, task, course_path)

    with forks.starting() as start, contextlib.closing(Watch(start)) as watched, Keys() as keys:
        screen = WatchScreen(course, workspace, watched, hint, lambda record: cli._remember(workspace, record))
        screen.notes = [*([] if forks.can_fork() else [NO_FORK]), *([] if keys.there else [NO_KEYS])]
        with contextlib.suppress(KeyboardInterrupt, EOFError):
            screen.run(name, keys)
    click.echo("Watching has ended.")
