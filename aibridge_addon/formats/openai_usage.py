"""Reads the usage of OpenAI's APIs, and of the hosts that imitate them. Sans-io.

Hosts agree on the names but not on what they count: most include caches and reasoning in the counts
of prompt and completion, some count them separately. The total shows which.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from aibridge_addon.facts import UNEXPLAINED_TOKENS, Usage
from aibridge_addon.formats.usage import Extra, Places, costs_of, counts_at, first_count
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
        ("prompt_audio_seconds", ("prompt_audio_seconds",)),  # Mistral
    )


_MODALITIES = ("audio", "image", "text")
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
) -> Usage | None:
    """Read a usage object; None if it counts no tokens.

    `outside` has the counts and labels that the response states outside the usage object.
    `total_has_thoughts` is True if only the total counts the thoughts of the model.
    """
    if not counts_tokens(usage, names):
        return None
    given = count(usage.get(names.input)) or 0
    cached, written = _cached(usage, names), _written(usage, names)
    plain = _without_cache(given, cached, written)
    output = count(usage.get(names.output)) or 0
    extra = counts_at(usage, _PLACES[names]) | costs_of(usage) | (outside or {})
    if (total := count(usage.get("total_tokens"))) is not None:
        reasoning = first_count(
            usage, (names.output_details, "reasoning_tokens"), ("reasoning_tokens",)
        )
        more = total - given - output
        beside = cached + written - (given - plain)
        if reasoning and more in (reasoning, reasoning + beside):
            output += reasoning
        elif total_has_thoughts and more > 0:
            output += more
            extra["reasoning_tokens"] = more
        elif more not in (0, beside):
            extra[UNEXPLAINED_TOKENS] = more
    return Usage(
        input_tokens=plain,
        output_tokens=output,
        cache_read_input_tokens=cached,
        cache_write_input_tokens=written,
        extra=extra,
        raw=usage,
    )


def _cached(usage: dict[str, JSON], names: Names) -> int:
    return first_count(
        usage,
        (names.input_details, "cached_tokens"),
        ("prompt_cache_hit_tokens",),  # DeepSeek
        ("cached_tokens",),  # Kimi
        ("num_cached_tokens",),  # Mistral
        ("cache_read_input_tokens",),  # LiteLLM, Perplexity
    )


def _written(usage: dict[str, JSON], names: Names) -> int:
    return first_count(
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
