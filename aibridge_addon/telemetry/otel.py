"""Sends spans by OTLP/HTTP with the SDK of OpenTelemetry, which the extra `otel` installs.

Batches are sent by a thread of the SDK, from a bounded queue. The endpoint and all else come from
the standard variables `OTEL_*`.
"""

import uuid
from datetime import UTC, datetime, timedelta

import requests
from opentelemetry import trace as api
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context

from aibridge_addon import __version__
from aibridge_addon.telemetry.span import Span

_KINDS = {
    "server": SpanKind.SERVER,
    "client": SpanKind.CLIENT,
    "internal": SpanKind.INTERNAL,
}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class SpanSender:
    """Sends spans in the background; `exporter` replaces OTLP/HTTP in tests."""

    def __init__(self, exporter: SpanExporter | None = None) -> None:
        self._ids = _TraceIds()
        self._provider = TracerProvider(
            resource=_resource(), id_generator=self._ids, shutdown_on_exit=False
        )
        self._provider.add_span_processor(BatchSpanProcessor(exporter or _otlp_exporter()))
        self._tracer = self._provider.get_tracer("aibridge_addon", __version__)

    def send(self, span: Span, trace_id: str) -> None:
        """Queue a span and its children; the trace has the id of the interception, a UUID."""
        self._ids.next_trace_id = uuid.UUID(trace_id).int
        self._send(span, None)

    def close(self) -> None:
        """Send what is queued, and stop; may block while the endpoint does not respond."""
        self._provider.shutdown()

    def _send(self, span: Span, parent: api.Span | None) -> None:
        started = self._tracer.start_span(
            span.name,
            context=set_span_in_context(parent) if parent else None,
            kind=_KINDS[span.kind],
            attributes=span.attributes,
            start_time=_nanoseconds(span.begin),
        )
        if span.error is not None:
            started.set_status(Status(StatusCode.ERROR, span.error))
        for child in span.children:
            self._send(child, started)
        started.end(end_time=_nanoseconds(span.end))


class _TraceIds(RandomIdGenerator):
    """Gives a trace the id that was set, so that interception and trace lead to each other."""

    next_trace_id = 0

    def generate_trace_id(self) -> int:
        return self.next_trace_id


def _resource() -> Resource:
    """Return the resource; `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` take precedence."""
    ours = Resource({"service.name": "aibridge", "service.version": __version__})
    named = Resource.create()
    if str(named.attributes.get("service.name", "")).startswith("unknown_service"):
        return named.merge(ours)
    return ours.merge(named)


def _otlp_exporter() -> SpanExporter:
    session = requests.Session()
    session.trust_env = False  # a proxy of the environment may be this one
    return OTLPSpanExporter(session=session)


def _nanoseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1) * 1000
