"""Base of the WebSocket conversations in tests: collects what a conversation records."""

import json
from typing import ClassVar

from store.doubles import started

from aibridge_addon.config.capture import CAPTURABLE
from aibridge_addon.exchange.conversation import Conversation, RefusedError
from aibridge_addon.facts import Fact, RequestFacts, SpokenInput, new_id
from aibridge_addon.formats import Format, RequestView
from aibridge_addon.formats.prompts import typed_text
from aibridge_addon.formats.tool_protocol import Members
from aibridge_addon.interception import InterceptionRecord


class RecordedConversation:
    """A conversation, its requests, and the facts that it publishes."""

    wire_format: ClassVar[Format]
    query: ClassVar[str] = ""
    """Query of the handshake."""
    conversation: Conversation

    def __init__(self) -> None:
        self.facts: list[Fact] = []
        self.asked: list[RequestFacts] = []
        self.spoken: list[SpokenInput] = []
        self.refuses = False

    def begin(self, request: Members, message: bytes) -> InterceptionRecord:
        """Begin the record of a request, or refuse it."""
        if self.refuses:
            raise RefusedError(b"no")
        return self.record(request, message)

    def record(self, request: Members, message: bytes) -> InterceptionRecord:
        """Begin the record of a request."""
        facts = self.wire_format.read_request(RequestView(members=request, query=self.query))
        self.asked.append(facts)
        self.spoken.append(self.wire_format.spoken_input(request))
        record = InterceptionRecord(
            started(id=new_id(), model=facts.model),
            publish=self.facts.append,
            capture=frozenset(CAPTURABLE),
        )
        record.begin(typed_text(part for parts in facts.user_texts for part in parts))
        return record

    def receive(self, message: object, *, from_client: bool) -> bool:
        """Give a message to the conversation; return True if a response ended with it."""
        return self.conversation.on_message(json.dumps(message).encode(), from_client=from_client)
