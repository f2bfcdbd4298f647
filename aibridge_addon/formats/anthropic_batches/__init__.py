"""Anthropic's API for batches: `POST /v1/messages/batches`, and the results of one. Sans-io.

The state of a batch has no usage; each line of its results has a message with its own.
"""

from collections.abc import Iterable
from functools import partial

from aibridge_addon.facts import RequestFacts, ResponseFacts
from aibridge_addon.formats.anthropic_messages import FORMAT as MESSAGES
from aibridge_addon.formats.anthropic_messages.errors import error_body
from aibridge_addon.formats.base import RequestView
from aibridge_addon.formats.batch_requests import with_requests
from aibridge_addon.formats.batch_results import BatchResults
from aibridge_addon.formats.content import Part
from aibridge_addon.formats.openai_other import OpenAIFormat, PlainView
from aibridge_addon.formats.parts import text_part
from aibridge_addon.formats.tool_protocol import Members
from aibridge_addon.raw_json import JSON, elements, member, members, text


class AnthropicBatches(OpenAIFormat):
    """Wire format of `POST /v1/messages/batches`."""

    name = "anthropic_batches"
    bills_later = True
    is_held_in_budgets = False

    def __init__(self) -> None:
        self.view = BatchesView(self)

    def read_request(self, request: RequestView) -> RequestFacts:
        """Read a request; its model is the model of its first request."""
        first = next(iter(elements(request.members.get("requests"))), None)
        entry = members(first) if first is not None else None
        params = members(entry["params"]) if entry and "params" in entry else None
        return RequestFacts(model=text(member(params or {}, "model")), background=True)

    def read_response(self, document: dict[str, JSON]) -> ResponseFacts | None:
        """Read the state of a batch, which goes on until its results are read."""
        if document.get("type") != "message_batch":
            return None
        return ResponseFacts(response_id=text(document.get("id")), pending=True)

    def lower_output_limit(self, body: bytes, given: Members, most: int) -> bytes:
        """Lower the limit of each request."""
        return with_requests(body, ("requests", "params"), partial(_lowered, most=most))

    def error(
        self, status: int, message: str, error_type: str | None = None, code: str | None = None
    ) -> bytes:
        """Return an error in the shape of the Messages API."""
        return error_body(status, message, error_type)


def _lowered(params: bytes, most: int) -> bytes:
    return MESSAGES.lower_output_limit(params, members(params) or {}, most)


class BatchesView(PlainView):
    """Reads bodies of `POST /v1/messages/batches`: each request is shown as JSON."""

    history_member = "requests"
    content_member = "processing_status"

    def response_parts(self, document: dict[str, JSON]) -> Iterable[Part]:
        """Return the status."""
        if status := text(document.get("processing_status")):
            yield text_part(f"batch: {status}")


class AnthropicBatchResults(BatchResults):
    """The results of a batch."""

    name = "anthropic_batch_results"

    def read_line(self, line: Members) -> ResponseFacts | None:
        """Read the message in a line; failed, cancelled and expired requests have none."""
        result = members(line["result"]) if "result" in line else None
        if not result or "message" not in result:
            return None
        return MESSAGES.read_whole(bytes(result["message"]))

    def read_whole(self, body: bytes) -> ResponseFacts:
        """Read an error."""
        return MESSAGES.read_whole(body)

    def error(
        self, status: int, message: str, error_type: str | None = None, code: str | None = None
    ) -> bytes:
        """Return an error in the shape of the Messages API."""
        return error_body(status, message, error_type)


FORMAT = AnthropicBatches()
RESULTS = AnthropicBatchResults()
