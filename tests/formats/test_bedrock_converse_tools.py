"""Central tools in Converse of Amazon Bedrock."""

import json
from base64 import b64decode, b64encode
from typing import Any

import pytest
from botocore.eventstream import EventStreamBuffer
from botocore.loaders import Loader
from hypothesis import given
from hypothesis import strategies as st

from aibridge_addon.formats import FORMATS
from aibridge_addon.formats.central_tool import ResultPart, ToolResult
from aibridge_addon.formats.decoders.aws_frames import (
    FrameParser,
    event_frame,
    exception_frame,
    frames_of,
)
from aibridge_addon.formats.decoders.sse import Event
from aibridge_addon.formats.tool_protocol import InjectedCall, StreamError, Turn
from aibridge_addon.raw_json import members
from formats.any_json import json_values, mutated, pieces
from formats.helpers import thorough, tools_of
from formats.inner_loop import NAMES, TOOLS, loop, merge, request, restored, result, tool

API = "bedrock_converse"
FORMAT, TOOL_FORMAT = FORMATS[API], tools_of(API)
CLAUDE = TOOL_FORMAT.for_model("eu.anthropic.claude-sonnet-4-5-20250929-v1:0")
LOOK, FIND = "bmcp_s_look", "bmcp_s_find"
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNiAAAABgADNjd8qAAAAABJRU5ErkJggg=="
USER = {"role": "user", "content": [{"text": "hi"}]}
NEXT = {"role": "user", "content": [{"text": "And then?"}]}
OWN = {"toolSpec": {"name": "own", "inputSchema": {"json": {"type": "object"}}}}


def call(name: str, number: int, given: Any = None) -> dict[str, Any]:
    return {"toolUse": {"toolUseId": f"tooluse_{number}", "name": name, "input": given or {}}}


THOUGHT = {"reasoningContent": {"reasoningText": {"text": "Hm.", "signature": "c2ln"}}}
HIDDEN = [THOUGHT, {"text": "Looking."}, call(LOOK, 1, {"q": 1}), call(FIND, 2)]
ANSWER = [{"text": "Found it."}]


def document(blocks: list[Any], stop: str, given: int = 10, put_out: int = 5) -> dict[str, Any]:
    """Return a response without streaming."""
    return {
        "output": {"message": {"role": "assistant", "content": blocks}},
        "stopReason": stop,
        "usage": {
            "inputTokens": given,
            "outputTokens": put_out,
            "totalTokens": given + put_out,
        },
        "metrics": {"latencyMs": 7},
    }


def events_of(answer: dict[str, Any]) -> list[tuple[str, Any]]:
    """Return the events in which a response is streamed."""
    events: list[tuple[str, Any]] = [("messageStart", {"role": "assistant", "p": "abc"})]
    for index, block in enumerate(answer["output"]["message"]["content"]):
        at = {"contentBlockIndex": index}
        if used := block.get("toolUse"):
            start = {name: value for name, value in used.items() if name != "input"}
            events.append(("contentBlockStart", at | {"start": {"toolUse": start}}))
            deltas = [{"toolUse": {"input": json.dumps(used["input"])}}]
        elif reasoning := block.get("reasoningContent"):
            parts = reasoning["reasoningText"].items()
            deltas = [{"reasoningContent": {name: value}} for name, value in parts]
        else:
            deltas = [{"text": letter} for letter in block["text"]]
        events += (("contentBlockDelta", {**at, "delta": delta, "p": "xy"}) for delta in deltas)
        events.append(("contentBlockStop", at))
    events.append(("messageStop", {"stopReason": answer["stopReason"]}))
    ending = {"usage": answer["usage"], "metrics": answer["metrics"]}
    return [*events, ("metadata", ending)]


def stream(answer: dict[str, Any]) -> bytes:
    return b"".join(
        event_frame(kind, json.dumps(data).encode()) for kind, data in events_of(answer)
    )


def spliced(streams: list[list[bytes]], names: frozenset[str] = NAMES) -> tuple[bytes, list[Turn]]:
    """Splice streams as the tap does, in these chunks."""
    splicer = TOOL_FORMAT.splicer(names)
    out: list[bytes] = []
    turns = []
    for number, chunks in enumerate(streams):
        if number:
            out.append(splicer.ping())
            splicer.resume()
        parser, reader = FrameParser(), FORMAT.reader()
        events: list[Event] = [event for chunk in chunks for event in parser.feed(chunk)]
        out += [splicer.feed(event, reader.feed(event)) for event in events]
        turns.append(splicer.turn())
    return b"".join([*out, splicer.finish()]), turns


def botocore_reads(body: bytes) -> list[tuple[str, Any]]:
    """Return the events that botocore reads, which checks both checksums, and knows the types."""
    buffer = EventStreamBuffer()
    buffer.add_data(body)
    known = set(SHAPES["ConverseStreamOutput"]["members"])
    found = [(frame.headers[":event-type"], json.loads(frame.payload)) for frame in buffer]
    return [event for event in found if event[0] in known]


SHAPES = Loader().load_service_model("bedrock-runtime", "service-2")["shapes"]
FIRST = document(HIDDEN, "tool_use")
SECOND = document(ANSWER, "end_turn", given=30, put_out=7)
JOINED = document([THOUGHT, {"text": "Looking."}, *ANSWER], "end_turn", given=30, put_out=12)


def message_of(events: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the response that a client assembles from events."""
    reader = FORMAT.reader()
    for kind, data in events:
        reader.feed(Event(kind.encode(), json.dumps(data).encode(), b""))
    return reader.message()  # type: ignore[attr-defined,no-any-return]


@given(st.data())
def test_client_sees_one_response_without_the_hidden_calls(data: st.DataObject) -> None:
    chunks = [data.draw(pieces(stream(answer))) for answer in (FIRST, SECOND)]
    body, turns = spliced(chunks)
    events = botocore_reads(body)
    kinds = [kind for kind, _ in events]
    assert message_of(events) == JOINED
    assert [kinds.count(kind) for kind in ("messageStart", "messageStop", "metadata")] == [1, 1, 1]
    assert kinds[-1] == "metadata"
    indexes = [data["contentBlockIndex"] for kind, data in events if "contentBlock" in kind]
    assert sorted(set(indexes)) == [0, 1, 2]
    assert indexes == sorted(indexes)
    assert [[one.name for one in turn.calls] for turn in turns] == [[LOOK, FIND], []]


def test_merged_response_equals_the_streamed_one() -> None:
    merged, turns = merge(API, [FIRST, SECOND])
    assert merged == JOINED
    assert turns == spliced([[stream(FIRST)], [stream(SECOND)]])[1]


def test_stream_without_hidden_calls_is_relayed_byte_for_byte() -> None:
    body = stream(document([THOUGHT, {"text": "a"}, call("own", 1)], "tool_use"))
    assert spliced([[body]])[0] == body


def test_call_of_the_client_in_a_mixed_turn_is_shown_at_the_next_index() -> None:
    mixed = document([call(LOOK, 1), call("own", 2, {"a": 1})], "tool_use")
    body, [turn] = spliced([[stream(mixed)]])
    expected = document([call("own", 2, {"a": 1})], "tool_use")
    assert message_of(botocore_reads(body)) == expected
    assert turn.client_calls == ("tooluse_2",)
    assert merge(API, [mixed])[0] == expected


def test_frame_that_is_renumbered_keeps_its_padding() -> None:
    body, _ = spliced([[stream(document([call(LOOK, 1), {"text": "a"}], "tool_use"))]])
    [delta] = [data for kind, data in botocore_reads(body) if kind == "contentBlockDelta"]
    assert delta == {"contentBlockIndex": 0, "delta": {"text": "a"}, "p": "xy"}


@pytest.mark.parametrize(("stop", "waits"), [("tool_use", 1), ("end_turn", 1), ("max_tokens", 0)])
def test_turn_waits_for_results_unless_it_was_cut_off(stop: str, waits: int) -> None:
    _, [turn] = spliced([[stream(document([{"text": "a"}, call(LOOK, 1)], stop))]])
    assert len(turn.calls) == waits
    assert len(turn.items) == 1 + waits


def test_turn_keeps_signed_thoughts_and_drops_blank_texts() -> None:
    blank = document([THOUGHT, {"text": " "}, call(LOOK, 1)], "tool_use")
    for turn in (spliced([[stream(blank)]])[1][0], merge(API, [blank])[1][0]):
        assert turn.items == (THOUGHT, call(LOOK, 1))


@pytest.mark.parametrize(
    ("sent", "joined"),
    [(["aGVsbG8="], "aGVsbG8="), (["aGU=", "bGxv"], "aGVsbG8="), (["?", "!"], "?!")],
)
def test_redacted_thoughts_go_back_as_they_are_without_streaming(
    sent: list[str], joined: str
) -> None:
    deltas = [{"reasoningContent": {"redactedContent": piece}} for piece in sent]
    at = {"contentBlockIndex": 0}
    events = [
        event_frame("contentBlockDelta", json.dumps(at | {"delta": d}).encode()) for d in deltas
    ]
    _, [turn] = spliced([[*events, stream(document([], "end_turn"))]])
    assert turn.items == ({"reasoningContent": {"redactedContent": joined}},)


@pytest.mark.parametrize("place", range(4))
def test_exception_after_hidden_calls_is_the_last_frame_of_the_client(place: int) -> None:
    frames = [event_frame(kind, json.dumps(data).encode()) for kind, data in events_of(SECOND)]
    failed = [*frames[:place], exception_frame("throttlingException", "Slow down.")]
    body, _ = spliced([[stream(FIRST)], failed])
    reader = FORMAT.reader()
    for event in frames_of(body):
        reader.feed(event)
    assert reader.facts().error
    assert body.endswith(failed[-1])


def test_frame_with_a_wrong_checksum_is_relayed_as_it_came_and_counted() -> None:
    frames = [event_frame(kind, json.dumps(data).encode()) for kind, data in events_of(FIRST)]
    broken = bytearray(frames[2])
    broken[-1] ^= 1
    body, _ = spliced([[*frames[:2], bytes(broken), *frames[3:]], [stream(SECOND)]])
    assert bytes(broken) in body


def test_call_that_the_provider_runs_is_not_a_call_of_the_client() -> None:
    given = call("nova_grounding", 1)
    given["toolUse"]["type"] = "server_tool_use"
    _, [turn] = merge(API, [document([given], "end_turn")])
    assert (turn.calls, turn.client_calls, turn.items) == ((), (), (given,))


# Requests


def offer(asked: Any) -> tuple[list[str], Any]:
    given_members = request(asked)
    offered = [found.name for found in TOOL_FORMAT.inject(given_members, TOOLS)]
    return offered, {name: json.loads(bytes(raw)) for name, raw in given_members.items()}


@pytest.mark.parametrize(
    "more",
    [
        {"toolConfig": {"tools": [OWN], "toolChoice": {"any": {}}}},
        {"toolConfig": {"tools": [OWN], "toolChoice": {"tool": {"name": "own"}}}},
        {"toolConfig": {"tools": {"toolSpec": {}}}},
        {"toolConfig": [OWN]},
        {"additionalModelRequestFields": {"tools": [{"type": "computer_20250124"}]}},
        {"additionalModelRequestFields": {"tool_choice": {"type": "none"}}},
        {"promptVariables": {"a": {"text": "b"}}},
        {"messages": []},
    ],
    ids=str,
)
def test_request_that_may_not_mix_with_further_tools_is_offered_none(more: Any) -> None:
    asked = {"messages": [USER], **more}
    assert offer(asked) == ([], asked)


@pytest.mark.parametrize(
    "config",
    [None, {"tools": [OWN]}, {"tools": [OWN, {"cachePoint": {"type": "default"}}]},
     {"tools": [{"systemTool": {"name": "nova_grounding"}}], "toolChoice": {"auto": {}}}],
    ids=str,
)  # fmt: skip
def test_tools_are_offered_before_the_clients_own(config: Any) -> None:
    asked: dict[str, Any] = {"messages": [USER]} | ({"toolConfig": config} if config else {})
    names, sent = offer(asked)
    assert names == [FIND, LOOK]
    own = config["tools"] if config else []
    added = [
        {
            "toolSpec": {
                "name": name,
                "description": f"Does {name}.",
                "inputSchema": {"json": {"type": "object"}},
            }
        }
        for name in names
    ]
    assert sent == {"messages": [USER], "toolConfig": {**(config or {}), "tools": [*added, *own]}}


def test_name_of_the_client_wins_and_an_empty_description_is_left_out() -> None:
    given_members = request(
        {"messages": [USER], "toolConfig": {"tools": [{"toolSpec": {"name": LOOK}}]}}
    )
    blank = tool(FIND)
    object.__setattr__(blank, "description", "")
    assert TOOL_FORMAT.inject(given_members, [tool(LOOK), blank]) == (blank,)
    spec = json.loads(bytes(given_members["toolConfig"]))["tools"][0]["toolSpec"]
    assert set(spec) == {"name", "inputSchema"}


def test_definition_has_the_members_that_the_service_model_knows() -> None:
    definition: Any = TOOL_FORMAT.definition(TOOLS[0])
    assert set(definition) <= set(SHAPES["Tool"]["members"])
    assert set(definition["toolSpec"]) <= set(SHAPES["ToolSpecification"]["members"])


def test_unedited_members_keep_their_bytes() -> None:
    given_members = request({"messages": [USER], "inferenceConfig": {"temperature": 1.50}})
    before = dict(given_members)
    TOOL_FORMAT.inject(given_members, TOOLS)
    del given_members["toolConfig"]
    assert given_members == before


def test_next_request_has_the_turn_and_all_results_in_one_message() -> None:
    turns = spliced([[stream(FIRST)], [stream(SECOND)]])[1]
    asked = loop(API, {"messages": [USER], "toolConfig": {"tools": [OWN]}}, turns).asked[-1]
    messages = json.loads(bytes(asked["messages"]))
    assert messages[:2] == [USER, {"role": "assistant", "content": HIDDEN}]
    results = [block["toolResult"] for block in messages[2]["content"]]
    assert [found["toolUseId"] for found in results] == ["tooluse_1", "tooluse_2"]
    last = TOOL_FORMAT.continue_request(asked, turns[0], [], last=True)
    assert last["toolConfig"] == asked["toolConfig"]  # it must be there, and forbids nothing


IMAGE = ToolResult(
    parts=(
        ResultPart(kind="text", text="A map:"),
        ResultPart(kind="image", data=PNG, media_type="image/jpg"),
        ResultPart(kind="text", text=""),
    )
)


@pytest.mark.parametrize(
    ("model", "reads"),
    [
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", True),
        ("eu.amazon.nova-pro-v1:0", True),
        ("amazon.nova-micro-v1:0", False),
        ("us.meta.llama3-3-70b-instruct-v1:0", False),
        ("arn:aws:bedrock:us-east-1:1:application-inference-profile/a", False),
        (None, False),
    ],
)
def test_image_reaches_the_models_that_read_images_in_results(
    model: str | None, reads: bool
) -> None:
    one = InjectedCall(call_id="c", name=LOOK, arguments={})
    [item] = TOOL_FORMAT.for_model(model).result_items([(one, IMAGE)])
    parts = item["toolResult"]["content"]
    assert item["toolResult"]["toolUseId"] == "c"
    if reads:
        image = {"image": {"format": "png", "source": {"bytes": PNG}}}
        assert parts == [{"text": "A map:"}, image, {"text": "(no output)"}]
    else:
        [part] = parts
        assert part["text"].startswith("A map:\n[image/jpg image")


def test_error_is_a_text_since_only_some_models_take_a_status() -> None:
    one = InjectedCall(call_id="c", name=LOOK, arguments={})
    for rules in (TOOL_FORMAT, CLAUDE):
        [item] = rules.result_items([(one, result("no", is_error=True))])
        assert item["toolResult"] == {"toolUseId": "c", "content": [{"text": "Error: no"}]}


# Counting tokens


def test_tools_and_hidden_turns_are_in_the_request_whose_tokens_are_counted() -> None:
    turns = spliced([[stream(FIRST)], [stream(SECOND)]])[1]
    done = loop(API, {"messages": [USER]}, turns)
    conversation = {"messages": [USER, {"role": "assistant", "content": SHOWN}, NEXT]}
    given_members = request({"input": {"converse": conversation}})
    assert TOOL_FORMAT.inject(given_members, TOOLS) == TOOLS
    runs = TOOL_FORMAT.transcript(given_members).runs
    assert TOOL_FORMAT.restore(given_members, {run.key: done.found[run.key] for run in runs})
    inner = json.loads(bytes(given_members["input"]))["converse"]
    assert len(inner["toolConfig"]["tools"]) == 2
    assert len(inner["messages"]) == 5
    assert list(given_members) == ["input"]


def test_tools_are_in_the_body_of_claude_whose_tokens_are_counted() -> None:
    body = {"anthropic_version": "bedrock-2023-05-31", "messages": [{"role": "user"}]}
    encoded = b64encode(json.dumps(body).encode()).decode()
    given_members = request({"input": {"invokeModel": {"body": encoded}}})
    assert TOOL_FORMAT.inject(given_members, TOOLS) == TOOLS
    sent = json.loads(bytes(given_members["input"]))["invokeModel"]["body"]
    assert {found["name"] for found in json.loads(b64decode(sent))["tools"]} == NAMES


# Hidden turns in later requests

SHOWN = [THOUGHT, {"text": "Looking."}, {"text": "Found it."}]


@pytest.mark.parametrize(
    "shown", [SHOWN, [{"text": "Looking.Found it."}], [{"text": "Looking."}, {"text": "Found it."}]]
)
def test_hidden_turns_are_put_back_into_later_requests(shown: list[Any]) -> None:
    turns = spliced([[stream(FIRST)], [stream(SECOND)]])[1]
    done = loop(API, {"messages": [USER]}, turns)
    later = restored(
        API, {"messages": [USER, {"role": "assistant", "content": shown}, NEXT]}, done.found
    )
    messages = later["messages"]
    assert messages[:3] == json.loads(bytes(done.asked[-1]["messages"]))
    assert messages[3:] == [{"role": "assistant", "content": ANSWER}, NEXT]


def test_cache_point_of_the_client_stays_at_the_end_of_its_message() -> None:
    turns = spliced([[stream(FIRST)], [stream(SECOND)]])[1]
    done = loop(API, {"messages": [USER]}, turns)
    point = {"cachePoint": {"type": "default", "ttl": "1h"}}
    shown = {"role": "assistant", "content": [*SHOWN, point]}
    messages = restored(API, {"messages": [USER, shown, NEXT]}, done.found)["messages"]
    assert messages[3]["content"] == [*ANSWER, point]


def test_results_of_hidden_calls_are_put_beside_the_clients_own() -> None:
    mixed = document([call(LOOK, 1), call("own", 2)], "tool_use")
    [turn] = merge(API, [mixed])[1]
    done = loop(API, {"messages": [USER]}, [turn])
    own = {"toolResult": {"toolUseId": "tooluse_2", "content": [{"text": "done"}]}}
    back = [USER, {"role": "assistant", "content": [call("own", 2)]},
            {"role": "user", "content": [own]}]  # fmt: skip
    messages = restored(API, {"messages": back}, done.found)["messages"]
    assert messages[1]["content"] == [call(LOOK, 1), call("own", 2)]
    ids = [block["toolResult"]["toolUseId"] for block in messages[2]["content"]]
    assert ids == ["tooluse_1", "tooluse_2"]


def test_roles_alternate_after_a_response_without_content() -> None:
    turns = merge(API, [FIRST, document([], "end_turn")])[1]
    done = loop(API, {"messages": [USER]}, turns)
    shown = {"role": "assistant", "content": [{"text": "Looking."}]}
    messages = restored(API, {"messages": [USER, shown, NEXT]}, done.found)["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant", "user"]
    assert messages[-1]["content"][-1:] == NEXT["content"]


def test_request_of_another_conversation_is_not_changed() -> None:
    turns = spliced([[stream(FIRST)], [stream(SECOND)]])[1]
    done = loop(API, {"messages": [USER]}, turns)
    other = {"messages": [USER, {"role": "assistant", "content": [{"text": "Else."}]}, NEXT]}
    assert restored(API, other, done.found) == other


# Errors and signs of life


@pytest.mark.parametrize(
    ("kind", "status", "expected"),
    [
        ("ThrottlingException", 429, "throttlingException"),
        ("modelStreamErrorException", None, "modelStreamErrorException"),
        ("AccessDeniedException", 403, "validationException"),
        (None, 429, "throttlingException"),
        (None, 529, "serviceUnavailableException"),
        ("tool_loop_limit", 400, "validationException"),
        (None, None, "internalServerException"),
    ],
)
def test_error_is_an_exception_that_the_sdks_know(
    kind: str | None, status: int | None, expected: str
) -> None:
    given_error = StreamError(message="No – not “now”.", error_type=kind, http_status=status)
    body = TOOL_FORMAT.splicer(NAMES).error(given_error)
    reader = FORMAT.reader()
    for event in frames_of(body):
        reader.feed(event)
    error = reader.facts().error
    assert error
    assert (error.type, error.message) == (expected, "No – not “now”.")
    assert expected in SHAPES["ConverseStreamOutput"]["members"]


# Robustness

ASKED = {
    "messages": [USER, {"role": "assistant", "content": [{"text": "a"}, call("own", 1)]},
                 {"role": "user", "content": [{"toolResult": {"toolUseId": "tooluse_1"}}]}],
    "toolConfig": {"tools": [OWN, {"cachePoint": {"type": "default"}}], "toolChoice": {"auto": {}}},
    "additionalModelRequestFields": {"top_k": 3},
}  # fmt: skip
COUNTED = [
    ASKED,
    {"input": {"converse": ASKED}},
    {"input": {"invokeModel": {"body": b64encode(json.dumps(ASKED).encode()).decode()}}},
]


@thorough
@given(st.data())
def test_any_request_is_read_offered_tools_and_restored_without_raising(
    data: st.DataObject,
) -> None:
    asked = data.draw(mutated(data.draw(st.sampled_from(COUNTED))))
    parts = members(json.dumps(asked).encode())
    if parts is None:
        return
    TOOL_FORMAT.inject(dict(parts), TOOLS)
    runs = TOOL_FORMAT.transcript(parts).runs
    [entry] = loop(API, {"messages": [USER]}, merge(API, [FIRST])[1]).found.values()
    found = {run.key: entry for run in runs}
    assert TOOL_FORMAT.restore(dict(parts), found) is bool(found)


@thorough
@given(st.data())
def test_any_events_are_spliced_without_raising(data: st.DataObject) -> None:
    events = [
        (kind, data.draw(mutated(value)) if data.draw(st.booleans()) else value)
        for kind, value in (*events_of(FIRST), ("other", data.draw(json_values)))
    ]
    frames = b"".join(event_frame(kind, json.dumps(value).encode()) for kind, value in events)
    spliced([[frames], [frames], [stream(SECOND)]])
    merge(API, [data.draw(mutated(FIRST)), SECOND])
