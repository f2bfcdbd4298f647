"""Embeddings of the Gemini API: `embedContent` and `batchEmbedContents`. Sans-io.

Nobody types what is embedded, so that no prompts are recorded; vectors are not stored. Only newer
models report their usage.
"""

from collections.abc import Iterable
from dataclasses import replace

from aibridge_addon.facts import RequestFacts, ResponseFacts, Usage
from aibridge_addon.formats.base import RequestView
from aibridge_addon.formats.content import Message, Part
from aibridge_addon.formats.gemini.names import named
from aibridge_addon.formats.gemini.other import GoogleFormat, named_model
from aibridge_addon.formats.gemini.request import texts_of
from aibridge_addon.formats.gemini.usage import read_usage, states_tokens
from aibridge_addon.formats.openai_other import PlainView
from aibridge_addon.formats.parts import text_part
from aibridge_addon.formats.tool_protocol import Members
from aibridge_addon.raw_json import JSON, as_raw, mapping, read, sequence


class GeminiEmbeddings(GoogleFormat):
    """Wire format of embeddings."""

    name = "gemini_embeddings"

    def __init__(self) -> None:
        self.view = EmbeddingsView(self)

    def read_request(self, request: RequestView) -> RequestFacts:
        """Read a request: its model, which the path names."""
        return replace(named_model(request), request_kind="side")

    def output_limit(self, members: Members) -> int | None:
        """Return 0: there is no output."""
        return 0

    def read_response(self, document: dict[str, JSON]) -> ResponseFacts | None:
        """Read the embeddings of a request."""
        if not _vectors(document):
            return None
        usage = mapping(named(document, "usageMetadata")) or _count_of_batch(document)
        return ResponseFacts(
            usage=(own := _without_output(read_usage(usage))),
            usage_unreadable=own is None and states_tokens(usage),
        )


class EmbeddingsView(PlainView):
    """Reads bodies of `embedContent` and `batchEmbedContents`."""

    history_member = "requests"
    content_member = "embeddings"

    def read_message(self, given: JSON, role: str) -> Message:
        """Read an element of the input."""
        texts = texts_of(mapping(given).get("content"))
        return Message(role=role, parts=tuple(map(text_part, texts)))

    def assemble_response(self, body: bytes) -> bytes:
        """Return a response without the numbers of its vectors."""
        document = mapping(read(super().assemble_response(body)))
        if not document:
            return b""
        short = {name: value for name, value in document.items() if name != "embedding"}
        if vectors := _vectors(document):
            short["embeddings"] = [
                {name: value for name, value in vector.items() if name != "values"}
                for vector in vectors
            ]
        return bytes(as_raw(short))

    def response_parts(self, document: dict[str, JSON]) -> Iterable[Part]:
        """Return the number of vectors."""
        if vectors := _vectors(document):
            yield Part(kind="other", name="embeddings", text=f"{len(vectors)} vectors")


def _without_output(usage: Usage | None) -> Usage | None:
    return replace(usage, output_tokens=usage.output_tokens or 0) if usage else None


def _count_of_batch(document: dict[str, JSON]) -> dict[str, JSON]:
    """Return the usage of a vector in the results of a batch, which states one count."""
    tokens = named(document, "tokenCount")
    if isinstance(tokens, str) and tokens.isdecimal():  # 64-bit integers are texts
        tokens = int(tokens)
    return {} if tokens is None else {"promptTokenCount": tokens}


def _vectors(document: dict[str, JSON]) -> list[dict[str, JSON]]:
    """Return the vectors of a response, of one content or of several."""
    if isinstance(single := document.get("embedding"), dict):
        return [single]
    return [mapping(vector) for vector in sequence(document.get("embeddings"))]


FORMAT = GeminiEmbeddings()
