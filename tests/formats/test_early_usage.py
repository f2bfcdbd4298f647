"""Usage that a stream tells before its end is given out when it comes, once."""

import json
from typing import Any

import pytest

from aibridge_addon.facts import ResponseFacts
from aibridge_addon.formats import FORMATS
from aibridge_addon.formats.decoders.sse import Event

CHAT_USAGE = {"prompt_tokens": 7, "completion_tokens": 1}
RESPONSES_USAGE = {"input_tokens": 7, "output_tokens": 0}
CHAT = {"id": "c-1", "model": "m"}

EARLY: dict[str, list[Any]] = {
    "anthropic_messages": [
        {
            "type": "message_start",
            "message": {"id": "m-1", "model": "m", "usage": {"input_tokens": 7}},
        },
        {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 9}},
    ],
    "openai_chat": [
        {**CHAT, "choices": [{"delta": {"content": "a"}}], "usage": CHAT_USAGE},
        {**CHAT, "choices": [{"delta": {"content": "b"}}], "usage": CHAT_USAGE},
    ],
    "openai_responses": [
        {"type": "response.created", "response": {"id": "r-1", "usage": RESPONSES_USAGE}},
        {"type": "response.in_progress", "response": {"id": "r-1", "usage": RESPONSES_USAGE}},
    ],
}

EARLY["gemini"] = [
    {"candidates": [{"content": {"parts": [{"text": text}]}}], "usageMetadata": usage}
    for text, usage in (
        ("a", {"promptTokenCount": 7}),
        ("b", {"promptTokenCount": 7, "candidatesTokenCount": 2}),
    )
]
EARLY["gemini_interactions"] = [
    {"event_type": "step.start", "index": 0, "step": {"type": "model_output"}},
    *(
        {
            "event_type": "step.delta",
            "index": 0,
            "delta": {"type": "text", "text": "a"},
            "metadata": {"total_usage": {"total_input_tokens": 7, "total_output_tokens": output}},
        }
        for output in (1, 2)
    ),
]

LATE: dict[str, list[Any]] = {
    "gemini": [
        {"candidates": [{"content": {"parts": [{"text": "a"}]}}]},
        {"candidates": [{"finishReason": "STOP"}], "usageMetadata": {"promptTokenCount": 7}},
    ],
    "gemini_interactions": [
        {"event_type": "interaction.created", "interaction": {"id": "i", "status": "in_progress"}},
        {
            "event_type": "interaction.completed",
            "interaction": {"id": "i", "status": "completed", "usage": {"total_input_tokens": 7}},
        },
    ],
    "ollama_chat": [
        {"message": {"content": "a"}, "done": False},
        {"message": {"content": ""}, "done": True, "prompt_eval_count": 7, "eval_count": 1},
    ],
    "bedrock_converse": [
        {"type": "messageStart", "role": "assistant"},
        {"type": "metadata", "usage": {"inputTokens": 7, "outputTokens": 1}},
    ],
    "anthropic_messages": [{"type": "message_start", "message": {"id": "m-1", "usage": None}}],
    "openai_chat": [
        {**CHAT, "choices": [{"delta": {"content": "a"}}], "usage": None},
        {**CHAT, "choices": [{"delta": {}, "finish_reason": "stop"}]},
        {**CHAT, "choices": [], "usage": CHAT_USAGE},
    ],
    "openai_responses": [
        {"type": "response.created", "response": {"id": "r-1", "usage": None}},
        {"type": "response.completed", "response": {"id": "r-1", "usage": RESPONSES_USAGE}},
    ],
}


def early(api: str, events: Any) -> list[ResponseFacts]:
    """Return the facts that were reported while these events were read."""
    reported: list[ResponseFacts] = []
    reader = FORMATS[api].reader()
    reader.on_usage = reported.append
    for event in events:
        data = json.dumps(event).encode()
        reader.feed(Event(b"", data, data))
    return reported


@pytest.mark.parametrize("api", EARLY)
def test_usage_at_the_start_of_a_stream_is_reported_once(api: Any) -> None:
    (facts,) = early(api, EARLY[api])

    assert facts.usage
    assert facts.usage.input_tokens == 7
    assert not facts.complete


@pytest.mark.parametrize("api", LATE)
def test_usage_at_the_end_of_a_stream_is_not_reported_early(api: Any) -> None:
    assert early(api, LATE[api]) == []
