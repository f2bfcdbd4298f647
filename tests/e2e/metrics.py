"""Reading the metrics that a proxy serves."""

import httpx2
from prometheus_client.parser import text_string_to_metric_families

from e2e.proxy import Proxy


def metrics_text(proxy: Proxy) -> str:
    """Return what a scrape gets."""
    address = f"http://127.0.0.1:{proxy.metrics_port}/metrics"
    return httpx2.get(address, trust_env=False).raise_for_status().text


def metric(proxy: Proxy, name: str, /, **labels: str) -> float:
    """Return the sum of a metric's samples that have these labels.

    Args:
        proxy: Started with `metrics=True`.
        name: The sample's whole name, such as `aibridge_tunnels_total`.
        labels: Some of its labels.
    """
    return sum(
        sample.value
        for family in text_string_to_metric_families(metrics_text(proxy))
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )
