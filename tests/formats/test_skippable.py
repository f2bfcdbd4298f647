"""Events that are passed over: never one of which something is recorded, and most of a stream."""

import json
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from aibridge_addon.facts import ResponseFacts
from aibridge_addon.formats import FORMATS, Format, Reader
from aibridge_addon.formats.decoders.sse import SSEParser
from formats.any_json import json_values, mutated, pieces
from formats.helpers import STREAMS, Scenario, every, parse, sse, thorough

ANTHROPIC = {
    "type": "content_block_delta",
    "index": 0,
    "delta": {"type": "text_delta", "text": "a piece"},
}
CHAT = {
    "id": "chatcmpl-1",
    "object": "chat.completion.chunk",
    "created": 1790000000,
    "model": "gpt-5.2",
    "service_tier": "default",
    "choices": [
        {
            "index": 0,
            "delta": {"role": "assistant", "content": "a piece", "tool_calls": []},
            "logprobs": None,
            "finish_reason": None,
        }
    ],
    "usage": None,
    "obfuscation": "x1",
}
RESPONSES = {
    "type": "response.output_text.delta",
    "content_index": 0,
    "delta": "a piece",
    "item_id": "msg_1",
    "logprobs": [],
    "output_index": 0,
    "sequence_number": 4,
}
TEXT = {"anthropic_messages": ANTHROPIC, "openai_chat": CHAT, "openai_responses": RESPONSES}
BEGINNINGS: dict[str, Any] = {
    "anthropic_messages": [
        {"type": "message_start", "message": {"id": "msg_1", "model": "claude"}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking"}},
        {
            "type": "content_block_start",
            "index": 1,
            "content_block": {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}},
        },
    ],
    "openai_chat": [CHAT],
    "openai_responses": [
        {"type": "response.created", "response": {"id": "resp_1", "model": "gpt-5.2"}},
        {
            "type": "response.output_item.added",
            "output_index": 0,
            "item": {"type": "function_call", "call_id": "call_1", "name": "f"},
        },
    ],
}
WRITINGS: tuple[dict[str, Any], ...] = (
    {"separators": (",", ":")},
    {"separators": (", ", ": ")},
    {"separators": (",", ":"), "ensure_ascii": False},
    {"separators": (",", ":"), "indent": 1},
)

apis = pytest.mark.parametrize("api", ["anthropic_messages", "openai_chat", "openai_responses"])


def begun(wire_format: Format) -> Reader:
    """A reader in the middle of an answer."""
    reader = wire_format.reader()
    for event in parse([sse(*BEGINNINGS[wire_format.name])]):
        reader.feed(event)
    return reader


def event_of(data: bytes, name: bytes = b"") -> bytes:
    return (b"event: %b\n" % name if name else b"") + b"data: %b\n\n" % data


def is_passed_over(api: str, data: Any) -> bool:
    encoded = data if isinstance(data, bytes) else json.dumps(data).encode()
    pattern = begun(FORMATS[api]).skippable
    return pattern is not None and pattern.fullmatch(event_of(encoded)) is not None


def facts_of(
    wire_format: Format, chunks: Iterable[bytes], *, passing_over: bool
) -> tuple[ResponseFacts, int]:
    """Return the facts of a stream, and the number of events that its reader was fed."""
    reader, parser, fed = wire_format.reader(), SSEParser(), 0
    for chunk in chunks:
        for event in parser.feed(chunk, reader.skippable if passing_over else None):
            if not event.is_run:
                reader.feed(event)
                fed += 1
    if rest := parser.close():
        reader.feed(rest)
    return reader.facts(), fed


# What is passed over


@pytest.mark.parametrize("writing", WRITINGS[:3], ids=str)
@apis
def test_text_deltas_are_skipped(api: str, writing: dict[str, Any]) -> None:
    for piece in (
        "a piece",
        "",
        "}}\n\ndata: {",
        'a "quoted" \\ piece',
        "zażółć 🙂",
        "\x00\x1f\ud83d",
    ):
        data = json.loads(json.dumps(TEXT[api]).replace('"a piece"', json.dumps(piece)))
        if "\ud83d" in piece and not writing.get("ensure_ascii", True):
            continue  # that is no bytes
        assert is_passed_over(api, json.dumps(data, **writing).encode())


@pytest.mark.parametrize("name", [b"", b"content_block_delta", b"response.output_text.delta"])
@apis
def test_run_of_text_events_is_skipped_at_once_with_any_event_names(api: str, name: bytes) -> None:
    run = event_of(json.dumps(TEXT[api]).encode(), name) * 20
    events = SSEParser().feed(run + b"data: after\n\n", begun(FORMATS[api]).skippable)
    assert [event.is_run for event in events] == [True, False]


def test_text_deltas_of_anthropic_with_padding_are_skipped() -> None:
    assert is_passed_over(
        "anthropic_messages",
        b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hi"}     }',
    )


@pytest.mark.parametrize("kind", ["reasoning_summary_text", "reasoning_text"])
def test_deltas_of_items_that_follow_complete_are_skipped(kind: str) -> None:
    assert is_passed_over("openai_responses", {**RESPONSES, "type": f"response.{kind}.delta"})


def test_text_chunks_of_other_chat_hosts_are_skipped() -> None:
    choice: dict[str, Any] = {
        "index": 0,
        "finish_reason": None,
        "native_finish_reason": None,
        "delta": {},
    }
    for delta in (
        {"content": "a piece"},
        {"role": "assistant", "content": "a piece", "reasoning": None, "refusal": None},
    ):
        chunk = {"choices": [{**choice, "delta": delta}], "created": 1, "id": "x", "model": "m"}
        assert is_passed_over("openai_chat", chunk)


def test_no_chat_chunk_is_skipped_before_id_and_model_are_known() -> None:
    reader = FORMATS["openai_chat"].reader()
    assert reader.skippable is None
    for chunk in ({**CHAT, "id": ""}, {**CHAT, "model": ""}):
        reader.feed(parse([sse(chunk)])[0])
    assert reader.skippable is not None
    assert (reader.facts().response_id, reader.facts().model) == ("chatcmpl-1", "gpt-5.2")


# What is not


def chunk_with(**changes: Any) -> dict[str, Any]:
    return {**CHAT, **changes}


def choice_with(**changes: Any) -> dict[str, Any]:
    return {**CHAT, "choices": [{**CHAT["choices"][0], **changes}]}  # type: ignore[index]


def delta_with(**changes: Any) -> dict[str, Any]:
    return choice_with(delta={"content": "a piece", **changes})


@pytest.mark.parametrize(
    ("api", "data"),
    [
        ("anthropic_messages", {**ANTHROPIC, "type": "message_delta"}),
        ("anthropic_messages", {**ANTHROPIC, "delta": {"type": "thinking_delta", "thinking": ""}}),
        (
            "anthropic_messages",
            {**ANTHROPIC, "delta": {"type": "input_json_delta", "partial_json": '"text_delta'}},
        ),
        ("anthropic_messages", {**ANTHROPIC, "usage": {"output_tokens": 3}}),
        ("openai_chat", chunk_with(usage={"prompt_tokens": 1, "completion_tokens": 1})),
        ("openai_chat", chunk_with(x_groq={"usage": {"prompt_tokens": 1}})),
        ("openai_chat", chunk_with(error="out of order")),
        ("openai_chat", chunk_with(choices=[])),
        ("openai_chat", choice_with(finish_reason="stop")),
        ("openai_chat", choice_with(usage={"prompt_tokens": 1, "completion_tokens": 1})),
        ("openai_chat", delta_with(reasoning="hm")),
        ("openai_chat", delta_with(reasoning_content="hm")),
        ("openai_chat", delta_with(tool_calls=[{"index": 0, "function": {"name": "f"}}])),
        ("openai_chat", delta_with(tool_calls="f")),
        ("openai_chat", delta_with(function_call={"name": "f"})),
        ("openai_chat", delta_with(function_call="f")),
        ("openai_responses", {**RESPONSES, "type": "response.function_call_arguments.delta"}),
        ("openai_responses", {**RESPONSES, "type": "response.output_text.delta.new"}),
        ("openai_responses", {"sequence_number": 1, "type": "response.completed"}),
    ],
)
def test_events_with_recorded_content_are_not_skipped(api: str, data: Any) -> None:
    assert not is_passed_over(api, data)


@pytest.mark.parametrize(
    ("api", "more"),
    [
        ("anthropic_messages", b'"type":"error"'),
        ("anthropic_messages", b'"\\u0074ype":"error"'),
        ("openai_chat", b'"error":"too late"'),
        ("openai_chat", b'"\\u0065rror":"too late"'),
        ("openai_responses", b'"type":"error"'),
        ("openai_responses", b'"\\u0074ype":"error"'),
    ],
)
def test_repeated_member_name_is_not_skipped(api: str, more: bytes) -> None:
    data = json.dumps(TEXT[api]).encode()
    assert is_passed_over(api, data)
    assert not is_passed_over(api, data[:-1] + b"," + more + b"}")


@pytest.mark.parametrize(
    "broken",
    [
        lambda data: data[:-1],
        lambda data: data.replace(b"a piece", b"a \\x piece"),
        lambda data: data.replace(b"a piece", b"a \\u12 piece"),
        lambda data: data.replace(b"a piece", b"a \t piece"),
        lambda data: data.replace(b"a piece", b'a " piece'),
        lambda data: data.replace(b'": 0', b'": 00'),
        lambda data: data.replace(b", ", b",, ", 1),
        lambda data: data + b"}",
        lambda data: b"\xef\xbb\xbf" + data,
    ],
)
@apis
def test_broken_events_are_not_skipped(api: str, broken: Any) -> None:
    data = json.dumps(TEXT[api]).encode()
    changed = broken(data)
    assert changed != data
    assert not is_passed_over(api, changed)


@pytest.mark.parametrize("line_end", [b"\r\n", b"\r"])
@apis
def test_only_events_with_lf_line_ends_are_skipped(api: str, line_end: bytes) -> None:
    event = event_of(json.dumps(TEXT[api]).encode()).replace(b"\n", line_end)
    assert len(SSEParser().feed(event, begun(FORMATS[api]).skippable)) == 1


def test_rest_of_an_event_is_not_skipped_as_an_event() -> None:
    parser, unwanted = SSEParser(), begun(FORMATS["anthropic_messages"]).skippable
    run = event_of(json.dumps(ANTHROPIC).encode())
    assert parser.feed(b"data: more\n", unwanted) == []
    (event,) = parser.feed(run, unwanted)
    assert event.raw == b"data: more\n" + run


@apis
def test_run_in_the_middle_of_a_chunk_becomes_one_event_without_data(api: str) -> None:
    run = event_of(json.dumps(TEXT[api]).encode()) * 3
    first, last = b"data: first\n\n", b"data: last\n\n"
    events = SSEParser().feed(first + run + last + run, begun(FORMATS[api]).skippable)
    assert [event.raw for event in events] == [first, run, last, run]
    assert [event.data for event in events] == [b"first", None, b"last", None]


# Whatever comes


SMALL_VALUES = [
    *(None, True, False, 0, 1, 3.5, "", "a", "stop"),
    *([], {}, [1], {"a": 1}, "response.completed"),
]
NAMES = [
    *("type", "id", "model", "index", "delta", "text", "item", "output_index", "new"),
    *("error", "usage", "x_groq", "choices", "finish_reason"),
    *("reasoning", "tool_calls", "function_call"),
]


@st.composite
def with_more(draw: st.DrawFn, value: Any) -> Any:
    """The value with members added or replaced, anywhere."""
    if isinstance(value, list):
        return [draw(with_more(element)) for element in value]
    if not isinstance(value, dict):
        return value
    changed = {name: draw(with_more(member)) for name, member in value.items()}
    for name in draw(st.lists(st.sampled_from(NAMES), max_size=1)):
        changed[name] = draw(st.sampled_from(SMALL_VALUES) | json_values)
    order = draw(st.permutations(list(changed)) | st.just(list(changed)))
    return {name: changed[name] for name in order}


@st.composite
def near_a_text_delta(draw: st.DrawFn, api: str) -> bytes:
    """The data of an event that is a piece of text, or nearly."""
    value = draw(with_more(TEXT[api]) | mutated(TEXT[api]) | st.just(TEXT[api]))
    try:
        data = bytearray(json.dumps(value, **draw(st.sampled_from(WRITINGS))).encode())
    except UnicodeEncodeError:
        assume(False)
    for at in draw(st.lists(st.integers(0, len(data) - 1), max_size=2)):
        data[at : at + 1] = draw(
            st.sampled_from([b"", b'"', b"}", b"\\", b",", b"0", b" ", b"\xff"])
        )
    return bytes(data).replace(b"\n", b"")


@thorough
@given(st.data())
@apis
def test_skipped_event_would_not_have_changed_any_fact(api: str, data: st.DataObject) -> None:
    given_data = data.draw(near_a_text_delta(api))
    reader = begun(FORMATS[api])
    assert reader.skippable
    if not reader.skippable.fullmatch(event_of(given_data)):
        return
    try:
        given_data.decode()
    except UnicodeDecodeError:
        return  # the one thing that is no longer counted as unreadable
    before = (reader.facts(), reader.ended)

    reader.feed(parse([event_of(given_data)])[0])

    assert (reader.facts(), reader.ended) == before


@every(STREAMS)
@given(st.data())
def test_any_split_of_a_stream_gives_the_same_facts(
    scenario: Scenario, data: st.DataObject
) -> None:
    chunks = data.draw(pieces(scenario.stream()))

    facts, _ = facts_of(scenario.wire_format, chunks, passing_over=True)

    assert facts == scenario.response_facts()


@example(chunks=1)
@given(chunks=st.integers(1, 30))
@apis
def test_most_events_of_a_text_stream_are_skipped(api: str, chunks: int) -> None:
    text = event_of(json.dumps(TEXT[api]).encode())
    stream = [sse(*BEGINNINGS[api]), *[text * 10] * chunks, b"data: {}\n\n"]

    facts, fed = facts_of(FORMATS[api], stream, passing_over=True)
    expected, fed_before = facts_of(FORMATS[api], stream, passing_over=False)

    assert facts == expected
    assert fed == fed_before - 10 * chunks == len(BEGINNINGS[api]) + 1
