"""A record on one screen of a terminal, 80 columns wide. Student text is shown as text, never as markup."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from aidl_jax.exercise.source import short_name
from aidl_jax.grade.record import FailureRecord, Record, TaskRecord

MARKS = {"passed": ("✓", "green"), "failed": ("✗", "bold red"), "waiting": ("·", "dim"), "ungraded": ("?", "yellow")}
PLAIN_MARKS = {"✓": "+", "✗": "x", "·": "."}
MAX_REQUEST = 60  # characters of a request in a line of evidence


def clean(text: str) -> str:
    """Untrusted text without control characters, so that no escape sequence reaches a terminal.

    >>> clean("a\\x1b[31mb\\tc")
    'a\\\\x1b[31mb c'
    """
    return "".join(c if c == "\n" or c.isprintable() else " " if c == "\t" else repr(c)[1:-1] for c in text)


def make_console(width: int | None = None) -> Console:
    """A console for standard output; pipes get 80 columns."""
    piped = not sys.stdout.isatty()
    return Console(width=width or (80 if piped else None), highlight=False, soft_wrap=False)


def mark(verdict: str, console: Console) -> Text:
    """The sign of a verdict, in plain ASCII where the terminal has no other."""
    sign, style = MARKS[verdict]
    return Text(sign if "utf" in console.encoding.lower() else PLAIN_MARKS.get(sign, sign), style)


def show_record(record: Record, console: Console, *, traceback: bool = False) -> None:
    """Prints a record: what passed, the first failure explained, the command for the next hint."""
    parts: list[RenderableType] = [header(record), "", Padding(_tasks(record, console), (0, 2), expand=False)]
    open_task = first_failure(record)
    if open_task is not None and open_task.failure is not None:
        parts += ["", _failure(open_task, open_task.failure, traceback)]
    parts += ["", *_next(record)]
    if console.is_terminal:
        console.print(*parts, sep="\n")
        return
    with console.capture() as captured:  # tables pad their lines, which nobody wants in a file
        console.print(*parts, sep="\n")
    console.file.write("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()))


def record_text(record: Record, width: int = 80) -> str:
    """What `show_record` prints, as plain text."""
    file = io.StringIO()
    show_record(record, Console(file=file, width=width, highlight=False, color_system=None, force_jupyter=False))
    return file.getvalue().rstrip("\n")


def task_text(task: TaskRecord, width: int = 80) -> str:
    """One task's failure, as plain text."""
    file = io.StringIO()
    if task.failure is not None:
        console = Console(file=file, width=width, highlight=False, color_system=None, force_jupyter=False)
        console.print(_failure(task, task.failure, traceback=False))
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines())


def header(record: Record) -> RenderableType:
    """Title on the left, points on the right."""
    table = Table.grid(expand=True)
    table.add_column()
    table.add_column(justify="right", no_wrap=True)
    title = Text(record.title, "bold") + Text(f"  {record.exercise}", "dim")
    table.add_row(title, Text(f"{record.points} of {record.possible} points", "bold"))
    return table


def _tasks(record: Record, console: Console) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(style="dim")
    for task in record.tasks:
        name = Text(task.name, "" if task.verdict != "waiting" else "dim")
        note = f"waits for {', '.join(task.waits_for)}" if task.waits_for else how(task)
        table.add_row(mark(task.verdict, console), name, f"{task.points}/{task.possible}", Text(note))
    return table


def how(task: TaskRecord) -> str:
    """The evidence on how a task computes, in words; never a verdict."""
    found = task.evidence
    if not found:
        return ""
    products = found.get("matrix_products", 0)
    parts = [f"uses {products} matrix product{'s' * (products != 1)}"] if products else []
    parts += ["through JAX's autodiff"] if found.get("autodiff") else []
    parts += [f"same graph as {_cut(found['equal_to'])}"] if found.get("equal_to") else []
    constant = found.get("constant_bytes", 0)
    parts += [f"{constant:,} bytes baked in as a constant"] if constant >= 1_024 else []
    return ", ".join(parts)


def _cut(text: str) -> str:
    return text if len(text) <= MAX_REQUEST else text[: MAX_REQUEST - 4] + " ..."


def done(record: Record) -> str:
    """What is said where nothing failed."""
    if record.points < record.possible:
        return "Nothing is left to check here."
    return "All tasks pass." if len(record.tasks) > 1 else "This task passes."


def first_failure(record: Record) -> TaskRecord | None:
    """The first task that failed; what is explained is its failure."""
    return next((task for task in record.tasks if task.failure is not None), None)


def _failure(task: TaskRecord, failure: FailureRecord, traceback: bool) -> RenderableType:
    check = next(check for check in task.checks if check.failure is failure)
    started = failure.kind != "NotImplementedError"
    ran = failure.call is not None and started
    parts: list[RenderableType] = [
        Text.assemble((task.name, "bold"), f" failed this check: {check.description}" if ran else "")
    ]
    parts.append(Padding(Text(clean(failure.message), "red"), (1, 2, 0, 2), expand=False))
    for sentence in failure.misconceptions:
        parts.append(Padding(Text(sentence, "bold yellow"), (0, 2), expand=False))
    rows = list(details(failure)) if started else []
    if rows:
        table = Table.grid(padding=(0, 2))
        table.add_column(style="dim", no_wrap=True)
        table.add_column(overflow="fold")
        for label, text in rows:
            table.add_row(label, Text(clean(text)))
        parts.append(Padding(table, (1, 2, 0, 2), expand=False))
    if failure.fix and started:
        parts.append(Padding(Text.assemble(("Try: ", "bold"), clean(failure.fix)), (1, 2, 0, 2), expand=False))
    if traceback and failure.traceback:
        parts.append(Padding(Text(clean(failure.traceback), "dim"), (1, 2, 0, 2), expand=False))
    return Group(*parts)


def details(failure: FailureRecord) -> Iterable[tuple[str, str]]:
    """What there is to show of a failure, row by row: a label, "got", and a text that may come from a student's code."""
    if failure.line:
        yield "your line", failure.line
    if failure.call and failure.inputs:
        yield "called", failure.call
        for name, value in failure.inputs:
            yield "", f"{name} = {value}"
    for label, text in (("got", failure.got), ("expected", failure.expected), ("where", failure.where)):
        if text and not (label == "where" and text in failure.message):
            yield label, text
    if failure.printed:
        yield "printed", failure.printed.rstrip("\n")


def _next(record: Record) -> list[Text]:
    open_task = first_failure(record)
    if open_task is None:
        return [Text(done(record), "green")]
    short = short_name(record.exercise)
    lines = [Text.assemble("Next hint: ", (f"aidl hint {short} --task {open_task.name}", "bold"))]
    if (
        open_task.failure is not None
        and open_task.failure.traceback
        and open_task.failure.kind != "NotImplementedError"
    ):
        lines.append(Text.assemble("Whole traceback: ", (f"aidl check {short} --traceback", "bold")))
    return lines
