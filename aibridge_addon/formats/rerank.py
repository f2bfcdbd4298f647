"""Ranking of documents: `POST /rerank`, as Cohere, Jina, Voyage and Together serve it. Sans-io.

NVIDIA calls it `/reranking`, and scores logits.

Cohere bills search units, the others tokens, of which some report the total only.
"""

from collections.abc import Iterable

from aibridge_addon.facts import RequestFacts, ResponseFacts, Usage
from aibridge_addon.formats.base import RequestView
from aibridge_addon.formats.content import Part
from aibridge_addon.formats.openai_other import OpenAIFormat, PlainView
from aibridge_addon.formats.openai_usage import read_input_usage
from aibridge_addon.formats.usage import Places, counts_at, states_tokens
from aibridge_addon.raw_json import JSON, mapping, member, sequence, text

_RESULTS = ("results", "data", "rankings")
_UNITS: Places = (("search_units", ("billed_units", "search_units")),)  # Cohere


class Rerank(OpenAIFormat):
    """Wire format of `POST /rerank`."""

    name = "rerank"

    def __init__(self) -> None:
        self.view = RerankView(self)

    def read_request(self, request: RequestView) -> RequestFacts:
        """Read a request."""
        model = text(member(dict(request.members), "model"))
        return RequestFacts(model=model, request_kind="side")

    def read_response(self, document: dict[str, JSON]) -> ResponseFacts | None:
        """Read the ranks of the documents."""
        if not any(isinstance(document.get(name), list) for name in _RESULTS):
            return None
        usage = mapping(document.get("usage"))
        own = read_input_usage(usage) or _read_units(mapping(document.get("meta")))
        return ResponseFacts(
            response_id=text(document.get("id")),
            model=text(document.get("model")),
            usage=own,
            usage_unreadable=own is None and states_tokens(usage),
        )


def _read_units(meta: dict[str, JSON]) -> Usage | None:
    units = counts_at(meta, _UNITS)
    if not units:
        return None
    return Usage(input_tokens=None, output_tokens=None, extra=units, raw=meta)


class RerankView(PlainView):
    """Reads bodies of `POST /rerank`."""

    history_member = "documents"
    content_member = "results"

    def response_parts(self, document: dict[str, JSON]) -> Iterable[Part]:
        """Return the ranks: the number of each document, and its score."""
        for name in _RESULTS:
            for result in map(mapping, sequence(document.get(name))):
                score = result.get("relevance_score", result.get("logit"))
                rank = f"document {result.get('index')}: {score}"
                yield Part(kind="text", text=rank)


FORMAT = Rerank()
