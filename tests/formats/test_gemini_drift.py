"""An alarm: Google's SDK knows a part, a count or a label that our reader does not."""

import json
from typing import Any

import pydantic
import pytest
from google.genai import types

from aibridge_addon.formats.gemini.calls import KNOWN_PARTS
from aibridge_addon.formats.gemini.names import snake
from aibridge_addon.formats.gemini.reader import read_whole
from aibridge_addon.formats.gemini.usage import TRAFFIC, read_usage

NOT_ON_THE_WIRE = {"sdk_http_response", "automatic_function_calling_history", "parsed"}
READ_OF_RESPONSES = {
    *("candidates", "model_version", "prompt_feedback", "response_id", "usage_metadata"),
    *("create_time", "model_status"),  # nothing in them is recorded
}
READ_OF_RESULTS = {"id", "name", "response", "parts", "will_continue", "scheduling"}
READ_OF_CALLS = {"id", "args", "name", "partial_args", "will_continue"}
READ_OF_CANDIDATES = {
    *("content", "index", "finish_reason", "grounding_metadata"),
    # Nothing in these is recorded; the view of a request shows the whole document.
    *("citation_metadata", "finish_message", "token_count", "avg_logprobs", "logprobs_result"),
    *("safety_ratings", "url_context_metadata"),
    "continuation_token",  # the SDK asks again with it: a request of its own
}


def fields(model: type[pydantic.BaseModel]) -> set[str]:
    return set(model.model_fields)


def test_every_member_of_a_part_is_known() -> None:
    assert fields(types.Part) == {snake(name) for name in KNOWN_PARTS}


@pytest.mark.parametrize(
    ("model", "known"),
    [
        (types.GenerateContentResponse, READ_OF_RESPONSES),
        (types.Candidate, READ_OF_CANDIDATES),
        (types.FunctionCall, READ_OF_CALLS),
        (types.ToolCall, {"id", "tool_type", "args"}),
        (types.ExecutableCode, {"code", "language", "id"}),
        (types.ModalityTokenCount, {"modality", "token_count"}),
        (
            types.FunctionResponse,
            {"id", "name", "response", "parts", "will_continue", "scheduling"},
        ),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_every_member_of_a_response_is_read_or_ignored_on_purpose(
    model: type[pydantic.BaseModel], known: set[str]
) -> None:
    assert fields(model) - NOT_ON_THE_WIRE == known


def test_every_traffic_type_has_a_service_tier() -> None:
    known = {kind.value for kind in types.TrafficType} - {"TRAFFIC_TYPE_UNSPECIFIED"}
    assert known == set(TRAFFIC)


def value_of(name: str, number: int) -> Any:
    if name.endswith("details"):
        return [{"modality": "AUDIO", "token_count": number}]
    return {"traffic_type": "ON_DEMAND", "service_tier": "flex"}.get(name, number)


@pytest.mark.parametrize("model", [types.GenerateContentResponseUsageMetadata, types.UsageMetadata])
def test_every_member_of_a_usage_object_has_a_place_in_the_record(
    model: type[pydantic.BaseModel],
) -> None:
    names = sorted(fields(model))
    usage = {name: value_of(name, 1000 + 7**number) for number, name in enumerate(names)}
    usage.pop("service_tier" if model is types.UsageMetadata else "", None)
    whole = read_usage(usage)
    assert whole
    for name in usage:
        less = read_usage({key: value for key, value in usage.items() if key != name})
        assert less is None or (less.extra, counts(less)) != (whole.extra, counts(whole)), name


def counts(usage: Any) -> tuple[int, ...]:
    return usage.input_tokens, usage.output_tokens, usage.cache_read_input_tokens


def test_every_finish_reason_completes_a_response() -> None:
    for reason in types.FinishReason:
        body: Any = {"candidates": [{"content": {"parts": []}, "finishReason": reason.value}]}
        assert read_whole(json.dumps(body).encode()).complete
