"""Base of the formats of OpenAI's smaller APIs: one JSON document, or a plain stream. Sans-io."""

from abc import abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import replace

import msgspec

from aibridge_addon.facts import ResponseFacts
from aibridge_addon.formats.base import Format
from aibridge_addon.formats.content import Message, Part, ToolDefinition
from aibridge_addon.formats.openai_errors import error_body, read_error
from aibridge_addon.formats.openai_parts import read_content
from aibridge_addon.formats.parts import json_text, text_part
from aibridge_addon.formats.prompts import TrailingTurn, trailing_turn
from aibridge_addon.formats.reader import Reader
from aibridge_addon.formats.tool_protocol import Members
from aibridge_addon.formats.view import View
from aibridge_addon.raw_json import JSON, decode, mapping, member, read, sequence, text

type ReadDocument = Callable[[dict[str, JSON]], ResponseFacts | None]
"""Reads a response; None if it has another shape."""


def read_document(body: bytes, read_response: ReadDocument) -> ResponseFacts:
    """Read a response that is one JSON document, or an error."""
    try:
        document = mapping(decode(body))
    except ValueError:
        return ResponseFacts(unreadable=1)
    if error := read_error(document):
        return ResponseFacts(error=error, complete=True)
    facts = read_response(document)
    return ResponseFacts(unreadable=1) if facts is None else replace(facts, complete=True)


class PlainReader(Reader):
    """Reads a stream whose events have a `type`, into the document of a response without one.

    A subclass fills `handlers`; as it is, it reads errors only.
    """

    def __init__(self, read_response: ReadDocument) -> None:
        super().__init__()
        self.handlers = {}
        self._read_response = read_response
        self._document: dict[str, JSON] = {}
        self._error_data: JSON = None

    def on_data(self, data: dict[str, JSON]) -> None:
        """Read an event, which may be an error."""
        if error := read_error(data):
            self._error = error
            self._error_data = data["error"]
            self.ended = True
        else:
            super().on_data(data)

    def content(self) -> ResponseFacts:
        """Return the facts of the response."""
        response = self.response()
        return (self._read_response(response) if response else None) or ResponseFacts()

    def response(self) -> dict[str, JSON]:
        """Return the response so far."""
        return self._document

    def document(self) -> dict[str, JSON]:
        """Return the response so far, with the error that ended it."""
        failed = {"error": self._error_data} if self._error else {}
        return {**self.response(), **failed}


class OpenAIFormat(Format):
    """A smaller API of OpenAI."""

    @abstractmethod
    def read_response(self, document: dict[str, JSON]) -> ResponseFacts | None:
        """Read a response that was not streamed; None if it has another shape."""

    def reader(self) -> Reader:
        """Return a new reader for one streamed response; most of these APIs never stream."""
        return PlainReader(self.read_response)

    def read_whole(self, body: bytes) -> ResponseFacts:
        """Read a response that was not streamed, or an error."""
        return read_document(body, self.read_response)

    def error(
        self, status: int, message: str, error_type: str | None = None, code: str | None = None
    ) -> bytes:
        """Return an error in the shape of OpenAI's APIs."""
        return error_body(status, message, error_type, code)


class PlainView(View):
    """Reads bodies of an API without messages: its input is shown as messages of the user."""

    history_member = "input"
    tool_members = ()

    def __init__(self, wire_format: OpenAIFormat) -> None:
        self._format = wire_format

    def history(self, given: msgspec.Raw | None) -> list[msgspec.Raw]:
        """Split the input into texts; an array of tokens stays whole."""
        found = super().history(given)
        is_tokens = given is not None and isinstance(read(found[0]) if found else None, int)
        return [given] if is_tokens and given is not None else found

    def read_message(self, given: JSON, role: str) -> Message:
        """Read an element of the input."""
        if isinstance(given, str | list) and (parts := tuple(read_content(given))):
            return Message(role=role, parts=parts)
        return Message(role=role, parts=(text_part(json_text(given)),))

    def read_tool(self, given: JSON) -> Iterable[ToolDefinition]:
        """Return no definition: these APIs have no tools."""
        return ()

    def role_of(self, role: str | None, kind: str | None) -> str:
        """Return the role of an element of the input."""
        return role or "user"

    def assembler(self) -> PlainReader:
        """Return a new assembler for one streamed response."""
        reader = self._format.reader()
        assert isinstance(reader, PlainReader)
        return reader

    def is_event(self, document: dict[str, JSON]) -> bool:
        """Return whether a document is an event of a stream."""
        is_whole = self.content_member in document or "error" in document
        return isinstance(document.get("type"), str) and not is_whole

    def read_whole(self, body: bytes) -> ResponseFacts:
        """Read the facts of a response that was not streamed, or of an error."""
        return self._format.read_whole(body)

    def response_parts(self, document: dict[str, JSON]) -> Iterable[Part]:
        """Return the content of a response: nothing that a person reads."""
        return ()

    def stop_reason(self, document: dict[str, JSON]) -> str | None:
        """Return no reason: these APIs state none."""
        return None


def typed_prompt(members: Members) -> TrailingTurn:
    """Return the prompt of a request: a text, or a list of texts, each a request of its own."""
    given = member(members, "prompt")
    texts = [given] if isinstance(given, str) else sequence(given)
    return trailing_turn(([text(one) or ""] for one in reversed(texts)), index=0)
