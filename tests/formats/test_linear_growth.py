"""Work grows no faster than what a provider or a client sends: steps are counted, not seconds.

A step is an instruction of Python. Objects that are compared by identity count theirs, so that a
search through a list of them shows.
"""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from aibridge_addon.formats import FORMATS
from aibridge_addon.formats.decoders.sse import SSEParser
from aibridge_addon.formats.openai_chat.streamed_call import StreamedCall
from aibridge_addon.formats.tool_protocol import InjectedCall, Members, Restoration, Turn
from aibridge_addon.raw_json import members, pairs
from formats.helpers import read_request, read_stream, sse, tools_of
from formats.inner_loop import NAMES, apis, merge, request, result, splice

FEW, MANY = 100, 400
TOOL = sys.monitoring.OPTIMIZER_ID
CENTRAL = min(NAMES)

type Names = Callable[[int], str]
"""From the number of a call to the name of its tool."""

NAMINGS: dict[str, Names] = {
    "client": lambda n: "Bash",
    "central": lambda n: CENTRAL,
    "client-then-central": lambda n: "Bash" if n % FEW < FEW // 2 else CENTRAL,
    "alternating": lambda n: (CENTRAL, "Bash")[n % 2],
}
namings = pytest.mark.parametrize("name", NAMINGS.values(), ids=NAMINGS)


@contextmanager
def counted() -> Iterator[list[int]]:
    steps = [0]

    def step(code: Any, offset: int) -> None:
        steps[0] += 1

    sys.monitoring.use_tool_id(TOOL, "steps")
    try:
        sys.monitoring.register_callback(TOOL, sys.monitoring.events.INSTRUCTION, step)
        sys.monitoring.set_events(TOOL, sys.monitoring.events.INSTRUCTION)
        yield steps
    finally:
        sys.monitoring.set_events(TOOL, 0)
        sys.monitoring.free_tool_id(TOOL)


def assert_linear[T](make: Callable[[int], T], work: Callable[[T], object]) -> None:
    """Assert that four times the input takes no more than four times the steps, and a little."""
    taken = []
    for size in (FEW, MANY):
        given = make(size)
        with counted() as steps:
            work(given)
        taken.append(steps[0])
    assert taken[1] < taken[0] * MANY / FEW * 1.15, taken


@pytest.fixture(autouse=True)
def comparisons_count(monkeypatch: pytest.MonkeyPatch) -> None:
    def is_same(one: object, other: object) -> bool:
        return one is other

    monkeypatch.setattr(StreamedCall, "__eq__", is_same)
    monkeypatch.setattr(StreamedCall, "__hash__", object.__hash__)


# Answers that call tools


def messages_stream(count: int, name: Names) -> bytes:
    events: list[Any] = [{"type": "message_start", "message": {"id": "m", "usage": {}}}]
    for n in range(count):
        block = {"type": "tool_use", "id": f"c{n}", "name": name(n), "input": {}}
        delta = {"type": "input_json_delta", "partial_json": "{}"}
        events += [
            {"type": "content_block_start", "index": n, "content_block": block},
            {"type": "content_block_delta", "index": n, "delta": delta},
            {"type": "content_block_stop", "index": n},
            {"type": "message_delta", "delta": {}, "usage": {"output_tokens": n}},
        ]
    events.append({"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {}})
    return sse(*events, {"type": "message_stop"})


def chat_stream(count: int, name: Names) -> bytes:
    calls = [
        {"index": n, "id": f"c{n}", "function": {"name": name(n), "arguments": "{}"}, "note": n}
        for n in range(count)
    ]
    deltas: list[Any] = [{"tool_calls": [call]} for call in calls]
    deltas += [{"tool_calls": [{"index": n, "function": {}}]} for n in range(count)]
    deltas.append({"tool_calls": calls})
    chunks = [{"id": "r", "choices": [{"delta": delta}]} for delta in deltas]
    chunks.append({"id": "r", "choices": [{"delta": {}, "finish_reason": "tool_calls"}]})
    return sse(*chunks) + b"data: [DONE]\n\n"


def responses_stream(count: int, name: Names) -> bytes:
    events: list[Any] = [{"type": "response.created", "response": {"id": "r"}}]
    for n in range(count):
        call = {"type": "function_call", "id": f"i{n}", "call_id": f"c{n}", "name": name(n)}
        delta = "response.function_call_arguments.delta"
        events += [
            {"type": "response.output_item.added", "output_index": n, "item": call},
            {"type": delta, "output_index": n, "item_id": f"i{n}", "delta": "{}"},
            {"type": delta, "item_id": f"i{n}", "delta": "{}"},
            {
                "type": "response.output_item.done",
                "output_index": n,
                "item": {**call, "arguments": "{}"},
            },
            {"type": "response.in_progress", "response": {f"m{n}": 1}},
        ]
    events.append({"type": "response.completed", "response": {"id": "r", "status": "completed"}})
    return sse(*({**event, "sequence_number": n} for n, event in enumerate(events)))


STREAMS = {
    "anthropic_messages": messages_stream,
    "openai_chat": chat_stream,
    "openai_responses": responses_stream,
}


def whole_answer(api: str, count: int, name: Names) -> Any:
    if api == "openai_chat":
        calls = [
            {"id": f"c{n}", "function": {"name": name(n), "arguments": "{}"}} for n in range(count)
        ]
        return {"choices": [{"message": {"tool_calls": calls}, "finish_reason": "tool_calls"}]}
    calls = [
        {
            "type": "tool_use" if api == "anthropic_messages" else "function_call",
            "id": f"c{n}",
            "call_id": f"c{n}",
            "name": name(n),
            "input": {},
            "arguments": "{}",
        }
        for n in range(count)
    ]
    if api == "anthropic_messages":
        return {"type": "message", "content": calls, "stop_reason": "tool_use"}
    return {"object": "response", "output": calls, "status": "completed"}


@apis
@namings
def test_splicing_a_stream_takes_linear_steps(api: str, name: Names) -> None:
    assert_linear(lambda n: [STREAMS[api](n, name)], lambda stream: splice(api, stream))


@apis
@namings
def test_splicing_a_further_stream_takes_linear_steps(api: str, name: Names) -> None:
    assert_linear(
        lambda n: [STREAMS[api](1, NAMINGS["central"]), STREAMS[api](n, name)],
        lambda streams: splice(api, streams),
    )


@apis
def test_reading_a_stream_takes_linear_steps(api: str) -> None:
    assert_linear(
        lambda n: STREAMS[api](n, NAMINGS["client"]),
        lambda stream: read_stream(FORMATS[api], [stream]),
    )


@apis
@namings
def test_merging_buffered_responses_takes_linear_steps(api: str, name: Names) -> None:
    assert_linear(lambda n: [whole_answer(api, n, name)], lambda answers: merge(api, answers))


@apis
def test_reading_a_buffered_response_takes_linear_steps(api: str) -> None:
    assert_linear(
        lambda n: json.dumps(whole_answer(api, n, NAMINGS["client"])).encode(),
        FORMATS[api].read_whole,
    )


# Requests


def conversation(api: str, count: int, *, call_id: Callable[[int], str]) -> Members:
    """Return a request whose every answer called a tool of the client, with its results."""
    turns: list[Any] = []
    for n in range(count):
        call = call_id(n)
        if api == "anthropic_messages":
            use = {"type": "tool_use", "id": call, "name": "Bash", "input": {}}
            gets = {"type": "tool_result", "tool_use_id": call, "content": "ok"}
            turns += [{"role": "assistant", "content": [use]}, {"role": "user", "content": [gets]}]
        elif api == "openai_chat":
            use = {"id": call, "function": {"name": "Bash", "arguments": "{}"}}
            turns += [
                {"role": "assistant", "tool_calls": [use]},
                {"role": "tool", "tool_call_id": call, "content": "ok"},
            ]
        else:
            turns += [
                {"type": "function_call", "call_id": call, "name": "Bash", "arguments": "{}"},
                {"type": "function_call_output", "call_id": call, "output": "ok"},
            ]
    return request({"model": "m", "input" if api == "openai_responses" else "messages": turns})


def only_results(api: str, count: int, *, call_id: Callable[[int], str]) -> Members:
    """Return a request that brings results of one answer."""
    ids = [call_id(n) for n in range(count)]
    if api == "anthropic_messages":
        uses = [{"type": "tool_use", "id": i, "name": "Bash", "input": {}} for i in ids]
        gets = [{"type": "tool_result", "tool_use_id": i, "content": "ok"} for i in ids]
        turns: list[Any] = [
            {"role": "assistant", "content": uses},
            {"role": "user", "content": gets},
        ]
    elif api == "openai_chat":
        turns = [{"role": "assistant", "tool_calls": [{"id": i} for i in ids]}]
        turns += [{"role": "tool", "tool_call_id": i, "content": "ok"} for i in ids]
    else:
        turns = [{"type": "function_call_output", "call_id": i, "output": "ok"} for i in ids]
    return request({"model": "m", "input" if api == "openai_responses" else "messages": turns})


def distinct(n: int) -> str:
    return f"c{n}"


def repeated(n: int) -> str:
    return "c"


REQUESTS = [conversation, only_results]
requests = pytest.mark.parametrize("asked", REQUESTS)
call_ids = pytest.mark.parametrize("call_id", [distinct, repeated])


def hidden_beside(api: str, call: str, count: int) -> Restoration:
    """Return what hides so many calls beside a call of the client."""
    calls = [InjectedCall(call_id=f"h{n}", name=CENTRAL, arguments={}) for n in range(count)]
    tool_format = tools_of(api)
    results = tool_format.result_items([(call, result()) for call in calls])
    [*turns] = conversation(api, 1, call_id=lambda n: call).values()
    first = json.loads(bytes(turns[-1]))[:1]
    return Restoration(sequence=tuple(first), results=tuple(results))


@apis
@requests
@call_ids
def test_finding_responses_in_a_request_takes_linear_steps(
    api: str, asked: Callable[..., Members], call_id: Callable[[int], str]
) -> None:
    assert_linear(lambda n: asked(api, n, call_id=call_id), tools_of(api).transcript)


@apis
@requests
@call_ids
def test_putting_hidden_turns_back_takes_linear_steps(
    api: str, asked: Callable[..., Members], call_id: Callable[[int], str]
) -> None:
    def make(n: int) -> tuple[Members, dict[str, Restoration]]:
        keys = {f"call:{call_id(i)}": call_id(i) for i in range(n)}
        size = 1 if call_id is distinct else n
        return asked(api, n, call_id=call_id), {
            key: hidden_beside(api, call, size) for key, call in keys.items()
        }

    assert_linear(make, lambda given: tools_of(api).restore(*given))


@apis
@requests
def test_repeated_call_id_does_not_multiply_what_is_put_back(
    api: str, asked: Callable[..., Members]
) -> None:
    restored = asked(api, 10, call_id=repeated)
    assert tools_of(api).restore(restored, {"call:c": hidden_beside(api, "c", 3)})
    body = b"".join(map(bytes, restored.values()))
    assert body.count(b'"h0"') == 1


@apis
def test_reading_a_request_takes_linear_steps(api: str) -> None:
    assert_linear(
        lambda n: {"input" if api == "openai_responses" else "messages": [
            {"role": "user", "content": "word"} for _ in range(n)
        ]},
        lambda asked: read_request(FORMATS[api], asked),
    )  # fmt: skip


@apis
def test_continuing_with_many_results_takes_linear_steps(api: str) -> None:
    tool_format = tools_of(api)

    def work(results: list[Any]) -> None:
        items = tool_format.result_items(results)
        asked = conversation(api, 1, call_id=distinct)
        tool_format.continue_request(asked, Turn(items=({"role": "assistant"},)), items, last=False)

    assert_linear(
        lambda n: [
            (InjectedCall(call_id=f"c{i}", name=CENTRAL, arguments={}), result()) for i in range(n)
        ],
        work,
    )


@pytest.mark.parametrize("split", [members, pairs])
@pytest.mark.parametrize("value", ["1", '"\\ud800"'], ids=["plain", "half-surrogate"])
def test_splitting_an_object_with_repeated_member_names_takes_linear_steps(
    split: Callable[[bytes], Any], value: str
) -> None:
    assert_linear(
        lambda n: b"{%b}" % b",".join([f'"model": {value}'.encode()] * n),
        lambda data: [len(str(part)) for part in split(data) or ()],
    )


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("cut", [1, 7, 1_000_000])
def test_parsing_an_event_of_many_data_lines_takes_linear_steps(line_end: bytes, cut: int) -> None:
    def parse(stream: bytes) -> None:
        parser = SSEParser()
        for start in range(0, len(stream), cut):
            parser.feed(stream[start : start + cut])

    assert_linear(lambda n: b"data: x%b" % line_end * n + line_end, parse)


# Streams in which nothing is hidden


def gapped_messages() -> bytes:
    events: list[Any] = [{"type": "message_start", "message": {"id": "m", "usage": {}}}]
    for n in (3, 7, 5):
        block = {"type": "text", "text": ""}
        events += [
            {"type": "content_block_start", "index": n, "content_block": block},
            {
                "type": "content_block_delta",
                "index": n,
                "delta": {"type": "text_delta", "text": "x"},
            },
            {"type": "content_block_stop", "index": n},
        ]
    events.append({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {}})
    return sse(*events, {"type": "message_stop"})


def gapped_chat() -> bytes:
    calls = [{"index": n, "id": f"c{n}", "function": {"name": "Bash"}} for n in (3, 7, 5)]
    chunks: list[Any] = [{"choices": [{"delta": {"tool_calls": [call]}}]} for call in calls]
    chunks += [{"choices": [{"delta": {}, "finish_reason": "tool_calls"}]}]
    return sse(*chunks) + b"data: [DONE]\n\n"


def gapped_responses() -> bytes:
    items = [
        {
            "type": "response.output_item.done",
            "output_index": n,
            "sequence_number": 10 * n,
            "item": {"type": "function_call", "call_id": f"c{n}", "name": "Bash"},
        }
        for n in (3, 7, 5)
    ]
    return sse(*items, {"type": "response.completed", "response": {"id": "r", "usage": {}}})


GAPPED = {
    "anthropic_messages": gapped_messages,
    "openai_chat": gapped_chat,
    "openai_responses": gapped_responses,
}


@apis
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
def test_stream_in_which_nothing_is_hidden_keeps_its_gapped_indexes(
    api: str, line_end: bytes
) -> None:
    stream = GAPPED[api]().replace(b"\n", line_end)
    assert splice(api, [stream]).stream == stream


def interaction_stream(count: int) -> bytes:
    events: list[Any] = []
    for n in range(count):
        step = {"type": "function_call", "id": f"c{n}", "name": "Bash", "arguments": {}}
        delta = {"type": "arguments_delta", "arguments": "{}"}
        usage = {"total_usage": {"total_input_tokens": 7, "total_output_tokens": n}}
        events += [
            {"event_type": "step.start", "index": n, "step": step},
            {"event_type": "step.delta", "index": n, "delta": delta, "metadata": usage},
            {"event_type": "step.stop", "index": n},
        ]
    return sse(*events)


def test_steps_of_an_interaction_are_read_in_linear_time() -> None:
    wire_format = FORMATS["gemini_interactions"]
    assert_linear(interaction_stream, lambda stream: read_stream(wire_format, [stream]))
