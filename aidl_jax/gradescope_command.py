"""The command `aidl gradescope`: the autograder that is uploaded there."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from pathlib import Path

import click

from aidl_jax.command_parts import course_option

__all__ = ["gradescope"]


@click.group()
def gradescope() -> None:
    """Grade on Gradescope."""


@gradescope.command()
@click.argument("exercises", nargs=-1, required=True, metavar="EXERCISE...")
@click.option("--out", type=click.Path(path_type=Path), default=Path("autograder.zip"), show_default=True)
@click.option("--seed", type=click.IntRange(0), help="Of the hidden inputs; drawn and recorded without it.")
@click.option(
    "--unsafe", is_flag=True, help="Run student code without a sandbox, where Gradescope's container allows none."
)
@course_option
def build(exercises: Sequence[str], out: Path, seed: int | None, unsafe: bool, course_path: Path | None) -> None:
    """Write the autograder zip for each EXERCISE, to be uploaded to Gradescope."""
    from aidl_jax.exercise.course import open_course
    from aidl_jax.grade import gradescope as autograder

    course = open_course(course_path)
    names = [course.resolve(name) for name in exercises]
    chosen = secrets.randbits(32) if seed is None else seed
    autograder.build(out, course, names, seed=chosen, unsafe=unsafe)
    points = sum(course.exercise(name).points for name in names)
    click.echo(f"{out} written: {', '.join(names)}, {points} points, seed {chosen}")
    click.echo(
        "On Gradescope: Configure Autograder > Zip file upload. Set the assignment's points to the number above."
    )
    if unsafe:
        click.echo("UNSAFE: student code will run without a sandbox, with the rights of Gradescope's container.")
