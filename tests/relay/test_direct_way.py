"""Direct way of streamed bodies: it gives what the layers give, and only where nothing is left."""

import asyncio
import logging
import ssl
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any

import pytest
from direct_peer import HEAD, asked, settle
from hypothesis import example, given, settings
from hypothesis import strategies as st
from mitmproxy.utils import asyncio_utils
from standin import make_authority

from aibridge_addon.relay import direct_names

HIGH_WATER = 128 * 1024
"""Bytes in a reader above which asyncio stops reading: twice its limit."""


def chunk(data: bytes, size: str = "") -> bytes:
    return (size or f"{len(data):x}").encode() + b"\r\n" + data + b"\r\n"


ONE = chunk(b"data: 1\n\n")
END = chunk(b"data: end\n\n")
LAST = b"0\r\n\r\n"


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    return _tls(tmp_path_factory.mktemp("ca"))


def _tls(folder: Path) -> ssl.SSLContext:
    return make_authority(folder).server_context()


@pytest.fixture(params=["plain", "tls"])
def maybe_tls(request: pytest.FixtureRequest, tls: ssl.SSLContext) -> ssl.SSLContext | None:
    return tls if request.param == "tls" else None


async def test_whole_chunks_pass_without_the_layers(maybe_tls: ssl.SSLContext | None) -> None:
    async with asked(tls=maybe_tls) as peer:
        layered = peer.layered
        for number in range(3):
            peer.send(ONE)
            assert peer.body == (b"data: 1\n\n" * (number + 1), False)
        assert peer.layered == layered


async def test_direct_way_can_be_turned_off() -> None:
    async with asked(direct=False) as peer:
        layered = peer.layered
        peer.send(ONE)
        await settle()
        assert peer.body == (b"data: 1\n\n", False)
        assert peer.layered == layered + 1


async def test_body_without_chunks_passes_to_a_client_without_chunks() -> None:
    async with asked(head=b"HTTP/1.1 200 OK\r\n\r\n") as peer:
        peer.send(b"data: 1\n\n")
        await settle()
        assert peer.received == b"data: 1\n\n"


async def test_end_waits_for_its_hook_and_what_precedes_it_does_not(
    maybe_tls: ssl.SSLContext | None,
) -> None:
    async with asked(tls=maybe_tls) as peer:
        peer.addon.may_end.clear()
        peer.send(ONE + END + LAST)
        await settle()
        assert peer.body == (b"data: 1\n\n", False)
        peer.addon.may_end.set()
        await settle()
        assert peer.body == (b"data: 1\n\ndata: end\n\n", True)
        assert peer.addon.format.made.read == [b"data: 1\n\n", b"data: end\n\n"]


async def test_chunks_that_were_read_ahead_are_not_read_again(
    maybe_tls: ssl.SSLContext | None,
) -> None:
    async with asked(tls=maybe_tls) as peer:
        peer.addon.may_end.clear()
        peer.send(ONE + END)  # whole chunks, of which one is held
        peer.send(ONE)
        await settle()
        assert peer.body == (b"data: 1\n\n", False)
        peer.send(LAST)
        peer.addon.may_end.set()
        await settle()
        assert peer.body == (b"data: 1\n\ndata: end\n\ndata: 1\n\n", True)
        assert peer.addon.format.made.read == [b"data: 1\n\n", b"data: end\n\n", b"data: 1\n\n"]


async def test_read_that_arrives_while_an_event_waits_keeps_its_place() -> None:
    async with asked() as peer:
        peer.send(chunk(b"data: 0\n\n"))
        async with peer.handler._server_event_lock:
            peer.send(chunk(b"data: 1\n\n"))
            await settle()  # its task waits for the lock
            peer.send(chunk(b"data: 2\n\n"))
        # The lock is free now, but nobody has it: the task that waits comes next.
        peer.send(chunk(b"data: 3\n\n"))
        await settle()
        peer.send(chunk(b"data: 4\n\n"))
        assert peer.body[0] == b"".join(b"data: %d\n\n" % number for number in range(5))


async def test_slow_client_slows_the_server_and_memory_is_bounded(
    maybe_tls: ssl.SSLContext | None,
) -> None:
    piece = chunk(b"data: " + b"x" * 8000 + b"\n\n")
    async with asked(tls=maybe_tls) as peer:
        peer.send(piece)
        peer.client.transport.waiting = 1
        peer.client.protocol.pause_writing()
        sent = 1
        while not peer.server.transport.is_paused:
            peer.send(piece)
            sent += 1
            await settle()
            assert sent * len(piece) < 2 * HIGH_WATER
        peer.client.transport.waiting = 0
        peer.client.protocol.resume_writing()
        await settle()
        assert len(peer.body[0]) == sent * 8008
        assert not peer.server.transport.is_paused


async def test_records_that_arrive_before_the_layers_are_woken_are_relayed_too(
    tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    waking: list[Coroutine[Any, Any, None]] = []
    async with asked(tls=tls) as peer:
        peer.send(ONE)
        with monkeypatch.context() as patch:
            patch.setattr(asyncio_utils, "create_task", lambda work, **_: waking.append(work))
            peer.send(ONE[:5])
        peer.send(ONE[5:] + ONE)
        await asyncio.gather(*waking)
        await settle()
        assert peer.body == (b"data: 1\n\n" * 3, False)


async def test_nothing_is_written_to_a_client_that_is_leaving() -> None:
    async with asked() as peer:
        peer.client.transport.closed = True
        peer.send(ONE)
        await settle()
        assert peer.received == b""


async def test_server_that_breaks_off_is_an_error_of_the_stream(
    maybe_tls: ssl.SSLContext | None,
) -> None:
    async with asked(tls=maybe_tls) as peer:
        peer.send(ONE)
        peer.end()
        await settle()
        assert len(peer.addon.errors) == 1
        assert "incomplete chunked read" in peer.addon.errors[0]
        assert peer.body == (b"data: 1\n\n", False)


async def test_connection_is_used_again_after_a_body_on_the_direct_way(
    maybe_tls: ssl.SSLContext | None,
) -> None:
    async with asked(tls=maybe_tls) as peer:
        peer.send(ONE)
        peer.send(LAST)
        await settle()
        peer.ask()
        await settle()
        peer.send(HEAD + ONE)
        await settle()
        peer.send(chunk(b"data: 2\n\n") + LAST)
        await settle()
        _, _, second = peer.received.partition(LAST)
        assert second.startswith(b"HTTP/1.1 200 OK")
        assert second.endswith(b"data: 2\n\n\r\n" + LAST)


def test_missing_private_name_turns_the_direct_way_off_and_is_logged_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(direct_names, "_NAMES", ((asyncio.Lock.__init__, ("_new_name",)),))
    direct_names.has_all_names.cache_clear()
    with caplog.at_level(logging.WARNING):
        assert not direct_names.has_all_names()
        assert not direct_names.has_all_names()
    direct_names.has_all_names.cache_clear()
    assert [record.getMessage().rpartition(" ")[2] for record in caplog.records] == ["_new_name"]


def test_installed_versions_have_all_private_names() -> None:
    assert direct_names.missing_names() == []


# Any stream, any cut

EVENTS = [ONE, END, chunk(b"data: 2\n\ndata: 3\n\n"), chunk(b": comment\n\n"), chunk(b"data: ha")]
FRAMING = [
    LAST,
    b"0\r\nx-trailer: 1\r\n\r\n",
    b"00\r\n\r\n",
    *(
        chunk(b"data: 1\n\n", size)
        for size in ("0x9", "1_0", " 9", "+9", "-9", "9 ", "009", "9;a=b")
    ),
    chunk(b"x", "ffffffff"),
    chunk(b"x", "f" * 20),
    chunk(b"x", "\u0661"),
    b"9\ndata: 1\n\n\n",
    b"9\r\ndata: 1\n\nXX",
    b"9\r\ndata: 1\n\n\n",
    b"\r\n",
    b"z\r\n",
    b"5000" * 1200,
]

type Outcome = tuple[tuple[bytes, bool], list[str], list[bytes], bool]


async def outcome(pieces: Sequence[bytes], tls: ssl.SSLContext | None, *, direct: bool) -> Outcome:
    async with asked(direct=direct, tls=tls) as peer:
        for piece in pieces:
            peer.send(piece)
            await settle()
        peer.end()
        await settle()
        made = peer.addon.format.made
        return peer.body, peer.addon.errors, made.read, peer.client.transport.closed


@st.composite
def streams(draw: st.DrawFn) -> list[bytes]:
    """Generate the reads of a server: any chunks, whole or malformed, cut anywhere."""
    parts = draw(st.lists(st.sampled_from(EVENTS * 4 + FRAMING), min_size=1, max_size=8))
    if draw(st.booleans()):
        return parts
    whole = b"".join(parts)
    cuts = sorted(draw(st.sets(st.integers(0, len(whole)), max_size=8)))
    return [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True) if a < b]


@given(streams())
@example([ONE, ONE, END, LAST])
@example([ONE, b"%x\r\n" % len(ONE), ONE, b"\r\n", LAST])  # a chunk whose content is one
@example([ONE, chunk(b"data: 1\n\n", "0x9"), LAST])
@settings(max_examples=50, deadline=None)
def test_any_stream_has_the_same_outcome_as_through_the_layers(pieces: list[bytes]) -> None:
    layered = asyncio.run(outcome(pieces, None, direct=False))
    assert asyncio.run(outcome(pieces, None, direct=True)) == layered


@given(streams())
@example([ONE, ONE, END, LAST])
@example([ONE, b"%x\r\n" % len(ONE), ONE, b"\r\n", LAST])  # a chunk whose content is one
@settings(max_examples=25, deadline=None)
def test_any_stream_from_tls_has_the_same_outcome_as_through_the_layers(
    tls: ssl.SSLContext, pieces: list[bytes]
) -> None:
    layered = asyncio.run(outcome(pieces, tls, direct=False))
    assert asyncio.run(outcome(pieces, tls, direct=True)) == layered
