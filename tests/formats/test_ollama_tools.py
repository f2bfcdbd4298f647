"""Central tools in Ollama's own API."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ollama import ChatResponse, Message

from aibridge_addon.formats import FORMATS
from aibridge_addon.formats.central_tool import ResultPart, ToolResult
from aibridge_addon.formats.decoders.ndjson import LineParser
from aibridge_addon.formats.tool_protocol import InjectedCall, StreamError, Turn
from aibridge_addon.raw_json import members
from formats.any_json import json_values, mutated, pieces
from formats.helpers import thorough, tools_of
from formats.inner_loop import NAMES, TOOLS, loop, merge, request, restored, result

API = "ollama_chat"
FORMAT, TOOL_FORMAT = FORMATS[API], tools_of(API)
LOOK, FIND = "bmcp_s_look", "bmcp_s_find"
HEAD = {"model": "qwen3", "created_at": "2026-11-28T12:00:00Z"}
USER = {"role": "user", "content": "hi"}
NEXT = {"role": "user", "content": "And then?"}
OWN = {"type": "function", "function": {"name": "own", "parameters": {"type": "object"}}}


def call(name: str, given_arguments: Any = None, **more: Any) -> dict[str, Any]:
    return {**more, "function": {"name": name, "arguments": given_arguments or {}}}


def piece(content: str = "", **more: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": content, **more}
    return {**HEAD, "message": message, "done": False}


def ending(*, prompt: int, output: int, reason: str = "stop", **more: Any) -> dict[str, Any]:
    counts = {
        "prompt_eval_count": prompt,
        "prompt_eval_duration": prompt * 10,
        "eval_count": output,
        "eval_duration": output * 100,
        "total_duration": prompt * 10 + output * 100,
    }
    return {**piece(**more), "done": True, "done_reason": reason, **counts}


HIDDEN = [
    piece(thinking="Hm."),
    piece("Looking."),
    piece(tool_calls=[call(LOOK, {"q": 1}), call(FIND)]),
    ending(prompt=10, output=5),
]
ANSWER = [piece("Found"), piece(" it."), ending(prompt=30, output=7)]


def stream(lines: list[Any]) -> bytes:
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def whole(lines: list[Any]) -> dict[str, Any]:
    """Return the response without streaming that has the content of lines."""
    view = FORMAT.view
    assert view
    assembler = view.assembler()
    parser = LineParser()
    for event in parser.feed(stream(lines)):
        assembler.feed(event)
    return assembler.document()


def spliced(streams: list[list[bytes]], names: frozenset[str] = NAMES) -> tuple[bytes, list[Turn]]:
    """Splice streams as the tap does, in these chunks."""
    splicer = TOOL_FORMAT.splicer(names)
    out: list[bytes] = []
    turns = []
    for number, chunks in enumerate(streams):
        if number:
            out.append(splicer.ping())
            splicer.resume()
        parser, reader = LineParser(), FORMAT.reader()
        events = [event for chunk in chunks for event in parser.feed(chunk)]
        if last := parser.close():
            events.append(last)
        out += [splicer.feed(event, reader.feed(event)) for event in events]
        turns.append(splicer.turn())
    return b"".join([*out, splicer.finish()]), turns


def sdk_reads(body: bytes) -> list[ChatResponse]:
    """Return the parts that Ollama's SDK reads: it decodes every line."""
    return [ChatResponse(**json.loads(line)) for line in body.decode().splitlines()]


JOINED = {
    **HEAD,
    "message": {"role": "assistant", "content": "Looking.Found it.", "thinking": "Hm."},
    "done": True,
    "done_reason": "stop",
    "prompt_eval_count": 30,
    "prompt_eval_duration": 300,
    "eval_count": 12,
    "eval_duration": 1200,
    "total_duration": 1600,
}


@given(st.data())
def test_client_sees_one_response_without_the_hidden_calls(data: st.DataObject) -> None:
    chunks = [data.draw(pieces(stream(lines))) for lines in (HIDDEN, ANSWER)]
    body, turns = spliced(chunks)
    parts = sdk_reads(body)
    assert [part.done for part in parts] == [*[False] * (len(parts) - 1), True]
    assert "".join(part.message.content or "" for part in parts) == "Looking.Found it."
    assert whole([json.loads(line) for line in body.splitlines()]) == JOINED
    assert [[one.name for one in turn.calls] for turn in turns] == [[LOOK, FIND], []]


def test_merged_response_equals_the_streamed_one() -> None:
    merged, turns = merge(API, [whole(HIDDEN), whole(ANSWER)])
    assert merged == JOINED
    assert turns == spliced([[stream(HIDDEN)], [stream(ANSWER)]])[1]


def test_usage_of_all_responses_is_the_output_of_all_and_the_prompt_of_the_last() -> None:
    facts = FORMAT.read_whole(json.dumps(JOINED).encode())
    assert facts.usage
    assert (facts.usage.input_tokens, facts.usage.output_tokens) == (30, 12)


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b""])
def test_stream_without_hidden_calls_is_relayed_byte_for_byte(line_end: bytes) -> None:
    lines = [*ANSWER[:-1], piece(tool_calls=[call("own")]), ANSWER[-1]]
    body = stream(lines).removesuffix(b"\n") + line_end
    assert spliced([[body]])[0] == body


def test_call_of_the_client_in_a_mixed_turn_is_shown_at_once() -> None:
    mixed = [piece(tool_calls=[call(LOOK), call("own", {"a": 1})]), ending(prompt=1, output=1)]
    body, [turn] = spliced([[stream(mixed)]])
    shown, end = sdk_reads(body)
    assert shown.message.tool_calls
    assert [one.function.name for one in shown.message.tool_calls] == ["own"]
    assert end.done
    assert [one.name for one in turn.calls] == [LOOK]
    assert turn.client_calls == ("",)


def test_call_on_the_last_line_is_hidden_and_its_text_is_shown() -> None:
    last = ending(prompt=1, output=1, content="Looking.", tool_calls=[call(LOOK)])
    parts = sdk_reads(spliced([[stream([last])], [stream(ANSWER)]])[0])
    assert "".join(part.message.content or "" for part in parts) == "Looking.Found it."
    assert [part.done for part in parts].count(True) == 1
    assert not any(part.message.tool_calls for part in parts)


def test_response_that_was_cut_off_waits_for_no_results() -> None:
    cut = [piece("a", tool_calls=[call(LOOK)]), ending(prompt=1, output=1, reason="length")]
    [turn] = spliced([[stream(cut)]])[1]
    assert turn.calls == ()
    assert turn.items == ({"role": "assistant", "content": "a"},)


# Requests


@pytest.mark.parametrize("more", [{"format": "json"}, {"format": {"type": "object"}}], ids=str)
def test_tools_are_not_offered_beside_a_required_shape_of_the_answer(more: Any) -> None:
    asked = request({"messages": [USER], **more})
    before = dict(asked)
    assert TOOL_FORMAT.inject(asked, TOOLS) == ()
    assert asked == before


def test_tools_are_offered_after_the_clients_own() -> None:
    asked = request({"messages": [USER], "tools": [OWN], "format": "", "options": {"seed": 1.50}})
    options = asked["options"]
    assert TOOL_FORMAT.inject(asked, TOOLS) == TOOLS
    own, *added = json.loads(bytes(asked["tools"]))
    assert own == OWN
    assert [found["function"]["name"] for found in added] == [FIND, LOOK]
    assert asked["options"] is options


@pytest.mark.parametrize("ids", [{}, {"id": "call_1"}])
def test_next_request_has_the_turn_and_a_message_for_each_result(ids: dict[str, str]) -> None:
    lines = [piece("Looking.", tool_calls=[call(LOOK, **ids)]), ending(prompt=1, output=1)]
    turns = spliced([[stream(lines)], [stream(ANSWER)]])[1]
    asked = loop(API, {"messages": [USER]}, turns).asked[-1]
    _, turn, answer = json.loads(bytes(asked["messages"]))
    assert turn == {"role": "assistant", "content": "Looking.", "tool_calls": [call(LOOK, **ids)]}
    own_id = {"tool_call_id": "call_1"} if ids else {}
    content = answer.pop("content")
    assert answer == {"role": "tool", "tool_name": LOOK, **own_id}
    assert content.startswith("result of ")
    assert Message(**turn).tool_calls
    last = TOOL_FORMAT.continue_request(
        {**asked, "tools": asked["messages"]}, turns[0], [], last=True
    )
    assert "tools" not in last


def test_image_is_described_since_not_every_model_reads_images() -> None:
    image = ToolResult(parts=(ResultPart(kind="image", data="AAAA", media_type="image/png"),))
    one = InjectedCall(call_id="aibridge-call-0", name=LOOK, arguments={})
    [item] = TOOL_FORMAT.result_items([(one, image)])
    assert "image" in item["content"]
    [item] = TOOL_FORMAT.result_items([(one, result("no", is_error=True))])
    assert item == {"role": "tool", "tool_name": LOOK, "content": "Error: no"}


# Hidden turns in later requests


@pytest.mark.parametrize(
    "shown",
    [["Looking.Found it."], ["Looking.", "Found it."], ["Looking.", "", "Found", " it."]],
    ids=len,
)
def test_hidden_turns_are_put_back_into_later_requests(shown: list[str]) -> None:
    turns = spliced([[stream(HIDDEN)], [stream(ANSWER)]])[1]
    done = loop(API, {"messages": [USER]}, turns)
    said = [{"role": "assistant", "content": text} for text in shown]
    messages = restored(API, {"messages": [USER, *said, NEXT]}, done.found)["messages"]
    assert messages[:-2] == json.loads(bytes(done.asked[-1]["messages"]))
    assert messages[-2:] == [{"role": "assistant", "content": "Found it."}, NEXT]


@pytest.mark.parametrize("own_id", [None, "call_7"])
@pytest.mark.parametrize("client_id", [None, "made-up"])
def test_results_of_hidden_calls_are_put_beside_the_clients_own(
    own_id: str | None, client_id: str | None
) -> None:
    own = call("own", {"a": 1}, **({"id": own_id} if own_id else {}))
    mixed = [piece(tool_calls=[call(LOOK), own]), ending(prompt=1, output=1)]
    done = loop(API, {"messages": [USER]}, spliced([[stream(mixed)]])[1])
    sent_id = own_id or client_id
    echoed = call("own", {"a": 1}, **({"id": sent_id} if sent_id else {}))
    turn = {"role": "assistant", "content": "", "tool_calls": [echoed]}
    answer = {"role": "tool", "tool_name": "own", "content": "done"}
    messages = restored(API, {"messages": [USER, turn, answer]}, done.found)["messages"]
    assert messages[1]["tool_calls"] == [call(LOOK), own]
    assert [message["tool_name"] for message in messages[2:]] == [LOOK, "own"]


def test_request_of_another_conversation_is_not_changed() -> None:
    done = loop(API, {"messages": [USER]}, spliced([[stream(HIDDEN)], [stream(ANSWER)]])[1])
    other = {"messages": [USER, {"role": "assistant", "content": "Something else."}, NEXT]}
    assert restored(API, other, done.found) == other


# Errors and signs of life


def test_sign_of_life_is_an_empty_piece_that_the_sdk_reads() -> None:
    splicer = TOOL_FORMAT.splicer(NAMES)
    parser, reader = LineParser(), FORMAT.reader()
    for event in parser.feed(stream(HIDDEN)):
        splicer.feed(event, reader.feed(event))
    [part] = sdk_reads(splicer.ping())
    assert (part.model, part.message.content, part.done) == ("qwen3", "", False)


@pytest.mark.parametrize("body", [{"error": "model runner has stopped", "code": 7}, None], ids=str)
def test_error_is_a_line_that_the_reader_knows(body: Any) -> None:
    error = StreamError(message="No – not “now”.", http_status=503, body=body)
    line = TOOL_FORMAT.splicer(NAMES).error(error)
    assert line.endswith(b"\n")
    assert json.loads(line) == (body or {"error": "No – not “now”."})


def test_error_after_hidden_calls_reaches_the_client() -> None:
    body, _ = spliced([[stream(HIDDEN)], [stream([{"error": "out of memory"}])]])
    assert json.loads(body.splitlines()[-1]) == {"error": "out of memory"}


# Robustness


@thorough
@given(st.data())
def test_any_request_is_offered_tools_and_restored_without_raising(data: st.DataObject) -> None:
    body = {
        "messages": [
            USER,
            {"role": "assistant", "content": "a", "tool_calls": [call("own", id="1")]},
            {"role": "tool", "tool_name": "own", "content": "b"},
        ],
        "tools": [OWN],
    }
    parts = members(json.dumps(data.draw(mutated(body))).encode())
    if parts is None:
        return
    TOOL_FORMAT.inject(dict(parts), TOOLS)
    runs = TOOL_FORMAT.transcript(parts).runs
    turns = spliced([[stream(HIDDEN)], [stream(ANSWER)]])[1]
    [entry] = loop(API, {"messages": [USER]}, turns).found.values()
    found = {run.key: entry for run in runs}
    assert TOOL_FORMAT.restore(dict(parts), found) is bool(found)


@thorough
@given(st.data())
def test_any_lines_are_spliced_without_raising(data: st.DataObject) -> None:
    lines = [data.draw(mutated(line)) for line in HIDDEN] + [data.draw(json_values)]
    spliced([[stream(lines)], [stream(lines)], [stream(ANSWER)]])
    merge(API, [data.draw(mutated(whole(HIDDEN))), whole(ANSWER)])
