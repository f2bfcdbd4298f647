"""Ollama's own API: lines of JSON, requests that stream by default, and its SDK's types."""

import json
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ollama import ChatResponse, GenerateResponse, Message

from aibridge_addon.facts import RequestFacts, ResponseFacts
from aibridge_addon.formats import FORMATS, ResponseHead
from aibridge_addon.formats.decoders.ndjson import LineParser
from aibridge_addon.formats.decoders.sse import Event, EventTooLargeError
from aibridge_addon.raw_json import members
from formats.any_json import pieces
from formats.helpers import STREAMS, Scenario, parse, raw_of, read_request, thorough

CHAT, GENERATE = FORMATS["ollama_chat"], FORMATS["ollama_generate"]
OLLAMA = [scenario for scenario in STREAMS if scenario.api.startswith("ollama")]


def lines_of(scenario: Scenario, line_end: bytes = b"\n") -> bytes:
    """Return a stream as Ollama sends it."""
    return b"".join((e.data or b"") + line_end for e in parse([scenario.stream()]) if e.data)


def split(chunks: Iterable[bytes]) -> list[Event]:
    parser = LineParser()
    events = [event for chunk in chunks for event in parser.feed(chunk)]
    if last := parser.close():
        events.append(last)
    assert parser.pending == 0
    return events


def facts_of(scenario: Scenario, chunks: Iterable[bytes]) -> ResponseFacts:
    reader = scenario.wire_format.reader()
    for event in split(chunks):
        reader.feed(event)
    return reader.facts()


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\n\n"])
@pytest.mark.parametrize("scenario", OLLAMA, ids=str)
@given(st.data())
def test_any_split_of_lines_gives_the_same_facts(
    scenario: Scenario, line_end: bytes, data: st.DataObject
) -> None:
    stream = lines_of(scenario, line_end)
    chunks = data.draw(pieces(stream))
    assert facts_of(scenario, chunks) == scenario.response_facts()
    assert raw_of(split(chunks)) == stream


@pytest.mark.parametrize("scenario", OLLAMA, ids=str)
def test_lines_are_shown_like_the_events_of_the_fixture(scenario: Scenario) -> None:
    view = scenario.wire_format.view
    assert view
    for body in (lines_of(scenario), lines_of(scenario).rstrip()):
        assert view.read_response(body) == view.read_response(scenario.stream())


@thorough
@given(st.lists(st.binary(max_size=12)), st.data())
def test_any_bytes_are_kept_in_order(lines: list[bytes], data: st.DataObject) -> None:
    stream = b"\n".join(lines)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    events = split(stream[a:b] for a, b in pairwise([0, *cuts, len(stream)]))
    assert raw_of(events) == stream
    assert all(b"\n" not in event.raw[:-1] for event in events)


def test_line_is_bounded() -> None:
    parser = LineParser(max_event_bytes=10)
    with pytest.raises(EventTooLargeError):
        parser.feed(b"x" * 11)


@pytest.mark.parametrize(
    ("media_type", "is_lines"),
    [("application/x-ndjson", True), ("", True), ("application/json; charset=utf-8", False)],
)
def test_media_type_tells_lines_from_a_document(media_type: str, is_lines: bool) -> None:
    head = ResponseHead(status=200, headers={"content-type": media_type})
    assert isinstance(CHAT.decoder(head), LineParser) is is_lines


@pytest.mark.parametrize(("stream", "expected"), [(None, True), (True, True), (False, False)])
def test_request_streams_unless_it_says_no(stream: bool | None, expected: bool) -> None:
    for wire_format in (CHAT, GENERATE):
        assert read_request(wire_format, {"stream": stream}).streaming is expected
        assert read_request(wire_format, {}).streaming


@pytest.mark.parametrize(
    ("api", "body"),
    [
        ("ollama_chat", {"model": "m", "messages": [], "keep_alive": -1}),
        ("ollama_chat", {"model": "m"}),
        ("ollama_generate", {"model": "m", "keep_alive": 0}),
        ("ollama_generate", {"model": "m", "prompt": ""}),
    ],
)
def test_request_that_only_loads_a_model_is_not_a_prompt(api: str, body: Any) -> None:
    expected = RequestFacts(model="m", streaming=True, request_kind="side")
    assert read_request(FORMATS[api], body) == expected


def test_system_prompt_is_read() -> None:
    messages = [{"role": "system", "content": "Be terse."}, {"role": "user", "content": "Hi"}]
    assert read_request(CHAT, {"messages": messages}).system == ("Be terse.",)
    assert read_request(GENERATE, {"system": "Be terse.", "prompt": "Hi"}).system == ("Be terse.",)


def test_output_limit_is_lowered_inside_the_options() -> None:
    body = b'{"options":  {"num_predict": 500, "seed": 1}}'
    given = members(body) or {}
    assert CHAT.output_limit(given) == 500
    assert CHAT.lower_output_limit(body, given, 100) == body.replace(b"500", b"100")
    assert CHAT.lower_output_limit(body, given, 500) == body
    assert CHAT.output_limit({}) is None


def test_cached_count_that_exceeds_the_prompt_was_counted_beside_it() -> None:
    body = {"done": True, "prompt_eval_count": 5, "prompt_eval_cached_count": 9, "eval_count": 1}
    usage = CHAT.read_whole(json.dumps(body).encode()).usage
    assert usage
    assert (usage.input_tokens, usage.cache_read_input_tokens) == (5, 9)


# Members of the SDK's types; a new one is either read, or named here.
READ_OF_LINES = {
    *("model", "done", "done_reason", "message", "response", "thinking"),
    *("prompt_eval_count", "eval_count", "total_duration", "load_duration"),
    *("prompt_eval_duration", "eval_duration"),
}
NOT_READ_OF_LINES = {
    "created_at": "the record has a time of its own",
    "logprobs": "not what was said",
    "context": "the conversation as tokens",
    "image": "an image of an experimental API",
    "completed": "its progress",
    "total": "likewise",
}
READ_OF_MESSAGES = {"role", "content", "thinking", "images", "tool_name", "tool_calls"}


def test_sdk_has_no_members_that_are_unknown_here() -> None:
    lines = set(ChatResponse.model_fields) | set(GenerateResponse.model_fields)
    assert lines - READ_OF_LINES - NOT_READ_OF_LINES.keys() == set()
    assert set(Message.model_fields) == READ_OF_MESSAGES
    assert set(Message.ToolCall.model_fields) <= {"function", "id"}
    assert set(Message.ToolCall.Function.model_fields) == {"name", "arguments"}
