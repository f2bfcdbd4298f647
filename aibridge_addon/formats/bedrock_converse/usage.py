"""Reads the usage of Converse, whose input tokens exclude those of the cache. Sans-io."""

import re
from collections.abc import Sequence

from aibridge_addon.facts import Usage
from aibridge_addon.formats.usage import Extra, Places, counts_at, optional_count
from aibridge_addon.raw_json import JSON, count, mapping, sequence, text

_TTL = re.compile(r"\d{1,4}[a-z]")
_COUNTS: Places = (("reasoning_tokens", ("reasoningTokens",)),)


def read_usage(given: dict[str, JSON], labels: Extra) -> Usage | None:
    """Read a usage object; None if it counts neither input nor output.

    Counts of caches are missing where no cache was used.
    """
    counted, made = count(given.get("inputTokens")), count(given.get("outputTokens"))
    if counted is None and made is None:
        return None
    return Usage(
        input_tokens=counted,
        output_tokens=made,
        cache_read_input_tokens=optional_count(
            given, ("cacheReadInputTokens",), ("cacheReadInputTokenCount",)
        ),
        cache_write_input_tokens=optional_count(
            given, ("cacheWriteInputTokens",), ("cacheWriteInputTokenCount",)
        ),
        extra=counts_at(given, _COUNTS) | _cache_writes(given) | labels,
        raw=given,
    )


def states_tokens(usage: dict[str, JSON]) -> bool:
    """Return True if a usage object states tokens, in a form that may be unreadable."""
    return any(value for name, value in usage.items() if name.endswith("Tokens"))


def _cache_writes(given: dict[str, JSON]) -> Extra:
    """Return the tokens written to the cache by the time for which they are stored."""
    found: Extra = {}
    for detail in map(mapping, sequence(given.get("cacheDetails"))):
        ttl, written = text(detail.get("ttl")), count(detail.get("inputTokens"))
        if ttl and _TTL.fullmatch(ttl) and written:
            found[f"cache_write_{ttl}_input_tokens"] = written
    return found


def summed_usage(usage: dict[str, JSON], before: Sequence[dict[str, JSON]]) -> dict[str, JSON]:
    """Return the last response's usage with the output of all: the client sees one response.

    Input and cache counts stay those of the last response, which describe the client's context.
    """
    summed = dict(usage)
    for name in ("outputTokens", "reasoningTokens"):
        if name in usage:
            summed[name] = sum(count(one.get(name)) or 0 for one in (*before, usage))
    if (total := count(usage.get("totalTokens"))) is not None:
        summed["totalTokens"] = total + sum(count(one.get("outputTokens")) or 0 for one in before)
    return summed
