"""The list of requests with its filters and search, and the list of conversations."""

from collections.abc import Iterable
from typing import Any

from markupsafe import Markup
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from aibridge_addon.facts import Status
from aibridge_addon.report.rows import Page, RequestRow, SearchHit
from aibridge_addon.web.access import Viewer
from aibridge_addon.web.export import session_filters
from aibridge_addon.web.filters import PERIODS, Filters, read_filters
from aibridge_addon.web.highlight import highlighted
from aibridge_addon.web.site import Site, site_of, viewer_of_request

PAGE_ROWS = 100
_KINDS = ("turn", "title", "compaction", "subagent", "memory", "warmup", "side")
_STATUSES = (*(status.value for status in Status), "open")


type _Row = tuple[RequestRow, str, Markup | None]
"""A request with the source and the snippet of a search."""


async def request_list(request: Request) -> Response:
    """Show requests, newest first, or those that contain the words of a search."""
    site, viewer = site_of(request), viewer_of_request(request)
    filters = read_filters(request.query_params, site.now(), "all" if _is_search(request) else "7d")
    values = await run_in_threadpool(_read, site, viewer, filters)
    shared = {"filters": filters, "periods": PERIODS, "kinds": _KINDS, "statuses": _STATUSES}
    return site.render(request, "requests.html", shared | values | {"q": filters.text})


async def sessions(request: Request) -> Response:
    """Show the conversations, newest first."""
    site, viewer = site_of(request), viewer_of_request(request)
    filters = read_filters(request.query_params, site.now())
    query = filters.query(viewer, site.now(), limit=PAGE_ROWS)
    page = await run_in_threadpool(site.reports.sessions, query)
    values = {"filters": filters, "periods": PERIODS, "page": page}
    return site.render(request, "sessions.html", values)


async def session(request: Request) -> Response:
    """Lead to the newest request of a session."""
    site, viewer = site_of(request), viewer_of_request(request)
    query = session_filters(request).query(viewer, site.now(), limit=1)
    page = await run_in_threadpool(site.reports.requests, query)
    if not page.rows:
        return site.not_found(request, "There is no such conversation.")
    return RedirectResponse(f"/requests/{page.rows[0].id}", 303)


def _is_search(request: Request) -> bool:
    return bool(request.query_params.get("q", "").strip())


def _read(site: Site, viewer: Viewer, filters: Filters) -> dict[str, Any]:
    query = filters.query(viewer, site.now(), limit=PAGE_ROWS)
    # Read before the rows, so that no request is missed between the page and its live rows.
    cursor = site.reports.ended_since(None, query).cursor if filters.is_live else ""
    page: Page[RequestRow] | Page[SearchHit]
    if filters.text:
        page = site.reports.search(filters.text, query)
        rows: list[_Row] = [
            (hit.request, hit.source, highlighted(hit.snippet)) for hit in page.rows
        ]
    else:
        page = site.reports.requests(query)
        rows = [(row, "", None) for row in page.rows]
    return {
        "rows": rows,
        "next_cursor": page.next_cursor,
        "live_cursor": cursor,
        "suggestions": _suggestions(row for row, _, _ in rows),
    }


def _suggestions(rows: Iterable[RequestRow]) -> dict[str, list[str]]:
    """Return the names in some requests, as suggestions of filters."""
    found: dict[str, set[str]] = {"actor": set(), "model": set(), "client": set(), "tool": set()}
    for row in rows:
        found["actor"].add(row.actor)
        found["model"].add(row.model or "")
        found["client"].add(row.client)
        found["tool"].update(row.tools)
    return {key: sorted(name for name in names if _is_clean(name)) for key, names in found.items()}


def _is_clean(name: str) -> bool:
    return bool(name) and name.isprintable()
