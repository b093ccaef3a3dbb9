"""Training: a state, a step, a visible loop, and hooks around it."""

from aidl_jax.train.checkpoints import OtherStateError, checkpoints, restore, saved_steps
from aidl_jax.train.diagnosis import Change, Diagnosis, Timings, diagnose
from aidl_jax.train.guards import NotFiniteError
from aidl_jax.train.loop import Hook, Moment, evaluate, every, fit
from aidl_jax.train.meter import measure
from aidl_jax.train.progress import ProgressBar
from aidl_jax.train.state import TrainState, make_state, state_of
from aidl_jax.train.steps import make_eval_step, make_fused_step, make_train_step
from aidl_jax.train.summaries import SummaryWriter, summaries

__all__ = [
    "Change",
    "Diagnosis",
    "Hook",
    "Moment",
    "NotFiniteError",
    "OtherStateError",
    "ProgressBar",
    "SummaryWriter",
    "Timings",
    "TrainState",
    "checkpoints",
    "diagnose",
    "evaluate",
    "every",
    "fit",
    "make_eval_step",
    "make_fused_step",
    "make_state",
    "make_train_step",
    "measure",
    "restore",
    "saved_steps",
    "state_of",
    "summaries",
]
