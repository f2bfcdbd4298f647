"""Common parts of Amazon Bedrock's formats: stream framing, errors, and heads. Sans-io.

The model is named in the path of a request. It decides the price, by its prefix for a region or for
all regions too, so that the shorter name in a response never replaces it.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace

from aibridge_addon.facts import ProviderError, RequestFacts, ResponseFacts, Usage
from aibridge_addon.formats.base import EventDecoder, Format, RequestView, ResponseHead
from aibridge_addon.formats.decoders.aws_frames import MEDIA_TYPE, FrameParser, frames_of
from aibridge_addon.formats.decoders.sse import Event
from aibridge_addon.formats.usage import Extra, optional_count
from aibridge_addon.formats.view import View
from aibridge_addon.raw_json import JSON, count, encode, mapping, text

_TYPES: Mapping[int, str] = {
    400: "ValidationException",
    401: "AccessDeniedException",
    403: "AccessDeniedException",
    404: "ResourceNotFoundException",
    408: "ModelTimeoutException",
    413: "ValidationException",
    424: "ModelErrorException",
    429: "ThrottlingException",
    503: "ServiceUnavailableException",
}
_DIGITS = re.compile("[0-9]{1,19}")
"""More digits are not a count, and Python refuses to read thousands of them."""
_PREFIX = "x-amzn-bedrock-"
_LABELS: Mapping[str, str] = {
    "service_tier": _PREFIX + "service-tier",
    "speed": _PREFIX + "performanceconfig-latency",
}
"""Headers of requests and responses that change the price."""


class BedrockFormat(Format):
    """Base of the formats of Amazon Bedrock."""

    def decoder(self, head: ResponseHead) -> EventDecoder | None:
        """Return a decoder of frames if the head announces them."""
        return FrameParser() if head.media_type == MEDIA_TYPE else None

    def error(
        self, status: int, message: str, error_type: str | None = None, code: str | None = None
    ) -> bytes:
        """Return an error as the AWS SDKs show it."""
        kind = error_type or _TYPES.get(status, "InternalServerException")
        return encode({"__type": kind, "message": message}).encode()

    def add_head(self, facts: ResponseFacts, head: ResponseHead) -> ResponseFacts:
        """Add the type of an error, the id, token counts and labels that only headers state."""
        if facts.error and not facts.error.type:
            kind = _short(head.headers.get("x-amzn-errortype"))
            facts = replace(facts, error=replace(facts.error, type=kind))
        usage = facts.usage or (None if facts.error else _usage_of(head.headers))
        if usage:
            usage = replace(usage, extra=labels_of(head.headers) | {**usage.extra})
        response_id = facts.response_id or text(head.headers.get("x-amzn-requestid"))
        return replace(facts, usage=usage, response_id=response_id)


class FramedView(View):
    """Base of the views of formats that are streamed in frames."""

    def stream_events(self, body: bytes) -> Iterable[Event]:
        """Split frames into events; every frame begins with the high byte of its length, zero."""
        return frames_of(body) if body.startswith(b"\0") else super().stream_events(body)


def with_path(facts: RequestFacts, request: RequestView) -> RequestFacts:
    """Return the facts of a request with those that its path and headers state."""
    return replace(
        facts,
        model=text(request.path_values.get("model")),
        streaming=facts.streaming or request.path.endswith("-stream"),
        billing_labels=labels_of(request.headers) | {**facts.billing_labels},
    )


def read_error(document: dict[str, JSON]) -> ProviderError | None:
    """Read the body of an error of AWS; None for any other body."""
    message = document.get("message", document.get("Message"))
    if not isinstance(message, str) and "__type" not in document:
        return None
    return ProviderError(type=_short(document.get("__type")), message=text(message))


def labels_of(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the labels that headers state and that change the price."""
    return {name: value for name, header in _LABELS.items() if (value := headers.get(header))}


def labels_in(document: dict[str, JSON]) -> Extra:
    """Return the labels that a body of Converse states and that change the price."""
    found = {
        "service_tier": text(mapping(document.get("serviceTier")).get("type")),
        "speed": text(mapping(document.get("performanceConfig")).get("latency")),
    }
    return {name: value for name, value in found.items() if value}


def usage_of_metrics(metrics: dict[str, JSON]) -> Usage | None:
    """Read the counts that end a stream of any model; None without them."""
    given, made = count(metrics.get("inputTokenCount")), count(metrics.get("outputTokenCount"))
    if given is None and made is None:
        return None
    return Usage(
        input_tokens=given,
        output_tokens=made,
        cache_read_input_tokens=optional_count(metrics, ("cacheReadInputTokenCount",)),
        cache_write_input_tokens=optional_count(metrics, ("cacheWriteInputTokenCount",)),
        raw=metrics,
    )


def _usage_of(headers: Mapping[str, str]) -> Usage | None:
    names = ("input", "output", "cache-read-input", "cache-write-input")
    counts = {name: headers.get(f"{_PREFIX}{name}-token-count", "") for name in names}
    given, made, read, written = (
        count(int(c)) if _DIGITS.fullmatch(c) else None for c in counts.values()
    )
    if given is None and made is None:
        return None
    return Usage(
        input_tokens=given,
        output_tokens=made,
        cache_read_input_tokens=read if counts["cache-read-input"] else 0,
        cache_write_input_tokens=written if counts["cache-write-input"] else 0,
        raw={f"{name}-token-count": c for name, c in counts.items() if c},
    )


def _short(kind: JSON) -> str | None:
    """Return the name of an error without its namespace and address."""
    name = (text(kind) or "").partition(":")[0].rpartition("#")[2]
    return name or None
