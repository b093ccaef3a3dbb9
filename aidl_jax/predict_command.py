"""The command `aidl predict`: what a model says of files, one line of JSON for each example."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from aidl_jax.command_parts import warn
from aidl_jax.errors import ServeError

if TYPE_CHECKING:
    from aidl_jax.serve.model import Model

__all__ = ["predict"]


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--sha256", metavar="HEX", help="Refuse MODEL unless its manifest has this SHA-256.")
@click.option("--invert", is_flag=True, help="The pictures have dark ink on light paper: turn their colours around.")
def predict(model: Path, files: Sequence[Path], sha256: str | None, invert: bool) -> int:
    """Say what MODEL makes of FILES: pictures, .npy, .csv. One line of JSON for each example.

    Exit code 0 where every file was read, 1 where one was not, 2 where nothing could be done.
    """
    from aidl_jax.serve.model import load

    loaded = load(model, sha256)
    read = [_told(loaded, file, invert) for file in files]
    return 0 if all(read) else 1


def _told(model: Model, file: Path, invert: bool) -> bool:
    """Writes a file's lines; a file that cannot be read is one line on standard error."""
    try:
        _write_lines(model, file, invert)
    except ServeError as error:
        warn(f"{file}: {error}")
    except OSError as error:
        warn(f"{file}: {error.strerror or error}. Fix: name a file that is there and can be read")
    else:
        return True
    return False


def _write_lines(model: Model, file: Path, invert: bool) -> None:
    from aidl_jax.serve.inputs import PICTURES, read_examples
    from aidl_jax.serve.model import predictions

    examples = read_examples(file, model.manifest)
    model.check(examples)
    if invert and file.suffix.lower() in PICTURES:
        examples = 255 - examples
    for at, told in enumerate(predictions(model.predict(examples), model.manifest.class_names)):
        click.echo(json.dumps({"file": str(file), "row": at, **told}))
