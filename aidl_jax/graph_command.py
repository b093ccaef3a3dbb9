"""The command `aidl graph`: a function's graph, printed, as a page, for TensorBoard."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click

from aidl_jax.errors import AidlError, UsageError

__all__ = ["graph"]


class _Lists(click.Command):
    """A command whose `--shapes` and `--variables` take all that follows them, up to the next option."""

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        spread: list[str] = []
        option = None
        for argument in args:
            if argument.startswith("-"):
                option = argument if argument in ("--shapes", "--variables") else None
                spread += [] if option else [argument]
            else:
                spread += [option, argument] if option else [argument]
        return super().parse_args(context, spread)


@click.command(cls=_Lists)
@click.argument("target", metavar="FILE.py:FUNCTION")
@click.option("--shapes", multiple=True, metavar="SPEC...", help="One for each argument, in quotes: 'f32[32,784]'.")
@click.option("--variables", multiple=True, metavar="NAME...", help="The arguments that hold state.")
@click.option(
    "--board", type=click.Path(path_type=Path), metavar="DIR", help="Also write it for TensorBoard, into DIR."
)
@click.option("--html", type=click.Path(path_type=Path), metavar="PAGE.html", help="Also write it as a page.")
def graph(target: str, shapes: Sequence[str], variables: Sequence[str], board: Path | None, html: Path | None) -> None:
    """Show the operations of a function, without running it on any value.

    \b
    A SPEC is a dtype and sizes in JAX's short notation:
      'f32[32,784]'            an array of 32 rows and 784 columns
      'f32[?,784]'             a batch of any size
      'i32[]'                  one number
      '{"w": "f32[784,10]"}'   a pytree, as JSON
      params                   arrays of that name in the file
    """
    from aidl_jax.graph import trace
    from aidl_jax.graph.loading import find_function, find_specs, opened

    _refuse_outputs(html, board)
    file, _, name = target.rpartition(":") if target.rpartition(".")[2] != "py" else (target, "", "")
    with _explained(Path(file)), opened(Path(file)) as module:
        function = find_function(module, name)
        traced = trace(function, *find_specs(module, function, shapes), variables=variables)
    click.echo(traced.table())
    if html is not None:
        from aidl_jax.graph.html import graph_page

        html.write_text(graph_page(traced), encoding="utf-8")
        click.echo(f"The page: {html}")
    if board is not None:
        from tensorboardX import SummaryWriter

        with SummaryWriter(str(board)) as writer:
            traced.to_tensorboard(writer)
        click.echo(f"See it drawn: tensorboard --logdir {board}, then the tab Graphs (pip install tensorboard)")


def _refuse_outputs(html: Path | None, board: Path | None) -> None:
    """Raises `UsageError` where something would be written over, or beside what would be shown in its place."""
    if html is not None and html.suffix != ".html":
        raise UsageError("this is not a page's name", given=f"--html {html}", fix="give it the ending .html")
    if board is not None and any(board.glob("events.out.tfevents.*")):
        raise UsageError("there is a run in this folder already", given=f"--board {board}", fix="name a new folder")


@contextmanager
def _explained(file: Path) -> Iterator[None]:
    """What a student's file raises, said in a student's words, with their line."""
    try:
        yield
    except AidlError:
        raise
    except (Exception, SystemExit) as error:
        from aidl_jax.grade.explain import explain

        told = explain(error, {str(file.resolve())})
        line = f" ({told['line'].replace(chr(10), ' -> ')})" if told["line"] else ""
        fix = "check the spelling, or install it" if isinstance(error, ImportError) else told["fix"]
        raise UsageError(told["message"].rstrip(".") + line, where=str(file), fix=fix) from error
