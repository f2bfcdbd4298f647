"""Rules that hold for every reader and every fixture."""

import json
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aibridge_addon.facts import ProviderError, RequestFacts, ResponseFacts
from aibridge_addon.formats import FORMATS, Format
from aibridge_addon.formats.decoders.sse import Event, typed
from aibridge_addon.raw_json import decode, encode, read
from formats.any_json import json_values, lists_of_json, mutated, numbers, objects_with, pieces
from formats.helpers import (
    ANSWERS,
    ENDS_WITH_BODY,
    FIXTURES,
    IN_PATH,
    LINE_ENDS,
    REQUESTS,
    SCENARIOS,
    STREAMS,
    Scenario,
    every,
    named_facts,
    parse,
    read_request,
    read_stream,
    sse,
    thorough,
    three_ways,
)

FILES = {"request.json", "stream.sse", "answer.json", "facts.json"}

NOTHING = dict.fromkeys(FORMATS, RequestFacts()) | {
    "openai_responses_compact": RequestFacts(request_kind="compaction"),
    "openai_embeddings": RequestFacts(request_kind="side"),
    "gemini_embeddings": RequestFacts(request_kind="side"),
    "gemini_predictions": RequestFacts(request_kind="side"),
    "gemini_caches": RequestFacts(request_kind="side"),
    "gemini_batches": RequestFacts(background=True),
    "openai_moderations": RequestFacts(request_kind="side", model="omni-moderation-latest"),
    "rerank": RequestFacts(request_kind="side"),
    "openai_batches": RequestFacts(background=True),
    "anthropic_batches": RequestFacts(background=True),
    "ollama_chat": RequestFacts(request_kind="side", streaming=True),
    "ollama_generate": RequestFacts(request_kind="side", streaming=True),
    "ollama_embeddings": RequestFacts(request_kind="side"),
    "openai_realtime": RequestFacts(streaming=True),
    "gemini_live": RequestFacts(streaming=True),
}
"""Facts of a request without members."""

NOT_BY_STREAM = IN_PATH | {
    "anthropic_batches",
    "openai_batches",
    "openai_realtime",
    "gemini_live",
    "openai_embeddings",
    "gemini_embeddings",
    "gemini_predictions",
    "gemini_caches",
    "gemini_batches",
    "openai_moderations",
    "openai_speech",
    "rerank",
    "ollama_chat",  # it streams by default
    "ollama_generate",
    "ollama_embeddings",
}
STREAM_BY_MEMBER = [name for name in FORMATS if name not in NOT_BY_STREAM]
"""Formats whose requests ask for a stream by the member `stream`."""

wire_formats = pytest.mark.parametrize("wire_format", FORMATS.values(), ids=FORMATS)
streams = every(STREAMS)


def storable(value: Any) -> bool:
    """Return whether a store can hold every text and number in a value."""
    if isinstance(value, dict):
        return all(storable(part) for pair in value.items() for part in pair)
    if isinstance(value, list | tuple):
        return all(map(storable, value))
    if isinstance(value, str):
        return value == value.encode("utf-8", "replace").decode()
    return value is None or (isinstance(value, int) and abs(value) < 2**63)


def columns(facts: ResponseFacts | RequestFacts) -> dict[str, Any]:
    """The facts as a store gets them: what is JSON there as its text."""
    values = asdict(facts)
    for usage in (values.get("usage"), *values.get("hidden_usages", ())):
        if usage:
            usage["raw"], usage["extra"] = encode(usage["raw"]), encode(usage["extra"])
    for call in values.get("tool_calls", ()):
        call["input"] = encode(call["input"])
    return values


def values_of(scenario: Scenario) -> list[Any]:
    """The JSON of a stream's events."""
    events = [event for event in parse([scenario.stream()]) if event.data]
    values = [typed(read(event.data or b""), event) for event in events]
    return [value for value in values if value is not None]


def test_every_fixture_is_part_of_a_scenario_that_is_tested() -> None:
    assert {path.name for path in FIXTURES.glob("*/*/*")} == FILES
    assert {scenario.api for scenario in SCENARIOS} == set(FORMATS)
    assert all(scenario.has("facts.json") for scenario in SCENARIOS)
    assert set(SCENARIOS) == {*STREAMS, *ANSWERS}


@pytest.mark.parametrize("line_end", LINE_ENDS)
@streams
def test_stream_fixture_is_read_into_its_facts_in_any_chunks(
    scenario: Scenario, line_end: str
) -> None:
    def run(chunks: list[bytes]) -> ResponseFacts:
        return read_stream(scenario.wire_format, chunks)

    assert three_ways(run, scenario.stream(line_end)) == scenario.response_facts()


@streams
@given(st.data())
def test_any_split_of_a_stream_gives_the_same_facts(
    scenario: Scenario, data: st.DataObject
) -> None:
    stream = scenario.stream(data.draw(st.sampled_from(sorted(LINE_ENDS))))
    facts = read_stream(scenario.wire_format, data.draw(pieces(stream)))
    assert facts == scenario.response_facts()


@every(ANSWERS)
def test_buffered_response_is_read_into_the_same_facts_as_a_stream(scenario: Scenario) -> None:
    assert scenario.wire_format.read_whole(scenario.read("answer.json")) == (
        scenario.response_facts()
    )


@every(REQUESTS)
def test_request_fixture_is_read_into_its_facts(scenario: Scenario) -> None:
    facts = scenario.wire_format.read_request(scenario.request_view())
    expected = scenario.request_facts()
    assert named_facts(facts, expected) == expected


@streams
def test_reading_facts_during_a_stream_changes_nothing(scenario: Scenario) -> None:
    reader = scenario.wire_format.reader()
    for event in parse([scenario.stream()]):
        reader.feed(event)
        assert reader.facts() == reader.facts()
    assert reader.facts() == scenario.response_facts()


@streams
def test_stream_is_complete_only_with_its_end(scenario: Scenario) -> None:
    reader = scenario.wire_format.reader()
    ended = [reader.ended]
    for event in parse([scenario.stream()]):
        reader.feed(event)
        ended.append(reader.ended)
    facts = scenario.response_facts()
    assert ended == sorted(ended)
    if scenario.api in ENDS_WITH_BODY:
        assert ended[-1] is (facts.error is not None)
    elif scenario.name != "no_usage":  # its host does not end a stream as the format says
        assert ended[-1] is (facts.complete or facts.error is not None)
    assert True not in ended[:-2]


@wire_formats
def test_reader_without_events_has_no_facts(wire_format: Format) -> None:
    reader = wire_format.reader()
    assert reader.facts() == ResponseFacts()
    assert not reader.ended


@wire_formats
@pytest.mark.parametrize("data", [b"{", b"[]", b'"a"', b"1", b"null", b"\xff", b"[" * 100_000])
def test_event_that_is_not_an_object_is_counted(wire_format: Format, data: bytes) -> None:
    reader = wire_format.reader()
    for _ in range(2):
        reader.feed(Event(b"", data, b""))
    assert reader.facts() == ResponseFacts(unreadable=2)


@streams
def test_feeding_an_event_returns_its_data(scenario: Scenario) -> None:
    reader = scenario.wire_format.reader()
    given = [reader.feed(event) for event in parse([scenario.stream()])]
    assert [value for value in given if value is not None] == values_of(scenario)


@wire_formats
@pytest.mark.parametrize("data", [None, b""])
def test_event_without_data_is_ignored(wire_format: Format, data: bytes | None) -> None:
    reader = wire_format.reader()
    reader.feed(Event(b"error", data, b""))
    assert reader.facts() == ResponseFacts()


@wire_formats
@thorough
@given(lists_of_json)
def test_feeding_any_json_never_raises(wire_format: Format, values: list[Any]) -> None:
    assert storable(columns(read_stream(wire_format, [sse(*values)])))


@streams
@given(st.data())
def test_feeding_events_with_anything_in_them_never_raises(
    scenario: Scenario, data: st.DataObject
) -> None:
    values = data.draw(mutated(values_of(scenario)).filter(lambda value: isinstance(value, list)))
    assert storable(columns(read_stream(scenario.wire_format, [sse(*values)])))


@streams
@given(st.data())
def test_feeding_events_in_any_order_never_raises(scenario: Scenario, data: st.DataObject) -> None:
    events = parse([scenario.stream()])
    shuffled = data.draw(st.lists(st.sampled_from(events), max_size=2 * len(events)))
    reader = scenario.wire_format.reader()
    for event in shuffled:
        reader.feed(event)
    assert storable(columns(reader.facts()))


@every(ANSWERS)
@given(st.data())
def test_reading_a_mutated_response_never_raises(scenario: Scenario, data: st.DataObject) -> None:
    answer = data.draw(mutated(decode(scenario.read("answer.json"))))
    facts = scenario.wire_format.read_whole(json.dumps(answer).encode())
    assert storable(columns(facts))


@wire_formats
@thorough
@given(st.binary() | json_values.map(lambda value: json.dumps(value).encode()))
def test_reading_any_bytes_as_a_response_never_raises(wire_format: Format, body: bytes) -> None:
    facts = wire_format.read_whole(body)
    assert facts == ResponseFacts(unreadable=1) or facts.complete


@wire_formats
@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b'{"choices":{}}', b"[" * 100_000])
def test_response_of_another_shape_is_counted_as_unreadable(
    wire_format: Format, body: bytes
) -> None:
    if wire_format.name == "bedrock_invoke" and len(body) > 3 and body.startswith(b"{"):
        pytest.skip("any object may be the response of some model")
    assert wire_format.read_whole(body) == ResponseFacts(unreadable=1)


@every(REQUESTS)
@given(st.data())
def test_reading_a_mutated_request_never_raises(scenario: Scenario, data: st.DataObject) -> None:
    body = data.draw(
        mutated(decode(scenario.read("request.json"))).filter(lambda value: isinstance(value, dict))
    )
    assert storable(columns(read_request(scenario.wire_format, body)))


FIELDS = (
    *("model", "stream", "messages", "input", "metadata", "prompt_cache_key", "generate"),
    *("contents", "request", "system_instruction", "generationConfig", "user_prompt_id"),
)


@wire_formats
@thorough
@given(objects_with(FIELDS))
def test_any_json_in_every_field_of_a_request_never_raises(
    wire_format: Format, body: dict[str, Any]
) -> None:
    assert storable(columns(read_request(wire_format, body)))


HUGE = b"1" * 5000
BROKEN = [
    b'"\xff"',
    b'["\xff"]',
    b'[{"role":"user","content":"\xff"}]',
    HUGE,
    b'[{"role":%b}]' % HUGE,
]


@wire_formats
@pytest.mark.parametrize("broken", BROKEN, ids=range(len(BROKEN)))
def test_broken_members_of_a_request_count_as_missing(wire_format: Format, broken: bytes) -> None:
    names = ("model", "messages", "input", "metadata", "contents")
    body = b"{%b}" % b",".join(b'"%b":%b' % (name.encode(), broken) for name in names)
    assert read_request(wire_format, body) == NOTHING[wire_format.name]


@wire_formats
def test_empty_request_has_no_facts(wire_format: Format) -> None:
    assert read_request(wire_format, {}) == NOTHING[wire_format.name]


@pytest.mark.parametrize("api", STREAM_BY_MEMBER)
@pytest.mark.parametrize("stream", [None, False, 1, "true", [True]])
def test_only_true_asks_for_a_stream(api: str, stream: Any) -> None:
    wire_format = FORMATS[api]
    is_text_of_a_form = wire_format.takes_forms and stream == "true"
    assert read_request(wire_format, {"stream": stream}).streaming is is_text_of_a_form
    assert read_request(wire_format, {"stream": True}).streaming


@wire_formats
@thorough
@given(number=numbers)
def test_any_number_as_usage_gives_tokens_that_a_store_holds(
    wire_format: Format, number: float
) -> None:
    usage = dict.fromkeys(
        ("input_tokens", "output_tokens", "prompt_tokens", "completion_tokens"), number
    )
    shapes = {
        "anthropic_messages": {"type": "message", "usage": usage},
        "openai_chat": {"choices": [], "usage": usage},
        "openai_responses": {"object": "response", "usage": usage},
        "openai_responses_compact": {"object": "response.compaction", "usage": usage},
        "bedrock_invoke": {"type": "message", "usage": usage},
        "bedrock_converse": {
            "output": {},
            "usage": {"inputTokens": number, "outputTokens": number},
        },
        "gemini": {
            "usageMetadata": dict.fromkeys(("promptTokenCount", "candidatesTokenCount"), number)
        },
        "openai_completions": {"choices": [], "usage": usage},
        "openai_embeddings": {"data": [], "usage": usage},
        "gemini_embeddings": {
            "embeddings": [{}],
            "usageMetadata": dict.fromkeys(("promptTokenCount", "candidatesTokenCount"), number),
        },
        "gemini_interactions": {
            "status": "completed",
            "usage": dict.fromkeys(("total_input_tokens", "total_output_tokens"), number),
        },
        "gemini_live": {
            "candidates": [],
            "usages": [dict.fromkeys(("promptTokenCount", "responseTokenCount"), number)],
        },
        "openai_moderations": {"results": [], "usage": usage},
        "openai_images": {"data": [], "usage": usage},
        "openai_transcriptions": {"text": "", "usage": usage},
        "openai_speech": {"object": "audio.speech", "usage": usage},
        "rerank": {"results": [], "usage": usage},
        "openai_batches": {"object": "batch", "usage": usage},
        "ollama_chat": {"done": True, "prompt_eval_count": number, "eval_count": number},
        "ollama_generate": {"done": True, "prompt_eval_count": number, "eval_count": number},
        "openai_realtime": {"object": "realtime.response", "usage": usage},
    }
    if wire_format.name not in shapes:
        pytest.skip("its usage is in the results, or in another unit")
    facts = wire_format.read_whole(json.dumps(shapes[wire_format.name]).encode())
    tokens = facts.usage and (facts.usage.input_tokens, facts.usage.output_tokens)
    whole = 0 <= number < 2**63 and number == int(number)
    assert tokens == ((int(number), int(number)) if whole else None)


@wire_formats
@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 429, 500, 502, 503, 529])
def test_error_of_the_proxy_is_read_like_an_error_of_the_provider(
    wire_format: Format, status: int
) -> None:
    facts = wire_format.read_whole(wire_format.error(status, "No – not “now”."))
    assert facts.error is not None
    assert facts.error.message == "No – not “now”."
    assert facts == ResponseFacts(error=facts.error, complete=True)


@wire_formats
def test_error_of_the_proxy_can_have_a_type(wire_format: Format) -> None:
    facts = wire_format.read_whole(wire_format.error(400, "No.", "policy"))
    assert facts.error == ProviderError(type="policy", message="No.")
