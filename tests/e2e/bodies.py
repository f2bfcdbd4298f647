"""The three wire formats, as tests of faults and load need them: a request, an answer's bytes."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal

from standin import anthropic_messages, openai_chat, openai_responses
from standin.plan import Plan, Usage

from e2e.clients import ANTHROPIC_KEY, OPENAI_KEY

type Tokens = tuple[int, int, int, int]
"""Input, output, cache read, cache write, as they are recorded."""

PLAN = Plan("standin-1", ("Well, ", "well, ", "well."), "", (), Usage(10, 20, 30, 5))
"""Text of every response of this module."""


@dataclass(frozen=True, slots=True)
class Api:
    """A wire format."""

    name: str
    provider: Literal["anthropic", "openai"]
    path: str
    """Below the provider's base URL."""
    module: ModuleType
    field: str
    """Member of a request that holds the conversation."""
    tokens: Tokens
    """Of `PLAN`."""
    first_tokens: Tokens | None
    """Facts that the first half of the events holds."""
    error_event_type: str
    """Of the stand-in's error event."""
    end: bytes
    """Facts that only the terminal event holds."""

    def __str__(self) -> str:
        return self.name

    @property
    def headers(self) -> dict[str, str]:
        """Headers that a client adds."""
        if self.provider == "anthropic":
            return {"x-api-key": ANTHROPIC_KEY, "anthropic-version": "2023-06-01"}
        return {"authorization": f"Bearer {OPENAI_KEY}"}

    def request(self, text: str, *, stream: bool, **members: Any) -> bytes:
        """Return the body of a request."""
        body: dict[str, Any] = {"model": "standin-1", "stream": stream}
        body[self.field] = [{"role": "user", "content": text}]
        if self.provider == "anthropic":
            body["max_tokens"] = 100
        if self.name == "openai_chat" and stream:
            body["stream_options"] = {"include_usage": True}
        if self.name == "openai_responses":
            body["input"] = text
        return json.dumps(body | members).encode()

    def events(self) -> list[bytes]:
        """Return the events of a streamed answer."""
        return list(self.module.render_stream(PLAN, True).numbered(1))

    def answer(self) -> bytes:
        """Return the body of an answer that is not streamed."""
        return bytes(self.module.render_body(PLAN).numbered(1)[0])

    def is_error(self, body: Any) -> bool:
        """Return True if a body is an error in the shape that clients of this format show."""
        if not isinstance(body, Mapping) or not isinstance(error := body.get("error"), Mapping):
            return False
        shaped = bool(error.get("type")) and isinstance(error.get("message"), str)
        return shaped and (self.provider == "openai" or body.get("type") == "error")


MESSAGES = Api(
    name="anthropic_messages",
    provider="anthropic",
    path="/v1/messages",
    module=anthropic_messages,
    field="messages",
    tokens=(10, 20, 30, 5),
    first_tokens=(10, 1, 30, 5),
    error_event_type="overloaded_error",
    end=b'"message_stop"',
)
CHAT = Api(
    name="openai_chat",
    provider="openai",
    path="/chat/completions",
    module=openai_chat,
    field="messages",
    tokens=(15, 20, 30, 0),  # this API does not tell what was written to a cache
    first_tokens=None,
    error_event_type="server_error",
    end=b"[DONE]",
)
RESPONSES = Api(
    name="openai_responses",
    provider="openai",
    path="/responses",
    module=openai_responses,
    field="input",
    tokens=(10, 20, 30, 5),
    first_tokens=None,
    error_event_type="server_error",
    end=b'"response.completed"',
)
APIS = (MESSAGES, CHAT, RESPONSES)
