"""Training: a state, a step, a visible loop, and hooks around it."""

from aidl_jax.train.guards import NotFiniteError
from aidl_jax.train.loop import Hook, Moment, evaluate, every, fit
from aidl_jax.train.state import TrainState, make_state, state_of
from aidl_jax.train.steps import make_eval_step, make_fused_step, make_train_step

__all__ = [
    "Hook",
    "Moment",
    "NotFiniteError",
    "TrainState",
    "evaluate",
    "every",
    "fit",
    "make_eval_step",
    "make_fused_step",
    "make_state",
    "make_train_step",
    "state_of",
]
