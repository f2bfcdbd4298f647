"""Central tools in the Gemini API."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aibridge_addon.formats.central_tool import ResultPart, ToolResult
from aibridge_addon.formats.decoders.sse import Event
from aibridge_addon.formats.gemini import FORMAT
from aibridge_addon.formats.gemini.decoder import StreamParser
from aibridge_addon.formats.tool_protocol import InjectedCall, StreamError, Turn
from aibridge_addon.raw_json import members
from formats.any_json import json_values, mutated
from formats.helpers import thorough
from formats.inner_loop import (
    NAMES,
    TOOLS,
    loop,
    merge,
    request,
    restored,
    result,
    splice,
    tool,
)

TOOL_FORMAT = FORMAT.tools
LOOK, FIND = "bmcp_s_look", "bmcp_s_find"
SIGNATURE = "c2lnbmF0dXJl"
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNiAAAABgADNjd8qAAAAABJRU5ErkJggg=="


def call(name: str, args: Any = None, **more: Any) -> dict[str, Any]:
    given: dict[str, Any] = {"name": name} | ({"args": args} if args else {})
    if "id" in more:
        given["id"] = more.pop("id")
    return {"functionCall": given, **more}


def say(text: str, **more: Any) -> dict[str, Any]:
    return {"text": text, **more}


def chunk(
    *parts: Any, finish: str | None = None, usage: Any = None, rid: str = "r1"
) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": list(parts)}, "index": 0}
    if finish:
        candidate["finishReason"] = finish
    found: dict[str, Any] = {"candidates": [candidate], "responseId": rid}
    return found | ({"usageMetadata": usage} if usage else {})


def stream(*chunks: Any) -> bytes:
    return b"".join(b"data: %b\n\n" % json.dumps(one).encode() for one in chunks)


def array(*chunks: Any) -> bytes:
    return b"[" + b",\r\n".join(json.dumps(one).encode() for one in chunks) + b"\r\n]"


def usage(given: int, put_out: int, thoughts: int = 0) -> dict[str, int]:
    counts = {"promptTokenCount": given, "candidatesTokenCount": put_out}
    return counts | {"thoughtsTokenCount": thoughts, "totalTokenCount": given + put_out + thoughts}


HIDDEN = [
    chunk(say("Looking.")),
    chunk(call(LOOK, {"q": 1}, thoughtSignature=SIGNATURE), call(FIND)),
    chunk(say(""), finish="STOP", usage=usage(10, 5, 2)),
]
ANSWER = [
    chunk(say("Found"), rid="r2"),
    chunk(say(" it."), finish="STOP", usage=usage(30, 7, 1), rid="r2"),
]


def spliced_events(streams: list[bytes]) -> list[Any]:
    """Return what the client's SDK reads of spliced streams."""
    parser = StreamParser()
    body = spliced(streams)
    events = [*parser.feed(body), parser.close()]
    return [json.loads(event.data) for event in events if event and event.data]


def spliced(streams: list[bytes]) -> bytes:
    """Splice streams as the tap does, with the format's own decoder."""
    splicer = TOOL_FORMAT.splicer(NAMES)
    out: list[bytes] = []
    for number, body in enumerate(streams):
        if number:
            splicer.resume()
        parser, reader = StreamParser(), FORMAT.reader()
        events: list[Event] = [*parser.feed(body)]
        if last := parser.close():
            events.append(last)
        out += [splicer.feed(event, reader.feed(event)) for event in events]
        splicer.turn()
    return b"".join(out) + splicer.finish()


@pytest.mark.parametrize("write", [stream, array])
def test_client_sees_one_response_without_the_hidden_calls(write: Any) -> None:
    chunks = spliced_events([write(*HIDDEN), write(*ANSWER)])
    parts = [part for c in chunks for part in c["candidates"][0]["content"]["parts"]]
    assert "".join(part["text"] for part in parts) == "Looking.Found it."
    assert not any("functionCall" in part for part in parts)
    assert {c["responseId"] for c in chunks} == {"r1"}
    reasons = [c["candidates"][0].get("finishReason") for c in chunks]
    assert reasons == [*[None] * (len(chunks) - 1), "STOP"]
    assert chunks[-1]["usageMetadata"] == {
        "promptTokenCount": 30,
        "candidatesTokenCount": 12,
        "thoughtsTokenCount": 3,
        "totalTokenCount": 45,
    }


@pytest.mark.parametrize("write", [stream, array])
def test_call_in_the_first_and_only_chunk_is_hidden(write: Any) -> None:
    whole = chunk(say("Looking."), call(LOOK), finish="STOP", usage=usage(1, 1))
    chunks = spliced_events([write(whole), write(*ANSWER)])
    texts = [c["candidates"][0]["content"]["parts"][0]["text"] for c in chunks]
    assert texts == ["Looking.", "Found", " it.", ""]


def test_array_is_legal_if_everything_in_the_first_response_is_hidden() -> None:
    first = chunk(call(LOOK), finish="STOP")
    assert len(json.loads(spliced([array(first), array(*ANSWER)]))) == 3


@pytest.mark.parametrize("write", [stream, array])
def test_stream_without_hidden_calls_is_relayed_byte_for_byte(write: Any) -> None:
    body = write(*ANSWER, chunk(call("own"), finish="STOP"))
    assert spliced([body]) == body


def test_call_of_the_client_in_a_mixed_turn_is_shown_at_once() -> None:
    mixed = [chunk(call(LOOK, thoughtSignature=SIGNATURE), call("own", {"a": 1}), finish="STOP")]
    [shown, end] = spliced_events([stream(*mixed)])
    assert shown["candidates"][0]["content"]["parts"] == [call("own", {"a": 1})]
    assert "finishReason" not in shown["candidates"][0]
    assert end["candidates"][0]["finishReason"] == "STOP"


def test_envelope_of_code_assist_stays_around_each_chunk() -> None:
    def enveloped(chunks: list[Any]) -> bytes:
        return stream(*({"response": one, "traceId": "t"} for one in chunks))

    chunks = spliced_events([enveloped(HIDDEN), enveloped(ANSWER)])
    assert {c["traceId"] for c in chunks} == {"t"}
    assert chunks[-1]["response"]["usageMetadata"]["candidatesTokenCount"] == 12


@pytest.mark.parametrize("write", [stream, array])
def test_error_after_hidden_calls_reaches_the_client(write: Any) -> None:
    error = {"error": {"code": 503, "message": "Overloaded.", "status": "UNAVAILABLE"}}
    body = spliced([write(*HIDDEN), write(error)]).removesuffix(b"]")
    assert b"Overloaded." in body
    assert body.count(b"[") == (array is write) + body.count(b'"parts": [') + body.count(
        b'"parts":['
    ) + body.count(b'"candidates": [') + body.count(b'"candidates":[')


def test_merged_response_equals_the_streamed_one() -> None:
    first = chunk(say("Looking."), call(LOOK), call(FIND), finish="STOP", usage=usage(10, 5, 2))
    second = chunk(say("Found it."), finish="STOP", usage=usage(30, 7, 1), rid="r2")
    merged, turns = merge("gemini", [first, second])
    assert merged == chunk(say("Looking."), say("Found it."), finish="STOP", usage=usage(30, 12, 3))
    assert [[c.name for c in turn.calls] for turn in turns] == [[LOOK, FIND], []]


# The turn


def test_turn_keeps_parts_with_their_signatures_and_drops_blank_ones() -> None:
    [turn] = splice("gemini", [stream(*HIDDEN)]).turns
    assert turn.items == (
        say("Looking."),
        call(LOOK, {"q": 1}, thoughtSignature=SIGNATURE),
        call(FIND),
    )
    signed = say("", thoughtSignature=SIGNATURE)
    [turn] = splice("gemini", [stream(chunk(say("a"), signed, finish="STOP"))]).turns
    assert turn.items == (say("a"), signed)


def test_calls_without_ids_get_results_without_ids_in_their_order() -> None:
    [turn] = splice("gemini", [stream(*HIDDEN)]).turns
    ids = [one.call_id for one in turn.calls]
    assert len(set(ids)) == 2
    answers = [(one, result(one.name)) for one in turn.calls]
    [content] = TOOL_FORMAT.result_messages(TOOL_FORMAT.result_items(answers))
    assert content == {
        "role": "user",
        "parts": [
            {"functionResponse": {"name": LOOK, "response": {"output": LOOK}}},
            {"functionResponse": {"name": FIND, "response": {"output": FIND}}},
        ],
    }


def test_result_of_a_call_with_an_id_has_it() -> None:
    one = InjectedCall(call_id="call-1", name=LOOK, arguments={})
    [item] = TOOL_FORMAT.result_items([(one, result("no", is_error=True))])
    assert item["functionResponse"] == {
        "id": "call-1",
        "name": LOOK,
        "response": {"error": "no"},
    }


@pytest.mark.parametrize(("media_type", "data"), [("image/png", PNG), ("image/gif", "R0lGODlh")])
def test_images_of_types_that_the_model_reads_follow_the_results(
    media_type: str, data: str
) -> None:
    image = ResultPart(kind="image", data=data, media_type=media_type)
    given = ToolResult(parts=(ResultPart(kind="text", text="A map:"), image))
    one = InjectedCall(call_id="c", name=LOOK, arguments={})
    items = TOOL_FORMAT.result_items([(one, given), (one, result())])
    kinds = [next(iter(item)) for item in items]
    images = ["inlineData"] if media_type == "image/png" else []
    assert kinds == ["functionResponse", "functionResponse", *images]
    assert images or "image/gif" in json.dumps(items)


@pytest.mark.parametrize("reason", ["MAX_TOKENS", "SAFETY", "MALFORMED_FUNCTION_CALL"])
def test_turn_that_was_cut_off_waits_for_no_results(reason: str) -> None:
    [turn] = splice("gemini", [stream(chunk(say("a"), call(LOOK), finish=reason))]).turns
    assert turn.calls == ()
    assert turn.items == (say("a"),)


# Requests


USER = {"role": "user", "parts": [{"text": "hi"}]}
OWN = {"name": "own", "parameters": {"type": "OBJECT"}}


def offered(body: Any) -> list[str]:
    given = request(body)
    return [found.name for found in TOOL_FORMAT.inject(given, TOOLS)]


@pytest.mark.parametrize(
    "more",
    [
        {"cachedContent": "cachedContents/1"},
        {"cached_content": "cachedContents/1"},
        {"toolConfig": {"functionCallingConfig": {"mode": "ANY"}}},
        {"tool_config": {"function_calling_config": {"mode": "NONE"}}},
        {"toolConfig": {"functionCallingConfig": {"allowedFunctionNames": ["own"]}}},
        {"toolConfig": {"functionCallingConfig": {"streamFunctionCallArguments": True}}},
        {"tools": [{"googleSearch": {}}]},
        {"tools": [{"codeExecution": {}}, {"urlContext": {}}]},
        {"tools": {"functionDeclarations": [OWN]}},
        {"generationConfig": {"responseMimeType": "application/json"}},
        {"generation_config": {"response_modalities": ["TEXT", "IMAGE"]}},
        {"generationConfig": {"candidateCount": 2}},
        {"contents": []},
    ],
)
def test_request_that_may_not_mix_with_further_tools_is_offered_none(more: Any) -> None:
    given = request({"contents": [USER], **more})
    before = dict(given)
    assert TOOL_FORMAT.inject(given, TOOLS) == ()
    assert given == before


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"tools": []},
        {"tools": [{"functionDeclarations": [OWN]}]},
        {"tools": [{"function_declarations": [OWN]}, {"googleSearch": {}}]},
        {"toolConfig": {"functionCallingConfig": {"mode": "AUTO"}}},
        {"generationConfig": {"responseModalities": ["TEXT"], "temperature": 1}},
    ],
)
def test_tools_are_declared_beside_the_clients_own(more: Any) -> None:
    given = request({"contents": [USER], **more})
    assert TOOL_FORMAT.inject(given, TOOLS) == TOOLS
    tools = json.loads(bytes(given["tools"]))
    declared = [
        found
        for element in tools
        for name in ("functionDeclarations", "function_declarations")
        for found in element.get(name, ())
    ]
    own = [OWN] if "functionDeclarations" in str(more) or "function_decl" in str(more) else []
    assert declared[: len(own)] == own
    assert declared[len(own)] == {
        "name": FIND,
        "description": f"Does {FIND}.",
        "parametersJsonSchema": {"type": "object"},
    }
    assert len(tools) == max(1, len(more.get("tools", ())))


def test_name_of_the_client_wins_and_the_limit_of_the_api_holds() -> None:
    own = [{"name": LOOK}, *({"name": f"own{number}"} for number in range(510))]
    assert offered({"contents": [USER], "tools": [{"functionDeclarations": own}]}) == [FIND]
    many = [tool(f"bmcp_s_{number:03}") for number in range(600)]
    given = request({"contents": [USER]})
    assert len(TOOL_FORMAT.inject(given, many)) == 512


@pytest.mark.parametrize("envelope", ["request", "generateContentRequest"])
def test_tools_are_offered_inside_an_envelope(envelope: str) -> None:
    given = request({"model": "m", envelope: {"contents": [USER], "session_id": "s"}})
    assert TOOL_FORMAT.inject(given, TOOLS) == TOOLS
    assert list(given) == ["model", envelope]
    inner = json.loads(bytes(given[envelope]))
    assert list(inner) == ["contents", "session_id", "tools"]


def test_unedited_members_keep_their_bytes() -> None:
    given = request({"contents": [USER], "tools": [{"functionDeclarations": [OWN]}], "x": 1.50})
    before = dict(given)
    TOOL_FORMAT.inject(given, TOOLS)
    assert {k: bytes(v) for k, v in given.items() if k != "tools"} == {
        k: bytes(v) for k, v in before.items() if k != "tools"
    }


def test_next_request_has_the_turn_and_all_results_in_one_content() -> None:
    turns = splice("gemini", [stream(*HIDDEN), stream(*ANSWER)]).turns
    asked = loop("gemini", {"contents": [USER]}, turns).asked[-1]
    contents = json.loads(bytes(asked["contents"]))
    assert [content["role"] for content in contents] == ["user", "model", "user"]
    assert contents[1]["parts"] == list(turns[0].items)
    assert [part["functionResponse"]["name"] for part in contents[2]["parts"]] == [LOOK, FIND]


def test_last_request_of_a_loop_forbids_calls() -> None:
    given = request({"contents": USER, "tool_config": {"retrieval_config": {}}})
    last = TOOL_FORMAT.continue_request(given, Turn(items=(say("a"),)), [], last=True)
    assert json.loads(bytes(last["tool_config"])) == {
        "retrieval_config": {},
        "functionCallingConfig": {"mode": "NONE"},
    }
    assert json.loads(bytes(last["contents"]))[:2] == [
        USER,
        {"role": "model", "parts": [say("a")]},
    ]


# Hidden turns in later requests


def model(*parts: Any) -> dict[str, Any]:
    return {"role": "model", "parts": list(parts)}


NEXT = {"role": "user", "parts": [{"text": "And then?"}]}


@pytest.mark.parametrize(
    "shown",
    [[model(say("Looking.Found it."))], [model(say("Looking.")), model(say("Found"), say(" it."))]],
    ids=["joined", "as streamed"],
)
def test_hidden_turns_are_put_back_into_later_requests(shown: list[Any]) -> None:
    turns = splice("gemini", [stream(*HIDDEN), stream(*ANSWER)]).turns
    asked = {"contents": [USER]}
    done = loop("gemini", asked, turns)
    later = restored("gemini", {"contents": [USER, *shown, NEXT]}, done.found)
    contents = later["contents"]
    assert contents[:3] == json.loads(bytes(done.asked[-1]["contents"]))
    assert contents[3:] == [model(say("Found"), say(" it.")), NEXT]


@pytest.mark.parametrize("client_id", [None, "made-up"])
@pytest.mark.parametrize("own_id", [None, "call-7"])
def test_results_of_hidden_calls_are_put_beside_the_clients_own(
    client_id: str | None, own_id: str | None
) -> None:
    ids = {"id": own_id} if own_id else {}
    own = call("own", {"a": 1}, **ids)
    mixed = chunk(call(LOOK, thoughtSignature=SIGNATURE), own, finish="STOP")
    turns = splice("gemini", [stream(mixed)]).turns
    done = loop("gemini", {"contents": [USER]}, turns)
    sent_id = own_id or client_id
    echoed = call("own", {"a": 1}, **({"id": sent_id} if sent_id else {}))
    answer = {"functionResponse": {"name": "own", "response": {"output": "done"}}}
    back = {"contents": [USER, model(echoed), {"role": "user", "parts": [answer]}]}
    contents = restored("gemini", back, done.found)["contents"]
    assert contents[1] == model(call(LOOK, thoughtSignature=SIGNATURE), own)
    assert [part["functionResponse"]["name"] for part in contents[2]["parts"]] == [LOOK, "own"]


def test_request_of_another_conversation_is_not_changed() -> None:
    turns = splice("gemini", [stream(*HIDDEN), stream(*ANSWER)]).turns
    done = loop("gemini", {"contents": [USER]}, turns)
    other = {"contents": [USER, model(say("Something else.")), NEXT]}
    assert restored("gemini", other, done.found) == other


# Robustness


def test_ping_is_a_blank_line_which_googles_sdks_skip() -> None:
    assert TOOL_FORMAT.splicer(NAMES).ping() == b"\n"


def test_error_of_the_provider_keeps_its_shape() -> None:
    body = {"error": {"code": 429, "message": "Slow down.", "status": "RESOURCE_EXHAUSTED"}}
    for told in (body, [body]):
        error = StreamError(message="Slow down.", http_status=429, body=told)
        written = TOOL_FORMAT.splicer(NAMES).error(error)
        assert json.loads(written.removeprefix(b"data: ")) == body
    written = TOOL_FORMAT.splicer(NAMES).error(StreamError(message="No.", http_status=503))
    assert json.loads(written.removeprefix(b"data: "))["error"]["status"] == "UNAVAILABLE"


@thorough
@given(st.data())
def test_any_request_is_offered_tools_and_restored_without_raising(data: st.DataObject) -> None:
    body = {
        "contents": [USER, model(say("a"), call("own")), {"role": "user", "parts": [{}]}],
        "tools": [{"functionDeclarations": [OWN]}],
        "toolConfig": {"functionCallingConfig": {"mode": "AUTO"}},
        "generationConfig": {"responseModalities": ["TEXT"]},
    }
    asked = data.draw(mutated({"request": body} if data.draw(st.booleans()) else body))
    parts = members(json.dumps(asked).encode())
    if parts is None:
        return
    TOOL_FORMAT.inject(dict(parts), TOOLS)
    runs = TOOL_FORMAT.transcript(parts).runs
    entry = loop("gemini", {"contents": [USER]}, splice("gemini", [stream(*HIDDEN)]).turns)
    [restoration] = entry.found.values()
    found = {run.key: restoration for run in runs}
    assert TOOL_FORMAT.restore(dict(parts), found) is bool(found)


@thorough
@given(st.lists(json_values, max_size=3))
def test_any_chunks_are_spliced_without_raising(values: list[Any]) -> None:
    spliced([stream(*values), array(*values), stream(*HIDDEN)])
