"""Base of Google's smaller APIs: one JSON document, or an error of Google. Sans-io."""

from collections.abc import Mapping
from dataclasses import replace

from aibridge_addon.facts import RequestFacts, ResponseFacts
from aibridge_addon.formats.base import RequestView
from aibridge_addon.formats.gemini.errors import error_body, read_error
from aibridge_addon.formats.gemini.model import with_model
from aibridge_addon.formats.gemini.request import read_request
from aibridge_addon.formats.openai_other import OpenAIFormat
from aibridge_addon.formats.tool_protocol import Members
from aibridge_addon.raw_json import JSON, read


class GoogleFormat(OpenAIFormat):
    """A smaller API of Google."""

    def with_model(self, members: Members, model: str) -> Mapping[str, JSON]:
        """Return the members that repeat the model of the path, with another model."""
        return with_model(members, model)

    def read_whole(self, body: bytes) -> ResponseFacts:
        """Read a response that was not streamed, or an error."""
        facts = super().read_whole(body)
        error = read_error(read(body)) if facts.error else None
        return replace(facts, error=error) if error else facts

    def error(
        self, status: int, message: str, error_type: str | None = None, code: str | None = None
    ) -> bytes:
        """Return an error in the shape of Google's APIs."""
        return error_body(status, message, error_type, code)


def named_model(request: RequestView) -> RequestFacts:
    """Return the model of a request and the labels of its price, and no other facts."""
    facts = read_request(request)
    return RequestFacts(model=facts.model, billing_labels=facts.billing_labels)
