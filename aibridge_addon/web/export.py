"""Exports: a request as JSON, a list as lines of JSON, a session as HTML; both are streamed."""

import json
from collections.abc import AsyncIterator, Iterator

from starlette.concurrency import iterate_in_threadpool, run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from aibridge_addon.report.as_json import as_json
from aibridge_addon.report.loading import TimelineLoader
from aibridge_addon.report.rows import ExportRow, SessionDetail
from aibridge_addon.report.session_html import render
from aibridge_addon.report.session_tree import in_order, nest
from aibridge_addon.report.timeline import Timeline
from aibridge_addon.web.access import Viewer
from aibridge_addon.web.conversation import MISSING, find
from aibridge_addon.web.filters import Filters, read_filters
from aibridge_addon.web.site import Site, site_of, viewer_of_request

_NDJSON = "application/x-ndjson"


async def export_request(request: Request) -> Response:
    """Return everything recorded of a request as JSON."""
    site, viewer = site_of(request), viewer_of_request(request)
    detail = await run_in_threadpool(find, site, viewer, request.path_params["id"])
    if detail is None:
        return site.not_found(request, MISSING)
    text = json.dumps(as_json(detail), indent=1)
    return _download(Response(text, media_type="application/json"), f"{detail.row.id}.json")


async def export_list(request: Request) -> Response:
    """Return the requests of a list as lines of JSON."""
    filters = read_filters(request.query_params, site_of(request).now())
    return _download(_stream(request, filters), "aibridge.ndjson")


async def export_session(request: Request) -> Response:
    """Return a session as an HTML file that needs no other file."""
    site, viewer = site_of(request), viewer_of_request(request)
    session_id = request.path_params["id"]
    found = await run_in_threadpool(site.reports.session, session_id, viewer.actor)
    if found is None or not viewer.may_see(found.session.actor):
        return site.not_found(request, "There is no such conversation.")
    pieces = render(found.session, _timelines(site, viewer, found))
    return _download(StreamingResponse(pieces, media_type="text/html"), "conversation.html")


def _timelines(site: Site, viewer: Viewer, session: SessionDetail) -> Iterator[Timeline]:
    loader = TimelineLoader(site.reports, viewer.actor)
    for row in in_order(nest(session.requests)):
        timeline = loader.load(row.id) if viewer.may_see(row.actor) else None
        if timeline:
            yield timeline


def session_filters(request: Request) -> Filters:
    """Return the filters for the session that a path names; the query may name its actor."""
    values = [("session", request.path_params["id"])]
    if actor := request.query_params.get("actor"):
        values.append(("actor", actor))
    return Filters(period="all", values=tuple(values))


def _stream(request: Request, filters: Filters) -> Response:
    site, viewer = site_of(request), viewer_of_request(request)
    query = filters.query(viewer, site.now(), limit=None)
    lines = _lines(site.reports.export(query, content=True))
    return StreamingResponse(lines, media_type=_NDJSON)


async def _lines(rows: Iterator[ExportRow]) -> AsyncIterator[str]:
    async for row in iterate_in_threadpool(rows):
        yield json.dumps({"cursor": row.cursor} | as_json(row.detail)) + "\n"


def _download(response: Response, name: str) -> Response:
    response.headers["content-disposition"] = f'attachment; filename="{name}"'
    return response
