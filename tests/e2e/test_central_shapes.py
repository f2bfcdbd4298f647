"""Shapes of calls: providers and compatible hosts stream a call in many shapes; all are hidden."""

import json
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import pytest

from e2e.asking import API, APIS, user
from e2e.central import ADD, FORWARD, REVERSE, SUM, SUM_LINE, Central, each_object, reworked
from e2e.proxy import Proxy
from e2e.wire_formats import JSON, named_events

MESSAGES, CHAT, RESPONSES = APIS

each_api = pytest.mark.parametrize("api", APIS, ids=str)
each_delivery = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])

CANNED = {"x-standin-canned": "shape"}
LINK_LINE = "calls bmcp_calc_link {}"
LINK_RESULT = 'gets {"name":"far away","uri":"test://far","type":"resource_link"}'


@pytest.fixture
def proxy(central_proxy: Proxy) -> Proxy:
    """The proxy that offers tools."""
    return central_proxy


@dataclass(frozen=True, slots=True)
class Shape:
    """A shape of a streamed call of `add`, after the text `Moment`."""

    name: str
    api: API
    change: Callable[[list[JSON]], list[JSON]]

    def __str__(self) -> str:
        return f"{self.api}-{self.name}"


# --- Anthropic Messages


def input_in_the_start(events: list[JSON]) -> list[JSON]:
    """Start a block with the complete input, and send no deltas."""
    for start, fragments in _calls_of_messages(events):
        start["content_block"]["input"] = json.loads(_joined(fragments) or "{}")
    return [event for event in events if not _is_fragment(event)]


def input_in_one_delta(events: list[JSON]) -> list[JSON]:
    """Send the complete input in one delta."""
    joined: list[JSON] = []
    for event in events:
        if _is_fragment(event) and joined and _is_fragment(joined[-1]):
            joined[-1]["delta"]["partial_json"] += event["delta"]["partial_json"]
        else:
            joined.append(event)
    return joined


def only_output_at_the_end(events: list[JSON]) -> list[JSON]:
    """Report only the output in the last usage, as early versions did."""
    for event in events:
        if event["type"] == "message_delta":
            event["usage"] = {"output_tokens": event["usage"]["output_tokens"]}
    return events


def pings_everywhere(events: list[JSON]) -> list[JSON]:
    """Send a ping before each event but the first."""
    return [event for pair in events for event in ({"type": "ping"}, pair)][1:]


def _calls_of_messages(events: list[JSON]) -> list[tuple[JSON, list[JSON]]]:
    starts = [
        event
        for event in events
        if event["type"] == "content_block_start" and event["content_block"]["type"] == "tool_use"
    ]
    return [
        (start, [e for e in events if _is_fragment(e) and e["index"] == start["index"]])
        for start in starts
    ]


def _is_fragment(event: JSON) -> bool:
    return event.get("type") == "content_block_delta" and "partial_json" in event["delta"]


def _joined(fragments: list[JSON]) -> str:
    return "".join(event["delta"]["partial_json"] for event in fragments)


# --- Chat Completions


def _fragments(events: list[JSON]) -> list[JSON]:
    return [f for event in events for f in _delta(event).get("tool_calls", ())]


def _delta(event: JSON) -> JSON:
    return event["choices"][0]["delta"] if event["choices"] else {}


def _has_call(event: JSON) -> bool:
    return "tool_calls" in _delta(event)


def complete_call_in_one_chunk(events: list[JSON]) -> list[JSON]:
    """Send a call in one chunk, as Gemini, Mistral and Ollama do."""
    fragments = _fragments(events)
    if not fragments:
        return events
    first = next(event for event in events if _has_call(event))
    fragments[0]["function"]["arguments"] = "".join(
        fragment["function"].get("arguments", "") for fragment in fragments
    )
    _delta(first)["tool_calls"] = fragments[:1]
    return [event for event in events if event is first or not _has_call(event)]


def complete_call_without_index(events: list[JSON]) -> list[JSON]:
    """Send a call in one chunk without an index."""
    events = complete_call_in_one_chunk(events)
    for fragment in _fragments(events):
        del fragment["index"]
    return events


def complete_call_in_the_first_chunk(events: list[JSON]) -> list[JSON]:
    """Send the call in the very first chunk, and the text after it."""
    events = complete_call_in_one_chunk(events)
    if not (fragments := _fragments(events)):
        return events
    joined = [event for event in events if not _has_call(event)]
    _delta(joined[0])["tool_calls"] = fragments
    return joined


def call_in_the_finish_chunk(events: list[JSON]) -> list[JSON]:
    """Send the call and the finish reason in one chunk."""
    events = complete_call_in_one_chunk(events)
    if not (fragments := _fragments(events)):
        return events
    joined = [event for event in events if not _has_call(event)]
    finish = next(e for e in joined if e["choices"] and e["choices"][0]["finish_reason"])
    _delta(finish)["tool_calls"] = fragments
    return joined


def role_with_the_text(events: list[JSON]) -> list[JSON]:
    """Send the role with the first words."""
    first, second, *others = events
    if not _delta(second).get("content"):
        return events
    _delta(second)["role"] = _delta(first)["role"]
    return [second, *others]


def index_from_one(events: list[JSON]) -> list[JSON]:
    """Number calls from 1."""
    for fragment in _fragments(events):
        fragment["index"] += 1
    return events


def usage_on_the_finish_chunk(events: list[JSON]) -> list[JSON]:
    """Send the usage with the finish reason, as Groq and OpenRouter may."""
    *events, last = events
    events[-1]["usage"] = last["usage"]
    return events


def finish_reason_stop(events: list[JSON]) -> list[JSON]:
    """Finish calls with `stop`, as some hosts do."""
    for event in events:
        for choice in event["choices"]:
            choice["finish_reason"] = choice["finish_reason"] and "stop"
    return events


def reasoning_in_deltas(events: list[JSON]) -> list[JSON]:
    """Send reasoning before the text, as DeepSeek does."""
    thought = deepcopy(events[0])
    thought["choices"][0]["delta"] = {"reasoning_content": "Hm."}
    return [events[0], thought, *events[1:]]


# --- Responses


def items_in_one_event(events: list[JSON]) -> list[JSON]:
    """Send calls only as complete items, as some hosts do."""
    calls = {
        event["output_index"]
        for event in events
        if event.get("item", {}).get("type") == "function_call"
    }
    return [
        event
        for event in events
        if event.get("output_index") not in calls or event["type"] == "response.output_item.done"
    ]


SHAPES = (
    Shape("input in the start of the block", MESSAGES, input_in_the_start),
    Shape("input in one delta", MESSAGES, input_in_one_delta),
    Shape("only output at the end", MESSAGES, only_output_at_the_end),
    Shape("pings everywhere", MESSAGES, pings_everywhere),
    Shape("whole call in one chunk", CHAT, complete_call_in_one_chunk),
    Shape("whole call without index", CHAT, complete_call_without_index),
    Shape("whole call in the first chunk", CHAT, complete_call_in_the_first_chunk),
    Shape("call in the finish chunk", CHAT, call_in_the_finish_chunk),
    Shape("role with the text", CHAT, role_with_the_text),
    Shape("index from one", CHAT, index_from_one),
    Shape("usage on the finish chunk", CHAT, usage_on_the_finish_chunk),
    Shape("finish reason stop", CHAT, finish_reason_stop),
    Shape("reasoning in deltas", CHAT, reasoning_in_deltas),
    Shape("items in one event", RESPONSES, items_in_one_event),
)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_call_is_run_and_hidden_in_every_stream_shape(central: Central, shape: Shape) -> None:
    central.provider.canned["shape"] = reworked(central.provider, shape.change)
    prompt = f"{SUM} TOKENS:10,2,0,0 NEXT {SUM} TOKENS:20,3,0,0 NEXT TOKENS:30,4,0,0"
    story = central.see(shape.api, FORWARD, prompt, stream=True, headers=CANNED)
    told = "".join(line.removeprefix("says ") for line in story.lines if line.startswith("says"))
    assert told == "MomentMomentThe tool returned: 42"
    assert not any(line.startswith("calls") for line in story.lines)
    assert story.tokens == (30, 9, 0, 0)
    turn = ["says Moment", SUM_LINE, "gets 42"]
    asked = [line for line in central.transcripts(shape.api)[-1] if not line.startswith("thinks")]
    assert asked == [f"user: {prompt}", *turn, *turn]


OF_MANY = (input_in_the_start, input_in_one_delta, index_from_one, items_in_one_event)


@pytest.mark.parametrize("shape", [s for s in SHAPES if s.change in OF_MANY], ids=str)
def test_two_calls_stay_distinct_in_every_stream_shape(central: Central, shape: Shape) -> None:
    central.provider.canned["shape"] = reworked(central.provider, shape.change)
    prompt = f'{SUM} USE_TOOL:get_weather ARGS:{{"city": "Oslo"}} USE_TOOL:{ADD}'
    answer = central.ask(
        shape.api,
        FORWARD,
        prompt,
        stream=True,
        tools=["get_weather"],
        client_options={"default_headers": CANNED},
    )
    assert [(call.name, call.arguments) for call in answer.calls] == [
        ("get_weather", {"city": "Oslo"})
    ]


# --- all APIs


def arguments_changed(change: Callable[[str], str]) -> Callable[[list[JSON]], list[JSON]]:
    """Return a change of the arguments of all calls, as text."""

    def changed(events: list[JSON]) -> list[JSON]:
        for fragments in _fragments_of_calls(events):
            text = change("".join(holder[name] for holder, name in fragments))
            for number, (holder, name) in enumerate(fragments):
                holder[name] = text if number == 0 else ""
        for value in each_object(events):
            if value.get("type") in ("function_call", "response.function_call_arguments.done"):
                if value.get("arguments"):
                    value["arguments"] = change(value["arguments"])
            elif value.get("type") == "function" and "arguments" in value.get("function", {}):
                function = value["function"]
                if "index" not in value:
                    function["arguments"] = change(function["arguments"])
        return events

    return changed


def _fragments_of_calls(events: list[JSON]) -> list[list[tuple[Any, str]]]:
    """Return the positions of the fragments of each call of a stream."""
    found: dict[Any, list[tuple[Any, str]]] = {}
    for event in events:
        if _is_fragment(event):
            found.setdefault(event["index"], []).append((event["delta"], "partial_json"))
        elif event.get("type") == "response.function_call_arguments.delta":
            found.setdefault(event["item_id"], []).append((event, "delta"))
        for choice in event.get("choices", ()):
            for call in choice.get("delta", {}).get("tool_calls", ()):
                found.setdefault(call["index"], []).append((call["function"], "arguments"))
    return list(found.values())


@each_api
def test_call_without_arguments_is_run(central: Central, api: API) -> None:
    central.provider.canned["shape"] = reworked(
        central.provider, arguments_changed(lambda text: "")
    )
    central.see(api, REVERSE, "USE_TOOL:bmcp_calc_link SAY", stream=True, headers=CANNED)
    [_, line, result] = central.transcripts(api)[1]
    assert line in (LINK_LINE, LINK_LINE.removesuffix("{}"))
    assert result == LINK_RESULT


@each_api
def test_arguments_that_are_no_json_are_reported_to_the_model(central: Central, api: API) -> None:
    central.provider.canned["shape"] = reworked(
        central.provider, arguments_changed(lambda text: text[:-3])
    )
    with central.proxy.recording() as records:
        story = central.see(api, REVERSE, SUM, stream=True, headers=CANNED)
    assert "The arguments are not a JSON object." in story.lines[-1]
    assert "The arguments are not a JSON object." in central.transcripts(api)[1][-1]
    [row] = records.tool_usages
    assert row["input"] == '{"a": 2, "b": 40}'[:-3]
    assert row["invocation_error"] == "The arguments are not a JSON object."


@each_api
@each_delivery
def test_text_after_a_call_is_shown_in_its_place(central: Central, api: API, stream: bool) -> None:
    story = central.see(api, FORWARD, f"{SUM} AFTER:Done", stream=stream)
    told = "".join(line.removeprefix("says ") for line in story.lines)
    assert told == "MomentDoneThe tool returned: 42"
    asked = central.transcripts(api)[1]
    if api is CHAT:  # one message has one text
        assert asked[1:] == ["says MomentDone", SUM_LINE, "gets 42"]
    else:
        assert asked[1:] == ["says Moment", SUM_LINE, "says Done", "gets 42"]


@each_api
@each_delivery
def test_truncated_call_is_not_run_and_the_client_sees_the_stop_reason(
    central: Central, api: API, stream: bool
) -> None:
    with central.proxy.recording() as records:
        story = central.see(api, FORWARD, f"{SUM} STOP_SHORT", stream=stream)
    assert story.lines == ("says Moment",)
    assert story.stop in ("max_tokens", "length", "incomplete")
    assert len(central.requests) == 1
    assert records.interception["status"] == "completed"
    assert records.tool_usages == []


SEARCH: list[JSON] = [
    {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "x"}},
    {
        "type": "web_search_tool_result",
        "tool_use_id": "srvtoolu_1",
        "content": [{"type": "web_search_result", "url": "u", "encrypted_content": "RUVF"}],
    },
    {"type": "redacted_thinking", "data": "UkVE"},
]


@each_delivery
def test_blocks_of_the_provider_are_sent_unchanged_in_the_next_request(
    central: Central, stream: bool
) -> None:
    def searched(events: list[JSON]) -> list[JSON]:
        if not any(event.get("type") == "tool_use" for event in each_object(events)):
            return events
        if not stream:
            events[0]["content"] = [*SEARCH, *events[0]["content"]]
            return events
        for event in events:
            if "index" in event:
                event["index"] += len(SEARCH)
        blocks = [
            event
            for index, block in enumerate(SEARCH)
            for event in (
                {"type": "content_block_start", "index": index, "content_block": block},
                {"type": "content_block_stop", "index": index},
            )
        ]
        return [events[0], *blocks, *events[1:]]

    central.provider.canned["shape"] = reworked(central.provider, searched)
    story = central.see(MESSAGES, FORWARD, SUM, stream=stream, headers=CANNED)
    assert story.lines[:3] == tuple(f"has {block['type']}" for block in SEARCH)
    [_, turn, _] = central.received[1]["messages"]
    assert turn["content"][:3] == SEARCH


class TestReasoningItems:
    @each_delivery
    def test_encrypted_reasoning_is_sent_unchanged_if_nothing_is_stored(
        self, central: Central, stream: bool
    ) -> None:
        def encrypted(events: list[JSON]) -> list[JSON]:
            for value in each_object(events):
                if value.get("type") == "reasoning":
                    value["encrypted_content"] = "U0VDUkVU"
            return events

        central.provider.canned["shape"] = reworked(central.provider, encrypted)
        members = {"store": False, "include": ["reasoning.encrypted_content"]}
        story = central.see(
            RESPONSES, FORWARD, f"THINK {SUM}", stream=stream, members=members, headers=CANNED
        )
        assert story.lines[0].endswith("(U0VDUkVU)")
        _, thought, *_ = central.received[1]["input"]
        assert thought["encrypted_content"] == "U0VDUkVU"
        assert central.received[1]["store"] is False

    @each_delivery
    def test_reasoning_without_encrypted_content_is_left_out_if_nothing_is_stored(
        self, central: Central, stream: bool
    ) -> None:
        central.see(RESPONSES, FORWARD, f"THINK {SUM}", stream=stream, members={"store": False})
        [_, second] = central.transcripts(RESPONSES)
        assert second[1:] == ["says Moment", SUM_LINE, "gets 42"]

    @each_delivery
    def test_stored_reasoning_is_sent_with_its_id(self, central: Central, stream: bool) -> None:
        central.see(RESPONSES, FORWARD, f"THINK {SUM}", stream=stream)
        _, thought, *_ = central.received[1]["input"]
        assert thought["type"] == "reasoning"
        assert thought["id"].startswith("rs_")


class TestStoredResponses:
    @each_delivery
    def test_previous_response_id_is_replaced_by_the_last_hidden_one(
        self, central: Central, stream: bool
    ) -> None:
        first = central.ask(RESPONSES, FORWARD, f"{SUM} NEXT {SUM}", stream=stream)
        last = f"resp_{central.requests[-1].notes.response_id}"
        assert first.id != last
        members = {"previous_response_id": first.id}
        central.see(RESPONSES, FORWARD, "And now?", stream=stream, members=members)
        assert central.received[-1]["previous_response_id"] == last
        assert central.transcripts(RESPONSES)[-1] == ["user: And now?"]

    @each_delivery
    def test_loop_continues_from_the_clients_previous_response_id(
        self, central: Central, stream: bool
    ) -> None:
        members = {"previous_response_id": "resp_of_old"}
        central.see(RESPONSES, FORWARD, SUM, stream=stream, members=members)
        for body in central.received:
            assert body["previous_response_id"] == "resp_of_old"
        assert central.transcripts(RESPONSES)[1][1:] == ["says Moment", SUM_LINE, "gets 42"]

    @each_delivery
    def test_only_results_are_sent_to_a_stored_conversation(
        self, central: Central, stream: bool
    ) -> None:
        members = {"conversation": "conv_1"}
        prompt = f"{SUM} NEXT {SUM}"
        central.see(RESPONSES, FORWARD, prompt, stream=stream, members=members)
        assert central.transcripts(RESPONSES)[1:] == [["gets 42"]]


def test_custom_tool_of_the_client_is_called_beside_central_tools(central: Central) -> None:
    tools = [{"type": "custom", "name": "note"}]
    story = central.see(
        RESPONSES, FORWARD, f"{SUM} NEXT USE_TOOL:note", stream=True, members={"tools": tools}
    )
    assert story.lines == ("says Moment", "says I will use note.", "calls note some text")
    assert central.received[0]["tools"][0] == tools[0]


@each_delivery
def test_results_of_a_custom_tool_are_sent_beside_central_results(
    central: Central, stream: bool
) -> None:
    members = {"tools": [{"type": "custom", "name": "note"}]}
    prompt = f'USE_TOOL:note USE_TOOL:{ADD} ARGS:{{"x": 1}} ARGS:{{"a": 2, "b": 40}} SAY'
    seen = central.post(RESPONSES, FORWARD, prompt, stream=stream, members=members)
    answer = named_events(seen.raw)[-1]["response"] if stream else seen.json
    [call] = answer["output"]
    assert (call["type"], call["name"]) == ("custom_tool_call", "note")
    result = {"type": "custom_tool_call_output", "call_id": call["call_id"], "output": "noted"}
    conversation = [user(prompt), call, result]
    central.see(RESPONSES, FORWARD, conversation, stream=stream, members=members)
    assert central.transcripts(RESPONSES)[-1] == [
        f"user: {prompt}",
        'calls note {"x": 1}',
        *(SUM_LINE, "gets 42", "gets noted"),
    ]
