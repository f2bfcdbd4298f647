"""Metrics of rate limits, computed at each scrape from the headers that were seen last.

A fact only replaces values in a dict; nothing is read before Prometheus asks.
"""

from collections.abc import Iterator
from datetime import UTC, datetime

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from aibridge_addon.facts import RateLimitsSeen
from aibridge_addon.observe.metric import Metric
from aibridge_addon.observe.metric_table import RATE_LIMIT_RESET, RATE_LIMIT_USED
from aibridge_addon.rate_limits import Limit, read_limits

type _Credential = tuple[str, str]
"""Provider instance and hint."""
type _Headers = dict[str, tuple[str, datetime]]

_MOST_HEADERS = 128
"""Headers of one credential; a provider that sends more starts anew."""


class RateLimits(Collector):
    """Collects the limits of at most `most` credentials."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._seen: dict[_Credential, _Headers] = {}

    def note(self, fact: RateLimitsSeen) -> None:
        """Replace the values of the headers that a response had."""
        sent = fact.interception
        credential = (sent.provider_name, sent.credential_hint or "")
        headers = self._seen.get(credential, {})
        if not headers and len(self._seen) >= self._most:
            return
        kept = headers if len(headers) <= _MOST_HEADERS else {}
        seen_at = datetime.fromisoformat(fact.seen_at)
        new = {name: (value, seen_at) for name, value in fact.headers.items()}
        self._seen[credential] = kept | new  # a new dict: a scrape reads on another thread

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """Yield the families without samples."""
        yield _family(RATE_LIMIT_USED)
        yield _family(RATE_LIMIT_RESET)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the limits whose period has not ended."""
        used, reset = _family(RATE_LIMIT_USED), _family(RATE_LIMIT_RESET)
        for (provider, credential), headers in list(self._seen.items()):
            for limit in read_limits(headers):
                labels = [provider, credential, limit.name]
                if limit.used is not None and _is_current(limit):
                    used.add_metric(labels, limit.used)
                if limit.resets_at is not None:
                    reset.add_metric(labels, limit.resets_at.timestamp())
        yield used
        yield reset


def _family(metric: Metric) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"aibridge_{metric.name}", metric.help, labels=metric.labels)


def _is_current(limit: Limit) -> bool:
    return limit.resets_at is None or limit.resets_at > datetime.now(UTC)
