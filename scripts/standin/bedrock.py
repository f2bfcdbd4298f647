"""Amazon Bedrock as the provider speaks it: the framing of AWS around Claude, and Converse.

The model and whether to stream are in the path. `read` gets them as members of the body.
"""

import base64
import re
import zlib
from types import ModuleType
from typing import Any
from urllib.parse import unquote

from standin import anthropic_messages, bedrock_converse, bedrock_models
from standin.asked import ask_of
from standin.plan import Ask, Plan
from standin.rendering import Rendered, encode

_PATH = re.compile(r"/model/([^/]+)/(invoke|converse)(-with-response-stream|-stream)?")
_COUNT_TOKENS = re.compile(r"/model/[^/]+/count-tokens")

CONTENT_TYPE = "application/vnd.amazon.eventstream"
REQUEST_ID_HEADER = "x-amzn-requestid"
HEADERS: tuple[tuple[str, str], ...] = ()
_ERROR_TYPES = {
    400: "ValidationException",
    403: "AccessDeniedException",
    404: "ResourceNotFoundException",
    429: "ThrottlingException",
    503: "ServiceUnavailableException",
}


class Invoke(ModuleType):
    """InvokeModel at one path, with the members of an API's module."""

    CONTENT_TYPE = CONTENT_TYPE
    REQUEST_ID_HEADER = REQUEST_ID_HEADER
    HEADERS = HEADERS

    def __init__(self, model: str, *, stream: bool) -> None:
        super().__init__("invoke")
        self._model, self._stream = model, stream

    def read(self, body: dict[str, Any], size: int) -> Ask:
        """Read a request."""
        return anthropic_messages.read({**body, "model": self._model, "stream": self._stream}, size)

    def render_stream(self, plan: Plan, include_usage: bool = True) -> Rendered:
        """Render the events of a message, which are framed once they have their number."""
        return Framed(anthropic_messages.render_stream(plan).events)

    def render_body(self, plan: Plan) -> Rendered:
        """Render a message."""
        return anthropic_messages.render_body(plan)

    def error_body(self, status: int, message: str) -> bytes:
        """Render an error."""
        return error_body(status, message)

    def error_event(self) -> bytes:
        """Render an exception in the middle of a stream."""
        return exception()


class Converse(Invoke):
    """Converse at one path."""

    def read(self, body: dict[str, Any], size: int) -> Ask:
        """Read a request."""
        return bedrock_converse.read(body, size, model=self._model, stream=self._stream)

    def render_stream(self, plan: Plan, include_usage: bool = True) -> Rendered:
        """Render the events of a message, which are framed once they have their number."""
        return Framed(bedrock_converse.events(plan))

    def render_body(self, plan: Plan) -> Rendered:
        """Render a message."""
        return Rendered((encode(bedrock_converse.document(plan)),))


class OtherModel(Invoke):
    """InvokeModel with a model other than Claude."""

    def __init__(self, model: str, *, stream: bool) -> None:
        super().__init__(model, stream=stream)
        self._family = bedrock_models.family_of(model) or ""

    def read(self, body: dict[str, Any], size: int) -> Ask:
        """Read a request."""
        return ask_of(bedrock_models.said_in(body), self._model, size, stream=self._stream)

    def render_stream(self, plan: Plan, include_usage: bool = True) -> Rendered:
        """Render the events of a response, which are framed last."""
        return Framed(bedrock_models.events(plan, self._family))

    def render_body(self, plan: Plan) -> Rendered:
        """Render a response."""
        return bedrock_models.render_body(plan, self._family)


class Framed(Rendered):
    """Events of a stream as `event: NAME` and `data: JSON`, framed last."""

    def numbered(self, number: int) -> list[bytes]:
        """Return the frames with the response's number in place."""
        return [_framed(event) for event in super().numbered(number)]


def api_of(path: str) -> ModuleType | None:
    """Return the API at a path; None if it is not a path of Bedrock."""
    found = _PATH.fullmatch(path)
    if found is None:
        return None
    model = unquote(found[1])
    invoked = OtherModel if bedrock_models.family_of(model) else Invoke
    kind = invoked if found[2] == "invoke" else Converse
    return kind(model, stream=found[3] is not None)


def other_answer(path: str, size: int) -> Any:
    """Return the number of tokens on its route; None on any other route."""
    return {"inputTokens": (size + 3) // 4} if _COUNT_TOKENS.fullmatch(path) else None


def error_body(status: int, message: str) -> bytes:
    """Render an error."""
    return encode(
        {"__type": _ERROR_TYPES.get(status, "InternalServerException"), "message": message}
    )


def exception() -> bytes:
    """Render an exception in the middle of a stream."""
    headers = {
        ":exception-type": "throttlingException",
        ":content-type": "application/json",
        ":message-type": "exception",
    }
    return frame(headers, encode({"message": "Too many requests"}))


def frame(headers: dict[str, str], payload: bytes) -> bytes:
    """Encode a frame."""
    block = b"".join(
        bytes([len(name)]) + name.encode() + b"\7" + len(value).to_bytes(2) + value.encode()
        for name, value in headers.items()
    )
    lengths = (len(block) + len(payload) + 16).to_bytes(4) + len(block).to_bytes(4)
    begun = lengths + zlib.crc32(lengths).to_bytes(4) + block + payload
    return begun + zlib.crc32(begun).to_bytes(4)


def _framed(event: bytes) -> bytes:
    head, _, data = event.rstrip(b"\n").rpartition(b"data: ")
    kind = head.removeprefix(b"event: ").rstrip(b"\n").decode()
    if kind not in bedrock_converse.EVENTS:
        kind, data = "chunk", encode({"bytes": base64.b64encode(data).decode(), "p": "abcde"})
    return frame(
        {":event-type": kind, ":content-type": "application/json", ":message-type": "event"}, data
    )
