"""Content model: a request as a conversation and a response as a message. Pure.

Every surface that shows content reads it: the views of mitmproxy, the commands and the page. It
holds what a person reads; the bytes of images, audio and documents are left out.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from aibridge_addon.facts import ProviderError, Usage
from aibridge_addon.raw_json import JSON

type PartKind = Literal[
    "text", "thinking", "tool_call", "tool_result", "image", "document", "audio", "other"
]
type StoredKind = Literal["system", "tools", "parameters", "message"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A piece of a message."""

    kind: PartKind
    text: str = ""
    """Readable text; the arguments of a call as JSON; empty if missing."""
    name: str | None = None
    """Name of the tool or file; of kind `other`, the provider's own kind."""
    call_id: str | None = None
    """Id that joins a call and its result."""
    is_error: bool = False
    media_type: str | None = None
    size: int | None = None
    """Bytes of an image, document or audio, or of encrypted content."""
    server_side: bool = False
    """True if the provider runs the tool."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message of a conversation."""

    role: str
    """`system`, `developer`, `user`, `assistant` or `tool`, or another role that a client sends."""
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolDefinition:
    """A tool that a request offers."""

    name: str
    description: str = ""
    schema: str = ""
    """The schema of its input as JSON; of a provider's own tool, its whole definition."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """The content of a request."""

    model: str | None = None
    system: tuple[Part, ...] = ()
    messages: tuple[Message, ...] = ()
    tools: tuple[ToolDefinition, ...] = ()
    parameters: Mapping[str, JSON] = field(default_factory=dict)
    """All other members: `max_tokens`, `temperature`, …"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelMessage:
    """The content of a response."""

    model: str | None = None
    response_id: str | None = None
    message: Message = Message(role="assistant")
    stop_reason: str | None = None
    usage: Usage | None = None
    error: ProviderError | None = None
    complete: bool = False
    """True if the response reached the end that its format defines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPart:
    """A slice of a request's body, for a store that keeps repeated slices once."""

    role: str
    """The role of a message; empty for tools and parameters."""
    kind: StoredKind
    content: bytes
    """JSON, byte for byte as in the body."""
