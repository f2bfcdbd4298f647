"""The conversation page: the turns of a session, one of them as a chat, its changes, its export."""

from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from aibridge_addon.report.queries import RequestQuery, TotalsQuery
from aibridge_addon.report.rows import InterceptionDetail, RequestRow
from aibridge_addon.web.access import Viewer
from aibridge_addon.web.curl import curl_command
from aibridge_addon.web.diff import compare
from aibridge_addon.web.site import Site, site_of, viewer_of_request
from aibridge_addon.web.turn import read_turn, request_parts, view_of

MOST_TURNS = 200
MISSING = "There is no such request, or it is not yours."


async def conversation(request: Request) -> Response:
    """Show a request as a chat, with the other requests of its session."""
    site, viewer = site_of(request), viewer_of_request(request)
    with_earlier = bool(request.query_params.get("earlier"))
    values = await run_in_threadpool(
        _read, site, viewer, request.path_params["id"], with_earlier=with_earlier
    )
    if values is None:
        return site.not_found(request, MISSING)
    return site.render(request, "conversation.html", values)


async def changes(request: Request) -> Response:
    """Show the changes of a request since the one before it in its session."""
    site, viewer = site_of(request), viewer_of_request(request)
    values = await run_in_threadpool(_read_changes, site, viewer, request.path_params["id"])
    if values is None:
        return site.not_found(request, MISSING)
    return site.render(request, "changes.html", values)


def find(site: Site, viewer: Viewer, request_id: str) -> InterceptionDetail | None:
    """Return a request that a viewer may see."""
    detail = site.reports.interception(request_id, viewer.actor)
    return detail if detail and viewer.may_see(detail.row.actor) else None


def _read(
    site: Site, viewer: Viewer, request_id: str, *, with_earlier: bool
) -> dict[str, Any] | None:
    detail = find(site, viewer, request_id)
    if detail is None:
        return None
    previous = _previous(site, viewer, detail)
    query = _session_query(viewer, detail.row)
    turn = read_turn(detail, previous, with_earlier=with_earlier)
    return {
        "detail": detail,
        "row": detail.row,
        "previous": previous,
        "turn": turn,
        "names": turn.tool_names,
        "runs": {tool.call_id: tool for tool in detail.tools if tool.injected},
        "with_earlier": with_earlier,
        "curl": curl_command(detail),
        "turns": _turns(site, query, detail.row),
        "session": site.reports.totals(_totals_of(query)).overall if query else detail.row.figures,
    }


def _previous(site: Site, viewer: Viewer, detail: InterceptionDetail) -> InterceptionDetail | None:
    return find(site, viewer, detail.previous_id) if detail.previous_id else None


def _session_query(viewer: Viewer, row: RequestRow) -> RequestQuery | None:
    """Return the query for the session of a request: a client's id, which others may use too."""
    if row.session is None:
        return None
    return RequestQuery(
        sessions=(row.session,), actors=(row.actor,), for_actor=viewer.actor, limit=MOST_TURNS
    )


def _totals_of(query: RequestQuery) -> TotalsQuery:
    return TotalsQuery(
        sessions=query.sessions, actors=query.actors, for_actor=query.for_actor, by=()
    )


def _turns(site: Site, query: RequestQuery | None, row: RequestRow) -> list[RequestRow]:
    """Return the requests of the session, oldest first."""
    if query is None:
        return [row]
    return list(reversed(site.reports.requests(query).rows)) or [row]


def _read_changes(site: Site, viewer: Viewer, request_id: str) -> dict[str, Any] | None:
    detail = find(site, viewer, request_id)
    if detail is None:
        return None
    previous, view = _previous(site, viewer, detail), view_of(detail)
    found = []
    if previous and view and detail.row.api == previous.row.api:
        found = compare(view, request_parts(previous), request_parts(detail))
    return {"row": detail.row, "previous": previous, "changes": found}
