"""The conversation page: the turns of a session, one of them as a chat, and its changes."""

from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from aibridge_addon.report.loading import TimelineLoader
from aibridge_addon.report.queries import RequestQuery, TotalsQuery
from aibridge_addon.report.rows import InterceptionDetail, RequestRow
from aibridge_addon.report.timeline import Timeline
from aibridge_addon.web.access import Viewer
from aibridge_addon.web.chat import read_chat
from aibridge_addon.web.curl import curl_command
from aibridge_addon.web.site import Site, site_of, viewer_of_request

MOST_TURNS = 200
MISSING = "There is no such request, or it is not yours."


async def conversation(request: Request) -> Response:
    """Show a request as a chat, with the other requests of its session."""
    site, viewer = site_of(request), viewer_of_request(request)
    values = await run_in_threadpool(_read, site, viewer, request.path_params["id"])
    if values is None:
        return site.not_found(request, MISSING)
    shown = {"with_earlier": bool(request.query_params.get("earlier"))}
    return site.render(request, "conversation.html", values | shown)


async def changes(request: Request) -> Response:
    """Show the changes of a request since the one before it in its session."""
    site, viewer = site_of(request), viewer_of_request(request)
    found = await run_in_threadpool(load, site, viewer, request.path_params["id"])
    if found is None:
        return site.not_found(request, MISSING)
    values = {
        "row": found.detail.row,
        "previous_id": found.detail.previous_id,
        "diff": found.diff,
        "names": read_chat(found).tool_names,
    }
    return site.render(request, "changes.html", values)


def find(site: Site, viewer: Viewer, request_id: str) -> InterceptionDetail | None:
    """Return a request that a viewer may see."""
    detail = site.reports.interception(request_id, viewer.actor)
    return detail if detail and viewer.may_see(detail.row.actor) else None


def load(site: Site, viewer: Viewer, request_id: str) -> Timeline | None:
    """Return the timeline of a request that a viewer may see."""
    found = TimelineLoader(site.reports, viewer.actor).load(request_id)
    return found if found and viewer.may_see(found.detail.row.actor) else None


def _read(site: Site, viewer: Viewer, request_id: str) -> dict[str, Any] | None:
    timeline = load(site, viewer, request_id)
    if timeline is None:
        return None
    detail = timeline.detail
    query, chat = _session_query(viewer, detail.row), read_chat(timeline)
    return {
        "timeline": timeline,
        "detail": detail,
        "row": detail.row,
        "chat": chat,
        "names": chat.tool_names,
        "curl": curl_command(detail) if timeline.conversation else "",
        "turns": _turns(site, query, detail.row),
        "session": site.reports.totals(_totals_of(query)).overall if query else detail.row.figures,
    }


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
