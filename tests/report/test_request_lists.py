"""Requests, live ends, sessions and exports equal what the rows hold, page by page."""

from dataclasses import replace

from databases import Reusable
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from report.databases import Request, figures, request_lists
from report.paging import all_pages
from report.selections import matches
from report.test_lists import QUERIES, reports_on

from aibridge_addon.report.queries import RequestQuery
from aibridge_addon.report.sums import total


@settings(deadline=None, max_examples=examples(30))
@given(stored=request_lists(), query=QUERIES, limit=st.integers(1, 4))
def test_pages_have_every_request_once_with_its_figures(
    reusable: Reusable, stored: list[Request], query: RequestQuery, limit: int
) -> None:
    rows = all_pages(reports_on(reusable, stored).requests, query, limit)
    selected = [request for request in stored if matches(request, query)]
    newest = sorted(selected, key=lambda r: (r.started_at, r.id), reverse=True)
    assert [row.id for row in rows] == [request.id for request in newest]
    for row, request in zip(rows, newest, strict=True):
        assert row.figures == figures([request])
    assert total(row.figures for row in rows) == figures(selected)


@settings(deadline=None, max_examples=examples(20))
@given(stored=request_lists(), query=QUERIES)
def test_live_view_and_export_have_every_ended_request_once(
    reusable: Reusable, stored: list[Request], query: RequestQuery
) -> None:
    reports = reports_on(reusable, stored)
    live = [row.id for row in reports.ended_since("0", query).rows]
    exported = [row.detail.row for row in reports.export(replace(query, limit=None))]
    selected = {r.id: r for r in stored if matches(r, query) and r.status is not None}
    assert sorted(live) == sorted(selected)
    assert [row.id for row in exported] == live
    assert all(row.figures == figures([selected[row.id]]) for row in exported)


@settings(deadline=None, max_examples=examples(20))
@given(stored=request_lists(), for_actor=st.sampled_from([None, "bob"]))
def test_session_has_the_sums_of_the_requests_that_may_be_seen(
    reusable: Reusable, stored: list[Request], for_actor: str | None
) -> None:
    sessions = {request.session for request in stored if request.session}
    reports = reports_on(reusable, stored)
    for session in sessions:
        seen = [r for r in stored if r.session == session and for_actor in (None, r.actor)]
        found = reports.session(session, for_actor)
        if not seen:  # the beginning of another session that may be seen is found
            assert found is None or found.session.id != session
            continue
        assert found
        ordered = sorted(seen, key=lambda r: (r.started_at, r.id))
        assert [row.id for row in found.requests] == [request.id for request in ordered]
        assert found.session.figures == figures(seen)
