"""WebSocket exchanges: the handshake, and the connection that it opens.

Each request in a WebSocket is an interception of its own (`exchange.conversation`); the handshake
is an interception only if it fails.
"""

from collections.abc import Awaitable, Callable

from mitmproxy import ctx, websocket

from aibridge_addon.exchange.client_request import ClientRequest
from aibridge_addon.exchange.commit import Commit
from aibridge_addon.exchange.conversation import Conversation, RefusedError
from aibridge_addon.exchange.exchange import Exchange
from aibridge_addon.exchange.recorded import SHUT_DOWN, RecordedExchange
from aibridge_addon.formats import Format
from aibridge_addon.interception import InterceptionRecord

type DecideMessage = Callable[[bytes], Awaitable[None]]
"""Asks the policies and budgets about a message of the client, before the conversation reads it."""
type EditMessage = Callable[[bytes], bytes]
"""Returns a message of the client as it is sent upstream."""
type Refresh = Callable[[], Awaitable[None]]
"""Reads the access tokens again, so that messages are judged by current ones."""


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
                await self._decide(message.content)
            if self._is_interrupted:
                message.drop()
                return
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
