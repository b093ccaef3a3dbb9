"""The graph of a JAX function as data: trace it, run a part of it, look at it."""

from aidl_jax.errors import GraphError
from aidl_jax.graph.graph import Graph
from aidl_jax.graph.nodes import Operation, Source, Tensor
from aidl_jax.graph.order import check_order, topological_order
from aidl_jax.graph.tracing import trace

__all__ = ["Graph", "GraphError", "Operation", "Source", "Tensor", "check_order", "topological_order", "trace"]
