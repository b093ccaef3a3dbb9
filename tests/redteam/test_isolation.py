"""What must not be reached: secrets, the grader, the network, other processes, other people's files, the next fork."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from arena import SECRET, SPELLED, Arena, Attack, grade, hand_in, parametrized, said

import aidl_jax

PACKAGE = Path(aidl_jax.__file__).parent
REPOSITORY = PACKAGE.parent
NOTHING = r"^RuntimeError: Your code raised RuntimeError: \[\]"
FORBIDDEN = r"^RuntimeError: Your code raised RuntimeError: \[(\(-1, (1|13|22)\)(, )?)+\]"
CALLS = """
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long

def call(name, *arguments):
    return getattr(libc, name)(*arguments), ctypes.get_errno()
"""


def looking(name: str, body: str, pattern: str = NOTHING, top: str = "") -> Attack:
    """An attack that tells what it has found."""
    return Attack(name, {"middle": pattern}, top=top, middle=body)


SECRETS = [
    looking("the environment", f"raise RuntimeError([name for name in os.environ.items() if {SPELLED} in str(name)])"),
    looking(
        "all objects, frames and constants",
        f"""
        gc.unfreeze()
        known = {SPELLED}
        texts = [str(value)[:4000] for thing in gc.get_objects() if isinstance(thing, dict) for value in list(thing.values())
                 if isinstance(value, (str, bytes, tuple))]
        codes = [str(f.__code__.co_consts) + str(f.__defaults__) for f in gc.get_objects() if isinstance(f, type(inside))]
        frame = sys._getframe()
        while frame:
            texts += [str(frame.f_code.co_consts), str([v for v in frame.f_locals.values() if isinstance(v, str) and v != known])]
            frame = frame.f_back
        raise RuntimeError([text[:80] for text in texts + codes if known in text and text != known])
        """,
    ),
    looking(
        "the modules that judge",
        """
        found = [name for name in sys.modules if name.startswith('aidl_jax') and name.rpartition('.')[2] in
                 ('judge', 'session', 'classroom', 'course', 'process', 'answers', 'record', 'handin')
                 and sys.modules[name] is not None]
        for name in ('course', 'course.s02', 'grade.judge', 'grade.session', 'grade.classroom', 'grade.process', 'handout', 'cli'):
            sys.modules.pop('aidl_jax.' + name, None)
            try:
                module = inside(name)
                found += [name] if getattr(module, '__file__', None) or list(module.__path__) and os.listdir(module.__path__[0]) else []
            except ImportError:
                pass
        raise RuntimeError([name for name in found if name != 'cli'])
        """,
    ),
    looking(
        "the files that judge, solve or test",
        f"""
        found = [name for name in ('solutions', 'tests', 'examples', 'exercises', 'docs', '.git', 'pyproject.toml')
                 if os.path.exists({str(REPOSITORY)!r} + '/' + name)]
        for folder in ('course', 'handout'):
            found += os.listdir({str(PACKAGE)!r} + '/' + folder) if os.path.isdir({str(PACKAGE)!r} + '/' + folder) else []
        found += [name for name in os.listdir({str(PACKAGE)!r} + '/grade')
                  if name.startswith(('judge', 'session', 'classroom', 'process', 'answers', 'handin', '__pycache__'))]
        raise RuntimeError(found)
        """,
    ),
    looking(
        "other people's folders",
        """
        found = []
        for folder in ('/root', '/home', '/tmp', '/var', '/run', '/etc', '/proc', '/sys', '/mnt', '/scratch', '/dev/shm', '/boot'):
            try:
                found += [f'{folder}/{name}' for name in os.listdir(folder)]
            except OSError:
                pass
        raise RuntimeError([name for name in found if name not in ALLOWED])
        """,
        top=f"""
        def above(path):
            parts = path.split('/')
            return ['/'.join(parts[:n]) for n in range(2, len(parts) + 1)]
        ALLOWED = {{'/etc/ld.so.cache', *above({str(PACKAGE)!r}), *above(sys.prefix), *above(sys.base_prefix)}}
        """,
    ),
    looking(
        "/proc",
        """
        found = os.listdir('/proc')
        for path in ('self/environ', 'self/maps', '1/mem', '1/cmdline', 'self/fd', 'mounts', 'self/root', 'kallsyms'):
            found += [path] if os.path.lexists('/proc/' + path) else []
        raise RuntimeError(found)
        """,
    ),
    looking(
        "descriptors that were left open",
        """
        kinds = []
        for number in range(3, 64):
            try:
                kinds.append((os.readlink if False else lambda n: os.fstat(n).st_mode & 0o170000)(number))
            except OSError:
                pass
        raise RuntimeError([kind for kind in kinds if kind not in (0o010000, 0o140000)][1:])  # pipes; one of XLA's own at most
        """,
        r"^RuntimeError: Your code raised RuntimeError: \[\]",
    ),
]

OTHERS = [
    looking(
        "ptrace and other people's memory",
        """
        raise RuntimeError([call('ptrace', 16, n, 0, 0) for n in (0, 1, 2)] + [call('process_vm_readv', n, 0, 0, 0, 0, 0) for n in (1, 2)]
                           + [call('process_vm_writev', 1, 0, 0, 0, 0, 0)])
        """,
        FORBIDDEN,
        CALLS,
    ),
    looking(
        "mounting and unmounting",
        """
        raise RuntimeError([call('mount', b'proc', b'/proc', b'proc', 0, None), call('umount2', b'/proc', 2), call('umount2', b'/scratch', 2),
                            call('mount', b'/', b'/scratch', None, 4096, None), call('chroot', b'/scratch')])
        """,
        FORBIDDEN,
        CALLS,
    ),
    looking(
        "new namespaces, and old ones",
        "raise RuntimeError([call('unshare', 0x10000000), call('unshare', 0x20000), call('setns', 3, 0), call('setns', 0, 0)])",
        FORBIDDEN,
        CALLS,
    ),
    looking(
        "becoming somebody else",
        """
        raise RuntimeError([call('setuid', 0), call('setgid', 0), call('setresuid', 0, 0, 0), call('setgroups', 1, (ctypes.c_int * 1)(0)),
                            call('prctl', 38, 0, 0, 0, 0), call('prctl', 24, 64, 0, 0, 0), call('prctl', 22, 0, 0, 0, 0)])
        """,
        FORBIDDEN,
        CALLS,
    ),
    looking(
        "kernel interfaces",
        """
        raise RuntimeError([call('syscall', n, 0, 0, 0, 0, 0) for n in
                            ((250, 298, 321, 323, 425, 103) if os.uname().machine == 'x86_64' else (219, 241, 280, 282, 425, 116))])
        """,
        FORBIDDEN,
        CALLS,
    ),
    looking(
        "higher limits",
        """
        import resource
        raised = []
        for name in ('CPU', 'AS', 'NPROC', 'NOFILE', 'FSIZE', 'CORE', 'MEMLOCK', 'MSGQUEUE'):
            kind = getattr(resource, 'RLIMIT_' + name)
            soft, hard = resource.getrlimit(kind)
            try:
                resource.setrlimit(kind, (hard + 1, hard + 1))
                raised.append(name)
            except (ValueError, OSError):
                pass
        raise RuntimeError(raised)
        """,
    ),
    looking(
        "device nodes and hard links",
        """
        made = []
        for make in (lambda: os.mknod('d', 0o60666, os.makedev(8, 0)), lambda: os.link(sys.executable, 'python'),
                     lambda: os.open('/dev/kmsg', 1), lambda: os.open('/dev/mem', 0), lambda: os.mknod('/dev/sda', 0o60666, 2048)):
            try:
                made.append(make())
            except OSError:
                pass
        raise RuntimeError(made)
        """,
    ),
]

WRITING = [
    looking(
        "packages, caches and the system",
        """
        import jax, sysconfig
        folders = [sysconfig.get_path('purelib'), os.path.dirname(jax.__file__), os.path.dirname(jax.__file__) + '/__pycache__',
                   os.path.dirname(inside('errors').__file__), os.path.dirname(inside('grade.worker').__file__), '/', '/usr/lib', '/etc',
                   '/dev', sys.prefix, sys.base_prefix, os.path.expanduser('~/../root'), '/proc', '/sys', '/home', '/root']
        written = []
        for folder in folders:
            for name in ('sitecustomize.py', 'evil.pth', 'json.py', '__init__.py', 'x.pyc'):
                try:
                    open(folder + '/' + name, 'w').close()
                    written.append(folder)
                except OSError:
                    pass
        raise RuntimeError(written)
        """,
    ),
]

LEAVING = """
def leave():
    import json, builtins
    for folder in ('/scratch', '/dev/shm'):
        for name in ('json.py', 'numpy.py', 'sitecustomize.py', 'conftest.py', 'left.pth', 'usercustomize.py'):
            open(f'{folder}/{name}', 'w').write('import os; os._exit(0)')
    builtins.left = np.left = jax.left = 'here'
    json.loads = json.dumps = lambda *args, **options: {}
    sys.path.insert(0, '/scratch')
    os.environ['PYTHONPATH'] = os.environ['LEFT'] = '/scratch'
    jax.config.update('jax_compilation_cache_dir', '/scratch')
"""
FINDING = """
import builtins, json
found = [name for name in os.listdir('/scratch') + os.listdir('/dev/shm')]
found += ['state' for holder in (builtins, np, jax) if hasattr(holder, 'left')]
found += ['path'] if '/scratch' in sys.path or 'LEFT' in os.environ or 'PYTHONPATH' in os.environ else []
found += ['json'] if json.loads('[1]') != [1] else []
found += ['cache'] if jax.config.jax_compilation_cache_dir else []
raise RuntimeError(found)
"""

CONNECT = """
reached = []
for family, address in TRIED:
    try:
        one = socket.socket(family, socket.SOCK_STREAM)
        one.settimeout(1)
        one.connect(address)
        reached.append(address)
    except OSError:
        pass
raise RuntimeError(reached)
"""


@parametrized(SECRETS)
def test_no_secret_is_in_the_sandbox(arena: Arena, attack: Attack) -> None:
    arena.withstands(attack)


@parametrized(OTHERS)
def test_nothing_is_done_to_others(arena: Arena, attack: Attack) -> None:
    arena.withstands(attack)


@parametrized(WRITING)
def test_nothing_is_written_outside_of_its_scratch_space(arena: Arena, attack: Attack) -> None:
    before = sorted(path.name for path in REPOSITORY.iterdir())
    arena.withstands(attack)
    assert sorted(path.name for path in REPOSITORY.iterdir()) == before


@pytest.fixture
def listening() -> Iterator[list[tuple[int, object]]]:
    """Sockets of ours that a hand-in might reach: by port, by file, by an abstract name."""
    with contextlib.ExitStack() as held:
        port = held.enter_context(socket.socket())
        port.bind(("127.0.0.1", 0))
        named = held.enter_context(socket.socket(socket.AF_UNIX))
        named.bind("\0aidl-red-team")
        for one in (port, named):
            one.listen()
        yield [(int(socket.AF_INET), port.getsockname()), (int(socket.AF_UNIX), "\0aidl-red-team")]


def test_no_socket_is_reached(arena: Arena, listening: list[tuple[int, object]]) -> None:
    elsewhere = [(int(socket.AF_INET), ("192.0.2.1", 80)), (int(socket.AF_INET6), ("::1", 22)), (40, (2, 1024))]
    arena.withstands(looking("sockets", CONNECT, top=f"TRIED = {listening + elsewhere!r}"))


@pytest.mark.parametrize("family", ["AF_INET", "AF_INET6", "AF_UNIX", "AF_NETLINK", "AF_PACKET", "AF_VSOCK", "AF_ALG"])
def test_no_socket_is_made(arena: Arena, family: str) -> None:
    arena.withstands(
        Attack(family, {"middle": "^(PermissionError|OSError): "}, middle=f"return socket.socket(socket.{family})")
    )


def test_no_name_is_looked_up(arena: Arena) -> None:
    body = "return socket.getaddrinfo('localhost.localdomain', 80)"
    arena.withstands(Attack("a name", {"middle": "^gaierror: "}, middle=body))


@pytest.mark.parametrize("end", ["return 0", "os._exit(0)"])
def test_nothing_is_left_for_the_next_fork(arena: Arena, end: str) -> None:
    leaves = Attack("leaves", {"middle": "^(property|died): "}, top=LEAVING, middle=f"leave()\n{end}")
    arena.withstands(leaves)
    arena.withstands(looking("finds", FINDING))


def test_nothing_is_left_for_the_restarted_worker_of_the_same_hand_in(arena: Arena) -> None:
    texts = said(grade(hand_in(LEAVING, scale="leave()\nos._exit(0)", middle=FINDING), arena.nursery))
    assert "RuntimeError: []" in texts["middle"]
    assert texts["firsts"] == ""


def test_the_secret_would_be_found_if_it_were_there(arena: Arena) -> None:
    held = f"held = {{'held': 'it is {SECRET} here'}}"
    attack = looking("what is there", SECRETS[1].middle, "mangold", top=held)
    with pytest.raises(AssertionError, match=r"raised RuntimeError: \[."):
        arena.withstands(replace(attack, scale="held; return x * factor"))
