"""Restores mitmproxy's registry of content views, which is global."""

from collections.abc import Iterator

import pytest
from mitmproxy import contentviews


@pytest.fixture(autouse=True)
def _registry() -> Iterator[None]:
    before = dict(contentviews.registry._by_name)
    yield
    contentviews.registry._by_name.clear()
    contentviews.registry._by_name.update(before)
