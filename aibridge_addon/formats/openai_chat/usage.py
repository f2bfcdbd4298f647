"""Finds and sums the usage of OpenAI Chat Completions, in any host's place for it. Sans-io."""

from collections.abc import Sequence

from aibridge_addon.formats.openai_tools import summed_usage
from aibridge_addon.formats.openai_usage import CHAT_NAMES, counts_tokens
from aibridge_addon.formats.usage import states_tokens
from aibridge_addon.raw_json import JSON, count, mapping, sequence, text

TIMINGS = "timings"
"""Member of llama.cpp's responses, also of streams for which nobody has asked for usage."""


def usage_of(data: dict[str, JSON]) -> dict[str, JSON]:
    """Find the usage of a chunk or a completion; empty if it counts no tokens."""
    return next((usage for usage in _usages(data) if counts_tokens(usage, CHAT_NAMES)), {})


def stated_usage(data: dict[str, JSON]) -> dict[str, JSON]:
    """Find the usage likewise, or one that states tokens in an unreadable form."""
    found = usage_of(data) or next(filter(states_tokens, _usages(data)), {})
    return found or _usage_of_timings(mapping(data.get(TIMINGS)))


def tier_of(data: dict[str, JSON]) -> str | None:
    """Return the service tier of a chunk or a completion: Cerebras states the one that it used."""
    return text(data.get("service_tier_used")) or text(data.get("service_tier"))


def _usage_of_timings(timings: dict[str, JSON]) -> dict[str, JSON]:
    """Return the counts of llama.cpp as a usage object; empty without them.

    It counts the processed prompt beside what it had in its cache. Older servers do not state the
    latter, so that the length of the prompt is unknown.
    """
    processed, cached = count(timings.get("prompt_n")), count(timings.get("cache_n"))
    put_out = count(timings.get("predicted_n"))
    usage: dict[str, JSON] = {}
    if processed is not None and cached is not None:
        usage["prompt_tokens"] = processed + cached
        usage["prompt_tokens_details"] = {"cached_tokens": cached}
    if put_out is not None:
        usage["completion_tokens"] = put_out
    return usage


def _usages(data: dict[str, JSON]) -> list[dict[str, JSON]]:
    choices = [mapping(choice) for choice in sequence(data.get("choices"))]
    places = (data, mapping(data.get("x_groq")), *choices)
    return [mapping(place.get("usage")) for place in places]


def with_summed_usage(data: dict[str, JSON], before: Sequence[dict[str, JSON]]) -> dict[str, JSON]:
    """Return a chunk or completion with its usage summed, in every place that has usage."""
    summed = _summed_in(data, before)
    if (x_groq := mapping(data.get("x_groq"))).get("usage"):
        summed["x_groq"] = _summed_in(x_groq, before)
    choices = sequence(data.get("choices"))
    if any(mapping(choice).get("usage") for choice in choices):
        summed["choices"] = [
            _summed_in(choice, before) if isinstance(choice, dict) else choice for choice in choices
        ]
    return summed


def _summed_in(place: dict[str, JSON], before: Sequence[dict[str, JSON]]) -> dict[str, JSON]:
    usage = mapping(place.get("usage"))
    return {**place, "usage": summed_usage(usage, before, CHAT_NAMES)} if usage else dict(place)
