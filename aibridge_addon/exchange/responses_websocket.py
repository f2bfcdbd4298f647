"""Reads the requests and responses of OpenAI Responses over WebSocket. Messages stay unchanged.

In this format, which Codex uses, each `response.create` is a request, and the
messages that follow are the events of its response. The sender is known from the handshake.

Responses in one lane (`stream_id`) come in the order of their requests; lanes are independent. If a
person steers a response (`response.steer`), another response follows without a request.
"""

import sys
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import msgspec

from aibridge_addon.exchange.conversation import (
    SWITCHING_PROTOCOLS,
    Begin,
    Check,
    Conversation,
    read_message,
)
from aibridge_addon.exchange.recent_items import RecentItems
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
    read,
    text,
)

REQUEST = "response.create"
"""Type of the messages that ask for a response."""
_STEERING = "response.steer"
_INHERITED = ("model", "prompt_cache_key")
"""Members that a response without a request inherits from the request before it."""

_MOST_LANES = 100
_MOST_STEERED = 16


@dataclass(slots=True)
class _OpenResponse:
    """A response that has not ended."""

    record: InterceptionRecord
    reader: Reader

    content: list[bytes] = field(default_factory=list)
    """Its messages, if its content is recorded."""
    size: int = 0
    """Bytes of `content`."""

    def keep(self, message: bytes, max_bytes: int) -> None:
        """Keep a message for the record, unless the content is too large."""
        self.size += len(message) + 1
        if self.record.bodies.wants_responses and self.size <= max_bytes:
            self.content.append(message)

    def end(
        self,
        status: Status,
        *,
        error: ProviderError | None = None,
        http_status: int = SWITCHING_PROTOCOLS,
    ) -> None:
        facts = self.reader.facts()
        body = b"\n".join(self.content)
        self.record.bodies.note_response(0, body, status=http_status, response_id=facts.response_id)
        self.record.end(
            Status.FAILED if facts.error else status,
            response=facts,
            http_status=http_status,
            error=facts.error or error,
            partial=bool(facts.unreadable) or not facts.complete,
            first_byte_at=self.record.upstream.first_byte_at,
        )


@dataclass(slots=True)
class _Lane:
    """Requests whose responses come one after the other."""

    open: deque[_OpenResponse] = field(default_factory=deque)
    inherited: Members = field(default_factory=dict)


class ResponsesConversation(Conversation):
    """Reads the messages of one connection."""

    keeps_state: ClassVar[bool] = False

    def __init__(
        self,
        wire_format: Format,
        begin: Begin,
        begin_unasked: Begin,
        check: Check = lambda message: None,
        *,
        max_bytes: int = sys.maxsize,
    ) -> None:
        """Take `begin`, which may refuse a request, and `begin_unasked`, which never does."""
        self._wire_format = wire_format
        super().__init__(begin, begin_unasked, check, max_bytes=max_bytes)
        self._lanes: dict[str | None, _Lane] = {}
        self._steering: dict[str | None, RecentItems] = {}
        """Input items that steer a response, by its id."""

    def on_message(self, content: bytes, *, from_client: bool) -> bool:
        """Read a message; return True if a response ended with it.

        Raises:
            RefusedError: a policy refuses it.
        """
        if from_client:
            self._on_request(content)
            return False
        lane = self._lane_of(content)
        if lane is None or not (lane.open or self._follows(lane, content)):
            return False
        response = lane.open[0]
        response.record.upstream.note_first_byte()
        response.keep(content, self._max_bytes)
        data = response.reader.feed(Event(b"", content, content))
        if not response.reader.ended:
            return False
        lane.open.popleft()
        response.end(Status.COMPLETED, http_status=_http_status(data))
        return True

    def is_request(self, message: Members) -> bool:
        """Return True for a message that asks for a response."""
        return text(member(message, "type")) == REQUEST

    @property
    def is_responding(self) -> bool:
        """True while a response is open."""
        return any(lane.open for lane in self._lanes.values())

    def may_follow(self, message: Members) -> Sequence[Members]:
        """Return the requests that the provider may make by itself after a message."""
        if text(member(message, "type")) != _STEERING:
            return ()
        stream_id = text(member(message, "stream_id"))
        lanes = [lane for id_, lane in self._lanes.items() if stream_id in (None, id_)]
        return [{**lane.inherited, "input": message.get("input", as_raw(None))} for lane in lanes]

    def complete(self, request: Members) -> Members:
        """Return a request with what the connection has said before: here nothing."""
        return request

    def _break_off(self, status: Status, error: ProviderError) -> None:
        for lane in self._lanes.values():
            while lane.open:
                lane.open.popleft().end(status, error=error)

    def _on_request(self, content: bytes) -> None:
        request = read_message(content, self.is_request)
        kind = None if request is None else text(member(request, "type"))
        if request is None or kind != REQUEST:
            self._check(content)
        if request is None:
            return
        if kind == REQUEST:
            lane = self._lane(text(member(request, "stream_id")))
            lane.inherited = {name: request[name].copy() for name in _INHERITED if name in request}
            self._ask(lane, request, content, self._begin)
        elif kind == _STEERING:
            steers = text(member(request, "previous_response_id"))
            self._steer(steers, _items(request.get("input")))

    def _lane(self, stream_id: str | None) -> _Lane:
        if stream_id not in self._lanes and len(self._lanes) >= _MOST_LANES:
            self._lanes = {name: lane for name, lane in self._lanes.items() if lane.open}
        return self._lanes.setdefault(stream_id, _Lane())

    def _steer(self, response_id: str | None, items: list[msgspec.Raw]) -> None:
        if response_id not in self._steering and len(self._steering) >= _MOST_STEERED:
            del self._steering[next(iter(self._steering))]
        self._steering.setdefault(response_id, RecentItems(self._max_bytes)).extend(items)

    def _lane_of(self, content: bytes) -> _Lane | None:
        if len(self._lanes) == 1:
            return next(iter(self._lanes.values()))
        return self._lanes.get(text(mapping(read(content)).get("stream_id")))

    def _follows(self, lane: _Lane, content: bytes) -> bool:
        """Return True if a message begins a response without a request."""
        data = mapping(read(content))
        if data.get("type") != "response.created":
            return False
        previous = mapping(data.get("response")).get("previous_response_id")
        request = {**lane.inherited, "previous_response_id": as_raw(previous)}
        self._ask(lane, request, b"{}", self._begin_unasked)
        return True

    def _ask(self, lane: _Lane, request: Members, message: bytes, begin: Begin) -> None:
        steering = self._steering.pop(text(member(request, "previous_response_id")), None)
        if steering is not None:
            request = {**request, "input": joined([*_items(request.get("input")), *steering])}
        record = begin(request, message)
        reader = self._wire_format.reader()
        reader.on_usage = record.usage_so_far
        lane.open.append(_OpenResponse(record, reader))


def _items(given: msgspec.Raw | None) -> list[msgspec.Raw]:
    """Return an input as items; a text is a message of the user."""
    typed = None if given is None else text(read(given))
    return elements(given) if typed is None else [as_raw({"role": "user", "content": typed})]


def _http_status(data: JSON) -> int:
    """Return the status that an error message states."""
    status = count(mapping(data).get("status"))
    return status if status and status >= 400 else SWITCHING_PROTOCOLS
