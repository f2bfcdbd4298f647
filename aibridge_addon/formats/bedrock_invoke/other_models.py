"""Reads the counts in bodies of models other than Claude, each of which names its own. Sans-io.

Bodies of Cohere and older ones of Mistral state none; their streams do, in the metrics at the end.
"""

from aibridge_addon.facts import Usage, known_sum
from aibridge_addon.formats.bedrock import usage_of_metrics
from aibridge_addon.formats.openai_usage import CHAT_NAMES
from aibridge_addon.formats.openai_usage import read_usage as read_openai_usage
from aibridge_addon.formats.usage import optional_count
from aibridge_addon.raw_json import JSON, count, mapping, sequence

METRICS = "amazon-bedrock-invocationMetrics"
"""Member that the last event of a stream has, of any model."""


def read_counts(document: dict[str, JSON]) -> Usage | None:
    """Return the usage that a whole response states; None if it states none."""
    usage = mapping(document.get("usage"))
    found = (
        usage_of_metrics(mapping(document.get(METRICS))),
        _nova(usage),
        read_openai_usage(usage, CHAT_NAMES),  # gpt-oss, DeepSeek, Qwen, newer ones of Mistral
        _llama(document),
        _titan(document),
    )
    return next(filter(None, found), None)


def _nova(usage: dict[str, JSON]) -> Usage | None:
    return _usage(
        count(usage.get("inputTokens")),
        count(usage.get("outputTokens")),
        usage,
        cached=optional_count(usage, ("cacheReadInputTokenCount",)),
        written=optional_count(usage, ("cacheWriteInputTokenCount",)),
    )


def _llama(document: dict[str, JSON]) -> Usage | None:
    names = ("prompt_token_count", "generation_token_count")
    raw = {name: document[name] for name in names if name in document}
    given, made = (count(document.get(name)) for name in names)
    return _usage(given, made, raw)


def _titan(document: dict[str, JSON]) -> Usage | None:
    """Read the counts of a text with its results, or of a vector, which has no output."""
    if "inputTextTokenCount" not in document:
        return None
    results = map(mapping, sequence(document.get("results")))
    made = [result.get("tokenCount") for result in results]
    raw = {"inputTextTokenCount": document["inputTextTokenCount"], "tokenCounts": made}
    is_vector = "embedding" in document
    output = known_sum(*map(count, made)) if made or is_vector else None
    return _usage(count(document["inputTextTokenCount"]), output, raw)


def _usage(
    given: int | None,
    made: int | None,
    raw: dict[str, JSON],
    *,
    cached: int | None = 0,
    written: int | None = 0,
) -> Usage | None:
    if given is None and made is None:
        return None
    return Usage(
        input_tokens=given,
        output_tokens=made,
        cache_read_input_tokens=cached,
        cache_write_input_tokens=written,
        raw=raw,
    )
