"""Metrics of the room of budgets that this process has set aside, read at each scrape."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from aibridge_addon.observe.metric import Metric
from aibridge_addon.observe.metric_table import BUDGET_SET_ASIDE, BUDGET_SPARE_ROOM

_NANO_USD = 1_000_000_000


class _SetAside(Protocol):
    @property
    def budget(self) -> str: ...
    @property
    def unit(self) -> str: ...
    @property
    def held(self) -> int: ...
    @property
    def free(self) -> int: ...
    @property
    def is_spare(self) -> bool: ...


class BudgetRoom(Collector):
    """Collects what is held and free, summed over the scopes of each budget."""

    def __init__(self, read: Callable[[], Iterable[_SetAside]]) -> None:
        self._read = read

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """Yield the families without samples."""
        yield from map(_family, _METRICS)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the sums."""
        found = list(self._read())
        for metric in _METRICS:
            sums: Counter[tuple[str, str, str]] = Counter()
            for each in found:
                if each.is_spare == (metric is BUDGET_SPARE_ROOM):
                    sums[each.budget, each.unit, "held"] += each.held
                    sums[each.budget, each.unit, "free"] += each.free
            family = _family(metric)
            for labels, amount in sums.items():
                in_usd = labels[1] == "usd"
                family.add_metric(labels, amount / _NANO_USD if in_usd else amount)
            yield family


_METRICS = (BUDGET_SET_ASIDE, BUDGET_SPARE_ROOM)


def _family(metric: Metric) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"aibridge_{metric.name}", metric.help, labels=metric.labels)
