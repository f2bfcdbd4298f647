"""Sessions, people and latency equal what the rows hold, page by page."""

import math

import pytest
from databases import Database, Reusable
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from report.databases import Request, figures, insert, request_lists, roll_up
from report.paging import all_pages
from report.selections import BOUNDS, filters, matches

from aibridge_addon.report.protocol import Reports
from aibridge_addon.report.queries import RequestQuery
from aibridge_addon.report.rows import Latency, TokenUse
from aibridge_addon.store.connection import transaction
from aibridge_addon.store.errors import StoreError

QUERIES = st.builds(
    lambda since, until, for_actor, chosen: RequestQuery(
        since=since, until=until, for_actor=for_actor, **chosen
    ),
    BOUNDS,
    BOUNDS,
    st.sampled_from([None, None, "bob"]),
    filters(),
)


def reports_on(reusable: Reusable, stored: list[Request]) -> Reports:
    """Return the reports on a database with these requests, half of them rolled up."""
    database = reusable.fresh()
    with database.connected() as connection:
        with transaction(connection):
            for request in stored:
                insert(connection, request)
        roll_up(connection, len(stored) // 2)
    return database.reports


@settings(deadline=None, max_examples=examples(20))
@given(stored=request_lists(), query=QUERIES, limit=st.integers(1, 4))
def test_pages_have_every_session_once_newest_first(
    reusable: Reusable, stored: list[Request], query: RequestQuery, limit: int
) -> None:
    rows = all_pages(reports_on(reusable, stored).sessions, query, limit)
    expected: dict[tuple[str, str], list[Request]] = {}
    for request in sorted(stored, key=lambda r: (r.started_at, r.id)):
        if matches(request, query) and request.session:
            expected.setdefault((request.session, request.actor), []).append(request)
    newest = sorted(expected, key=lambda k: (expected[k][-1].started_at, expected[k][-1].id))
    assert [(row.id, row.actor) for row in rows] == newest[::-1]
    for row in rows:
        group = expected[row.id, row.actor]
        assert row.figures == figures(group)
        assert (row.started_at, row.latest_at) == (group[0].started_at, group[-1].started_at)
        assert row.client == group[0].client
        assert set(row.models) == {request.model for request in group if request.model}
        prompts = [request.prompt for request in group if request.prompt]
        assert row.prompt == (prompts[0] if prompts else None)


@settings(deadline=None, max_examples=examples(20))
@given(stored=request_lists(), query=QUERIES)
def test_people_have_their_own_figures_and_tokens(
    reusable: Reusable, stored: list[Request], query: RequestQuery
) -> None:
    rows = reports_on(reusable, stored).people(query)
    selected = [request for request in stored if matches(request, query)]
    assert {row.actor for row in rows} == {request.actor for request in selected}
    for row in rows:
        own = [request for request in selected if request.actor == row.actor]
        assert row.figures == figures(own)
        assert set(row.clients) == {request.client for request in own}
        assert set(row.models) == {request.model for request in own if request.model}
        used = {request.token for request in own if request.token}
        expected = {
            TokenUse(id=token, figures=figures([r for r in own if r.token == token]))
            for token in used
        }
        assert set(row.tokens) == expected


def nearest_rank(values: list[int], share: float) -> int | None:
    """Return a percentile, rounded to the middle of 32 steps per power of two."""
    if not values:
        return None
    exact = sorted(values)[math.ceil(share * len(values)) - 1]
    width = 2 ** max(0, math.floor(math.log2(max(exact, 1))) - 5)
    return exact if width == 1 else exact // width * width + width // 2


@settings(deadline=None, max_examples=examples(20))
@given(stored=request_lists(), query=QUERIES)
def test_latency_has_the_percentiles_of_completed_requests(
    reusable: Reusable, stored: list[Request], query: RequestQuery
) -> None:
    latency = reports_on(reusable, stored).latency(query)
    chosen = [r for r in stored if matches(r, query) and r.status == "completed"]
    ttft = [request.ttft_ms for request in chosen if request.ttft_ms is not None]
    duration = [request.duration_ms for request in chosen]
    assert latency == Latency(
        requests=len(chosen),
        ttft_ms_p50=nearest_rank(ttft, 0.5),
        ttft_ms_p95=nearest_rank(ttft, 0.95),
        duration_ms_p50=nearest_rank(duration, 0.5),
        duration_ms_p95=nearest_rank(duration, 0.95),
    )


def test_invalid_cursor_is_refused(database: Database) -> None:
    with pytest.raises(StoreError, match="not a cursor of this list"):
        database.reports.sessions(RequestQuery(cursor="x"))
