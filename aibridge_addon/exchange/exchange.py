"""The live state of one request to a provider, from its head to its one end.

It stands between mitmproxy's flow, which is shown and saved and must hold plain data without
secrets only, and the facts. Kept by flow id, and dropped with the end.
"""

import logging
from collections.abc import Callable, Hashable
from copy import copy
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from mitmproxy import http
from mitmproxy.proxy.utils import ReceiveBuffer

from aibridge_addon.access.policies import Asked
from aibridge_addon.exchange.websocket import Conversation
from aibridge_addon.facts import Interception, ProviderError, ResponseFacts, Status
from aibridge_addon.formats import Format
from aibridge_addon.formats.decoders.codings import UndecodableError, decode_body
from aibridge_addon.formats.tool_protocol import Members
from aibridge_addon.interception import InterceptionRecord
from aibridge_addon.providers.credentials import Credential
from aibridge_addon.providers.routing import Route
from aibridge_addon.relay.body_tap import BodyTap, Withhold
from aibridge_addon.relay.original_request import OriginalRequest
from aibridge_addon.relay.response_reader import ReaderOptions
from aibridge_addon.relay.responses import content_encoding, content_length, read_buffered
from aibridge_addon.relay.second_attempt import SecondAttempt
from aibridge_addon.relay.secrets import Secrets, outgoing_fields
from aibridge_addon.relay.stream_detection import StreamProbe, announces_event_stream, may_stream
from aibridge_addon.relay.usage_watch import UsageWatch, has_usage

if TYPE_CHECKING:
    from aibridge_addon.exchange.inner_answer import InnerAnswer
    from aibridge_addon.relay.replayed_request import ReplayedRequest

logger = logging.getLogger(__name__)

_SMALL = 1024 * 1024
"""Bytes."""

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
    credential: Credential | None = None
    hosts: tuple[str, ...] = ()
    """The authorities that the client named."""
    asked: Asked | None = None
    """What the policies judged."""
    max_bytes: int
    members: Members | None = None
    """The request, undecoded; None if it was not read."""
    interception: Interception | None = None
    """Who asks what; also of a request that is only counted, which has no record."""
    wire_format: Format | None = None
    record: InterceptionRecord | None = None
    inner: "InnerAnswer | None" = None
    """The inner loop, if central tools were offered."""
    conversation: Conversation | None = None
    """What is said, if this becomes a WebSocket."""
    own: OriginalRequest | None = None
    """The request before any edit of ours."""
    edits: tuple[Hashable, ...] = ()
    """What is not to be tried again, if the provider refuses the edited request."""
    attempt: SecondAttempt | None = None
    """The attempt with the client's own request, once the edited one was refused."""
    call: "ReplayedRequest | None" = None
    """What waits for the answer, if this is a request of an inner loop."""
    on_unrecorded_usage: Callable[[Route], None] = field(default=lambda route: None)
    """Called when an answer without a record tells usage."""
    usage_watch: UsageWatch | None = None
    """What looks for usage in an answer without a record."""
    withhold: Withhold | None = None
    tap: BodyTap | None = None
    stream_probe: StreamProbe | None = None
    """Detects a stream that the head does not announce, if the response would be edited."""
    partial: bool = False
    """Whether something of the request could not be read."""
    client_left: bool = False

    @property
    def is_edited(self) -> bool:
        """Whether the body that went up is another than the client's."""
        return self.own is not None and self.own.body != (self.flow.request.raw_content or b"")

    def forget_edits(self) -> None:
        """Have the answer be one to the client's own request."""
        self.inner = self.withhold = None
        if self.record is not None:
            self.record.injected = frozenset()

    def request_body(self) -> bytes:
        """Return the decoded body of the request.

        Raises:
            UndecodableError: it is not of its coding, or larger than the bound.
        """
        raw = self.flow.request.raw_content or b""
        if len(raw) > self.max_bytes:
            raise UndecodableError("the body is larger than the bound")
        coding = self.flow.request.headers.get("content-encoding", "")
        return decode_body(raw, coding, max_bytes=self.max_bytes) if coding else raw

    def content_to_judge(self) -> bytes | None:
        """Return the decoded body for policies, empty if it cannot be read; None if there is none.

        The fields of a form can be made to look like JSON, so that a form counts as unreadable.
        """
        request = self.flow.request
        if not request.raw_content:
            return None
        if "form" in request.headers.get("content-type", "").lower():
            return b""
        try:
            return self.request_body()
        except UndecodableError:
            return b""

    def outgoing_request(self) -> http.Request:
        """Return the head that goes up: with the secrets, without this hop's headers."""
        # Its constructor checks the type of each field, which costs more than all else here.
        request = copy(self.flow.request)
        request.data = copy(request.data)
        request.data.headers = http.Headers(outgoing_fields(request.headers.fields, self.secrets))
        return request

    def prepare_response(self) -> None:
        """Decide how the body travels: as it comes, or whole because it is read whole."""
        response = self.flow.response
        assert response is not None
        if self.record is None or self.wire_format is None:
            self._watch_usage(response)
        elif not may_stream(response, requested=self._asks_for_stream):
            return
        elif announces_event_stream(response) or not (self.inner or self.withhold):
            self._tap(response)
        else:
            # A whole answer of which something is cut needs its length, or the status of an error.
            self.stream_probe = StreamProbe(content_encoding(response), max_bytes=self.max_bytes)

    def _watch_usage(self, response: http.Response) -> None:
        """Let a body go on that nobody records, and see whether it tells usage."""
        self.usage_watch = UsageWatch(
            response, partial(self.on_unrecorded_usage, self.route), max_bytes=self.max_bytes
        )
        response.stream = False if _is_small(response) else self.usage_watch

    def on_unread_message(self, content: bytes) -> None:
        """Look at a message of a provider over a WebSocket that nobody reads."""
        if has_usage(content):
            self.on_unrecorded_usage(self.route)

    def holds_at_most(self, begun: ReceiveBuffer) -> int | None:
        """Return up to how many bytes an answer is held that has begun; None: all of it."""
        if self.stream_probe and self.stream_probe.inspect(begun):
            return 0
        # What is too large to be read need not be held, unless it is to be cut.
        return None if self.inner or self.call else self.max_bytes

    def pass_on(self) -> None:
        """Let an answer go on: a stream, or a body too large to be read, whose end still waits."""
        response = self.flow.response
        assert response is not None
        response.stream = True
        if self.record is None or self.wire_format is None:
            return
        is_stream = self.stream_probe is not None and self.stream_probe.found_stream
        if not is_stream:
            self.withhold = None  # what is not read goes on as it is coded
        tap = self._tap(response)
        if not is_stream:
            tap.read_error = "it is larger than is read"

    @property
    def streams(self) -> bool:
        """Whether the answer comes as events."""
        return self.tap is not None and not self.tap.is_buffered

    @property
    def _asks_for_stream(self) -> bool:
        if self.interception is not None:
            return self.interception.streaming
        query: str | None = self.flow.request.query.get("stream")  # of a background response
        return query == "true"

    def _tap(self, response: http.Response) -> BodyTap:
        """Have a tap read the body on its way."""
        assert self.record is not None
        assert self.wire_format is not None
        self.tap = response.stream = BodyTap(
            self.flow.id,
            self.record.interception.id,
            ReaderOptions.of_response(
                response,
                self.wire_format,
                max_bytes=self.max_bytes,
                on_usage=self.record.usage_so_far,
            ),
            content_length=content_length(response),
            withhold=self.withhold,
            splice=self.inner.splicer.feed if self.inner else None,
        )
        if self.tap.edits_events:
            self._let_length_vary(response)
        return self.tap

    def _let_length_vary(self, response: http.Response) -> None:
        """Announce a body whose length nobody knows yet, and that is not coded."""
        response.headers.pop("content-encoding", None)
        if response.headers.pop("content-length", None) and self.flow.request.is_http11:
            response.headers["transfer-encoding"] = "chunked"

    def finish(self) -> None:
        """End the record by what the upstream answered."""
        response = self.flow.response
        if response and self.usage_watch and not response.stream:
            self.usage_watch(response.raw_content or b"")
        if self.record is None or self.record.ended or response is None:
            return
        facts = self.answer_facts()
        not_read = self.tap is not None and self.tap.read_error is not None
        http_status = response.status_code
        if self.inner and self.inner.loop.error:
            self._end(Status.FAILED, facts, error=self.inner.loop.error, partial=True)
        elif http_status >= 400:
            unnamed = ProviderError(type=f"http_{http_status}", message=None)
            self._end(Status.FAILED, facts, error=facts.error or unnamed)
        elif facts.error:
            self._end(Status.FAILED, facts, partial=not facts.complete)
        elif facts.complete or facts.unreadable or not_read:
            self._end(Status.COMPLETED, facts, partial=not_read or bool(facts.unreadable))
        else:
            self._end(Status.FAILED, facts, error=_BROKEN_OFF, partial=True)

    def answer_facts(self) -> ResponseFacts:
        """Return what is known of the answer; after an inner loop, of the last one upstream."""
        if self.inner and self.inner.has_run:
            return self.inner.loop.facts
        if self.tap:
            return self.tap.facts()
        return self._read_whole(self.flow.response) if self.flow.response else ResponseFacts()

    def refuse(self, http_status: int, error: ProviderError) -> None:
        """End the record of a request that does not go up."""
        if self.record is not None and not self.record.ended:
            self.record.end(Status.REFUSED, http_status=http_status, error=error)

    def break_off(self, message: str) -> None:
        """End the record of an answer that never came to its end."""
        if self.record is None or self.record.ended:
            return
        facts = self._facts_so_far()
        status = Status.CANCELLED if self.client_left else Status.FAILED
        kind = "client_left" if self.client_left else "upstream_error"
        error = facts.error or ProviderError(type=kind, message=message)
        begun = self.client_left or self.flow.response is not None
        self._end(status, facts, error=error, partial=begun)

    def interrupt(self) -> None:
        """End the record because the proxy itself ends."""
        if self.conversation:
            self.conversation.interrupt(_SHUT_DOWN)
        if self.record is None or self.record.ended:
            return
        facts = self._facts_so_far()
        self._end(Status.INTERRUPTED, facts, error=_SHUT_DOWN, partial=True)
        if self.flow.killable:
            self.flow.kill()  # the loop runs on a little: no end must reach the client unrecorded

    def _facts_so_far(self) -> ResponseFacts:
        running = self.tap or (self.inner and self.inner.has_run)
        return self.answer_facts() if running else ResponseFacts()

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

    def _read_whole(self, response: http.Response) -> ResponseFacts:
        assert self.wire_format is not None
        try:
            return read_buffered(response, self.wire_format, max_bytes=self.max_bytes)
        except Exception:
            assert self.record is not None
            logger.exception(
                "aibridge: interception %s is not read, by a bug of ours",
                self.record.interception.id,
            )
            return ResponseFacts(unreadable=1)


def _is_small(response: http.Response) -> bool:
    """Whether a body that nobody reads may be kept whole, to be seen in mitmweb."""
    length = content_length(response)
    return length is not None and length <= _SMALL
