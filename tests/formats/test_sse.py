import itertools

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aibridge_addon.formats.decoders.sse import Event, EventTooLargeError, SSEParser
from formats.any_json import pieces
from formats.helpers import (
    LINE_ENDS,
    STREAMS,
    Scenario,
    data_of,
    every,
    parse,
    raw_of,
    thorough,
    three_ways,
)

BOM = b"\xef\xbb\xbf"

CASES = {
    "data alone": (b"data: one\n\n", [(b"", b"one")]),
    "a name and data": (b"event: ping\ndata: {}\n\n", [(b"ping", b"{}")]),
    "data before the name": (b"data: {}\nevent: ping\n\n", [(b"ping", b"{}")]),
    "two events": (b"data: one\n\ndata: two\n\n", [(b"", b"one"), (b"", b"two")]),
    "several data lines": (b"data: one\ndata:\ndata: two\n\n", [(b"", b"one\n\ntwo")]),
    "only one space is taken off": (b"data:  a \n\n", [(b"", b" a ")]),
    "no space after the colon": (b"event:x\ndata:a\n\n", [(b"x", b"a")]),
    "colons in the value": (b"data: a: b:c\n\n", [(b"", b"a: b:c")]),
    "a field without a colon": (b"data\n\n", [(b"", b"")]),
    "the last name counts": (b"event: a\nevent: b\ndata: x\n\n", [(b"b", b"x")]),
    "a name does not outlive its event": (b"event: a\n\ndata: x\n\n", [(b"", b"x")]),
    "comments": (b": hi\n\ndata: x\n: there\n\n:\n\n", [(b"", b"x")]),
    "fields nobody reads": (b"id: 7\nretry: 10\nx: y\ndata: a\n\n", [(b"", b"a")]),
    "names are exact": (b"Data: a\n data: b\ndata : c\ndata: d\n\n", [(b"", b"d")]),
    "more blank lines than needed": (b"\n\n\ndata: x\n\n\n\n\n:\n\n", [(b"", b"x")]),
    "bytes that are not UTF-8": (b"data: \xff\xfe\n\n", [(b"", b"\xff\xfe")]),
    "other line breaks are data": (b"data: a\x0b\x0c\xc2\x85\n\n", [(b"", b"a\x0b\x0c\xc2\x85")]),
    "an end without a blank line": (b"data: x\n\ndata: y", [(b"", b"x"), (b"", b"y")]),
    "an end with one line end": (b"data: y\n", [(b"", b"y")]),
    "nothing": (b"", []),
}


@pytest.mark.parametrize("line_end", LINE_ENDS.values(), ids=LINE_ENDS)
@pytest.mark.parametrize("case", CASES)
def test_stream_is_split_into_its_events(case: str, line_end: bytes) -> None:
    stream, expected = CASES[case]
    events = three_ways(lambda chunks: data_of(parse(chunks)), stream.replace(b"\n", line_end))
    assert events == expected


@pytest.mark.parametrize("line_end", LINE_ENDS.values(), ids=LINE_ENDS)
def test_byte_order_mark_before_the_first_event_is_skipped(line_end: bytes) -> None:
    stream = BOM + b"event: a\ndata: x\n\n".replace(b"\n", line_end)
    assert three_ways(lambda chunks: data_of(parse(chunks)), stream) == [(b"a", b"x")]


def test_line_ends_may_be_mixed_in_one_event() -> None:
    stream = b"event: a\r\ndata: 1\rdata: 2\ndata: 3\r\n\ndata: 4\rdata: 5\n\ndata: 6\n\r\n"
    expected = [(b"a", b"1\n2\n3"), (b"", b"4\n5"), (b"", b"6")]
    assert three_ways(lambda chunks: data_of(parse(chunks)), stream) == expected


def test_one_cr_lf_is_one_line_end() -> None:
    assert data_of(parse([b"data: a\r\ndata: b\r\n\r\n"])) == [(b"", b"a\nb")]


def test_every_two_cuts_give_the_same_events() -> None:
    stream = b"data: a\r\n\r\n: c\r\revent: n\ndata: b\n\r\ndata\r\rdata: d\n\n"
    expected = data_of(parse([stream]))
    for first, second in itertools.combinations(range(len(stream) + 1), 2):
        events = parse([stream[:first], stream[first:second], stream[second:]])
        assert (data_of(events), raw_of(events)) == (expected, stream)


def test_event_is_returned_as_soon_as_its_blank_line_is_fed() -> None:
    parser = SSEParser()
    assert parser.feed(b"data: a\n") == []
    assert parser.feed(b"\n") == [Event(b"", b"a", b"data: a\n\n")]
    assert parser.close() is None


def test_event_that_ends_with_cr_does_not_wait_for_an_lf() -> None:
    parser = SSEParser()
    assert parser.feed(b"data: a\r\n\r") == [Event(b"", b"a", b"data: a\r\n\r")]
    assert parser.feed(b"\ndata: b\r\n\r\n") == [Event(b"", b"b", b"\ndata: b\r\n\r\n")]


def test_block_without_data_keeps_its_bytes() -> None:
    assert parse([b": ping\n\n"]) == [Event(b"", None, b": ping\n\n")]


def test_closing_the_parser_returns_the_rest_once() -> None:
    parser = SSEParser()
    parser.feed(b"data: a")
    assert parser.close() == Event(b"", b"a", b"data: a")
    assert parser.close() is None


@pytest.mark.parametrize("line_end", LINE_ENDS)
@every(STREAMS)
def test_recorded_stream_reads_the_same_three_ways(scenario: Scenario, line_end: str) -> None:
    expected = data_of(parse([scenario.stream()]))
    stream = scenario.stream(line_end)
    assert three_ways(lambda chunks: data_of(parse(chunks)), stream) == expected


@every(STREAMS)
@given(st.data())
def test_any_split_of_a_recorded_stream_gives_the_same_events(
    scenario: Scenario, data: st.DataObject
) -> None:
    stream = scenario.stream(data.draw(st.sampled_from(sorted(LINE_ENDS))))
    events = parse(data.draw(pieces(stream)))
    assert data_of(events) == data_of(parse([scenario.stream()]))
    assert raw_of(events) == stream


TOKENS = [b"\r", b"\n", b"\r\n", b"\n\n", b"data", b"event", b":", b" ", b"x", BOM]


@thorough
@given(st.lists(st.sampled_from(TOKENS), max_size=24).map(b"".join), st.data())
@example(b"x\r\n\r\n" + BOM + b"data: y", None)
def test_any_split_of_any_bytes_gives_the_same_events(stream: bytes, data: st.DataObject) -> None:
    chunks = data.draw(pieces(stream)) if data else [stream[i : i + 1] for i in range(len(stream))]
    events = parse(chunks)
    assert data_of(events) == data_of(parse([stream]))
    assert raw_of(events) == stream


def test_unfinished_event_beyond_the_bound_is_an_error_that_names_it() -> None:
    parser = SSEParser(max_event_bytes=10)
    assert parser.feed(b"data: 1234") == []
    with pytest.raises(EventTooLargeError, match="larger than 10 bytes"):
        parser.feed(b"5")


def test_events_before_one_that_is_too_large_are_not_lost() -> None:
    parser = SSEParser(max_event_bytes=10)
    assert data_of(parser.feed(b"data: a\n\ndata: 123456")) == [(b"", b"a")]
    with pytest.raises(EventTooLargeError):
        parser.feed(b"7")
    assert parser.close() == Event(b"", b"1234567", b"data: 1234567")


def test_small_events_do_not_add_up_to_the_limit() -> None:
    parser = SSEParser(max_event_bytes=10)
    for _ in range(20):
        assert [event.data for event in parser.feed(b"data: a\n\ndata")] == [b"a"]
        assert [event.data for event in parser.feed(b": b\n\n")] == [b"b"]


@pytest.mark.timeout(20)
def test_time_is_linear_in_the_size_of_an_event() -> None:
    parser = SSEParser()
    for _ in range(300_000):
        assert parser.feed(b"x") == []
    [event] = parser.feed(b"\n\n")
    assert len(event.raw) == 300_002
