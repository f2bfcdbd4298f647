"""An actor was recorded before if a request was sent for it."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from aibridge_addon.report.earlier import earlier_requests
from aibridge_addon.report.queries import RequestQuery


@pytest.mark.parametrize(
    ("statuses", "is_found"),
    [
        ([], False),
        (["refused"], False),
        (["refused", "completed"], True),
        (["failed"], True),
        (["cancelled"], True),
        (["interrupted"], True),
    ],
)
def test_refused_requests_do_not_make_an_actor_known(statuses: list[str], is_found: bool) -> None:
    def requests(query: RequestQuery) -> Any:
        assert (query.for_actor, query.until) == ("alice", "2026-11-29")
        rows = [each for each in statuses if not query.statuses or each in query.statuses]
        return SimpleNamespace(rows=rows)

    has_earlier = earlier_requests(lambda: cast(Any, SimpleNamespace(requests=requests)))
    assert has_earlier("alice", "2026-11-29") is is_found
