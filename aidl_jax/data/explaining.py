"""`explain()`: what a pipeline is, stage by stage, what each stage becomes when it is run, and what to look out for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from aidl_jax.data.elements import tell_spec
from aidl_jax.data.stage import INFINITE, UNKNOWN, Size, Stage

__all__ = ["explain", "told_size", "warnings_of"]


def explain(stage: Stage, block: int, choices: Mapping[str, str] | None = None) -> str:
    """The plan of a pipeline as text.

    Args:
        stage: the last one.
        block: how many of its elements are made at once.
        choices: what AUTOTUNE chose, by stage, with the reason.
    """
    kind = "Indexed" if stage.indexed else "Sequential"
    lines = [f"{kind}: {told_size(stage.size)} of {tell_spec(stage.spec)}", ""]
    lines += list(_table(stage))
    lines += ["", f"at once   {_at_once(stage, block)}", f"a jump    {_jump(stage)}", f"a state   {_state(stage)}"]
    seeds = [f"{one.verb}: {one.seed}" for one in _stages(stage) if hasattr(one, "seed") and _is_random(one)]
    lines += [f"seeds     {', '.join(seeds)} (0 where none was given)"] if seeds else []
    lines += [f"AUTOTUNE  {name}: {choice}" for name, choice in (choices or {}).items()]
    lines += [f"look out  {warning}" for warning in warnings_of(stage)]
    return "\n".join(lines)


def told_size(size: Size) -> str:
    """A number of elements in words."""
    if size is UNKNOWN:
        return "an unknown number of elements"
    return "elements without end" if size == INFINITE else f"{size:,} element{'' if size == 1 else 's'}"


def _table(stage: Stage) -> Iterator[str]:
    rows = list(_lines(stage, 0))
    width = min(max(len(told) for told, _ in rows), 58)
    for told, note in rows:
        short = told if len(told) <= width else told[: width - 4] + " ..."
        yield f"  {short:<{width}}  {note}".rstrip()


def _lines(stage: Stage, depth: int) -> Iterator[tuple[str, str]]:
    for number, one in enumerate(stage.inputs):
        yield from _lines(one, depth + (1 if len(stage.inputs) > 1 and (number or stage.verb == "zip") else 0))
    name = (
        stage.verb
        if len(stage.inputs) > 1
        else stage.told.removeprefix(f"{stage.inputs[0]}.")
        if stage.inputs
        else stage.told
    )
    first_python = not stage.indexed and all(one.indexed for one in stage.inputs)
    mark = " [Sequential from here on]" if first_python else ""
    yield "  " * depth + name, stage.note + mark


def _at_once(stage: Stage, block: int) -> str:
    if not stage.indexed:
        return "one element after another"
    return f"{block} element{'' if block == 1 else 's'}: rows are gathered by index vectors, and compiled maps run over all of them"


def _jump(stage: Stage) -> str:
    if not stage.indexed:
        return "goes through what was recorded as the beginning again, up to the element"
    costs = [one.jump_cost for one in _stages(stage) if one.jump_cost]
    return f"costs {'; '.join(costs)}" if costs else "costs nothing: an element is a function of its position"


def _state(stage: Stage) -> str:
    return "a position" if stage.indexed else "positions in its inputs, and how far it is from there"


def _stages(stage: Stage) -> Iterator[Stage]:
    """All stages, sources first."""
    for one in stage.inputs:
        yield from _stages(one)
    yield stage


def _is_random(stage: Stage) -> bool:
    return stage.verb == "shuffle" or bool(getattr(stage, "keyed", False))


def warnings_of(stage: Stage) -> list[str]:
    """What in a pipeline's order of verbs often is a mistake, told by its form alone."""
    found: list[str] = []
    for one in _stages(stage):
        before = [earlier for earlier in _stages(one) if earlier is not one]
        verbs = [earlier.verb for earlier in before]
        reshuffled = any(earlier.verb == "shuffle" and getattr(earlier, "reshuffle", False) for earlier in before)
        if one.verb == "shuffle":
            found += _about_shuffle(one, before)
        if one.verb in ("take", "skip") and reshuffled and _followed_by(stage, one, "repeat"):
            found.append(f"{one.verb} after a shuffle that differs from epoch to epoch: each epoch has other elements. "
                         "To split a set, shuffle with reshuffle_each_iteration=False, or split before")  # fmt: skip
        if one.verb == "shard" and "shuffle" in verbs:
            found.append("shard after shuffle: the shards are apart only if every process has the same seed, and each reads all "
                         "over the data. Shard first")  # fmt: skip
        if one.verb == "cache" and any(map(_is_random, before)):
            found.append(
                "cache after shuffle or a keyed map: the first epoch's order and keys come again in every epoch. Cache first"
            )
        if one.verb == "batch" and "repeat" in verbs:
            found += _about_mixed_batches(one, before)
    return list(dict.fromkeys(found))


def _about_shuffle(one: Stage, before: list[Stage]) -> Iterator[str]:
    verbs = [earlier.verb for earlier in before]
    size, buffer = one.inputs[0].size, getattr(one, "buffer", None)
    if "batch" in verbs and verbs[-1:] != ["unbatch"]:
        yield "shuffle after batch: whole batches change places, and what stands in one batch stays together. Shuffle first"
    if "repeat" in verbs:
        yield "shuffle after repeat: epochs mix, so some elements come again before others have come once. Shuffle first"
    if buffer is not None and size is not UNKNOWN and buffer < size and size != INFINITE and buffer * 10 < size:
        yield (
            f"a buffer of {buffer:,} for {size:,} elements: an element comes out at most {buffer - 1:,} places early. Where the data "
            "are sorted, batches are all of one kind; shuffle() takes the whole set. See shuffle_report()"
        )


def _about_mixed_batches(one: Stage, before: list[Stage]) -> Iterator[str]:
    repeats = [earlier for earlier in before if earlier.verb == "repeat"]
    inner = repeats[-1].inputs[0].size
    length = getattr(one, "length", 1)
    if inner not in (UNKNOWN, INFINITE) and int(inner) % length:
        yield "batch after repeat: one batch holds the end of one epoch and the beginning of the next. Batch first, if epochs matter"


def _followed_by(last: Stage, stage: Stage, verb: str) -> bool:
    return any(one.verb == verb and stage in list(_stages(one)) for one in _stages(last))
