"""Reads `usageMetadata` of the Gemini API. Sans-io.

The prompt includes cached content; thoughts are counted beside the candidates, and results of the
provider's own tools beside the prompt. In a stream, counts are cumulative: of each field the last
value counts.
"""

from collections.abc import Mapping, Sequence

from aibridge_addon.facts import UNEXPLAINED_TOKENS, Usage, known_sum
from aibridge_addon.formats.gemini.names import named, spelling
from aibridge_addon.formats.usage import Extra, merge_usage
from aibridge_addon.raw_json import JSON, count, mapping, sequence, text

TRAFFIC: Mapping[str, str] = {
    "ON_DEMAND": "standard",
    "ON_DEMAND_PRIORITY": "priority",
    "ON_DEMAND_FLEX": "flex",
    "ON_DEMAND_OFFPEAK": "offpeak",
    "PROVISIONED_THROUGHPUT": "provisioned_throughput",
}
"""Service tiers by the traffic type that Vertex AI reports."""

_UNSPECIFIED = frozenset({"unspecified", "traffic_type_unspecified", "service_tier_unspecified"})


def merge(before: dict[str, JSON], after: JSON) -> dict[str, JSON]:
    """Merge the usage of a chunk over the usage of the chunks before it."""
    return merge_usage(before, after, restarts=True)


def read_usage(
    usage: dict[str, JSON], outside: Extra | None = None, *, is_whole: bool = False
) -> Usage | None:
    """Read a usage object; None if it counts neither input nor output.

    JSON of protocol buffers leaves out zeros, so that optional counts are 0 if they are missing.
    The prompt and the candidates are unknown then, but for candidates that the total of a whole
    response leaves no room for.

    `outside` has the counts that the response states outside the usage object.
    """
    prompt, answered = _count(usage, "promptTokenCount"), answered_tokens(usage)
    if prompt is None and answered is None:
        return None
    cached = _optional(usage, "cachedContentTokenCount")
    used_by_tools = _optional(usage, "toolUsePromptTokenCount")
    thoughts = _optional(usage, "thoughtsTokenCount")
    total = _count(usage, "totalTokenCount")
    extra: Extra = {**_modalities(usage), **_labels(usage), **(outside or {})}
    extra |= {"reasoning_tokens": thoughts} if thoughts else {}
    extra |= {"tool_use_input_tokens": used_by_tools} if used_by_tools else {}
    has_no_room = total is not None and total == known_sum(prompt, used_by_tools, thoughts)
    if is_whole and has_no_room and not _states_answer(usage):
        answered = 0
    counted = known_sum(prompt, used_by_tools, answered, thoughts)
    if total is not None and counted is not None and total != counted:
        extra[UNEXPLAINED_TOKENS] = total - counted
    given, output = known_sum(_plain(prompt, cached), used_by_tools), known_sum(answered, thoughts)
    if given is None and output is None:
        return None
    return Usage(
        input_tokens=given,
        output_tokens=output,
        cache_read_input_tokens=cached,
        extra=extra,
        raw=usage,
    )


def _plain(prompt: int | None, cached: int | None) -> int | None:
    """Return the prompt without the cache, which it includes."""
    if prompt is None or cached is None:
        return None
    return prompt - cached if cached <= prompt else prompt


def _optional(usage: dict[str, JSON], name: str) -> int | None:
    stated = named(usage, name)
    return 0 if stated is None else count(stated)


def states_tokens(usage: dict[str, JSON]) -> bool:
    """Return True if a usage object states tokens, in a form that may be unreadable."""
    return any(value for name, value in usage.items() if name.lower().endswith(_TOKEN_NAMES))


_TOKEN_NAMES = ("tokencount", "token_count")


def _count(usage: dict[str, JSON], name: str) -> int | None:
    return count(named(usage, name))


def answered_tokens(usage: dict[str, JSON]) -> int | None:
    """Return the tokens of the candidates, which the Live API of Gemini calls the response."""
    found = _count(usage, "candidatesTokenCount")
    return _count(usage, "responseTokenCount") if found is None else found


def _states_answer(usage: dict[str, JSON]) -> bool:
    names = ("candidatesTokenCount", "responseTokenCount")
    return any(named(usage, name) is not None for name in names)


def _modalities(usage: dict[str, JSON]) -> Extra:
    """Return the tokens by modality, such as `audio_input_tokens`, which includes the cache."""
    cached = _by_modality(usage, "cacheTokensDetails")
    given = _by_modality(usage, "promptTokensDetails")
    for kind, found in _by_modality(usage, "toolUsePromptTokensDetails").items():
        given[kind] = given.get(kind, 0) + found
    put_out = _by_modality(usage, "candidatesTokensDetails") or _by_modality(
        usage, "responseTokensDetails"
    )
    places = (
        ("{}_input_tokens", given),
        ("cache_read_{}_tokens", cached),
        ("{}_output_tokens", put_out),
    )
    return {
        name.format(kind): found
        for name, counts in places
        for kind, found in counts.items()
        if found
    }


def _by_modality(usage: dict[str, JSON], name: str) -> dict[str, int]:
    counts: dict[str, int] = {}
    for entry in sequence(named(usage, name)):
        kind = text(named(entry, "modality")) or "unspecified"
        found = count(named(entry, "tokenCount")) or 0
        counts[kind.lower()] = counts.get(kind.lower(), 0) + found
    return counts


def _labels(usage: dict[str, JSON]) -> Extra:
    traffic = text(named(usage, "trafficType")) or ""
    tier = text(named(usage, "serviceTier")) or TRAFFIC.get(traffic, traffic)
    return {} if tier.lower() in _UNSPECIFIED or not tier else {"service_tier": tier.lower()}


_PUT_OUT = ("candidatesTokenCount", "responseTokenCount", "thoughtsTokenCount")
"""Counts of output."""


def summed_usage(usage: dict[str, JSON], before: Sequence[dict[str, JSON]]) -> dict[str, JSON]:
    """Return the last response's usage with the output of all: the client sees one response.

    Input and cache counts stay those of the last response, which describe the client's context.
    """
    summed = dict(usage)
    earlier = 0
    for name in _PUT_OUT:
        added = sum(_count(one, name) or 0 for one in before)
        earlier += added
        if added:
            summed[spelling(summed, name)] = (_count(usage, name) or 0) + added
    total = _count(usage, "totalTokenCount")
    if total is not None:
        summed[spelling(summed, "totalTokenCount")] = total + earlier
    return summed


_QUERIES = ("webSearchQueries", "imageSearchQueries", "retrievalQueries")
_BILLED_SOURCES = ("web", "maps", "image")
"""Sources that are billed even where no query is stated; content of the client's own is not."""


def grounding_counts(candidate: JSON) -> Extra:
    """Return the number of searches that a grounded candidate reports; at least 1 if it has any."""
    metadata = mapping(named(candidate, "groundingMetadata"))
    queries = sum(len(sequence(named(metadata, name))) for name in _QUERIES)
    chunks = map(mapping, sequence(named(metadata, "groundingChunks")))
    is_grounded = any(name in chunk for chunk in chunks for name in _BILLED_SOURCES)
    found = queries or int(is_grounded)
    return {"grounding_queries": found} if found else {}
