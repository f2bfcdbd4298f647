"""The model call that is billed for a usage."""

import json
from typing import Any

import pytest
from store.doubles import started, tokens

from aibridge_addon.formats import FORMATS, openai_usage
from aibridge_addon.formats.anthropic_messages import usage as messages_usage
from aibridge_addon.formats.openai_responses import usage as responses_usage
from aibridge_addon.prices import billed_call as checks
from aibridge_addon.prices.billed_call import UnpriceableError, billed_call


def test_served_model_is_billed() -> None:
    assert billed_call(tokens(started(model="asked"), model="served")).model == "served"


def test_requested_model_is_billed_if_the_response_names_none() -> None:
    assert billed_call(tokens(started(model="asked"), model=None)).model == "asked"


def test_call_that_the_provider_made_is_not_billed_as_the_requested_model() -> None:
    usage = tokens(started(model="asked"), model=None, call="advisor")
    assert billed_call(usage).model is None


def test_prompt_includes_what_was_read_from_and_written_to_caches() -> None:
    assert billed_call(tokens(started())).prompt_tokens == 10 + 30 + 40


@pytest.mark.parametrize(
    ("changes", "lacking"),
    [
        ({"input_tokens": None}, "input tokens"),
        ({"output_tokens": None}, "output tokens"),
        ({"cache_read_input_tokens": None}, "cache reads"),
        ({"input_tokens": None, "cache_write_input_tokens": None}, "input tokens and cache writes"),
    ],
)
def test_call_with_an_unknown_count_has_no_price(changes: dict[str, None], lacking: str) -> None:
    call = billed_call(tokens(started(), **changes))
    with pytest.raises(UnpriceableError, match=f"does not state its {lacking}$"):
        checks.check_usage(call)


def test_call_in_another_unit_lacks_no_tokens() -> None:
    call = billed_call(tokens(started(), input_tokens=None, output_tokens=None))
    assert call.unknown == ()


def test_every_count_that_a_wire_format_reads_has_a_decision() -> None:
    """A new count is priced, is known to be free or included elsewhere, or makes calls unpriced."""
    places = (*messages_usage._COUNTS, *responses_usage._TOOL_COUNTS)
    for of_names in openai_usage._PLACES.values():
        places += tuple(of_names)
    names = {name for name, _ in places} | set(responses_usage._BILLED_CALLS.values())
    known = checks._PRICED | checks._WITHOUT_PRICE_OF_THEIR_OWN

    without_price = {name for name in names - known if not name.startswith("image_gen_")}
    assert without_price == {
        "cache_read_video_tokens",
        "cache_write_12h_input_tokens",
        "citation_tokens",
        "code_interpreter_requests",
        "hosted_shell_requests",
        "num_sources_used",
        "prompt_audio_seconds",
        "server_side_tool_requests",
        "video_output_tokens",
    }


MESSAGE = {"type": "message", "model": "claude-opus-4-8"}
CLAUDE = {"input_tokens": 5, "output_tokens": 2}
CONVERSED = {"inputTokens": 5, "outputTokens": 2, "cacheWriteInputTokens": 9}
GPT = {"input_tokens": 5, "output_tokens": 2, "total_tokens": 7}
SHELL = {"type": "shell_call", "status": "completed", "action": {"commands": ["ls"]}}


@pytest.mark.parametrize(
    ("api", "document", "unknown"),
    [
        (
            "anthropic_messages",
            {**MESSAGE, "usage": {**CLAUDE, "server_tool_use": {"code_execution_requests": 1}}},
            "code_execution_requests",
        ),
        (
            "anthropic_messages",
            {**MESSAGE, "usage": {**CLAUDE, "server_tool_use": {"tool_search_requests": 2}}},
            None,
        ),
        (
            "anthropic_messages",
            {
                **MESSAGE,
                "usage": {
                    **CLAUDE,
                    "cache_creation_input_tokens": 9,
                    "cache_creation": {"ephemeral_12h_input_tokens": 9},
                },
            },
            "cache_write_12h_input_tokens",
        ),
        (
            "bedrock_converse",
            {
                "output": {},
                "usage": {**CONVERSED, "cacheDetails": [{"ttl": "12h", "inputTokens": 9}]},
            },
            "cache_write_12h_input_tokens",
        ),
        (
            "openai_responses",
            {
                "object": "response",
                "usage": GPT,
                "output": [{**SHELL, "environment": {"type": "container_reference"}}],
            },
            "hosted_shell_requests",
        ),
        (  # grounding of Nova
            "bedrock_converse",
            {
                "output": {"message": {"content": [{"toolUse": {"type": "server_tool_use"}}]}},
                "usage": CONVERSED,
            },
            "server_tool_requests",
        ),
        (  # xAI
            "openai_responses",
            {"object": "response", "usage": {**GPT, "num_server_side_tools_used": 7}},
            "server_side_tool_requests",
        ),
        (  # Groq
            "openai_chat",
            {
                "choices": [{"message": {"executed_tools": [{"index": 0, "type": "search"}]}}],
                "usage": {"prompt_tokens": 5, "completion_tokens": 2},
            },
            "executed_tool_requests",
        ),
        (
            "openai_responses",
            {
                "object": "response",
                "usage": GPT,
                "output": [{**SHELL, "environment": {"type": "local"}}],
            },
            None,
        ),
    ],
)
def test_fee_or_time_of_storage_that_is_not_known_leaves_a_call_unpriced(
    api: str, document: dict[str, Any], unknown: str | None
) -> None:
    usage = FORMATS[api].read_whole(json.dumps(document).encode()).usage
    assert usage
    call = billed_call(
        tokens(
            started(),
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cache_write_input_tokens=usage.cache_write_input_tokens,
            extra=usage.extra,
        )
    )
    if unknown is None:
        checks.check_usage(call)
    else:
        with pytest.raises(UnpriceableError, match=f"no price is known for {unknown}$"):
            checks.check_usage(call)
