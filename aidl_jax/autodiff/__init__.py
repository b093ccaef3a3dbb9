"""Automatic differentiation from scratch over a function's graph: forward mode, reverse mode, and each step to look at."""

from aidl_jax.autodiff.checking import GradientCheck, central_difference, check_gradient
from aidl_jax.autodiff.explaining import Explanation, explain_backprop
from aidl_jax.autodiff.forward import Dual, jvp
from aidl_jax.autodiff.residuals import Residuals, flops, residuals
from aidl_jax.autodiff.reverse import grad, value_and_grad, vjp
from aidl_jax.autodiff.rules import RULES
from aidl_jax.errors import AutodiffError

__all__ = [
    "RULES",
    "AutodiffError",
    "Dual",
    "Explanation",
    "GradientCheck",
    "Residuals",
    "central_difference",
    "check_gradient",
    "explain_backprop",
    "flops",
    "grad",
    "jvp",
    "residuals",
    "value_and_grad",
    "vjp",
]
