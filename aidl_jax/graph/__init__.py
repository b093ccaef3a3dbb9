"""The graph of a JAX function as data: trace it, run a part of it, look at it."""

from aidl_jax.errors import GraphError
from aidl_jax.graph.costs import Stages
from aidl_jax.graph.diff import Difference
from aidl_jax.graph.graph import Graph
from aidl_jax.graph.inspection import Inspection
from aidl_jax.graph.nodes import Operation, Source, Tensor
from aidl_jax.graph.order import check_order, topological_order
from aidl_jax.graph.staging import retraces, stages
from aidl_jax.graph.state import assign, assign_add, assign_sub
from aidl_jax.graph.tracing import trace

__all__ = [
    "Difference",
    "Graph",
    "GraphError",
    "Inspection",
    "Operation",
    "Source",
    "Stages",
    "Tensor",
    "assign",
    "assign_add",
    "assign_sub",
    "check_order",
    "retraces",
    "stages",
    "topological_order",
    "trace",
]
