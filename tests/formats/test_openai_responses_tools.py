import json
from collections.abc import Callable, Iterable
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import responses

from aibridge_addon.formats.openai_responses import FORMAT
from aibridge_addon.formats.tool_protocol import Restoration, StreamError
from aibridge_addon.raw_json import elements
from formats.helpers import STREAMS, Scenario, every, parse, read_stream, thorough, tools_of
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
from formats.test_drift import kinds

NAME = "openai_responses"
api = tools_of(NAME)

# Answers


def message(said_aloud: str, item_id: str = "msg_1", **more: Any) -> dict[str, Any]:
    return {
        "id": item_id,
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": [{"type": "output_text", "text": said_aloud, "annotations": []}],
        **more,
    }


def reasoning(thought: str, item_id: str = "rs_1", **more: Any) -> dict[str, Any]:
    summary = [{"type": "summary_text", "text": thought}]
    return {"id": item_id, "type": "reasoning", "summary": summary, **more}


def call(call_id: str, name: str = "bmcp_s_look", given_text: str = "{}") -> dict[str, Any]:
    return {
        "id": f"fc_{call_id}",
        "type": "function_call",
        "status": "completed",
        "call_id": call_id,
        "name": name,
        "arguments": given_text,
    }


ENCRYPTED = reasoning("Hm.", "rs_e", encrypted_content="ZW5j")
SEARCH = {
    "id": "ws_1",
    "type": "web_search_call",
    "status": "completed",
    "action": {"type": "search", "query": "tides"},
}
HIDDEN = call("call_hid", "bmcp_s_look", '{"at": "it"}')
HIDDEN_TOO = call("call_hid2", "bmcp_s_find", '{"q":"é"}')
OWN = call("call_own", "weather", '{"city": "Oslo"}')
PATCH = {
    "id": "ctc_1",
    "type": "custom_tool_call",
    "status": "completed",
    "call_id": "call_patch",
    "name": "apply_patch",
    "input": "*** Begin",
}


def answer(*items: dict[str, Any], number: int = 1, status: str = "completed") -> dict[str, Any]:
    """A response; each further one has read more and written 10 tokens times its number."""
    return {
        "id": f"resp_{number}",
        "object": "response",
        "created_at": 1_790_000_000,
        "status": status,
        "error": {"code": "server_error", "message": "Broken."} if status == "failed" else None,
        "incomplete_details": None,
        "model": "gpt",
        "output": list(items),
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": usage(100 * number, 10 * number, 5 * number),
    }


def usage(given_tokens: int, written: int, thought: int) -> dict[str, Any]:
    return {
        "input_tokens": given_tokens,
        "input_tokens_details": {"cached_tokens": 64},
        "output_tokens": written,
        "output_tokens_details": {"reasoning_tokens": thought},
        "total_tokens": given_tokens + written,
    }


def sse(events: Iterable[dict[str, Any]]) -> bytes:
    return b"".join(f"event: {e['type']}\ndata: {json.dumps(e)}\n\n".encode() for e in events)


def events_of(response: dict[str, Any]) -> list[dict[str, Any]]:
    """The events of a response, not numbered."""
    start = {**response, "status": "in_progress", "output": [], "usage": None, "error": None}
    events: list[dict[str, Any]] = [
        {"type": f"response.{kind}", "response": start} for kind in ("created", "in_progress")
    ]
    for index, item in enumerate(response["output"]):
        events += ({**event, "output_index": index} for event in _item(item))
    return [*events, {"type": f"response.{response['status']}", "response": response}]


def _item(item: dict[str, Any]) -> list[dict[str, Any]]:
    begun: dict[str, Any] = {**item, "status": "in_progress"}
    between: list[dict[str, Any]] = []
    at = {"item_id": item["id"], "content_index": 0}
    match item["type"]:
        case "message":
            begun["content"] = []
            [part] = item["content"]
            empty = {**part, "text": ""}
            between.append({"type": "response.content_part.added", **at, "part": empty})
            between += (
                {"type": "response.output_text.delta", **at, "delta": half, "logprobs": []}
                for half in halves(part["text"])
            )
            done = {"type": "response.output_text.done", **at, "text": part["text"], "logprobs": []}
            between += [done, {"type": "response.content_part.done", **at, "part": part}]
        case "function_call":
            begun["arguments"] = ""
            kind = "response.function_call_arguments"
            where = {"item_id": item["id"]}
            between += (
                {"type": f"{kind}.delta", **where, "delta": half}
                for half in halves(item["arguments"])
            )
            whole = {"arguments": item["arguments"], "name": item["name"]}
            between.append({"type": f"{kind}.done", **where, **whole})
        case "web_search_call":
            between.append({"type": "response.web_search_call.searching", "item_id": item["id"]})
        case "reasoning":
            begun.pop("status")
            begun["summary"] = []
    return [
        {"type": "response.output_item.added", "item": begun},
        *between,
        {"type": "response.output_item.done", "item": item},
    ]


def halves(value: str) -> list[str]:
    return [value[: len(value) // 2], value[len(value) // 2 :]]


def streamed(response: dict[str, Any]) -> bytes:
    return sse({**event, "sequence_number": n} for n, event in enumerate(events_of(response)))


def check(stream: bytes, *hidden: str) -> None:
    """The stream is one response, and nothing in it tells of what is hidden."""
    for word in (*NAMES, *hidden):
        assert word.encode() not in stream
    events = values(stream)
    kinds_ = [event["type"] for event in events]
    assert kinds_[0] == "response.created"
    assert kinds_[-1] in ("response.completed", "response.incomplete", "response.failed")
    for once in ("created", "in_progress", "completed", "incomplete", "failed"):
        assert kinds_.count(f"response.{once}") <= 1
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    done: list[Any] = []
    opened: int | None = None
    for event in events:
        match event["type"]:
            case "response.output_item.added":
                assert opened is None
                opened = event["output_index"]
                assert opened == len(done)
            case "response.output_item.done":
                assert event["output_index"] == opened
                done.append(event["item"])
                opened = None
            case _ if "output_index" in event:
                assert event["output_index"] == opened
    assert opened is None
    assert len({event["response"]["id"] for event in events if "response" in event}) == 1
    assert events[-1]["response"]["output"] == done
    for event in parse([stream]):
        assert event.name.decode() == json.loads(event.data or b"")["type"]


def readable(response: Any) -> Any:
    """Return the members of a response that were sent, without defaults of the SDK's types."""
    output = [
        {k: v for k, v in item.items() if v is not None and k != "parsed_arguments"}
        for item in response["output"]
    ]
    for item in output:
        for part in item.get("content", ()):
            part.pop("parsed", None)
            part.pop("logprobs", None)
    return {k: response[k] for k in ("id", "status", "model", "usage")} | {"output": output}


def compare(answers: list[dict[str, Any]]) -> Any:
    """Streamed and whole, the answers give the client the same message, and us the same turns."""
    spliced = splice(NAME, [streamed(each) for each in answers])
    merged, turns = merge(NAME, answers)
    check(spliced.stream, "call_hid")
    assert repr(spliced.turns) == repr(turns)  # NaN is not equal to itself
    facts = read_stream(FORMAT, [spliced.stream])
    # By their texts: NaN, which Python clients send, does not equal itself.
    assert repr(facts) == repr(FORMAT.read_whole(json.dumps(merged).encode()))
    seen = readable(merged)
    if answers[-1]["status"] == "completed":
        assert readable(sdk_sees(NAME, spliced.stream)) == seen
    return seen


def numbered(answers: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Successive responses, with ids and usage that distinguish them."""
    made = [
        {**each, "id": f"resp_{n}", "usage": usage(100 * n, 10 * n, 5 * n)}
        for n, each in enumerate(json.loads(json.dumps(list(answers))), 1)
    ]
    for number, item in enumerate(item for each in made for item in each["output"]):
        item["id"] = f"{item['id']}_{number}"
    return made


SHAPES = {
    "a call first": [answer(HIDDEN), answer(message("Done."))],
    "a call last": [answer(message("Looking."), HIDDEN), answer(message("Done.", "msg_2"))],
    "a call between": [answer(ENCRYPTED, HIDDEN, message("Wait.")), answer(message("Done."))],
    "several calls": [answer(HIDDEN, SEARCH, HIDDEN_TOO), answer(message("Done."))],
    "several answers": [
        answer(reasoning("A."), HIDDEN), answer(HIDDEN_TOO), answer(message("B."), HIDDEN),
        answer(message("C.")),
    ],
    "a call without arguments": [answer(call("call_hid", given_text="")), answer(message("Done."))],
    "an own call after it": [answer(message("Both."), HIDDEN, OWN)],
    "an own call before it": [answer(OWN, HIDDEN)],
    "own calls around it": [answer(OWN, HIDDEN, PATCH)],
    "own calls later": [answer(HIDDEN), answer(message("You."), OWN, PATCH)],
    "both later": [answer(HIDDEN), answer(HIDDEN_TOO, OWN)],
    "nothing more to say": [answer(message("Looking."), HIDDEN), answer()],
    "the provider's tools": [answer(SEARCH, HIDDEN), answer(SEARCH, message("Done."))],
    "cut off at last": [answer(HIDDEN), answer(message("Do"), status="incomplete")],
    "commentary": [answer(message("So.", phase="commentary"), HIDDEN), answer(message("Done."))],
}  # fmt: skip


SHAPES = {name: numbered(shape) for name, shape in SHAPES.items()}


@pytest.mark.parametrize("answers", SHAPES.values(), ids=SHAPES)
def test_client_sees_one_response(answers: list[dict[str, Any]]) -> None:
    seen = compare(answers)
    shown = [i for each in answers for i in each["output"] if i.get("name") not in NAMES]
    count = len(answers)
    total = sum(range(1, count + 1))
    assert seen == {
        "id": "resp_1",
        "status": answers[-1]["status"],
        "model": "gpt",
        "usage": usage(100 * count, 10 * total, 5 * total),
        "output": readable({**answers[0], "output": deepcopy(shown)})["output"],
    }


texts = st.text(max_size=6)
hidden_calls = st.builds(call, st.just("call_hid"), st.sampled_from(sorted(NAMES)), texts)
visible = st.one_of(
    st.builds(message, texts),
    st.builds(reasoning, texts),
    st.sampled_from([ENCRYPTED, SEARCH]),
)
own_calls = st.builds(call, st.just("call_own"), st.sampled_from(["weather", "clock"]), texts)


@st.composite
def answers_on_end(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Answers of one loop: injected calls in all but the last, where they stand beside others."""
    turns = [
        [
            *draw(st.lists(visible, max_size=3)),
            *draw(st.lists(hidden_calls, min_size=1, max_size=2)),
        ]
        for _ in range(draw(st.integers(0, 3)))
    ]
    answers = [answer(*draw(st.permutations(turn))) for turn in turns]
    answers.append(answer(*draw(st.lists(visible | hidden_calls | own_calls, max_size=4))))
    answers = numbered(answers)
    for number, item in enumerate(item for each in answers for item in each["output"]):
        if "call_id" in item:
            item["call_id"] += str(number)
    return answers


@thorough
@given(answers_on_end())
def test_any_responses_give_one_message_the_same_streamed_and_whole(
    answers: list[dict[str, Any]],
) -> None:
    compare(answers)


FINAL = Scenario(api=NAME, name="text")
FUNCTIONS = {
    scenario.name: sorted(
        {v["item"]["name"] for v in values(scenario.stream())
         if v["type"] == "response.output_item.done" and v["item"]["type"] == "function_call"}
    )
    for scenario in STREAMS
    if scenario.api == NAME and called(scenario) and scenario.response_facts().complete
}  # fmt: skip
CALLING = [s for s in STREAMS if s.api == NAME and FUNCTIONS.get(s.name)]


@every(CALLING)
@given(st.data())
def test_calls_of_any_scenario_can_be_hidden(scenario: Scenario, data: st.DataObject) -> None:
    names = data.draw(st.sets(st.sampled_from(FUNCTIONS[scenario.name]), min_size=1))
    spliced = splice(NAME, [scenario.stream(), FINAL.stream()], frozenset(names))
    if not spliced.turns[0].calls or spliced.turns[0].client_calls:
        spliced = splice(NAME, [scenario.stream()], frozenset(names))
    facts = scenario.response_facts()
    hidden = [c.call_id for c in facts.tool_calls if c.tool in names]
    if scenario.name == "short_events":  # which are not all numbered
        assert not any(str(call_id).encode() in spliced.stream for call_id in hidden)
        assert spliced.turns[0].calls
    else:
        check(spliced.stream, *map(str, hidden), *(f'"name":"{name}"' for name in names))
    shown = read_stream(FORMAT, [spliced.stream]).tool_calls
    assert shown == tuple(c for c in facts.tool_calls if c.tool not in names)


@pytest.mark.parametrize("host", ["the whole item only", "no output index"])
def test_hosts_that_leave_things_out(host: str) -> None:
    def short(response: dict[str, Any]) -> bytes:
        events = events_of(response)
        if host == "the whole item only":
            left = ("created", "item.done", "completed")
            events = [e for e in events if e["type"].endswith(left)]
        else:
            events = [{k: v for k, v in e.items() if k != "output_index"} for e in events]
            events = [e for e in events if "delta" not in e["type"]]
        events[-1]["response"] = {k: events[-1]["response"][k] for k in ("id", "usage")}
        return sse(events)

    answers = numbered([answer(message("A."), HIDDEN), answer(HIDDEN_TOO), answer(message("B."))])
    spliced = splice(NAME, [short(each) for each in answers])
    assert b"call_hid" not in spliced.stream
    assert not any(name.encode() in spliced.stream for name in NAMES)
    assert [[c.call_id for c in turn.calls] for turn in spliced.turns] == [
        ["call_hid"],
        ["call_hid2"],
        [],
    ]
    end = values(spliced.stream)[-1]["response"]
    assert end["id"] == "resp_1"
    assert end["output"] == [answers[0]["output"][0], answers[2]["output"][0]]
    assert end["usage"]["output_tokens"] == 60


def test_events_without_an_item_are_relayed_and_numbered() -> None:
    def with_more(response: dict[str, Any]) -> bytes:
        events = events_of(response)
        events.insert(3, {"type": "keepalive"})
        events.insert(3, {"type": "response.weather.report", "sky": "clear"})
        numbers = ({**event, "sequence_number": n} for n, event in enumerate(events))
        return b": keep\n\n" + sse(numbers)

    stream = splice(NAME, [with_more(each) for each in SHAPES["a call last"]]).stream
    check(stream.replace(b": keep\n\n", b""))
    assert stream.count(b"response.weather.report") == 4
    assert stream.count(b": keep\n\n") == 2


def test_events_after_the_end_of_a_hidden_response_are_not_sent() -> None:
    stream = splice(NAME, [streamed(e) + b"data: [DONE]\n\n" for e in SHAPES["a call last"]]).stream
    assert b"DONE" not in stream


def test_failure_in_a_later_response_reaches_the_client_at_once_and_only_once() -> None:
    failing = streamed(answer(message("Half"), number=2, status="failed"))
    splicer = api.splicer(NAMES)
    out = []
    for number, stream in enumerate([streamed(answer(HIDDEN)), failing]):
        if number:
            splicer.resume()
        out = [splicer.feed(event, json.loads(event.data or b"")) for event in parse([stream])]
    [end] = values(out[-1])
    assert end["type"] == "response.failed"
    assert end["response"]["id"] == "resp_1"
    assert end["response"]["error"]["message"] == "Broken."
    assert splicer.finish() == b""


@pytest.mark.parametrize("status", ["incomplete", "failed"])
def test_call_without_stop_reason_tool_use_is_hidden_and_not_run(status: str) -> None:
    response = answer(message("Look"), HIDDEN, status=status)
    spliced = splice(NAME, [streamed(response)])
    check(spliced.stream, "call_hid")
    merged, [turn] = merge(NAME, [response])
    assert spliced.turns == [turn]
    assert turn.calls == ()
    assert turn.items == (message("Look"),), "a call without a result is not taken back"
    assert merged["output"] == [message("Look")]


def test_error_of_the_proxy_has_a_sequence_number() -> None:
    splicer = api.splicer(NAMES)
    count = 0
    for event in parse([streamed(answer(message("A."), HIDDEN))]):
        count += bool(splicer.feed(event, json.loads(event.data or b"")))
    [error] = values(splicer.error(StreamError(message="No.")))
    assert error["sequence_number"] == count


# Requests


def test_tools_stand_after_those_of_the_client() -> None:
    asked = request({"tools": [{"type": "function", "name": "weather"}, {"type": "web_search"}]})
    own = [bytes(own) for own in elements(asked["tools"])]
    assert api.inject(asked, TOOLS) == TOOLS
    assert [bytes(each) for each in elements(asked["tools"])][:2] == own
    offered = json.loads(bytes(asked["tools"]))[2:]
    assert [each["name"] for each in offered] == ["bmcp_s_find", "bmcp_s_look"]
    assert all(each["type"] == "function" and each["strict"] is False for each in offered)


def test_central_tool_with_the_name_of_a_client_tool_is_not_offered() -> None:
    asked = request({"tools": [{"type": "custom", "name": "bmcp_s_find"}, {"name": {}}, 7]})
    assert api.inject(asked, TOOLS) == (tool("bmcp_s_look"),)


@pytest.mark.parametrize(
    "refusing",
    [
        {"tool_choice": "none"},
        {"tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": []}},
        {"tool_choice": {"type": "allowed_tools", "mode": "required", "tools": []}},
        {"tool_choice": "required"},
        {"tool_choice": {"type": "function", "name": "f"}},
        {"tool_choice": {"type": "web_search"}},
        {"tool_choice": {"type": "mcp", "server_label": "s"}},
        {"background": True},
        {"generate": False},
    ],
    ids=str,
)
def test_tools_are_not_offered_where_the_request_does_not_allow_them(
    refusing: dict[str, Any],
) -> None:
    asked = request({"model": "gpt", "tools": [], **refusing})
    before = dict(asked)
    assert api.inject(asked, TOOLS) == ()
    assert asked == before


def test_tools_of_a_stored_prompt_are_not_replaced() -> None:
    prompt = {"prompt": {"id": "pmpt_1"}}
    assert api.inject(request(prompt), TOOLS) == ()
    assert api.inject(request(prompt | {"tools": []}), TOOLS) == TOOLS


@pytest.mark.parametrize("choice", ["auto", None], ids=str)
def test_tools_are_offered_where_the_model_may_choose(choice: Any) -> None:
    asked = request({"tool_choice": choice, "background": False})
    assert api.inject(asked, TOOLS) == TOOLS


def user(said_aloud: str) -> dict[str, Any]:
    return {
        "type": "message",
        "role": "user",
        "content": [{"type": "input_text", "text": said_aloud}],
    }


def output(call_id: str, said_aloud: str = "ok") -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": call_id, "output": said_aloud}


CONTEXT = user("<environment_context>\n  <cwd>/srv</cwd>\n</environment_context>")
ASKED = {
    "model": "gpt",
    "instructions": "Be good.",
    "input": [CONTEXT, user("Hello."), message("Hello!", "msg_0"), user("Where is it?")],
}
TURN = [reasoning("Dropped."), ENCRYPTED, message("Looking."), SEARCH, HIDDEN]


def without_id(item: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in item.items() if k != "id"}


@pytest.mark.parametrize("store", [None, True, False])
def test_next_request_brings_the_turn_and_its_results(store: bool | None) -> None:
    _, [turn] = merge(NAME, [answer(*TURN)])
    asked = request(ASKED if store is None else {**ASKED, "store": store})
    before = dict(asked)
    items = api.result_items([(turn.calls[0], result("found"))])
    following = api.continue_request(asked, turn, items, last=False)
    assert asked == before
    raw = [bytes(element) for element in elements(following["input"])]
    assert raw[:4] == [bytes(element) for element in elements(asked["input"])]
    kept = TURN if store is not False else [ENCRYPTED, *map(without_id, TURN[2:])]
    assert [json.loads(e) for e in raw[4:]] == [*kept, output("call_hid", "found")]
    assert set(following) == set(asked)


def test_input_given_as_text_becomes_a_user_message() -> None:
    _, [turn] = merge(NAME, [answer(HIDDEN)])
    following = api.continue_request(
        request({"input": "Ö?"}), turn, [output("call_hid")], last=True
    )
    assert sequence_of(following) == [
        {"role": "user", "content": "Ö?"},
        HIDDEN,
        output("call_hid"),
    ]
    assert json.loads(bytes(following["tool_choice"])) == "none"


def test_continued_request_in_a_stored_conversation_has_results_only() -> None:
    _, [turn] = merge(NAME, [answer(HIDDEN)])
    asked = request({**ASKED, "conversation": {"id": "conv_1"}})
    following = api.continue_request(asked, turn, [output("call_hid")], last=False)
    assert sequence_of(following) == [output("call_hid")]


def test_follow_up_of_a_stored_response_carries_the_turn() -> None:
    _, [turn] = merge(NAME, [answer(HIDDEN)])
    asked = request({"previous_response_id": "resp_0", "input": [user("And?")]})
    following = api.continue_request(asked, turn, [output("call_hid")], last=False)
    assert sequence_of(following) == [user("And?"), HIDDEN, output("call_hid")]
    assert following["previous_response_id"] == asked["previous_response_id"]


def test_results_are_texts_or_parts_with_images() -> None:
    _, [turn] = merge(NAME, [answer(HIDDEN)])
    [looked] = turn.calls
    [shown] = api.result_items([(looked, IMAGE)])
    assert shown["output"] == [
        {"type": "input_text", "text": "A map:"},
        {"type": "input_image", "image_url": "data:image/png;base64,aW1n"},
        {"type": "input_text", "text": '{"uri":"file:///x"}'},
    ]
    [failed] = api.result_items([(looked, result("broken", is_error=True))])
    assert failed == output("call_hid", "Error: broken")


# Later requests


def turns_of(shape: list[dict[str, Any]]) -> tuple[list[Any], list[Any]]:
    """Return the client's response for some upstream responses, and their turns."""
    merged, turns = merge(NAME, shape)
    return merged["output"], turns


def as_they_were(items: list[Any]) -> list[Any]:
    return items


def without_ids(items: list[Any]) -> list[Any]:
    return list(map(without_id, items))


def without_reasoning(items: list[Any]) -> list[Any]:
    return [item for item in items if item["type"] != "reasoning"]


def easy(items: list[Any]) -> list[Any]:
    return [
        {"role": "assistant", "content": item["content"][0]["text"]}
        if item["type"] == "message"
        else item
        for item in items
    ]


def parsed(items: list[Any]) -> list[Any]:
    return [{**item, "parsed_arguments": None, "status": None} for item in items]


CHANGES = (as_they_were, without_ids, without_reasoning, easy, parsed)
LATER = {
    "one answer": [answer(message("Looking. "), HIDDEN), answer(message("Done.", "msg_2"))],
    "several": [
        answer(ENCRYPTED, message("A."), HIDDEN), answer(SEARCH, HIDDEN_TOO), answer(message("B.")),
    ],
    "mixed": [answer(ENCRYPTED, message("Both."), HIDDEN, OWN, PATCH)],
    "mixed later": [answer(message("A."), HIDDEN), answer(OWN, HIDDEN_TOO)],
    "own calls later": [answer(HIDDEN), answer(message("You."), OWN)],
}  # fmt: skip


LATER = {name: numbered(shape) for name, shape in LATER.items()}


def results_of(items: list[Any]) -> list[Any]:
    return [
        {**output(item["call_id"]), "type": f"{item['type']}_output"}
        for item in items
        if "call_id" in item
    ]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
@pytest.mark.parametrize("shape", LATER.values(), ids=LATER)
@pytest.mark.parametrize("store", [True, False], ids=["stored", "not stored"])
def test_later_request_is_restored_to_what_the_provider_saw(
    shape: list[dict[str, Any]], change: Callable[[list[Any]], list[Any]], store: bool
) -> None:
    shown, turns = turns_of(shape)
    asked = {**deepcopy(ASKED), "store": store}
    done = loop(NAME, asked, turns)
    following = [*results_of(shown), user("And then?")]
    changed_context = user("<environment_context>later</environment_context>")
    asked["input"] = [changed_context, *ASKED["input"][1:], *change(shown), *following]
    last = shape[-1]["output"]
    if not store:
        last = [without_id(item) if item["type"] != "reasoning" else item for item in last]
    hidden_results = [output(c.call_id, f"result of {c.call_id}") for c in turns[-1].calls]
    assert restored(NAME, asked, done.found)["input"] == [
        changed_context,
        *sequence_of(done.asked[-1])[1:],
        *last,
        *hidden_results,
        *following,
    ]


def test_calls_interleaved_with_their_results_are_restored() -> None:
    shown, turns = turns_of(LATER["mixed"])
    done = loop(NAME, ASKED, turns)
    reasoned, spoken, own, patch = shown
    own_result, patch_result = results_of(shown)
    given_items = [*ASKED["input"], reasoned, spoken, own, own_result, patch, patch_result]
    assert restored(NAME, {"input": given_items}, done.found)["input"] == [
        *ASKED["input"],
        *LATER["mixed"][0]["output"],
        output("call_hid", "result of call_hid"),
        own_result,
        patch_result,
    ]


def test_results_alone_bring_those_of_hidden_calls_where_the_rest_is_stored() -> None:
    shown, turns = turns_of(LATER["mixed"])
    found = loop(NAME, ASKED, turns).found
    mine = results_of(shown)
    for stored in ({"previous_response_id": "resp_1"}, {"conversation": "conv_1"}):
        asked = {**stored, "input": [*mine, user("Go on.")]}
        assert restored(NAME, asked, found) == {
            **stored,
            "input": [output("call_hid", "result of call_hid"), *mine, user("Go on.")],
        }


def test_hidden_calls_are_restored_beside_referenced_calls() -> None:
    shown, turns = turns_of(LATER["mixed"])
    found = loop(NAME, ASKED, turns).found
    named = [{"type": "item_reference", "id": item["id"]} for item in shown]
    mine = results_of(shown)
    assert restored(NAME, {"input": [*named, *mine]}, found)["input"] == [
        *named,
        LATER["mixed"][0]["output"][2],
        output("call_hid", "result of call_hid"),
        *mine,
    ]


def test_request_that_follows_a_response_id_is_led_to_its_last_turn() -> None:
    _, turns = turns_of(LATER["several"])
    found = loop(NAME, ASKED, turns, ids=["resp_1", "resp_2", "resp_3"]).found
    asked = {"previous_response_id": "resp_1", "input": "And then?"}
    assert restored(NAME, asked, found) == {**asked, "previous_response_id": "resp_3"}
    other = {"previous_response_id": "resp_9", "input": "And then?"}
    assert restored(NAME, other, found) == other


def test_mixed_last_turn_is_restored_with_its_id() -> None:
    shown, turns = turns_of(LATER["mixed later"])
    found = loop(NAME, ASKED, turns, ids=["resp_1", "resp_2"]).found
    mine = results_of(shown)
    asked = {"previous_response_id": "resp_1", "input": mine}
    assert restored(NAME, asked, found) == {
        "previous_response_id": "resp_2",
        "input": [output("call_hid2", "result of call_hid2"), *mine],
    }


def test_items_of_the_client_are_restored_byte_for_byte() -> None:
    shown, turns = turns_of(LATER["one answer"])
    done = loop(NAME, ASKED, turns)
    asked = request({"input": [*ASKED["input"], *shown, user("Ö")]})
    before = [bytes(element) for element in elements(asked["input"])]
    assert api.restore(asked, done.found)
    after = [bytes(element) for element in elements(asked["input"])]
    assert [*after[:4], after[-1]] == [*before[:4], before[-1]]
    assert len(after) == len(before) + 2


def keys(*items: Any) -> list[str]:
    return [run.key for run in api.transcript(request({"input": list(items)})).runs]


def test_equal_text_after_different_results_has_a_different_key() -> None:
    def after(call_id: str) -> str:
        return keys(call(call_id, "weather"), output(call_id), message("Done."))[-1]

    assert after("call_1") != after("call_2")
    assert after("call_1") == after("call_1")


def test_key_of_a_response_covers_all_text_since_the_previous_response() -> None:
    a, b, done = user("A"), user("B"), message("Done.")
    assert keys(a, b, done) == keys(user("A\nB"), done)
    assert keys(a, done, b, done)[1] == keys(b, done)[0] != keys(a, done)[0]
    assert api.transcript(request({"input": [a, done, b]})).text_since == "B"
    assert api.transcript(request({"input": "B"})).text_since == "B"


def test_calls_without_an_id_do_not_make_a_run_key() -> None:
    nameless = {k: v for k, v in OWN.items() if k != "call_id"}
    assert keys(nameless, OWN) == ["call:call_own"]
    assert keys(nameless)[0].startswith("text:")


def test_tool_search_of_the_provider_is_not_a_client_call() -> None:
    search: dict[str, Any] = {
        "type": "tool_search_call",
        "call_id": None,
        "execution": "server",
        "arguments": {},
    }
    _, [turn] = merge(NAME, [answer(search, HIDDEN)])
    assert turn.client_calls == ()
    assert len(turn.calls) == 1


def test_response_of_all_item_types_is_a_single_run() -> None:
    of_models = {
        kind for kind in kinds(responses.ResponseOutputItem)
        if not kind.endswith(("call_output", "approval_response", "search_output"))
    }  # fmt: skip
    given_items = [{"type": kind, "role": "assistant"} if kind == "message" else {"type": kind}
                   for kind in sorted(of_models)]  # fmt: skip
    [run] = api.transcript(request({"input": [user("A"), *given_items, user("B")]})).runs
    assert (run.start, run.end) == (1, 1 + len(given_items))


def test_alias_key_names_a_stored_response_by_its_id() -> None:
    assert api.alias_key("resp_1") == "response:resp_1"
    assert api.restores_without_tools
    found = {"response:resp_1": Restoration(sequence=("resp_2",))}
    assert restored(NAME, {"previous_response_id": "resp_1"}, found) == {
        "previous_response_id": "resp_2"
    }


# What a response repeats of its request

OWN_TOOL = {"type": "function", "name": "weather", "parameters": {}}
OUR_TOOL = {"type": "function", "name": "bmcp_s_look", "parameters": {}}


@pytest.mark.parametrize("status", ["completed", "incomplete", "failed"])
@pytest.mark.parametrize("items", [(OWN,), (HIDDEN,)], ids=["shown", "hidden"])
def test_central_tools_are_removed_from_every_event_that_repeats_the_request(
    status: str, items: tuple[dict[str, Any], ...]
) -> None:
    given = answer(*items, status=status) | {"tools": [OWN_TOOL, {"type": "web_search"}, OUR_TOOL]}
    events = events_of(given)
    spliced = splice(NAME, [sse(events)])
    repeating = [event for event in values(spliced.stream) if "response" in event]
    assert [event["type"] for event in repeating] == [
        event["type"] for event in events if "response" in event
    ]
    for event in repeating:
        assert event["response"]["tools"] == [OWN_TOOL, {"type": "web_search"}]


def test_events_without_central_tools_keep_their_bytes() -> None:
    stream = sse(events_of(answer(OWN) | {"tools": [OWN_TOOL]}))
    assert splice(NAME, [stream]).stream == stream
    repeating = sse(events_of(answer(OWN) | {"tools": [OUR_TOOL]}))
    kept = [part for part in repeating.split(b"\n\n") if b'"tools"' not in part]
    assert all(part in splice(NAME, [repeating]).stream for part in kept)


@pytest.mark.parametrize("status", ["completed", "incomplete", "failed"])
def test_central_tools_are_removed_from_a_buffered_response_that_repeats_the_request(
    status: str,
) -> None:
    given = answer(OWN, status=status) | {"tools": [OWN_TOOL, OUR_TOOL]}
    merged, _ = merge(NAME, [given])
    assert merged == given | {"tools": [OWN_TOOL]}


def test_buffered_response_without_central_tools_is_unchanged() -> None:
    merger = api.merger(NAMES)
    merger.add(answer(OWN) | {"tools": [OWN_TOOL]})
    assert not merger.hides


@pytest.mark.parametrize("status", ["completed", "incomplete", "failed"])
@pytest.mark.parametrize("chosen", ["auto", {"type": "auto"}])
def test_choice_of_the_client_is_repeated_although_the_last_request_forbids_calls(
    status: str, chosen: Any
) -> None:
    first = answer(HIDDEN) | {"tool_choice": chosen}
    last = answer(message("Done."), status=status) | {"tool_choice": "none"}
    spliced = splice(NAME, [sse(events_of(first)), sse(events_of(last))])
    repeating = [event["response"] for event in values(spliced.stream) if "response" in event]
    assert [response["tool_choice"] for response in repeating] == [chosen] * len(repeating)
    assert repeating[-1]["status"] == status
    merged, _ = merge(NAME, [first, last])
    assert merged["tool_choice"] == chosen


def test_host_that_repeats_no_choice_gets_none_added() -> None:
    given = [answer(HIDDEN), answer(message("Done."))]
    for response in given:
        del response["tool_choice"]
    merged, _ = merge(NAME, given)
    assert "tool_choice" not in merged


def test_restored_results_are_made_legal() -> None:
    """The ledger may hold what an older version has stored."""
    output = [
        {"type": "input_text", "text": "A map:"},
        {"type": "input_image", "image_url": "data:image/svg+xml;base64,PHN2Zy8+"},
        {"type": "input_image", "image_url": "data:image/jpg;base64,AAAA"},
    ]
    stored = {"type": "function_call_output", "call_id": "call_hid", "output": output}
    shown = message("Done.")
    asked = request({"input": [user("Look."), shown, user("And now?")]})
    [run] = api.transcript(asked).runs
    assert api.restore(asked, {run.key: Restoration(sequence=(HIDDEN, stored, shown))})
    [result] = [i for i in json.loads(bytes(asked["input"])) if i["type"] == stored["type"]]
    assert result["output"] == [
        {"type": "input_text", "text": "A map:"},
        {"type": "input_text", "text": "[image/svg+xml]\n<svg/>"},
        {"type": "input_image", "image_url": "data:image/jpeg;base64,AAAA"},
    ]
