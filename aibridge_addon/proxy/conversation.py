"""A WebSocket that speaks a wire format: many requests and answers over one connection.

OpenAI Responses can be spoken so, and Codex does: each `response.create` that the client sends is a
request, and the messages that follow are the events of its answer. Messages are relayed untouched.
Later requests carry only what is new; who asks is known from the handshake.
"""

from collections.abc import Callable

from aibridge_addon.apis import ResponseReader, WireFormat
from aibridge_addon.apis.turns import Members
from aibridge_addon.facts import ProviderError, ResponseFacts, Status
from aibridge_addon.interception import InterceptionRecord
from aibridge_addon.sse import Event
from aibridge_addon.wire import member, members

SWITCHING_PROTOCOLS = 101
_REQUEST = "response.create"

type Begin = Callable[[Members], InterceptionRecord]
"""Begins the record of a request."""


class Conversation:
    """Reads the messages of one connection."""

    def __init__(self, wire_format: WireFormat, begin: Begin) -> None:
        self._wire_format = wire_format
        self._begin = begin
        self._record: InterceptionRecord | None = None
        """The request that is being answered."""
        self._reader: ResponseReader | None = None

    def on_message(self, content: bytes, *, from_client: bool) -> bool:
        """Read a message; return whether an answer ended with it."""
        if from_client:
            self._on_request(content)
            return False
        if self._record is None or self._reader is None:
            return False
        self._reader.feed(Event(b"", content, content))
        if not self._reader.ended:
            return False
        facts = self._reader.facts()
        partial = bool(facts.unreadable) or not facts.complete
        self._end(Status.FAILED if facts.error else Status.COMPLETED, facts, partial=partial)
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

    def _on_request(self, content: bytes) -> None:
        request = members(content)
        if request is None or member(request, "type") != _REQUEST:
            return
        self._break_off(
            Status.CANCELLED,
            ProviderError(type="superseded", message="The client asked anew before the end."),
        )
        self._record = self._begin(request)
        self._reader = self._wire_format.response_reader()

    def _break_off(self, status: Status, error: ProviderError) -> None:
        if self._reader is not None:
            facts = self._reader.facts()
            self._end(status, facts, error=facts.error or error, partial=True)

    def _end(
        self,
        status: Status,
        facts: ResponseFacts,
        *,
        error: ProviderError | None = None,
        partial: bool,
    ) -> None:
        assert self._record is not None
        self._record.end(
            status,
            response=facts,
            http_status=SWITCHING_PROTOCOLS,
            error=error,
            partial=partial,
        )
        self._record = self._reader = None
