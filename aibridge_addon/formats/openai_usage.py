"""Reads the usage of OpenAI's APIs, and of the hosts that imitate them. Sans-io.

Hosts agree on the names but not on what they count: most include caches and reasoning in the counts
of prompt and completion, some count them separately. The total shows which.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from aibridge_addon.facts import UNEXPLAINED_TOKENS, Usage
from aibridge_addon.formats.usage import (
    Extra,
    Places,
    costs_of,
    counts_at,
    first_count,
    optional_count,
)
from aibridge_addon.raw_json import JSON, count


@dataclass(frozen=True, slots=True)
class Names:
    """Names of the counts in a usage object of an API."""

    input: str
    output: str
    input_details: str
    """The member that breaks the input down."""
    output_details: str


CHAT_NAMES = Names(
    "prompt_tokens", "completion_tokens", "prompt_tokens_details", "completion_tokens_details"
)
RESPONSES_NAMES = Names(
    "input_tokens", "output_tokens", "input_tokens_details", "output_tokens_details"
)
AUDIO_NAMES = Names("input_tokens", "output_tokens", "input_token_details", "output_token_details")
"""Names of the APIs for audio, and of Realtime: the details are of a token, not of tokens."""


def _places(names: Names) -> Places:
    given, put_out = names.input_details, names.output_details
    return (
        ("reasoning_tokens", (put_out, "reasoning_tokens")),
        ("reasoning_tokens", ("reasoning_tokens",)),  # Perplexity
        *((f"{kind}_input_tokens", (given, f"{kind}_tokens")) for kind in _MODALITIES),
        *((f"{kind}_output_tokens", (put_out, f"{kind}_tokens")) for kind in _MODALITIES),
        *(
            (f"cache_read_{kind}_tokens", (given, "cached_tokens_details", f"{kind}_tokens"))
            for kind in _MODALITIES
        ),
        ("accepted_prediction_tokens", (put_out, "accepted_prediction_tokens")),
        ("rejected_prediction_tokens", (put_out, "rejected_prediction_tokens")),
        *(
            (f"cache_write_{ttl}_input_tokens", (given, "cache_write_tokens_details", member))
            for ttl, member in (("30m", "ttl_30m_tokens"), ("12h", "ttl_12h_tokens"))
        ),
        *(
            (f"cache_write_{ttl}_input_tokens", (*place, f"ephemeral_{ttl}_input_tokens"))
            for ttl in ("5m", "1h")
            for place in (
                (given, "cache_creation"),  # Qwen
                (given, "cache_creation_token_details"),  # LiteLLM
                ("cache_creation",),
            )
        ),
        ("web_search_requests", ("server_tool_use", "web_search_requests")),
        ("citation_tokens", ("citation_tokens",)),  # Perplexity
        ("num_search_queries", ("num_search_queries",)),
        ("num_sources_used", ("num_sources_used",)),  # xAI
        ("server_side_tool_requests", ("num_server_side_tools_used",)),  # xAI
        ("prompt_audio_seconds", ("prompt_audio_seconds",)),  # Mistral
    )


_MODALITIES = ("audio", "image", "text", "video")
_PLACES: Mapping[Names, Places] = {
    names: _places(names) for names in (CHAT_NAMES, RESPONSES_NAMES, AUDIO_NAMES)
}


def counts_tokens(usage: dict[str, JSON], names: Names) -> bool:
    """Return whether a usage object counts input or output tokens."""
    return any(count(usage.get(name)) is not None for name in (names.input, names.output))


def read_usage(
    usage: dict[str, JSON],
    names: Names,
    *,
    outside: Extra | None = None,
    total_has_thoughts: bool = False,
    has_output: bool = True,
) -> Usage | None:
    """Read a usage object; None if it counts no tokens.

    A count of input or output that is missing or unreadable is unknown. Counts of caches are
    optional: input of which no cache is stated is plain input.

    `outside` has the counts and labels that the response states outside the usage object.
    `total_has_thoughts` is True if only the total counts the thoughts of the model.
    `has_output` is False for APIs whose responses have no tokens.
    """
    if not counts_tokens(usage, names):
        return None
    given, output = count(usage.get(names.input)), _output(usage, names, has_output=has_output)
    cached, written = _cached(usage, names), _written(usage, names)
    extra = counts_at(usage, _PLACES[names]) | costs_of(usage) | (outside or {})
    plain = None
    if given is not None and cached is not None and written is not None:
        plain = _without_cache(given, cached, written)
        if output is not None:
            separate = cached + written - (given - plain)
            more, explanation = _more(usage, names, given + output, separate, total_has_thoughts)
            output += more
            extra |= explanation
    if plain is None and output is None:
        return None
    return Usage(
        input_tokens=plain,
        output_tokens=output,
        cache_read_input_tokens=cached,
        cache_write_input_tokens=written,
        extra=extra,
        raw=usage,
    )


def read_input_usage(usage: dict[str, JSON]) -> Usage | None:
    """Read a usage object of an API whose responses have no tokens: its total is input too."""
    if own := read_usage(usage, CHAT_NAMES, has_output=False):
        return own
    total = count(usage.get("total_tokens"))  # Jina and Voyage state nothing else
    return None if total is None else Usage(input_tokens=total, output_tokens=0, raw=usage)


def _output(usage: dict[str, JSON], names: Names, *, has_output: bool) -> int | None:
    """Return the output; a missing count is 0 if the total equals the input."""
    stated = usage.get(names.output)
    if stated is not None:
        return count(stated)
    total = count(usage.get("total_tokens"))
    is_all_input = total is not None and total == count(usage.get(names.input))
    return 0 if is_all_input or not has_output else None


def _more(
    usage: dict[str, JSON], names: Names, stated: int, separate: int, total_has_thoughts: bool
) -> tuple[int, Extra]:
    """Compare the total with the `stated` input and output, and the `separate` cache counts.

    Returns the output that only the total has, and what is recorded about it.
    """
    total = count(usage.get("total_tokens"))
    if total is None:
        return 0, {}
    reasoning = first_count(
        usage, (names.output_details, "reasoning_tokens"), ("reasoning_tokens",)
    )
    more = total - stated
    if reasoning and more in (reasoning, reasoning + separate):
        return reasoning, {}
    if total_has_thoughts and more > 0:
        return more, {"reasoning_tokens": more}
    return 0, {} if more in (0, separate) else {UNEXPLAINED_TOKENS: more}


def _cached(usage: dict[str, JSON], names: Names) -> int | None:
    return optional_count(
        usage,
        (names.input_details, "cached_tokens"),
        (names.input_details, "cache_read_input_tokens"),  # Perplexity
        ("prompt_cache_hit_tokens",),  # DeepSeek
        ("cached_tokens",),  # Kimi
        ("num_cached_tokens",),  # Mistral
        ("cache_read_input_tokens",),  # LiteLLM
    )


def _written(usage: dict[str, JSON], names: Names) -> int | None:
    return optional_count(
        usage,
        (names.input_details, "cache_write_tokens"),
        (names.input_details, "cache_creation_input_tokens"),  # Qwen
        (names.input_details, "cache_creation_tokens"),  # LiteLLM
        ("cache_creation_input_tokens",),
    )


def _without_cache(given: int, cached: int, written: int) -> int:
    """Return the input without caches; a cache larger than the rest was counted separately."""
    for inside in (cached + written, cached, written):
        if inside <= given:
            return given - inside
    return given
