import json
from typing import Any

import pytest

from aibridge_addon.facts import (
    ProviderError,
    RequestFacts,
    ResponseFacts,
    Thought,
    ToolCall,
    Usage,
)
from aibridge_addon.formats.anthropic_messages import FORMAT
from formats.helpers import prompt_of, read_request, read_stream, sse, three_ways

SESSION = "5e551071-0000-4000-8000-000000000001"


def user(*content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content[0] if isinstance(content[0], str) else content}


def text_block(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def result(call_id: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": call_id, "content": "ok"}


REMINDER = text_block("<system-reminder>\nbe good\n</system-reminder>")
ANSWER = {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1", "name": "x"}]}
PREFILL = {"role": "assistant", "content": "{"}
PREFILLED = {"role": "assistant", "content": [text_block("{")]}
THOUGHT = {"role": "assistant", "content": [{"type": "thinking", "thinking": "x"}, text_block("{")]}
SYSTEM = {"role": "system", "content": "More tools are there."}


@pytest.mark.parametrize(
    ("messages", "prompt", "call_id"),
    [
        pytest.param([user("hi")], "hi", None, id="a text"),
        pytest.param([user(text_block("a"), text_block("b"))], "a\nb", None, id="text blocks"),
        pytest.param([user("a"), ANSWER, user("b")], "b", None, id="only the last turn"),
        pytest.param([user("a"), user("b")], "a\nb", None, id="trailing user messages"),
        pytest.param([user(REMINDER, text_block("hi"))], "hi", None, id="a wrapper before"),
        pytest.param([user(REMINDER)], None, None, id="a wrapper alone"),
        pytest.param([user("hi"), SYSTEM], "hi", None, id="a system message after it"),
        pytest.param([user("a"), SYSTEM, user("b")], "a\nb", None, id="one between"),
        pytest.param([ANSWER, user(result("t1"))], None, "t1", id="a result alone"),
        pytest.param([ANSWER, user(result("t1"), result("t2"))], None, "t2", id="the last result"),
        pytest.param([user(result("t1")), user(result("t2"))], None, "t2", id="in two messages"),
        pytest.param([user(result("t1"), REMINDER)], None, "t1", id="a wrapper after a result"),
        pytest.param([user(result("t1"), text_block("no"))], "no", "t1", id="words after a result"),
        pytest.param([user(result("t1")), SYSTEM], None, "t1", id="a system message after it all"),
        pytest.param([user(result("t1"), result(7))], None, "t1", id="a result without an id"),
        pytest.param([user("a"), ANSWER], None, None, id="a call of the model"),
        pytest.param([user("a"), PREFILL], "a", None, id="a prefilled response"),
        pytest.param([user("a"), PREFILLED], "a", None, id="a prefilled text block"),
        pytest.param([user("a"), PREFILL, SYSTEM], None, None, id="a response before the end"),
        pytest.param([user(result("t1")), PREFILL], None, "t1", id="a prefill after a result"),
        pytest.param([user("a"), PREFILL, PREFILL], None, None, id="two responses"),
        pytest.param([user("a"), THOUGHT], None, None, id="a response with a thought"),
        pytest.param([PREFILL], None, None, id="a prefilled response alone"),
        pytest.param([user({"type": "image"}, text_block("what?"))], "what?", None, id="an image"),
        pytest.param([user(text_block("")), user("x")], "x", None, id="an empty text"),
        pytest.param([user("half \ud83d")], "half \ufffd", None, id="half a surrogate pair"),
        pytest.param([], None, None, id="nothing"),
        pytest.param("hi", None, None, id="not a list"),
        pytest.param([None, 7, "x", user("hi"), SYSTEM], "hi", None, id="what is no message"),
        pytest.param([user(None, 7, "x", text_block("hi"))], "hi", None, id="what is no block"),
        pytest.param([{"role": "user"}], None, None, id="no content"),
        pytest.param([{"role": "user", "content": {"text": "x"}}], None, None, id="an object"),
    ],
)
def test_trailing_turn_has_the_prompt_and_the_call_of_its_result(
    messages: Any, prompt: str | None, call_id: str | None
) -> None:
    facts = read_request(FORMAT, {"messages": messages})
    assert prompt_of(facts) == prompt
    assert facts.correlating_tool_call_id == call_id


@pytest.mark.parametrize(
    ("messages", "prefilled"),
    [([user("a"), PREFILL], True), ([user("a")], False), ([user("a"), ANSWER], False)],
)
def test_request_that_ends_with_the_beginning_of_the_response_is_prefilled(
    messages: Any, prefilled: bool
) -> None:
    assert read_request(FORMAT, {"messages": messages}).prefilled is prefilled


@pytest.mark.parametrize(
    ("user_id", "session"),
    [
        (json.dumps({"device_id": "d", "account_uuid": "", "session_id": SESSION}), SESSION),
        (json.dumps({"session_id": "\ud83d"}), "\ufffd"),
        (json.dumps({"session_id": 7}), None),
        (json.dumps({"device_id": "d"}), None),
        ('{"session_id": ', None),
        ("{\ud83d", None),
        (f"user_00ff_account_11ee_session_{SESSION}", SESSION),
        ("user_00ff_account__session_", None),
        ("alice", None),
        ("", None),
        (7, None),
        (None, None),
    ],
)
def test_session_is_found_in_both_shapes_of_the_user_id(user_id: Any, session: str | None) -> None:
    assert read_request(FORMAT, {"metadata": {"user_id": user_id}}) == RequestFacts(
        session_hint=session
    )


def test_request_is_read_beside_values_that_only_lenient_decoders_accept() -> None:
    body = b'{"temperature":NaN,"model":"m","messages":[{"role":"user","content":"hi","x":NaN}]}'
    facts = read_request(FORMAT, body)
    assert (facts.model, facts.user_texts) == ("m", (("hi",),))


def started(**usage: Any) -> dict[str, Any]:
    return {"type": "message_start", "message": {"id": "msg_1", "model": "m", "usage": usage}}


def delta(**usage: Any) -> dict[str, Any]:
    return {"type": "message_delta", "delta": {}, "usage": usage}


def usage_of(*events: Any) -> Usage | None:
    return read_stream(FORMAT, [sse(*events)]).usage


def test_usage_is_overwritten_and_never_added_up() -> None:
    usage = {"input_tokens": 10, "output_tokens": 30, "cache_read_input_tokens": 5}
    events = started(**usage), delta(output_tokens=20), delta(**usage), delta(**usage)
    assert usage_of(*events) == Usage(
        input_tokens=10, output_tokens=30, cache_read_input_tokens=5, raw=usage
    )


def test_field_that_is_missing_or_null_keeps_its_value() -> None:
    first = {"input_tokens": 10, "output_tokens": 1, "cache_creation_input_tokens": 7}
    last = {"output_tokens": 9, "input_tokens": None, "cache_read_input_tokens": 0}
    assert usage_of(started(**first), delta(**last)) == Usage(
        input_tokens=10,
        output_tokens=9,
        cache_write_input_tokens=7,
        raw={**first, "output_tokens": 9, "cache_read_input_tokens": 0},
    )


def test_zero_does_not_overwrite_a_count_at_any_depth() -> None:
    first = {
        "input_tokens": 10,
        "output_tokens": 1,
        "cache_read_input_tokens": 7,
        "server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 1},
    }
    last = {
        "input_tokens": 0,
        "output_tokens": 9,
        "cache_read_input_tokens": 0,
        "server_tool_use": {"web_search_requests": 3, "web_fetch_requests": 0},
    }
    assert usage_of(started(**first), delta(**last), delta(output_tokens=0)) == Usage(
        input_tokens=10,
        output_tokens=9,
        cache_read_input_tokens=7,
        extra={"web_search_requests": 3, "web_fetch_requests": 1},
        raw={
            **first,
            "output_tokens": 9,
            "server_tool_use": {"web_search_requests": 3, "web_fetch_requests": 1},
        },
    )


def test_usage_that_comes_only_at_the_end_counts() -> None:
    assert usage_of(started(), delta(output_tokens=3)) == Usage(
        input_tokens=None, output_tokens=3, raw={"output_tokens": 3}
    )


def test_usage_object_without_counts_is_ignored() -> None:
    assert usage_of(started(service_tier="standard"), {"type": "message_delta"}) is None
    assert usage_of(started(input_tokens="many", output_tokens=None)) is None


def test_extra_usage_is_recorded() -> None:
    usage = {
        "input_tokens": 1,
        "output_tokens": 2,
        "cache_creation": {"ephemeral_5m_input_tokens": 3, "ephemeral_1h_input_tokens": 4},
        "server_tool_use": {"web_search_requests": 5, "web_fetch_requests": 6},
        "service_tier": "batch",
    }
    found = usage_of(started(**usage))
    assert found is not None
    assert found.extra == {
        "cache_write_5m_input_tokens": 3,
        "cache_write_1h_input_tokens": 4,
        "web_search_requests": 5,
        "web_fetch_requests": 6,
        "service_tier": "batch",
    }
    usage = {"input_tokens": 1, "cache_creation": None, "server_tool_use": 0, "service_tier": None}
    assert usage_of(started(**usage)) == Usage(
        input_tokens=1,
        output_tokens=None,
        raw={"input_tokens": 1, "server_tool_use": 0},
    )


def block(index: Any, **fields: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": fields}


def fragment(index: Any, kind: str, **fields: Any) -> dict[str, Any]:
    return {
        "type": "content_block_delta",
        "index": index,
        "delta": {"type": f"{kind}_delta", **fields},
    }


def test_interleaved_blocks_are_recorded_in_order() -> None:
    stream = sse(
        block(1, type="tool_use", id="t1", name="b", input={}),
        block(0, type="thinking", thinking="So"),
        fragment(1, "input_json", partial_json='{"x"'),
        fragment(0, "thinking", thinking=" be it."),
        block(2, type="tool_use", id="t2", name="c", input={"whole": True}),
        fragment(1, "input_json", partial_json=":1}"),
    )
    assert read_stream(FORMAT, [stream]) == ResponseFacts(
        tool_calls=(
            ToolCall(tool="b", call_id="t1", input={"x": 1}),
            ToolCall(tool="c", call_id="t2", input={"whole": True}),
        ),
        thoughts=(Thought(content="So be it.", source="thinking"),),
    )


def test_tool_call_without_name_and_id_is_recorded() -> None:
    assert read_stream(FORMAT, [sse(block(0, type="tool_use", input=None))]) == ResponseFacts(
        tool_calls=(ToolCall(tool="", call_id=None, input={}),)
    )


def test_surrogate_pair_that_two_deltas_share_is_made_whole() -> None:
    stream = sse(
        block(0, type="thinking", thinking=""),
        fragment(0, "thinking", thinking="moon \ud83c"),
        fragment(0, "thinking", thinking="\udf15"),
    )
    assert read_stream(FORMAT, [stream]).thoughts == (
        Thought(content="moon 🌕", source="thinking"),
    )


@pytest.mark.parametrize(
    "event",
    [
        {"type": "message_start"},
        {"type": "message_start", "message": None},
        {"type": "content_block_start", "index": "0", "content_block": {}},
        {"type": "content_block_start", "index": None, "content_block": {}},
        {"type": "content_block_start", "index": 0},
        {"type": "content_block_delta", "index": 0},
        {"type": "content_block_delta", "index": 0, "delta": "x"},
        fragment(9, "input_json", partial_json="{}"),
        fragment([], "input_json", partial_json="{}"),
        fragment(0, "input_json", partial_json=7),
        fragment(0, "input_json"),
        fragment(0, "thinking", thinking=None),
        {"type": ["message_stop"]},
        {"type": None},
        {"type": 7},
        {"kind": "message_stop"},
    ],
    ids=range(16),
)
def test_known_event_of_another_shape_is_counted_and_changes_nothing(event: Any) -> None:
    stream = [block(0, type="tool_use", id="t", name="n", input={}), event]
    assert read_stream(FORMAT, [sse(*stream)]) == ResponseFacts(
        tool_calls=(ToolCall(tool="n", call_id="t", input={}),), unreadable=1
    )


@pytest.mark.parametrize(
    ("event", "error"),
    [
        ({"error": {"type": "a", "message": "b"}}, ProviderError(type="a", message="b")),
        ({"error": {"type": 7, "message": None}}, ProviderError(type=None, message=None)),
        ({"error": "b"}, ProviderError(type=None, message="b")),
        ({}, ProviderError(type=None, message=None)),
    ],
)
def test_error_ends_a_stream_whatever_its_shape(event: Any, error: ProviderError) -> None:
    assert read_stream(FORMAT, [sse({"type": "error", **event})]) == ResponseFacts(error=error)
    assert FORMAT.read_whole(json.dumps({"type": "error", **event}).encode()) == ResponseFacts(
        error=error, complete=True
    )


def test_error_of_a_host_that_leaves_the_type_out_is_read() -> None:
    expected = ResponseFacts(error=ProviderError(type=None, message="Busy"), complete=True)
    assert FORMAT.read_whole(b'{"error":"Busy"}') == expected


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (413, "request_too_large"),
        (418, "api_error"),
        (429, "rate_limit_error"),
        (502, "api_error"),
        (529, "overloaded_error"),
    ],
)
def test_error_body_has_the_documented_shape(status: int, kind: str) -> None:
    assert json.loads(FORMAT.error(status, "No.")) == {
        "type": "error",
        "error": {"type": kind, "message": "No."},
    }


STREAM = (
    b'event: message_start\ndata: {"message": {"id": "i", "model": "m"}}\n\n'
    b'event: message_delta\ndata: {"delta": {}, "usage": {"output_tokens": 3}}\n\n'
    b"event: message_stop\ndata: {}\n\n"
)


@pytest.mark.parametrize("end", [b"", b"data: [DONE]\n\n"], ids=["as usual", "as vLLM"])
def test_stream_whose_events_have_only_names_is_read(end: bytes) -> None:
    facts = three_ways(lambda chunks: read_stream(FORMAT, chunks), STREAM + end)
    usage = Usage(input_tokens=None, output_tokens=3, raw={"output_tokens": 3})
    assert facts == ResponseFacts(response_id="i", model="m", usage=usage, complete=True)


def test_buffered_response_without_a_type_is_read() -> None:
    call = {"type": "tool_use", "id": "t", "name": "n", "input": {}}
    body = {"id": "i", "model": "m", "content": [call], "usage": {"output_tokens": 3}}
    assert FORMAT.read_whole(json.dumps(body).encode()) == ResponseFacts(
        response_id="i",
        model="m",
        usage=Usage(input_tokens=None, output_tokens=3, raw={"output_tokens": 3}),
        tool_calls=(ToolCall(tool="n", call_id="t", input={}),),
        complete=True,
    )
    error = FORMAT.read_whole(b'{"error": {"type": "overloaded_error", "message": "No."}}')
    assert error.error == ProviderError(type="overloaded_error", message="No.")


@pytest.mark.parametrize(
    ("said", "most", "kind"), [(".", 1, "side"), (".", 2, None), ("..", 1, None)]
)
def test_request_that_only_tries_a_model_is_no_turn(said: str, most: int, kind: str | None) -> None:
    """As Claude Code sends three of them at its start on Bedrock."""
    request = {"max_tokens": most, "messages": [{"role": "user", "content": said}]}
    assert read_request(FORMAT, request).request_kind == kind


def test_error_of_google_has_its_status_as_type() -> None:
    body = b'{"error":{"code":429,"message":"Quota exceeded","status":"RESOURCE_EXHAUSTED"}}'
    error = FORMAT.read_whole(body).error
    assert error
    assert (error.type, error.message) == ("RESOURCE_EXHAUSTED", "Quota exceeded")
