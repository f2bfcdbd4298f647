"""An alarm: the SDKs know a kind of event, block, item or count that our readers do not.

A new kind is either handled by a reader or, where nothing of it is recorded, named here.
"""

import copy
import dataclasses
import itertools
import json
import re
import types
import typing
from collections.abc import Callable, Iterator
from typing import Any

import anthropic.types.beta as anthropic_beta
import openai.types.beta as openai_beta
import pydantic
import pytest
from anthropic import types as anthropic_types
from openai.types import (
    Batch,
    CreateEmbeddingResponse,
    ImagesResponse,
    audio,
    chat,
    completion,
    realtime,
    responses,
)
from openai.types.chat import chat_completion_chunk
from openai.types.responses import response_output_item

from aibridge_addon.facts import ResponseFacts
from aibridge_addon.formats import FORMATS, anthropic_messages, openai_chat, openai_responses
from formats.helpers import read_request, read_stream, sse

_RESULT = "an output of a tool, not a choice of the model; its call is recorded"
_TEXT = "what the model says aloud is not recorded"

NOTHING_OF: dict[str, dict[str, str]] = {
    "blocks": {
        "text": _TEXT,
        "redacted_thinking": "cannot be read",
        "container_upload": "a file that a tool made",
        "compaction": "a summary for the model; its tokens are an iteration of the usage",
        "fallback": "its model is the response's, which a test of the usage proves",
        "mcp_tool_listing": "a list of tools",
        **dict.fromkeys(
            (
                "mcp_tool_result", "web_search_tool_result", "web_fetch_tool_result",
                "advisor_tool_result", "code_execution_tool_result",
                "bash_code_execution_tool_result", "text_editor_code_execution_tool_result",
                "tool_search_tool_result",
            ),
            _RESULT,
        ),
    },
    "deltas": {
        "text_delta": _TEXT,
        "citations_delta": _TEXT,
        "signature_delta": "a seal of the provider's",
        "compaction_delta": "a summary for the model",
    },
    "items": {
        "additional_tools": "a list of tools",
        "mcp_list_tools": "a list of tools",
        "compaction": "cannot be read; its tokens are part of the usage",
        "mcp_approval_response": "the client's own; as an item of a request it links to the call",
        **dict.fromkeys(
            (
                "tool_search_output", "program_output", "function_call_output",
                "custom_tool_call_output", "computer_call_output", "local_shell_call_output",
                "shell_call_output", "apply_patch_call_output",
            ),
            _RESULT,
        ),
    },
    "chat deltas": {
        "role": "always the same",
        "content": _TEXT,
        "refusal": _TEXT,
        "audio": _TEXT,
    },
}  # fmt: skip
"""Kinds of which nothing is recorded, and why."""

SILENT_USAGE = {
    r"iterations\.[03]\..*": "of the answer's own model: the top level counts them",
    r"fallback_credit\.status\.(reason|remove_to_redeem\..*)": "why no credit was applied",
    r"tool_usage\.image_gen\.total_tokens": "the sum of two counts that are kept",
    r"usage\.type": "follows from the other members",
}
"""Members of usage objects that only the raw usage has, and why."""


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


def test_union_types_are_expanded_completely() -> None:
    assert {"thinking", "tool_use", "text"} <= kinds(anthropic_types.ContentBlock)
    assert {"function_call", "message"} <= kinds(responses.ResponseOutputItem)
    assert {"function_call_output"} <= kinds_of_params(responses.ResponseInputItemParam)


@pytest.mark.parametrize(
    "union",
    [anthropic_types.RawMessageStreamEvent, anthropic_beta.BetaRawMessageStreamEvent],
    ids=["stable", "beta"],
)
def test_every_event_of_anthropic_is_known(union: Any) -> None:
    facts = read_stream(
        anthropic_messages.FORMAT, [sse(*({"type": kind} for kind in kinds(union)))]
    )
    assert facts.unknown == ()


@pytest.mark.parametrize(
    "union", [anthropic_types.ContentBlock, anthropic_beta.BetaContentBlock], ids=["stable", "beta"]
)
def test_every_anthropic_block_type_is_recorded_or_ignored_on_purpose(union: Any) -> None:
    def is_recorded(kind: str) -> bool:
        block = {"type": kind, "id": "i", "name": "n", "input": {}, "thinking": "t"}
        event = {"type": "content_block_start", "index": 0, "content_block": block}
        return read_stream(anthropic_messages.FORMAT, [sse(event)]) != ResponseFacts()

    silent = {kind for kind in kinds(union) if not is_recorded(kind)}
    assert silent - set(NOTHING_OF["blocks"]) == set()
    assert not any(is_recorded(kind) for kind in NOTHING_OF["blocks"])


@pytest.mark.parametrize(
    "union",
    [anthropic_types.RawContentBlockDelta, anthropic_beta.BetaRawContentBlockDelta],
    ids=["stable", "beta"],
)
def test_every_anthropic_delta_type_is_recorded_or_ignored_on_purpose(union: Any) -> None:
    def is_recorded(kind: str) -> bool:
        events = [
            {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking"}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": kind}},
        ]
        events[1]["delta"] |= {"thinking": "t", "partial_json": "{}", "text": "x"}  # type: ignore[operator]
        return read_stream(anthropic_messages.FORMAT, [sse(*events)]) != ResponseFacts()

    silent = {kind for kind in kinds(union) if not is_recorded(kind)}
    assert silent - set(NOTHING_OF["deltas"]) == set()


def test_every_event_of_responses_is_known() -> None:
    for union in (responses.ResponseStreamEvent, responses.ResponsesServerEvent):
        events = [{"type": kind} for kind in kinds(union)]
        assert read_stream(openai_responses.FORMAT, [sse(*events)]).unknown == ()


def test_every_responses_item_type_is_recorded_or_ignored_on_purpose() -> None:
    texts = [{"type": kind, "text": "t"} for kind in ("output_text", "summary_text")]
    common = {"id": "i", "call_id": "c", "phase": "commentary", "content": texts, "summary": texts}

    def is_recorded(kind: str) -> bool:
        event = {"type": "response.output_item.done", "item": {"type": kind, **common}}
        return read_stream(openai_responses.FORMAT, [sse(event)]) != ResponseFacts()

    silent = {kind for kind in kinds(responses.ResponseOutputItem) if not is_recorded(kind)}
    assert silent - set(NOTHING_OF["items"]) == set()
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
            openai_responses.FORMAT, {"input": [{"type": kind, "call_id": "c"}]}
        ).correlating_tool_call_id
    }
    assert linked == results


def test_every_chat_delta_member_is_recorded_or_ignored_on_purpose() -> None:
    handled = {"tool_calls", "function_call"}
    told = fields(chat_completion_chunk.ChoiceDelta)
    assert told - handled - set(NOTHING_OF["chat deltas"]) == set()


def test_every_kind_of_chat_tool_call_is_recorded() -> None:
    for kind in kinds(chat.ChatCompletionMessageToolCallUnion):
        body = sse({"choices": [{"delta": {"tool_calls": [{"index": 0, kind: {"name": "n"}}]}}]})
        [call] = read_stream(openai_chat.FORMAT, [body]).tool_calls
        assert call.tool == "n"


# Usage: each member of a complete usage object makes a difference in the facts


def sample(annotation: Any, pick: int) -> Any:
    """A value of a type with all of its members; `pick` chooses among the members of unions."""
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if isinstance(annotation, type) and hasattr(annotation, "model_fields"):
        return {
            field.alias or name: sample(field.annotation, pick)
            for name, field in annotation.model_fields.items()
        }
    if origin is typing.Annotated:
        return sample(args[0], pick)
    if origin is list:
        return [sample(model, pick) for model in models(args[0])]
    if origin is typing.Literal:
        return args[pick % len(args)]
    if origin in (typing.Union, types.UnionType):
        others = [arg for arg in args if arg is not type(None)]
        return sample(others[pick % len(others)], pick)
    return next(NUMBERS) if annotation in (int, float) else "text"


NUMBERS = itertools.count(1009, 101)


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from leaves(value[key], (*path, key))
    else:
        yield path


def without(value: Any, path: tuple[Any, ...]) -> Any:
    changed = copy.deepcopy(value)
    place = changed
    for step in path[:-1]:
        place = place[step]
    del place[path[-1]]
    return changed


def read_message(usage: Any) -> ResponseFacts:
    message = {"type": "message", "model": "m", "content": [], "usage": usage}
    return anthropic_messages.FORMAT.read_whole(json.dumps(message).encode())


def read_delta(usage: Any) -> ResponseFacts:
    start = {"type": "message_start", "message": {"id": "i", "model": "m"}}
    events = [start, {"type": "message_delta", "delta": {}, "usage": usage}]
    return read_stream(anthropic_messages.FORMAT, [sse(*events)])


def read_completion(told: Any) -> ResponseFacts:
    return openai_chat.FORMAT.read_whole(json.dumps({"choices": [], **told}).encode())


def read_chunk(told: Any) -> ResponseFacts:
    return read_stream(openai_chat.FORMAT, [sse({"choices": [], **told})])


def read_response(told: Any) -> ResponseFacts:
    return openai_responses.FORMAT.read_whole(json.dumps({"output": [], **told}).encode())


def read_end(told: Any) -> ResponseFacts:
    return read_stream(
        openai_responses.FORMAT, [sse({"type": "response.completed", "response": told})]
    )


def read_svg(told: Any) -> ResponseFacts:
    item = {"type": "image_generation_call", "id": "i", "svg_usage": told}
    return read_response({"output": [item]})


def members_of(model: Any, *names: str) -> Any:
    """A model with only these members of another."""
    given: dict[str, Any] = {name: (model.model_fields[name].annotation, None) for name in names}
    return pydantic.create_model("Told", **given)


TOLD = ("usage", "service_tier", "tool_usage")


def read_with(api: str, **beside: Any) -> Callable[[Any], ResponseFacts]:
    """Return a reader of a document with some members, by a wire format."""
    return lambda told: FORMATS[api].read_whole(json.dumps({**beside, **told}).encode())


USAGES = [
    (anthropic_types.Usage, read_message),
    (anthropic_beta.BetaUsage, read_message),
    (anthropic_types.MessageDeltaUsage, read_delta),
    (anthropic_beta.BetaMessageDeltaUsage, read_delta),
    (members_of(chat.ChatCompletion, "usage", "service_tier"), read_completion),
    (members_of(chat.ChatCompletionChunk, "usage", "service_tier"), read_chunk),
    (members_of(responses.Response, *TOLD), read_response),
    (members_of(responses.Response, *TOLD), read_end),
    (members_of(openai_beta.BetaResponse, *TOLD), read_response),
    (members_of(responses.CompactedResponse, "usage"), read_response),
    (response_output_item.ImageGenerationCallSvgUsage, read_svg),
    (members_of(completion.Completion, "usage"), read_with("openai_completions", choices=[])),
    (members_of(CreateEmbeddingResponse, "usage"), read_with("openai_embeddings", data=[])),
    (members_of(ImagesResponse, "usage", "svg_usage"), read_with("openai_images", data=[])),
    (members_of(audio.Transcription, "usage"), read_with("openai_transcriptions", text="")),
    (members_of(audio.TranscriptionDiarized, "usage"), read_with("openai_transcriptions", text="")),
    (members_of(Batch, "usage"), read_with("openai_batches", object="batch", status="completed")),
    (
        members_of(realtime.RealtimeResponse, "usage"),
        read_with("openai_realtime", object="realtime.response"),
    ),
]


def bare(facts: ResponseFacts) -> Any:
    """The facts without the usage objects themselves."""
    usages = [facts.usage, *facts.hidden_usages]
    return facts.model, [usage and dataclasses.replace(usage, raw={}) for usage in usages]


@pytest.mark.parametrize(("model", "read_usage"), USAGES, ids=lambda value: value.__name__)
@pytest.mark.parametrize("pick", range(4))
def test_every_member_of_a_usage_object_has_a_place_in_the_record(
    model: Any, read_usage: Callable[[Any], ResponseFacts], pick: int
) -> None:
    whole = sample(model, pick)
    told = bare(read_usage(whole))
    assert told != bare(ResponseFacts())
    silent = {
        ".".join(map(str, path))
        for path in leaves(whole)
        if bare(read_usage(without(whole, path))) == told
    }
    known = re.compile("|".join(SILENT_USAGE))
    assert {path for path in silent if not known.fullmatch(path)} == set()


PLACES_OF_USAGE = re.compile("usage|tokens|cost|credit|billed|service_tier")
ROOTS = (
    anthropic_beta.BetaMessage,
    *models(anthropic_beta.BetaRawMessageStreamEvent),
    chat.ChatCompletion,
    chat.ChatCompletionChunk,
    responses.Response,
    responses.CompactedResponse,
    *models(responses.ResponseStreamEvent),
    *models(responses.ResponsesServerEvent),
)
READ = {
    **dict.fromkeys(("usage", "tool_usage", "svg_usage", "service_tier"), "read"),
    **dict.fromkeys(("max_tokens", "max_output_tokens", "max_content_tokens"), "limits"),
    "cleared_input_tokens": "left out of the context, and so not billed",
    "cache_missed_tokens": "why a cache was missed; the usage counts them as input",
    "cache_missed_input_tokens": "the same",
    "comparison_reusable_tokens": "the same",
    "estimated_tokens": "an estimate on the way; the usage has the count",
    "fallback_credit_token": "a secret to be spent later, not a price",
}
"""Members outside usage objects that tell or name tokens and prices, and why they are not read."""


def reachable(root: Any, seen: set[Any]) -> set[Any]:
    """The models that a type is made of, however deep."""
    if isinstance(root, type) and hasattr(root, "model_fields"):
        if root not in seen:
            seen.add(root)
            for field in root.model_fields.values():
                reachable(field.annotation, seen)
        return seen
    for arg in typing.get_args(getattr(root, "__value__", root)):
        reachable(arg, seen)
    return seen


def test_every_count_and_price_in_a_fixture_is_read() -> None:
    seen: set[Any] = set()
    for root in ROOTS:
        reachable(root, seen)
    usages: set[Any] = set()
    for model, _ in USAGES:
        reachable(model, usages)
    places = {
        name
        for model in seen
        if model.__name__ not in {usage.__name__ for usage in usages}
        for name in model.model_fields
        if PLACES_OF_USAGE.search(name)
    }
    assert {"usage", "svg_usage", "tool_usage", "service_tier"} <= places
    assert places - set(READ) == set()
