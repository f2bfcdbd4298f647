import json
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aibridge_addon.formats.anthropic_messages import FORMAT
from aibridge_addon.formats.tool_protocol import InjectedCall, Restoration
from aibridge_addon.raw_json import elements
from formats.helpers import (
    SCENARIOS,
    STREAMS,
    Scenario,
    every,
    parse,
    read_stream,
    thorough,
    tools_of,
)
from formats.inner_loop import (
    IMAGE,
    NAMES,
    TOOLS,
    called,
    loop,
    merge,
    request,
    restored,
    result,
    sdk_sees,
    sequence_of,
    splice,
    tool,
    values,
)

NAME = "anthropic_messages"
api = tools_of(NAME)

# Answers


def text(content: str, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": content, **more}


def thinking(thought: str, signature: str = "c2ln") -> dict[str, Any]:
    return {"type": "thinking", "thinking": thought, "signature": signature}


def call(call_id: str, name: str = "bmcp_s_look", given: Any = None) -> dict[str, Any]:
    return {"type": "tool_use", "id": call_id, "name": name, "input": given or {}}


CITED = text(
    "Rain.",
    citations=[{"type": "char_location", "cited_text": "Rain", "document_index": 0,
                "document_title": None, "start_char_index": 0, "end_char_index": 4}],
)  # fmt: skip
SEARCH = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"q": "x"}}
FOUND = {
    "type": "web_search_tool_result",
    "tool_use_id": "srvtoolu_1",
    "content": [{"type": "web_search_result", "url": "https://w.example/", "title": "W",
                 "encrypted_content": "ZW5j", "page_age": None}],
}  # fmt: skip
REDACTED = {"type": "redacted_thinking", "data": "b3BhcXVl"}
OWN = call("toolu_own", "Bash", {"command": "ls"})
HIDDEN = call("toolu_hid", "bmcp_s_look", {"at": "it"})

USAGE = {"input_tokens": 100, "cache_read_input_tokens": 30, "cache_creation_input_tokens": 7}


def answer(*blocks: Any, number: int = 1, stop: str | None = None) -> dict[str, Any]:
    """A message; each further one has read more and written 10 tokens times its number."""
    waits = any(block["type"] == "tool_use" for block in blocks)
    return {
        "id": f"msg_{number}",
        "type": "message",
        "role": "assistant",
        "model": "claude",
        "content": list(blocks),
        "stop_reason": stop or ("tool_use" if waits else "end_turn"),
        "stop_sequence": None,
        "usage": {**USAGE, "input_tokens": 100 * number, "output_tokens": 10 * number},
    }


def event(data: Mapping[str, Any]) -> bytes:
    return f"event: {data['type']}\ndata: {json.dumps(data)}\n\n".encode()


def streamed(message: Mapping[str, Any], between: Iterable[bytes] = ()) -> bytes:
    """The message as a stream, with pings and the like after every event of a block."""
    start = {**message, "content": [], "stop_reason": None}
    start["usage"] = {**message["usage"], "output_tokens": 1}
    end = {"stop_reason": message["stop_reason"], "stop_sequence": None}
    blocks = [data for n, block in enumerate(message["content"]) for data in _block(n, block)]
    return b"".join(
        [
            event({"type": "message_start", "message": start}),
            *(event(data) + b"".join(between) for data in blocks),
            event(
                {
                    "type": "message_delta",
                    "delta": end,
                    "usage": {"output_tokens": message["usage"]["output_tokens"]},
                }
            ),
            event({"type": "message_stop"}),
        ]
    )


def _block(index: int, block: dict[str, Any]) -> list[dict[str, Any]]:
    start, deltas = dict(block), []
    match block["type"]:
        case "text":
            start = text("") | ({"citations": []} if "citations" in block else {})
            deltas = [{"type": "text_delta", "text": part} for part in halves(block["text"])]
            for citation in block.get("citations", ()):
                deltas.append({"type": "citations_delta", "citation": citation})
        case "thinking":
            start = thinking("", "")
            halves_of_it = halves(block["thinking"])
            deltas = [{"type": "thinking_delta", "thinking": part} for part in halves_of_it]
            deltas.append({"type": "signature_delta", "signature": block["signature"]})
        case "tool_use" | "server_tool_use":
            start["input"] = {}
            given = json.dumps(block["input"]) if block["input"] else ""
            deltas = [{"type": "input_json_delta", "partial_json": p} for p in halves(given)]
    return [
        {"type": "content_block_start", "index": index, "content_block": start},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def halves(value: str) -> list[str]:
    return [value[: len(value) // 2], value[len(value) // 2 :]]


def check(stream: bytes, *hidden: str) -> None:
    """The stream is one message, and nothing in it tells of what is hidden."""
    for word in (*NAMES, *hidden):
        assert word.encode() not in stream
    events = [value for value in values(stream) if value["type"] != "ping"]
    kinds = [value["type"] for value in events]
    assert kinds[0] == "message_start"
    assert kinds[-2:] == ["message_delta", "message_stop"]
    for kind in ("message_start", "message_delta", "message_stop"):
        assert kinds.count(kind) == 1
    assert events[-2]["usage"]["output_tokens"] is not None
    opened: int | None = None
    count = 0
    for value in events[1:-2]:
        if value["type"] == "content_block_start":
            assert opened is None
            assert value["index"] == count
            opened, count = count, count + 1
        elif value["type"].startswith("content_block_"):
            assert value["index"] == opened
            opened = None if value["type"] == "content_block_stop" else opened
    assert opened is None
    assert [line for line in parse([stream]) if line.data is None] == []
    for line in parse([stream]):
        assert line.name.decode() == json.loads(line.data or b"")["type"]


def readable(message: Any) -> Any:
    """Return the members of a message that were sent, without defaults of the SDK's types."""
    return {
        name: [
            {k: v for k, v in block.items() if v is not None and v != []} for block in message[name]
        ]
        if name == "content"
        else {k: v for k, v in message[name].items() if v is not None}
        if name == "usage"
        else message[name]
        for name in ("id", "type", "role", "model", "content", "stop_reason", "usage")
    }


def compare(answers: list[dict[str, Any]], hidden: Iterable[str] = ("toolu_hid",)) -> Any:
    """Streamed and whole, the answers give the client the same message, and us the same turns."""
    spliced = splice(NAME, [streamed(message) for message in answers])
    merged, turns = merge(NAME, answers)
    check(spliced.stream, *hidden)
    assert repr(spliced.turns) == repr(turns)  # NaN is not equal to itself
    seen = readable(sdk_sees(NAME, spliced.stream))
    assert seen == readable(merged)
    facts = read_stream(FORMAT, [spliced.stream])
    assert facts.complete
    assert facts.unreadable == 0
    assert facts.tool_calls == FORMAT.read_whole(json.dumps(merged).encode()).tool_calls
    return seen


SHAPES = {
    "a call first": [[HIDDEN], [text("Done.")]],
    "a call last": [[text("Looking."), HIDDEN], [text("Done.")]],
    "a call between texts": [[text("Looking."), HIDDEN, text("Wait.")], [text("Done.")]],
    "a call between others": [[thinking("Hm."), HIDDEN, SEARCH, FOUND, CITED], [text("Done.")]],
    "several calls": [
        [HIDDEN, text("And."), call("toolu_hid2", "bmcp_s_find", {"q": "é\n"})],
        [text("Done.")],
    ],
    "several answers": [[HIDDEN], [thinking("Hm."), text("So."), HIDDEN], [HIDDEN], [text("Yes.")]],
    "a call without arguments": [[call("toolu_hid")], [text("Done.")]],
    "thinking around calls": [[thinking("A."), REDACTED, HIDDEN], [thinking("B."), text("Done.")]],
    "an own call after it": [[text("Both."), HIDDEN, OWN]],
    "an own call before it": [[OWN, HIDDEN, text("Both.")]],
    "own calls around it": [[OWN, HIDDEN, call("toolu_own2", "Read")]],
    "an own call later": [[HIDDEN], [text("Now you."), OWN]],
    "both later": [[HIDDEN], [call("toolu_hid3"), OWN]],
    "nothing more to say": [[text("Looking."), HIDDEN], []],
    "nothing said at all": [[HIDDEN], []],
    "the provider's tools": [[SEARCH, FOUND, HIDDEN], [SEARCH, FOUND, CITED]],
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_client_sees_one_message(shape: list[list[dict[str, Any]]]) -> None:
    answers = [answer(*blocks, number=n) for n, blocks in enumerate(shape, 1)]
    seen = compare(answers, ["toolu_hid"])
    shown = [block for blocks in shape for block in blocks if block.get("name") not in NAMES]
    assert seen["content"] == shown
    assert seen["id"] == "msg_1"
    assert seen["stop_reason"] == answers[-1]["stop_reason"]
    assert seen["usage"] == {
        **USAGE,
        "input_tokens": 100 * len(shape),
        "output_tokens": sum(10 * n for n in range(1, len(shape) + 1)),
    }


blocks = st.one_of(
    st.text(max_size=9).map(text),
    st.text(min_size=1, max_size=9).map(thinking),
    st.sampled_from([CITED, REDACTED, SEARCH]),
    st.builds(
        call,
        st.just("toolu_own"),
        st.sampled_from(["Bash", "Read"]),
        st.dictionaries(st.text(max_size=3), st.integers(-9, 9), max_size=2),
    ),
)
hidden_calls = st.builds(
    call,
    st.just("toolu_hid"),
    st.sampled_from(sorted(NAMES)),
    st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2),
)


@st.composite
def answers_on_end(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Answers of one loop: injected calls in all but the last, where they stand beside others."""
    inner = st.lists(blocks.filter(lambda b: b["type"] != "tool_use"), max_size=3)
    turns = [
        draw(st.permutations([*draw(inner), *draw(st.lists(hidden_calls, min_size=1, max_size=2))]))
        for _ in range(draw(st.integers(0, 3)))
    ]
    turns.append(draw(st.lists(blocks | hidden_calls, max_size=4)))
    return [answer(*turn, number=n) for n, turn in enumerate(turns, 1)]


@thorough
@given(answers_on_end())
def test_any_responses_give_one_message_the_same_streamed_and_whole(
    answers: list[dict[str, Any]],
) -> None:
    compare(answers)


FINAL = Scenario(api=NAME, name="text")
CALLING = [scenario for scenario in STREAMS if scenario.api == NAME and called(scenario)]
CALLING = [scenario for scenario in CALLING if scenario.response_facts().complete]


@every(CALLING)
@given(st.data())
def test_calls_of_any_scenario_can_be_hidden(scenario: Scenario, data: st.DataObject) -> None:
    names = data.draw(st.sets(st.sampled_from(called(scenario)), min_size=1))
    spliced = splice(NAME, [scenario.stream(), FINAL.stream()], frozenset(names))
    if not spliced.turns[0].calls or spliced.turns[0].client_calls:
        spliced = splice(NAME, [scenario.stream()], frozenset(names))
    ids = [c.call_id for c in spliced.turns[0].calls]
    check(spliced.stream.replace(b"web_search", b""), *ids, *(f'"name":"{n}"' for n in names))
    sdk_sees(NAME, spliced.stream)


def test_events_without_a_block_are_relayed_from_every_response() -> None:
    between = [event({"type": "ping"}), event({"type": "weather", "sky": "grey"}), b": hello\n\n"]
    stream = b"".join(
        [
            splice(
                NAME,
                [streamed(answer(HIDDEN), between), streamed(answer(text("Done.")), between)],
            ).stream
        ]
    )
    count = len(_block(0, HIDDEN)) + len(_block(0, text("Done.")))
    for said_between in between:
        assert stream.count(said_between) == count


def test_unknown_delta_is_relayed_and_stays_in_the_turn() -> None:
    delta = {"type": "hologram_delta", "beam": "ray", "watts": 3}
    stream = b"".join(
        map(
            event,
            [
                *values(streamed(answer()))[:1],
                {"type": "content_block_start", "index": 0, "content_block": {"type": "hologram"}},
                {"type": "content_block_delta", "index": 0, "delta": delta},
                {"type": "content_block_delta", "index": 0, "delta": delta},
                {"type": "content_block_stop", "index": 0},
                *values(streamed(answer()))[1:],
            ],
        )
    )
    spliced = splice(NAME, [streamed(answer(HIDDEN)), stream])
    assert b'"index":0,"delta":{"type":"hologram_delta","beam":"ray","watts":3}' in (
        spliced.stream.replace(b" ", b"")
    )
    assert spliced.turns[1].items == ({"type": "hologram", "beam": "rayray"},)


def test_compaction_item_stays_complete_in_the_turn() -> None:
    given = [
        {
            "type": "content_block_start",
            "index": 0,
            "content_block": {"type": "compaction", "content": None},
        },
        {
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": "compaction_delta", "content": "So far.", "encrypted_content": "ZQ"},
        },
    ]
    [turn] = splice(NAME, [b"".join(map(event, given))]).turns
    assert turn.items == ({"type": "compaction", "content": "So far.", "encrypted_content": "ZQ"},)


def test_call_with_broken_arguments_is_returned_to_the_api_with_an_object() -> None:
    message = streamed(answer(call("toolu_hid", "bmcp_s_look", {"a": 1}))).replace(b"1}", b"1")
    [turn] = splice(NAME, [message]).turns
    assert turn.calls == (
        InjectedCall(call_id="toolu_hid", name="bmcp_s_look", arguments='{"a": 1'),
    )
    assert turn.items == (call("toolu_hid"),)


@pytest.mark.parametrize("stop", ["max_tokens", "refusal", "pause_turn", "end_turn"])
def test_call_without_stop_reason_tool_use_is_hidden_and_not_run(stop: str) -> None:
    message = answer(text("Look"), HIDDEN, stop=stop)
    spliced = splice(NAME, [streamed(message)])
    check(spliced.stream, "toolu_hid")
    merged, [turn] = merge(NAME, [message])
    assert spliced.turns == [turn]
    assert turn.calls == ()
    assert turn.items == (text("Look"),), "a call without a result is not taken back"
    assert readable(sdk_sees(NAME, spliced.stream)) == readable(merged)
    assert merged["content"] == [text("Look")]


def test_stop_reason_stays_when_only_usage_follows() -> None:
    late = event({"type": "message_delta", "delta": {}, "usage": {"output_tokens": 11}})
    message = streamed(answer(HIDDEN)).replace(
        event({"type": "message_stop"}), late + event({"type": "message_stop"})
    )
    spliced = splice(NAME, [message, streamed(answer(text("Done."), number=2))])
    assert len(spliced.turns[0].calls) == 1
    assert readable(sdk_sees(NAME, spliced.stream))["usage"]["output_tokens"] == 31


def test_error_in_a_later_response_reaches_the_client_at_once() -> None:
    error = event({"type": "error", "error": {"type": "overloaded_error", "message": "Busy."}})
    splicer = api.splicer(NAMES)
    for one in parse([streamed(answer(HIDDEN))]):
        splicer.feed(one, json.loads(one.data or b""))
    splicer.resume()
    given = parse([streamed(answer(text("Half"))) + error])
    assert [splicer.feed(one, json.loads(one.data or b"")) for one in given][-1] == error


def test_events_after_the_end_of_a_response_that_is_not_the_last_are_not_sent() -> None:
    done = b"data: [DONE]\n\n"
    both = [streamed(answer(HIDDEN)) + done, streamed(answer(text("Done."))) + done]
    stream = splice(NAME, both).stream
    assert stream.endswith(event({"type": "message_stop"}) + done)
    assert stream.count(done) == 1


# Requests


def names_of(asked: Any) -> list[str]:
    return [each["name"] for each in json.loads(bytes(asked["tools"]))]


def test_tools_stand_before_those_of_the_client() -> None:
    breakpoint_ = {"name": "Read", "cache_control": {"type": "ephemeral"}}
    asked = request({"tools": [{"name": "Bash"}, breakpoint_]})
    own = [bytes(own) for own in elements(asked["tools"])]
    assert api.inject(asked, TOOLS) == TOOLS
    assert names_of(asked) == ["bmcp_s_find", "bmcp_s_look", "Bash", "Read"]
    assert [bytes(each) for each in elements(asked["tools"])][2:] == own


def test_central_tool_with_the_name_of_a_client_tool_is_not_offered() -> None:
    asked = request({"tools": [{"name": "bmcp_s_find"}, {"name": ["x"]}, 7]})
    assert api.inject(asked, TOOLS) == (tool("bmcp_s_look"),)
    asked = request({"tools": [{"name": "bmcp_s_find"}, {"name": "bmcp_s_look"}]})
    before = dict(asked)
    assert api.inject(asked, TOOLS) == ()
    assert asked == before


def test_tools_are_offered_where_the_model_may_choose() -> None:
    asked = request({"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}})
    before = bytes(asked["tool_choice"])
    assert api.inject(asked, TOOLS) == TOOLS
    assert bytes(asked["tool_choice"]) == before


@pytest.mark.parametrize(
    "choice",
    [{"type": "any"}, {"type": "tool", "name": "weather"}, {"type": "tool"}, "any"],
    ids=str,
)
def test_tools_are_not_offered_where_the_client_forces_a_call(choice: Any) -> None:
    asked = request({"tool_choice": choice, "tools": [{"name": "weather"}]})
    before = dict(asked)
    assert api.inject(asked, TOOLS) == ()
    assert asked == before


ASKED = {
    "model": "claude",
    "max_tokens": 100,
    "system": [{"type": "text", "text": "Be good."}],
    "messages": [
        {"role": "user", "content": "Hello."},
        {"role": "assistant", "content": [text("Hello!")]},
        {
            "role": "user",
            "content": [
                text("<system-reminder>\nMonday.\n</system-reminder>"),
                text("Where is it?", cache_control={"type": "ephemeral"}),
            ],
        },
    ],
}


def test_next_request_brings_the_turn_and_its_results() -> None:
    turn = api.merger(NAMES).add(
        answer(thinking("Hm.", "c2lnbmVk"), REDACTED, text(""), text(" \n"), SEARCH, FOUND, HIDDEN)
    )
    asked = request(ASKED)
    before = dict(asked)
    [looked] = turn.calls
    following = api.continue_request(asked, turn, api.result_items([(looked, IMAGE)]), last=False)
    assert asked == before
    raw = [bytes(element) for element in elements(following["messages"])]
    assert raw[:3] == [bytes(element) for element in elements(asked["messages"])]
    assert [json.loads(element) for element in raw[3:]] == [
        {
            "role": "assistant",
            "content": [thinking("Hm.", "c2lnbmVk"), REDACTED, SEARCH, FOUND, HIDDEN],
        },
        {
            "role": "user",
            "content": [
                {
                    "type": "tool_result",
                    "tool_use_id": "toolu_hid",
                    "content": [
                        text("A map:"),
                        {
                            "type": "image",
                            "source": {"type": "base64", "media_type": "image/png", "data": "aW1n"},
                        },
                        text('{"uri":"file:///x"}'),
                    ],
                    "is_error": False,
                }
            ],
        },
    ]
    assert {k: bytes(v) for k, v in following.items() if k != "messages"} == {
        k: bytes(v) for k, v in asked.items() if k != "messages"
    }


def test_last_request_of_a_loop_forbids_tool_calls() -> None:
    turn = api.merger(NAMES).add(answer(HIDDEN))
    items = api.result_items([(turn.calls[0], result("no more", is_error=True))])
    following = api.continue_request(request(ASKED), turn, items, last=True)
    assert json.loads(bytes(following["tool_choice"])) == {"type": "none"}
    assert sequence_of(following)[-1]["content"][0]["is_error"] is True


# Later requests


def turns_of(shape: list[list[dict[str, Any]]]) -> tuple[Any, list[Any]]:
    """Return the client's message for some upstream responses, and their turns."""
    merged, turns = merge(NAME, [answer(*each, number=n) for n, each in enumerate(shape, 1)])
    return {"role": "assistant", "content": merged["content"]}, turns


def as_it_was(message: Any) -> Any:
    return message


def with_breakpoint(message: Any) -> Any:
    message["content"][-1]["cache_control"] = {"type": "ephemeral"}
    return message


def without_thinking(message: Any) -> Any:
    kinds = ("thinking", "redacted_thinking")
    return {**message, "content": [b for b in message["content"] if b["type"] not in kinds]}


def without_citations(message: Any) -> Any:
    for block in message["content"]:
        block.pop("citations", None)
    return message


def as_a_string(message: Any) -> Any:
    if any(block["type"] == "tool_use" for block in message["content"]):
        return message
    texts = [block["text"] for block in message["content"] if block["type"] == "text"]
    return {**message, "content": "\n\n".join(texts)}


def trimmed(message: Any) -> Any:
    for block in message["content"]:
        if block["type"] == "text":
            block["text"] = block["text"].strip()
    return message


CHANGES = (
    as_it_was, with_breakpoint, without_thinking, without_citations, as_a_string, trimmed,
)  # fmt: skip
LATER = {
    "one answer": [[text("Looking. "), HIDDEN], [text("Done.")]],
    "several": [[thinking("Hm."), HIDDEN], [text("Now."), HIDDEN], [thinking("So."), CITED]],
    "nothing more to say": [[text("Looking."), HIDDEN], []],
    "mixed": [[text("Both."), HIDDEN, OWN, call("toolu_own2", "Read")]],
    "mixed later": [[HIDDEN], [thinking("Hm."), call("toolu_hid2"), OWN]],
    "own calls later": [[HIDDEN], [text("You."), OWN]],
}


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
@pytest.mark.parametrize("shape", LATER.values(), ids=LATER)
@pytest.mark.parametrize("noise", [False, True], ids=["", "among other messages"])
def test_later_request_is_restored_to_what_the_provider_saw(
    shape: list[list[dict[str, Any]]], change: Callable[[Any], Any], noise: bool
) -> None:
    shown, turns = turns_of(shape)
    done = loop(NAME, ASKED, turns)
    own = [b["id"] for b in shown["content"] if b["type"] == "tool_use"]
    next_message = {
        "role": "user",
        "content": [{"type": "tool_result", "tool_use_id": i, "content": "ok"} for i in own]
        or "And then?",
    }
    asked = deepcopy(ASKED)
    messages: list[Any] = asked["messages"]  # type: ignore[assignment]
    between = []
    if noise:
        messages[2]["content"][0]["text"] = "<system-reminder>Tuesday.</system-reminder>"
        del messages[2]["content"][1]["cache_control"]
        between = [{"role": "system", "content": "More tools can be searched for."}]
    before = deepcopy(messages)
    messages += [change(deepcopy(shown)), *between, next_message]

    last = shape[-1]
    final: list[Any] = [] if not last else [{"role": "assistant", "content": list(last)}]
    if change is with_breakpoint and final:
        final[0]["content"][-1] = {**last[-1], "cache_control": {"type": "ephemeral"}}
    hidden_results = [
        {
            "type": "tool_result",
            "tool_use_id": c.call_id,
            "content": [text(f"result of {c.call_id}")],
            "is_error": False,
        }
        for c in turns[-1].calls
    ]
    if hidden_results:
        next_message = {"role": "user", "content": [*hidden_results, *next_message["content"]]}
    seen_upstream = sequence_of(done.asked[-1])[3:]
    if change is with_breakpoint and not final:
        seen_upstream[-1]["content"][-1]["cache_control"] = {"type": "ephemeral"}
    expected = [*before, *seen_upstream, *final, *between, next_message]
    assert restored(NAME, asked, done.found)["messages"] == expected


def test_messages_of_the_client_are_restored_byte_for_byte() -> None:
    shown, turns = turns_of(LATER["one answer"])
    done = loop(NAME, ASKED, turns)
    asked = request(
        {"messages": [*ASKED["messages"], shown, {"role": "user", "content": "Ö – 1.0"}]}  # type: ignore[misc]
    )
    before = [bytes(element) for element in elements(asked["messages"])]
    assert api.restore(asked, done.found)
    after = [bytes(element) for element in elements(asked["messages"])]
    assert [*after[:3], after[-1]] == [*before[:3], before[-1]]
    assert len(after) == len(before) + 2


def test_response_that_is_not_in_the_ledger_is_unchanged() -> None:
    shown, turns = turns_of(LATER["one answer"])
    asked = request({"messages": [*ASKED["messages"], shown]})  # type: ignore[misc]
    before = dict(asked)
    done = loop(NAME, {"messages": [{"role": "user", "content": "Something else"}]}, turns)
    known = {run.key for run in api.transcript(asked).runs}
    assert known & set(done.found) == set()
    assert not api.restore(asked, {})
    assert asked == before


def test_all_responses_of_a_conversation_are_restored() -> None:
    conversation: list[Any] = []
    upstream: list[Any] = []
    found: dict[str, Restoration] = {}
    for number in range(3):
        question = {"role": "user", "content": f"Question {number}?"}
        shown, turns = turns_of([[text("Looking."), call(f"toolu_hid{number}")], [text("There.")]])
        conversation.append(question)
        done = loop(NAME, {"messages": conversation}, turns)
        found |= done.found
        upstream += [question, *sequence_of(done.asked[-1])[-2:], {
            "role": "assistant", "content": [text("There.")]
        }]  # fmt: skip
        conversation.append(shown)
    assert len(found) == 3
    assert restored(NAME, {"messages": conversation}, found)["messages"] == upstream


def keys(*messages: Any) -> list[str]:
    return [run.key for run in api.transcript(request({"messages": list(messages)})).runs]


def test_equal_text_after_different_results_has_a_different_key() -> None:
    def after(call_id: str) -> list[str]:
        results = [{"type": "tool_result", "tool_use_id": call_id, "content": "ok"}]
        return keys({"role": "user", "content": results}, {"role": "assistant", "content": "Done."})

    assert after("toolu_1") != after("toolu_2")
    assert after("toolu_1") == after("toolu_1")


def test_key_of_a_response_covers_all_text_since_the_previous_response() -> None:
    done = {"role": "assistant", "content": "Done."}
    a, b = {"role": "user", "content": "A"}, {"role": "user", "content": [text("B")]}
    both = {"role": "user", "content": [text("A"), text("B")]}
    assert keys(a, b, done) == keys(both, done)
    assert keys(a, done, b, done)[1] == keys(b, done)[0] != keys(a, done)[0]
    assert api.transcript(request({"messages": [a, done, b]})).text_since == "B"


def test_calls_without_an_id_do_not_make_a_run_key() -> None:
    calls = [{"type": "tool_use", "name": "Bash"}, call("toolu_own", "Bash")]
    assert keys({"role": "assistant", "content": calls}) == ["call:toolu_own"]
    assert keys({"role": "assistant", "content": calls[:1]})[0].startswith("text:")


def test_alias_key_is_none_where_requests_do_not_name_responses() -> None:
    assert api.alias_key("msg_1") is None
    assert not api.restores_without_tools


def test_every_scenario_of_this_api_that_calls_is_tried() -> None:
    assert {"tool_use", "parallel_tools", "web_search"} <= {scenario.name for scenario in CALLING}
    assert FINAL in SCENARIOS


def test_restored_results_are_made_legal() -> None:
    """The ledger may hold what an older version has stored."""
    image = {"type": "base64", "media_type": "image/jpg", "data": "AAAA"}
    parts = [
        {"type": "text", "text": " "},
        {"type": "image", "source": {**image, "media_type": "image/svg+xml"}},
        {"type": "image", "source": image},
    ]
    stored = {"type": "tool_result", "tool_use_id": "t", "content": parts}
    blank = {**stored, "content": [{"type": "text", "text": ""}]}
    call = {"type": "tool_use", "id": "t", "name": "bmcp_s_look", "input": {}}
    entry = Restoration(
        sequence=(
            {"role": "assistant", "content": [{"type": "text", "text": "\n"}, call]},
            {"role": "user", "content": [stored, blank]},
            {"role": "assistant", "content": [{"type": "text", "text": "Done."}]},
        )
    )
    messages = [
        {"role": "user", "content": "Look."},
        {"role": "assistant", "content": "Done."},
        {"role": "user", "content": "And now?"},
    ]
    asked = request({"messages": messages})
    [run] = api.transcript(asked).runs
    assert api.restore(asked, {run.key: entry})
    restored = json.loads(bytes(asked["messages"]))
    assert restored[1]["content"] == [call]
    result, empty = restored[2]["content"]
    assert [part["type"] for part in result["content"]] == ["text", "image"]
    assert result["content"][-1]["source"]["media_type"] == "image/jpeg"
    assert all(part["type"] == "image" or part["text"].strip() for part in result["content"])
    assert empty["content"] == [{"type": "text", "text": "(no output)"}]
