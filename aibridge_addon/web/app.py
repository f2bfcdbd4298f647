"""Assembles the page: routes and middleware around a `Site`."""

from collections.abc import Iterable
from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from aibridge_addon.report.protocol import UnsupportedReportError
from aibridge_addon.report.search_text import SearchTextError
from aibridge_addon.store.errors import NothingRecordedError, StoreError
from aibridge_addon.web import (
    conversation,
    export,
    health,
    live,
    login,
    overview,
    people,
    request_list,
)
from aibridge_addon.web.access import RequireLogin
from aibridge_addon.web.guard import Guard
from aibridge_addon.web.site import Site, site_of

STATIC = Path(__file__).parent / "static"


def make_app(site: Site, allowed_hosts: Iterable[str] = ()) -> Starlette:
    """Return the page as an ASGI application.

    Args:
        site: What the pages use.
        allowed_hosts: Host names of the page, besides loopback names and addresses.
    """
    app = Starlette(
        routes=_routes(),
        exception_handlers={
            404: _not_found,
            SearchTextError: _not_searchable,
            NothingRecordedError: _nothing_recorded,
            StoreError: _no_record,
            UnsupportedReportError: _no_record,
        },
        middleware=[
            Middleware(Guard, hosts=frozenset(allowed_hosts)),
            Middleware(RequireLogin, doorkeeper=site.doorkeeper),
        ],
    )
    app.state.site = site
    return app


def _routes() -> list[Route]:
    return [
        Route("/", overview.overview),
        Route("/requests", request_list.request_list),
        Route("/requests/{id}", conversation.conversation),
        Route("/requests/{id}/changes", conversation.changes),
        Route("/requests/{id}/export", export.export_request),
        Route("/export", export.export_list),
        Route("/sessions", request_list.sessions),
        Route("/sessions/{id:path}/export", export.export_session),
        Route("/sessions/{id:path}", request_list.session),
        Route("/live", live.live),
        Route("/people", people.people),
        Route("/health", health.health),
        Route("/login", login.login, methods=["GET", "POST"]),
        Route("/link", login.link),
        Route("/logout", login.logout, methods=["POST"]),
        Route("/static/{name}", _static),
        Route("/favicon.ico", _no_icon),
    ]


async def _not_found(request: Request, _error: Exception) -> Response:
    return site_of(request).not_found(request, "There is no such page.")


async def _not_searchable(request: Request, error: Exception) -> Response:
    return site_of(request).message(request, "This cannot be searched for", str(error), 400)


async def _nothing_recorded(request: Request, _error: Exception) -> Response:
    return site_of(request).render(request, "nothing.html")


async def _no_record(request: Request, error: Exception) -> Response:
    return site_of(request).message(request, "The record cannot be read", str(error), 503)


async def _static(request: Request) -> Response:
    """Serve a file of the folder `static`; its URL names its version."""
    path = STATIC / Path(request.path_params["name"]).name
    if not path.is_file():
        return Response("not found\n", 404)
    return FileResponse(path, headers={"cache-control": "max-age=31536000, immutable"})


async def _no_icon(_request: Request) -> Response:
    return Response(status_code=204)
