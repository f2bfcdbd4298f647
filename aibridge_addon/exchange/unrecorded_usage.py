"""Counts responses that report usage and are not recorded, and logs each of their routes once."""

import logging

from aibridge_addon.observe.metrics import Metrics
from aibridge_addon.providers.routing import Route

logger = logging.getLogger(__name__)


class UnrecordedUsage:
    """Makes billed responses visible that are relayed without a record."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._logged: set[tuple[str, str]] = set()

    def count(self, route: Route) -> None:
        """Count a response of a route; routes come from the route table, so they are bounded."""
        key = (route.provider.name, route.label)
        self._metrics.count_unrecorded_usage(*key)
        if key not in self._logged:
            self._logged.add(key)
            logger.warning(
                "aibridge: responses of %s to %s report token usage and are not recorded; counted"
                " in aibridge_unrecorded_usage_total",
                *key,
            )
