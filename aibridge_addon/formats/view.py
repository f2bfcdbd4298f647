"""Base of the views: reads bodies of a wire format into the content model. Sans-io.

A view never raises: what cannot be read counts as missing. Streams are assembled into the document
that a response without streaming would be, and only documents are read, so that both are equal.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Protocol

import msgspec

from aibridge_addon.facts import ResponseFacts
from aibridge_addon.formats.content import (
    Conversation,
    Message,
    ModelMessage,
    Part,
    StoredKind,
    StoredPart,
    ToolDefinition,
)
from aibridge_addon.formats.decoders.sse import Event, SSEParser
from aibridge_addon.raw_json import JSON, as_raw, elements, mapping, members, read, text
from aibridge_addon.raw_json import body as body_of

PARTIAL = "aibridge_partial"
"""Member of an assembled document whose stream did not reach its end."""

_BLANK = b"\xef\xbb\xbf \t\r\n"

type ReadPart = Message | tuple[ToolDefinition, ...] | Mapping[str, JSON]


class Assembler(Protocol):
    """Assembles one streamed response into the document of a response without streaming."""

    @property
    def complete(self) -> bool:
        """True if the response has ended as its format demands."""

    def feed(self, event: Event) -> JSON:
        """Read an event. Never raises."""

    def document(self) -> dict[str, JSON]:
        """Return the document so far; empty if no event could be read."""


class View(ABC):
    """Reads bodies of one wire format: decoded bytes, complete or cut anywhere."""

    system_member: str | None = None
    """Member of a request that holds the system prompt."""
    history_member = "messages"
    """Member of a request that holds the conversation."""
    tool_members: tuple[str, ...] = ("tools",)
    """Members of a request that define tools."""
    content_member: str
    """Member of a response that holds its content."""
    reads_arrays = False
    """True if a response may be an array of its chunks."""

    @abstractmethod
    def read_message(self, given: JSON, role: str) -> Message:
        """Read a message or an item; `role` counts if it names none."""

    @abstractmethod
    def read_tool(self, given: JSON) -> Iterable[ToolDefinition]:
        """Read a member of the tools of a request: one definition, or several."""

    @abstractmethod
    def role_of(self, role: str | None, kind: str | None) -> str:
        """Return the role of a message or item, given its own role and type."""

    @abstractmethod
    def assembler(self) -> Assembler:
        """Return a new assembler for one streamed response."""

    @abstractmethod
    def is_event(self, document: dict[str, JSON]) -> bool:
        """Return whether a JSON document is an event of a stream."""

    @abstractmethod
    def read_whole(self, body: bytes) -> ResponseFacts:
        """Read the facts of a response that was not streamed, or of an error."""

    @abstractmethod
    def response_parts(self, document: dict[str, JSON]) -> Iterable[Part]:
        """Return the content of a response."""

    @abstractmethod
    def stop_reason(self, document: dict[str, JSON]) -> str | None:
        """Return the reason for which a response ended."""

    def read_request(self, body: bytes) -> Conversation:
        """Read the body of a request."""
        return self.conversation_of(self.split_request(body))

    def read_response(self, body: bytes) -> ModelMessage:
        """Read the body of a response: events, also as lines of JSON, or one document."""
        return self._read_document(self.assemble_response(body))

    def split_request(self, body: bytes) -> list[StoredPart]:
        """Split the body of a request into slices: system prompt, tools, parameters, messages."""
        rest = members(body) or {}
        system = _slices(rest.pop(self.system_member or "", None))
        history = self.history(rest.pop(self.history_member, None))
        tools = [rest.pop(name) for name in self.tool_members if name in rest]
        messages = [self._stored_message(element) for element in history]
        head = list(_leading_system(messages))
        parts = [_stored("system", "system", raw) for raw in system]
        parts += [replace(part, kind="system") for part in head]
        parts += [_stored("", "tools", raw) for raw in tools]
        if rest:
            parts.append(StoredPart(role="", kind="parameters", content=body_of(rest)))
        return parts + messages[len(head) :]

    def history(self, given: msgspec.Raw | None) -> list[msgspec.Raw]:
        """Split the conversation of a request into its messages; a text is one message."""
        return _slices(given)

    def conversation_of(self, parts: Iterable[StoredPart]) -> Conversation:
        """Join the slices of a request into its conversation."""
        system: list[Part] = []
        messages: list[Message] = []
        tools: list[ToolDefinition] = []
        parameters: dict[str, JSON] = {}
        for part in parts:
            match self.read_part(part.kind, part.content):
                case Message() as message if part.kind == "system":
                    system += message.parts
                case Message() as message:
                    messages.append(message)
                case tuple() as found:
                    tools += found
                case found:
                    parameters |= found
        return Conversation(
            model=text(parameters.pop("model", None)),
            system=tuple(system),
            messages=tuple(messages),
            tools=tuple(tools),
            parameters=parameters,
        )

    def read_part(self, kind: str, content: bytes) -> ReadPart:
        """Read a slice of a request; of kind `response`, an assembled response."""
        match kind:
            case "tools":
                found = (self.read_tool(read(tool)) for tool in elements(content))
                return tuple(tool for tools in found for tool in tools)
            case "parameters":
                return mapping(read(content))
            case "response":
                return self.read_response(content).message
        return self.read_message(read(content), "system" if kind == "system" else "user")

    def assemble_response(self, body: bytes) -> bytes:
        """Return a response as one JSON document, as without streaming; empty if it is unreadable.

        The document of a stream that did not reach its end has the member `aibridge_partial`.
        """
        start = body.lstrip(_BLANK)
        if not start.startswith(b"{"):
            return self._assembled(self.stream_events(body))
        if document := mapping(read(start)):
            return self._assembled([_json_event(start)]) if self.is_event(document) else start
        return self._assembled(map(_json_event, start.splitlines()))

    def stream_events(self, body: bytes) -> Iterable[Event]:
        """Split a streamed response into its events; by default server-sent events."""
        return _sse_events(body)

    def _assembled(self, events: Iterable[Event]) -> bytes:
        assembler = self.assembler()
        for event in events:
            assembler.feed(event)
        document = assembler.document()
        if document and not assembler.complete:
            document = {**document, PARTIAL: True}
        return bytes(as_raw(document)) if document else b""

    def _read_document(self, body: bytes) -> ModelMessage:
        document = mapping(read(body))
        facts = self.read_whole(body)
        if facts.error and self.content_member in document:  # it failed after it had begun
            rest = {name: value for name, value in document.items() if name != "error"}
            facts = replace(self.read_whole(bytes(as_raw(rest))), error=facts.error)
        return ModelMessage(
            model=facts.model,
            response_id=facts.response_id,
            message=Message(role="assistant", parts=tuple(self.response_parts(document))),
            stop_reason=self.stop_reason(document),
            usage=facts.usage,
            error=facts.error,
            complete=facts.complete and PARTIAL not in document,
        )

    def _stored_message(self, raw: msgspec.Raw) -> StoredPart:
        try:
            head = _head_of(raw)
            role, kind = head.role, head.type
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            message = mapping(read(raw))
            role, kind = message.get("role"), message.get("type")
        return _stored(self.role_of(text(role), text(kind)), "message", raw)


class _Head(msgspec.Struct):
    """The members that decide a message's role; others are skipped without decoding them."""

    role: JSON = None
    type: JSON = None


_head_of = msgspec.json.Decoder(_Head).decode


def _stored(role: str, kind: StoredKind, raw: msgspec.Raw) -> StoredPart:
    return StoredPart(role=role, kind=kind, content=bytes(raw))


def _slices(given: msgspec.Raw | None) -> list[msgspec.Raw]:
    """Split an array into its elements; any other value stays whole."""
    if given is None:
        return []
    return elements(given) if bytes(memoryview(given)[:1]) == b"[" else [given]


def _leading_system(messages: Iterable[StoredPart]) -> Iterator[StoredPart]:
    for message in messages:
        if message.role not in ("system", "developer"):
            return
        yield message


def _json_event(line: bytes) -> Event:
    return Event(b"", line.strip() or None, line)


def _sse_events(body: bytes) -> Iterator[Event]:
    parser = SSEParser(max_event_bytes=len(body))
    yield from parser.feed(body)
    if last := parser.close():
        yield last
