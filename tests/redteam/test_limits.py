"""What would take too much: time, processes, memory, disk, descriptors, output. Each limit holds, and is named."""

from __future__ import annotations

from arena import SMALL, Arena, Attack, grade, hand_in, parametrized, said

from aidl_jax.grade.nursery import Nursery
from aidl_jax.grade.sandbox import Limits

LATE = "^timeout: `{}` did not come to an end within 2.5 seconds"
ALL = ("scale", "firsts", "middle")
PROCESS = "^limit: Your code tried to start another process"
MEMORY = "^limit: (Your code asked for more memory|.*ended: it needed more memory than the 1,280 MiB)"
FILE = "^limit: Your code wrote a larger file"
DISK = "^limit: Your code wrote more to disk"
OPEN = "^limit: Your code had more files open"

ENDLESS = [
    Attack(
        "a loop at the top level",
        {name: "^timeout: The file's top level did not come to an end" for name in ALL},
        top="def forever():\n    while True: pass\nlimit = forever()",
        scale="return x * limit",
        firsts="yield limit",
        middle="return limit",
    ),
    Attack(
        "loops in all functions",
        {name: LATE.format(name) for name in ALL},
        scale="while True: x = x + 1",
        firsts="while True: pass\nyield 1",
        middle="while True: pass",
    ),
    Attack(
        "a loop in XLA",
        {"scale": LATE.format("scale")},
        scale="return jax.lax.while_loop(lambda c: c[0] == c[0], lambda c: c + 0 * factor, x * 0)",
    ),
    Attack(
        "an alarm switched off, every exception swallowed",
        {"middle": LATE.format("middle")},
        middle="""
        while True:
            try:
                signal.alarm(0)
                signal.setitimer(signal.ITIMER_REAL, 0)
                threading.Timer.cancel(threading.current_thread())
            except BaseException:
                pass
        """,
    ),
    Attack(
        "the worker's watchdog disarmed",
        {"middle": LATE.format("middle")},
        middle="""
        for thread in threading.enumerate():
            if isinstance(thread, threading.Timer): thread.cancel()
        while True: pass
        """,
    ),
    Attack(
        "a lock held in C: a regular expression",
        {"middle": LATE.format("middle")},
        middle="import re\nreturn re.fullmatch('(a+)+b', 'a' * 60)",
    ),
    Attack("a lock held in C: a power", {"middle": LATE.format("middle")}, middle="return 3 ** (1 << 30)"),
    Attack("output without an end", {"middle": LATE.format("middle")}, middle="while True: os.write(1, bytes(1 << 20))"),
    Attack(
        "a worker that reads no more questions",
        {"firsts": LATE.format("firsts")},
        scale="inside('grade.protocol').read_message = lambda *rest: time.sleep(3600)\nreturn x * factor",
    ),
    Attack("sleep", {"middle": LATE.format("middle")}, middle="time.sleep(3600)"),
    Attack("stopped by its own signal, or not", {"middle": "^(property|timeout): "}, middle="os.kill(0, 19)\nreturn 0"),
    Attack("a generator that only asks", {"firsts": "^timeout: "}, firsts="while True: next(stream)\nyield 1"),
    Attack("a generator that never stops", {"firsts": "^(limit|timeout|property): "}, firsts="while True: yield np.zeros(100_000)"),
    Attack("threads left behind that sleep", {}, middle="""
        for _ in range(9): threading.Thread(target=time.sleep, args=(3600,)).start()
        return sorted(numbers)[2]
        """),
    Attack("a loop that is written out", {"scale": "^timeout: "}, scale="for _ in range(10 ** 9): x = x + factor\nreturn x"),
]  # fmt: skip

PROCESSES = [
    Attack("os.fork", {"middle": PROCESS}, middle="while True: os.fork()"),
    Attack("subprocess", {"middle": PROCESS}, middle="import subprocess\nwhile True: subprocess.Popen(['/bin/sh'])"),
    Attack("os.system", {"middle": "^property: "}, middle="return os.system('sleep 60 &')"),
    Attack("posix_spawn", {"middle": PROCESS}, middle="while True: os.posix_spawn('/usr/bin/python3', ['python3'], {})"),
    Attack("multiprocessing", {"middle": PROCESS}, middle="""
        import multiprocessing
        while True: multiprocessing.get_context('fork').Process(target=time.sleep, args=(9,)).start()
        """),
    Attack("exec", {"middle": PROCESS}, middle="os.execv(sys.executable, [sys.executable, '-c', 'while True: pass'])"),
    Attack(
        "clone, by its number",
        {"middle": r"^RuntimeError: .*\[\(-1, 11\), \(-1, 38\)\]"},
        middle="""
        libc = ctypes.CDLL(None, use_errno=True)
        numbers = (56, 435) if os.uname().machine == 'x86_64' else (220, 435)
        raise RuntimeError([(libc.syscall(n, 17, 0, 0, 0, 0), ctypes.get_errno()) for n in numbers])
        """,
    ),
    Attack("threads", {"middle": "^limit: Your code started more threads"}, middle="""
        while True: threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()
        """),
]  # fmt: skip

MEMORIES = [
    Attack("a list", {"middle": MEMORY}, middle="kept = []\nwhile True: kept.append(bytearray(64 << 20))"),
    Attack("NumPy", {"middle": MEMORY}, middle="return np.ones(10 ** 11)"),
    Attack("a constant while it is traced", {"scale": MEMORY}, scale="return x + jnp.asarray(np.ones((10 ** 11, 4)))"),
    Attack("an array of 100 GB when it runs", {"scale": "^refused: .*is larger than 1,024 MiB"}, scale="return x + jnp.ones((6_250_000_000, 4))"),
    Attack("many arrays of 600 MB when it runs", {"scale": "^limit: .*ended: it needed more memory than the 1,280 MiB"}, scale="""
        kept = [jnp.cumsum(jnp.full((150_000_000,), x[i])) for i in range(4)]
        return jnp.stack([jnp.dot(one, kept[0]) + jnp.sort(one)[7] for one in kept])
        """),
    Attack("mmap", {"middle": MEMORY}, middle="import mmap\nreturn mmap.mmap(-1, 8 << 30)"),
    Attack("memfd_create", {"middle": "^PermissionError: "}, middle="return os.memfd_create('x')"),
    Attack("shared memory segments", {"middle": r"^RuntimeError: .*\(-1, 1\)"}, middle="""
        libc = ctypes.CDLL(None, use_errno=True)
        raise RuntimeError((libc.shmget(0, 1 << 30, 0o1600), ctypes.get_errno()))
        """),
    Attack("/dev/shm", {"middle": DISK}, middle="""
        for n in range(9): open(f'/dev/shm/{n}', 'wb').write(bytes(1 << 20))
        """),
    Attack("pipes that are never read", {"middle": OPEN}, middle="""
        while True:
            end = os.pipe()[1]
            os.set_blocking(end, False)
            os.write(end, bytes(65536))
        """),
    Attack("an answer that is too large to look at", {"scale": "^limit: `scale` returned 80,000,000 bytes in all"}, scale="return jnp.zeros(20_000_000) * factor"),
    Attack("elements that are too large together", {"firsts": "^(limit: Your generator yielded|timeout)"}, firsts="""
        for _ in range(9): yield np.zeros(30_000_000, 'int8')
        """),
    Attack("a list of a million numbers", {"middle": "AnswerError: .*more than 100,000 values"}, middle="return [0] * 1_000_000"),
]  # fmt: skip

DISKS = [
    Attack("one large file", {"middle": FILE}, middle="open('x', 'wb').write(bytes(2 << 20))"),
    Attack("a file with a hole", {"middle": FILE}, middle="open('x', 'wb').truncate(1 << 40)"),
    Attack("a full disk", {"middle": DISK}, middle="for n in range(9): open(f'{n}', 'wb').write(bytes(1 << 20))"),
    Attack("many small files", {"middle": DISK}, middle="for n in range(9_000): open(f'{n}', 'wb').close()"),
    Attack("many links", {"middle": DISK}, middle="for n in range(9_000): os.symlink('/', f'{n}')"),
    Attack("open files", {"middle": OPEN}, middle="kept = [open('/dev/null') for _ in range(999)]"),
    Attack("a gigabyte printed", {"middle": "^property: "}, middle="for _ in range(10): print('x' * 10 ** 8)\nreturn 0"),
    Attack("a gigabyte on standard error", {"middle": FILE}, middle="for _ in range(1_000): os.write(2, bytes(1 << 20))"),
]  # fmt: skip


@parametrized(ENDLESS)
def test_time_is_limited_from_outside(arena: Arena, attack: Attack) -> None:
    arena.withstands(attack, time_limit=2.5)


@parametrized(PROCESSES)
def test_no_process_is_started(arena: Arena, attack: Attack) -> None:
    arena.withstands(attack)


@parametrized(MEMORIES)
def test_memory_is_limited(arena: Arena, attack: Attack) -> None:
    arena.withstands(attack)


@parametrized(DISKS)
def test_what_is_written_is_limited(arena: Arena, attack: Attack) -> None:
    arena.withstands(attack)


def test_processor_time_is_limited_over_all_threads() -> None:
    busy = "for _ in range(4): threading.Thread(target=any, args=(iter(int, 1),)).start()\ntime.sleep(60)"
    with Nursery(Limits(cpu=2, memory=SMALL.memory)) as nursery:
        texts = said(grade(hand_in(middle=busy), nursery, time_limit=20))
    assert (
        "limit: The process that ran `middle` was ended: it used all of the 2 seconds of processor time"
        in texts["middle"]
    )
    assert texts["scale"] == texts["firsts"] == ""
