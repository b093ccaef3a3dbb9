"""One hand-in's session with its worker and its runner: requests go in, NumPy arrays come out."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from aidl_jax.errors import ProtocolError
from aidl_jax.exercise import Exercise, Failure, WrongAnswer, plain, trees
from aidl_jax.exercise.requests import Request, Transcript
from aidl_jax.exercise.summary import SummaryGraph
from aidl_jax.grade import answers, failures, protocol
from aidl_jax.grade.children import GraderFault
from aidl_jax.grade.extract import Cell
from aidl_jax.grade.process import Deadline, Died, Process, Processes, TimedOut

START_LIMIT = 120.0  # seconds for a process to start
GRACE = 3.0  # seconds that a worker has to say where it hangs before it is killed
MAX_PULLS = 5_000
MOST_WAITING = 300.0  # seconds for all answers of a hand-in to one exercise together
MAX_ANSWER = 64 << 20  # bytes of what one run of a function returns, or a generator yields in all
MAX_REMEMBERED = 1 << 20  # bytes of an answer that is not asked for again on equal inputs
TOP_LEVEL_ENDED = "Running the file's top level ended the process."

Variant = tuple[str, WrongAnswer]


@dataclass
class Answered:
    """One request and what came of it: an answer or a failure; `function` where an exported one was run."""

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


@dataclass
class Session:
    """Answers requests with one hand-in's code; equal functions are run once on equal inputs.

    Args:
        cells: the hand-in.
        exercise: what it is an answer to.
        processes: already started ones; they belong to the session from then on.
        known: what the course's own functions were compiled to, by fingerprint: such a function is not compiled again.
    """

    cells: Sequence[Cell]
    exercise: Exercise
    processes: Processes = field(default_factory=Processes)
    known: Mapping[str, bytes] = field(default_factory=dict)
    log: list[Answered] = field(default_factory=list)
    evidence: dict[str, dict[str, Any]] = field(default_factory=dict)
    signatures: dict[str, list[str]] = field(default_factory=dict)
    _worker_ready: bool = False
    _runner_ready: bool = False
    _load_errors: dict[str, Failure] = field(default_factory=dict)
    _traced: dict[bytes, Traced] = field(default_factory=dict)
    _drawn: dict[bytes, tuple[SummaryGraph, str | None]] = field(default_factory=dict)
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
        with self._logging(request):
            traced = self._trace(request, variant)
            outputs = self._run(traced, request)
        try:
            answer = trees.unflatten(traced.structure, outputs)
        except ProtocolError as error:
            raise Failure("malformed", f"The answer is malformed: {error}", request=request) from error
        self.log.append(Answered(request, answer, traced.function, traced.printed))
        return answer

    def operations(self, request: Request, variant: Variant | None = None) -> int:
        """How many operations the traced function has; errors as in `evaluate`."""
        with self._logging(request):
            traced = self._trace(request, variant)
        count: int = self.evidence[traced.function]["operations"]
        self.log.append(Answered(request, count, printed=traced.printed))
        return count

    def executables(self) -> dict[str, bytes]:
        """What every function so far was compiled to that was not known, by fingerprint."""
        ask, limit = self.processes.runner.ask, self.exercise.time_limit
        compiled = [name for name in self.evidence if name not in self.known]
        return {name: ask({"do": "keep", "function": name}, limit)["executable"] for name in compiled}

    def summary_graph(self, request: Request, variant: Variant | None = None) -> SummaryGraph:
        """The graph of the traced function, from an event file that the worker wrote; errors as in `evaluate`."""
        key = _named(request, variant)
        with self._logging(request):
            if key not in self._drawn:
                self._drawn[key] = self._draw(request, variant)
        graph, printed = self._drawn[key]
        self.log.append(Answered(request, graph, printed=printed))
        return graph

    def call(self, request: Request, variant: Variant | None = None) -> Any:
        """The answer of a function of Python's, called in the worker with values; errors as in `evaluate`."""
        limit = self.exercise.time_limit
        message = {"do": "call", "body": request.body, "inputs": list(request.inputs), "seconds": limit,
                   "variant": _plain(variant)}  # fmt: skip
        with self._logging(request):
            worker = self._ensure_worker()
            self._tell(worker, message, request)
            reply = self._answer_of(worker, "call", limit + GRACE, request)
            if not isinstance(reply.get("answer"), bytes):
                raise failures.told(reply.get("error"), reply.get("printed"))
            answer = answers.unpacked(reply["answer"], "returned")
        self.log.append(Answered(request, answer, printed=failures.text(reply.get("printed")) or None))
        return answer

    def iterate(self, request: Request, limit: int, variant: Variant | None = None) -> Transcript:
        """Runs a generator in the worker, serving its streams; errors as in `evaluate`."""
        worker = self._ensure_worker()
        transcript = Transcript()
        streams = [iter(items) for items in request.streams]
        deadline = Deadline(self.exercise.time_limit + GRACE)
        message = {"do": "iterate", "body": request.body, "inputs": list(request.inputs), "streams": len(streams),
                   "limit": limit, "seconds": self.exercise.time_limit, "variant": _plain(variant)}  # fmt: skip
        with self._logging(request):
            self._tell(worker, message, request)
            self._serve(worker, transcript, streams, deadline, request, limit)
        self.log.append(Answered(request, transcript))
        return transcript

    @contextlib.contextmanager
    def _logging(self, request: Request) -> Iterator[None]:
        """A failure is of this request, and is logged as what came of it."""
        try:
            if self.processes.waited() > MOST_WAITING:
                raise failures.too_slow_in_all(MOST_WAITING)
            yield
        except Failure as failure:
            failure.request = request
            self.log.append(Answered(request, failure))
            raise

    def _serve(
        self,
        worker: Process,
        transcript: Transcript,
        streams: list[Any],
        deadline: Deadline,
        request: Request,
        limit: int,
    ) -> None:
        events, pulls, yields, size = transcript.events, 0, 0, 0
        while True:
            message = self._answer_of(worker, "iterate", deadline.left(), request)
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
                    output = message.get("output")
                    size += len(output) if isinstance(output, bytes) else 0
                    if size > MAX_ANSWER:
                        self._restart_worker()
                        raise failures.too_large("Your generator yielded", size, MAX_ANSWER)
                    events.append(("yield", answers.unpacked(output, "yielded")))
                case "end" | "limit":
                    if message["event"] == "end":
                        events.append(("end",))
                    return
                case _:
                    raise failures.told(message.get("error"), message.get("printed"))

    def _trace(self, request: Request, variant: Variant | None) -> Traced:
        key = _named(request, variant)
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
        answer = self._ask_worker("trace", request, variant)
        printed = failures.text(answer.get("printed")) or None
        if not isinstance(answer.get("exported"), bytes):
            raise failures.told(answer.get("error"), printed, request)
        loaded = self._ask_runner({"do": "load", "exported": answer["exported"], "specs": request.specs}, request)
        if "refused" in loaded:
            raise Failure(
                "refused", f"The traced function was refused: {failures.text(loaded['refused'])}.", printed=printed
            )
        function = loaded["function"]
        if function not in self.evidence:
            self._compile(function, request)
        self.evidence[function] = loaded["evidence"]
        return Traced(function, answer.get("structure"), printed)

    def _compile(self, function: str, request: Request) -> None:
        executable = self.known.get(function)
        try:
            self._ask_runner({"do": "compile", "function": function, "executable": executable}, request)
        except Failure as failure:
            if executable is None:
                raise
            raise GraderFault(f"what an equal function was compiled to cannot be loaded: {failure}") from failure

    def _draw(self, request: Request, variant: Variant | None) -> tuple[SummaryGraph, str | None]:
        answer = self._ask_worker("draw", request, variant)
        printed = failures.text(answer.get("printed")) or None
        if not isinstance(answer.get("events"), bytes):
            raise failures.told(answer.get("error"), printed, request)
        read = self._ask_runner({"do": "read", "events": answer["events"]}, request)
        return answers.graph_of(read, printed), printed

    def _ask_worker(self, do: Literal["trace", "draw"], request: Request, variant: Variant | None) -> dict[str, Any]:
        worker, limit = self._ensure_worker(), self.exercise.time_limit
        message = {"do": do, "body": request.body, "specs": request.specs, "variant": _plain(variant)}
        self._tell(worker, {**message, "seconds": limit}, request)
        return self._answer_of(worker, "trace", limit + GRACE, request)

    def _run(self, traced: Traced, request: Request) -> list[np.ndarray]:
        key = (traced.function, _digest(request.inputs))
        if key not in self._results:
            message = {"do": "run", "function": traced.function, "inputs": list(request.inputs)}
            outputs = self._ask_runner(message, request)["outputs"]
            size = sum(output.nbytes for output in outputs)
            if size > MAX_ANSWER:
                raise failures.too_large(f"{failures.names(request)} returned", size, MAX_ANSWER)
            if size > MAX_REMEMBERED:
                return outputs
            self._results[key] = outputs
        return self._results[key]

    def _tell(self, worker: Process, message: dict[str, Any], request: Request) -> None:
        """Sends to the worker; one that has ended since its last answer costs only this question."""
        try:
            worker.send(message)
        except Died as error:
            self._restart_worker()
            raise failures.died(request, error) from error

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
        self._tell(worker, {"element": plain.pack(element)}, request)
        return ("pull", element)

    def _answer_of(self, worker: Process, asked: str, seconds: float, request: Request) -> dict[str, Any]:
        """The worker's next message; a worker that hangs, ends or babbles costs only this question."""
        try:
            answer = worker.receive(seconds)
        except TimedOut as error:
            self._restart_worker()
            raise failures.timed_out(asked, request, self.exercise.time_limit) from error
        except (Died, ProtocolError) as error:
            self._restart_worker()
            raise failures.died(request, error) from error
        failed = answer.get("error")
        if isinstance(failed, dict) and failed.get("kind") == "timeout":
            self._restart_worker()
            raise failures.timed_out(asked, request, self.exercise.time_limit, failed.get("line"))
        return answer

    def _ask_runner(self, message: dict[str, Any], request: Request) -> dict[str, Any]:
        if not self._runner_ready:
            self.processes.runner.greet(START_LIMIT)
            self._runner_ready = True
        try:
            return self.processes.runner.ask(message, self.exercise.time_limit)
        except (TimedOut, Died, ProtocolError) as error:
            self.processes.restart("runner")
            self._runner_ready = False
            self._traced.clear()
            self.evidence.clear()
            raise failures.in_runner(error, message["do"], request, self.exercise.time_limit) from error

    def _ensure_worker(self) -> Process:
        worker = self.processes.worker
        if self._worker_ready:
            return worker
        worker.greet(START_LIMIT)
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
                errors = {task: failures.told(error) for task, error in answer["errors"].items() if error}
                self.signatures = {
                    task: answers.parameters(answer.get("signatures"), task) for task in self.exercise.tasks
                }
            else:
                failed = answer.get("error") or {}
        except TimedOut:
            failed = {"kind": "timeout"}
        except (Died, ProtocolError) as error:
            limit = getattr(error, "limit", None)
            what = f"Running the file's top level was ended: it {limit}." if limit else TOP_LEVEL_ENDED
            failed = {"kind": "limit" if limit else "died", "message": what,
                      "traceback": getattr(error, "last_words", "")}  # fmt: skip
        if failed is not None:
            if isinstance(failed, dict) and failed.get("kind") == "timeout":
                failed["message"] = (
                    f"The file's top level did not come to an end within {self.exercise.time_limit:g} seconds."
                )
            errors = {task: failures.told(failed) for task in self.exercise.tasks}
            self._restart_worker()
        self._load_errors, self._worker_ready = errors, True
        return self.processes.worker

    def _restart_worker(self) -> None:
        self.processes.restart("worker")
        self._worker_ready = False


def _named(request: Request, variant: Variant | None) -> bytes:
    return protocol.encode([request.body, request.specs, _plain(variant)])


def _plain(variant: Variant | None) -> list[str] | None:
    return [variant[0], variant[1].name, variant[1].source] if variant else None


def _digest(inputs: Iterable[np.ndarray]) -> bytes:
    hashed = hashlib.blake2b(digest_size=16)
    for array in inputs:
        hashed.update(np.ascontiguousarray(array).tobytes())
    return hashed.digest()
