"""The Gemini API. Its fixtures follow Google's documents, and the types of google-genai 3.6.

`text`, `thoughts`, `parallel_calls_without_ids`: "Text generation", "Thinking" and "Function
calling" of the Gemini API; `modalities`, `tools_of_the_provider`, `blocked_prompt` and
`two_candidates`: the reference of `GenerateContentResponse` and its `UsageMetadata`;
`streamed_arguments`: "Function calling" of Vertex AI; errors: "Troubleshooting" and `google.rpc`.
`code_assist` imitates Gemini CLI 0.61 with a Google login; `snake_case` is proto3's other spelling.
"""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aibridge_addon.facts import ProviderError, RequestFacts, ResponseFacts, ToolCall, Usage
from aibridge_addon.formats import ResponseHead
from aibridge_addon.formats.base import RequestView
from aibridge_addon.formats.decoders.sse import Event
from aibridge_addon.formats.gemini import FORMAT
from aibridge_addon.formats.gemini.decoder import StreamParser
from aibridge_addon.formats.gemini.usage import read_usage
from aibridge_addon.formats.gemini_live.reader import read_live_usage
from aibridge_addon.raw_json import encode, members
from formats.any_json import pieces
from formats.helpers import STREAMS, Scenario, every, prompt_of, raw_of, read_request

SCENARIOS = [scenario for scenario in STREAMS if scenario.api == FORMAT.name]
scenarios = every(SCENARIOS)

ERROR = {"error": {"code": 503, "message": "Overloaded.", "status": "UNAVAILABLE"}}
OVERLOADED = ProviderError(type="UNAVAILABLE", message="Overloaded.")
HEAD = ResponseHead(status=200, headers={}, answers_stream=True)


def read_body(chunks: list[bytes]) -> ResponseFacts:
    """Read a stream as it comes from the provider, and check that no byte of it is lost."""
    parser, reader = FORMAT.decoder(HEAD), FORMAT.reader()
    assert parser
    events = [event for chunk in chunks for event in parser.feed(chunk)]
    if last := parser.close():
        events.append(last)
    for event in events:
        reader.feed(event)
    assert raw_of(events) == b"".join(chunks)
    return reader.facts()


def as_array(scenario: Scenario, indent: int | None = None) -> bytes:
    """Return the stream of a fixture as the provider sends it without `alt=sse`."""
    blocks = scenario.stream().decode().strip().split("\n\n")
    chunks = [json.loads(block.removeprefix("data: ")) for block in blocks]
    return b"[" + b",\r\n".join(json.dumps(c, indent=indent).encode() for c in chunks) + b"]\n"


def text_chunk(*texts: str, **members: Any) -> bytes:
    content = {"role": "model", "parts": [{"text": text} for text in texts]}
    chunk = {"candidates": [{"content": content, **members}]}
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


@scenarios
@pytest.mark.parametrize("indent", [None, 2])
def test_json_array_gives_the_same_facts_as_server_sent_events(
    scenario: Scenario, indent: int | None
) -> None:
    array = as_array(scenario, indent)
    assert read_body([array]) == scenario.response_facts()
    assert read_body([array[n : n + 1] for n in range(len(array))]) == scenario.response_facts()


@scenarios
@given(st.data())
def test_any_split_of_a_json_array_gives_the_same_facts(
    scenario: Scenario, data: st.DataObject
) -> None:
    assert read_body(data.draw(pieces(as_array(scenario, 1)))) == scenario.response_facts()


@scenarios
def test_json_array_is_assembled_into_the_same_document(scenario: Scenario) -> None:
    view = FORMAT.view
    assert view.read_response(as_array(scenario)) == view.read_response(scenario.stream())


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("ending", [b"", b"\n", b"\n\n"])
@pytest.mark.parametrize("size", [1, 5, 1000])
def test_error_as_plain_json_between_events_is_read(
    line_end: bytes, ending: bytes, size: int
) -> None:
    body = text_chunk("So") + json.dumps(ERROR, indent=2).encode() + ending
    body = body.replace(b"\n", line_end)
    facts = read_body([body[n : n + size] for n in range(0, len(body), size)])
    assert facts == ResponseFacts(error=OVERLOADED)


def test_plain_json_is_complete_with_its_last_brace() -> None:
    parser = StreamParser()
    parser.feed(text_chunk("So"))
    assert parser.feed(b'\n{\n "error": {"code": 503') == []
    [event] = parser.feed(b"}\n}")
    assert event.data
    assert json.loads(event.data) == {"error": {"code": 503}}
    [event] = parser.feed(b"\n\n" + text_chunk("a"))[-1:]
    assert event.data
    assert b"candidates" in event.data
    assert parser.close() is None


def test_error_as_plain_json_after_an_unterminated_event_is_read() -> None:
    stream = text_chunk("So", finishReason="STOP").rstrip() + b"\n" + json.dumps(ERROR).encode()
    assert read_body([stream]).error == OVERLOADED


def test_error_in_an_array_is_read_in_a_stream() -> None:
    assert read_body([text_chunk("So"), b"data: " + json.dumps([ERROR]).encode()]).error == (
        OVERLOADED
    )


def test_comment_and_blank_lines_bring_no_event_with_data() -> None:
    parser = StreamParser()
    events = parser.feed(b"\r\n: waiting\r\n\r\n" + text_chunk("a"))
    assert [event.data is None for event in events] == [True, False]
    assert StreamParser().close() is None


def test_blank_body_is_one_event_without_data() -> None:
    parser = StreamParser()
    assert parser.feed(b" \n") == []
    assert parser.pending == 2
    assert parser.close() == Event(b"", None, b" \n")


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"promptTokenCount": 10, "cachedContentTokenCount": 4}, (6, None, 4)),
        ({"promptTokenCount": 4, "cachedContentTokenCount": 10}, (4, None, 10)),
        ({"promptTokenCount": 3, "thoughtsTokenCount": 5, "candidatesTokenCount": 2}, (3, 7, 0)),
        ({"promptTokenCount": 3, "toolUsePromptTokenCount": 9}, (12, None, 0)),
        ({"candidatesTokenCount": 2}, (None, 2, 0)),
        ({"promptTokenCount": 3, "responseTokenCount": 2}, (3, 2, 0)),
    ],
)
def test_usage_is_counted_by_the_rules_of_google(
    usage: dict[str, int], expected: tuple[int | None, int | None, int]
) -> None:
    found = read_usage(usage)
    assert found
    counts = (found.input_tokens, found.output_tokens, found.cache_read_input_tokens)
    assert counts == expected


@pytest.mark.parametrize(
    ("counts", "total", "output"),
    [({}, 5, 0), ({"thoughtsTokenCount": 3}, 8, 3), ({}, 9, None), ({}, None, None)],
)
def test_candidates_that_are_left_out_are_zero_if_the_total_has_no_room_for_them(
    counts: dict[str, int], total: int | None, output: int | None
) -> None:
    usage = {"promptTokenCount": 5, "totalTokenCount": total, **counts}
    answer = {"candidates": [{"finishReason": "STOP"}], "usageMetadata": usage}
    found = FORMAT.read_whole(json.dumps(answer).encode()).usage
    assert found
    assert (found.input_tokens, found.output_tokens) == (5, output)


@pytest.mark.parametrize("name", ["responseTokenCount", "candidatesTokenCount"])
def test_total_of_a_live_turn_leaves_out_thoughts_under_both_names_of_its_output(name: str) -> None:
    counts = {"promptTokenCount": 5, name: 2, "thoughtsTokenCount": 3, "totalTokenCount": 7}
    found = read_live_usage({**counts})
    assert found
    assert (found.output_tokens, found.extra) == (5, {"reasoning_tokens": 3})


@pytest.mark.parametrize("usage", [{}, {"trafficType": "ON_DEMAND"}, {"totalTokenCount": 9}])
def test_usage_without_input_and_output_is_unknown(usage: dict[str, Any]) -> None:
    assert read_usage(usage) is None


def test_total_that_is_not_explained_is_kept() -> None:
    found = read_usage({"promptTokenCount": 3, "candidatesTokenCount": 2, "totalTokenCount": 9})
    assert found
    assert found.extra == {"unexplained_tokens": 4}


def test_last_value_of_each_count_in_a_stream_counts_even_if_it_is_lower() -> None:
    chunks = [
        {"usageMetadata": {"promptTokenCount": 2, "candidatesTokenCount": 5}},
        {"usageMetadata": {"promptTokenCount": 1, "trafficType": "ON_DEMAND"}},
        {"usageMetadata": {"candidatesTokenCount": 3}},
    ]
    usage = read_body([b"data: " + json.dumps(c).encode() + b"\n\n" for c in chunks]).usage
    assert usage
    assert (usage.input_tokens, usage.output_tokens) == (1, 3)
    assert usage.extra == {"service_tier": "standard"}


def test_unreadable_usage_is_told_from_missing_usage() -> None:
    body = {"candidates": [], "usageMetadata": {"promptTokenCount": "many"}}
    facts = FORMAT.read_whole(json.dumps(body).encode())
    assert facts.usage is None
    assert facts.usage_unreadable


@pytest.mark.parametrize(
    ("status", "media_type", "answers_stream", "decodes"),
    [
        (200, "application/json", True, True),
        (200, "application/json", False, False),
        (200, "text/event-stream", False, True),
        (429, "application/json", True, False),
    ],
)
def test_body_is_decoded_as_a_stream_if_one_was_asked_for(
    status: int, media_type: str, answers_stream: bool, decodes: bool
) -> None:
    head = ResponseHead(
        status=status, headers={"content-type": media_type}, answers_stream=answers_stream
    )
    assert (FORMAT.decoder(head) is not None) is decodes


def test_finish_reason_completes_a_response_and_nothing_ends_its_stream() -> None:
    reader = FORMAT.reader()
    reader.feed(Event(b"", text_chunk("a", finishReason="STOP")[6:].strip(), b""))
    assert reader.complete
    assert not reader.ended


# Requests


def facts_of(path: str, body: Any = None, **path_values: str) -> RequestFacts:
    parts = members(json.dumps(body or {}).encode())
    assert parts is not None
    return FORMAT.read_request(RequestView(members=parts, path=path, path_values=path_values))


@pytest.mark.parametrize(
    ("path", "streaming"),
    [
        ("/v1/models/m:generateContent", False),
        ("/v1/models/m:streamGenerateContent", True),
        ("/v1beta/models/m%3AstreamGenerateContent", True),
        ("/v1/models/m%3agenerateContent", False),
    ],
)
def test_path_tells_whether_a_stream_is_asked_for(path: str, streaming: bool) -> None:
    assert facts_of(path).streaming is streaming


@pytest.mark.parametrize(
    ("values", "body", "model"),
    [
        ({"model": "gemini-2.5-pro"}, {"model": "other"}, "gemini-2.5-pro"),
        ({"tuned_model": "mine"}, {}, "tunedModels/mine"),
        ({"endpoint": "123"}, {}, "endpoints/123"),
        ({}, {"model": "models/gemini-2.5-pro", "request": {}}, "gemini-2.5-pro"),
        ({}, {"generateContentRequest": {"model": "models/gemini-2.5-pro"}}, "gemini-2.5-pro"),
        ({}, {}, None),
    ],
)
def test_model_is_named_by_the_path_or_else_by_the_body(
    values: dict[str, str], body: Any, model: str | None
) -> None:
    assert facts_of("", body, **values).model == model


def user(*parts: Any, role: str | None = "user") -> dict[str, Any]:
    content: dict[str, Any] = {"parts": [{"text": p} if isinstance(p, str) else p for p in parts]}
    return content if role is None else {"role": role, **content}


MODEL = user("Sure.", role="model")
RESULT = {"functionResponse": {"id": "call-1", "name": "now", "response": {"output": "noon"}}}
CONTEXT = "<session_context>\nThis is the Gemini CLI.\n</session_context>"


@pytest.mark.parametrize(
    ("contents", "prompt"),
    [
        ([user("hi")], "hi"),
        ([user("hi", role=None)], "hi"),
        (user("hi"), "hi"),
        ("hi", "hi"),
        ([user(CONTEXT, "hi")], "hi"),
        ([user(CONTEXT), user("hi")], "hi"),
        ([user("old"), MODEL, user("new")], "new"),
        ([user("old"), MODEL, user("one"), user("two", "three")], "one\ntwo\nthree"),
        ([user("old"), user({"functionCall": {"name": "now"}}, role="model"), user(RESULT)], None),
        ([user("old"), MODEL, user(RESULT, role="function")], None),
        ([user({"inlineData": {"mimeType": "image/png", "data": "aa"}}, "what?")], "what?"),
    ],
)
def test_prompt_is_the_text_of_the_trailing_contents_of_the_user(
    contents: Any, prompt: str | None
) -> None:
    assert prompt_of(read_request(FORMAT, {"contents": contents})) == prompt


def test_last_result_links_a_request_to_its_call() -> None:
    other = {"function_response": {"id": "call-2", "name": "now", "response": {}}}
    asked = {"contents": [user({"functionCall": {"name": "now"}}, role="model"), user(RESULT)]}
    assert read_request(FORMAT, asked).correlating_tool_call_id == "call-1"
    asked["contents"][-1]["parts"].append(other)
    assert read_request(FORMAT, asked).correlating_tool_call_id == "call-2"


def raw(body: Any) -> dict[str, Any]:
    parts = members(json.dumps(body).encode())
    assert parts is not None
    return parts


@pytest.mark.parametrize("config", ["generationConfig", "generation_config"])
@pytest.mark.parametrize("limit", ["maxOutputTokens", "max_output_tokens"])
@pytest.mark.parametrize("envelope", [None, "request"])
def test_output_limit_is_lowered_where_it_stands(
    config: str, limit: str, envelope: str | None
) -> None:
    inner = {"contents": [], config: {"topK": 1, limit: 900}}
    body = {"model": "m", envelope: inner} if envelope else inner
    assert FORMAT.output_limit(raw(body)) == 900
    whole = json.dumps(body, indent=1).encode()
    assert FORMAT.lower_output_limit(whole, raw(body), 900) == whole
    lowered = FORMAT.lower_output_limit(whole, raw(body), 50)
    assert lowered == whole.replace(b"900", b"50")


# Calls


def streamed_call(*calls: Any) -> tuple[ToolCall, ...]:
    chunks = [{"candidates": [{"content": {"parts": [{"functionCall": call}]}}]} for call in calls]
    return read_body([b"data: " + json.dumps(c).encode() + b"\n\n" for c in chunks]).tool_calls


def test_values_at_odd_json_paths_are_left_out() -> None:
    paths = ["$", "", "$.list[5]", "$.text.deeper", "$.list[0]", "$['a b']", "$.list.name"]
    partial = [{"jsonPath": path, "stringValue": "x"} for path in ("$.text", *paths)]
    [call] = streamed_call({"name": "f", "partialArgs": partial})
    assert call.input == {"text": "x", "list": ["x"], "a b": "x"}


def test_call_after_a_streamed_call_is_a_call_of_its_own() -> None:
    calls = streamed_call({"name": "f", "willContinue": True}, {"name": "g", "args": {"a": 1}})
    assert [(call.tool, call.input) for call in calls] == [("f", {}), ("g", {"a": 1})]


def test_error_names_its_reason_for_programs() -> None:
    error = json.loads(FORMAT.error(429, "Slow down.", code="rate_limit"))["error"]
    assert (error["code"], error["status"]) == (429, "RESOURCE_EXHAUSTED")
    assert error["details"][0]["reason"] == "rate_limit"


def test_usage_of_a_stream_is_reported_before_its_end() -> None:
    reports: list[ResponseFacts] = []
    reader = FORMAT.reader()
    reader.on_usage = reports.append
    for usage in ({"trafficType": "ON_DEMAND"}, {"promptTokenCount": 5}, {"promptTokenCount": 6}):
        reader.feed(Event(b"", json.dumps({"usageMetadata": usage}).encode(), b""))
    expected = Usage(
        input_tokens=5,
        output_tokens=None,
        extra={"service_tier": "standard"},
        raw={"trafficType": "ON_DEMAND", "promptTokenCount": 5},
    )
    assert [report.usage for report in reports] == [expected]


@pytest.mark.parametrize(
    ("metadata", "searches"),
    [
        ({"webSearchQueries": ["a", "b"], "imageSearchQueries": ["c"]}, 3),
        ({"web_search_queries": ["a"], "grounding_chunks": [{"web": {}}, {"web": {}}]}, 1),
        ({"groundingChunks": [{"maps": {"uri": "https://maps.example"}}]}, 1),
        ({"retrievalQueries": ["a"]}, 1),
        ({"groundingChunks": [{"retrievedContext": {"title": "mine"}}]}, None),
        ({}, None),
    ],
)
def test_searches_that_google_bills_are_counted(
    metadata: dict[str, Any], searches: int | None
) -> None:
    usage = {"promptTokenCount": 5, "candidatesTokenCount": 2}
    candidate = {"groundingMetadata": metadata, "finishReason": "STOP"}
    body = encode({"candidates": [candidate], "usageMetadata": usage}).encode()
    read = FORMAT.read_whole(body).usage
    assert read
    assert read.extra.get("grounding_queries") == searches
