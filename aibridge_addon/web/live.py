"""Live rows: server-sent events with the requests that end while a page is open."""

import asyncio
import json
from collections.abc import AsyncIterator

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from aibridge_addon.report.queries import RequestQuery
from aibridge_addon.report.rows import Live, RequestRow
from aibridge_addon.store.errors import StoreError
from aibridge_addon.web.access import Viewer
from aibridge_addon.web.filters import read_filters
from aibridge_addon.web.site import Site, site_of, viewer_of_request

POLL_SECONDS = 1.0
_QUIET_POLLS = 15
"""Polls without a row after which a comment shows proxies in between that the page is open."""


async def live(request: Request) -> Response:
    """Stream the rows of requests as they end, from the place where the page or stream stopped."""
    site, viewer = site_of(request), viewer_of_request(request)
    if not site.streams.enter():
        return PlainTextResponse("too many live pages\n", 503, headers={"retry-after": "30"})
    filters = read_filters(request.query_params, site.now())
    cursor = request.headers.get("last-event-id") or filters.cursor or None
    query = filters.query(viewer, site.now())
    events = _events(site, request, viewer, query, cursor)
    return StreamingResponse(events, media_type="text/event-stream")


async def _events(
    site: Site, request: Request, viewer: Viewer, query: RequestQuery, cursor: str | None
) -> AsyncIterator[str]:
    quiet = 0
    try:
        yield "retry: 2000\n\n"
        # An access token may be revoked meanwhile, or become an admin's.
        while await site.doorkeeper.find(request) == viewer:
            found = await run_in_threadpool(_ended, site, cursor, query)
            cursor = found.cursor or cursor
            for row in found.rows:
                yield _event(site, row, cursor or "")
            quiet = 0 if found.rows else quiet + 1
            if quiet % _QUIET_POLLS == _QUIET_POLLS - 1:
                yield ": nothing new\n\n"
            await asyncio.sleep(POLL_SECONDS)
        yield "event: signed-out\ndata: \n\n"
    finally:
        site.streams.leave()


def _ended(site: Site, cursor: str | None, query: RequestQuery) -> Live:
    try:
        return site.reports.ended_since(cursor, query)
    except StoreError:  # no database yet, or a moment without it
        return Live()


def _event(site: Site, row: RequestRow, cursor: str) -> str:
    html = site.templates.get_template("request_row.html").render(row=row, source="", snippet=None)
    data = json.dumps({"id": row.id, "html": html})
    return f"event: row\nid: {cursor}\ndata: {data}\n\n"
