"""Content views of mitmproxy: show the bodies of each wire format as text.

mitmproxy keeps one registry of views in the process; each of ours is preferred for the routes of
its wire format only.
"""

import re
from collections.abc import Callable

from mitmproxy import contentviews, http
from mitmproxy.contentviews import Contentview, Metadata

from aibridge_addon.formats import FORMATS, Format
from aibridge_addon.formats.content import Conversation, ModelMessage
from aibridge_addon.formats.view import View
from aibridge_addon.raw_json import JSON, mapping, read, text
from aibridge_addon.views.blocks import WIDTH, json_line
from aibridge_addon.views.conversation_text import conversation_text, message_text
from aibridge_addon.views.flow_notes import notes_of

PRIORITY = 2
"""More than any view of mitmproxy."""
_MOST_BYTES = 32 * 1024 * 1024
"""Largest body that is parsed: mitmproxy waits meanwhile."""

_STARTS = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:\{|event:|data:|id:|retry:|:)")
"""Start of JSON or of an event stream; a page of HTML has better views."""

_STARTS_OF_ARRAYS = re.compile(_STARTS.pattern + rb"|\s*\[")

type FormatOf = Callable[[http.HTTPFlow], Format | None]
"""Returns the wire format of a flow's route."""


def register_views(format_of: FormatOf) -> None:
    """Register a content view for each wire format that can be read."""
    for wire_format in FORMATS.values():
        if wire_format.view:
            contentviews.add(FormatContentview(wire_format, wire_format.view, format_of))


class FormatContentview(Contentview):
    """Shows requests, responses and WebSocket messages of one wire format."""

    def __init__(self, wire_format: Format, view: View, format_of: FormatOf) -> None:
        self._wire_format = wire_format
        self._view = view
        self._format_of = format_of

    @property
    def name(self) -> str:
        """The name in the list of views."""
        return self._wire_format.name.replace("_", " ")

    def render_priority(self, data: bytes, metadata: Metadata) -> float:
        """Return a priority above all others for bodies on a route of this wire format."""
        flow = metadata.flow
        starts = _STARTS_OF_ARRAYS if self._view.reads_arrays else _STARTS
        if not starts.match(data) or len(data) > _MOST_BYTES or not isinstance(flow, http.HTTPFlow):
            return -1
        return PRIORITY if self._format_of(flow) is self._wire_format else -1

    def prettify(self, data: bytes, metadata: Metadata) -> str:
        """Return a body or a message as text; as it is if it does not belong to this format."""
        if metadata.websocket_message:
            return self._websocket_message(data, metadata)
        if isinstance(metadata.http_message, http.Request):
            return self._request(data)
        return self._response(data, metadata)

    def _request(self, data: bytes) -> str:
        conversation = self._view.read_request(data)
        return _raw(data) if conversation == Conversation() else conversation_text(conversation)

    def _response(self, data: bytes, metadata: Metadata) -> str:
        message = self._view.read_response(data)
        if message == ModelMessage():
            return _raw(data)
        return message_text(message, notes_of(metadata.flow))

    def _websocket_message(self, data: bytes, metadata: Metadata) -> str:
        message = mapping(read(data))
        kind = text(message.get("type"))
        if kind is None:
            return _raw(data)
        if metadata.websocket_message and metadata.websocket_message.from_client:
            return self._client_message(kind, data)
        return _event_line(kind, message) if _is_piece(message) else self._event(kind, data)

    def _client_message(self, kind: str, data: bytes) -> str:
        return f"{kind}\n{conversation_text(self._view.read_request(data))}"

    def _event(self, kind: str, data: bytes) -> str:
        message = self._view.read_response(data)
        if message.complete or message.error:
            return f"{kind}\n{message_text(message)}"
        return f"{kind}  {message.response_id or ''}".rstrip()


def _raw(data: bytes) -> str:
    # mitmproxy logs a traceback of a view that raises.
    return data.decode(errors="backslashreplace")


def _is_piece(event: dict[str, JSON]) -> bool:
    """Return True if an event is a piece of a response, unlike its end or an error."""
    return "response" not in event and "error" not in event


def _event_line(kind: str, event: dict[str, JSON]) -> str:
    """Return a piece of a response as a line: its text if it has one."""
    content = next((event[name] for name in ("delta", "item", "part") if name in event), None)
    if isinstance(content, str):
        return f"{kind}  {content!r}"
    rest = {name: value for name, value in event.items() if name != "type"}
    return f"{kind}  {json_line(content or rest, WIDTH - len(kind))}"
