"""Requests and responses as text."""

import json
from typing import Any

import pytest

from aibridge_addon.facts import ProviderError
from aibridge_addon.formats import FORMATS
from aibridge_addon.formats.content import Conversation, Message, ModelMessage, Part
from aibridge_addon.views.blocks import WIDTH
from aibridge_addon.views.conversation_text import conversation_text, message_text

REQUESTS: dict[str, dict[str, Any]] = {
    "anthropic_messages": {
        "model": "m",
        "max_tokens": 5,
        "stream": True,
        "system": "Be kind.",
        "tools": [{"name": "look", "input_schema": {}}],
        "messages": [
            {"role": "user", "content": "Where is it?"},
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "Hm."},
                    {"type": "tool_use", "id": "c1", "name": "look", "input": {"at": "a\nb"}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "c1", "content": "no", "is_error": True}
                ],
            },
        ],
    },
    "openai_chat": {
        "model": "m",
        "max_tokens": 5,
        "stream": True,
        "tools": [{"type": "function", "function": {"name": "look"}}],
        "messages": [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": "Where is it?"},
            {
                "role": "assistant",
                "reasoning_content": "Hm.",
                "tool_calls": [
                    {"id": "c1", "function": {"name": "look", "arguments": '{"at": "a\\nb"}'}}
                ],
            },
            {"role": "tool", "tool_call_id": "c1", "content": "no"},
        ],
    },
    "openai_responses": {
        "model": "m",
        "max_tokens": 5,
        "stream": True,
        "instructions": "Be kind.",
        "tools": [{"type": "function", "name": "look"}],
        "input": [
            {"role": "user", "content": "Where is it?"},
            {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm."}]},
            {
                "type": "function_call",
                "call_id": "c1",
                "name": "look",
                "arguments": '{"at": "a\\nb"}',
            },
            {"type": "function_call_output", "call_id": "c1", "output": "no"},
        ],
    },
}


def text_of(api: str, request: dict[str, Any]) -> str:
    view = FORMATS[api].view
    assert view
    return conversation_text(view.read_request(json.dumps(request).encode()))


@pytest.mark.parametrize("api", REQUESTS)
def test_request_of_each_api_is_a_readable_conversation(api: str) -> None:
    lines = text_of(api, REQUESTS[api]).splitlines()
    order = [
        "1 tools: look",
        "Be kind.",
        "Where is it?",
        "(thinking)",
        "  Hm.",
        "→ look c1",
        "  at:",
        "    a",
        "    b",
        "  no",
    ]
    assert [line for line in lines if line in order] == order
    assert lines[0].startswith("m · ")
    assert "streamed" in lines[0]
    assert "max_tokens 5" in lines[0]
    headings = [line.split()[1] for line in lines if line.startswith("──")]
    assert headings == ["system", "user", "assistant", "tool"]


def test_result_names_the_tool_of_its_call() -> None:
    api = "anthropic_messages"
    assert "← error: look c1" in text_of(api, REQUESTS[api]).splitlines()


def test_no_line_is_wider_than_the_window() -> None:
    words = " ".join(f"word{n}" for n in range(500))
    message = Message(
        role="user",
        parts=(
            Part(kind="text", text=words),
            Part(kind="text", text="x" * 1000),
            Part(kind="tool_call", name="t", text=json.dumps({"a": words, "b": ["y" * 300]})),
            Part(kind="tool_result", text=words),
        ),
    )
    text = conversation_text(Conversation(messages=(message,)))
    assert max(map(len, text.splitlines())) <= WIDTH
    assert all(word in text for word in words.split())


def test_huge_request_gives_bounded_text() -> None:
    big = Part(kind="tool_result", text="line\n" * 100_000)
    long_line = Part(kind="text", text="x" * 10_000_000)
    messages = tuple(Message(role="user", parts=(big, long_line)) for _ in range(1000))
    text = conversation_text(
        Conversation(system=(Part(kind="text", text="rule\n" * 10_000),), messages=messages)
    )
    assert len(text) < 3_000_000
    assert "800 earlier messages" in text
    assert "… 500,000 characters in 100,000 lines" in text


def test_files_are_described_by_type_and_size() -> None:
    parts = (
        Part(kind="image", media_type="image/png", size=1234),
        Part(kind="document", name="a.pdf", media_type="application/pdf", size=5),
        Part(kind="other", name="hologram", text="{}"),
        Part(kind="thinking", size=7),
    )
    text = message_text(ModelMessage(message=Message(role="assistant", parts=parts)))
    assert "[image image/png, 1,234 bytes]" in text
    assert "[document a.pdf application/pdf, 5 bytes]" in text
    assert "[hologram]" in text
    assert "(thinking, encrypted, 7 bytes)" in text


def test_error_is_shown_with_its_type_and_message() -> None:
    error = ProviderError(type="overloaded_error", message="Overloaded")
    assert message_text(ModelMessage(error=error)) == "error: overloaded_error · Overloaded"


def test_incomplete_response_says_so() -> None:
    text = message_text(ModelMessage(model="m"))
    assert text.splitlines() == ["m", "incomplete: the response did not reach its end"]


def test_notes_of_the_record_replace_the_usage_of_the_response() -> None:
    body = json.dumps(
        {
            "type": "message",
            "id": "i",
            "model": "m",
            "content": [],
            "stop_reason": "end_turn",
            "usage": {"input_tokens": 5, "output_tokens": 7, "cache_read_input_tokens": 1000},
        }
    )
    view = FORMATS["anthropic_messages"].view
    assert view
    message = view.read_response(body.encode())
    assert "tokens: 1,005 in (1,000 from cache) → 7 out" in message_text(message)
    assert message_text(message, ["tokens: other"]).splitlines()[1] == "tokens: other"
