"""Requests of webhooks, against receivers that answer late, halfway, or with a redirect."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from aibridge_addon.telemetry.alerts import http_post
from aibridge_addon.telemetry.alerts.http_post import HttpPost
from aibridge_addon.telemetry.alerts.webhook import Webhook

type Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def receiver(answer: Answer) -> AsyncIterator[tuple[Webhook, list[bytes]]]:
    """Return the webhook of a receiver, and the request lines that it gets."""
    lines: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines.append(await reader.readline())
        await answer(writer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        yield Webhook(url=f"http://127.0.0.1:{port}/hook", events=frozenset()), lines


async def test_redirect_is_not_followed() -> None:
    async def redirect(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 307 Moved\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()

    async with receiver(redirect) as (webhook, lines):
        assert await HttpPost()(webhook, b"{}", 1) == 307
    assert lines == [b"POST /hook HTTP/1.1\r\n"]


async def test_receiver_that_sends_its_head_without_end_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http_post, "TIMEOUT_SECONDS", 0.2)

    async def drip(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n")
        while not writer.is_closing():
            writer.write(b"X-More: 1\r\n")
            await asyncio.sleep(0.01)

    async with receiver(drip) as (webhook, _):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(HttpPost()(webhook, b"{}", 1), 20)
