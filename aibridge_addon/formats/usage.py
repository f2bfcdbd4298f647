"""Reads counts, labels and prices of usage objects, and merges successive usage objects. Sans-io.

Shared by all wire formats; the meaning of each member is defined in their own modules.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from aibridge_addon.facts import Usage
from aibridge_addon.raw_json import JSON, count, mapping, text

type Path = tuple[str, ...]
"""Names of members, from the outermost to the innermost."""
type Places = Sequence[tuple[str, Path]]
"""Names of values and the paths to them; the first path that has a value counts."""
type Extra = dict[str, int | float | str]

_COSTS: Places = (
    ("cost", ("cost",)),  # OpenRouter
    ("cost", ("cost", "total_cost")),  # Perplexity
    ("upstream_inference_cost", ("cost_details", "upstream_inference_cost")),
    ("cost_in_usd_ticks", ("cost_in_usd_ticks",)),  # xAI
)


def value_at(given: dict[str, JSON], path: Path) -> JSON:
    """Return the value at a path; None if it is missing."""
    *outer, name = path
    for step in outer:
        given = mapping(given.get(step))
    return given.get(name)


def first_count(given: dict[str, JSON], *paths: Path) -> int:
    """Return the first count at one of the paths that is not zero; otherwise 0."""
    return next((found for path in paths if (found := count(value_at(given, path)))), 0)


def optional_count(given: dict[str, JSON], *paths: Path) -> int | None:
    """Return the first count at one of the paths that is not zero, and 0 if none is stated.

    None if a value is stated that is not a count: then the amount is unknown.
    """
    if found := first_count(given, *paths):
        return found
    stated = (value_at(given, path) for path in paths)
    return None if any(v is not None and count(v) is None for v in stated) else 0


def counts_at(given: dict[str, JSON], places: Places) -> Extra:
    """Return the counts at the named places, without zeros."""
    return _found(given, places, lambda value: count(value) or None)


def labels_at(given: dict[str, JSON], places: Places) -> Extra:
    """Return the texts at the named places."""
    return _found(given, places, lambda value: text(value) or None)


def states_tokens(usage: dict[str, JSON]) -> bool:
    """Return True if a usage object states tokens, in a form that may be unreadable."""
    return any(value for name, value in usage.items() if name.endswith("tokens"))


def costs_of(usage: dict[str, JSON]) -> Extra:
    """Return the prices in a usage object, zeros included: a free response has a known price."""
    return _found(usage, _COSTS, lambda value: value if _is_number(value) else text(value))


def so_far(usage: Usage | None) -> Usage | None:
    """Return what the usage of a stream that has not reached its end says; None if nothing.

    A zero in it is a placeholder: the count of what was still to come.
    """
    if usage is None:
        return None
    given = usage.input_tokens
    if not given and not usage.cache_read_input_tokens and not usage.cache_write_input_tokens:
        given = None
    output = usage.output_tokens or None
    is_in_tokens = usage.input_tokens is not None or usage.output_tokens is not None
    if is_in_tokens and given is None and output is None:
        return None
    return replace(usage, input_tokens=given, output_tokens=output)


def _found(
    given: dict[str, JSON], places: Places, read: Callable[[JSON], int | float | str | None]
) -> Extra:
    found: Extra = {}
    for name, path in places:
        if name not in found and (value := read(value_at(given, path))) is not None:
            found[name] = value
    return found


def _is_number(value: JSON) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value) if isinstance(value, float) else abs(value) < 2**63


_MAX_DEPTH = 8
"""Levels of nesting that are merged; no usage object is nested half as deep."""


def merge_usage(
    before: dict[str, JSON], after: JSON, *, restarts: bool = False, depth: int = _MAX_DEPTH
) -> dict[str, JSON]:
    """Merge two usage objects of one response, the later over the earlier.

    Counts are cumulative: a missing count keeps its value, and a zero does not overwrite a count,
    unless counting `restarts` because another model took over.
    """
    merged = dict(before)
    for name, value in mapping(after).items():
        kept = merged.get(name)
        if depth and isinstance(value, dict) and isinstance(kept, dict):
            merged[name] = merge_usage(kept, value, restarts=restarts, depth=depth - 1)
        elif value is None or (kept and not value and not restarts):
            continue
        else:
            merged[name] = value
    return merged
