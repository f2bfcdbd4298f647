"""A plugin: a provider type and its wire format, in one file outside of the package.

The toy API streams JSON lines. Its path names the model, and a header of its own holds the key:

    POST /models/{model}:stream    x-toy-key: KEY
    {"text": "Hel"}
    {"text": "lo."}
    {"done": true, "usage": {"read": 3, "written": 5}}
"""

import re

from aibridge_addon import formats
from aibridge_addon.facts import ProviderError, RequestFacts, ResponseFacts, Usage
from aibridge_addon.formats import EventDecoder, Format, Reader, RequestView, ResponseHead
from aibridge_addon.formats.decoders.sse import Event
from aibridge_addon.providers import types
from aibridge_addon.providers.types import ProviderType, RouteTemplate
from aibridge_addon.raw_json import JSON, encode, mapping, member, read, text


class Lines:
    """Decoder of JSON lines."""

    def __init__(self) -> None:
        self._line = b""

    @property
    def pending(self) -> int:
        return len(self._line)

    def feed(self, chunk: bytes, unwanted: re.Pattern[bytes] | None = None) -> list[Event]:
        *lines, self._line = (self._line + chunk).split(b"\n")
        return [Event(b"", line, line + b"\n") for line in lines]

    def close(self) -> Event | None:
        return Event(b"", self._line, self._line) if self._line else None


class ToyReader(Reader):
    """Reads the usage of the last line."""

    def __init__(self) -> None:
        super().__init__()
        self._usage: Usage | None = None

    def on_data(self, data: dict[str, JSON]) -> None:
        if data.get("done"):
            self._usage = _usage(data)
            self._has_end = self.ended = True

    def content(self) -> ResponseFacts:
        return ResponseFacts(usage=self._usage)


class ToyText(Format):
    """The toy API."""

    name = "toy_text"

    def read_request(self, request: RequestView) -> RequestFacts:
        prompt = text(member(dict(request.members), "prompt")) or ""
        return RequestFacts(
            model=request.path_values["model"],
            streaming=True,
            user_texts=((prompt,),),
            position="0",
        )

    def reader(self) -> ToyReader:
        return ToyReader()

    def decoder(self, head: ResponseHead) -> EventDecoder | None:
        return Lines() if head.media_type == "application/jsonl" else None

    def read_whole(self, body: bytes) -> ResponseFacts:
        error = ProviderError(type=None, message=text(mapping(read(body)).get("toy_error")))
        return ResponseFacts(error=error, complete=True)

    def error(
        self, status: int, message: str, error_type: str | None = None, code: str | None = None
    ) -> bytes:
        return encode({"toy_error": message}).encode()


def _usage(data: dict[str, JSON]) -> Usage:
    usage = mapping(data["usage"])
    return Usage(input_tokens=usage["read"], output_tokens=usage["written"], raw=usage)


formats.register(ToyText())
types.register(
    ProviderType(
        name="toy",
        error_format="toy_text",
        key_header="x-toy-key",
        key_value="{key}",
        routes=(
            RouteTemplate(
                path="/models/{model}:stream", methods=frozenset({"POST"}), api="toy_text"
            ),
        ),
    )
)
