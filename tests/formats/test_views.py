"""Rules that hold for the view of every wire format and every fixture."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aibridge_addon.formats import FORMATS, Format
from aibridge_addon.formats.content import Conversation, ModelMessage, Part
from aibridge_addon.formats.view import View
from aibridge_addon.raw_json import read
from formats.any_json import json_values, mutated
from formats.helpers import (
    ANSWERS,
    LINE_ENDS,
    REQUESTS,
    STREAMS,
    Scenario,
    data_of,
    every,
    parse,
    sse,
    thorough,
)

wire_formats = pytest.mark.parametrize("wire_format", FORMATS.values(), ids=FORMATS)
streams = every(STREAMS)
answers = every(ANSWERS)
requests = every(REQUESTS)


def view_of(wire_format: Format) -> View:
    assert wire_format.view
    return wire_format.view


def comparable(message: ModelMessage) -> Any:
    """A message that compares equal to itself even if it has NaN in its usage."""
    return repr(message)


def is_storable(text: str | None) -> bool:
    return text is None or text == text.encode("utf-8", "replace").decode()


def assert_readable(parts: tuple[Part, ...]) -> None:
    assert all(is_storable(t) for part in parts for t in (part.text, part.name, part.call_id))


def read_everything(view: View, body: bytes) -> None:
    """Call every method of a view; the result must be text that any store can hold."""
    conversation = view.read_request(body)
    assert_readable(conversation.system)
    for message in conversation.messages:
        assert_readable(message.parts)
        assert is_storable(message.role)
    for part in view.split_request(body):
        read(part.content)
    response = view.read_response(body)
    assert_readable(response.message.parts)
    assembled = view.assemble_response(body)
    assert comparable(view.read_response(assembled)) == comparable(response)
    for kind in ("system", "tools", "parameters", "message", "response"):
        view.read_part(kind, body)


@every([s for s in STREAMS if s.has("answer.json")])
def test_stream_adds_up_to_the_message_of_the_response_without_streaming(
    scenario: Scenario,
) -> None:
    view = view_of(scenario.wire_format)
    streamed = view.read_response(scenario.stream())
    assert replace(streamed, usage=None) == replace(
        view.read_response(scenario.read("answer.json")), usage=None
    )


@pytest.mark.parametrize("line_end", LINE_ENDS)
@streams
def test_streamed_message_has_the_facts_of_its_reader(scenario: Scenario, line_end: str) -> None:
    message = view_of(scenario.wire_format).read_response(scenario.stream(line_end))
    facts = scenario.response_facts()
    assert (message.model, message.response_id) == (facts.model, facts.response_id)
    assert (message.usage, message.error) == (facts.usage, facts.error)
    assert message.complete == facts.complete


@answers
def test_message_of_a_document_has_the_facts_of_its_reader(scenario: Scenario) -> None:
    message = view_of(scenario.wire_format).read_response(scenario.read("answer.json"))
    facts = scenario.response_facts()
    assert (message.model, message.response_id) == (facts.model, facts.response_id)
    assert message.error == facts.error
    assert message.complete


@streams
def test_every_call_and_thought_of_the_facts_is_in_the_message(scenario: Scenario) -> None:
    parts = view_of(scenario.wire_format).read_response(scenario.stream()).message.parts
    facts = scenario.response_facts()
    calls = [(part.name, part.call_id) for part in parts if part.kind == "tool_call"]
    if scenario.api != "openai_responses_compact":
        assert [(call.tool, call.call_id) for call in facts.tool_calls] == calls
    thoughts = [thought.content for thought in facts.thoughts if thought.source != "commentary"]
    assert [p.text for p in parts if p.kind == "thinking" and p.text] == thoughts


@streams
def test_assembled_stream_reads_back_as_the_same_message(scenario: Scenario) -> None:
    view = view_of(scenario.wire_format)
    document = view.assemble_response(scenario.stream())
    assert document.startswith(b"{")
    assert view.read_response(document) == view.read_response(scenario.stream())
    assert view.assemble_response(document) == document


@streams
def test_lines_of_json_events_read_as_the_stream_does(scenario: Scenario) -> None:
    """As messages of a WebSocket are stored."""
    view = view_of(scenario.wire_format)
    events = data_of(parse([scenario.stream()]))
    if any(name for name, data in events if b'"type"' not in data):
        pytest.skip("its events have their type outside the JSON")
    lines = b"\n".join(data for _, data in events)
    assert view.read_response(lines) == view.read_response(scenario.stream())


@streams
def test_cut_stream_gives_a_partial_message(scenario: Scenario) -> None:
    view = view_of(scenario.wire_format)
    stream = scenario.stream()
    whole = view.read_response(stream)
    for end in range(0, len(stream), 1 + len(stream) // 40):
        message = view.read_response(stream[:end])
        assert view.read_response(view.assemble_response(stream[:end])) == message
        assert len(message.message.parts) <= len(whole.message.parts) or not whole.complete


@requests
def test_parts_of_a_request_read_back_as_its_conversation(scenario: Scenario) -> None:
    view = view_of(scenario.wire_format)
    body = scenario.read("request.json")
    conversation = view.read_request(body)
    assert conversation == view.conversation_of(view.split_request(body))
    assert conversation.model == json.loads(body).get("model")
    assert conversation.messages
    slices = view.split_request(body)
    assert all(part.content in body for part in slices if part.kind in ("system", "message"))
    roles = [part.role for part in slices if part.kind == "message"]
    assert roles == [message.role for message in conversation.messages]


@requests
def test_every_word_of_a_request_is_in_its_slices(scenario: Scenario) -> None:
    body = scenario.read("request.json")
    slices = b"".join(p.content for p in view_of(scenario.wire_format).split_request(body))
    words = {word for word in json.dumps(json.loads(body)).split('"') if word.isalnum()}
    members = {"messages", "input", "tools", "system", "instructions", "toolConfig"}
    members |= {"contents", "request", "systemInstruction", "requests"}
    members |= {"prompt", "documents", "batch", "instances"}
    assert {word for word in words - members if word.encode() not in slices} == set()


@wire_formats
@thorough
@given(json_values)
def test_any_json_is_read_by_every_view(wire_format: Format, value: Any) -> None:
    view = view_of(wire_format)
    read_everything(view, json.dumps(value).encode())
    read_everything(view, sse(value))


@wire_formats
@thorough
@given(st.binary(max_size=200))
def test_any_bytes_are_read_by_every_view(wire_format: Format, body: bytes) -> None:
    read_everything(view_of(wire_format), body)


@every(REQUESTS + ANSWERS)
@given(st.data())
def test_mutated_document_is_read(scenario: Scenario, data: st.DataObject) -> None:
    file = "request.json" if scenario.has("request.json") else "answer.json"
    value = data.draw(mutated(json.loads(scenario.read(file))))
    read_everything(view_of(scenario.wire_format), json.dumps(value).encode())


@streams
@given(st.data())
def test_mutated_stream_is_read(scenario: Scenario, data: st.DataObject) -> None:
    values = [read(given) for _, given in data_of(parse([scenario.stream()]))]
    values = data.draw(mutated([value for value in values if value is not None]))
    read_everything(
        view_of(scenario.wire_format), sse(*(values if isinstance(values, list) else [values]))
    )


@wire_formats
def test_body_that_is_no_json_gives_nothing(wire_format: Format) -> None:
    view = view_of(wire_format)
    assert view.read_request(b"<html>") == Conversation()
    assert view.split_request(b"<html>") == []
    assert view.assemble_response(b"<html>") == b""
    assert view.read_response(b"<html>") == ModelMessage()
    assert view.read_response(b"") == ModelMessage()
