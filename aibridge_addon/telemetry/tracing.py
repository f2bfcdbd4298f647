"""Turns facts into spans, on a thread of its own; the event loop only fills a bounded queue."""

import logging
import os
import queue
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from aibridge_addon.fact_bus import Handlers
from aibridge_addon.facts import (
    Interception,
    InterceptionEnded,
    RequestContent,
    RequestFact,
    ResponseContent,
    TokenUsage,
    ToolUsage,
    UsagePriced,
    UserPrompt,
)
from aibridge_addon.telemetry.content import Content
from aibridge_addon.telemetry.span import Span
from aibridge_addon.telemetry.trace import Trace
from aibridge_addon.telemetry.traces import Traces

logger = logging.getLogger(__name__)

MAX_QUEUED = 20_000
"""Facts that wait for the thread."""
MAX_CONTENT_BYTES = 64 * 1024 * 1024
"""Bytes of content that wait for the thread."""
CLOSE_SECONDS = 5.0
"""Longest time that the end of the proxy waits for the export."""
_IDLE_SECONDS = 0.5
_FACTS = (Interception, InterceptionEnded, TokenUsage, UsagePriced, ToolUsage)
_CONTENT = (UserPrompt, RequestContent, ResponseContent)
_LATEST = "gen_ai_latest_experimental"

type Redact = Callable[[str, str], str]
"""Redacts a text, given the id of its interception."""


class Sender(Protocol):
    """Sends spans in the background."""

    def send(self, span: Span, trace_id: str) -> None: ...
    def close(self) -> None: ...


class Tracing:
    """Collects facts and sends a trace of each interception.

    `redact` redacts the content; None: no content is exported.
    """

    def __init__(self, sender: Sender, *, redact: Redact | None = None) -> None:
        self.dropped = 0
        """Facts and traces that did not fit into a queue."""
        self._sender = sender
        self._redact = redact
        self._latest = _LATEST in os.environ.get("OTEL_SEMCONV_STABILITY_OPT_IN", "")
        self._traces = Traces(self._make_trace, self._count_dropped)
        self._queue: queue.SimpleQueue[RequestFact | None] = (
            queue.SimpleQueue()
        )  # a put takes no lock
        self._content_bytes = 0
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="aibridge tracing", daemon=True)
        self._thread.start()

    @property
    def handlers(self) -> Handlers:
        """Functions that accept facts, by the type of the facts; called on the event loop."""
        handlers: dict[type, Callable[[Any], None]] = dict.fromkeys(_FACTS, self._put)
        if self._redact:
            handlers |= dict.fromkeys(_CONTENT, self._put_content)
        return handlers

    def close(self) -> None:
        """Send what has ended, for at most `CLOSE_SECONDS`, and stop."""
        stopping = threading.Thread(target=self._stop, name="aibridge tracing ends", daemon=True)
        stopping.start()
        stopping.join(CLOSE_SECONDS)
        if self.dropped:
            logger.warning("aibridge: tracing dropped %d facts", self.dropped)

    def _stop(self) -> None:
        self._queue.put(None)
        self._thread.join()
        self._sender.close()

    def _put(self, fact: RequestFact) -> None:
        if self._queue.qsize() >= MAX_QUEUED:
            self._count_dropped()
        else:
            self._queue.put(fact)

    def _put_content(self, fact: UserPrompt | RequestContent | ResponseContent) -> None:
        if self._content_bytes > MAX_CONTENT_BYTES or self._queue.qsize() >= MAX_QUEUED:
            self._count_dropped()
            return
        self._add_content_bytes(_size(fact))
        self._queue.put(fact)

    def _add_content_bytes(self, size: int) -> None:
        with self._lock:
            self._content_bytes += size

    def _count_dropped(self) -> None:
        if not self.dropped:
            logger.warning("aibridge: tracing is too slow; not all interceptions are exported")
        self.dropped += 1

    # On the thread

    def _run(self) -> None:
        while True:
            try:
                fact = self._queue.get(timeout=_IDLE_SECONDS)
            except queue.Empty:
                self._send_expired(time.monotonic())
                continue
            if fact is None:
                self._send_expired(float("inf"))
                return
            self._handle(fact)

    def _handle(self, fact: RequestFact) -> None:
        if isinstance(fact, _CONTENT):
            self._add_content_bytes(-_size(fact))
        try:
            if trace := self._traces.add(fact, time.monotonic()):
                self._send(trace)
            self._send_expired(time.monotonic())
        except Exception:  # the edge: other interceptions must be exported
            logger.exception("aibridge: an interception is not exported")

    def _make_trace(self, interception: Interception) -> Trace:
        content = None
        if self._redact:
            content = Content(interception.api, partial(self._redact, interception.id))
        return Trace(interception, content=content, latest=self._latest)

    def _send_expired(self, now: float) -> None:
        for trace in self._traces.expired(now):
            self._send(trace)

    def _send(self, trace: Trace) -> None:
        self._sender.send(trace.span(), trace.interception.id)


def _size(fact: UserPrompt | RequestContent | ResponseContent) -> int:
    return len(fact.prompt) if isinstance(fact, UserPrompt) else len(fact.body)
