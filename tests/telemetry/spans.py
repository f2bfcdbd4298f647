"""Facts in, spans out: runs facts through tracing with an exporter in memory."""

from collections.abc import Iterable
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from aibridge_addon.facts import Fact
from aibridge_addon.telemetry.otel import SpanSender
from aibridge_addon.telemetry.tracing import Redact, Tracing


def export(facts: Iterable[Fact], *, redact: Redact | None = None) -> list[ReadableSpan]:
    """Return the spans of facts in the order of their starts, parents first."""
    exporter = InMemorySpanExporter()
    tracing = Tracing(SpanSender(exporter), redact=redact)
    handlers = tracing.handlers
    for fact in facts:
        if handler := handlers.get(type(fact)):
            handler(fact)
    tracing.close()
    return sorted(
        exporter.get_finished_spans(), key=lambda span: (span.start_time or 0, span.parent is None)
    )


def named(spans: Iterable[ReadableSpan], begin: str) -> list[ReadableSpan]:
    """Return the spans whose names begin with a word."""
    return [span for span in spans if span.name.startswith(f"{begin} ")]


def attributes(span: ReadableSpan) -> dict[str, Any]:
    """Return the attributes of a span."""
    return dict(span.attributes or {})
