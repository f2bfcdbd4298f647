"""Bounds Hypothesis, and marks the tests that start processes of a proxy as `e2e`.

Set `HYPOTHESIS_EXAMPLES` to search further.
"""

import os
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "bounded",
    max_examples=int(os.environ.get("HYPOTHESIS_EXAMPLES", "12")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("bounded")

PROCESSES = frozenset({"authority", "home", "proxy", "shared", "standin", "start_proxy"})
"""Fixtures that start a proxy or a stand-in provider, or serve tests that do."""


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Mark tests by the fixtures that they use."""
    for item in items:
        if PROCESSES.intersection(getattr(item, "fixturenames", ())):
            item.add_marker("e2e")
