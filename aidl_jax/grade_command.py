"""The command `aidl grade`: a class's hand-ins in, marks and pages out."""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from aidl_jax.command_parts import course_option, warn
from aidl_jax.errors import UsageError

if TYPE_CHECKING:
    from aidl_jax.exercise import Exercise
    from aidl_jax.grade.classroom import ClassRun, Graded
    from aidl_jax.grade.gradebooks import Filled
    from aidl_jax.grade.handin import HandIn
    from aidl_jax.grade.inbox import Arrival
    from aidl_jax.grade.marks import LatePolicy
    from aidl_jax.grade.results import Adjustment, ClassResult, StudentResult

__all__ = ["grade"]

SEED_BITS = 128  # so that nobody finds it by trying
FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command()
@click.argument("submissions", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Where grades.csv and the pages go.")
@click.option("--exercise", "names", multiple=True, help="Grade this exercise; may be given again.")
@click.option("--roster", type=FILE, help="A CSV of who is in the class.")
@click.option("--due", help="The deadline, such as 2026-11-20T23:59.")
@click.option(
    "--penalty", type=click.FloatRange(0, 100), default=0.0, help="Percent of the points that a late day costs."
)
@click.option(
    "--fill", type=FILE, help="Canvas's or Moodle's exported table: a filled copy goes into the output folder."
)
@click.option("--column", help="The column of --fill that gets the points.")
@click.option("--gradescope", is_flag=True, help="Also write each student's results.json, as Gradescope reads it.")
@click.option("--explain", nargs=2, metavar="STUDENT TASK", help="Replay one verdict, with its inputs.")
@click.option("--seed", type=click.IntRange(0), help="Of the hidden inputs; drawn and recorded without it.")
@click.option(
    "--jobs",
    type=click.IntRange(1),
    help="Hand-ins at a time; one more than there are cores, as memory allows, without it.",
)
@click.option("--replace", is_flag=True, help="Grade anew what an earlier run has graded.")
@click.option("--speed/--no-speed", default=True, help="Measure how fast answers are, where an exercise asks for it.")
@click.option("--unsafe", is_flag=True, help="Run student code without a sandbox.")
@course_option
def grade(
    submissions: Path, out: Path, names: Sequence[str], roster: Path | None, due: str | None, penalty: float,
    fill: Path | None, column: str | None, gradescope: bool, explain: tuple[str, str] | None, seed: int | None,
    jobs: int | None, replace: bool, speed: bool, unsafe: bool, course_path: Path | None,
) -> int:  # fmt: skip
    """Grade a class: SUBMISSIONS is a folder or a zip with an entry per student, or an export of Canvas, Moodle, Gradescope.

    A run that was stopped goes on where it was; after a change only what it touches is graded again.
    """
    from aidl_jax.exercise.course import open_course
    from aidl_jax.files import write_bytes
    from aidl_jax.grade import classroom, inbox, marks, outputs
    from aidl_jax.grade.forks import starting
    from aidl_jax.grade.journal import Journal, about_run
    from aidl_jax.grade.nursery import Nursery
    from aidl_jax.grade.templates import UNSAFE

    if submissions.resolve() in (out.resolve(), *out.resolve().parents):
        raise UsageError("the output would stand among the hand-ins", given=str(out), fix="name a folder elsewhere")
    if explain is not None and about_run(out) is None:
        raise UsageError("there is no verdict to explain yet", given=str(out), fix="grade first, without --explain")
    if explain is not None and replace:
        raise UsageError("--explain changes nothing, and --replace begins anew", fix="leave one of them out")
    if penalty and due is None:
        raise UsageError("a penalty without a deadline would do nothing", given="--penalty", fix="pass --due too")
    course = open_course(course_path)
    policy = marks.LatePolicy(marks.read_due(due) if due else None, penalty)
    with contextlib.ExitStack() as held:
        scratch = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="aidl-class-")))
        folder = held.enter_context(inbox.opened(submissions, scratch))
        arrivals, strangers = _arrivals(folder, roster)
        hand_ins, exercises = classroom.read_class(arrivals, course, [course.resolve(name) for name in names])
        inbox.refuse_clashes(arrivals, folder)
        gradebook = fill.read_bytes() if fill else None
        if gradebook is not None:  # what cannot be filled is told before the class is graded
            _filled(gradebook, column, exercises, {})
        if unsafe:
            click.echo(UNSAFE)
        # Before anything is written: the sandbox may be missing.
        start = held.enter_context(starting()) if unsafe else held.enter_context(Nursery()).start
        outputs.prepare(out, replace)
        chosen = _seed(out, seed)
        journal = held.enter_context(Journal(out, {"course": course.title, "seed": chosen, "unsafe": unsafe}))
        run = classroom.ClassRun(course, exercises, chosen, jobs or _jobs(), start, journal, speed)
        if explain is not None:
            return _explain(run, hand_ins, *explain)
        adjustments = marks.read_adjustments(out, course, [hand_in.student for hand_in in hand_ins])
        earlier = outputs.earlier_results(out)
        graded = _graded(run, hand_ins)
        result = _class_result(run, arrivals, hand_ins, graded, policy, adjustments, unsafe)
        said = outputs.changes(earlier, result, graded)
        outputs.write_results(out, result, graded)
        if gradescope:
            outputs.write_gradescope(out, result)
        if gradebook is not None and fill is not None:
            filled = _filled(gradebook, column, exercises, {one.student: one for one in result.students})
            write_bytes(out / f"{outputs.FILLED}{fill.name}", filled.data)
            said += [f"{out / outputs.FILLED}{fill.name}:", *filled.lines()]
    return _told(out, result, [*strangers], said)


def _arrivals(folder: Path, roster: Path | None) -> tuple[list[Arrival], list[str]]:
    """Who handed in what; and what the roster does not know."""
    from aidl_jax.grade import inbox
    from aidl_jax.grade.roster import on_roster, read_roster

    arrivals = inbox.read_inbox(folder)
    if roster is None:
        return arrivals, []
    return on_roster(arrivals, read_roster(roster))


def _seed(out: Path, asked: int | None) -> int:
    """The one asked for, the earlier run's, or a new one.

    Raises:
        UsageError: another one is asked for than the verdicts there were drawn with.
    """
    from aidl_jax.grade.journal import about_run

    earlier = about_run(out)
    if earlier is None:
        return secrets.randbits(SEED_BITS) if asked is None else asked
    if asked not in (None, earlier["seed"]):
        raise UsageError("the run in the output folder has another seed", given=str(asked), expected=str(earlier["seed"]),
                         fix="leave --seed out, or pass --replace to grade anew")  # fmt: skip
    return int(earlier["seed"])


def _jobs() -> int:
    """One more than there are cores, where there are several; as many as there is memory for, should each use all that it may.

    One more, since each waits at times for its processes to start and end.
    """
    from aidl_jax.grade.sandbox import Limits

    free = None
    with contextlib.suppress(OSError, StopIteration):  # it stands there on Linux alone
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = int(next(line for line in lines if line.startswith("MemAvailable")).split()[1]) * 1024
    cores = os.cpu_count() or 1
    most = cores + (cores > 1)
    return most if free is None else max(1, min(most, free // Limits().memory))


def _graded(run: ClassRun, hand_ins: Sequence[HandIn]) -> list[Graded]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    from aidl_jax.grade.terminal import make_console

    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=make_console()) as bar:
        job = bar.add_task("getting ready", total=len(hand_ins))
        return run.grade(hand_ins, lambda graded: bar.update(job, advance=1, description="grading"))


def _class_result(
    run: ClassRun, arrivals: Sequence[Arrival], hand_ins: Sequence[HandIn], graded: Sequence[Graded], policy: LatePolicy,
    adjustments: Mapping[str, Sequence[Adjustment]], unsafe: bool,
) -> ClassResult:  # fmt: skip
    from aidl_jax.grade.judge import versions
    from aidl_jax.grade.marks import student_result
    from aidl_jax.grade.results import ClassResult

    students = [
        student_result(arrival, hand_in, one, run.exercises, policy, adjustments.get(one.student, []))
        for arrival, hand_in, one in zip(arrivals, hand_ins, graded, strict=True)
    ]
    seconds = {one.student: round(one.seconds, 3) for one in graded}
    speeds = {one.student: one.speeds for one in graded if one.speeds}
    return ClassResult(run.course.title, run.exercises, students, run.seed, unsafe, versions(), seconds, speeds)


def _filled(
    exported: bytes, column: str | None, exercises: Mapping[str, Exercise], students: Mapping[str, StudentResult]
) -> Filled:
    """An exported gradebook with the final points in it.

    Raises:
        UsageError: it is none, or has no such column.
    """
    from aidl_jax.grade import gradebooks

    points = {name: one.final for name, one in students.items() if one.final is not None}
    known_as = {name: [name, *students[name].known_as] for name in points}
    possible = sum(exercise.points for exercise in exercises.values())
    return gradebooks.fill(exported, points, column, possible=possible, known_as=known_as)


def _explain(run: ClassRun, hand_ins: Sequence[HandIn], student: str, task: str) -> int:
    """Replays the verdict on one task of one student."""
    from aidl_jax.errors import close_matches
    from aidl_jax.grade.journal import answer_seed
    from aidl_jax.grade.replay import replay
    from aidl_jax.grade.terminal import make_console

    found = {hand_in.student: hand_in for hand_in in hand_ins}
    if student not in found:
        raise UsageError("no such student handed in", given=student, fix=close_matches(student, found))
    tasks = [f"{name}:{t}" for name in found[student].answers for t in run.exercises[name].tasks]
    asked = [full for full in tasks if full == task or full.rpartition(":")[2] == task]
    if len(asked) != 1:
        given = " or ".join(asked) if asked else task
        what = f"{student} handed in {'more than one' if asked else 'no'} such task"
        raise UsageError(what, given=given, fix=close_matches(task, tasks))
    name, _, task = asked[0].partition(":")
    document = found[student].answers[name]
    seed = answer_seed(run.seed, document)
    recorded = run.journal.earlier(student, name)
    verdicts = {one.name: one.verdict for one in recorded.record.tasks} if recorded else {}
    click.echo(f"In the record: {verdicts.get(task, 'not graded yet')}. Asked again, alone, without what it needs:")
    replay(make_console(), name, run.exercises[name], document, task, seed, run.start)
    return 0


def _told(out: Path, result: ClassResult, strangers: Sequence[str], changed: Sequence[str]) -> int:
    """The table on the screen, what changed, where everything is, what could not be graded; the exit code."""
    from aidl_jax.grade.screens import show_grades
    from aidl_jax.grade.terminal import clean, make_console

    show_grades(make_console(), result)
    for line in changed:
        click.echo(clean(line))
    click.echo(f"Table: {out / 'grades.csv'}   records: {out / 'records'}   seed: {result.seed}")
    click.echo(f"The class on one page: {out / 'index.html'}")
    problems = [*strangers]
    for student in result.students:
        parts = [
            *student.problems.items(),
            *((n, f"ungraded: {', '.join(u)}") for n in result.exercises if (u := student.ungraded(n))),
        ]
        problems += [
            f"{where}: {what}" if where.startswith(student.student) else f"{student.student}: {where}: {what}"
            for where, what in parts
        ]
    for line in problems:
        warn(line)
    return 2 if problems else 0
