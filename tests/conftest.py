"""Bounds Hypothesis, isolates the data folder, and marks tests that start a proxy as `e2e`.

Set `HYPOTHESIS_EXAMPLES` to search further.
"""

import os
from collections.abc import Iterator, Sequence

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


@pytest.fixture(scope="session", autouse=True)
def _data_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Replace the user's data folder, which commands and proxies write into."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data")))
        yield


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Mark tests by the fixtures that they use."""
    for item in items:
        if PROCESSES.intersection(getattr(item, "fixturenames", ())):
            item.add_marker("e2e")
