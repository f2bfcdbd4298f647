"""An alarm: the SDKs know a kind of event, block, item or count that our readers do not.

A new kind is either handled by a reader or, where nothing of it is recorded, named here.
"""

import typing
from typing import Any

import anthropic.types.beta as anthropic_beta
import pytest
from anthropic import types as anthropic_types
from helpers import read_request, read_stream, sse
from openai.types import chat, completion_usage, responses
from openai.types.chat import chat_completion_chunk
from openai.types.responses import response_usage

from aibridge_addon.facts import ResponseFacts
from aibridge_addon.formats.anthropic_messages import reader as anthropic_messages
from aibridge_addon.formats.openai_chat import reader as openai_chat
from aibridge_addon.formats.openai_responses import reader as openai_responses

NOTHING_OF = {
    "blocks": {
        "text", "redacted_thinking", "container_upload", "compaction", "fallback",
        "mcp_tool_listing", "mcp_tool_result", "web_search_tool_result", "web_fetch_tool_result",
        "advisor_tool_result", "code_execution_tool_result", "bash_code_execution_tool_result",
        "text_editor_code_execution_tool_result", "tool_search_tool_result",
    },
    "deltas": {"text_delta", "citations_delta", "signature_delta", "compaction_delta"},
    "items": {
        "additional_tools", "compaction", "mcp_list_tools", "mcp_approval_request",
        "mcp_approval_response", "tool_search_output", "program_output", "function_call_output",
        "custom_tool_call_output", "computer_call_output", "local_shell_call_output",
        "shell_call_output", "apply_patch_call_output",
    },
    "chat deltas": {"role", "content", "refusal", "audio"},
}  # fmt: skip
"""Kinds of which nothing is recorded."""


def models(union: Any) -> list[type]:
    """The members of a union, however it is nested and annotated."""
    if isinstance(union, type):
        return [union]
    args = typing.get_args(getattr(union, "__value__", union))
    if typing.get_origin(union) is typing.Annotated:
        args = args[:1]
    return [model for arg in args for model in models(arg)]


def kinds(union: Any) -> set[str]:
    """The values of `type` that a union's members have."""
    return {
        kind
        for model in models(union)
        for kind in typing.get_args(model.model_fields["type"].annotation)  # type: ignore[attr-defined]
    }


def fields(model: Any) -> set[str]:
    return set(model.model_fields)


def kinds_of_params(union: Any) -> set[str]:
    """The same, of what goes into a request: typed dicts."""
    found = set()
    for model in models(union):
        annotation = typing.get_type_hints(model).get("type")
        found |= {kind for kind in typing.get_args(annotation) if isinstance(kind, str)}
    return found


def test_a_union_is_walked_to_its_ends() -> None:
    assert {"thinking", "tool_use", "text"} <= kinds(anthropic_types.ContentBlock)
    assert {"function_call", "message"} <= kinds(responses.ResponseOutputItem)
    assert {"function_call_output"} <= kinds_of_params(responses.ResponseInputItemParam)


@pytest.mark.parametrize(
    "union",
    [anthropic_types.RawMessageStreamEvent, anthropic_beta.BetaRawMessageStreamEvent],
    ids=["stable", "beta"],
)
def test_every_event_of_anthropic_is_known(union: Any) -> None:
    facts = read_stream(anthropic_messages, [sse(*({"type": kind} for kind in kinds(union)))])
    assert facts.unknown == ()


@pytest.mark.parametrize(
    "union", [anthropic_types.ContentBlock, anthropic_beta.BetaContentBlock], ids=["stable", "beta"]
)
def test_every_block_of_anthropic_is_recorded_or_known_to_be_nothing(union: Any) -> None:
    def is_recorded(kind: str) -> bool:
        block = {"type": kind, "id": "i", "name": "n", "input": {}, "thinking": "t"}
        event = {"type": "content_block_start", "index": 0, "content_block": block}
        return read_stream(anthropic_messages, [sse(event)]) != ResponseFacts()

    silent = {kind for kind in kinds(union) if not is_recorded(kind)}
    assert silent - NOTHING_OF["blocks"] == set()
    assert not any(is_recorded(kind) for kind in NOTHING_OF["blocks"])


@pytest.mark.parametrize(
    "union",
    [anthropic_types.RawContentBlockDelta, anthropic_beta.BetaRawContentBlockDelta],
    ids=["stable", "beta"],
)
def test_every_delta_of_anthropic_is_recorded_or_known_to_be_nothing(union: Any) -> None:
    def is_recorded(kind: str) -> bool:
        events = [
            {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking"}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": kind}},
        ]
        events[1]["delta"] |= {"thinking": "t", "partial_json": "{}", "text": "x"}  # type: ignore[operator]
        return read_stream(anthropic_messages, [sse(*events)]) != ResponseFacts()

    silent = {kind for kind in kinds(union) if not is_recorded(kind)}
    assert silent - NOTHING_OF["deltas"] == set()


def test_every_event_of_responses_is_known() -> None:
    for union in (responses.ResponseStreamEvent, responses.ResponsesServerEvent):
        events = [{"type": kind} for kind in kinds(union)]
        assert read_stream(openai_responses, [sse(*events)]).unknown == ()


def test_every_item_of_responses_is_recorded_or_known_to_be_nothing() -> None:
    texts = [{"type": kind, "text": "t"} for kind in ("output_text", "summary_text")]
    common = {"id": "i", "call_id": "c", "phase": "commentary", "content": texts, "summary": texts}

    def is_recorded(kind: str) -> bool:
        event = {"type": "response.output_item.done", "item": {"type": kind, **common}}
        return read_stream(openai_responses, [sse(event)]) != ResponseFacts()

    silent = {kind for kind in kinds(responses.ResponseOutputItem) if not is_recorded(kind)}
    assert silent - NOTHING_OF["items"] == set()
    assert not any(is_recorded(kind) for kind in NOTHING_OF["items"])


def test_every_result_that_a_responses_request_brings_is_linked_to_its_call() -> None:
    results = {
        kind
        for kind in kinds_of_params(responses.ResponseInputItemParam)
        if kind.endswith(("_output", "_result"))
    }
    linked = {
        kind
        for kind in results
        if read_request(
            openai_responses, {"input": [{"type": kind, "call_id": "c"}]}
        ).correlating_tool_call_id
    }
    assert linked == results


def test_every_part_of_a_chat_delta_is_recorded_or_known_to_be_nothing() -> None:
    handled = {"tool_calls", "function_call"}
    assert fields(chat_completion_chunk.ChoiceDelta) - handled - NOTHING_OF["chat deltas"] == set()


def test_every_kind_of_chat_tool_call_is_recorded() -> None:
    for kind in kinds(chat.ChatCompletionMessageToolCallUnion):
        body = sse({"choices": [{"delta": {"tool_calls": [{"index": 0, kind: {"name": "n"}}]}}]})
        [call] = read_stream(openai_chat, [body]).tool_calls
        assert call.tool == "n"


@pytest.mark.parametrize(
    ("model", "known"),
    [
        (
            anthropic_types.Usage,
            {
                "input_tokens", "output_tokens", "cache_read_input_tokens",
                "cache_creation_input_tokens", "cache_creation", "server_tool_use", "service_tier",
                "inference_geo", "output_tokens_details", "speed",
            },
        ),
        (anthropic_types.CacheCreation, {"ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens"}),
        (anthropic_types.ServerToolUsage, {"web_search_requests", "web_fetch_requests"}),
        (
            completion_usage.CompletionUsage,
            {
                "prompt_tokens", "completion_tokens", "total_tokens", "prompt_tokens_details",
                "completion_tokens_details",
            },
        ),
        (
            completion_usage.PromptTokensDetails,
            {"cached_tokens", "cache_write_tokens", "audio_tokens", "image_tokens", "text_tokens"},
        ),
        (
            completion_usage.CompletionTokensDetails,
            {
                "reasoning_tokens", "audio_tokens", "accepted_prediction_tokens",
                "rejected_prediction_tokens", "text_tokens",
            },
        ),
        (
            response_usage.ResponseUsage,
            {
                "input_tokens", "output_tokens", "total_tokens", "input_tokens_details",
                "output_tokens_details",
            },
        ),
        (
            response_usage.InputTokensDetails,
            {"cached_tokens", "cache_write_tokens", "cache_write_tokens_details"},
        ),
        (response_usage.OutputTokensDetails, {"reasoning_tokens"}),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)  # fmt: skip
def test_every_count_of_a_usage_object_is_known(model: Any, known: set[str]) -> None:
    assert fields(model) - known == set()
