"""A WebSocket that speaks a wire format: many requests and answers over one connection.

OpenAI Responses can be spoken so, and Codex does: each `response.create` that the client sends is a
request, and the messages that follow are the events of its answer. Messages are relayed untouched.
Later requests carry only what is new; who asks is known from the handshake.

Requests of one lane (`stream_id`) are answered in order, those of different lanes at the same time.
Where a person steers an answer (`response.steer`), another follows that no request asked for.
"""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from aibridge_addon.facts import ProviderError, Status
from aibridge_addon.formats import Format, Reader
from aibridge_addon.formats.decoders.sse import Event
from aibridge_addon.formats.tool_protocol import Members
from aibridge_addon.interception import InterceptionRecord
from aibridge_addon.raw_json import (
    JSON,
    as_raw,
    count,
    elements,
    joined,
    mapping,
    member,
    members,
    read,
    text,
)

SWITCHING_PROTOCOLS = 101
_INHERITED = ("model", "prompt_cache_key")
"""What an answer that no request asked for has of the request before it."""

type Begin = Callable[[Members, bytes], InterceptionRecord]
"""Begins the record of a request, of which the client said so much in its message; raises
`RefusedError` if it must not go on."""
type Check = Callable[[bytes], None]
"""Raises `RefusedError` if a message that is no request must not go on."""


class RefusedError(Exception):
    """A policy refuses a request; `message` tells the client so."""

    def __init__(self, message: bytes) -> None:
        super().__init__()
        self.message = message


@dataclass(slots=True)
class _Answer:
    """An answer that has not ended."""

    record: InterceptionRecord
    reader: Reader
    first_at: float | None = None
    """When its first message came, on the monotonic clock."""

    def end(
        self,
        status: Status,
        *,
        error: ProviderError | None = None,
        http_status: int = SWITCHING_PROTOCOLS,
    ) -> None:
        facts = self.reader.facts()
        self.record.end(
            Status.FAILED if facts.error else status,
            response=facts,
            http_status=http_status,
            error=facts.error or error,
            partial=bool(facts.unreadable) or not facts.complete,
            first_byte_at=self.first_at,
        )


@dataclass(slots=True)
class _Lane:
    """Requests that are answered one after the other."""

    open: deque[_Answer] = field(default_factory=deque)
    inherited: Members = field(default_factory=dict)


class Conversation:
    """Reads the messages of one connection."""

    def __init__(
        self, wire_format: Format, begin: Begin, check: Check = lambda message: None
    ) -> None:
        self._wire_format = wire_format
        self._begin = begin
        self._check = check
        self._lanes: dict[str | None, _Lane] = {}
        self._steering: dict[str | None, list[msgspec.Raw]] = {}
        """What was said by steering, by the response that it steers."""

    def on_message(self, content: bytes, *, from_client: bool) -> bool:
        """Read a message; return whether an answer ended with it.

        Raises:
            RefusedError: it must not go on.
        """
        if from_client:
            self._on_request(content)
            return False
        lane = self._lane_of(content)
        if lane is None or not (lane.open or self._follows(lane, content)):
            return False
        answer = lane.open[0]
        answer.first_at = answer.first_at or time.monotonic()
        data = answer.reader.feed(Event(b"", content, content))
        if not answer.reader.ended:
            return False
        lane.open.popleft()
        answer.end(Status.COMPLETED, http_status=_http_status(data))
        return True

    def on_end(self, *, by_client: bool) -> None:
        """The connection has ended, mostly without a word: what is open was broken off."""
        self._break_off(
            Status.CANCELLED if by_client else Status.FAILED,
            ProviderError(
                type="client_left" if by_client else "upstream_error",
                message="The WebSocket ended before the answer did.",
            ),
        )

    def interrupt(self, error: ProviderError) -> None:
        """The proxy itself ends."""
        self._break_off(Status.INTERRUPTED, error)

    def _break_off(self, status: Status, error: ProviderError) -> None:
        for lane in self._lanes.values():
            while lane.open:
                lane.open.popleft().end(status, error=error)

    def _on_request(self, content: bytes) -> None:
        request = members(content)
        kind = None if request is None else member(request, "type")
        if request is None or kind != "response.create":
            self._check(content)
        if request is None:
            return
        match kind:
            case "response.create":
                lane = self._lanes.setdefault(text(member(request, "stream_id")), _Lane())
                lane.inherited = {name: request[name] for name in _INHERITED if name in request}
                self._ask(lane, request, content)
            case "response.steer":
                steers = text(member(request, "previous_response_id"))
                self._steering.setdefault(steers, []).extend(_items(request.get("input")))

    def _lane_of(self, content: bytes) -> _Lane | None:
        if len(self._lanes) == 1:
            return next(iter(self._lanes.values()))
        return self._lanes.get(text(mapping(read(content)).get("stream_id")))

    def _follows(self, lane: _Lane, content: bytes) -> bool:
        """Whether a message begins an answer that no request asked for."""
        data = mapping(read(content))
        if data.get("type") != "response.created":
            return False
        previous = mapping(data.get("response")).get("previous_response_id")
        self._ask(lane, {**lane.inherited, "previous_response_id": as_raw(previous)}, b"{}")
        return True

    def _ask(self, lane: _Lane, request: Members, message: bytes) -> None:
        steering = self._steering.pop(text(member(request, "previous_response_id")), None)
        if steering:
            request = {**request, "input": joined([*_items(request.get("input")), *steering])}
        record = self._begin(request, message)
        reader = self._wire_format.reader()
        reader.on_usage = record.usage_so_far
        lane.open.append(_Answer(record, reader))


def _items(given: msgspec.Raw | None) -> list[msgspec.Raw]:
    """Return an input as items; a text is one of the user's."""
    said = None if given is None else text(read(given))
    return elements(given) if said is None else [as_raw({"role": "user", "content": said})]


def _http_status(data: JSON) -> int:
    """Return the status that the message of an error tells."""
    told = count(mapping(data).get("status"))
    return told if told and told >= 400 else SWITCHING_PROTOCOLS
