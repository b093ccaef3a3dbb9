"""Trains: python train.py [--steps 600] [--resume]. Watch with: aidl board runs"""

from __future__ import annotations

import argparse
from pathlib import Path

import jax
from data import batches, load, preprocess, split
from model import MODEL, loss_fn, measure

from aidl_jax import optimizers, train

CHECKPOINTS = Path("runs/checkpoints")
OPTIMIZER = optimizers.adam(0.002)


def fresh_state() -> train.TrainState:
    """A state to begin with, or to restore into."""
    images, _ = load()
    return train.make_state(MODEL, OPTIMIZER, jax.random.key(0), preprocess(images[0])[None])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--resume", action="store_true", help="go on from the newest checkpoint")
    options = parser.parse_args()
    if train.saved_steps(CHECKPOINTS) and not options.resume:
        raise SystemExit("there is a run in runs/. Fix: python train.py --resume, or remove the folder")
    state, position = fresh_state(), None
    if options.resume:
        state, position = train.restore(CHECKPOINTS, state)
    parts = split(*load())
    validation, eval_step = batches(parts["validation"]), train.make_eval_step(measure)

    def look(moment: train.Moment) -> None:
        told = train.evaluate(eval_step, moment.state, validation)
        print(f"step {moment.step}: validation loss {told['loss']:.3f}, accuracy {told['accuracy']:.1%}")

    CHECKPOINTS.parent.mkdir(exist_ok=True)
    with train.SummaryWriter("runs", resumed_after=int(state.step) if options.resume else None) as writer:
        train.fit(
            train.make_train_step(loss_fn, OPTIMIZER),
            state,
            batches(parts["train"], shuffle=True).repeat(),
            steps=options.steps,
            position=position,
            hooks=[
                train.summaries(writer, every=50),
                train.every(200, look),
                train.checkpoints(CHECKPOINTS, every=100, keep=2),
            ],
        )


if __name__ == "__main__":
    main()
