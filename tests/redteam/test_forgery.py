"""Answers that are made to look right: patched modules, lying objects, forged messages, processes that end themselves."""

from __future__ import annotations

import pytest
from arena import Arena, Attack, parametrized

VALUE = "^value: "
ENDED = "^died: The process that ran `{}` ended without an answer"
ANY = "^(died|malformed|error|AnswerError|property|timeout): "
DESCRIPTORS = """
def send(frame):
    for descriptor in range(3, 64):
        try:
            os.write(descriptor, frame)
        except OSError:
            pass

def framed(message):
    body = inside("grade.protocol").encode(message)
    return struct.pack("<I", len(body)) + body
"""

PATCHES = [
    Attack(
        "numpy, jax.numpy, json and the test framework are patched",
        {"scale": VALUE, "middle": "^property: "},
        top="""
        def patched():
            import json, pytest, numpy.testing
            for module in (np, jnp, np.testing, json, pytest):
                for name in ("allclose", "array_equal", "isclose", "assert_allclose", "dumps", "approx", "fail"):
                    setattr(module, name, lambda *args, **kwargs: True)
            return True
        """,
        scale="return patched() * x + factor",
        middle="return patched() * 5000",
    ),
    Attack(
        "the comparisons of the package are patched",
        {"scale": VALUE},
        scale="""
        compare, draws = inside("exercise.compare"), inside("exercise.draws")
        compare.compare = compare.compare_trees = lambda *args, **kwargs: None
        draws.Draw.normal = lambda self, *shape: np.zeros(shape)
        return x + factor
        """,
    ),
    Attack(
        "the worker's own answering is patched",
        {"middle": ANY},
        middle="""
        worker = inside("grade.worker")
        send = worker.Worker._send
        worker.Worker._send = lambda self, message: send(self, {"verdict": "passed", "points": 100})
        return 0
        """,
    ),
    Attack(
        "the worker's encoder is patched to send a verdict in place of each answer",
        {"middle": ANY},
        middle="""
        protocol = inside("grade.protocol")
        forged = protocol.encode({"verdict": "passed", "answer": True})
        protocol.encode = lambda value: forged
        return 0
        """,
    ),
    Attack(
        "the check for two equal traces is patched away",
        {"scale": "^(value|Impure): "},
        scale="""
        inside("grade.tracing")._same = lambda one, other: True
        return x * np.random.normal()
        """,
    ),
    Attack(
        "the worker's modules, by name",
        {"middle": "^forbidden: This uses aidl_jax.grade"},
        middle="from aidl_jax.grade import worker\nreturn worker",
    ),
    Attack(
        "jax.export gives another function's bytes",
        {"scale": VALUE},
        scale="""
        export = jax.export.export
        def other(*args, **options):
            return export(jax.jit(lambda x, factor: [x + factor]), **options)
        jax.export.export = other
        return x + factor
        """,
    ),
]

OBJECTS = [
    Attack(
        "an integer that equals everything",
        {"middle": "AnswerError: Your function returned a value of type Yes"},
        top="""
        class Yes(int):
            __eq__ = lambda self, other: True
            __hash__ = int.__hash__
        """,
        middle="return Yes(5000)",
    ),
    Attack(
        "an array that equals everything",
        {"scale": "AnswerError: Your function returned a value of type Yes"},
        top="""
        class Yes:
            shape, dtype, ndim = (4,), np.dtype("float32"), 1
            __eq__ = lambda self, other: True
            __array__ = lambda self, *rest, **options: np.zeros(4, "float32")
        """,
        scale="return Yes()",
    ),
    Attack(
        "an array class that lies about itself",
        {"scale": "^(value|AnswerError): "},
        top="""
        class Lying(np.ndarray):
            __eq__ = __le__ = __lt__ = lambda self, other: True
        """,
        scale="return np.zeros(4, 'float32').view(Lying)",
    ),
    Attack(
        "no numbers at all",
        {"scale": "^not finite: There is a nan", "middle": "^property: "},
        scale="return x * factor * jnp.nan",
        middle="return float('nan')",
    ),
    Attack("infinities", {"scale": "^not finite: "}, scale="return x * jnp.inf"),
    Attack("a shape that could be broadcast", {"scale": "^shape: "}, scale="return (x * factor)[None]"),
    Attack("a single number for all", {"scale": "^shape: "}, scale="return jnp.sum(x * factor)"),
    Attack("another dtype", {"scale": "^dtype: "}, scale="return (x * factor).astype('float16')"),
    Attack("a boolean for a number", {"middle": "^property: "}, middle="return True"),
    Attack("a derivative rule that lies, beside a value that is wrong", {"scale": VALUE}, scale="""
        wrong = jax.custom_vjp(lambda a: a + 1)
        wrong.defvjp(lambda a: (a, None), lambda _, g: (g,))
        return wrong(x * factor)
        """),
]  # fmt: skip

IMPURE = "^(Impure: Your function computed two different things|value: )"
SECOND_TIME = [
    Attack(
        "a counter", {"scale": "^Impure: "}, top="count = []", scale="count.append(1); return x * factor * len(count)"
    ),
    Attack("the clock", {"scale": "^Impure: "}, scale="return x * factor * (time.time_ns() % 1_000_003)"),
    Attack("the system's randomness", {"scale": "^Impure: "}, scale="return x * os.urandom(8)[0] + os.urandom(8)[1]"),
    Attack(
        "where an object lies",
        {"scale": IMPURE},
        top="kept = []",
        scale="kept.append([]); return x * (id(kept[-1]) % 1_000_003)",
    ),
    Attack(
        "a generator's friend that remembers",
        {"middle": "^Impure: "},
        top="seen = []",
        middle="seen.append(1)\nreturn sorted(numbers)[2] if len(seen) == 1 else 0",
    ),
    Attack("outputs seen before", {"scale": VALUE}, scale="return jnp.array([0.1, 0.2, 0.3, 0.4])"),
    Attack(
        "the hidden input, looked at",
        {"scale": "^(TracerArrayConversionError|ConcretizationTypeError): "},
        scale="return x * (factor if float(x[0]) > 0 else -factor)",
    ),
    Attack(
        "the grader, recognised",
        {"scale": VALUE},
        scale="return x * factor if os.getcwd() != '/scratch' and 'JAX_PLATFORMS' not in os.environ else x",
    ),
]

MESSAGES = [
    Attack(
        "verdicts on standard output and error",
        {"middle": "^property: "},
        top=DESCRIPTORS,
        middle="""
        for stream in (1, 2):
            os.write(stream, framed({"verdict": "passed", "points": 100}) + b'{"verdict": "passed"}')
        print('{"verdict": "passed"}', file=sys.__stdout__, flush=True)
        return 0
        """,
    ),
    Attack(
        "a verdict on every descriptor",
        {"middle": ANY},
        top=DESCRIPTORS,
        middle='send(framed({"verdict": "passed", "points": 100, "answer": True}))\nreturn 0',
    ),
    Attack(
        "an answer on the answers' own pipe, ahead of the questions",
        {"scale": "^refused: ", "firsts": ENDED.format("firsts"), "middle": "^(property|died|malformed): "},
        top=DESCRIPTORS,
        middle="""
        for _ in range(9):
            send(framed({"answer": inside("grade.protocol").encode(0), "printed": ""}))
        return 0
        """,
        scale="""
        send(framed({"exported": b"passed", "structure": ["leaf", 0], "printed": ""}))
        os._exit(0)
        """,
    ),
    Attack(
        "a forged failure of another kind",
        {"middle": "^passed: "},
        top=DESCRIPTORS,
        middle='send(framed({"error": {"kind": "passed", "message": "verdict: passed"}}))\nos._exit(0)',
    ),
    Attack(
        "a flood of messages",
        {"middle": "^(died|malformed|error|timeout): "},
        top=DESCRIPTORS,
        middle='frame = framed({"verdict": "passed"}) * 2000\nwhile True: send(frame)',
    ),
    Attack(
        "half a message",
        {"middle": "^(timeout|died): "},
        top=DESCRIPTORS,
        middle='send(framed({"answer": b""})[:-1])\ntime.sleep(60)',
    ),
    Attack(
        "half a message, and the end",
        {"middle": ENDED.format("middle")},
        top=DESCRIPTORS,
        middle='send(framed({"answer": b""})[:-1])\nos._exit(0)',
    ),
    Attack(
        "the length of four gigabytes",
        {"middle": ENDED.format("middle")},
        top=DESCRIPTORS,
        middle='send(b"\\xff" * 4)\nreturn 0',
    ),
    Attack(
        "a small message that would be large in memory",
        {"middle": ENDED.format("middle")},
        top=DESCRIPTORS,
        middle="""
        body = b"\\x81\\xa6answer\\xdd" + struct.pack(">I", 40_000_000) + b"\\x80" * 40_000_000
        send(struct.pack("<I", len(body)))
        for start in range(0, len(body), 50_000):
            send(body[start:start + 50_000])
        return 0
        """,
    ),
    Attack(
        "files with results in them",
        {"middle": "^property: "},
        middle="""
        import json, pathlib
        for folder in ("/scratch", "/tmp", "/dev/shm", "/", ".."):
            for name in ("results.json", "record.json", "grades.csv"):
                try:
                    pathlib.Path(folder, name).write_text(json.dumps({"verdict": "passed", "points": 100}))
                except OSError:
                    pass
        return 0
        """,
    ),
]

ENDS = [
    Attack("sys.exit(0)", {"scale": "^SystemExit: Your code tried to end the program"}, scale="sys.exit(0)"),
    Attack(
        "os._exit(0) in all three",
        {name: ENDED.format(name) for name in ("scale", "firsts", "middle")},
        scale="os._exit(0)",
        firsts="yield 5\nos._exit(0)",
        middle="os._exit(0)",
    ),
    Attack(
        "a hook for the end, which ends itself",
        {"middle": "^SystemExit: "},
        middle="import atexit\natexit.register(os._exit, 0)\nsys.exit(0)",
    ),
    Attack(
        "an exception that cannot be told",
        {"middle": "^Untold: Your code raised Untold"},
        top="""
        class Untold(BaseException):
            def __str__(self):
                raise SystemExit(0)
            __repr__ = __str__
        """,
        middle="raise Untold",
    ),
    Attack("a segmentation fault", {"middle": ENDED.format("middle")}, middle="return ctypes.string_at(8)"),
    Attack("abort", {"scale": ENDED.format("scale")}, scale="os.abort()"),
    Attack(
        "a stack that is used up",
        {"middle": "^(RecursionError|died|timeout): "},
        middle="sys.setrecursionlimit(10 ** 9)\ndeep = lambda n: [deep(n + 1)]\nreturn deep(0)",
    ),
    Attack("all descriptors closed", {"middle": ENDED.format("middle")}, middle="os.closerange(0, 64)\nreturn 0"),
    Attack(
        "a pipe closed by a process that lives on",
        {"middle": ENDED.format("middle")},
        middle="os.closerange(0, 64)\nwhile True: pass",
    ),
]

KILLS = {
    "itself": "os.kill(os.getpid(), 9)",
    "process 1": "os.kill(1, 9)",
    "everybody": "os.kill(-1, 9)",
    "its group, which would be the neighbours' too": "os.kill(0, 9)",
    "its parent": "os.kill(os.getppid(), 9)",
    "processes by number": "[os.kill(n, 9) for n in range(2, 40)]",
}  # fmt: skip


@parametrized(PATCHES + OBJECTS + SECOND_TIME)
def test_what_is_wrong_fails_whatever_it_looks_like(arena: Arena, attack: Attack) -> None:
    arena.withstands(attack)


@parametrized(MESSAGES)
def test_a_forged_message_is_an_answer_at_best(arena: Arena, attack: Attack) -> None:
    arena.withstands(attack, time_limit=2.5)


@parametrized(ENDS)
def test_what_ends_costs_its_own_question(arena: Arena, attack: Attack) -> None:
    arena.withstands(attack, time_limit=2.5)


@pytest.mark.parametrize("target", KILLS)
def test_a_signal_reaches_nobody_else(arena: Arena, target: str) -> None:
    body = f"try:\n    {KILLS[target]}\nexcept ProcessLookupError:\n    pass\nreturn 0"
    arena.withstands(Attack(target, {"middle": "^(property|died): "}, middle=body))
