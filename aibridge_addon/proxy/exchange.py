"""The live state of one request to a provider, from its head to its one end.

It stands between mitmproxy's flow, which is shown and saved and must hold plain data without
secrets only, and the facts. Kept by flow id, and dropped with the end.
"""

import logging
from dataclasses import dataclass, field

from mitmproxy import http

from aibridge_addon.apis import WireFormat
from aibridge_addon.codings import UndecodableError, decode_body
from aibridge_addon.facts import ProviderError, ResponseFacts, Status
from aibridge_addon.interception import InterceptionRecord
from aibridge_addon.proxy.headers import Secrets, outgoing
from aibridge_addon.proxy.tap import BodyTap, Withhold
from aibridge_addon.routing import Route

logger = logging.getLogger(__name__)

_BROKEN_OFF = ProviderError(
    type="stream_broken_off",
    message="The stream ended without the event that ends a response.",
)

_SHUT_DOWN = ProviderError(type="shut_down", message="The proxy was shut down.")


@dataclass(slots=True, kw_only=True)
class Exchange:
    """One request to a provider; bridged if it has a `record`."""

    flow: http.HTTPFlow
    route: Route
    secrets: Secrets = field(default_factory=dict)
    wire_format: WireFormat | None = None
    record: InterceptionRecord | None = None
    max_bytes: int
    withhold: Withhold | None = None
    tap: BodyTap | None = None
    partial: bool = False
    """Whether something of the request could not be read."""
    client_left: bool = False

    def outgoing_request(self) -> http.Request:
        """Return the head that goes up: with the secrets, without this hop's headers."""
        request = self.flow.request
        return http.Request(
            host=request.host,
            port=request.port,
            method=request.data.method,
            scheme=request.data.scheme,
            authority=request.data.authority,
            path=request.data.path,
            http_version=request.data.http_version,
            headers=http.Headers(outgoing(request.headers.fields, self.secrets)),
            content=None,
            trailers=request.data.trailers,
            timestamp_start=request.data.timestamp_start,
            timestamp_end=request.data.timestamp_end,
        )

    def prepare_response(self) -> None:
        """Decide how the body travels: as it comes, or whole because it is read whole."""
        response = self.flow.response
        assert response is not None
        if self.record is None or self.wire_format is None:
            response.stream = not _is_small(response)
        elif _is_event_stream(response):
            self.tap = BodyTap(
                self.flow.id,
                self.record.interception.id,
                self.wire_format.response_reader(),
                content_encoding=response.headers.get("content-encoding", ""),
                content_length=_content_length(response),
                max_bytes=self.max_bytes,
                withhold=self.withhold,
            )
            response.stream = self.tap
            if self.withhold:
                response.headers.pop("content-length", None)

    def finish(self) -> None:
        """End the record by what the upstream answered."""
        response = self.flow.response
        if self.record is None or self.record.ended or response is None:
            return
        facts = self.tap.facts() if self.tap else self._read_body(response)
        not_read = self.tap is not None and self.tap.trouble is not None
        http_status = response.status_code
        if http_status >= 400:
            unnamed = ProviderError(type=f"http_{http_status}", message=None)
            self._end(Status.FAILED, facts, error=facts.error or unnamed)
        elif facts.error:
            self._end(Status.FAILED, facts, partial=not facts.complete)
        elif facts.complete or facts.unreadable or not_read:
            self._end(Status.COMPLETED, facts, partial=not_read or bool(facts.unreadable))
        else:
            self._end(Status.FAILED, facts, error=_BROKEN_OFF, partial=True)

    def break_off(self, message: str) -> None:
        """End the record of an answer that never came to its end."""
        if self.record is None or self.record.ended:
            return
        facts = self.tap.facts() if self.tap else ResponseFacts()
        status = Status.CANCELLED if self.client_left else Status.FAILED
        kind = "client_left" if self.client_left else "upstream_error"
        error = facts.error or ProviderError(type=kind, message=message)
        begun = self.client_left or self.flow.response is not None
        self._end(status, facts, error=error, partial=begun)

    def interrupt(self) -> None:
        """End the record because the proxy itself ends."""
        if self.record is None or self.record.ended:
            return
        facts = self.tap.facts() if self.tap else ResponseFacts()
        self._end(Status.INTERRUPTED, facts, error=_SHUT_DOWN, partial=True)

    def _end(
        self,
        status: Status,
        facts: ResponseFacts,
        *,
        error: ProviderError | None = None,
        partial: bool = False,
    ) -> None:
        assert self.record is not None
        self.record.end(
            status,
            response=facts,
            http_status=self.flow.response.status_code if self.flow.response else None,
            error=error,
            partial=partial or self.partial,
            first_byte_at=self.tap.first_byte_at if self.tap else None,
        )

    def _read_body(self, response: http.Response) -> ResponseFacts:
        assert self.wire_format is not None
        if response.raw_content is None:  # streamed past us by another addon
            return ResponseFacts(unreadable=1)
        try:
            body = decode_body(
                response.raw_content,
                response.headers.get("content-encoding", ""),
                max_bytes=self.max_bytes,
            )
            return self.wire_format.read_answer(body)
        except UndecodableError:
            return ResponseFacts(unreadable=1)
        except Exception:
            assert self.record is not None
            logger.exception(
                "aibridge: interception %s is not read, by a bug of ours",
                self.record.interception.id,
            )
            return ResponseFacts(unreadable=1)


def _is_event_stream(response: http.Response) -> bool:
    content_type: str = response.headers.get("content-type", "")
    return content_type.partition(";")[0].strip().lower() == "text/event-stream"


def _content_length(response: http.Response) -> int | None:
    value = response.headers.get("content-length", "")
    return int(value) if value.isdecimal() else None


_SMALL = 1024 * 1024


def _is_small(response: http.Response) -> bool:
    """Whether a body that nobody reads may be kept whole, to be seen in mitmweb."""
    length = _content_length(response)
    return length is not None and length <= _SMALL
