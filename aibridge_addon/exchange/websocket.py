"""WebSocket exchanges: the handshake, and the connection that it opens.

Each request in a WebSocket is an interception of its own (`exchange.conversation`); the handshake
is an interception only if it fails.
"""

from collections.abc import Awaitable, Callable
from typing import Protocol

from mitmproxy import ctx, websocket

from aibridge_addon.exchange.client_request import ClientRequest
from aibridge_addon.exchange.commit import Commit
from aibridge_addon.exchange.conversation import RefusedError
from aibridge_addon.exchange.exchange import Exchange
from aibridge_addon.exchange.recorded import SHUT_DOWN, RecordedExchange
from aibridge_addon.facts import ProviderError
from aibridge_addon.formats import Format
from aibridge_addon.formats.tool_protocol import Members
from aibridge_addon.interception import InterceptionRecord

type DecideMessage = Callable[[bytes], Awaitable[None]]
"""Asks the policies and budgets about a message of the client, before the conversation reads it."""
type EditMessage = Callable[[bytes], bytes]
"""Returns a message of the client as it is sent upstream."""
type Refresh = Callable[[], Awaitable[None]]
"""Reads the access tokens again, so that messages are judged by current ones."""


class Conversation(Protocol):
    """Reads the messages of one connection, and records its requests."""

    @property
    def is_open(self) -> bool:
        """True while a response is expected, or if the connection has a state of its own."""

    def on_message(self, content: bytes, *, from_client: bool) -> bool:
        """Read a message; return True if a response ended with it.

        Raises:
            RefusedError: a policy refuses it.
        """

    def is_request(self, message: Members) -> bool:
        """Return True for a message that asks for a response."""

    @property
    def is_responding(self) -> bool:
        """True while a response is open."""

    def lets_provider_begin(self, message: Members) -> bool:
        """Return True for a message after which a response may follow without a request."""

    def complete(self, request: Members) -> Members:
        """Return a request with what the connection has said before."""

    def on_end(self, *, by_client: bool) -> None:
        """End the records of open responses, because the connection ended."""

    def interrupt(self, error: ProviderError) -> None:
        """End the records of open responses, because the proxy shuts down."""


class WebSocketExchange(Exchange):
    """An open WebSocket in which a wire format is spoken."""

    def __init__(
        self,
        request: ClientRequest,
        wire_format: Format,
        *,
        conversation: Conversation,
        decide: DecideMessage,
        edit: EditMessage,
        refresh: Refresh,
        commit: Commit,
    ) -> None:
        super().__init__(request, wire_format)
        self._conversation = conversation
        self._decide = decide
        self._edit = edit
        self._refresh = refresh
        self._commit = commit
        self._is_interrupted = False
        self._in_hand = 0

    @property
    def is_open(self) -> bool:
        """True while its end would be a loss for the client."""
        return self._in_hand > 0 or self._conversation.is_open

    async def on_message(self, message: websocket.WebSocketMessage) -> None:
        """Read a message; commit the record of a response before the client has its end."""
        self._in_hand += 1
        try:
            await self._pass(message)
        finally:
            self._in_hand -= 1

    async def _pass(self, message: websocket.WebSocketMessage) -> None:
        if message.injected and not message.from_client:
            return  # ours, or another addon's, and of no response of the provider
        if message.from_client:
            await self._refresh()
            await self._decide(message.content)
        if self._is_interrupted:
            message.drop()
            return
        try:
            has_ended = self._conversation.on_message(
                message.content, from_client=message.from_client
            )
        except RefusedError as refused:
            message.drop()
            await self._commit()
            ctx.master.commands.call("inject.websocket", self.flow, True, refused.message, True)
            return
        if message.from_client and (edited := self._edit(message.content)) != message.content:
            message.content = edited
        if has_ended:
            await self._commit()

    def on_websocket_end(self, *, by_client: bool) -> None:
        """End the records of all requests that are open."""
        self._conversation.on_end(by_client=by_client)

    def interrupt(self) -> None:
        """End the records of all requests that are open, and relay no further message."""
        self._is_interrupted = True
        self._conversation.interrupt(SHUT_DOWN)


class HandshakeExchange(RecordedExchange):
    """A request to open a WebSocket; recorded only if it fails."""

    def __init__(
        self,
        request: ClientRequest,
        wire_format: Format,
        *,
        record: InterceptionRecord,
        commit: Commit,
        conversation: Conversation,
        decide: DecideMessage,
        edit: EditMessage,
        refresh: Refresh,
    ) -> None:
        super().__init__(request, wire_format, record=record, commit=commit)
        self._conversation = conversation
        self._decide = decide
        self._edit = edit
        self._refresh = refresh

    def open_websocket(self) -> WebSocketExchange:
        """Return the exchange of the open WebSocket; the handshake has no record."""
        return WebSocketExchange(
            self.request,
            self.wire_format,
            conversation=self._conversation,
            decide=self._decide,
            edit=self._edit,
            refresh=self._refresh,
            commit=self._commit,
        )
