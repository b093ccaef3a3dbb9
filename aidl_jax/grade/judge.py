"""The judge: runs an exercise's checks against one session and writes the record.

It compares NumPy arrays and never runs student code, nor starts XLA.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import platform
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from aidl_jax.exercise import Check, Draw, Exercise, Failure, Student, Task, plain, trees
from aidl_jax.exercise.compare import compare_trees, show
from aidl_jax.exercise.draws import shrink
from aidl_jax.exercise.requests import Answerer, Request, Transcript
from aidl_jax.exercise.summary import SummaryGraph
from aidl_jax.grade.children import GraderFault
from aidl_jax.grade.record import CheckRecord, FailureRecord, Record, TaskRecord
from aidl_jax.grade.session import Answered, Session
from aidl_jax.grade.variants import VariantSession

SHRINKABLE = ("value", "not finite")
COMPARED = (*SHRINKABLE, "shape", "dtype", "structure", "property")
SHRINK_ELEMENTS = 1_000  # inputs beyond that are not shown, so nothing is gained by making them simpler
LONG_STATIC, MAX_STATIC = 60, 400  # characters of a public value: in one line, in all
MAX_LINES = 24
NOT_EXPLAINED = ("NotImplementedError", "timeout", "died", "malformed", "refused", "limit")


def judge(
    name: str,
    exercise: Exercise,
    session: Session,
    seed: int,
    *,
    only: str | None = None,
    draws: int | None = None,
    explained: bool = True,
    known: Mapping[str, TaskRecord] | None = None,
    progress: Callable[[str], None] = lambda task: None,
) -> Record:
    """Checks every task of an exercise and gives the record.

    Args:
        name: the exercise's name, `s02_graphs/linear_regression`.
        exercise: its tasks and checks.
        session: the hand-in with its two processes.
        seed: of all draws.
        only: check this task alone, without waiting for what it needs.
        draws: how many draws each check gets, instead of its own number.
        explained: whether a failing case is made simpler and matched with known wrong answers.
        known: what is known of tasks that need not be checked, where they can be loaded and wait for nothing.
        progress: told the name of each task before it is checked.
    """
    load_errors = _load(session)
    tasks: list[TaskRecord] = []
    passed: set[str] = set()
    for task in exercise.tasks.values():
        if only not in (None, task.name):
            continue
        progress(task.name)
        waits_for = [need for need in task.needs if need not in passed and only is None]
        if isinstance(load_errors, str):
            record = _ungraded(task, load_errors)
        elif task.name in load_errors:
            record = _failed_at_load(task, load_errors[task.name])
        elif waits_for:
            record = TaskRecord(task.name, "waiting", 0, task.points, waits_for)
        elif known and task.name in known:
            record = known[task.name]
        else:
            record = _judge_task(name, task, session, seed, draws, explained)
        if record.verdict == "passed":
            passed.add(task.name)
        tasks.append(record)
    return Record(name, exercise.title, seed, tasks, versions=versions())


def versions() -> dict[str, str]:
    """What a record was made with."""
    found = {"python": platform.python_version()}
    for package in ("aidl-jax", "jax", "numpy"):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def _load(session: Session) -> dict[str, Failure] | str:
    try:
        return session.load()
    except GraderFault as fault:
        return str(fault)


def _failed_at_load(task: Task, failure: Failure) -> TaskRecord:
    check = task.checks[0]
    failed = CheckRecord(check.name, check.description, "failed", _failure_record(failure, {}, []))
    return TaskRecord(task.name, "failed", 0, task.points, checks=[failed])


def _ungraded(task: Task, reason: str) -> TaskRecord:
    failure = FailureRecord("ungraded", f"This could not be graded: {reason}. It is no fault of the answer.")
    checks = [CheckRecord(task.checks[0].name, task.checks[0].description, "ungraded", failure)]
    return TaskRecord(task.name, "ungraded", 0, task.points, checks=checks)


def _judge_task(name: str, task: Task, session: Session, seed: int, draws: int | None, explained: bool) -> TaskRecord:
    session.log.clear()
    checks: list[CheckRecord] = []
    for check in task.checks:
        if checks and checks[-1].verdict != "passed":
            checks.append(CheckRecord(check.name, check.description, "waiting"))
            continue
        record = CheckRecord(check.name, check.description, "passed")
        for number in range(draws or check.draws):
            label = f"{name}/{task.name}/{check.name}/{number}"
            try:
                failure = _fails(check, task, session, session, Draw(seed, label))
            except GraderFault as fault:
                return _ungraded(task, str(fault))
            except Exception as error:  # the check itself is wrong
                return _ungraded(task, f"the check {check.name!r} raised {type(error).__name__}: {error}")
            if failure is not None:
                record = CheckRecord(
                    check.name,
                    check.description,
                    "failed",
                    _explained(check, task, session, seed, label, failure)
                    if explained
                    else _failure_record(failure, session.signatures, []),
                )
                break
        checks.append(record)
    verdict = "passed" if all(check.verdict == "passed" for check in checks) else "failed"
    points = task.points if verdict == "passed" else 0
    return TaskRecord(task.name, verdict, points, task.points, checks=checks, evidence=_evidence(task, session))  # type: ignore[arg-type]


def _fails(check: Check, task: Task, session: Session, answerer: Answerer, draw: Draw) -> Failure | None:
    """Runs a check once; the failure, or None where it holds."""
    try:
        check.run(Student(session.exercise.tasks, answerer), draw)
    except Failure as failure:
        if failure.request is None and session.log:
            failure.request = session.log[-1].request
        if failure.printed is None:
            failure.printed = next((a.printed for a in reversed(session.log) if a.printed), None)
        return failure
    return None


def _explained(check: Check, task: Task, session: Session, seed: int, label: str, failure: Failure) -> FailureRecord:
    """The failure explained as far as that can be done; that it failed stands already."""
    plain = _failure_record(failure, session.signatures, [])
    if failure.kind in NOT_EXPLAINED:
        return plain
    kept = list(session.log)
    try:
        return _explain(check, task, session, seed, label, failure)
    except Exception:  # code that behaves differently the second time, or a process that could not be started again
        return plain
    finally:
        session.log[:] = kept


def _explain(check: Check, task: Task, session: Session, seed: int, label: str, failure: Failure) -> FailureRecord:
    """Matches a failing case with known wrong answers, then makes it simpler."""
    draw = Draw(seed, label)
    own = _outcomes(check, task, session, session, draw)
    sentences = []
    for wrong in task.wrong_answers:
        variant = VariantSession(session, (task.name, wrong))
        if _same_outcomes(own, _outcomes(check, task, session, variant, Draw(seed, label)), failure.kind):
            sentences.append(wrong.sentence)
    simplest, hung = failure, False
    if failure.kind in SHRINKABLE and _small(failure.request):

        def still_fails(replaced: dict[int, np.ndarray]) -> bool:
            nonlocal hung
            if hung:  # one simpler input on which it hangs is enough
                return False
            session.log.clear()  # it may hold large answers
            try:
                found = _fails(check, task, session, session, Draw(seed, label, replaced))
            except Exception:  # a simpler input may be outside of what the check can deal with
                return False
            hung = found is not None and found.kind in NOT_EXPLAINED
            return found is not None and found.kind == failure.kind

        replaced = shrink(draw.log, still_fails)
        simplest = _fails(check, task, session, session, Draw(seed, label, replaced)) or failure
    new = [sentence for sentence in dict.fromkeys(sentences) if sentence != simplest.message]
    return _failure_record(simplest, session.signatures, new)


def _small(request: Request | None) -> bool:
    return request is not None and sum(array.size for array in request.inputs) <= SHRINK_ELEMENTS


def _outcomes(check: Check, task: Task, session: Session, answerer: Answerer, draw: Draw) -> list[Answered]:
    """What each request of a check came to, with the wrong answer or without."""
    session.log.clear()
    with contextlib.suppress(Exception):  # a wrong answer may be more than the check can deal with; its requests count
        _fails(check, task, session, answerer, draw)
    return list(session.log)


def _same_outcomes(own: list[Answered], other: list[Answered], kind: str) -> bool:
    return len(own) == len(other) and all(_same(a, b, kind) for a, b in zip(own, other, strict=True))


def _same(one: Answered, other: Answered, kind: str) -> bool:
    match one.outcome, other.outcome:
        case Failure() as failure, Failure() as another:
            return (failure.kind, failure.message) == (another.kind, another.message)
        case (Failure(), _) | (_, Failure()):
            return False
    if isinstance(one.outcome, SummaryGraph) and isinstance(other.outcome, SummaryGraph):
        return _placed(one.outcome) == _placed(other.outcome)
    if one.function is None or other.function is None:  # no exported functions: plain data, which is exact
        return _exactly(one.outcome) == _exactly(other.outcome)
    try:
        compare_trees(one.outcome, other.outcome, length=100)
    except Failure as failure:
        return kind == "shape" and failure.kind == "value"
    return True


def _placed(graph: SummaryGraph) -> set[tuple[str, str]]:
    """What is done in which scope: how often, and in what order, is left to the answer."""
    return {(node.scope, node.op) for node in graph.nodes}


def _exactly(outcome: Any) -> str:
    return plain.text(outcome.events if isinstance(outcome, Transcript) else outcome)


def _failure_record(failure: Failure, signatures: dict[str, list[str]], misconceptions: list[str]) -> FailureRecord:
    call, inputs = _call(failure, signatures)
    return FailureRecord(
        kind=failure.kind,
        message=failure.message,
        call=call,
        inputs=inputs if failure.kind != "NotImplementedError" else [],
        got=failure.got,
        expected=failure.expected,
        where=failure.where,
        line=failure.line,
        fix=failure.fix,
        misconceptions=misconceptions,
        printed=failure.printed,
        traceback=failure.traceback,
    )


def _call(failure: Failure, signatures: dict[str, list[str]]) -> tuple[str | None, list[list[str]]]:
    """A request as a call with the student's own parameter names, and its inputs.

    Inputs are shown as values where values were compared, or were there while the function ran; as shapes where
    it failed while it was traced.
    """
    request = failure.request
    match request and request.body:
        case ["call", ["student", str(name)], list(args), dict(named)]:
            pass
        case _:
            return (request.text if request else None), []
    assert request is not None
    names = [*signatures.get(name, []), *(f"argument {i}" for i in range(len(signatures.get(name, [])), len(args)))]
    pairs = [*zip(names, args, strict=False), *named.items()]
    values = bool(request.streams) or failure.kind in COMPARED
    rows = [row for label, node in pairs for row in _inputs(label, node, request, values)]
    return f"{name}({', '.join(label for label, _ in pairs)})", rows


def _inputs(label: str, node: Any, request: Request, values: bool) -> list[list[str]]:
    match node:
        case ["input", index]:
            array = request.inputs[index]
            return [[label, show(array) if values else f"{array.dtype.name} of shape {array.shape}"]]
        case ["key", index]:
            return [[label, f"the key with data {show(request.inputs[index])}" if values else "a key"]]
        case ["static", bytes(data)]:
            return [[label, f"{len(data):,} bytes that begin with {data[:12]!r}"]]
        case ["static", _]:
            return [[label, _static_text(node[1])]]
        case ["transform", "folder", ["static", packed], _]:
            return [[label, "a folder with " + ", ".join(plain.unpack(packed))]]
        case ["tree", structure, leaves]:
            paths = trees.leaf_paths(structure)
            pairs = zip(paths, leaves, strict=True)
            return [row for path, leaf in pairs for row in _inputs(label + path, leaf, request, values)]
        case ["stream", index]:
            items = request.streams[index]
            return [
                [label, f"iter({items!r})"[:200] if isinstance(items, list | tuple | range) else f"{items!r}"[:200]]
            ]
        case ["function", *_]:
            return [[label, "a function"]]
    return [[label, "..."]]


def _static_text(packed: Any) -> str:
    """A public value as Python code; a long dict with a line for each of its keys, so that it can be read and pasted."""
    given = plain.unpack(packed)
    whole = plain.text(given, MAX_STATIC)
    if not isinstance(given, dict) or len(whole) <= LONG_STATIC:
        return whole
    lines = [f" {key!r}: {plain.text(part, LONG_STATIC)}," for key, part in given.items()]
    more = [f" ... and {len(lines) - MAX_LINES} more"] if len(lines) > MAX_LINES else []
    return "\n".join(["{", *lines[:MAX_LINES], *more, "}"])


def _evidence(task: Task, session: Session) -> dict[str, Any]:
    """How the task's function computes, read off the first direct call of it; shown, never judged."""
    direct = [a for a in session.log if a.function and a.request.body[:2] == ["call", ["student", task.name]]]
    if not direct:
        return {}
    found = dict(session.evidence.get(direct[0].function or "", {}))
    equal = [
        a.request.text for a in session.log if a.function == direct[0].function and a.request.functions != [task.name]
    ]
    if equal:
        found["equal_to"] = equal[0]
    return found
