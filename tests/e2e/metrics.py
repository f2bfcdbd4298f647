"""Reading the metrics that a proxy serves, and its health."""

import threading
import time
from collections.abc import Callable
from typing import Any

import httpx2
from prometheus_client.parser import text_string_to_metric_families

from e2e.proxy import Proxy


def metrics_text(proxy: Proxy) -> str:
    """Return what a scrape gets."""
    return served(proxy, "/metrics").raise_for_status().text


def served(proxy: Proxy, path: str) -> httpx2.Response:
    """Return what is served beside the proxy."""
    return httpx2.get(f"http://127.0.0.1:{proxy.metrics_port}{path}", trust_env=False)


type Health = tuple[int, dict[str, Any]]
"""The status of an answer, and its body."""


def health(proxy: Proxy) -> Health:
    """Return what a probe gets."""
    answer = served(proxy, "/healthz")
    return answer.status_code, answer.json()


def wait_for_health(
    proxy: Proxy, condition: Callable[[Health], bool], timeout_s: float = 20.0
) -> Health:
    """Wait until a probe gets what it should; return it.

    Raises:
        TimeoutError: it never did.
    """
    deadline = time.monotonic() + timeout_s
    while not condition(found := health(proxy)):
        if time.monotonic() > deadline:
            raise TimeoutError(f"its health is {found}:\n{proxy.log_text()}")
        threading.Event().wait(0.02)  # another process: nothing to wait on but time
    return found


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
