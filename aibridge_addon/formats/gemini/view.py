"""Reads bodies of the Gemini API into the content model. Sans-io."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from aibridge_addon.facts import ResponseFacts
from aibridge_addon.formats.content import Message, Part, PartKind, StoredPart, ToolDefinition
from aibridge_addon.formats.decoders.sse import Event
from aibridge_addon.formats.gemini.assembler import ResponseAssembler
from aibridge_addon.formats.gemini.calls import tool_of
from aibridge_addon.formats.gemini.decoder import StreamParser
from aibridge_addon.formats.gemini.envelope import inner_request, is_enveloped, request_member
from aibridge_addon.formats.gemini.errors import read_error
from aibridge_addon.formats.gemini.names import named, spelling
from aibridge_addon.formats.gemini.reader import parts_of, read_whole
from aibridge_addon.formats.parts import file_part, json_text, other_part, text_part
from aibridge_addon.formats.view import View
from aibridge_addon.raw_json import (
    JSON,
    as_raw,
    body,
    encode,
    mapping,
    members,
    read,
    sequence,
    text,
)

_ROLES = {"model": "assistant", "function": "tool"}
_MEMBERS = ("systemInstruction", "contents", "tools")
_KINDS: Mapping[str, PartKind] = {"image": "image", "audio": "audio"}
"""Kinds of files by media type; all others are documents."""
_IDENTITY = ("thoughtSignature", "text", "thought")


class GeminiView(View):
    """Reads bodies of `generateContent` and `streamGenerateContent`."""

    system_member = "systemInstruction"
    history_member = "contents"
    content_member = "candidates"
    reads_arrays = True

    def split_request(self, body_: bytes) -> list[StoredPart]:
        """Split the body of a request into slices, without its envelope."""
        outer = members(body_)
        if outer is None:
            return []
        envelope = request_member(outer)
        rest = {name: value for name, value in outer.items() if name != envelope}
        flat = inner_request(outer) if envelope is None else rest | inner_request(outer)
        for name in _MEMBERS:
            if (own := spelling(flat, name)) in flat:
                flat[name] = flat.pop(own)
        return super().split_request(body(flat))

    def read_message(self, given: JSON, role: str) -> Message:
        """Read a content, or a text in place of one."""
        if isinstance(given, str):
            return Message(role=role, parts=(text_part(given),))
        own = text(mapping(given).get("role"))
        return Message(
            role=self.role_of(own or role, None), parts=tuple(read_parts(parts_of(given)))
        )

    def read_tool(self, given: JSON) -> Iterable[ToolDefinition]:
        """Read a member of the tools: declarations of functions, and the provider's own tools."""
        tool = mapping(given)
        for declaration in map(mapping, sequence(named(tool, "functionDeclarations"))):
            schema = named(declaration, "parametersJsonSchema")
            schema = declaration.get("parameters") if schema is None else schema
            yield ToolDefinition(
                name=text(declaration.get("name")) or "",
                description=text(declaration.get("description")) or "",
                schema=encode(declaration if schema is None else schema),
            )
        declarations = spelling(tool, "functionDeclarations")
        for name in tool:
            if name != declarations:
                yield ToolDefinition(name=text(name) or "", schema=encode(tool[name]))

    def role_of(self, role: str | None, kind: str | None) -> str:
        """Return the role of a content."""
        return _ROLES.get(role or "", role or "user")

    def assembler(self) -> ResponseAssembler:
        """Return a new assembler for one streamed response."""
        return ResponseAssembler()

    def is_event(self, document: dict[str, JSON]) -> bool:
        """Return whether a document is a chunk; only the envelope of Code Assist shows it."""
        return is_enveloped(document)

    def assemble_response(self, body: bytes) -> bytes:
        """Return a response as one JSON document; an error may come as an array of one."""
        document = read(body) if body.lstrip()[:1] == b"[" else None
        if isinstance(document, list) and len(document) == 1 and read_error(document[0]):
            return bytes(as_raw(document[0]))
        return super().assemble_response(body)

    def stream_events(self, body: bytes) -> Iterator[Event]:
        """Split a streamed response into its events."""
        parser = StreamParser(max_event_bytes=len(body))
        yield from parser.feed(body)
        if last := parser.close():
            yield last

    def read_whole(self, body: bytes) -> ResponseFacts:
        """Read the facts of a response that was not streamed, or of an error."""
        return read_whole(body)

    def response_parts(self, document: dict[str, JSON]) -> Iterable[Part]:
        """Return the content of a response, of all its candidates."""
        for candidate in sequence(named(document, "candidates")):
            yield from read_parts(parts_of(candidate))

    def stop_reason(self, document: dict[str, JSON]) -> str | None:
        """Return the reason for which the first candidate ended, or the prompt was blocked."""
        first = (sequence(named(document, "candidates")) or [None])[0]
        blocked = named(mapping(named(document, "promptFeedback")), "blockReason")
        return text(named(first, "finishReason")) or text(blocked)


def read_parts(parts: Iterable[JSON]) -> Iterator[Part]:
    """Read the parts of a content; neighbouring texts of a kind are joined."""
    last: Part | None = None
    for part in filter(None, map(_read_part, map(mapping, parts))):
        if last and part.kind == last.kind and part.kind in ("text", "thinking"):
            last = replace(last, text=last.text + part.text)
            continue
        if last:
            yield last
        last = part
    if last:
        yield last


def _read_part(part: dict[str, JSON]) -> Part | None:
    """Read a part; None for one that holds only a signature."""
    said = named(part, "text")
    if isinstance(said, str):
        kind: PartKind = "thinking" if named(part, "thought") is True else "text"
        return text_part(said, kind) if said else None
    for name in ("functionCall", "toolCall", "executableCode"):
        if isinstance(call := named(part, name), dict):
            return _read_call(name, call)
    for name in ("functionResponse", "toolResponse", "codeExecutionResult"):
        if isinstance(result := named(part, name), dict):
            return _read_result(name, result)
    for name in ("inlineData", "fileData"):
        if isinstance(file := named(part, name), dict):
            return _read_file(file)
    rest = {name: value for name, value in part.items() if name not in _IDENTITY}
    return other_part(rest) if rest else None


def _read_call(kind: str, call: dict[str, JSON]) -> Part:
    code = text(call.get("code")) or ""
    return Part(
        kind="tool_call",
        name=tool_of(kind, call),
        call_id=text(call.get("id")) or None,
        text=code if kind == "executableCode" else json_text(call.get("args")),
        server_side=kind != "functionCall",
    )


def _read_result(kind: str, result: dict[str, JSON]) -> Part:
    own = text(named(result, "toolType"))
    given = result.get("output") if kind == "codeExecutionResult" else result.get("response")
    response = mapping(given)
    shown = next((response[name] for name in ("output", "error") if name in response), given)
    files = [_read_file(mapping(part.get("inlineData"))) for part in _media(result)]
    texts = [json_text(shown), *(f"[{file.media_type}]" for file in files)]
    return Part(
        kind="tool_result",
        name=own.lower() if own else text(result.get("name")),
        call_id=text(result.get("id")) or None,
        text="\n".join(found for found in texts if found),
        is_error="error" in response and "output" not in response,
        server_side=kind != "functionResponse",
    )


def _media(result: dict[str, JSON]) -> list[dict[str, JSON]]:
    return [{"inlineData": named(part, "inlineData")} for part in sequence(result.get("parts"))]


def _read_file(file: dict[str, JSON]) -> Part:
    media_type = text(named(file, "mimeType")) or ""
    return file_part(
        _KINDS.get(media_type.partition("/")[0], "document"),
        data=file.get("data"),
        url=named(file, "fileUri"),
        media_type=media_type,
        name=named(file, "displayName"),
    )
