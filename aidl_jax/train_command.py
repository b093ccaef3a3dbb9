"""The command `aidl train`: the full model, trained, evaluated and drawn."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import click

__all__ = ["train"]


@click.command()
@click.argument("model", type=click.Choice(["digits"]))
@click.option("--out", type=click.Path(path_type=Path), help="The run's folder [runs/MODEL].")
@click.option("--steps", type=click.IntRange(1), default=2500, show_default=True, help="Steps in all.")
@click.option("--resume", is_flag=True, help="Go on from the newest checkpoint in the folder.")
@click.option("--device", type=click.Choice(["cpu", "gpu"]), help="Where to train [what JAX chooses].")
@click.option("--seed", type=int, default=0, show_default=True, help="Of data, variables and dropout.")
def train(model: str, out: Path | None, steps: int, resume: bool, device: str | None, seed: int) -> None:
    """Train the full model: a convnet on handwritten digits.

    Progress, TensorBoard events and checkpoints go into the run's folder. After Ctrl-C, --resume goes on where the run was.
    """
    from aidl_jax.train.full_model import draw, train_digits
    from aidl_jax.train.progress import ProgressBar

    folder = out or Path("runs", model)
    with ProgressBar() as bar:
        outcome = train_digits(folder, steps=steps, resume=resume, device=device, seed=seed, hooks=(bar,))
    click.echo(f"{outcome.accuracy:.1%} of the digits held out are right (step {int(outcome.state.step)}).")
    if importlib.util.find_spec("matplotlib") is None:
        click.echo("Curves and the confusion matrix were not drawn: pip install 'aidl_jax[notebook]'")
    else:
        for path in draw(outcome, folder):
            click.echo(f"See {path}")
    click.echo(f"See the run in TensorBoard: aidl board {folder}")
