"""Starts what sends facts to other systems, as the settings say, and stops it."""

import logging
from collections.abc import Callable, Iterable

from aibridge_addon.budgets.book import BudgetWarning
from aibridge_addon.budgets.words import warning_text
from aibridge_addon.fact_bus import Handlers
from aibridge_addon.telemetry.alerts.actor_watch import HasEarlier
from aibridge_addon.telemetry.alerts.alerts import Alerts
from aibridge_addon.telemetry.alerts.budget_event import budget_event
from aibridge_addon.telemetry.alerts.key_event import circuit_open, key_back, key_set_aside
from aibridge_addon.telemetry.alerts.outbox import Outbox
from aibridge_addon.telemetry.alerts.sender import OnOutcome
from aibridge_addon.telemetry.alerts.webhook import Webhook
from aibridge_addon.telemetry.tracing import Redact, Tracing

logger = logging.getLogger(__name__)


class TelemetryError(Exception):
    """A variable `OTEL_*` has a value that cannot be used."""


class Outputs:
    """Everything that leaves the proxy besides requests to providers.

    Args:
        otel: Export traces.
        redact: Redacts the content of traces; None: they have no content.
        is_recording: Tells whether records reach the database now.
        on_alert: Counts an alert by type and outcome.
        outbox: Keeps alerts that wait over a restart.
        has_earlier: Tells whether an actor was recorded before a time; None: nobody can tell.

    Raises:
        TelemetryError: the exporter cannot be made.
    """

    def __init__(
        self,
        *,
        otel: bool,
        redact: Redact | None,
        is_recording: Callable[[], bool],
        on_alert: OnOutcome,
        outbox: Outbox,
        has_earlier: HasEarlier | None = None,
    ) -> None:
        self._tracing = _start_tracing(redact) if otel else None
        self._alerts = Alerts(
            is_recording=is_recording,
            on_outcome=on_alert,
            outbox=outbox,
            has_earlier=has_earlier,
        )

    @property
    def handlers(self) -> Iterable[Handlers]:
        """Functions that accept facts."""
        tracing = [self._tracing.handlers] if self._tracing else []
        return [self._alerts.handlers, *tracing]

    def apply(self, webhooks: Iterable[Webhook]) -> None:
        """Send alerts to these webhooks from now on."""
        self._alerts.apply(webhooks)

    def report_budget(self, warning: BudgetWarning) -> None:
        """Log a crossed threshold of a budget, and send an alert."""
        logger.warning("aibridge: %s", warning_text(warning))
        self._alerts.publish(budget_event(warning))

    def report_set_aside(self, provider: str, env: str, reason: str) -> None:
        """Log a key that can no longer be used, and send an alert; `env` names the key."""
        logger.warning("aibridge: the key %s of %s is set aside: %s", env, provider, reason)
        self._alerts.publish(key_set_aside(provider, env, reason))

    def report_back(self, provider: str, env: str) -> None:
        """Log a key that can be used again, and send an alert."""
        logger.info("aibridge: the key %s of %s is in use again", env, provider)
        self._alerts.publish(key_back(provider, env))

    def report_circuit(self, provider: str, route: str, model: str, trips: int) -> None:
        """Log a circuit breaker that opened, and send an alert."""
        logger.warning(
            "aibridge: %s is out of order for %s at %s; its requests are stopped for a short time",
            provider,
            ascii(model),
            route,
        )
        self._alerts.publish(circuit_open(provider, route, model, trips))

    def close(self) -> None:
        """Send what is queued, for a bounded time, and stop."""
        self._alerts.close()
        if self._tracing:
            self._tracing.close()


def _start_tracing(redact: Redact | None) -> Tracing:
    # Only here: the extra may not be installed.
    from aibridge_addon.telemetry.otel import SpanSender

    try:
        return Tracing(SpanSender(), redact=redact)
    except Exception as error:  # the edge: a library reads the environment
        raise TelemetryError(f"the exporter cannot be made: {error}") from error
