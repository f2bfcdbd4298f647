"""Reads `usage` of the Interactions API, which counts as `usageMetadata` does. Sans-io."""

from dataclasses import replace

from aibridge_addon.facts import Usage
from aibridge_addon.formats.gemini.usage import read_usage as read_gemini_usage
from aibridge_addon.formats.usage import Extra
from aibridge_addon.raw_json import JSON, count, mapping, sequence, text

_COUNTS = {
    "total_input_tokens": "promptTokenCount",
    "total_cached_tokens": "cachedContentTokenCount",
    "total_tool_use_tokens": "toolUsePromptTokenCount",
    "total_output_tokens": "candidatesTokenCount",
    "total_thought_tokens": "thoughtsTokenCount",
    "total_tokens": "totalTokenCount",
}
_DETAILS = {
    "input_tokens_by_modality": "promptTokensDetails",
    "cached_tokens_by_modality": "cacheTokensDetails",
    "tool_use_tokens_by_modality": "toolUsePromptTokensDetails",
    "output_tokens_by_modality": "candidatesTokensDetails",
}


def read_usage(
    usage: dict[str, JSON], tier: str | None = None, *, is_whole: bool = False
) -> Usage | None:
    """Read a usage object; None if it counts neither input nor output."""
    renamed = {theirs: usage[own] for own, theirs in _COUNTS.items() if own in usage}
    renamed |= {theirs: _details(usage[own]) for own, theirs in _DETAILS.items() if own in usage}
    outside: Extra = {"service_tier": tier.lower()} if tier else {}
    outside |= _grounding(usage) | _initial(usage)
    found = read_gemini_usage(renamed, outside, is_whole=is_whole)
    return found and replace(found, raw=usage)


def _details(given: JSON) -> list[JSON]:
    entries = map(mapping, sequence(given))
    return [{"modality": e.get("modality"), "tokenCount": e.get("tokens")} for e in entries]


def _grounding(usage: dict[str, JSON]) -> Extra:
    """Return the number of searches by the provider's tools, in all."""
    entries = map(mapping, sequence(usage.get("grounding_tool_count")))
    queries = sum(count(entry.get("count")) or 0 for entry in entries)
    return {"grounding_queries": queries} if queries else {}


def _initial(usage: dict[str, JSON]) -> Extra:
    """Return the input of the first turn, a part of the input, as a label."""
    found = count(usage.get("initial_input_tokens"))
    return {} if found is None else {"initial_input_tokens": str(found)}


def tier_of(document: dict[str, JSON]) -> str | None:
    """Return the service tier of an interaction."""
    return text(document.get("service_tier"))
