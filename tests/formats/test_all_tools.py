"""Rules for central tools that hold in every wire format."""

import json
from dataclasses import replace
from itertools import combinations
from typing import Any

import anthropic
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aibridge_addon.formats import FORMATS
from aibridge_addon.formats.central_tool import ResultPart, ToolResult
from aibridge_addon.formats.tool_protocol import (
    InjectedCall,
    PastResponse,
    Restoration,
    Run,
    StreamError,
    Transcript,
    build_transcript,
    run_key,
)
from aibridge_addon.raw_json import arguments, as_raw, decode, elements, members
from formats.any_json import json_values, lists_of_json, mutated, objects_with, pieces
from formats.helpers import (
    ANSWERS,
    APIS_WITH_TOOLS,
    IN_PATH,
    OWN_TOOLS,
    REQUESTS,
    STREAMS,
    Scenario,
    every,
    parse,
    raw_of,
    sse,
    thorough,
    tools_of,
)
from formats.inner_loop import (
    NAMES,
    TOOLS,
    apis,
    called,
    feed,
    merge,
    offering,
    request,
    sdk_sees,
    splice,
    tool,
    values,
)

WITH_TOOLS = [scenario for scenario in STREAMS if scenario.api in APIS_WITH_TOOLS]
streams = every(WITH_TOOLS)


@streams
@pytest.mark.parametrize("names", [frozenset(), NAMES], ids=["nothing", "something"])
def test_stream_without_injected_calls_is_relayed_byte_for_byte(
    scenario: Scenario, names: frozenset[str]
) -> None:
    stream = scenario.stream()
    assert splice(scenario.api, [stream], names).stream == stream


@streams
def test_splicer_holds_nothing_while_nothing_is_hidden(scenario: Scenario) -> None:
    stream = scenario.stream()
    splicer = tools_of(scenario.api).splicer(NAMES)
    assert feed(scenario.api, splicer, stream) == [event.raw for event in parse([stream])]
    assert splicer.finish() == b""


@streams
@given(st.data())
def test_split_stream_gives_the_same_events(scenario: Scenario, data: st.DataObject) -> None:
    stream = scenario.stream(data.draw(st.sampled_from(["LF", "CRLF", "CR"])))
    chunks = data.draw(pieces(stream))
    assert splice(scenario.api, [chunks]).stream == raw_of(parse(chunks)) == stream


@streams
@given(st.data())
def test_stream_with_comments_and_unknown_events_is_relayed_byte_for_byte(
    scenario: Scenario, data: st.DataObject
) -> None:
    events = [event.raw for event in parse([scenario.stream()])]
    strange = [
        b": still here\n\n",
        b'event: ping\ndata: {"type": "ping"}\n\n',
        b"data: nothing\n\n",
    ]
    for event in data.draw(st.lists(st.sampled_from(strange), max_size=4)):
        events.insert(data.draw(st.integers(0, len(events) - 1)), event)
    stream = b"".join(events)
    assert splice(scenario.api, [stream]).stream == stream


NOT_OFFERED = (
    *("legacy_function_call", "cut_in_the_middle"),
    *("streamed_arguments", "two_candidates"),  # of Gemini
)
"""Scenarios of requests that are offered no tools, or of no response."""


@streams
def test_turn_of_a_stream_without_injected_calls_waits_for_nothing(scenario: Scenario) -> None:
    [turn] = splice(scenario.api, [scenario.stream()]).turns
    assert turn.calls == ()
    calls = scenario.response_facts().tool_calls
    if scenario.name not in NOT_OFFERED:
        expected = [call.call_id or "" for call in calls if not call.server_side]
        assert list(turn.client_calls) == expected


def read_arguments(value: Any) -> Any:
    return arguments(value) if isinstance(value, str) else value


BOTH = [scenario for scenario in ANSWERS if scenario in WITH_TOOLS]


def plain(value: Any) -> Any:
    """Without the members that say nothing, which only whole answers tell; arguments decoded."""
    if isinstance(value, dict):
        present = {k: v for k, v in value.items() if v not in (None, [], "")}
        return {k: read_arguments(v) if k == "arguments" else plain(v) for k, v in present.items()}
    return [plain(part) for part in value] if isinstance(value, list | tuple) else value


@every(BOTH)
def test_streamed_turn_equals_the_turn_of_the_buffered_response(scenario: Scenario) -> None:
    answer = decode(scenario.read("answer.json"))
    for size in range(len(called(scenario)) + 1):
        for names in combinations(called(scenario), size):
            [streamed] = splice(scenario.api, [scenario.stream()], frozenset(names)).turns
            _, [whole] = merge(scenario.api, [answer], frozenset(names))
            assert streamed.calls == whole.calls
            assert streamed.client_calls == whole.client_calls
            assert streamed.text == whole.text
            if scenario.name != "legacy_function_call" and scenario.api not in IN_PATH:
                assert plain(streamed.items) == plain(whole.items)


# Robustness


@streams
@given(st.data())
def test_splicing_events_with_anything_in_them_never_raises(
    scenario: Scenario, data: st.DataObject
) -> None:
    stream = data.draw(
        mutated(values(scenario.stream())) if scenario.name != "cut_in_the_middle" else st.just([])
    )
    names = frozenset(called(scenario)) | NAMES
    spliced = sse(*stream) if isinstance(stream, list) else sse(stream)
    splice(scenario.api, [spliced, spliced, scenario.stream()], names)


@apis
@thorough
@given(lists_of_json)
def test_splicing_any_json_never_raises(api: str, stream: list[Any]) -> None:
    splice(api, [sse(*stream)] * 2)


@every([s for s in ANSWERS if s.api in APIS_WITH_TOOLS])
@given(st.data())
def test_merging_responses_with_anything_in_them_never_raises(
    scenario: Scenario, data: st.DataObject
) -> None:
    answer = data.draw(mutated(decode(scenario.read("answer.json"))))
    merge(scenario.api, [answer, decode(scenario.read("answer.json"))], frozenset(called(scenario)))


OFFERABLE = [
    scenario
    for scenario in REQUESTS
    if scenario.api in APIS_WITH_TOOLS and scenario.api not in OWN_TOOLS
]


@every(OFFERABLE)
@given(st.data())
def test_request_with_anything_in_it_is_offered_tools_and_restored_without_raising(
    scenario: Scenario, data: st.DataObject
) -> None:
    value = decode(scenario.read("request.json"))
    value["tools"] = [{"name": "a", "type": "function", "function": {"name": "b"}}]
    value["tool_choice"] = {"type": "auto"}
    asked = data.draw(mutated(value).filter(lambda drawn: isinstance(drawn, dict)))
    try_everything(scenario.api, asked)


FIELDS = (
    "tools", "tool_choice", "messages", "input", "n", "functions", "background", "generate",
    "previous_response_id", "conversation", "store",
)  # fmt: skip


@offering
@thorough
@given(objects_with(FIELDS))
def test_any_json_in_every_field_of_a_request_never_raises(api: str, asked: dict[str, Any]) -> None:
    try_everything(api, asked)


roles = st.sampled_from(["user", "assistant", "system", "tool", None, 7])
kinds = st.sampled_from(["message", "reasoning", "function_call", "function_call_output", None])
blocks = st.lists(
    st.fixed_dictionaries(
        {"type": st.sampled_from(["text", "tool_use", "tool_result", "output_text"])},
        optional={"text": json_values, "id": json_values, "cache_control": json_values},
    ),
    max_size=3,
)
conversations = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "role": roles,
            "type": kinds,
            "content": st.sampled_from(["a", ""]) | blocks | json_values,
            "tool_calls": blocks | json_values,
            "call_id": st.sampled_from(["a", "b"]) | json_values,
        },
    ),
    max_size=5,
)


@offering
@thorough
@given(conversations, st.sampled_from([None, "resp_1"]))
def test_any_conversation_is_restored_without_raising(
    api: str, conversation: list[Any], previous: str | None
) -> None:
    asked = {"messages": conversation, "input": conversation, "previous_response_id": previous}
    try_everything(api, asked)


def try_everything(api: str, asked: dict[str, Any]) -> None:
    """Offer tools; restore with an entry for every run."""
    tool_format = tools_of(api)
    given = members(json.dumps(asked).encode())
    assert given is not None
    tool_format.inject(dict(given), TOOLS)
    runs, text_since = tool_format.transcript(given)
    assert isinstance(text_since, str)
    item = {"role": "assistant", "content": [{"type": "text", "text": "a"}]}
    whole = Restoration(sequence=(item, item), results=({"call_id": "c"},))
    alias = Restoration(sequence=("resp_2",))
    found = {run.key: alias if run.key.startswith("response:") else whole for run in runs}
    assert tool_format.restore(given, found) is bool(found)
    assert all(json.loads(bytes(value)) is not ... for value in given.values())


@offering
@pytest.mark.parametrize("broken", [b"1" * 5000, b'"\xff"'], ids=["a huge number", "no UTF-8"])
def test_undecodable_part_of_a_request_is_unchanged(api: str, broken: bytes) -> None:
    tool_format = tools_of(api)
    conversation = b'[{"role":"assistant","content":%b},{"role":"user","content":"a"}]' % broken
    given = members(
        b'{"tools":[{"name":%b}],"messages":%b,"input":%b}' % (broken, conversation, conversation)
    )
    assert given is not None
    tool_format.inject(dict(given), TOOLS)
    runs = tool_format.transcript(given).runs
    tool_format.restore(
        given, {run.key: Restoration(sequence=({"role": "assistant"},)) for run in runs}
    )


# Requests


@offering
def test_request_is_unchanged_if_no_tools_are_offered(api: str) -> None:
    given = request({"model": "m", "tools": []})
    before = dict(given)
    assert tools_of(api).inject(given, ()) == ()
    assert given == before


@apis
def test_tool_choice_none_of_the_client_is_unchanged(api: str) -> None:
    for choice in ("none", {"type": "none"}):
        given = request({"tools": [], "tool_choice": choice})
        before = dict(given)
        offered = tools_of(api).inject(given, TOOLS)
        if (api == "anthropic_messages") is isinstance(choice, dict):
            assert offered == ()
            assert given == before


@pytest.mark.parametrize("api", ["openai_chat", "openai_responses"])
def test_central_and_client_tools_together_stay_within_the_limit_of_openai(api: str) -> None:
    many = [tool(f"bmcp_s_{number:03}") for number in range(200)]
    own = [{"type": "function", "name": f"own{number}"} for number in range(100)]
    given = request({"tools": [*own, {"type": "web_search"}]})
    offered = tools_of(api).inject(given, many)
    assert offered == tuple(many[:27])
    assert len(elements(given["tools"])) == 128


@offering
@pytest.mark.parametrize("tools", ["weather", {"name": "weather"}, 5], ids=str)
def test_illegal_tools_of_the_client_are_left_for_the_provider_to_refuse(
    api: str, tools: Any
) -> None:
    given = request({"tools": tools})
    before = dict(given)
    assert tools_of(api).inject(given, [tool("bmcp_s_find")]) == ()
    assert given == before


@apis
def test_long_description_is_cut_where_openai_would_refuse_it(api: str) -> None:
    given = request({})
    tools_of(api).inject(given, [replace(tool("bmcp_s_find"), description="d" * 2000)])
    [definition] = decode(given["tools"])
    description = definition.get("function", definition)["description"]
    assert len(description) == (2000 if api == "anthropic_messages" else 1024)


ILLEGAL = ToolResult(
    parts=(
        ResultPart(kind="text", text="half \ud83d"),
        ResultPart(kind="image", data="A" * 30_000_000, media_type="image/png"),
        ResultPart(kind="image", data="PHN2Zy8+", media_type="image/svg+xml"),
        ResultPart(kind="image", data="AAAA", media_type="image/jpg"),
    )
)


@offering
def test_illegal_result_is_made_legal_for_the_api(api: str) -> None:
    call = InjectedCall(call_id="c", name="bmcp_s_find", arguments={})
    items = tools_of(api).result_items([(call, ILLEGAL)])
    sent = bytes(as_raw(items)).decode()
    assert "half \ufffd" in sent
    assert "svg+xml;base64" not in sent
    assert '"media_type":"image/svg+xml"' not in sent
    assert "image/jpg" not in sent or api in (
        "openai_chat",
        "ollama_chat",
    )
    assert len(sent) < 2000


@offering
def test_error_result_with_an_image_is_legal_for_the_api(api: str) -> None:
    call = InjectedCall(call_id="c", name="bmcp_s_find", arguments={})
    image = ResultPart(kind="image", data="AAAA", media_type="image/png")
    items = tools_of(api).result_items([(call, ToolResult(parts=(image,), is_error=True))])
    sent = bytes(as_raw(items)).decode()
    if api == "anthropic_messages":  # refuses anything but text in an error
        assert '"type":"image"' not in sent
        assert '"is_error":true' in sent
    else:
        assert "Error:" in sent


ASKING = [scenario for scenario in OFFERABLE if scenario.name != "warm_up"]


@every(ASKING)
def test_unedited_members_keep_their_spelling(scenario: Scenario) -> None:
    given = members(scenario.read("request.json"))
    assert given is not None
    before = dict(given)
    assert tools_of(scenario.api).inject(given, TOOLS) == TOOLS
    assert list(given) == [*before, *(["tools"] if "tools" not in before else [])]
    own = [bytes(own) for own in elements(before.get("tools"))]
    assert [bytes(t) for t in elements(given.pop("tools")) if bytes(t) in own] == own
    before.pop("tools", None)
    assert {k: bytes(v) for k, v in given.items()} == {k: bytes(v) for k, v in before.items()}


@offering
def test_tools_are_offered_in_a_stable_order(api: str) -> None:
    tools = tuple(tool(f"bmcp_s_{number}") for number in "cab")
    offers = []
    for _ in range(2):
        given = request({"model": "m"})
        assert tools_of(api).inject(given, tools) == tools
        offers.append(bytes(given["tools"]))
    assert offers[0] == offers[1]
    names = [json.dumps(t).split("bmcp_s_")[1][0] for t in json.loads(offers[0])]
    assert "".join(names) == "cab"


SCHEMA = {
    "$defs": {"place": {"type": "object", "properties": {"name": {"type": "string"}}}},
    "properties": {"at": {"$ref": "#/$defs/place"}},
    "required": ["at"],
    "additionalProperties": False,
    "x-of-ours": [1, 2.5, None, "é"],
}


@offering
def test_complete_schema_is_offered(api: str) -> None:
    given = request({"model": "m"})
    tools_of(api).inject(given, (tool("bmcp_s_look", **SCHEMA),))
    [offered] = json.loads(bytes(given["tools"]))
    definition = offered.get("function", offered)
    assert definition["name"] == "bmcp_s_look"
    assert definition["description"] == "Does bmcp_s_look."
    schema = definition.get("parameters") or definition.get("input_schema")
    assert schema == {"type": "object", **SCHEMA}


@offering
def test_request_without_responses_is_not_restored(api: str) -> None:
    conversation = [{"role": "user", "content": "hi"}]
    for asked in ({}, {"messages": conversation, "input": conversation}, {"input": "hi"}):
        given = request(asked)
        assert tools_of(api).transcript(given).runs == []
        assert not tools_of(api).restore(given, {})


# Errors and signs of life


@apis
def test_error_of_the_proxy_is_a_single_event_that_the_reader_knows(api: str) -> None:
    facts = FORMATS[api].reader()
    for event in parse(
        [tools_of(api).splicer(NAMES).error(StreamError(message="No – not “now”."))]
    ):
        facts.feed(event)
    error = facts.facts().error
    assert error is not None
    assert error.message == "No – not “now”."


@apis
def test_error_of_the_proxy_is_an_error_to_the_sdk(api: str) -> None:
    start = parse([Scenario(api=api, name="text").stream()])[0].raw
    with pytest.raises(Exception, match=r"not now|Didn't receive") as raised:
        sdk_sees(api, start + tools_of(api).splicer(NAMES).error(StreamError(message="not now")))
    if api != "openai_responses":  # there, an error is an event like others
        assert isinstance(raised.value, anthropic.APIError | openai.APIError)


@apis
def test_ping_changes_no_facts(api: str) -> None:
    ping = tools_of(api).splicer(NAMES).ping()
    [event] = parse([ping])
    assert ping.endswith(b"\n\n")
    reader = FORMATS[api].reader()
    reader.feed(event)
    assert reader.facts() == FORMATS[api].reader().facts()


# Keys


def test_run_key_is_the_first_client_call_or_a_digest_of_the_text() -> None:
    assert run_key(["a", "b"], "x", "y") == run_key(["a"], "z", "z") == "call:a"
    key = run_key([], "Where?", "There.")
    assert key == run_key([], " Where?\n", "There.\n")
    others = [
        run_key([], "Where?", "Here."),
        run_key([], "What?", "There."),
        run_key([], "", "Where?There."),
        run_key([], "Where?There.", ""),
        run_key([], "There.", "Where?"),
    ]
    assert len({key, *others}) == 6


def test_transcript_keys_each_response_by_the_text_before_it() -> None:
    first = PastResponse(start=1, end=2, client_calls=(), text="There.")
    second = PastResponse(start=4, end=7, client_calls=(), text="")
    third = PastResponse(start=7, end=8, client_calls=("c",), text="Look.")

    assert build_transcript(["Where?", first, "a", "b", second, third, "d", "e"]) == Transcript(
        runs=[
            Run(start=1, end=2, key=run_key([], "Where?", "There.")),
            Run(start=4, end=7, key=run_key([], "a\nb", "")),
            Run(start=7, end=8, key="call:c"),
        ],
        text_since="d\ne",
    )


REFUSALS = [
    (429, "rate_limit_error", "Slow down."),
    (529, "overloaded_error", "Overloaded"),
    (400, "invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum"),
]


@apis
@pytest.mark.parametrize(("status", "kind", "message"), REFUSALS)
def test_error_of_the_provider_keeps_its_type_in_the_stream(
    api: str, status: int, kind: str, message: str
) -> None:
    error = {"type": kind, "message": message, "code": None, "param": "input"}
    body = {"type": "error", "error": error, "request_id": "req_1"}
    given = StreamError(message=message, error_type=kind, http_status=status, body=body)
    [value] = values(tools_of(api).splicer(NAMES).error(given))
    if api == "openai_responses":
        assert (value["code"], value["message"], value["param"]) == (kind, message, "input")
    else:
        assert value == body


@apis
@pytest.mark.parametrize(
    ("status", "kinds"),
    [
        (429, {"rate_limit_error"}),
        (529, {"overloaded_error", "server_error"}),
        (400, {"invalid_request_error"}),
        (502, {"api_error", "server_error"}),
        (None, {"api_error", "server_error"}),
    ],
)
def test_error_without_a_type_gets_the_type_of_its_status_in_the_stream(
    api: str, status: int | None, kinds: set[str]
) -> None:
    given = StreamError(message="<html>", http_status=status)
    [value] = values(tools_of(api).splicer(NAMES).error(given))
    kind = value["code"] if api == "openai_responses" else value["error"]["type"]
    assert kind in kinds
