"""One hand-in's session with its worker and its runner: requests go in, NumPy arrays come out."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from aidl_jax.errors import AidlError, ProtocolError
from aidl_jax.exercise import Exercise, Failure, WrongAnswer, trees
from aidl_jax.exercise.expressions import Request, Transcript
from aidl_jax.grade import protocol
from aidl_jax.grade.extract import Cell
from aidl_jax.grade.process import Deadline, Died, Process, TimedOut

START_LIMIT = 120.0  # seconds for a process to start
GRACE = 3.0  # seconds that a worker has to say where it hangs before it is killed
MAX_PULLS = 20_000
MAX_TEXT = 4_100  # the 4,000 characters that a worker keeps, and its note that there were more
MANY_STEPS = (
    "While JAX traces, a Python loop is written out, every round of it: for many rounds use jax.lax.scan or "
    "jax.lax.fori_loop."
)

Variant = tuple[str, WrongAnswer]


class GraderFault(Exception):
    """Something of the grader's own failed: the task is ungraded, never zero."""


@dataclass
class Answered:
    """One request and what came of it: an answer or a failure."""

    request: Request
    outcome: Any
    function: str | None = None
    printed: str | None = None


@dataclass
class Traced:
    """An exported function that the runner has accepted, or why there is none."""

    function: str = ""
    structure: Any = None
    printed: str | None = None
    failure: Failure | None = None


class Processes:
    """A worker and a runner that start at the same time, before they are needed."""

    def __init__(self) -> None:
        self.closed = False
        self.worker, self.runner = Process("worker"), Process("runner")

    def restart(self, role: Literal["worker", "runner"]) -> None:
        """Ends one and starts it anew, unless both have been closed."""
        getattr(self, role).close()
        if not self.closed:
            setattr(self, role, Process(role))
        if self.closed:  # by another thread, in the meantime
            getattr(self, role).close()

    def close(self) -> None:
        """Ends both, for good."""
        self.closed = True
        self.worker.close()
        self.runner.close()


@dataclass
class Session:
    """Answers requests with one hand-in's code; equal functions are run once on equal inputs.

    Args:
        cells: the hand-in.
        exercise: what it is an answer to.
        processes: already started ones; they belong to the session from then on.
    """

    cells: Sequence[Cell]
    exercise: Exercise
    processes: Processes = field(default_factory=Processes)
    log: list[Answered] = field(default_factory=list)
    evidence: dict[str, dict[str, Any]] = field(default_factory=dict)
    signatures: dict[str, list[str]] = field(default_factory=dict)
    _worker_ready: bool = False
    _runner_ready: bool = False
    _load_errors: dict[str, Failure] = field(default_factory=dict)
    _traced: dict[bytes, Traced] = field(default_factory=dict)
    _results: dict[tuple[str, bytes], list[np.ndarray]] = field(default_factory=dict)

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends both processes."""
        self.processes.close()

    def load(self) -> dict[str, Failure]:
        """Reads the hand-in in the worker; why a task's function is not there, by task."""
        self._ensure_worker()
        return self._load_errors

    def evaluate(self, request: Request, variant: Variant | None = None) -> Any:
        """The answer to a request: a tree of NumPy arrays.

        Raises:
            Failure: the student's function raised, hung, or is not what was asked for.
            GraderFault: the grader's own processes failed.
        """
        try:
            traced = self._trace(request, variant)
            outputs = self._run(traced, request)
        except Failure as failure:
            failure.request = request
            self.log.append(Answered(request, failure))
            raise
        try:
            answer = trees.unflatten(traced.structure, outputs)
        except ProtocolError as error:
            raise Failure("malformed", f"The answer is malformed: {error}", request=request) from error
        self.log.append(Answered(request, answer, traced.function, traced.printed))
        return answer

    def iterate(self, request: Request, limit: int, variant: Variant | None = None) -> Transcript:
        """Runs a generator in the worker, serving its streams; errors as in `evaluate`."""
        worker = self._ensure_worker()
        transcript = Transcript()
        streams = [iter(items) for items in request.streams]
        deadline = Deadline(self.exercise.time_limit + GRACE)
        message = {"do": "iterate", "body": request.body, "inputs": list(request.inputs), "streams": len(streams),
                   "limit": limit, "seconds": self.exercise.time_limit, "variant": _plain(variant)}  # fmt: skip
        try:
            self._tell(worker, message, request)
            self._serve(worker, transcript, streams, deadline, request, limit)
        except Failure as failure:
            failure.request = request
            self.log.append(Answered(request, failure))
            raise
        self.log.append(Answered(request, transcript))
        return transcript

    def _serve(
        self,
        worker: Process,
        transcript: Transcript,
        streams: list[Any],
        deadline: Deadline,
        request: Request,
        limit: int,
    ) -> None:
        events, pulls, yields = transcript.events, 0, 0
        while True:
            message = self._answer_of(worker, deadline.left(), request)
            match message.get("event"):
                case "pull":
                    pulls += 1
                    if pulls > MAX_PULLS:
                        self._restart_worker()
                        raise Failure(
                            "timeout", f"Your generator asked for more than {MAX_PULLS:,} elements.",
                            fix="Ask for an element only when you need it; never list(stream) all of it.",
                        )  # fmt: skip
                    events.append(self._pull(worker, streams, message, request))
                case "yield":
                    yields += 1
                    if yields > limit:
                        self._restart_worker()
                        raise Failure("malformed", "More was yielded than was asked for.")
                    events.append(("yield", _yielded(message)))
                case "end" | "limit":
                    if message["event"] == "end":
                        events.append(("end",))
                    return
                case _:
                    raise _failure(message.get("error"), message.get("printed"))

    def _trace(self, request: Request, variant: Variant | None) -> Traced:
        key = protocol.encode([request.body, request.specs, _plain(variant)])
        if key not in self._traced:
            try:
                self._traced[key] = self._trace_anew(request, variant)
            except Failure as failure:
                self._traced[key] = Traced(failure=failure)
        traced = self._traced[key]
        if traced.failure is not None:
            raise traced.failure
        return traced

    def _trace_anew(self, request: Request, variant: Variant | None) -> Traced:
        worker = self._ensure_worker()
        limit = self.exercise.time_limit
        message = {"do": "trace", "body": request.body, "specs": request.specs, "variant": _plain(variant)}
        self._tell(worker, {**message, "seconds": limit}, request)
        answer = self._answer_of(worker, limit + GRACE, request)
        printed = _text(answer.get("printed")) or None
        if not isinstance(answer.get("exported"), bytes):
            raise _failure(answer.get("error"), printed, request)
        loaded = self._ask_runner({"do": "load", "exported": answer["exported"], "specs": request.specs}, request)
        if "refused" in loaded:
            raise Failure("refused", f"The traced function was refused: {_text(loaded['refused'])}.", printed=printed)
        self.evidence[loaded["function"]] = loaded["evidence"]
        return Traced(loaded["function"], answer.get("structure"), printed)

    def _run(self, traced: Traced, request: Request) -> list[np.ndarray]:
        key = (traced.function, _digest(request.inputs))
        if key not in self._results:
            message = {"do": "run", "function": traced.function, "inputs": list(request.inputs)}
            self._results[key] = self._ask_runner(message, request)["outputs"]
        return self._results[key]

    def _tell(self, worker: Process, message: dict[str, Any], request: Request) -> None:
        """Sends to the worker; one that has ended since its last answer costs only this question."""
        try:
            worker.send(message)
        except Died as error:
            self._restart_worker()
            raise _died(request) from error

    def _pull(self, worker: Process, streams: list[Any], message: dict[str, Any], request: Request) -> tuple[Any, ...]:
        index = message.get("stream")
        if type(index) is not int or not 0 <= index < len(streams):
            self._restart_worker()
            raise Failure("malformed", "A stream was asked for that is not there.")
        try:
            element = next(streams[index])
        except StopIteration:
            self._tell(worker, {}, request)
            return ("empty",)
        leaves, structure = trees.flatten(element)
        self._tell(worker, {"structure": structure, "element": leaves}, request)
        return ("pull", element)

    def _answer_of(self, worker: Process, seconds: float, request: Request) -> dict[str, Any]:
        """The worker's next message; a worker that hangs, ends or babbles costs only this question."""
        try:
            answer = worker.receive(seconds)
        except TimedOut as error:
            self._restart_worker()
            raise _timeout(request, self.exercise.time_limit) from error
        except (Died, ProtocolError) as error:
            self._restart_worker()
            raise _died(request) from error
        failed = answer.get("error")
        if isinstance(failed, dict) and failed.get("kind") == "timeout":
            self._restart_worker()
            raise _timeout(request, self.exercise.time_limit, failed.get("line"))
        return answer

    def _ask_runner(self, message: dict[str, Any], request: Request) -> dict[str, Any]:
        if not self._runner_ready:
            _greet(self.processes.runner)
            self._runner_ready = True
        try:
            return self.processes.runner.ask(message, self.exercise.time_limit)
        except (TimedOut, Died, ProtocolError) as error:
            self.processes.restart("runner")
            self._runner_ready = False
            self._traced.clear()
            self.evidence.clear()
            raise self._runner_failure(error, message["do"], request) from error

    def _runner_failure(self, error: AidlError, asked: str, request: Request) -> Failure:
        match error, asked:
            case TimedOut(), "run":
                return _timeout(request, self.exercise.time_limit)
            case TimedOut(), _:
                return Failure(
                    "timeout", f"{_names(request)} takes longer than {self.exercise.time_limit:g} seconds to compile.",
                    fix=MANY_STEPS,
                )  # fmt: skip
            case Died(), "run":
                return _died(request)
        return Failure(
            "malformed", "The traced function is malformed: reading it ended the process.",
            traceback=getattr(error, "last_words", None),
        )  # fmt: skip

    def _ensure_worker(self) -> Process:
        worker = self.processes.worker
        if self._worker_ready:
            return worker
        _greet(worker)
        message = {
            "do": "load",
            "cells": [[cell.label, cell.text] for cell in self.cells],
            "tasks": list(self.exercise.tasks),
            "forbidden": list(self.exercise.forbidden),
            "seconds": self.exercise.time_limit,
        }
        errors: dict[str, Failure] = {}
        failed: Any = None
        try:
            answer = worker.ask(message, self.exercise.time_limit + GRACE)
            if isinstance(answer.get("errors"), dict):
                errors = {task: _failure(error) for task, error in answer["errors"].items() if error}
                self.signatures = {task: _parameters(answer.get("signatures"), task) for task in self.exercise.tasks}
            else:
                failed = answer.get("error") or {}
        except TimedOut:
            failed = {"kind": "timeout"}
        except (Died, ProtocolError) as error:
            failed = {"kind": "died", "message": "Running the file's top level ended the process.",
                      "traceback": getattr(error, "last_words", "")}  # fmt: skip
        if failed is not None:
            if isinstance(failed, dict) and failed.get("kind") == "timeout":
                failed["message"] = (
                    f"The file's top level did not come to an end within {self.exercise.time_limit:g} seconds."
                )
            errors = {task: _failure(failed) for task in self.exercise.tasks}
            self._restart_worker()
        self._load_errors, self._worker_ready = errors, True
        return self.processes.worker

    def _restart_worker(self) -> None:
        self.processes.restart("worker")
        self._worker_ready = False


class VariantSession:
    """The same session with a wrong answer in one task's place."""

    def __init__(self, session: Session, variant: Variant) -> None:
        self.session, self.variant = session, variant

    def evaluate(self, request: Request) -> Any:
        """As `Session.evaluate`."""
        return self.session.evaluate(request, self.variant)

    def iterate(self, request: Request, limit: int) -> Transcript:
        """As `Session.iterate`."""
        return self.session.iterate(request, limit, self.variant)


def _plain(variant: Variant | None) -> list[str] | None:
    return [variant[0], variant[1].name, variant[1].source] if variant else None


def _greet(process: Process) -> None:
    """Waits until a process has started; if it does not, that is no fault of the answer."""
    try:
        process.ask({"do": "hello", "seconds": START_LIMIT}, START_LIMIT)
    except (TimedOut, Died, ProtocolError) as error:
        last_line = getattr(error, "last_words", "").rpartition("\n")[2]
        raise GraderFault(f"the {process.role} did not start ({last_line or error})") from error


def _parameters(signatures: Any, task: str) -> list[str]:
    """A function's parameter names as the worker tells them: untrusted."""
    names = signatures.get(task) if isinstance(signatures, dict) else None
    return [_text(name) for name in names] if isinstance(names, list) else []


def _yielded(message: dict[str, Any]) -> Any:
    try:
        structure, leaves = message["output"]
        return trees.unflatten(structure, leaves)
    except (ProtocolError, KeyError, ValueError, TypeError) as error:
        raise Failure("malformed", "What was yielded is malformed.") from error


def _failure(error: Any, printed: str | None = None, request: Request | None = None) -> Failure:
    """A worker's error as a failure. Its texts are untrusted: plain strings, cut to a length."""
    error = error if isinstance(error, dict) else {}
    texts = {name: _text(error.get(name)) or None for name in ("line", "fix", "traceback")}
    return Failure(
        _text(error.get("kind")) or "error",
        _text(error.get("message")) or "It failed without saying why.",
        printed=_text(printed) or None,
        request=request,
        **texts,
    )


def _text(given: Any) -> str:
    return given[:MAX_TEXT] if isinstance(given, str) else ""


def _died(request: Request) -> Failure:
    return Failure(
        "died",
        f"The process that ran {_names(request)} ended without an answer.",
        fix="Remove calls that end the process, and check for absurd sizes.",
    )


def _timeout(request: Request, seconds: float, line: Any = None) -> Failure:
    line = _text(line)
    if request.streams:
        fix = "When the stream has ended and nothing is left to yield, leave the loop with `return`."
    elif ": while " in line:
        fix = "Check what ends the loop: does its condition ever become false?"
    else:
        fix = MANY_STEPS
    message = f"{_names(request)} did not come to an end within {seconds:g} seconds."
    return Failure("timeout", message, line=line or None, fix=fix)


def _names(request: Request) -> str:
    return " and ".join(f"`{name}`" for name in request.functions) or "Your code"


def _digest(inputs: Iterable[np.ndarray]) -> bytes:
    hashed = hashlib.blake2b(digest_size=16)
    for array in inputs:
        hashed.update(np.ascontiguousarray(array).tobytes())
    return hashed.digest()
