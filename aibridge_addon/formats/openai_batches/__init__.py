"""OpenAI's API for batches: `POST /batches`, its polls, and the file with its results. Sans-io.

The batch states the sum of its usage once it has ended. Hosts that state none have it in the file.
"""

from collections.abc import Iterable
from dataclasses import replace

from aibridge_addon.facts import ProviderError, RequestFacts, ResponseFacts
from aibridge_addon.formats.base import Format, RequestView
from aibridge_addon.formats.batch_results import BATCH, BatchResults
from aibridge_addon.formats.content import Part
from aibridge_addon.formats.openai_chat import FORMAT as CHAT
from aibridge_addon.formats.openai_completions import FORMAT as COMPLETIONS
from aibridge_addon.formats.openai_embeddings import FORMAT as EMBEDDINGS
from aibridge_addon.formats.openai_errors import error_body, error_facts
from aibridge_addon.formats.openai_moderations import FORMAT as MODERATIONS
from aibridge_addon.formats.openai_other import OpenAIFormat, PlainView, read_document
from aibridge_addon.formats.openai_responses import FORMAT as RESPONSES
from aibridge_addon.formats.openai_usage import RESPONSES_NAMES, read_usage
from aibridge_addon.formats.parts import text_part
from aibridge_addon.formats.tool_protocol import Members
from aibridge_addon.formats.usage import so_far, states_tokens
from aibridge_addon.raw_json import JSON, mapping, member, members, sequence, text

_RUNNING = ("validating", "in_progress", "finalizing", "cancelling")


class OpenAIBatches(OpenAIFormat):
    """Wire format of `POST /batches` and `GET /batches/{id}`."""

    name = "openai_batches"
    bills_later = True
    is_held_in_budgets = False

    def __init__(self) -> None:
        self.view = BatchesView(self)

    def read_request(self, request: RequestView) -> RequestFacts:
        """Read a request; its models are in a file that was uploaded before."""
        return RequestFacts(background=True)

    def read_response(self, document: dict[str, JSON]) -> ResponseFacts | None:
        """Read the state of a batch, with its usage once it has ended."""
        if document.get("object") != BATCH:
            return None
        status = text(document.get("status"))
        given = mapping(document.get("usage"))
        usage = read_usage(given, RESPONSES_NAMES, outside={"service_tier": BATCH})
        is_running = status in _RUNNING
        file_id = text(document.get("output_file_id"))
        if file_id and not is_running:  # there are results, so that zeros are placeholders
            usage = so_far(usage)
        results_id = None if usage or is_running else file_id
        return ResponseFacts(
            response_id=text(document.get("id")),
            model=text(document.get("model")),
            usage=None if is_running else usage,
            usage_unreadable=usage is None and states_tokens(given),
            error=_failure(document) if status == "failed" else None,
            pending=is_running or results_id is not None,
            cancelled=status == "cancelled",
            results_id=results_id,
        )


def _failure(document: dict[str, JSON]) -> ProviderError:
    errors = sequence(mapping(document.get("errors")).get("data"))
    return error_facts(mapping(errors[0] if errors else None))


class BatchesView(PlainView):
    """Reads bodies of `POST /batches`: the input is shown as the id of its file."""

    history_member = "input_file_id"
    content_member = "status"

    def response_parts(self, document: dict[str, JSON]) -> Iterable[Part]:
        """Return the status."""
        if status := text(document.get("status")):
            yield text_part(f"batch: {status}")


_FORMATS: dict[str, Format] = {
    "chat.completion": CHAT,
    "text_completion": COMPLETIONS,
    "response": RESPONSES,
    "list": EMBEDDINGS,
}
"""Formats of the responses in a file of results, by their `object`."""


class OpenAIBatchResults(BatchResults):
    """The file with the results of a batch."""

    name = "openai_batch_results"

    def read_line(self, line: Members) -> ResponseFacts | None:
        """Read the response in a line."""
        response = members(line["response"]) if "response" in line else None
        body = response.get("body") if response else None
        if body is None:
            return None
        kind = text(member(members(body) or {}, "object")) or ""
        facts = _FORMATS.get(kind, MODERATIONS).read_whole(bytes(body))
        return replace(facts, unreadable=0) if facts.error else facts

    def read_whole(self, body: bytes) -> ResponseFacts:
        """Read an error."""
        return read_document(body, lambda document: None)

    def error(
        self, status: int, message: str, error_type: str | None = None, code: str | None = None
    ) -> bytes:
        """Return an error in the shape of OpenAI's APIs."""
        return error_body(status, message, error_type, code)


FORMAT = OpenAIBatches()
RESULTS = OpenAIBatchResults()
