"""Filters in the URL: to a query and back."""

from datetime import UTC, datetime

import pytest
from starlette.datastructures import QueryParams

from aibridge_addon.web.access import OPERATOR, Viewer
from aibridge_addon.web.filters import read_filters

NOW = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)


def read(text: str, viewer: Viewer = OPERATOR) -> tuple[str, str, tuple[str, ...], str | None]:
    query = read_filters(QueryParams(text), NOW).query(viewer, NOW)
    return query.since[:16], query.until[:16], query.models, query.for_actor


def test_filters_become_a_query() -> None:
    since, until, models, for_actor = read("period=7d&model=opus&model=haiku&unknown=x")
    assert (since, until) == ("2026-11-21T12:00", "")
    assert models == ("opus", "haiku")
    assert for_actor is None


def test_query_is_limited_to_the_viewer() -> None:
    assert read("actor=bob", Viewer(name="alice", actor="alice"))[3] == "alice"


@pytest.mark.parametrize("period", ["nonsense", "", "9999999999999999w", "-1d", "0x10d"])
def test_unreadable_period_becomes_the_default(period: str) -> None:
    assert read_filters(QueryParams({"period": period}), NOW).period == "7d"


def test_day_covers_the_whole_day() -> None:
    filters = read_filters(QueryParams("period=2026-11-20&until=2026-11-20"), NOW)
    query = filters.query(OPERATOR, NOW)
    begin, end = map(datetime.fromisoformat, (query.since, query.until))
    assert (end - begin).total_seconds() == 24 * 3600


def test_links_keep_filters_and_start_at_the_first_page() -> None:
    filters = read_filters(QueryParams("period=30d&model=a%26b&q=x+y&cursor=7"), NOW)
    assert filters.url("/requests") == "/requests?period=30d&model=a%26b&q=x+y"
    assert filters.url("/requests", cursor="9").endswith("&cursor=9")
    assert filters.url("/requests", q=None, period="today") == (
        "/requests?model=a%26b&period=today"
    )
    assert filters.without("model", "a&b").url("/requests") == "/requests?period=30d&q=x+y"


def test_number_and_length_of_filters_are_bounded() -> None:
    many = "&".join(f"model=m{number}" for number in range(1000))
    assert len(read_filters(QueryParams(many), NOW).values) == 20
    assert read_filters(QueryParams({"model": "x" * 10_000}), NOW).values == ()
