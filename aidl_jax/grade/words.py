"""What Python's and JAX's errors say, in a student's words: two tables, by an error's class and by its text."""

from __future__ import annotations

import errno
import re
from collections.abc import Callable

TRACER = r"\b[\w.]*Tracer\b(?:[(<][^()<>]*[)>])?"  # what JAX calls an array without a value, in its own messages

Words = tuple[str, str | None]


def scrub(text: str) -> str:
    """Without memory addresses and the folders of this machine, which differ from run to run and place to place.

    >>> scrub('File "/home/me/lib/aidl_jax/grade/worker.py", line 3, in <f at 0x7f12ab34cd>')
    'File ".../grade/worker.py", line 3, in <f at 0x...>'
    >>> scrub("tracing the function f at /home/me/lib/aidl_jax/grade/tracing.py:96 for jit")
    'tracing the function f at .../grade/tracing.py:96 for jit'
    """
    text = re.sub(r"0x[0-9a-f]{6,}", "0x...", text)
    text = re.sub(r" at (?:/|[A-Z]:\\)\S*?([^/\\\s]+)[/\\]([^/\\\s]+\.py:)", r" at .../\1/\2", text)
    return re.sub(r'File "[^"\n]*[/\\]([^"/\\\n]+)[/\\]([^"/\\\n]+)"', r'File ".../\1/\2"', text)


def _first_line(error: BaseException) -> str:
    lines = scrub(str(error)).strip().splitlines()
    return re.sub(TRACER, "JAX array", lines[0].strip()) if lines else ""


def limit_words(error: BaseException) -> Words | None:
    """What is said where code has run into a limit on what it may use; None for other errors."""
    match error:
        case MemoryError():
            return BY_ERRNO[errno.ENOMEM]
        case OSError() if error.errno in BY_ERRNO:
            return BY_ERRNO[error.errno]
        case RuntimeError() if "can't start new thread" in str(error):
            return "Your code started more threads than an answer may have.", "Do the work in one thread."
    return None


def words_for(error: BaseException) -> Words:
    """What happened and what to try, by the exception's class, else by its text."""
    names = [cls.__name__ for cls in type(error).__mro__]
    by_name = next((BY_NAME[name] for name in names if name in BY_NAME), None)
    return by_name(error) if by_name is not None else words_by_text(error)


def words_by_text(error: BaseException) -> Words:
    """What happened and what to try, by the exception's text."""
    text = str(error)
    for pattern, words in BY_TEXT:
        found = re.search(pattern, text)
        if found:
            return words(found)
    said = _first_line(error)
    return f"Your code raised {type(error).__name__}" + (f": {said}" if said else "."), None


def _not_implemented(error: BaseException) -> Words:
    said = _first_line(error)
    return (f"{said.rstrip('.')}." if said else "This is still to be written."), None


def _import(error: BaseException) -> Words:
    name = getattr(error, "name", None)
    absent = re.match(r"cannot import name '(\w+)' from '([\w.]+)'", str(error))
    if absent:
        return f"There is no {absent[1]!r} in {absent[2]!r} to import.", "Check the spelling of both names."
    said = f"The module {name!r} cannot be imported here" if name else "An import failed"
    if not isinstance(error, ModuleNotFoundError) or name is None:
        said += f" ({_first_line(error)})"
    return f"{said}.", "Check the spelling; an answer may use jax, NumPy and Python's standard library."


def _bool(error: BaseException) -> Words:
    return (
        "Python needed a plain True or False here, but while JAX traces a function its arrays have no value yet.",
        "On arrays, replace `if` with jnp.where or jax.lax.cond, `while` with jax.lax.while_loop, and `and` with &.",
    )


def _concrete(error: BaseException) -> Words:
    if "size argument" in str(error):
        return (
            "The size of the result would depend on values, and while JAX traces a function there are none yet.",
            "Use jnp.where with three arguments, which keeps the shape, or give the function a `size=`.",
        )
    return (
        "Python needed a plain number here (for float(), int(), .item() or a shape), but while JAX traces a function "
        "its arrays have no value yet.",
        "Keep it an array: drop float(), int() or .item(), and take sizes from `.shape`, which is known.",
    )


def _integer(error: BaseException) -> Words:
    return (
        "Python needed a plain integer here (for range() or an index), but while JAX traces a function "
        "its arrays have no value yet.",
        "Use a size from `.shape`, or a loop of JAX's: jax.lax.fori_loop or jax.lax.scan.",
    )


def _numpy(error: BaseException) -> Words:
    return (
        "NumPy was called on a JAX array that is being traced; NumPy needs its values, and there are none yet.",
        "Write jnp. instead of np. here (`import jax.numpy as jnp`).",
    )


def _leak(error: BaseException) -> Words:
    return (
        "An array that was kept from an earlier call, in a global, a list or an attribute, was used again; "
        "while JAX traces a function, its arrays are good for that one call.",
        "Return the value from your function instead of storing it outside; nothing may be written outside a pure function.",
    )


def _mask(error: BaseException) -> Words:
    return (
        "An array was indexed with a boolean array, so the size of the result would depend on values that are not there yet.",
        "Use jnp.where(mask, x, 0) and keep the shape.",
    )


def _key(error: BaseException) -> Words:
    return (
        "The same random key is used twice, so the two results are not independent.",
        "Split it first: key, subkey = jax.random.split(key), and use each part once.",
    )


def _name(error: BaseException) -> Words:
    known = {"np": "Write jnp instead of np.", "lax": "It is called jax.lax.", "random": "JAX's is called jax.random."}
    fix = known.get(getattr(error, "name", None) or "", "Define it, import it, or check the spelling.")
    return f"{_first_line(error)[:1].upper()}{_first_line(error)[1:]}.", fix


def _unbound(error: BaseException) -> Words:
    named = re.search(r"'(\w+)'", str(error))
    which = f"The variable {named[1]!r}" if named else "A variable"
    return f"{which} is used before it has a value.", "Give it a value on every path that leads to this line."


def _recursion(error: BaseException) -> Words:
    return "A function calls itself without an end.", "Check what stops the recursion."


def _exit(error: BaseException) -> Words:
    return "Your code tried to end the program.", "Remove exit() and sys.exit()."


def _carry(found: re.Match[str]) -> Words:
    scan = "scan" in found.string and "loop_carry" not in found.string  # JAX makes a scan of many a fori_loop
    returns = (
        "The step given to jax.lax.scan returns a pair: first the new carry, then what this round collects. Let the carry "
        "come out"
        if scan
        else "Return the new carry, and nothing else,"
    )
    return (
        "The carry that your loop's step returns has another structure, shape or dtype than the carry it was given.",
        f"{returns} in the form in which it came in: nothing may change from () to (1,), or from int to float.",
    )


def _scope(error: BaseException) -> Words:
    """The package's own error about a variable: what to do, then what it was given and what it expected."""
    what, given, expected, fix = (getattr(error, name, None) or "" for name in ("what", "given", "expected", "fix"))
    here = ", ".join(filter(None, [given, expected and f"expected: {expected}"]))
    told = filter(None, [fix, here and f"here: {here}"])
    return f"{_capital(what)}.", " ".join(f"{_capital(one)}." for one in told) or None


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


BY_ERRNO: dict[int, Words] = {
    errno.EAGAIN: ("Your code tried to start another process, which an answer may not do.", "Do the work in this one."),
    errno.EMFILE: (
        "Your code had more files open at once than an answer may have.",
        "Close each one: `with open(...)`.",
    ),
    errno.EFBIG: ("Your code wrote a larger file than an answer may write.", "Write less, or nothing at all."),
    errno.ENOSPC: ("Your code wrote more to disk than an answer may keep.", "Write less, or nothing at all."),
    errno.ENOMEM: ("Your code asked for more memory than there is.", "Check the shapes that you create."),
}

BY_NAME: dict[str, Callable[[BaseException], Words]] = {
    "NotImplementedError": _not_implemented,
    "ImportError": _import,
    "TracerBoolConversionError": _bool,
    "TracerIntegerConversionError": _integer,
    "TracerArrayConversionError": _numpy,
    "NonConcreteBooleanIndexError": _mask,
    "ConcretizationTypeError": _concrete,
    "UnexpectedTracerError": _leak,
    "KeyReuseError": _key,
    "ScopeError": _scope,
    "UnboundLocalError": _unbound,
    "NameError": _name,
    "RecursionError": _recursion,
    "SystemExit": _exit,
}

BY_TEXT: list[tuple[str, Callable[[re.Match[str]], Words]]] = [
    (
        r"contracting dimensions to have the same shape, got \(?(\S+?),?\)? and \(?(\S+?),?\)?\.",
        lambda m: (
            f"A matrix product multiplies along axes of different length: {m[1]} and {m[2]}.",
            "Print the `.shape` of both; one of them may need `.T`, or the order may be the wrong way round.",
        ),
    ),
    (
        r"(?:[Ii]ncompatible shapes for broadcasting|could not be broadcast together)[^(]*(\(.*\))",
        lambda m: (
            f"Two arrays have shapes that do not fit together: {m[1]}.",
            "Shapes are matched from the last axis: sizes must be equal or 1. Print `.shape`, then sum over or add an axis.",
        ),
    ),
    (
        r"matmul: Input operand|matmul input operand|Incompatible \w+ for matmul|dot_general requires|not aligned: ",
        lambda m: (
            "A matrix product was given arrays whose shapes do not fit.",
            "Print the `.shape` of both; one of them may need `.T`.",
        ),
    ),
    (
        r"generator raised StopIteration",
        lambda m: (
            "The stream came to its end in the middle of your generator, and nothing caught the StopIteration.",
            "Put next(stream) in a `try:`, and say in `except StopIteration:` what happens at the end.",
        ),
    ),
    (
        r"does not support item assignment|JAX arrays are immutable",
        lambda m: ("JAX arrays cannot be changed in place.", "Make a new one: x = x.at[index].set(value)."),
    ),
    (
        r"scan got no values to scan over and .?length.? not provided",
        lambda m: ("jax.lax.scan was not told how often to run its step.", "Give it length=, a Python int."),
    ),
    (
        r"scan got value with no leading axis to scan over",
        lambda m: (
            "jax.lax.scan was given something to walk along that has no axis.",
            "How often to run goes into length=; where there is nothing to walk along, pass None.",
        ),
    ),
    (
        r"module 'jax' has no attribute '(scan|cond|switch|while_loop|fori_loop|map)'",
        lambda m: (f"There is no jax.{m[1]}.", f"It is called jax.lax.{m[1]}."),
    ),
    (
        r"'dict' object has no attribute '(\w+)'",
        lambda m: ("A dict's values are reached by their keys.", f'Write ["{m[1]}"] instead of .{m[1]}.'),
    ),
    (
        r"<locals>\.(\w+|<lambda>)\(\) (?:takes|missing)",
        lambda m: (
            f"{'A lambda of yours' if m[1] == '<lambda>' else f'Your inner function {m[1]}'} was called with another number "
            "of arguments than it takes.",
            "jax.lax.scan calls its step with two, step(carry, element), jax.lax.while_loop both its functions with one, the "
            "carry, and jax.lax.cond its functions with what stands behind them, often nothing.",
        ),
    ),
    (
        r"setting an array element with a sequence\.$",
        lambda m: (
            "A NumPy array was given a JAX array to keep; NumPy needs its value, and while JAX traces there is none yet.",
            "Make the array with jnp, and set with x = x.at[index].set(value).",
        ),
    ),
    (
        r"truth value of an array with more than one element",
        lambda m: (
            "Python needed one True or False here (for `if`, `and`, `or` or `not`), and this array has many.",
            "Combine arrays with & and |, each comparison in brackets; choose with jnp.where; reduce with jnp.all or jnp.any.",
        ),
    ),
    (
        r"Only integer scalar arrays can be converted to a scalar index",
        lambda m: (
            "Python needed a plain integer here (for range() or an index), and was given an array.",
            "Use a size from `.shape`, or a loop of JAX's: jax.lax.fori_loop or jax.lax.scan.",
        ),
    ),
    (
        r"Shapes must be 1D sequences of concrete values",
        lambda m: (
            "A shape must be made of plain integers; here it depends on the values of an array.",
            "Take sizes from `.shape` of an input, which is known.",
        ),
    ),
    (
        r"Gradient only defined for scalar-output functions. Output was None",
        lambda m: (
            "The function that was given to jax.grad returns None.",
            "Did you forget `return`? It must return the loss, a single number.",
        ),
    ),
    (
        r"Gradient only defined for scalar-output functions",
        lambda m: (
            "jax.grad was given a function that returns more than one number.",
            "Differentiate the loss, which is a single number, or use jax.jacobian.",
        ),
    ),
    (
        r"Reverse-mode differentiation does not work for lax.while_loop",
        lambda m: (
            "JAX cannot differentiate backwards through a loop whose number of steps is not known beforehand.",
            "Use jax.lax.scan, or jax.lax.fori_loop with plain numbers as its bounds.",
        ),
    ),
    (
        r"(?:body function carry|body_fun) \w+ and (?:carry )?\w+ must have",
        _carry,
    ),
    (
        r"(?:branches|branch \d+|true_fun|false_fun) .*must have|branch outputs must",
        lambda m: (
            "The branches of a jax.lax.cond or jax.lax.switch return different structures, shapes or dtypes.",
            "Let all branches return the same form; compare the `.shape` and `.dtype` of what they return.",
        ),
    ),
    (
        r"Pred must be a scalar",
        lambda m: (
            "The condition of jax.lax.cond is an array of many; it takes one True or False.",
            "jnp.all or jnp.any makes one of many.",
        ),
    ),
    (
        r"cond_fun must return a boolean scalar",
        lambda m: (
            "The condition of jax.lax.while_loop must return one True or False.",
            "Is there a `return`? Compare two numbers; jnp.all or jnp.any makes one True or False of many.",
        ),
    ),
    (
        r"lax\.(cond|while_loop): .*should be callable",
        lambda m: (
            f"jax.lax.{m[1]} was given a value where it takes a function.",
            "Put `lambda:` before what each branch returns: jax.lax.cond(condition, lambda: a, lambda: b)."
            if m[1] == "cond"
            else "It takes two functions of the carry, and then the carry to begin with: jax.lax.while_loop(condition, body, start).",
        ),
    ),
    (
        r"(Set|dictionary) changed size during iteration",
        lambda m: (
            f"A {m[1].lower().replace('dictionary', 'dict')} was changed while a `for` loop was going through it.",
            "Go through a copy, `for x in list(...)`, or use `while` and take elements out with pop().",
        ),
    ),
    (
        r"scan body output must be a pair",
        lambda m: (
            "The step given to jax.lax.scan must return a pair.",
            "Return (new_carry, None) where nothing is to be collected.",
        ),
    ),
    (
        r"missing \d+ required (?:positional|keyword-only) argument|takes .*positional argument|unexpected keyword argument"
        r"|got multiple values for argument",
        lambda m: (
            f"A function was called with the wrong arguments: {m.string.splitlines()[0].rstrip('.')}.",
            "Compare the call with the function's signature; a task's signature must stay as it was given.",
        ),
    ),
    (
        r"(?:pure|io|debug|host)_callback",
        lambda m: (
            "Your function calls back into Python while it runs, which a compiled function cannot take along.",
            "Write it with jax.numpy alone; for a look at values use jax.debug.print.",
        ),
    ),
]
