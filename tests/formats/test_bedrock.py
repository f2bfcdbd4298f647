"""Amazon Bedrock: bodies of the fixtures in AWS frames, and what only heads and paths state."""

import json
from dataclasses import replace
from typing import Any

import pytest
from botocore.eventstream import EventStreamBuffer
from botocore.loaders import Loader
from hypothesis import given
from hypothesis import strategies as st

from aibridge_addon.facts import ResponseFacts
from aibridge_addon.formats import FORMATS, Format, RequestView, ResponseHead
from aibridge_addon.formats.bedrock_converse.reader import ConverseReader
from aibridge_addon.formats.bedrock_converse.view import ConverseView
from aibridge_addon.formats.central_tool import CentralTool
from aibridge_addon.formats.decoders.aws_frames import (
    MEDIA_TYPE,
    chunk_frame,
    event_frame,
    exception_frame,
    frames_of,
)
from aibridge_addon.formats.decoders.sse import Event
from aibridge_addon.formats.tool_protocol import StreamError
from aibridge_addon.raw_json import as_raw, body, members
from formats.any_json import pieces
from formats.helpers import SCENARIOS, STREAMS, Scenario, every, parse, sse

BEDROCK = [FORMATS["bedrock_invoke"], FORMATS["bedrock_converse"]]
HEAD = ResponseHead(status=200, headers={"content-type": MEDIA_TYPE})
MODEL = json.loads(json.dumps(Loader().load_service_model("bedrock-runtime", "service-2")))

both = pytest.mark.parametrize("wire_format", BEDROCK, ids=lambda known: known.name)
own_streams = [scenario for scenario in STREAMS if scenario.api.startswith("bedrock_")]
MESSAGES = [scenario for scenario in STREAMS if scenario.api == "anthropic_messages"]


def framed(scenario: Scenario) -> bytes:
    """Return the stream of a fixture in AWS frames."""
    events = [event for event in parse([scenario.stream()]) if event.data is not None]
    return b"".join(
        framed_event(event, is_chunk="converse" not in scenario.api) for event in events
    )


def framed_event(event: Event, *, is_chunk: bool) -> bytes:
    data = event.data or b""
    if event.name == b"error" and b"Exception" in data:
        error = json.loads(data)["error"]
        return exception_frame(error["type"], error["message"])
    return chunk_frame(data) if is_chunk else event_frame(event.name.decode(), data)


def read_frames(wire_format: Format, chunks: list[bytes]) -> ResponseFacts:
    decoder = wire_format.decoder(HEAD)
    assert decoder
    reader = wire_format.reader()
    for event in (event for chunk in chunks for event in decoder.feed(chunk)):
        reader.feed(event)
    return reader.facts()


@every(own_streams)
@given(st.data())
def test_frames_in_any_split_give_the_facts_of_the_fixture(
    scenario: Scenario, data: st.DataObject
) -> None:
    chunks = data.draw(pieces(framed(scenario)))
    assert read_frames(scenario.wire_format, chunks) == scenario.response_facts()


@every(MESSAGES)
def test_messages_of_claude_in_frames_have_the_facts_of_server_sent_events(
    scenario: Scenario,
) -> None:
    facts = read_frames(FORMATS["bedrock_invoke"], [framed(scenario)])
    expected = replace(scenario.response_facts(), model=None)
    if facts.unreadable != expected.unreadable:  # an event that is cut has no whole frame
        expected = replace(expected, unreadable=facts.unreadable)
    assert facts == expected


@every(own_streams)
def test_view_of_frames_is_the_view_of_the_fixture(scenario: Scenario) -> None:
    view = scenario.wire_format.view
    assert view
    stream = framed(scenario)
    assert view.read_response(stream) == view.read_response(scenario.stream())
    for end in range(0, len(stream), 1 + len(stream) // 40):
        assert not view.read_response(stream[:end]).complete or scenario.name == "other_model"


@both
def test_stream_that_is_cut_at_any_frame_is_not_complete(wire_format: Format) -> None:
    api = wire_format.name
    stream = framed(Scenario(api=api, name="text"))
    decoder = wire_format.decoder(HEAD)
    assert decoder
    *events, last = decoder.feed(stream)
    reader = wire_format.reader()
    for event in events:
        reader.feed(event)
        assert not reader.facts().complete
        assert not reader.ended
    reader.feed(last)
    assert reader.facts().complete
    assert reader.ended


@both
def test_response_that_is_not_announced_as_frames_has_no_decoder(wire_format: Format) -> None:
    head = ResponseHead(status=200, headers={"content-type": "application/json"})
    assert wire_format.decoder(head) is None


@both
def test_error_has_the_type_and_id_of_its_head(wire_format: Format) -> None:
    headers = {
        "x-amzn-errortype": "ThrottlingException:http://internal.amazon.com/coral/",
        "x-amzn-requestid": "a-b",
    }
    facts = wire_format.read_whole(b'{"message":"Too many requests"}')
    facts = wire_format.add_head(facts, ResponseHead(status=429, headers=headers))
    assert facts.error
    assert facts.error.type == "ThrottlingException"
    assert facts.response_id == "a-b"


def test_tokens_of_another_model_are_read_from_the_head() -> None:
    wire_format = FORMATS["bedrock_invoke"]
    headers = {
        "x-amzn-bedrock-input-token-count": "12",
        "x-amzn-bedrock-output-token-count": "3",
        "x-amzn-bedrock-cache-read-input-token-count": "5",
        "x-amzn-bedrock-service-tier": "flex",
    }
    facts = wire_format.add_head(
        wire_format.read_whole(b'{"generation":"hi"}'), ResponseHead(status=200, headers=headers)
    )
    assert facts.usage
    assert (facts.usage.input_tokens, facts.usage.output_tokens) == (12, 3)
    assert facts.usage.cache_read_input_tokens == 5
    assert facts.usage.extra == {"service_tier": "flex"}


@pytest.mark.parametrize(
    ("body", "counts"),
    [
        ({"usage": {"inputTokens": 5, "outputTokens": 2}}, (5, 2, 0, 0)),
        (
            {
                "usage": {
                    "inputTokens": 5,
                    "outputTokens": 2,
                    "cacheReadInputTokenCount": 3,
                    "cacheWriteInputTokenCount": 4,
                }
            },
            (5, 2, 3, 4),
        ),
        ({"usage": {"inputTokens": 5, "outputTokens": "2"}}, (5, None, 0, 0)),
        ({"usage": {"prompt_tokens": 5, "completion_tokens": 2}, "choices": []}, (5, 2, 0, 0)),
        ({"prompt_token_count": 5, "generation_token_count": 2}, (5, 2, 0, 0)),
        ({"prompt_token_count": 5}, (5, None, 0, 0)),
        ({"inputTextTokenCount": 5, "results": [{"tokenCount": 2}]}, (5, 2, 0, 0)),
        ({"inputTextTokenCount": 5, "results": [{"tokenCount": None}]}, (5, None, 0, 0)),
        ({"inputTextTokenCount": 5, "embedding": [0.5]}, (5, 0, 0, 0)),
        ({"inputTextTokenCount": 5}, (5, None, 0, 0)),
    ],
    ids=str,
)
def test_tokens_of_another_model_are_read_from_its_body(
    body: dict[str, Any], counts: tuple[int | None, ...]
) -> None:
    usage = FORMATS["bedrock_invoke"].read_whole(json.dumps(body).encode()).usage
    assert usage
    assert (
        *(usage.input_tokens, usage.output_tokens),
        *(usage.cache_read_input_tokens, usage.cache_write_input_tokens),
    ) == counts


@pytest.mark.parametrize("value", ["", "-1", "many", "1.5", "²", "9" * 5000])
def test_unreadable_token_counts_of_a_head_are_unknown(value: str) -> None:
    wire_format = FORMATS["bedrock_invoke"]
    headers = {
        "x-amzn-bedrock-input-token-count": value,
        "x-amzn-bedrock-output-token-count": "3",
    }
    facts = wire_format.add_head(
        wire_format.read_whole(b'{"generation":"hi"}'), ResponseHead(status=200, headers=headers)
    )
    assert facts.usage
    assert (facts.usage.input_tokens, facts.usage.output_tokens) == (None, 3)


@both
def test_labels_that_change_the_price_are_read_from_the_head_of_a_request(
    wire_format: Format,
) -> None:
    headers = {
        "x-amzn-bedrock-service-tier": "priority",
        "x-amzn-bedrock-performanceconfig-latency": "optimized",
    }
    view = RequestView(members={}, path="/model/m/invoke", headers=headers)
    labels = wire_format.read_request(view).billing_labels
    assert labels == {"service_tier": "priority", "speed": "optimized"}


def test_output_limit_of_converse_is_lowered_inside_its_configuration() -> None:
    converse = FORMATS["bedrock_converse"]
    scenario = Scenario(api="bedrock_converse", name="text")
    members = dict(scenario.request_view().members)
    assert converse.output_limit(members) == 512
    whole = body(members)
    assert converse.lower_output_limit(whole, members, 100) == whole.replace(b"512", b"100")
    assert converse.lower_output_limit(whole, members, 512) == whole
    thinks = as_raw({"thinking": {"type": "enabled", "budget_tokens": 400}})
    members["additionalModelRequestFields"] = thinks
    assert converse.lower_output_limit(whole, members, 100) == whole.replace(b"512", b"401")


# Drift: each member that botocore's service model knows is read, or listed here as not recorded.


def members_of(shape: str) -> set[str]:
    return set(MODEL["shapes"][shape]["members"])


def test_every_event_of_a_converse_stream_is_read() -> None:
    events = {name for name in members_of("ConverseStreamOutput") if "Exception" not in name}
    assert events == set(ConverseReader().handlers) - {"error"}


def test_exceptions_of_streams_are_named_as_the_frame_parser_expects() -> None:
    for stream in ("ConverseStreamOutput", "ResponseStream"):
        kinds = {
            name
            for name in members_of(stream)
            if MODEL["shapes"][MODEL["shapes"][stream]["members"][name]["shape"]].get("exception")
        }
        assert all(kind.endswith("Exception") for kind in kinds)
    assert members_of("PayloadPart") == {"bytes"}


def test_every_token_count_of_converse_is_read() -> None:
    assert members_of("TokenUsage") == {
        "inputTokens",
        "outputTokens",
        "cacheReadInputTokens",
        "cacheWriteInputTokens",
        "cacheDetails",
        "totalTokens",  # with or without the cache: not used
    }
    assert members_of("CacheDetail") == {"ttl", "inputTokens"}
    assert set(MODEL["shapes"]["CacheTTL"]["enum"]) == {"5m", "1h"}


OTHER_BLOCKS = {"guardContent", "cachePoint", "searchResult", "toolAddition", "toolRemoval"}
"""Shown as JSON."""


def test_every_content_block_of_converse_is_shown() -> None:
    view = ConverseView()
    for kind in members_of("ContentBlock"):
        (part,) = view.read_message({"role": "user", "content": [{kind: {"a": 1}}]}, "user").parts
        if part.kind == "other":
            assert kind in OTHER_BLOCKS, kind


def test_deltas_of_converse_are_the_ones_that_blocks_are_made_of() -> None:
    assert members_of("ContentBlockDelta") == {
        *("text", "toolUse", "toolResult", "reasoningContent", "citation"),
        "image",  # not shown
    }
    assert members_of("ContentBlockStart") == {"toolUse", "toolResult", "image"}
    assert members_of("ReasoningContentBlockDelta") == {"text", "signature", "redactedContent"}


def test_operations_that_name_a_model_are_known() -> None:
    paths = {
        operation["http"]["requestUri"]
        for operation in MODEL["operations"].values()
        if "{modelId}" in operation["http"]["requestUri"]
    }
    assert paths == {
        f"/model/{{modelId}}/{verb}"
        for verb in (
            "invoke",
            "invoke-with-response-stream",
            "invoke-with-bidirectional-stream",
            "converse",
            "converse-stream",
            "count-tokens",
        )
    }


def test_every_scenario_of_bedrock_is_used() -> None:
    assert {s.api for s in SCENARIOS if s.api.startswith("bedrock_")} == {f.name for f in BEDROCK}


CALLED = frozenset({"bmcp_s_look"})


def turn_of_a_call(name: str) -> list[dict[str, Any]]:
    """Return the events of a message with a text and a call."""
    call = {"type": "tool_use", "id": "toolu_1", "name": name, "input": {}}
    usage = {"input_tokens": 5, "output_tokens": 1}
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m"}
    return [
        {"type": "message_start", "message": {**message, "content": [], "usage": usage}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": "text_delta", "text": "I look."},
        },
        {"type": "content_block_stop", "index": 0},
        {"type": "content_block_start", "index": 1, "content_block": call},
        {"type": "content_block_stop", "index": 1},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "tool_use"},
            "usage": {"output_tokens": 9},
        },
        {"type": "message_stop"},
    ]


def spliced(wire_format: Format, frames: list[bytes]) -> tuple[list[Any], bytes]:
    """Splice two responses; return the client's events, and its stream."""
    assert wire_format.tools
    splicer = wire_format.tools.splicer(CALLED)
    out = b""
    for number, stream in enumerate(frames):
        if number:
            out += splicer.ping()
            splicer.resume()
        events = frames_of(stream) if stream.startswith(b"\0") else parse([stream])
        reader = wire_format.reader()
        out += b"".join(splicer.feed(event, reader.feed(event)) for event in events)
    out += splicer.finish()
    shown = frames_of(out) if out.startswith(b"\0") else parse([out])
    return [json.loads(event.data or b"") for event in shown], out


def test_hidden_calls_leave_the_same_events_in_frames_as_in_server_sent_events() -> None:
    responses = [turn_of_a_call("bmcp_s_look"), turn_of_a_call("own_tool")]
    in_frames = [b"".join(chunk_frame(json.dumps(e).encode()) for e in r) for r in responses]
    shown, stream = spliced(FORMATS["bedrock_invoke"], in_frames)
    expected, _ = spliced(FORMATS["anthropic_messages"], [sse(*r) for r in responses])
    assert shown == expected
    assert [e["type"] for e in shown].count("message_start") == 1
    assert sum(e.get("type") == "ping" for e in shown) == 1
    buffer = EventStreamBuffer()
    buffer.add_data(stream)
    assert len(list(buffer)) == len(shown)  # botocore checks both checksums of each


def test_frames_are_relayed_byte_for_byte_while_nothing_is_hidden() -> None:
    stream = framed(Scenario(api="bedrock_invoke", name="tool_use"))
    assert spliced(FORMATS["bedrock_invoke"], [stream])[1] == stream


def test_error_of_a_loop_is_an_event_of_the_model_in_a_frame() -> None:
    tools = FORMATS["bedrock_invoke"].tools
    assert tools
    error = tools.splicer(CALLED).error(StreamError(message="No.", error_type="overloaded_error"))
    (event,) = frames_of(error)
    assert json.loads(event.data or b"")["error"] == {"type": "overloaded_error", "message": "No."}


@pytest.mark.parametrize(
    ("body", "expected"),
    [({"anthropic_version": "bedrock-2023-05-31", "messages": []}, 1), ({"prompt": "Hi"}, 0)],
)
def test_tools_are_offered_to_claude_only(body: dict[str, Any], expected: int) -> None:
    tools = FORMATS["bedrock_invoke"].tools
    assert tools
    offered = CentralTool(
        name="bmcp_s_look",
        server="s",
        server_url="https://mcp.example/",
        original_name="look",
        description="Looks.",
        input_schema={"type": "object"},
    )
    assert len(tools.inject(members(json.dumps(body).encode()) or {}, [offered])) == expected
