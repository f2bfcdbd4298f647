"""Text deltas that are relayed unread while central tools are offered: nothing else changes."""

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aibridge_addon.formats import FORMATS
from aibridge_addon.formats.decoders.sse import SSEParser
from aibridge_addon.formats.text_runs import TextRuns
from aibridge_addon.formats.tool_protocol import Splicer
from aibridge_addon.raw_json import JSON
from aibridge_addon.relay.body_tap import BodyTap
from aibridge_addon.relay.response_reader import ReaderOptions
from formats.any_json import pieces
from formats.helpers import STREAMS, Scenario, every, parse, tools_of
from formats.inner_loop import feed
from formats.test_skippable import BEGINNINGS, TEXT, apis, event_of

OF_APIS_WITH_RUNS = [scenario for scenario in STREAMS if scenario.wire_format.name in TEXT]


def tap_of(api: str, splicer: Splicer | None = None, *, max_bytes: int = 10**6) -> BodyTap:
    options = ReaderOptions(
        wire_format=FORMATS[api],
        announces_stream=True,
        content_encoding="",
        max_bytes=max_bytes,
        keeps_content=True,
    )
    if splicer is None:
        return BodyTap("flow-1", "interception-1", options)
    return BodyTap(
        "flow-1", "interception-1", options, splice=splicer.feed, pass_text=splicer.pass_text
    )


def relayed(tap: BodyTap, chunks: list[bytes]) -> bytes:
    out = []
    for chunk in [*filter(None, chunks), b""]:  # the empty chunk is the end of the body
        out += tap(chunk)
        out += tap.release()
    return b"".join(out)


def relayed_ahead(tap: BodyTap, chunks: list[bytes]) -> bytes:
    """Relay chunks as the direct way does, which gives what is held to the usual way."""
    out = []
    for chunk in filter(None, chunks):
        passing = tap.read_ahead(chunk)
        out += tap(chunk) if passing is None else passing
        out += tap.release() if tap.held else []
    return b"".join([*out, *tap(b""), *tap.release()])


class CountingSplicer:
    """Counts what a splicer is fed."""

    def __init__(self, splicer: Splicer) -> None:
        self._splicer = splicer
        self.fed = 0
        self.pass_text = splicer.pass_text

    def feed(self, event: Any, data: JSON) -> bytes:
        self.fed += 1
        return self._splicer.feed(event, data)


@every(OF_APIS_WITH_RUNS)
@given(data=st.data())
def test_runs_of_text_deltas_change_nothing_for_client_and_turn(
    scenario: Scenario, data: st.DataObject
) -> None:
    api = scenario.wire_format.name
    called = sorted({call.tool for call in scenario.response_facts().tool_calls})
    names = frozenset(data.draw(st.sets(st.sampled_from(called)) if called else st.just(set())))
    expected, splicer = tools_of(api).splicer(names), tools_of(api).splicer(names)
    stream = scenario.stream()

    for number in range(2):
        if number:
            expected.resume()
            splicer.resume()
        out = relayed(tap_of(api, splicer), data.draw(pieces(stream)))
        assert out == b"".join(feed(api, expected, stream))
        assert splicer.turn() == expected.turn()
    assert splicer.finish() == expected.finish()


@every(OF_APIS_WITH_RUNS)
@given(data=st.data())
def test_stream_that_is_read_ahead_has_the_same_facts_and_content(
    scenario: Scenario, data: st.DataObject
) -> None:
    api, stream = scenario.wire_format.name, scenario.stream()
    whole_events = re.findall(rb"(?s).+?(?:\n\n|\Z)", stream)
    chunks = data.draw(st.one_of(st.just(whole_events), pieces(stream)))
    limit = data.draw(st.sampled_from([10**6, len(stream) // 2, len(stream)]))
    tap, usual = tap_of(api, max_bytes=limit), tap_of(api, max_bytes=limit)
    splicer = tools_of(api).splicer(frozenset())

    assert relayed_ahead(tap, chunks) == relayed(usual, chunks) == stream
    assert relayed_ahead(tap_of(api, splicer), chunks) == stream

    assert (tap.facts(), tap.content()) == (usual.facts(), usual.content())
    assert tap.read_error == usual.read_error


@apis
def test_run_is_not_fed_to_the_splicer_while_nothing_is_hidden(api: str) -> None:
    splicer = CountingSplicer(tools_of(api).splicer(frozenset()))
    beginning = b"".join(event_of(json.dumps(event).encode()) for event in BEGINNINGS[api])
    run = event_of(json.dumps(TEXT[api]).encode()) * 50

    out = relayed(tap_of(api, splicer), [beginning, run, run + b"data: {}\n\n" + run])  # type: ignore[arg-type]

    assert out == beginning + run + run + b"data: {}\n\n" + run
    assert splicer.fed == len(BEGINNINGS[api]) + 1


@apis
def test_run_after_a_hidden_call_is_spliced_event_by_event(api: str) -> None:
    names = frozenset({"hidden"})
    call = {
        "anthropic_messages": {
            "type": "content_block_start",
            "index": 2,
            "content_block": {"type": "tool_use", "id": "toolu_2", "name": "hidden", "input": {}},
        },
        "openai_chat": {
            **TEXT["openai_chat"],
            "choices": [
                {
                    "index": 0,
                    "delta": {"tool_calls": [{"index": 0, "function": {"name": "hidden"}}]},
                }
            ],
        },
        "openai_responses": {
            "type": "response.output_item.added",
            "output_index": 1,
            "sequence_number": 7,
            "item": {"type": "function_call", "call_id": "call_2", "name": "hidden"},
        },
    }[api]
    run = event_of(json.dumps(TEXT[api]).encode()) * 3
    stream = (
        b"".join(event_of(json.dumps(event).encode()) for event in [*BEGINNINGS[api]])
        + run
        + event_of(json.dumps(call).encode())
        + run
    )
    expected, splicer = tools_of(api).splicer(names), tools_of(api).splicer(names)

    out = relayed(tap_of(api, splicer), [stream])

    assert out == b"".join(feed(api, expected, stream))
    assert splicer.turn() == expected.turn()


@apis
def test_text_of_a_turn_is_in_order_if_only_some_deltas_are_relayed_unread(api: str) -> None:
    beginning = [
        {"type": "message_start", "message": {"id": "msg_1", "model": "claude"}},
        {
            "type": "content_block_start",
            "index": 0,
            "content_block": {"type": "text", "text": ""},
        },
    ]
    unusual = {**TEXT[api], "unusual": {}}
    events = [
        *(beginning if api == "anthropic_messages" else BEGINNINGS[api]),
        *(TEXT[api], unusual, TEXT[api]),
    ]
    numbered = [
        event_of(json.dumps(event).replace("a piece", f"piece {number} ").encode())
        for number, event in enumerate(events)
    ]
    expected, splicer = tools_of(api).splicer(frozenset()), tools_of(api).splicer(frozenset())
    feed(api, expected, b"".join(numbered))

    relayed(tap_of(api, splicer), numbered)

    assert splicer.turn() == expected.turn()


def test_runs_are_read_in_order_when_they_are_asked_for() -> None:
    read: list[JSON] = []
    runs = TextRuns(read.append)
    runs.add(b'event: a\ndata: {"n":1}\n\ndata: {"n":"data: 2"}\n\n')
    runs.add(b'data: {"n":3}\n\n')
    assert not read
    runs.read()
    runs.read()
    assert read == [{"n": 1}, {"n": "data: 2"}, {"n": 3}]


def test_long_runs_are_not_kept_unread() -> None:
    read: list[JSON] = []
    runs = TextRuns(read.append)
    for _ in range(1_000):
        runs.add(b'data: {"text":"%b"}\n\n' % (b"x" * 1_000))
    assert len(read) > 900


@pytest.mark.parametrize("broken", [b'data: {"n":"\xff"}\n\n', b'data: {"n":"\xed\xa0\x80"}\n\n'])
def test_delta_that_is_not_utf8_does_not_hide_the_others(broken: bytes) -> None:
    read: list[JSON] = []
    runs = TextRuns(read.append)
    runs.add(b'data: {"n":1}\n\n' + broken + b'data: {"n":2}\n\n')
    runs.read()
    assert [delta for delta in read if delta in ({"n": 1}, {"n": 2})] == [{"n": 1}, {"n": 2}]


@apis
def test_delta_that_is_not_utf8_does_not_let_a_later_call_reach_the_client(api: str) -> None:
    beginning = b"".join(event_of(json.dumps(event).encode()) for event in BEGINNINGS[api])
    broken = event_of(json.dumps(TEXT[api]).encode().replace(b"a piece", b"a p\xffece"))
    unusual = event_of(json.dumps({**TEXT[api], "unusual": {}}).encode())
    stream = beginning + broken + unusual
    expected, splicer = tools_of(api).splicer(frozenset()), tools_of(api).splicer(frozenset())
    tap = tap_of(api, splicer)

    assert relayed(tap, [beginning, broken, unusual]) == stream
    assert tap.read_error is None  # after an error, the rest is relayed as it is
    feed(api, expected, stream)
    assert splicer.turn() == expected.turn()


def test_parser_returns_every_byte_once_with_runs() -> None:
    run = event_of(json.dumps(TEXT["anthropic_messages"]).encode()) * 2
    reader = FORMATS["anthropic_messages"].reader()
    events = SSEParser().feed(run + b"data: x\n\n" + run, reader.skippable)
    assert [event.raw for event in events] == [run, b"data: x\n\n", run]
    assert [event.is_run for event in events] == [True, False, True]
    assert len(parse([run])) == 2
