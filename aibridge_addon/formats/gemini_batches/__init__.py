"""Batches of the Gemini API: `batchGenerateContent`, `asyncBatchEmbedContent`, polls. Sans-io.

A batch is an operation. Its results are in the operation, or in a file of JSON lines.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial

from msgspec import Raw

from aibridge_addon.facts import RequestFacts, ResponseFacts, Usage
from aibridge_addon.facts.model_names import plain_model
from aibridge_addon.formats.base import Format, RequestView
from aibridge_addon.formats.batch_requests import with_requests
from aibridge_addon.formats.batch_results import BatchResults, usages_of_line
from aibridge_addon.formats.content import Part
from aibridge_addon.formats.gemini import FORMAT as GENERATED
from aibridge_addon.formats.gemini.embeddings import FORMAT as EMBEDDINGS
from aibridge_addon.formats.gemini.errors import error_body, read_error
from aibridge_addon.formats.gemini.model import renamed
from aibridge_addon.formats.gemini.names import named
from aibridge_addon.formats.gemini.other import GoogleFormat, named_model
from aibridge_addon.formats.openai_other import PlainView
from aibridge_addon.formats.parts import text_part
from aibridge_addon.formats.tool_protocol import Members
from aibridge_addon.raw_json import JSON, as_raw, mapping, members, read, sequence, text

_BATCH = "batch"
_TO_REQUESTS = (_BATCH, "inputconfig", "requests", "requests", "request")
_ENDED = ("SUCCEEDED", "FAILED", "CANCELLED", "EXPIRED")


class GeminiBatches(GoogleFormat):
    """Wire format of `:batchGenerateContent`, `:asyncBatchEmbedContent` and `GET /batches/{id}`."""

    name = "gemini_batches"
    bills_later = True
    is_held_in_budgets = False

    def __init__(self) -> None:
        self.view = BatchesView(self)

    def read_request(self, request: RequestView) -> RequestFacts:
        """Read a request, whose model is in the path."""
        return replace(named_model(request), background=True)

    def with_model(self, members: Members, model: str) -> Mapping[str, JSON]:
        """Return the members that repeat the model of the path, with another model."""
        if _BATCH not in members:
            return {}
        rename = partial(renamed, model=model)
        return {
            _BATCH: Raw(with_requests(rename(bytes(members[_BATCH])), _TO_REQUESTS[1:], rename))
        }

    def lower_output_limit(self, body: bytes, given: Members, most: int) -> bytes:
        """Lower the limit of each request; those of a batch in a file are not seen."""
        return with_requests(body, _TO_REQUESTS, partial(_lowered, most=most))

    def read_whole(self, body: bytes) -> ResponseFacts:
        """Read a batch, which may have failed, or an error in place of it."""
        if facts := self.read_response(mapping(read(body))):
            return replace(facts, complete=True)
        return super().read_whole(body)

    def read_response(self, document: dict[str, JSON]) -> ResponseFacts | None:
        """Read the state of a batch, with the usage of its results if it has them."""
        name = text(document.get("name"))
        if not name or not isinstance(document.get("metadata"), dict):
            return None
        metadata = mapping(document["metadata"])
        model = plain_model(text(metadata.get("model")) or "") or None
        has_ended = document.get("done") is True or _state(document) in _ENDED
        file = text(named(_output(document), "responsesFile"))
        usages, unreadable = _inline_usages(document, model)
        return ResponseFacts(
            response_id=name,
            model=model,
            hidden_usages=tuple(usages),
            usage_unreadable=unreadable,
            error=read_error(document),
            pending=not has_ended or file is not None,
            cancelled=_state(document) == "CANCELLED",
            results_id=file if has_ended else None,
        )


def _lowered(request: bytes, most: int) -> bytes:
    return GENERATED.lower_output_limit(request, members(request) or {}, most)


def _state(document: dict[str, JSON]) -> str:
    state = text(mapping(document.get("metadata")).get("state")) or ""
    return state.rpartition("_STATE_")[2]


def _output(document: dict[str, JSON]) -> dict[str, JSON]:
    """Return the output of a batch, which the operation states in several places."""
    response = mapping(document.get("response"))
    found = (mapping(document.get("metadata")).get("output"), response.get("output"), response)
    return next((output for output in map(mapping, found) if output), {})


def _responses(document: dict[str, JSON]) -> Iterator[dict[str, JSON]]:
    """Yield the results that are in the operation, in the order of the requests."""
    output = _output(document)
    for name in ("inlinedResponses", "inlinedEmbedContentResponses"):
        given = named(output, name)
        yield from map(mapping, sequence(named(given, "inlinedResponses")))


def _inline_usages(document: dict[str, JSON], model: str | None) -> tuple[list[Usage], bool]:
    usages: list[Usage] = []
    unreadable = False
    for number, result in enumerate(_responses(document)):
        if isinstance(result.get("response"), dict):
            facts = _read_result(bytes(as_raw(result["response"])))
            facts = replace(facts, model=facts.model or model)
            usages += usages_of_line(facts, str(number), _key_of(result))
            unreadable = unreadable or bool(facts.unreadable or facts.usage_unreadable)
    return usages, unreadable


def _key_of(result: dict[str, JSON]) -> str:
    return text(mapping(result.get("metadata")).get("key")) or ""


def _read_result(body: bytes) -> ResponseFacts:
    """Read the response to a request of a batch: generated content, or a vector."""
    is_vector = "embedding" in mapping(read(body))
    wire_format: Format = EMBEDDINGS if is_vector else GENERATED
    return wire_format.read_whole(body)


class BatchesView(PlainView):
    """Reads bodies of batches: requests are shown as JSON."""

    history_member = "batch"
    content_member = "metadata"

    def response_parts(self, document: dict[str, JSON]) -> Iterable[Part]:
        """Return the state."""
        if state := _state(document):
            yield text_part(f"batch: {state.lower()}")


class GeminiBatchResults(BatchResults):
    """The file with the results of a batch."""

    name = "gemini_batch_results"
    key_member = "key"

    def read_line(self, line: Members) -> ResponseFacts | None:
        """Read the response in a line; failed requests have none."""
        response = line.get("response")
        if response is None or members(response) is None:
            return None
        return _read_result(bytes(response))

    def read_whole(self, body: bytes) -> ResponseFacts:
        """Read an error."""
        return FORMAT.read_whole(body)

    def error(
        self, status: int, message: str, error_type: str | None = None, code: str | None = None
    ) -> bytes:
        """Return an error in the shape of Google's APIs."""
        return error_body(status, message, error_type, code)


FORMAT = GeminiBatches()
RESULTS = GeminiBatchResults()
