"""Metric of the room of budgets that this process has set aside, read at each scrape."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from aibridge_addon.observe.metric_table import BUDGET_SET_ASIDE

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


class BudgetRoom(Collector):
    """Collects what is held and free, summed over the scopes of each budget."""

    def __init__(self, read: Callable[[], Iterable[_SetAside]]) -> None:
        self._read = read

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """Yield the family without samples."""
        yield _family()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the sums."""
        sums: Counter[tuple[str, str, str]] = Counter()
        for each in self._read():
            sums[each.budget, each.unit, "held"] += each.held
            sums[each.budget, each.unit, "free"] += each.free
        family = _family()
        for labels, amount in sums.items():
            in_usd = labels[1] == "usd"
            family.add_metric(labels, amount / _NANO_USD if in_usd else amount)
        yield family


def _family() -> GaugeMetricFamily:
    metric = BUDGET_SET_ASIDE
    return GaugeMetricFamily(f"aibridge_{metric.name}", metric.help, labels=metric.labels)
