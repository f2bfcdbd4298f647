"""WebSocket exchanges: the handshake, and the connection that it opens.

Each request in a WebSocket is an interception of its own (`exchange.conversation`); the handshake
is an interception only if it fails.
"""

from collections.abc import Awaitable, Callable
from typing import Protocol

from mitmproxy import ctx, websocket

from aibridge_addon.exchange.client_request import ClientRequest
from aibridge_addon.exchange.commit import Commit
from aibridge_addon.exchange.conversation import Conversation, RefusedError
from aibridge_addon.exchange.exchange import Exchange
from aibridge_addon.exchange.recorded import SHUT_DOWN, RecordedExchange
from aibridge_addon.formats import Format
from aibridge_addon.interception import InterceptionRecord

type Refresh = Callable[[], Awaitable[None]]
"""Reads the access tokens again, so that messages are judged by current ones."""


class Messages(Protocol):
    """Judges and edits the messages of a client."""

    async def decide(self, message: bytes) -> None:
        """Ask the policies and budgets about a message, before the conversation reads it.

        Raises:
            RefusedError: they cannot be asked, and the message may not pass without them.
        """

    def edited(self, message: bytes) -> bytes:
        """Return a message as it is sent upstream."""

    def withdraw(self) -> None:
        """Give back what a message took that has not become a request."""

    def undecided(self, problem: str) -> None:
        """Handle a message that is not read, or not edited, because of a bug of ours.

        Raises:
            RefusedError: a rule might refuse the message.
        """


class WebSocketExchange(Exchange):
    """An open WebSocket in which a wire format is spoken."""

    def __init__(
        self,
        request: ClientRequest,
        wire_format: Format,
        *,
        conversation: Conversation,
        messages: Messages,
        refresh: Refresh,
        commit: Commit,
    ) -> None:
        super().__init__(request, wire_format)
        self._conversation = conversation
        self._messages = messages
        self._refresh = refresh
        self._commit = commit
        self._is_interrupted = False
        self._in_hand = 0

    @property
    def is_open(self) -> bool:
        """True while its end would be a loss for the client."""
        conversation = self._conversation
        return self._in_hand > 0 or conversation.keeps_state or conversation.is_responding

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
        try:
            if message.from_client:
                await self._refresh()
                await self._messages.decide(message.content)
            if self._is_interrupted:
                message.drop()
                return
            has_ended = self._read(message)
        except RefusedError as refused:
            message.drop()
            await self._commit()
            ctx.master.commands.call("inject.websocket", self.flow, True, refused.message, True)
            return
        finally:
            if message.from_client:
                self._messages.withdraw()
        if has_ended:
            await self._commit()

    def _read(self, message: websocket.WebSocketMessage) -> bool:
        """Record and edit a message; return True if a response ended with it.

        Raises:
            RefusedError: a policy refuses it, or a bug of ours prevents that one is asked.
        """
        content = message.content
        try:
            has_ended = self._conversation.on_message(content, from_client=message.from_client)
            if message.from_client and (edited := self._messages.edited(content)) != content:
                message.content = edited
        except RefusedError:
            raise
        except Exception:
            if message.from_client:
                self._messages.undecided("is not read")
            raise
        return has_ended

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
        messages: Messages,
        refresh: Refresh,
    ) -> None:
        super().__init__(request, wire_format, record=record, commit=commit)
        self._conversation = conversation
        self._messages = messages
        self._refresh = refresh

    def open_websocket(self) -> WebSocketExchange:
        """Return the exchange of the open WebSocket; the handshake has no record."""
        return WebSocketExchange(
            self.request,
            self.wire_format,
            conversation=self._conversation,
            messages=self._messages,
            refresh=self._refresh,
            commit=self._commit,
        )
