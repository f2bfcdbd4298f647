"""Usage objects whose tokens cannot be read are noticed, in every API."""

import json
from typing import Any

import pytest

from aibridge_addon.formats import FORMATS
from formats.helpers import read_stream, sse

WHOLE: dict[str, dict[str, Any]] = {
    "anthropic_messages": {"type": "message", "content": []},
    "openai_chat": {"choices": [{"message": {"content": "x"}, "finish_reason": "stop"}]},
    "openai_responses": {"object": "response", "status": "completed", "output": []},
}


@pytest.mark.parametrize("api", WHOLE)
@pytest.mark.parametrize(
    ("usage", "unreadable"),
    [
        ({"input_tokens": "7", "output_tokens": "3"}, True),
        ({"prompt_tokens": "7", "completion_tokens": "3"}, True),
        ({"total_tokens": 10}, True),
        ({"total_tokens": 0}, False),
        ({"input_tokens": 7, "prompt_tokens": 7, "total_tokens": "7"}, False),
        ({"service_tier": "standard"}, False),
        ({}, False),
        (None, False),
    ],
)
def test_usage_that_states_tokens_nobody_can_read_is_noticed(
    api: str, usage: dict[str, Any] | None, unreadable: bool
) -> None:
    facts = FORMATS[api].read_whole(json.dumps({**WHOLE[api], "usage": usage}).encode())

    assert facts.complete
    assert facts.usage_unreadable is unreadable


def test_unreadable_usage_of_a_chat_stream_is_noticed() -> None:
    chunk = {"choices": [{"delta": {}, "finish_reason": "stop"}], "usage": {"total_tokens": 10}}
    facts = read_stream(FORMATS["openai_chat"], [sse(chunk), b"data: [DONE]\n\n"])

    assert facts.usage is None
    assert facts.usage_unreadable
