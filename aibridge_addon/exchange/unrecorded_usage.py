"""Counts answers that tell usage and have no record, and logs each route of them once."""

import logging

from aibridge_addon.observe.metrics import Metrics
from aibridge_addon.providers.routing import Route

logger = logging.getLogger(__name__)


class UnrecordedUsage:
    """Makes billed answers visible that pass through unrecorded."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._logged: set[tuple[str, str]] = set()

    def count(self, route: Route) -> None:
        """Count an answer of a route; routes come from the route table, so they are bounded."""
        key = (route.provider.name, route.label)
        self._metrics.count_unrecorded_usage(*key)
        if key not in self._logged:
            self._logged.add(key)
            logger.warning(
                "aibridge: answers of %s to %s tell token usage, and are not recorded; counted"
                " in aibridge_unrecorded_usage_total",
                *key,
            )
