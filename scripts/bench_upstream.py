"""The benchmark's upstream as a process: the stand-in, and streams that only a benchmark needs.

It has two ports, without and with TLS.

The header `x-bench` asks for them:

`coalesced`  what the stand-in answers, with so many of its events in each chunk
`stamped`    each event carries the monotonic clock of the moment it was sent
`held`       a few events, then nothing more until the client leaves
`holding`    how many streams are held, as JSON
`offered`    how many tools the request offers, as JSON
"""

import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from itertools import batched
from pathlib import Path
from typing import Any, cast

from standin import Part, Provider, Request, Response, Server, make_authority
from standin.rendering import named_event

STAMPED_EVENTS = 50
PACE_S = 0.05
HELD_EVENTS = 10
IN_A_CHUNK = 20

_EVENT_STREAM = [("content-type", "text/event-stream; charset=utf-8")]
_HEAD: tuple[dict[str, Any], ...] = (
    {
        "type": "message_start",
        "message": {
            "id": "msg_bench",
            "type": "message",
            "role": "assistant",
            "model": "claude-standin-1",
            "content": [],
            "usage": {"input_tokens": 25, "output_tokens": 1},
        },
    },
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
)
_TAIL: tuple[dict[str, Any], ...] = (
    {"type": "content_block_stop", "index": 0},
    {
        "type": "message_delta",
        "delta": {"stop_reason": "end_turn"},
        "usage": {"output_tokens": STAMPED_EVENTS},
    },
    {"type": "message_stop"},
)


class Upstream:
    """The application."""

    def __init__(self) -> None:
        self._provider = Provider()
        self._held_streams = 0

    async def __call__(self, request: Request) -> Response:
        match request.header("x-bench"):
            case "stamped":
                return Response(200, list(_EVENT_STREAM), _stamped())
            case "held":
                return Response(200, list(_EVENT_STREAM), self._held())
            case "holding":
                return Response(200, [], json.dumps(self._held_streams).encode())
            case "offered":
                tools = json.loads(request.body).get("tools", [])
                return Response(200, [], json.dumps(len(tools)).encode())
        response = await self._provider(request)
        assert isinstance(response, Response)
        if request.header("x-bench") == "coalesced":
            events = cast(list[bytes], response.body)
            response.body = [b"".join(some) for some in batched(events, IN_A_CHUNK, strict=False)]
        return response

    async def _held(self) -> AsyncIterator[Part]:
        yield b"".join(map(named_event, _HEAD))
        for number in range(HELD_EVENTS):
            yield _delta(f"word{number}")
        self._held_streams += 1
        try:
            await asyncio.Event().wait()
        finally:
            self._held_streams -= 1


async def _stamped() -> AsyncIterator[Part]:
    yield b"".join(map(named_event, _HEAD))
    for _ in range(STAMPED_EVENTS):
        await asyncio.sleep(PACE_S)
        yield _delta(f"@{time.monotonic_ns()}@")
    yield b"".join(map(named_event, _TAIL))


def _delta(text: str) -> bytes:
    delta = {"type": "text_delta", "text": text}
    return named_event({"type": "content_block_delta", "index": 0, "delta": delta})


async def _serve(folder: Path) -> None:
    app = Upstream()
    tls = make_authority(folder).server_context()
    async with (
        Server(app, record=False) as plain,
        Server(app, tls=tls, http2=False, record=False) as encrypted,
    ):
        print(plain.port, encrypted.port, flush=True)
        # Ends with the benchmark, however that ends: its end of the pipe closes.
        await asyncio.to_thread(os.read, sys.stdin.fileno(), 1)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="aibridge-bench-ca-") as folder:
        asyncio.run(_serve(Path(folder)))
