"""`POST /cachedContents`: content that later requests use as a part of their prompt. Sans-io.

Its tokens are written to a cache, as the record says it. How long they are stored, which is billed
by the hour, no response states.
"""

from collections.abc import Iterable
from dataclasses import replace

from aibridge_addon.facts import RequestFacts, ResponseFacts, Usage
from aibridge_addon.formats.base import RequestView
from aibridge_addon.formats.content import Part
from aibridge_addon.formats.gemini.names import named
from aibridge_addon.formats.gemini.other import GoogleFormat, named_model
from aibridge_addon.formats.gemini.usage import states_tokens
from aibridge_addon.formats.gemini.view import GeminiView
from aibridge_addon.formats.parts import text_part
from aibridge_addon.formats.tool_protocol import Members
from aibridge_addon.raw_json import JSON, count, mapping, text


class CachedContents(GoogleFormat):
    """Wire format of `POST /cachedContents`."""

    name = "gemini_caches"
    makes_objects = True

    def __init__(self) -> None:
        self.view = CachesView()

    def read_request(self, request: RequestView) -> RequestFacts:
        """Read a request, whose model is in the body. Nobody types what is cached."""
        return replace(named_model(request), request_kind="side")

    def output_limit(self, members: Members) -> int | None:
        """Return 0: there is no output."""
        return 0

    def read_response(self, document: dict[str, JSON]) -> ResponseFacts | None:
        """Read the name of a cached content, and its tokens."""
        name = text(document.get("name"))
        if not name:
            return None
        usage = mapping(named(document, "usageMetadata"))
        tokens = count(named(usage, "totalTokenCount"))
        return ResponseFacts(
            response_id=name,
            usage=None if tokens is None else _written(tokens, usage),
            usage_unreadable=tokens is None and states_tokens(usage),
        )


def _written(tokens: int, usage: dict[str, JSON]) -> Usage:
    return Usage(input_tokens=0, output_tokens=0, cache_write_input_tokens=tokens, raw=usage)


class CachesView(GeminiView):
    """Reads bodies of `POST /cachedContents`: requests are those of the Gemini API."""

    content_member = "name"
    reads_arrays = False

    def read_whole(self, body: bytes) -> ResponseFacts:
        """Read the facts of a cached content, or of an error."""
        return FORMAT.read_whole(body)

    def response_parts(self, document: dict[str, JSON]) -> Iterable[Part]:
        """Return the name of the cached content."""
        if name := text(document.get("name")):
            yield text_part(name)

    def stop_reason(self, document: dict[str, JSON]) -> str | None:
        """Return no reason: a cached content has none."""
        return None


FORMAT = CachedContents()
