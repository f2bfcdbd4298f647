"""OpenAI Responses over a WebSocket, as the provider speaks it: many requests, one connection.

It remembers the conversation, so that a request carries only what is new. Requests of one lane
(`stream_id`) are answered one after the other, those of different lanes at the same time.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

import msgspec

from standin import openai_responses as api
from standin.messages import Part, Reset
from standin.plan import Ask, Script, make_plan, script_of
from standin.rendering import Rendered, encode

type Incidents = Callable[[list[bytes], Script, int], Iterable[Part]]
"""Places a script's events between the events of the response with that number."""


class Conversation:
    """One connection."""

    def __init__(
        self, number: Callable[[], int], incidents: Incidents, answered: Callable[..., None]
    ) -> None:
        self._number = number
        self._incidents = incidents
        self._answered = answered
        self._items: dict[str, list[Any]] = {}
        """The conversation up to each response, by its id."""
        self._lanes: defaultdict[str | None, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def answer(self, message: bytes) -> AsyncIterator[Part]:
        """Answer a message."""
        body = msgspec.json.decode(message, type=dict[str, Any])
        lane = body.get("stream_id")
        async with self._lanes[lane]:
            for part in self._parts(body, len(message)):
                yield _in_lane(part, lane) if isinstance(part, bytes) else part

    def _parts(self, body: dict[str, Any], size: int) -> Iterable[Part]:
        if body.get("type") != "response.create":
            return [error_message(400, "This is no response.create.")]
        previous = body.get("previous_response_id")
        if previous is not None and previous not in self._items:
            code = "previous_response_not_found"
            return [error_message(400, f"Previous response {previous} was not found.", code)]
        given = body.get("input") or []
        items = given if isinstance(given, list) else [{"role": "user", "content": given}]
        items = [*(self._items[previous] if previous else ()), *items]
        ask, script = script_of(api.read({**body, "stream": True, "input": items}, size))
        if body.get("generate") is False:
            return self._warm_up(ask, items)
        if not ask.turns and "DROP" in script:
            return [Reset()]
        if not ask.turns and "STATUS" in script:
            status = script.number("STATUS", 500)
            return [error_message(status, f"The script asked for {status}.")]
        return self._generate(ask, script, items)

    def _generate(self, ask: Ask, script: Script, items: list[Any]) -> Iterable[Part]:
        plan = make_plan(ask, script)
        number = self._number()
        whole = msgspec.json.decode(api.render_body(plan).numbered(number)[0])
        self._items[whole["id"]] = [*items, *whole["output"]]
        self._answered(ask, plan, number)
        events = [_data_of(event) for event in api.render_stream(plan).numbered(number)]
        if "ERROR_EVENT" in script:
            return [*events[: len(events) // 2], error_message(500, "The server had an error.")]
        return self._incidents(events, script, number)

    def _warm_up(self, ask: Ask, items: list[Any]) -> Iterable[Part]:
        number = self._number()
        events = [_data_of(event) for event in api.render_warm_up(ask.model).numbered(number)]
        self._items[msgspec.json.decode(events[-1])["response"]["id"]] = items
        return events


def error_message(status: int, message: str, code: str | None = None) -> bytes:
    """Return an error as a WebSocket message."""
    error = msgspec.json.decode(Rendered((api.error_body(status, message),)).numbered(0)[0])
    if code:
        error["error"]["code"] = code
    return encode({"type": "error", "status": status, **error})


def _data_of(event: bytes) -> bytes:
    """Return the data of a server-sent event, which is the WebSocket message."""
    return event.partition(b"\ndata: ")[2].rstrip(b"\n")


def _in_lane(event: bytes, lane: str | None) -> bytes:
    return event if lane is None else b'%b,"stream_id":%b}' % (event[:-1], encode(lane))
