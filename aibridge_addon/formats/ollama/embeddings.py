"""Embeddings of Ollama's API: `POST /api/embed`, and the older `POST /api/embeddings`. Sans-io.

Nobody types what is embedded, so that no prompts are recorded; vectors are not stored. The older
route counts no tokens.
"""

from collections.abc import Iterable
from dataclasses import replace

from aibridge_addon.facts import ResponseFacts
from aibridge_addon.formats.content import Part, StoredPart
from aibridge_addon.formats.ollama.errors import error_body, read_error
from aibridge_addon.formats.ollama.usage import read_usage, states_tokens, usage_members
from aibridge_addon.formats.openai_embeddings import OpenAIEmbeddings
from aibridge_addon.formats.openai_other import PlainView
from aibridge_addon.raw_json import JSON, as_raw, mapping, members, read, sequence, text
from aibridge_addon.raw_json import body as body_of

_ONE, _SEVERAL = "embedding", "embeddings"


class OllamaEmbeddings(OpenAIEmbeddings):
    """Wire format of embeddings, whose requests are like OpenAI's."""

    name = "ollama_embeddings"

    def __init__(self) -> None:
        self.view = EmbeddingsView(self)

    def read_whole(self, body: bytes) -> ResponseFacts:
        """Read embeddings, or an error."""
        facts = super().read_whole(body)
        return replace(facts, error=read_error(mapping(read(body)))) if facts.error else facts

    def read_response(self, document: dict[str, JSON]) -> ResponseFacts | None:
        """Read the embeddings of a request."""
        if not any(isinstance(document.get(name), list) for name in (_ONE, _SEVERAL)):
            return None
        counted = usage_members(document)
        own = read_usage(counted)
        return ResponseFacts(
            model=text(document.get("model")),
            usage=own and replace(own, output_tokens=0),
            usage_unreadable=own is None and states_tokens(counted),
        )

    def error(
        self, status: int, message: str, error_type: str | None = None, code: str | None = None
    ) -> bytes:
        """Return an error in the shape of Ollama's API."""
        return error_body(message, error_type, code)


class EmbeddingsView(PlainView):
    """Reads bodies of `POST /api/embed` and `POST /api/embeddings`."""

    content_member = _SEVERAL

    def split_request(self, body: bytes) -> list[StoredPart]:
        """Split the body of a request; the older route has its input in `prompt`."""
        given = members(body) or {}
        if "prompt" in given and "input" not in given:
            given["input"] = given.pop("prompt")
            body = body_of(given)
        return super().split_request(body)

    def assemble_response(self, body: bytes) -> bytes:
        """Return a response without the numbers of its vectors."""
        document = mapping(read(super().assemble_response(body)))
        if not document:
            return b""
        short = {name: value for name, value in document.items() if name != _ONE}
        if count := _vectors(document):
            short[_SEVERAL] = [[]] * count
        return bytes(as_raw(short))

    def response_parts(self, document: dict[str, JSON]) -> Iterable[Part]:
        """Return the number of vectors."""
        if count := _vectors(document):
            yield Part(kind="other", name="embeddings", text=f"{count} vectors")


def _vectors(document: dict[str, JSON]) -> int:
    """Return the number of vectors; the older route has one."""
    return len(sequence(document.get(_SEVERAL))) or bool(document.get(_ONE))


FORMAT = OllamaEmbeddings()
