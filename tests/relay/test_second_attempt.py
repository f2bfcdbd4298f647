"""Further attempts: pieces in order, and nothing is sent for a client that has left."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from mitmproxy import http

from aibridge_addon.relay.held_answer import MOST_BYTES, Deliver, HeldAnswer, Piece
from aibridge_addon.relay.second_attempt import SecondAttempt

TIMEOUT_S = 5


def head(status: int = 200) -> http.Response:
    return http.Response.make(status, b"", {"retry-after": "3"})


async def test_pieces_are_passed_on_as_they_come_once_released() -> None:
    answer, got = HeldAnswer(), list[Piece]()
    response = head(529)
    answer.note(response)
    answer.note(b"ab")
    assert got == []
    answer.release(got.append)
    answer.note(b"c")
    answer.note(b"")
    assert got == [response, b"ab", b"c", b""]
    assert (answer.body, answer.headers["retry-after"]) == (b"abc", "3")


async def test_body_is_known_at_its_end_or_its_bound() -> None:
    complete, broken, large = HeldAnswer(), HeldAnswer(), HeldAnswer()
    complete.note(head())
    complete.note(b"")
    broken.note("connection reset")
    large.note(head())
    large.note(b"x" * (MOST_BYTES + 1))
    for answer in (complete, broken, large):
        await asyncio.wait_for(answer.wait_for_body(), TIMEOUT_S)
    assert (broken.head, broken.is_complete, large.is_complete) == (None, True, False)


@pytest.mark.parametrize(("coding", "body"), [("gzip", b"no gzip"), ("br", b"\xff\xff")])
async def test_undecodable_body_counts_as_none(coding: str, body: bytes) -> None:
    answer = HeldAnswer()
    answer.note(http.Response.make(400, b"", {"content-encoding": coding}))
    answer.note(body)
    assert answer.decoded_body() == b""


async def test_client_that_leaves_during_a_pause_stops_further_sends() -> None:
    entered, left = asyncio.Event(), asyncio.Event()

    @asynccontextmanager
    async def send(deliver: Deliver) -> AsyncIterator[None]:
        entered.set()
        try:
            await asyncio.Event().wait()  # a pause before the next send
        finally:
            left.set()
        deliver(head())
        yield

    attempt = SecondAttempt("flow", send, HeldAnswer())
    waiting = asyncio.create_task(attempt.advance())
    await asyncio.wait_for(entered.wait(), TIMEOUT_S)
    attempt.cancel()
    await asyncio.wait_for(waiting, TIMEOUT_S)
    await asyncio.wait_for(left.wait(), TIMEOUT_S)
    assert attempt.piece is None


async def test_failure_of_the_proxy_itself_ends_the_response() -> None:
    @asynccontextmanager
    async def send(deliver: Deliver) -> AsyncIterator[None]:
        raise OSError("no route")
        yield

    attempt = SecondAttempt("flow", send, HeldAnswer())
    await asyncio.wait_for(attempt.advance(), TIMEOUT_S)
    assert attempt.piece == "the request could not be sent again: no route"
    assert attempt._task is not None
    with pytest.raises(OSError, match="no route"):
        await attempt._task
