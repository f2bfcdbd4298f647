"""A count that a usage object lacks is unknown, in every wire format; it is never zero."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from aibridge_addon.facts import ResponseFacts, Usage
from aibridge_addon.formats import FORMATS
from aibridge_addon.formats.decoders.sse import Event
from formats.helpers import STREAMS, Scenario, every, parse

type Build = Callable[[Mapping[str, Any]], Mapping[str, Any]]

TOKENS = ("input_tokens", "output_tokens")
CHAT = ("prompt_tokens", "completion_tokens")
GOOGLE = ("promptTokenCount", "candidatesTokenCount")
OLLAMA = ("prompt_eval_count", "eval_count")

ANSWERS: dict[str, tuple[tuple[str, str], Build]] = {
    "anthropic_messages": (TOKENS, lambda usage: {"type": "message", "usage": usage}),
    "bedrock_invoke": (TOKENS, lambda usage: {"type": "message", "usage": usage}),
    "bedrock_converse": (
        ("inputTokens", "outputTokens"),
        lambda usage: {"output": {}, "usage": usage},
    ),
    "openai_chat": (CHAT, lambda usage: {"choices": [], "usage": usage}),
    "openai_completions": (CHAT, lambda usage: {"choices": [], "usage": usage}),
    "openai_responses": (TOKENS, lambda usage: {"object": "response", "usage": usage}),
    "openai_responses_compact": (
        TOKENS,
        lambda usage: {"object": "response.compaction", "usage": usage},
    ),
    "openai_images": (TOKENS, lambda usage: {"data": [], "usage": usage}),
    "openai_transcriptions": (TOKENS, lambda usage: {"text": "", "usage": usage}),
    "openai_speech": (TOKENS, lambda usage: {"object": "audio.speech", "usage": usage}),
    "openai_batches": (
        TOKENS,
        lambda usage: {"object": "batch", "status": "completed", "usage": usage},
    ),
    "openai_realtime": (TOKENS, lambda usage: {"object": "realtime.response", "usage": usage}),
    "gemini": (
        GOOGLE,
        lambda usage: {"candidates": [{"finishReason": "STOP"}], "usageMetadata": usage},
    ),
    "gemini_interactions": (
        ("total_input_tokens", "total_output_tokens"),
        lambda usage: {"id": "i", "status": "completed", "usage": usage},
    ),
    "ollama_chat": (OLLAMA, lambda usage: {"message": {}, "done": True, **usage}),
    "ollama_generate": (OLLAMA, lambda usage: {"response": "", "done": True, **usage}),
}
"""Names of input and output, and a whole response with a usage object, by format."""
WITHOUT_OUTPUT: dict[str, tuple[str, Build]] = {
    "openai_embeddings": ("prompt_tokens", lambda usage: {"data": [], "usage": usage}),
    "openai_moderations": ("prompt_tokens", lambda usage: {"results": [], "usage": usage}),
    "rerank": ("prompt_tokens", lambda usage: {"results": [], "usage": usage}),
    "ollama_embeddings": ("prompt_eval_count", lambda usage: {"embeddings": [[1]], **usage}),
    "gemini_embeddings": (
        "promptTokenCount",
        lambda usage: {"embeddings": [{}], "usageMetadata": usage},
    ),
}
"""Formats whose responses have no tokens."""
IN_LINES = {"anthropic_batches"}
"""Formats whose usage is in the responses of other formats."""
OTHERWISE = {"gemini_batches", "gemini_predictions", "gemini_caches", "gemini_live"}
"""Formats that count something else, or not in a response; they have tests of their own."""

UNREADABLE: tuple[Any, ...] = (None, "7", -1, 1.5, True, [7], {})
CACHES: dict[str, tuple[Any, ...]] = {
    "anthropic_messages": ({"cache_read_input_tokens": "many"},),
    "bedrock_converse": ({"cacheReadInputTokens": "many"},),
    "openai_chat": ({"prompt_tokens_details": {"cached_tokens": "many"}}, {"cached_tokens": []}),
    "openai_responses": ({"input_tokens_details": {"cached_tokens": -1}},),
    "gemini": ({"cachedContentTokenCount": "many"},),
    "ollama_chat": ({"prompt_eval_cached_count": "many"},),
}
BESIDE = frozenset({"anthropic_messages", "bedrock_converse"})
"""Formats that count the cache beside the input."""


def answered(api: str, usage: Mapping[str, Any]) -> Usage | None:
    document = (ANSWERS.get(api) or WITHOUT_OUTPUT[api])[1](usage)
    return FORMATS[api].read_whole(json.dumps(document).encode()).usage


def test_every_format_is_in_the_tables() -> None:
    assert {*ANSWERS, *WITHOUT_OUTPUT, *IN_LINES, *OTHERWISE} == set(FORMATS)


@pytest.mark.parametrize("api", ANSWERS)
def test_count_that_is_missing_or_unreadable_is_unknown(api: str) -> None:
    (given, output), _ = ANSWERS[api]
    for stated in ((), *((value,) for value in UNREADABLE)):
        without_input = {output: 5, **dict.fromkeys([given] * len(stated), *stated)}
        without_output = {given: 5, **dict.fromkeys([output] * len(stated), *stated)}
        found = answered(api, without_input), answered(api, without_output)
        counts = [usage and (usage.input_tokens, usage.output_tokens) for usage in found]
        assert counts == [(None, 5), (5, None)], stated


@pytest.mark.parametrize("api", ANSWERS)
def test_zero_that_is_stated_is_known(api: str) -> None:
    (given, output), _ = ANSWERS[api]
    found = answered(api, {given: 5, output: 0})
    assert found
    assert (found.input_tokens, found.output_tokens) == (5, 0)


@pytest.mark.parametrize("api", WITHOUT_OUTPUT)
def test_response_that_has_no_tokens_has_no_unknown_output(api: str) -> None:
    found = answered(api, {WITHOUT_OUTPUT[api][0]: 5})
    assert found
    assert (found.input_tokens, found.output_tokens) == (5, 0)


@pytest.mark.parametrize("api", CACHES)
def test_unreadable_count_of_a_cache_is_unknown_and_the_input_that_includes_it(api: str) -> None:
    given, output = ANSWERS[api][0]
    for cache in CACHES[api]:
        found = answered(api, {given: 5, output: 3, **cache})
        assert found
        assert found.cache_read_input_tokens is None
        assert (found.input_tokens, found.output_tokens) == (5 if api in BESIDE else None, 3)


def test_completion_without_output_is_known_by_its_total() -> None:
    found = answered("openai_completions", {"prompt_tokens": 5, "total_tokens": 5})
    assert found
    assert found.output_tokens == 0


@every(STREAMS)
def test_zero_of_a_stream_that_broke_off_is_unknown(scenario: Scenario) -> None:
    reader = scenario.wire_format.reader()
    for event in parse([scenario.stream()]):
        reader.feed(event)
        facts = reader.facts()
        if facts.usage and not facts.complete:
            assert facts.usage.output_tokens != 0
            assert facts.usage.input_tokens != 0 or facts.usage.cache_read_input_tokens


def read_events(api: str, *events: Mapping[str, Any]) -> ResponseFacts:
    reader = FORMATS[api].reader()
    for event in events:
        data = json.dumps(event).encode()
        reader.feed(Event(b"", data, data))
    return reader.facts()


STARTED = {"type": "message_start", "message": {"usage": {"input_tokens": 0, "output_tokens": 0}}}


def test_placeholders_at_the_start_of_a_stream_that_broke_off_are_no_usage() -> None:
    facts = read_events("anthropic_messages", STARTED)
    assert facts.usage is None
    assert not facts.usage_unreadable


def test_zero_at_the_end_of_a_stream_is_known() -> None:
    ended = {"type": "message_delta", "delta": {}, "usage": {"input_tokens": 4}}
    facts = read_events("anthropic_messages", STARTED, ended, {"type": "message_stop"})
    assert facts.usage
    assert (facts.usage.input_tokens, facts.usage.output_tokens) == (4, 0)


def test_batch_with_results_whose_usage_is_only_zeros_is_read_from_its_file() -> None:
    batch = {
        "object": "batch",
        "id": "b",
        "status": "completed",
        "output_file_id": "f",
        "usage": {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0},
    }
    facts = FORMATS["openai_batches"].read_whole(json.dumps(batch).encode())
    assert (facts.usage, facts.results_id) == (None, "f")
