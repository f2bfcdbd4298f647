"""Reading one response, streamed or buffered, into facts."""

import pytest
from standin.codings import encode

from aibridge_addon.formats import openai_chat
from aibridge_addon.relay.response_reader import ReaderOptions, ResponseReader

CHUNK = b'data: {"id":"1","model":"m","choices":[],"usage":{"prompt_tokens":1}}\n\n'


@pytest.mark.parametrize("coding", ["identity", "gzip", "br", "zstd"])
def test_reader_reads_an_unannounced_stream(coding: str) -> None:
    reader = make_reader(coding)
    body = encode(b"\xef\xbb\xbf" + CHUNK + b"data: [DONE]\n\n", coding)

    events = [pair for n in range(len(body)) for pair in reader.events(body[n : n + 1])]

    assert [event.raw for event, _ in events] == [b"\xef\xbb\xbf" + CHUNK, b"data: [DONE]\n\n"]
    assert reader.ended
    usage = reader.facts().usage
    assert usage
    assert usage.input_tokens == 1


def test_reader_reads_a_single_body_once_it_is_complete() -> None:
    reader = make_reader()

    assert reader.events(b'{"error":{"message":"no') == []
    assert not reader.facts().complete
    assert reader.events(b'"}}') == []
    assert reader.unterminated() == []
    reader.is_complete = True

    assert reader.is_buffered
    error = reader.facts().error
    assert error
    assert error.message == "no"


DELTA = b'data: {"id":"1","model":"m","choices":[{"delta":{"content":"a"}}]}\n\n'
DONE = b"data: [DONE]\n\n"


@pytest.mark.parametrize("before", [CHUNK, CHUNK + DELTA * 3], ids=["first", "later"])
@pytest.mark.parametrize("after", [b"", DELTA, DELTA + CHUNK + DELTA], ids=len)
def test_terminal_event_is_found_beside_events_that_are_skipped(
    before: bytes, after: bytes
) -> None:
    reader = make_reader()
    assert reader.read(before + DONE + after) == len(before)
    assert reader.facts().usage


def test_events_after_a_terminal_event_that_comes_first_are_read() -> None:
    reader = make_reader()
    assert reader.read(DONE + CHUNK) == 0
    assert reader.facts().usage


def make_reader(coding: str = "") -> ResponseReader:
    return ResponseReader(
        ReaderOptions(
            wire_format=openai_chat.FORMAT,
            announces_stream=False,
            content_encoding=coding,
            max_bytes=10**6,
        )
    )
