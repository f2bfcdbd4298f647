"""Starts what sends facts to other systems, as the settings say, and stops it."""

from collections.abc import Iterable

from aibridge_addon.fact_bus import Handlers
from aibridge_addon.telemetry.content import Redact
from aibridge_addon.telemetry.tracing import Tracing


class TelemetryError(Exception):
    """A variable `OTEL_*` has a value that cannot be used."""


class Outputs:
    """Everything that leaves the proxy besides requests to providers.

    Args:
        otel: Export traces.
        redact: Redacts the content of traces; None: they have no content.

    Raises:
        TelemetryError: the exporter cannot be made.
    """

    def __init__(self, *, otel: bool, redact: Redact | None) -> None:
        self._tracing = _start_tracing(redact) if otel else None

    @property
    def handlers(self) -> Iterable[Handlers]:
        """Functions that accept facts."""
        return [self._tracing.handlers] if self._tracing else []

    def close(self) -> None:
        """Send what is queued, for a bounded time, and stop."""
        if self._tracing:
            self._tracing.close()


def _start_tracing(redact: Redact | None) -> Tracing:
    # Only here: the extra may not be installed.
    from aibridge_addon.telemetry.otel import SpanSender

    try:
        return Tracing(SpanSender(), redact=redact)
    except Exception as error:  # the edge: a library reads the environment
        raise TelemetryError(f"the exporter cannot be made: {error}") from error
