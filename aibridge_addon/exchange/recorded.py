"""Recorded exchanges: the response is read, and its record committed before the client has its end.

Used as it is for the poll of a background response; the base of bridged exchanges and of the
handshakes of WebSockets.
"""

import logging

from mitmproxy import http
from mitmproxy.proxy.utils import ReceiveBuffer

from aibridge_addon.access.egress import PRIVATE_ADDRESS, find_refusal
from aibridge_addon.exchange.client_request import ClientRequest
from aibridge_addon.exchange.commit import Commit
from aibridge_addon.exchange.delivery import Delivery
from aibridge_addon.exchange.exchange import Exchange
from aibridge_addon.exchange.response_body import BufferedBody, StreamedBody, UndecidedBody
from aibridge_addon.facts import ProviderError, ResponseFacts, Status
from aibridge_addon.formats import Format
from aibridge_addon.formats.decoders.codings import UndecodableError
from aibridge_addon.interception import InterceptionRecord
from aibridge_addon.relay.body_tap import BodyTap
from aibridge_addon.relay.response_reader import ReaderOptions
from aibridge_addon.relay.responses import (
    content_encoding,
    content_length,
    decoded_body,
    read_body,
)
from aibridge_addon.relay.stream_detection import StreamProbe, announces_events, may_stream
from aibridge_addon.report.money import NANO_USD

logger = logging.getLogger(__name__)

SERVED_BY = "x-aibridge-served-by"
BUDGET_REMAINING = "x-aibridge-budget-remaining"
"""Header with the USD that are left in the tightest budget that shows it."""
"""Header that names the provider instance and model of a fallback."""
SHUT_DOWN = ProviderError(type="shut_down", message="The proxy was shut down.")
_BROKEN_OFF = ProviderError(
    type="stream_broken_off",
    message="The stream ended without the event that ends a response.",
)


class RecordedExchange(Exchange):
    """A request whose response is recorded."""

    asks_for_stream = False
    """True if the request asked for a streamed response."""
    _has_content = False
    """True if the body of the response was noted."""
    is_partial = False
    """True if the request could not be read completely."""

    def __init__(
        self,
        request: ClientRequest,
        wire_format: Format,
        *,
        record: InterceptionRecord,
        commit: Commit,
    ) -> None:
        super().__init__(request, wire_format)
        self.record = record
        self.delivery = Delivery()
        self.times = record.upstream
        """Times of the request that the client's response begins with."""
        self._commit = commit
        self._body = BufferedBody(self._read_buffered)

    @property
    def is_streaming(self) -> bool:
        """True if the client receives a stream of events."""
        return self._body.is_streamed and self._body.has_events

    def on_head(self) -> None:
        """Stream the body if events come, or may come and are not edited; else buffer it."""
        response = self.response
        if self.request.served_by:
            response.headers[SERVED_BY] = self.request.served_by
        if (left := self.request.budget_left) is not None:
            response.headers[BUDGET_REMAINING] = f"{left / NANO_USD:.4f}"
        self.record.response_began(response.status_code, response.headers.fields)
        if not may_stream(response, self.wire_format, requested=self.asks_for_stream):
            return
        announced = announces_events(response, self.wire_format, requested=self.asks_for_stream)
        if announced or not self.delivery.edits_events:
            self._tap()
        else:
            probe = StreamProbe(content_encoding(response), max_bytes=self.request.max_bytes)
            self._body = UndecidedBody(self._read_buffered, probe)

    def hold_limit(self, begun: ReceiveBuffer) -> int | None:
        """Return no bytes for a stream, and at most what is read unless the body is edited."""
        if self._body.shows_events(begun):
            return 0
        return None if self.delivery.needs_complete_body else self.request.max_bytes

    def stream_response(self) -> None:
        """Stream events, or a body that is too large to be read; its end still waits."""
        if self._body.has_events:
            self._tap()
            return
        self.delivery = Delivery()  # what is not read is sent with its content coding
        self._tap().read_error = "it is larger than is read"

    async def on_held(self, tap: BodyTap) -> None:
        """Continue a streamed response; commit its record before its end is sent."""
        self.times.note_end()
        await self.delivery.resume(tap)
        if not tap.is_waiting:
            self.finish()
            await self._commit()

    async def on_end(self) -> None:
        """Complete a buffered response, and commit its record."""
        self.times.note_end()
        try:
            if not self._body.is_streamed:
                await self.delivery.complete()
        finally:
            self.finish()
        if not self._body.is_delivered:
            await self._commit()

    async def on_error(self, message: str) -> None:
        """Record the failure, and answer the client if nothing was sent to it."""
        if refusal := find_refusal(message):
            error = ProviderError(type=PRIVATE_ADDRESS, message=refusal)
            self.record.end(Status.REFUSED, http_status=403, error=error)
        self.break_off(message)
        self._answer_error(message)
        await self._commit()
        await self.delivery.close()

    def interrupt(self) -> None:
        """End the record, and keep the end of the response from the client."""
        if self.record.ended:
            return
        self._end(Status.INTERRUPTED, self._facts_so_far(), error=SHUT_DOWN, partial=True)
        if self.flow.killable:
            self.flow.kill()  # the event loop still runs for a moment

    async def close(self) -> None:
        """Cancel the inner loop, if there is one."""
        await self.delivery.close()

    def finish(self) -> None:
        """End the record by the response."""
        response = self.flow.response
        if self.record.ended or response is None:
            return
        facts, is_unread = self.response_facts(), self._body.is_unread
        if error := self.delivery.error:
            self._end(Status.FAILED, facts, error=error, partial=True)
        elif response.status_code >= 400:
            unnamed = ProviderError(type=f"http_{response.status_code}", message=None)
            self._end(Status.FAILED, facts, error=facts.error or unnamed)
        elif facts.error:
            self._end(Status.FAILED, facts, partial=not facts.complete)
        elif facts.complete or facts.unreadable or is_unread:
            self._end(Status.COMPLETED, facts, partial=is_unread or bool(facts.unreadable))
        else:
            self._end(Status.FAILED, facts, error=_BROKEN_OFF, partial=True)

    def break_off(self, message: str) -> None:
        """End the record of a response that did not reach its end."""
        if self.record.ended:
            return
        facts = self._facts_so_far()
        status = Status.CANCELLED if self.client_aborted else Status.FAILED
        kind = "client_left" if self.client_aborted else "upstream_error"
        error = facts.error or ProviderError(type=kind, message=message)
        has_begun = self.client_aborted or self.flow.response is not None
        self._end(status, facts, error=error, partial=has_begun)

    def response_facts(self) -> ResponseFacts:
        """Return the facts of the response; after an inner loop, of its last response."""
        return self.delivery.facts(self._body.facts)

    def _facts_so_far(self) -> ResponseFacts:
        return self.delivery.facts(self._body.facts_so_far)

    def _end(
        self,
        status: Status,
        facts: ResponseFacts,
        *,
        error: ProviderError | None = None,
        partial: bool = False,
    ) -> None:
        http_status = self.flow.response.status_code if self.flow.response else None
        self._note_content(self._body.streamed_content())
        self.record.end(
            status,
            response=facts,
            http_status=http_status,
            error=error,
            partial=partial or self.is_partial,
            first_byte_at=self._body.first_byte_at,
        )

    def _note_content(self, body: bytes) -> None:
        """Note the body of the first upstream response, before an inner loop replaces it."""
        if self.flow.response is not None and not self._has_content:
            self._has_content = bool(body)
            self.record.bodies.note_response(
                self.times.number, body, status=self.flow.response.status_code
            )

    def _tap(self) -> BodyTap:
        """Have a tap read the body on its way."""
        response = self.response
        tap = response.stream = BodyTap(
            self.flow.id,
            self.record.interception.id,
            ReaderOptions.of_response(
                response,
                self.wire_format,
                max_bytes=self.request.max_bytes,
                on_usage=self.record.usage_so_far,
                answers_stream=self.asks_for_stream,
                keeps_content=self.record.bodies.wants_responses,
            ),
            content_length=content_length(response),
            withhold=self.delivery.withhold,
            splice=self.delivery.splice,
            pass_text=self.delivery.pass_text,
            times=self.times,
        )
        if tap.edits_events:
            _let_length_vary(self.flow.request, response)
        self._body = StreamedBody(tap)
        return tap

    def _read_buffered(self) -> ResponseFacts:
        if self.flow.response is None:
            return ResponseFacts()
        try:
            body = decoded_body(self.flow.response, max_bytes=self.request.max_bytes)
            self._note_content(body)
            return read_body(self.flow.response, self.wire_format, body)
        except UndecodableError:
            return ResponseFacts(unreadable=1)
        except Exception:
            logger.exception(
                "aibridge: internal error: the response of interception %s is not read",
                self.record.interception.id,
            )
            return ResponseFacts(unreadable=1)


def _let_length_vary(request: http.Request, response: http.Response) -> None:
    """Announce a body without content coding, and whose length nobody knows yet."""
    response.headers.pop("content-encoding", None)
    if response.headers.pop("content-length", None) and request.is_http11:
        response.headers["transfer-encoding"] = "chunked"
