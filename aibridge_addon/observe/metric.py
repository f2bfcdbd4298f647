"""The row of a metric."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from aibridge_addon.observe.samplers import Sampler


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Metric:
    """One row: a metric of Prometheus, and how facts are counted in it."""

    name: str
    """Without the prefix `aibridge_`."""
    kind: Literal["counter", "gauge", "histogram", "info"]
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    """Upper bounds of a histogram."""
    samplers: Mapping[type, Sampler] = field(default_factory=dict)
    """By the type of the facts that are counted."""
    is_collected: bool = False
    """True if a collector computes its samples at each scrape."""
    across: Literal["sum", "most", "least"] = "sum"
    """Value of a gauge over several processes."""
