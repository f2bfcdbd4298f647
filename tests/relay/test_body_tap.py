"""Body tap: relays every byte once and in order, even if reading fails."""

import gzip
import itertools
import logging
import re
from functools import partial
from typing import Any, cast

import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from standin.codings import encode

from aibridge_addon.facts import ResponseFacts
from aibridge_addon.formats import Format as WireFormat
from aibridge_addon.formats import anthropic_messages
from aibridge_addon.formats.decoders.codings import ContentDecoder
from aibridge_addon.formats.decoders.sse import Event, SSEParser
from aibridge_addon.relay import response_reader
from aibridge_addon.relay.body_tap import BodyTap, Withhold
from aibridge_addon.relay.response_reader import ReaderOptions

BLOCKS = [
    b"event: a\ndata: {}\n\n",
    b"data: withheld 1\n\n",
    b": a comment\r\n\r\n",
    b"data: two\ndata: lines\n\n",
    b"event: withheld\ndata: 2\n\n",
    b"data: end\n\n",
    b"data: after the end\n\n",
]
TAIL = b"data: no blank li"
BODY = b"".join(BLOCKS) + TAIL


class OurBugError(Exception):
    """An error that the code under test never raises itself."""


class Reader:
    """Records events, ends at `data: end`, and can fail at an event."""

    def __init__(
        self,
        *,
        fails_at: int | None = None,
        facts_fail: bool = False,
        unrecorded: re.Pattern[bytes] | None = None,
    ) -> None:
        self.events: list[Event] = []
        self.ended = False
        self.skippable = unrecorded
        self._fails_at = fails_at
        self._facts_fail = facts_fail

    def feed(self, event: Event) -> None:
        if len(self.events) == self._fails_at:
            raise OurBugError("in the reader")
        self.events.append(event)
        self.ended = self.ended or event.data == b"end"

    def facts(self) -> ResponseFacts:
        if self._facts_fail:
            raise OurBugError("in the facts")
        return ResponseFacts(response_id=str(len(self.events)))


class Format:
    """A wire format with a given reader."""

    def __init__(self, reader: Any) -> None:
        self.reader = lambda: reader

    def read_whole(self, body: bytes) -> ResponseFacts:
        return ResponseFacts(response_id=body.decode(), complete=True)


def make_tap(
    reader: Any = None,
    *,
    wire_format: WireFormat | None = None,
    coding: str = "",
    length: int | None = None,
    max_bytes: int = 10**6,
    announces_stream: bool = True,
    **cutting: Any,
) -> BodyTap:
    return BodyTap(
        "flow-1",
        "interception-1",
        ReaderOptions(
            wire_format=wire_format or cast("WireFormat", Format(reader or Reader())),
            announces_stream=announces_stream,
            content_encoding=coding,
            max_bytes=max_bytes,
        ),
        content_length=length,
        **cutting,
    )


def withheld(event: Event) -> bool:
    return b"withheld" in event.raw


def relayed(tap: BodyTap, chunks: list[bytes]) -> bytes:
    """Return the bytes that the client receives; held chunks are released after each chunk."""
    out = []
    for chunk in chunks:
        passed = tap(chunk)
        assert b"" not in passed  # it would end the body
        out += passed
        if tap.held:
            out += tap.release()
    rest = tap(b"")
    assert b"" not in rest
    return b"".join(out + rest)


@st.composite
def cuts(draw: st.DrawFn, body: bytes = BODY) -> list[bytes]:
    """Generate a body in chunks that are not empty."""
    borders = draw(st.sets(st.integers(1, len(body) - 1)))
    return [body[a:b] for a, b in itertools.pairwise([0, *sorted(borders), len(body)])]


def filtered_up_to(number: int) -> bytes:
    """Return the body without the withheld blocks among its first blocks."""
    return b"".join(
        block
        for index, block in enumerate([*BLOCKS, TAIL])
        if index >= number or b"withheld" not in block
    )


ANY_CASE = settings(deadline=None, max_examples=examples(60))


@ANY_CASE
@given(chunks=cuts())
def test_every_byte_is_relayed_and_every_event_is_read(chunks: list[bytes]) -> None:
    reader = Reader()
    tap = make_tap(reader)

    assert relayed(tap, chunks) == BODY
    assert tap.facts().response_id == str(len(BLOCKS) + 1)
    assert tap.read_error is None
    assert b"".join(event.raw for event in reader.events) == BODY


@ANY_CASE
@given(chunks=cuts())
def test_client_receives_all_events_but_the_withheld_ones(chunks: list[bytes]) -> None:
    reader = Reader()

    assert relayed(make_tap(reader, withhold=withheld), chunks) == filtered_up_to(len(BLOCKS))
    assert len(reader.events) == len(BLOCKS) + 1


ANYTHING = re.compile(rb"(?s).*\n\n")


@ANY_CASE
@given(chunks=cuts())
def test_unrecorded_events_are_relayed(chunks: list[bytes]) -> None:
    reader = Reader(unrecorded=re.compile(rb"(?:event: \w+\ndata: .+\n\n)+"))

    assert relayed(make_tap(reader), chunks) == BODY
    assert {b"withheld 1", b"two\nlines", b"end", b"after the end"} < {
        event.data for event in reader.events
    }


def test_unrecorded_events_are_not_read() -> None:
    reader = Reader(unrecorded=ANYTHING)
    tap = make_tap(reader)

    assert relayed(tap, [BLOCKS[0] * 3, BLOCKS[1] + TAIL]) == BLOCKS[0] * 3 + BLOCKS[1] + TAIL
    assert [event.raw for event in reader.events] == [TAIL]


def test_every_event_is_read_if_each_is_spliced() -> None:
    reader = Reader(unrecorded=ANYTHING)

    relayed(make_tap(reader, splice=lambda event, data: event.raw), [BODY])

    assert len(reader.events) == len(BLOCKS) + 1


@pytest.mark.parametrize(
    "cutting",
    [
        {"withhold": lambda event: False},
        {"splice": lambda event, data: event.raw + b"!", "pass_text": lambda run: True},
    ],
)
def test_run_that_needs_no_edit_is_relayed_unread(cutting: Any) -> None:
    reader = Reader(unrecorded=ANYTHING)

    run = b"".join(BLOCKS)
    assert relayed(make_tap(reader, **cutting), [run]) == run

    assert reader.events == []


def test_run_that_is_read_ahead_is_lost_by_no_failure_of_its_splicer() -> None:
    runs = [b"data: 1\n\n", b"data: 2\n\n", b"data: 3\n\n"]

    def pass_text(run: bytes) -> bool:
        if run == runs[1]:
            raise OurBugError("in the splicer")
        return True

    tap = make_tap(Reader(unrecorded=ANYTHING), splice=lambda event, data: b"", pass_text=pass_text)

    assert [tap.read_ahead(run) for run in runs] == [[run] for run in runs]
    assert tap.read_error == "in the splicer"


def test_run_is_lost_by_no_failure_of_its_splicer() -> None:
    def splice(event: Event, data: object) -> bytes:
        raise OurBugError("in the splicer")

    tap = make_tap(Reader(unrecorded=ANYTHING), splice=splice)

    assert relayed(tap, [BODY]) == BODY
    assert tap.read_error == "in the splicer"


@ANY_CASE
@given(chunks=cuts(), fails_at=st.integers(0, len(BLOCKS)))
def test_failure_of_the_reader_at_any_event_loses_no_byte(
    chunks: list[bytes], fails_at: int
) -> None:
    tap = make_tap(Reader(fails_at=fails_at))
    withholding = make_tap(Reader(fails_at=fails_at), withhold=withheld)

    assert relayed(tap, chunks) == BODY
    assert relayed(withholding, chunks) == filtered_up_to(fails_at)
    for subject in (tap, withholding):
        assert subject.facts().response_id == str(fails_at)
        assert subject.read_error == "in the reader"


@ANY_CASE
@given(chunks=cuts(), fails_at=st.integers(0, len(BLOCKS) - 1))
def test_failure_of_the_filter_at_any_event_loses_no_byte(
    chunks: list[bytes], fails_at: int
) -> None:
    seen = itertools.count()

    def failing(event: Event) -> bool:
        if next(seen) == fails_at:
            raise OurBugError("in the filter")
        return withheld(event)

    tap = make_tap(withhold=failing)

    assert relayed(tap, chunks) == filtered_up_to(fails_at)
    assert tap.read_error == "in the filter"


@ANY_CASE
@given(chunks=cuts(), bound=st.integers(0, len(BODY)), withhold=st.sampled_from([None, withheld]))
def test_failure_of_the_decoder_after_any_byte_loses_no_byte(
    chunks: list[bytes], bound: int, withhold: Withhold | None
) -> None:
    tap = make_tap(max_bytes=bound, withhold=withhold)

    out = relayed(tap, chunks)

    assert (tap.read_error is None) == (bound == len(BODY))
    if withhold is None:
        assert out == BODY
    else:
        assert out in {filtered_up_to(number) for number in range(len(BLOCKS) + 1)}


@ANY_CASE
@given(chunks=cuts(), bound=st.integers(1, 40), withhold=st.sampled_from([None, withheld]))
def test_failure_of_the_parser_at_an_event_loses_no_byte(
    chunks: list[bytes], bound: int, withhold: Withhold | None
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(response_reader, "SSEParser", partial(SSEParser, max_event_bytes=bound))
        tap = make_tap(withhold=withhold)

    out = relayed(tap, chunks)

    if withhold is None:
        assert out == BODY
    else:
        assert out in {filtered_up_to(number) for number in range(len(BLOCKS) + 1)}


@ANY_CASE
@given(data=st.data(), coding=st.sampled_from(["gzip", "br", "deflate", "zstd", "x-unknown"]))
def test_compressed_body_is_relayed_unchanged_even_if_it_cannot_be_decoded(
    data: st.DataObject, coding: str
) -> None:
    body = gzip.compress(BODY, mtime=0)
    reader = Reader()
    tap = make_tap(reader, coding=coding)

    assert relayed(tap, data.draw(cuts(body))) == body
    if coding == "gzip":
        tap.facts()
        assert b"".join(event.raw for event in reader.events) == BODY
    else:
        assert tap.read_error
        assert reader.events == []


@ANY_CASE
@given(data=st.data(), coding=st.sampled_from(["gzip", "br", "zstd"]))
def test_withheld_events_of_a_compressed_body_do_not_reach_the_client(
    data: st.DataObject, coding: str
) -> None:
    tap = make_tap(coding=coding, withhold=withheld)

    out = relayed(tap, data.draw(cuts(encode(BODY, coding))))

    assert tap.edits_events
    assert out == filtered_up_to(len(BLOCKS))


def test_body_with_an_unknown_coding_is_not_edited() -> None:
    tap = make_tap(coding="x-unknown", withhold=withheld)

    assert not tap.edits_events
    assert relayed(tap, [BODY]) == BODY


# The end is held until it is recorded


END_BEGINS = BODY.index(b"data: end\n\n")
END_ENDS = END_BEGINS + len(b"data: end\n\n")


@ANY_CASE
@given(chunks=cuts(), cutting=st.sampled_from([{}, {"splice": lambda event, data: event.raw}]))
def test_only_the_terminal_event_is_held(chunks: list[bytes], cutting: Any) -> None:
    tap = make_tap(**cutting)
    position = 0
    out = b""

    for chunk in chunks:
        brings_the_end = position < END_ENDS <= position + len(chunk)
        position += len(chunk)

        out += b"".join(tap(chunk))

        assert tap.is_waiting == brings_the_end
        if brings_the_end:
            assert out == BODY[: max(END_BEGINS, position - len(chunk))] or cutting
            assert len(out) >= END_BEGINS
            assert not tap.released
            tap.is_waiting = False
            out += b"".join(tap.release())
        assert tap.released == (position >= END_ENDS)


@pytest.mark.parametrize("coding", ["gzip", "br"])
def test_compressed_response_in_a_single_chunk_is_held_only_from_its_encoded_end(
    coding: str,
) -> None:
    text = b"".join(b"data: %d\n\n" % (number**5) for number in range(1000, 2000))
    body = encode(text + b"data: end\n\n", coding)
    reader = Reader()
    tap = make_tap(reader, coding=coding)

    [passed] = tap(body)

    decoded = ContentDecoder(coding, max_bytes=10**6).feed(passed)
    assert text.startswith(decoded)
    assert len(decoded) > 0.95 * len(text)
    assert tap.is_waiting
    assert passed + b"".join(tap.release()) == body
    assert len(reader.events) == 1001


@ANY_CASE
@given(data=st.data(), coding=st.sampled_from(["gzip", "br", "zstd"]))
def test_end_of_a_compressed_response_is_relayed_only_after_it_is_recorded(
    data: st.DataObject, coding: str
) -> None:
    body = encode(BODY, coding)
    tap = make_tap(coding=coding)
    decoder = ContentDecoder(coding, max_bytes=10**6)
    client_has = b""

    for chunk in data.draw(cuts(body)):
        before = client_has
        client_has += decoder.feed(b"".join(tap(chunk)))
        if tap.is_waiting:
            assert len(client_has) <= max(END_BEGINS, len(before))
            break
    else:
        raise AssertionError("the end was not held")


def test_chunks_after_a_held_end_are_held_behind_it() -> None:
    tap = make_tap()

    for chunk in (b"data: end\n\n", b"data: more\n\n"):
        assert tap(chunk) == []
        tap.is_waiting = False  # as the stream does before it asks

    assert tap.release() == [b"data: end\n\n", b"data: more\n\n"]
    assert tap.release() == []
    assert tap(b"data: later\n\n") == [b"data: later\n\n"]


def test_empty_end_is_not_relayed_as_a_chunk() -> None:
    tap = make_tap(splice=lambda event, data: event.raw)
    tap(b"data: end\n\n")

    tap.held.append(b"")  # an empty rest if nothing was hidden

    assert tap.release() == [b"data: end\n\n"]


@ANY_CASE
@given(chunks=cuts(gzip.compress(TAIL, mtime=0)))
def test_last_byte_of_the_announced_length_is_held(chunks: list[bytes]) -> None:
    tap = make_tap(coding="gzip", length=sum(map(len, chunks)))

    for chunk in chunks[:-1]:
        assert tap(chunk) == [chunk]
    *body, last = chunks[-1]
    assert b"".join(tap(chunks[-1])) == bytes(body)
    assert tap.held == [bytes([last])]


def test_last_byte_of_the_announced_length_is_held_after_a_read_error() -> None:
    tap = make_tap(Reader(fails_at=0), length=len(BLOCKS[0]))

    assert tap(BLOCKS[0]) == [BLOCKS[0][:-1]]
    assert tap.release() == [BLOCKS[0][-1:]]


def test_end_is_held_if_the_data_after_it_cannot_be_read() -> None:
    for withhold in (None, withheld):
        tap = make_tap(Reader(fails_at=2), withhold=withhold)

        assert b"".join(tap(b"data: 1\n\ndata: end\n\ndata: after\n\n")) in (b"", b"data: 1\n\n")
        assert tap.is_waiting
        assert b"".join(tap.release()).endswith(b"data: end\n\ndata: after\n\n")


def test_body_of_a_wrong_length_is_relayed() -> None:
    for length in (0, len(TAIL) - 1, len(TAIL) + 1):
        tap = make_tap(length=length)
        assert tap(TAIL) == [TAIL]
        assert tap(b"") == []


def test_end_of_the_body_is_not_relayed_as_a_chunk() -> None:
    tap = make_tap()

    assert tap(b"") == []
    assert tap.times.first_byte_at is None


def test_time_of_the_first_byte_does_not_change() -> None:
    tap = make_tap()

    tap(b"data: 1\n\n")
    first = tap.times.first_byte_at
    tap(b"data: 2\n\n")

    assert first is not None
    assert tap.times.first_byte_at == first


# A body that its head does not announce as a stream


@ANY_CASE
@given(chunks=cuts())
def test_unannounced_events_are_read(chunks: list[bytes]) -> None:
    reader = Reader()
    tap = make_tap(reader, announces_stream=False)
    sent = b"".join(chunks)

    assert relayed(tap, chunks) == sent
    assert tap.facts().response_id == str(len(BLOCKS) + 1)


@ANY_CASE
@given(announces_stream=st.booleans(), coding=st.sampled_from(["", "gzip"]), data=st.data())
def test_single_body_instead_of_a_stream_is_relayed_at_once_and_read(
    announces_stream: bool, coding: str, data: st.DataObject
) -> None:
    body = encode(b' \n{"id": 1}', coding or "identity")
    withhold = data.draw(st.sampled_from([None, withheld]))
    tap = make_tap(coding=coding, announces_stream=announces_stream, withhold=withhold)

    out = b""
    for chunk in data.draw(cuts(body)):
        out += b"".join(tap(chunk))
        if tap.is_buffered:
            assert tap.facts() == ResponseFacts(), "a part of it says nothing"
    out += b"".join(tap(b""))

    assert out == (b' \n{"id": 1}' if withhold else body)
    assert tap.is_buffered
    assert tap.facts().response_id == ' \n{"id": 1}'


def test_single_body_of_known_length_is_read_before_its_last_byte_is_relayed() -> None:
    tap = make_tap(length=2, announces_stream=False)

    assert tap(b"{}") == [b"{"]
    assert tap.is_waiting
    assert tap.facts().response_id == "{}"
    assert tap.release() == [b"}"]


@pytest.mark.parametrize("length", [None, 10])
def test_single_body_instead_of_a_spliced_stream_is_held_completely(length: int | None) -> None:
    tap = make_tap(length=length, splice=lambda event, data: event.raw)

    for piece in (b' {"a"', b": 1}\n"):
        assert tap(piece) == []
    if length is None:
        assert tap(b"") == []
    assert tap.is_waiting
    assert tap.holds_buffered
    assert not tap.is_spliced
    assert tap.facts().response_id == ' {"a": 1}\n'
    assert tap.release() == [b' {"a": 1}\n']
    assert tap(b"") == []


def test_edited_events_of_one_read_are_relayed_as_one_chunk() -> None:
    tap = make_tap(splice=lambda event, data: event.raw.replace(b"1", b"one"))

    assert tap(b"data: 1\n\ndata: 2\n\ndata: 3") == [b"data: one\n\ndata: 2\n\n"]


def test_unterminated_event_can_be_withheld() -> None:
    tap = make_tap(withhold=withheld)

    assert relayed(tap, [b"data: 1\n\ndata: withheld\n"]) == b"data: 1\n\n"


# Facts


def test_facts_of_a_truncated_body_include_its_unterminated_event() -> None:
    reader = Reader()
    tap = make_tap(reader)
    tap(BLOCKS[0] + TAIL)

    assert tap.facts().response_id == "2"
    assert reader.events[-1].raw == TAIL
    assert tap.facts().response_id == "2"


def test_facts_of_a_truncated_response_include_the_usage_reported_so_far() -> None:
    tap = make_tap(wire_format=anthropic_messages.FORMAT)
    tap(
        b'event: message_start\ndata: {"type":"message_start","message":{"id":"msg_1",'
        b'"model":"claude","usage":{"input_tokens":5,"output_tokens":1}}}\n\n'
        b'event: content_block_delta\ndata: {"type":"content_bl'
    )

    facts = tap.facts()

    assert (facts.response_id, facts.complete) == ("msg_1", False)
    assert facts.usage
    assert (facts.usage.input_tokens, facts.usage.output_tokens) == (5, 1)


def test_bug_while_reading_the_unterminated_event_is_not_raised() -> None:
    for finish in (lambda tap: tap(b""), BodyTap.facts):
        tap = make_tap(Reader(fails_at=0))
        tap(TAIL)

        finish(tap)

        assert tap.read_error == "in the reader"


def test_facts_are_empty_after_a_bug_in_reading_them() -> None:
    tap = make_tap(Reader(facts_fail=True))
    relayed(tap, [BODY])

    assert tap.facts() == ResponseFacts()
    assert tap.read_error == "in the facts"


def test_bug_is_logged_once_with_the_interception_id(caplog: pytest.LogCaptureFixture) -> None:
    tap = make_tap(Reader(fails_at=1))

    relayed(tap, BLOCKS)
    tap.facts()

    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert "interception-1" in record.getMessage()
    assert record.exc_info
    assert isinstance(record.exc_info[1], OurBugError)


def test_undecodable_body_is_logged_as_a_warning_without_a_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    relayed(make_tap(coding="gzip"), [b"no gzip", b"nor this"])

    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "interception-1" in record.getMessage()
    assert record.exc_info is None
