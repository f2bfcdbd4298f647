"""Tests of the results of batches: lines in any chunks, each a usage that is recorded once."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aibridge_addon.facts import ResponseFacts, Usage
from aibridge_addon.formats import anthropic_batches, openai_batches
from aibridge_addon.formats.base import ResponseHead
from aibridge_addon.formats.batch_results import BatchResults
from aibridge_addon.formats.decoders.json_lines import JSONLines
from aibridge_addon.formats.decoders.sse import EventTooLargeError
from formats.any_json import json_values, pieces

type JSON = dict[str, Any]


def message(number: int, **usage: int) -> JSON:
    return {
        "type": "message",
        "id": f"msg_{number}",
        "model": "claude-haiku-4-5",
        "content": [],
        "usage": {"input_tokens": number, "output_tokens": 1, **usage},
    }


def lines(*values: Any) -> bytes:
    return b"".join(json.dumps(value).encode() + b"\n" for value in values)


ANTHROPIC = lines(
    {"custom_id": "a", "result": {"type": "succeeded", "message": message(7)}},
    {"custom_id": "b", "result": {"type": "errored", "error": {"type": "error"}}},
    {"custom_id": "c", "result": {"type": "expired"}},
    {
        "custom_id": "d",
        "result": {"type": "succeeded", "message": message(9, cache_read_input_tokens=5)},
    },
)
CHAT = {"object": "chat.completion", "id": "c1", "model": "gpt-5", "choices": []}
OPENAI = lines(
    {
        "id": "batch_req_1",
        "custom_id": "a",
        "response": {
            "status_code": 200,
            "body": CHAT | {"usage": {"prompt_tokens": 5, "completion_tokens": 2}},
        },
        "error": None,
    },
    {
        "id": "batch_req_2",
        "custom_id": "b",
        "response": {"status_code": 400, "body": {"error": {"message": "no"}}},
    },
    {"id": "batch_req_3", "custom_id": "c", "response": None, "error": {"code": "expired"}},
    {
        "id": "batch_req_4",
        "custom_id": "d",
        "response": {
            "status_code": 200,
            "body": {
                "object": "response",
                "id": "resp_1",
                "model": "gpt-5",
                "output": [],
                "usage": {"input_tokens": 3, "output_tokens": 4},
            },
        },
    },
    {
        "custom_id": "e",
        "response": {
            "body": {
                "object": "list",
                "model": "text-embedding-3-small",
                "data": [],
                "usage": {"prompt_tokens": 6, "total_tokens": 6},
            }
        },
    },
)


def read(wire_format: BatchResults, chunks: list[bytes]) -> tuple[list[Usage], ResponseFacts]:
    decoder = wire_format.decoder(ResponseHead(status=200, headers={}))
    assert decoder
    reader = wire_format.reader()
    usages: list[Usage] = []
    reader.on_usage = lambda facts: usages.extend(facts.hidden_usages)
    for event in (event for chunk in chunks for event in decoder.feed(chunk)):
        reader.feed(event)
    assert not reader.complete
    if last := decoder.close():
        reader.feed(last)
    return usages, reader.facts()


def counts(usages: list[Usage]) -> list[tuple[Any, ...]]:
    return [(u.key, u.response_id, u.model, u.input_tokens, u.output_tokens) for u in usages]


EXPECTED = {
    "anthropic": [
        ("a/0", "msg_7", "claude-haiku-4-5", 7, 1),
        ("d/0", "msg_9", "claude-haiku-4-5", 9, 1),
    ],
    "openai": [
        ("a/0", "c1", "gpt-5", 5, 2),
        ("d/0", "resp_1", "gpt-5", 3, 4),
        ("e/0", None, "text-embedding-3-small", 6, 0),
    ],
}
FILES: dict[str, tuple[BatchResults, bytes]] = {
    "anthropic": (anthropic_batches.RESULTS, ANTHROPIC),
    "openai": (openai_batches.RESULTS, OPENAI),
}
each_file = pytest.mark.parametrize("name", FILES)


@each_file
@given(st.data())
def test_results_in_any_chunks_have_a_usage_for_each_line(name: str, data: st.DataObject) -> None:
    wire_format, body = FILES[name]
    without_last_line_feed = data.draw(st.booleans())
    usages, facts = read(
        wire_format, data.draw(pieces(body[:-1] if without_last_line_feed else body))
    )
    assert counts(usages) == EXPECTED[name]
    assert facts == ResponseFacts(complete=True)


@each_file
def test_each_usage_of_results_is_marked_as_batch_with_its_line(name: str) -> None:
    usages, _ = read(FILES[name][0], [FILES[name][1]])
    assert {(u.call, u.extra["service_tier"]) for u in usages} == {("batch", "batch")}
    assert [u.extra["custom_id"] for u in usages] == [u.key and u.key[0] for u in usages]


@each_file
@given(st.lists(st.binary() | json_values.map(lambda value: json.dumps(value).encode())))
def test_any_lines_are_read(name: str, values: list[bytes]) -> None:
    _, facts = read(FILES[name][0], [b"\n".join(values)])
    assert facts.complete


@each_file
def test_line_that_is_no_object_is_counted(name: str) -> None:
    _, facts = read(FILES[name][0], [b"[1]\nnonsense\n\n"])
    assert facts.unreadable == 2


@each_file
def test_error_in_place_of_results_is_read(name: str) -> None:
    wire_format = FILES[name][0]
    assert wire_format.decoder(ResponseHead(status=404, headers={})) is None
    facts = wire_format.read_whole(wire_format.error(404, "No such batch."))
    assert facts.error
    assert facts.error.message == "No such batch."


def test_usage_of_many_lines_is_reported_while_they_are_read() -> None:
    reader = anthropic_batches.RESULTS.reader()
    portions: list[int] = []
    reader.on_usage = lambda facts: portions.append(len(facts.hidden_usages))
    line = {"result": {"message": message(1)}}
    body = lines(*({"custom_id": str(n), **line} for n in range(250)))
    decoder = JSONLines()
    for event in decoder.feed(body):
        reader.feed(event)
    assert portions == [100, 100]


def test_line_that_is_too_large_stops_the_decoder() -> None:
    with pytest.raises(EventTooLargeError):
        JSONLines(max_line_bytes=10).feed(b"x" * 11)


@given(st.lists(st.binary()))
def test_every_byte_of_lines_is_in_one_event(chunks: list[bytes]) -> None:
    decoder = JSONLines()
    events = [event for chunk in chunks for event in decoder.feed(chunk)]
    last = decoder.close()
    assert last
    assert b"".join(event.raw for event in [*events, last]) == b"".join(chunks)
