"""The worker: the only process in which student code runs. It holds no check and no expected value.

It is told the hand-in once (`load`), then asked for exported functions (`trace`), for graphs (`draw`) and, for what is
Python by nature, to run a generator whose input is served from outside (`iterate`) or to call a function (`call`).
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import linecache
import math
import os
import sys
import threading
import traceback
import types
from collections.abc import Iterator
from time import monotonic, sleep
from typing import Any, BinaryIO

from aidl_jax.errors import ProtocolError
from aidl_jax.exercise import plain
from aidl_jax.grade import explain, extract, protocol
from aidl_jax.grade.explain import AnswerError, Impure
from aidl_jax.grade.printed import Printed

MAX_ANSWER = 64 * 1024 * 1024  # bytes of one answer, or of one yielded value
REMEMBERS = (
    "Let it depend on its arguments alone: make what it collects in anew inside the function, not in a global variable "
    "nor in a default value such as `seen=[]`; no random numbers, no time."
)
PLAIN_DATA = (
    "It can return None, numbers, strings, bytes, NumPy arrays, and lists, tuples, sets and dicts of them; `list(...)` "
    "makes a list of what a `for` loop can go through."
)


class Module:
    """A hand-in's graded module, executed statement by statement.

    A statement that fails breaks only the tasks that need it.
    """

    def __init__(self, found: extract.Extraction) -> None:
        self.found = found
        self.labels = {statement.cell.label for statement in found.statements}
        self.broken: dict[int, dict[str, Any]] = {}
        self.names: dict[str, Any] = {"__name__": "answer"}
        for number in found.selected():
            try:
                exec(found.statements[number].code, self.names)
            except BaseException as error:  # a hand-in may raise anything, SystemExit too
                self.broken[number] = explain.explain(error, self.labels)

    def error(self, task: str) -> dict[str, Any] | None:
        """Why a task's function is not there, if it is not."""
        if task not in self.found.needed:
            return {"kind": "missing", "message": f"There is no function named {task}.", "line": None,
                    "fix": f"Write `def {task}(...)`, spelled exactly so.", "traceback": None}  # fmt: skip
        failed = sorted(self.found.needed[task] & self.broken.keys())
        return self.broken[failed[0]] if failed else None

    def with_wrong_answer(self, task: str, name: str, source: str) -> dict[str, Any]:
        """The names of a copy of the module in which a wrong answer has taken a task's name."""
        names = Module(self.found).names
        scope = dict(names)
        exec(_code(source), scope)
        names[task] = scope[name]
        return names


@functools.lru_cache(maxsize=256)
def _code(source: str) -> types.CodeType:
    return compile(source, "wrong answer", "exec", dont_inherit=True)


class Worker:
    """Answers the judge's messages for one hand-in."""

    def __init__(self, source: BinaryIO, sink: BinaryIO) -> None:
        self.source, self.sink = source, sink
        self.module: Module | None = None
        self.variants: dict[str, dict[str, Any]] = {}
        self.labels: set[str] = set()
        self.scratch = os.getcwd()
        self.deadline = math.inf
        self.sending = threading.Lock()

    def serve(self) -> None:
        """Answers until the judge closes the pipe."""
        threading.Thread(target=self._watch, args=(threading.get_ident(),), daemon=True).start()
        while True:
            try:
                message = protocol.read_message(self.source)
            except EOFError:
                return
            self.deadline = monotonic() + message["seconds"]
            printed = Printed()
            with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
                try:
                    answer = self.answer(message)
                except ProtocolError:
                    raise
                except BaseException as error:  # student code may raise anything
                    answer = {"error": self._explain(error)}
            self.deadline = math.inf
            self._send({**answer, "printed": printed.text()})

    def answer(self, message: dict[str, Any]) -> dict[str, Any]:
        """One message's answer."""
        match message["do"]:
            case "hello":
                importlib.import_module("aidl_jax.grade.tracing")  # so that no question's time goes into it
                return {}
            case "load":
                return self._load(message)
            case "trace":
                from aidl_jax.grade import tracing

                body, specs, names = message["body"], message["specs"], self._names(message)
                twice = message.get("variant") is None  # that the course's own wrong answers are pure is known
                exported, structure = tracing.export_request(body, specs, names, twice=twice)
                return {"exported": exported, "structure": structure}
            case "draw":
                from aidl_jax.grade import drawing

                return {"events": drawing.event_file(message["body"], message["specs"], self._names(message))}
            case "iterate":
                return self._iterate(message)
            case "call":
                return {"answer": self._call(message)}
        raise ProtocolError("the worker does not know this message", given=repr(message["do"])[:40])

    def _load(self, message: dict[str, Any]) -> dict[str, Any]:
        cells = [extract.Cell(label, text) for label, text in message["cells"]]
        self.labels = {cell.label for cell in cells}
        for cell in cells:  # so that a traceback can show its lines
            lines = [line + "\n" for line in extract.source_lines(cell.text)]
            linecache.cache[cell.label] = (len(cell.text), None, lines, cell.label)
        found = extract.extract(cells, message["tasks"])
        self.module, self.variants = Module(found), {}
        refused = {
            task: self._refusal(use)
            for task in message["tasks"]
            if (use := extract.forbidden_use(found, task, message["forbidden"]))
        }
        errors = {task: refused.get(task) or self.module.error(task) for task in message["tasks"]}
        if found.broken:
            unreadable = self._unreadable(found.broken[0])
            errors = {t: unreadable if e and e["kind"] == "missing" else e for t, e in errors.items()}
        return {
            "errors": {task: error for task, error in errors.items() if error},
            "signatures": {task: found.signature(task) for task in message["tasks"]},
        }

    @staticmethod
    def _refusal(use: extract.ForbiddenUse) -> dict[str, Any]:
        return {
            "kind": "forbidden",
            "message": f"This uses {use.name}, which this exercise asks you to do without.",
            "line": f"line {use.line}: {use.text}",
            "fix": "Write that part yourself; it is what the exercise is about.",
            "traceback": None,
        }

    @staticmethod
    def _unreadable(broken: extract.BrokenCell) -> dict[str, Any]:
        where = "" if broken.cell.label.endswith(".py") else f"{broken.cell.label}, "
        return {
            "kind": "SyntaxError",
            "message": f"Python cannot read this file: {broken.message}.",
            "line": f"{where}line {broken.line}: {broken.source_line}",
            "fix": "Look at this line and the one before it for a missing bracket, quote, colon or indent.",
            "traceback": None,
        }

    def _names(self, message: dict[str, Any]) -> dict[str, Any]:
        """The module's names, which keep what earlier questions left in them."""
        assert self.module is not None
        variant = message.get("variant")
        if variant is None:
            return self.module.names
        task, name, _ = variant
        key = f"{task}/{name}"
        if key not in self.variants:
            self.variants[key] = self._fresh_names(message)
        return self.variants[key]

    def _fresh_names(self, message: dict[str, Any]) -> dict[str, Any]:
        """The names of the module executed anew."""
        assert self.module is not None
        variant = message.get("variant")
        return self.module.with_wrong_answer(*variant) if variant else Module(self.module.found).names

    def _call(self, message: dict[str, Any]) -> bytes:
        """The answer of a module that nobody has called yet, if the one that earlier questions called agrees."""
        from aidl_jax.grade.tracing import interpret, silence

        def called(names: dict[str, Any]) -> bytes:
            self._go_back()
            return _encoded(interpret(message["body"], names, message["inputs"]), "returned")

        answer = called(self._fresh_names(message))
        with silence():
            try:
                again = called(self._names(message))
            except BaseException as error:  # student code may raise anything
                raise Impure(REMEMBERS) from error
        if again != answer:
            raise Impure(REMEMBERS)
        return answer

    def _iterate(self, message: dict[str, Any]) -> dict[str, Any]:
        from aidl_jax.grade.tracing import interpret

        serving = threading.Event()
        serving.set()
        streams = [self._stream(index, serving) for index in range(message["streams"])]
        self._go_back()
        outputs = interpret(message["body"], self._names(message), message["inputs"], streams)
        try:
            for count, output in enumerate(_iterator(outputs), start=1):
                self._send({"event": "yield", "output": _encoded(output, "yielded")})
                if count == message["limit"]:
                    return {"event": "limit"}
            return {"event": "end"}
        finally:
            serving.clear()

    def _go_back(self) -> None:
        """To the scratch folder: a hand-in may have gone elsewhere, where a folder named like one of ours may be somebody's own."""
        os.chdir(self.scratch)

    def _stream(self, index: int, serving: threading.Event) -> Iterator[Any]:
        """An iterator that asks the judge for each element, until the run is over."""
        while serving.is_set():
            self._send({"event": "pull", "stream": index})
            reply = protocol.read_message(self.source)
            if "element" not in reply:
                return
            yield plain.unpack(reply["element"])

    def _explain(self, error: BaseException) -> dict[str, Any]:
        return explain.explain(error, self.labels)

    def _send(self, message: dict[str, Any]) -> None:
        with self.sending:
            protocol.write_message(self.sink, message)

    def _watch(self, main: int) -> None:
        """Once a question's time is over: says which loop of the student's code is running, and ends."""
        while True:
            while monotonic() < self.deadline:
                sleep(0.1)
            line = self._running_line(main)
            with self.sending:
                if monotonic() < self.deadline:  # it was answered just now
                    continue
                try:
                    protocol.write_message(self.sink, {"error": {**TIMED_OUT, "line": line}, "printed": ""})
                finally:
                    os._exit(3)

    def _running_line(self, main: int) -> str | None:
        """The loop that the main thread is in."""
        with contextlib.suppress(Exception):  # a cell with magics in it, a thread that is where it has no source
            frames = traceback.extract_stack(sys._current_frames()[main])
            return explain.endless_line([frame for frame in frames if frame.filename in self.labels])
        return None


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        sleep(1.0)
    os._exit(3)


TIMED_OUT = {
    "kind": "timeout",
    "message": "Your code did not come to an end.",
    "fix": "Check what ends the loop: does its condition ever become false?",
    "traceback": None,
}


def _iterator(outputs: Any) -> Iterator[Any]:
    if hasattr(outputs, "__next__"):
        return iter(outputs)
    kind = "nothing" if outputs is None else f"a finished {type(outputs).__name__}"
    raise AnswerError(f"Your function returned {kind}, not a generator.", "`yield` each element instead.")


def _encoded(value: Any, verb: str) -> bytes:
    """What student code gave back, as plain data that the judge decodes strictly."""
    try:
        encoded = protocol.encode(plain.pack(value))
    except plain.NotPlainError as error:
        raise AnswerError(f"Your function {verb} {error}.", PLAIN_DATA) from error
    except ProtocolError as error:  # an array of a dtype that is not sent
        raise AnswerError(f"Your function {verb} something that cannot be sent: {error.given}.", PLAIN_DATA) from error
    if len(encoded) > MAX_ANSWER:
        raise AnswerError(f"Your function {verb} {len(encoded):,} bytes at once; at most {MAX_ANSWER:,} can be sent.")
    return encoded


def main() -> None:
    """Serves on the pipes this process was started with; student prints cannot reach them."""
    source, sink = private_pipes()
    import jax  # before the first message, so that the start-ups of both processes overlap
    import jax.export

    from aidl_jax import _compat

    _compat.share_context()
    for name in ("print", "callback", "breakpoint"):  # they would not survive export
        setattr(jax.debug, name, lambda *args, **kwargs: None)
    sys.modules["aidl_jax.course"] = None  # type: ignore[assignment]  # importing it raises ImportError
    Worker(source, sink).serve()


def private_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Moves standard input and output to descriptors of our own; prints then go nowhere.

    From then on this process also ends when its judge has ended without a word.
    """
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    source = os.fdopen(os.dup(0), "rb")
    sink = os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 0)
    os.dup2(nowhere, 1)
    return source, sink
