"""The command `aidl`: thin. Each command imports what it needs when it runs, so that help answers at once."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from aidl_jax.board_command import board
from aidl_jax.command_parts import course_option, warn
from aidl_jax.doctor_command import doctor
from aidl_jax.errors import AidlError, UsageError
from aidl_jax.grade_command import grade
from aidl_jax.gradescope_command import gradescope
from aidl_jax.graph_command import graph
from aidl_jax.predict_command import predict
from aidl_jax.release_command import release, update
from aidl_jax.serve_command import serve
from aidl_jax.train_command import train
from aidl_jax.watch_command import watch

if TYPE_CHECKING:
    from aidl_jax.exercise.course import Course
    from aidl_jax.exercise.workspace import Workspace
    from aidl_jax.grade.handin import Document
    from aidl_jax.grade.record import Record


def main() -> None:
    """Runs a command; a mistake of the user's is one line and exit code 2."""
    for output in (sys.stdout, sys.stderr):
        if isinstance(output, io.TextIOWrapper):  # what a terminal has no letter for is spelled out
            output.reconfigure(errors="backslashreplace")
    try:
        status = cli.main(standalone_mode=False)
        sys.exit(status if isinstance(status, int) else 0)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.ClickException as error:
        command = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "aidl"
        message = error.format_message().rstrip(".")
        _fail(f"{message}{'' if message.endswith('?') else '.'} Fix: see {command} --help")
    except AidlError as error:
        _fail(str(error))
    except (KeyboardInterrupt, click.Abort):
        _fail("stopped by Ctrl-C; what was written before is complete")
    except BrokenPipeError:  # the reader of our output has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(2)
    except OSError as error:
        _fail(f"{error.filename or 'the system'}: {error.strerror or error}; what was written before is complete")


def _fail(message: str) -> NoReturn:
    warn(message)
    sys.exit(2)


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="aidl-jax", prog_name="aidl")
@course_option
@click.pass_context
def cli(context: click.Context, course_path: Path | None) -> None:
    """Learn deep learning in JAX by writing it. Without a command: the course map and the next step."""
    if context.invoked_subcommand is None:
        from aidl_jax.exercise.workspace import workspace_at
        from aidl_jax.grade.screens import show_map

        workspace = workspace_at(Path.cwd())
        show_map(_course(course_path or (workspace.course_path if workspace else None)), workspace)
    elif course_path is not None:
        raise click.UsageError("write --course after the command, as in: aidl build --course PATH")


@cli.command()
@click.argument("folder", type=click.Path(path_type=Path))
@course_option
def start(folder: Path, course_path: Path | None) -> None:
    """Lay out the exercises and notebooks in FOLDER."""
    from aidl_jax.exercise import workspace

    course = _course(course_path)
    written = workspace.start(course, folder, course_path)
    click.echo(f"{len(written)} files written to {folder}" if written else f"{folder} has everything already")
    click.echo(f"Next: cd {folder} && aidl")


@cli.command()
@click.argument("exercise", required=False)
@click.option("--traceback", is_flag=True, help="Show the whole traceback of an error.")
@click.option("--seed", type=click.IntRange(0), help="Draw other inputs than the usual ones.")
@course_option
def check(exercise: str | None, traceback: bool, seed: int | None, course_path: Path | None) -> int:
    """Check EXERCISE (a name, a short form, or a .py or .ipynb file); the next unfinished one without it.

    Exit code 0 where everything passes, 1 where something does not, 2 for bad input.
    """
    from aidl_jax.grade.process import Processes

    processes: list[Processes] = [Processes()]  # their start takes the longest, so it comes first
    try:
        from aidl_jax.grade.local import HOME_SEED, check_document
        from aidl_jax.grade.speed import is_measured, measured
        from aidl_jax.grade.terminal import clean, make_console, show_record

        console = make_console()
        course, workspace, answers = _find_answers(exercise, course_path)
        complete = True
        for name, document in answers.items():
            ready, asked = processes.pop() if processes else None, course.exercise(name)
            with console.status(f"checking {name}") as status:
                record = check_document(
                    name, asked, document, seed=HOME_SEED if seed is None else seed, processes=ready,
                    progress=lambda task: status.update(f"checking {task}"),
                )  # fmt: skip
            show_record(record, console, traceback=traceback)
            complete = complete and record.points == record.possible
            _remember(workspace, record)
            if is_measured(asked, record):
                for _ in range(2):  # for the answer and for the course's own, closed below if one does not start
                    processes.append(Processes())
                with console.status("measuring how fast it is"):
                    speed = measured(asked, document, processes.pop(), processes.pop())
                click.echo(clean(f"Speed, which gives no points: {speed}"))
        return 0 if complete else 1
    finally:
        for unused in processes:
            unused.close()


@cli.command()
@click.argument("exercise", required=False)
@click.option("--task", help="The task; the first one that has not passed without it.")
@course_option
def hint(exercise: str | None, task: str | None, course_path: Path | None) -> None:
    """Show one more hint for EXERCISE: the idea, then where to look, then almost the code."""
    from aidl_jax.exercise import workspace as ws

    workspace = ws.find_workspace(Path.cwd())
    course = _course(course_path or workspace.course_path)
    name = _name_or_next(course, workspace, exercise)
    task, hints = ws.next_hint(course, workspace, name, task)
    kinds = ("The idea", "Where to look", "Almost the code")
    for number, (kind, text) in enumerate(zip(kinds, hints, strict=False), start=1):
        click.secho(f"{task}, hint {number} of {len(kinds)}. {kind}:", bold=number == len(hints))
        click.echo(_indented(text) + "\n")
    if len(hints) == len(kinds):
        click.echo("That was the last hint.")


@cli.command()
@click.argument("exercise")
@course_option
def reset(exercise: str, course_path: Path | None) -> None:
    """Put the file of EXERCISE back as it was given; the old one is kept."""
    from aidl_jax.exercise import workspace as ws

    workspace = ws.find_workspace(Path.cwd())
    course = _course(course_path or workspace.course_path)
    name = course.resolve(exercise)
    backup = ws.reset(course, workspace, name)
    click.echo(f"{workspace.file(name)} is as it was given.")
    if backup is not None:
        click.echo(f"Your version is kept in {backup}")


@cli.command()
@click.argument("exercises", nargs=-1, metavar="[EXERCISE]...")
@click.option("--out", type=click.Path(path_type=Path), default=Path("handin.zip"), show_default=True)
@click.option("--name", "student", help="Your name, for the manifest.")
@course_option
def submit(exercises: Sequence[str], out: Path, student: str | None, course_path: Path | None) -> None:
    """Write one zip to hand in: of each EXERCISE (all that were worked on without it) exactly what is graded."""
    from aidl_jax.exercise import workspace as ws
    from aidl_jax.grade import submit as handing_in
    from aidl_jax.grade.handin import read_document
    from aidl_jax.grade.local import check_document
    from aidl_jax.grade.terminal import make_console, show_record

    console = make_console()
    handing_in.refuse_to_overwrite(out)
    course, workspace, answers = _find_submission(exercises, course_path)
    records, hints = {}, {}
    for name, document in answers.items():
        text = handing_in.graded_module(document, course.exercise(name).tasks)
        built = read_document(f"{name}.py", text.encode())
        console.rule(f"{name}, as it will be handed in")
        console.print(text, markup=False, highlight=False, soft_wrap=True)
        with console.status(f"checking {name}"):
            records[name] = check_document(name, course.exercise(name), built)
        show_record(records[name], console)
        hints[name] = ws.Workspace.progress(workspace, name)["hints"] if workspace else {}
    handing_in.write_hand_in(out, answers, records, course, hints, student)
    points = sum(record.points for record in records.values())
    console.rule()
    click.echo(
        f"{out} written: {len(answers)} exercise{'s' * (len(answers) != 1)}, {points} points here. Hand in this file."
    )
    click.echo("It also tells which versions you used and how many hints you took.")


@cli.command()
@click.option("--check", "only_check", is_flag=True, help="Write nothing; fail with a diff where a made file is stale.")
@click.option("--install", metavar="SOURCE", help="What notebooks install on Colab: a name, wheel or URL.")
@course_option
def build(only_check: bool, install: str | None, course_path: Path | None) -> int:
    """Make the students' files and notebooks from the sources."""
    from aidl_jax.exercise import build as building

    course = _course(course_path)
    if only_check:
        diff = building.stale(course, install)
        click.echo(diff + "The made files are stale. Fix: aidl build" if diff else "All made files are fresh.")
        return 1 if diff else 0
    changed = building.build(course, install)
    for path in changed:
        click.echo(f"made {path}")
    if not changed:
        click.echo("All made files are fresh.")
    return 0


@cli.command()
@click.argument("name")
@course_option
def new(name: str, course_path: Path | None) -> None:
    """Scaffold the two files of a new exercise NAME, sNN_topic/name."""
    from aidl_jax.exercise import build as building

    for path in building.scaffold(_course(course_path), name):
        click.echo(f"wrote {path}")
    click.echo("Next: fill in both, then aidl build")


cli.add_command(board)
cli.add_command(doctor)
cli.add_command(grade)
cli.add_command(graph)
cli.add_command(gradescope)
cli.add_command(predict)
cli.add_command(release)
cli.add_command(serve)
cli.add_command(train)
cli.add_command(update)
cli.add_command(watch)


def _course(path: Path | None) -> Course:
    from aidl_jax.exercise.course import open_course

    return open_course(path)


def _name_or_next(course: Course, workspace: Workspace, exercise: str | None) -> str:
    from aidl_jax.exercise.workspace import next_exercise

    if exercise is not None:
        return course.resolve(exercise)
    name = next_exercise(course, workspace)
    if name is None:
        raise UsageError("every exercise is finished", fix="name the one you want to see again")
    return name


def _find_answers(
    exercise: str | None, course_path: Path | None
) -> tuple[Course, Workspace | None, dict[str, Document]]:
    """What `aidl check` was asked about: a file and the exercises that it answers, or one of the workspace's."""
    from aidl_jax.exercise.workspace import find_workspace, workspace_at
    from aidl_jax.grade import assigning, handin, submit

    path = Path(exercise) if exercise else None
    if path is not None and path.suffix in handin.SUFFIXES:
        if not path.is_file():
            raise UsageError("there is no such file", given=str(path), fix="name the exercise, or a file that is there")
        workspace = workspace_at(path.resolve().parent)
        course = _course(course_path or (workspace.course_path if workspace else None))
        document = handin.read_document(path.as_posix(), handin.read_file(path))
        names = assigning.answered(document, {name: course.exercise(name) for name in course.names()})
        if not names:
            raise UsageError("no exercise's tasks are defined in this file", given=str(path),
                             fix="write def NAME(...) as the exercise has it")  # fmt: skip
        return course, workspace, dict.fromkeys(names, document)
    workspace = find_workspace(Path.cwd())
    course = _course(course_path or workspace.course_path)
    name = _name_or_next(course, workspace, exercise)
    return course, workspace, {name: submit.answer(course, workspace, name)}


def _find_submission(
    exercises: Sequence[str], course_path: Path | None
) -> tuple[Course, Workspace | None, dict[str, Document]]:
    from aidl_jax.exercise.workspace import find_workspace
    from aidl_jax.grade import submit

    if exercises:
        found: dict[str, Document] = {}
        for exercise in exercises:
            course, workspace, answers = _find_answers(exercise, course_path)
            found |= answers
        return course, workspace, found
    workspace = find_workspace(Path.cwd())
    course = _course(course_path or workspace.course_path)
    every = {name: submit.answer(course, workspace, name) for name in course.names()}
    edited = {name: document for name, document in every.items() if submit.is_edited(course, name, document)}
    if not edited:
        raise UsageError(
            "no exercise has been worked on", given=str(workspace.root), fix="edit a file in exercises/ first"
        )
    return course, workspace, edited


def _remember(workspace: Workspace | None, record: Record) -> None:
    if workspace is None:
        return
    own = {path.resolve() for path in (workspace.file(record.exercise), workspace.notebook(record.exercise))}
    checked = {(folder / (record.source or "")).resolve() for folder in (workspace.root, Path.cwd())}
    if own & checked:  # another copy of the file says nothing about the progress here
        passed = [task.name for task in record.tasks if task.verdict == "passed"]
        workspace.save_progress(record.exercise, passed=passed, points=record.points)


def _indented(text: str) -> str:
    """Each line wrapped on its own, so that code keeps its lines and its indentation."""

    def wrapped(line: str) -> str:
        indent = "  " + line[: len(line) - len(line.lstrip())]
        return click.wrap_text(line.strip(), 78, initial_indent=indent, subsequent_indent=indent)

    return "\n".join(map(wrapped, text.splitlines()))
