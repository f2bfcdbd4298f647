"""Adds up the metrics of several processes. Pure.

Counters and histograms are summed. How the values of a gauge combine is stated in its row of
`metric_table`. The counts of a process that has ended are kept, since a sum that falls would look
like a restart to Prometheus.
"""

from collections.abc import Callable, Iterable, Mapping

from prometheus_client import Metric as Family
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from aibridge_addon.observe.metric_table import METRICS

_COMBINED: Mapping[str, Callable[[float, float], float]] = {
    "sum": lambda one, other: one + other,
    "most": max,
    "least": min,
}
_ACROSS = {f"aibridge_{metric.name}": metric.across for metric in METRICS}
_LASTING = frozenset({"counter", "histogram"})
_STATED_ONCE = "info"


def read_exposition(text: str) -> list[Family]:
    """Return the metrics in a text that Prometheus can read."""
    return list(text_string_to_metric_families(text))


def lasting(families: Iterable[Family]) -> list[Family]:
    """Return the metrics that stay true after their process has ended."""
    return [family for family in families if family.type in _LASTING]


def added(processes: Iterable[Iterable[Family]]) -> list[Family]:
    """Return the metrics of all processes together."""
    families: dict[str, Family] = {}
    values: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = {}
    for family in (family for process in processes for family in process):
        families.setdefault(family.name, family)
        combine = _combination(family)
        known = values.setdefault(family.name, {})
        for sample in family.samples:
            key = (sample.name, tuple(sample.labels.items()))
            known[key] = combine(known[key], sample.value) if key in known else sample.value
    return [_made_of(family, values[name]) for name, family in families.items()]


def _combination(family: Family) -> Callable[[float, float], float]:
    if family.type in _LASTING:
        return _COMBINED["sum"]
    across = "most" if family.name.endswith(f"_{_STATED_ONCE}") else _ACROSS.get(family.name, "sum")
    return _COMBINED[across]


def _made_of(
    family: Family, values: Mapping[tuple[str, tuple[tuple[str, str], ...]], float]
) -> Family:
    made = Family(family.name, family.documentation, family.type)
    made.samples = [Sample(name, dict(labels), value) for (name, labels), value in values.items()]
    return made
