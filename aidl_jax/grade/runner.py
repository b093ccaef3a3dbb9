"""The runner: no student Python. It parses exported functions, refuses what is not listed, runs them.

`load` takes the bytes of one function and answers with its fingerprint; `compile` takes a fingerprint, and what an equal
function of the course's own was compiled to, if there is one; `run` takes a fingerprint and the hidden inputs, and answers
with arrays; `keep` answers with what a function was compiled to; `read` takes an event file and answers with its graph.
Numbers: 64-bit types are off, matrix products run at highest precision, on the CPU.
"""

from __future__ import annotations

from typing import Any, BinaryIO, NamedTuple

import jax
import jax.export
import numpy as np

from aidl_jax import _compat
from aidl_jax.errors import ProtocolError
from aidl_jax.grade import event_file, fingerprint, gate, protocol
from aidl_jax.grade.worker import private_pipes


class Loaded(NamedTuple):
    """A function that was taken in: how it is called, on what, and whether a long loop stands in it."""

    exported: jax.export.Exported
    arguments: list[jax.ShapeDtypeStruct]
    long: bool


class Runner:
    """Answers the judge's messages for one hand-in."""

    def __init__(self) -> None:
        self.loaded: dict[str, Loaded] = {}
        self.compiled: dict[str, Any] = {}

    def serve(self, source: BinaryIO, sink: BinaryIO) -> None:
        """Answers until the judge closes the pipe."""
        while True:
            try:
                message = protocol.read_message(source)
            except EOFError:
                return
            protocol.write_message(sink, self.answer(message))

    def answer(self, message: dict[str, Any]) -> dict[str, Any]:
        """One message's answer."""
        match message["do"]:
            case "hello":
                return {}
            case "load":
                return self._load(message["exported"], message["specs"])
            case "compile":
                return self._compile(message["function"], message["executable"])
            case "run":
                return self._run(message["function"], message["inputs"])
            case "keep":
                return {"executable": _compat.executable_bytes(self.compiled[message["function"]])}
            case "read":
                return self._read(message["events"])
        raise ProtocolError("the runner does not know this message", given=repr(message["do"])[:40])

    def _load(self, serialized: bytes, specs: list[Any]) -> dict[str, Any]:
        try:
            exported = jax.export.deserialize(bytearray(serialized))
            found = [[list(aval.shape), aval.dtype.name] for aval in exported.in_avals]
            module = _compat.parse_module(exported.mlir_module_serialized)
        except Exception as error:  # bytes that no export wrote: each parser has its own errors
            return {"refused": f"its bytes cannot be read ({type(error).__name__})"}
        if found != specs:
            return {"refused": f"it takes {found} where {specs} was asked for"}
        refused = gate.refusal(module)
        if refused is not None:
            return {"refused": refused}
        name = fingerprint.fingerprint(module, f"{specs} {exported.module_kept_var_idx}")
        arguments = [jax.ShapeDtypeStruct(tuple(shape), np.dtype(dtype)) for shape, dtype in specs]
        self.loaded.setdefault(name, Loaded(exported, arguments, fingerprint.loops_long(module)))
        return {"function": name, "evidence": fingerprint.evidence(module)}

    def _compile(self, name: str, executable: bytes | None) -> dict[str, Any]:
        exported, arguments, long = self.loaded[name]
        if executable is not None:
            self.compiled[name] = _compat.executable(executable, len(arguments), len(exported.out_avals))
        else:
            self.compiled[name] = _compat.compile_quickly(jax.jit(exported.call).lower(*arguments), long)
        return {}

    def _read(self, events: bytes) -> dict[str, Any]:
        try:
            return {"nodes": event_file.read_graph(events)}
        except ProtocolError as error:
            return {"refused": error.what}

    def _run(self, name: str, inputs: list[np.ndarray]) -> dict[str, Any]:
        outputs = self.compiled[name](*inputs)
        return {"outputs": [np.asarray(output) for output in outputs]}


def main() -> None:
    """Serves on the pipes this process was started with."""
    source, sink = private_pipes()
    _compat.share_context()
    first = jax.jit(lambda x: x + 1).lower(np.float32(0))
    _compat.compile_quickly(first, long=False)  # starts the compiler while the worker is still loading
    Runner().serve(source, sink)
