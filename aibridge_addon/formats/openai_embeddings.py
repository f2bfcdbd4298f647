"""OpenAI's API for embeddings: `POST /embeddings`. Sans-io.

Nobody types what is embedded, so that no prompts are recorded; vectors are not stored.
"""

from collections.abc import Iterable

from aibridge_addon.facts import RequestFacts, ResponseFacts
from aibridge_addon.formats.base import RequestView
from aibridge_addon.formats.content import Part
from aibridge_addon.formats.openai_other import OpenAIFormat, PlainView
from aibridge_addon.formats.openai_usage import read_input_usage
from aibridge_addon.formats.tool_protocol import Members
from aibridge_addon.formats.usage import states_tokens
from aibridge_addon.raw_json import JSON, as_raw, mapping, member, read, sequence, text


class OpenAIEmbeddings(OpenAIFormat):
    """Wire format of `POST /embeddings`."""

    name = "openai_embeddings"

    def __init__(self) -> None:
        self.view: PlainView = EmbeddingsView(self)

    def read_request(self, request: RequestView) -> RequestFacts:
        """Read a request."""
        model = text(member(dict(request.members), "model"))
        return RequestFacts(model=model, request_kind="side")

    def output_limit(self, members: Members) -> int | None:
        """Return 0: there is no output."""
        return 0

    def read_response(self, document: dict[str, JSON]) -> ResponseFacts | None:
        """Read the embeddings of a request."""
        if not isinstance(document.get("data"), list):
            return None
        usage = mapping(document.get("usage"))
        return ResponseFacts(
            response_id=text(document.get("id")),
            model=text(document.get("model")),
            usage=(own := read_input_usage(usage)),
            usage_unreadable=own is None and states_tokens(usage),
        )


class EmbeddingsView(PlainView):
    """Reads bodies of `POST /embeddings`."""

    content_member = "data"

    def assemble_response(self, body: bytes) -> bytes:
        """Return a response without the numbers of its vectors."""
        document = mapping(read(super().assemble_response(body)))
        if not document:
            return b""
        return bytes(as_raw(_without_vectors(document)))

    def response_parts(self, document: dict[str, JSON]) -> Iterable[Part]:
        """Return the number of vectors."""
        if vectors := sequence(document.get("data")):
            yield Part(kind="other", name="embeddings", text=f"{len(vectors)} vectors")


def _without_vectors(document: dict[str, JSON]) -> dict[str, JSON]:
    """Return a document without vectors; those of Voyage's chunks are a level deeper."""
    short = {name: value for name, value in document.items() if name != "embedding"}
    if "data" in short:
        short["data"] = [_without_vectors(mapping(one)) for one in sequence(short["data"])]
    return short


FORMAT = OpenAIEmbeddings()
